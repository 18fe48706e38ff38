"""Runs a client's scenarios one after the other, each with a deadline, and prints a line for each."""

import signal
import sys
import traceback
import uuid

DEADLINE_SECONDS = 40
_scenarios = []


def scenario(function):
    _scenarios.append(function)
    return function


def topic(name):
    """A topic's name that no other run has."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


def equal(found, expected, what=""):
    if found != expected:
        raise AssertionError(f"{what} expected {expected!r}, found {found!r}")


def _too_late(*_):
    raise TimeoutError(f"not done in {DEADLINE_SECONDS} s")


def main(client):
    wanted = sys.argv[1:]
    failed = False
    signal.signal(signal.SIGALRM, _too_late)
    for function in _scenarios:
        name = function.__name__.replace("_", "-")
        if wanted and name not in wanted:
            continue
        signal.alarm(DEADLINE_SECONDS)
        try:
            function()
            print(f"ok {client} {name}", flush=True)
        except BaseException as error:  # noqa: BLE001: whatever it is, the next scenario runs
            traceback.print_exc()
            text = " ".join(f"{type(error).__name__} {error}".split())[:300]
            print(f"FAILED {client} {name}: {text}", flush=True)
            failed = True
        finally:
            signal.alarm(0)
    sys.exit(failed)
