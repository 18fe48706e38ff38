"""What the agents in Python share: a line in is a command, a line out is its answer (see `run.py`)."""

import sys
import traceback


def records(found):
    return " ".join(f"{value.decode()}@{offset}" for offset, value in found)


def serve(agent, kind_of):
    """Answers until the input ends. `kind_of(error)` says whether it means `fenced`, or another word."""
    for line in sys.stdin:
        command, *words = line.split()
        try:
            told = getattr(agent, command)(*words)
            print(f"ok {told or ''}", flush=True)
        except Exception as error:  # noqa: BLE001: whatever it is, it is the answer
            traceback.print_exc()
            text = " ".join(f"{type(error).__name__} {error}".split())[:300]
            print(f"{kind_of(error)} {text}", flush=True)
