"""Transactions with a client of any language: CLIENT names it, AGENT is the command of its agent.

An agent does what a line on its standard input says and answers with a line: `ok` and what was asked for, or `fenced` or `error`
and why. Its commands:

    producer NAME ID TIMEOUT_MS         a producer with this transactional id, initialised
    begin NAME | commit NAME | abort NAME
    send NAME TOPIC PARTITION VALUE...  in the open transaction, and waits until all are acknowledged
    read committed|uncommitted TOPIC PARTITION COUNT
                                        from offset 0: `VALUE@OFFSET`...
    transform NAME GROUP SOURCE TARGET COUNT commit|abort
                                        as a new member of the group reads so many records of SOURCE-0, and in one transaction sends
                                        them in capitals to TARGET-0 and the offset to go on from; `VALUE@OFFSET`... of what it read
    epoch ID                            that the id's producer has, as an administrator is told: only of clients that know of transactions
                                        with an epoch each
"""

import os
import shlex
import subprocess

from observer import BROKER, committed, create, stable, until_stable
from scenarios import equal, main, scenario, topic

LONG, SHORT = 60_000, 1_000


class Fenced(Exception):
    pass


class Agent:
    def __init__(self):
        environment = {**os.environ, "BOOTSTRAP": BROKER.address}
        command = shlex.split(os.environ["AGENT"])
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def ask(self, *words):
        self.process.stdin.write(" ".join(str(word) for word in words) + "\n")
        self.process.stdin.flush()
        kind, _, told = self.process.stdout.readline().strip().partition(" ")
        if kind == "ok":
            return told.split()
        raise {"fenced": Fenced}.get(kind, AssertionError)(f"{words[0]} {words[1]}: {kind} {told}")

    def is_fenced(self, *words):
        try:
            self.ask(*words)
        except Fenced:
            return
        raise AssertionError(f"{words}: not fenced")

    def is_too_late(self, *words):
        """As fenced by the coordinator; brokers with another epoch for each transaction say that it is not open."""
        try:
            self.is_fenced(*words)
        except AssertionError as refused:
            if "INVALIDTXNSTATE" not in str(refused).upper().replace("_", ""):
                raise

    def sends(self, name, end, *sent):
        """A whole transaction of `(topic, partition, values)`; without `end` it stays open."""
        self.ask("begin", name)
        for name_of, partition, values in sent:
            self.ask("send", name, name_of, partition, *values)
        if end:
            self.ask(end, name)


AGENT = Agent()


def values(prefix, count):
    return [f"{prefix}{number}" for number in range(count)]


def at(first, values):
    return [f"{value}@{offset}" for offset, value in enumerate(values, first)]


@scenario
def transaction_commit_and_abort():
    two, one = create("txn-two", 2), create("txn-one")
    AGENT.ask("producer", "p", topic("id"), LONG)
    AGENT.sends("p", "commit", (two, 0, values("c", 300)), (two, 1, ["c"]), (one, 0, ["c"]))
    AGENT.sends("p", "abort", (two, 0, values("a", 200)), (one, 0, ["a"]))
    AGENT.sends("p", "commit", (one, 0, ["d"]), (two, 0, ["d"]))
    # Each end takes an offset, of the partitions that took part.
    before, between, after = at(0, values("c", 300)), at(301, values("a", 200)), ["d@502"]
    equal(AGENT.ask("read", "committed", two, 0, 301), before + after)
    equal(AGENT.ask("read", "uncommitted", two, 0, 501), before + between + after)
    equal(AGENT.ask("read", "committed", two, 1, 1), ["c@0"])
    equal(AGENT.ask("read", "committed", one, 0, 2), ["c@0", "d@4"])
    equal(AGENT.ask("read", "uncommitted", one, 0, 3), ["c@0", "a@2", "d@4"])
    equal([stable(two, 0), stable(two, 1), stable(one)], [504, 2, 6])


@scenario
def transaction_consume_transform_produce():
    source, target, group = create("txn-source"), create("txn-target"), topic("group")
    AGENT.ask("producer", "t", topic("id"), LONG)
    AGENT.sends("t", "commit", (source, 0, values("v", 5)))
    AGENT.sends("t", "abort", (source, 0, ["never"]))
    AGENT.sends("t", "commit", (source, 0, values("w", 5)))
    first, second = at(0, values("v", 5)), at(8, values("w", 5))
    equal(AGENT.ask("transform", "t", group, source, target, 5, "abort"), first)
    equal(committed(group, source), None)
    equal(AGENT.ask("transform", "t", group, source, target, 5, "commit"), first)
    equal(committed(group, source), 5)
    equal(AGENT.ask("transform", "t", group, source, target, 5, "commit"), second)
    equal(committed(group, source), 13)
    equal(AGENT.ask("read", "committed", target, 0, 10), at(6, values("V", 5)) + at(12, values("W", 5)))


if os.environ["CLIENT"] in ("java", "franz"):

    @scenario
    def transaction_each_with_an_epoch():
        name, id = create("txn-epochs"), topic("id")
        AGENT.ask("producer", "e", id, LONG)
        (first,) = AGENT.ask("epoch", id)
        for end in "commit", "abort", "commit":
            AGENT.sends("e", end, (name, 0, [end]))
        equal(AGENT.ask("epoch", id), [str(int(first) + 3)])
        equal(AGENT.ask("read", "committed", name, 0, 2), ["commit@0", "commit@4"])


@scenario
def transaction_fenced_by_a_second_instance():
    name, id = create("txn-fenced"), topic("id")
    AGENT.ask("producer", "old", id, LONG)
    AGENT.sends("old", None, (name, 0, ["old"]))
    equal(stable(name), 0)
    AGENT.ask("producer", "new", id, LONG)
    until_stable(name, 2)
    AGENT.is_fenced("commit", "old")
    AGENT.sends("new", "commit", (name, 0, ["new"]))
    equal(AGENT.ask("read", "committed", name, 0, 1), ["new@2"])
    equal(AGENT.ask("read", "uncommitted", name, 0, 2), ["old@0", "new@2"])


@scenario
def transaction_times_out():
    name, id = create("txn-late"), topic("id")
    AGENT.ask("producer", "late", id, SHORT)
    AGENT.sends("late", None, (name, 0, ["late"]))
    equal(stable(name), 0)
    until_stable(name, 2)
    AGENT.is_too_late("commit", "late")
    AGENT.ask("producer", "again", id, SHORT)
    AGENT.sends("again", "commit", (name, 0, ["again"]))
    equal(AGENT.ask("read", "committed", name, 0, 1), ["again@2"])


@scenario
def transaction_over_a_kill_of_the_broker():
    name, id = create("txn-kill"), topic("id")
    AGENT.ask("producer", "decided", topic("id"), LONG)
    AGENT.ask("producer", "open", id, LONG)
    AGENT.sends("open", None, (name, 0, ["open"]))
    AGENT.sends("decided", "commit", (name, 0, ["decided"]))
    BROKER.restart()
    equal(stable(name), 0)
    AGENT.ask("producer", "next", id, LONG)
    until_stable(name, 4)
    equal(AGENT.ask("read", "committed", name, 0, 1), ["decided@1"])
    AGENT.sends("next", "commit", (name, 0, ["next"]))
    AGENT.sends("decided", "commit", (name, 0, ["on"]))
    equal(AGENT.ask("read", "committed", name, 0, 3), ["decided@1", "next@4", "on@6"])
    equal(AGENT.ask("read", "uncommitted", name, 0, 4), ["open@0", "decided@1", "next@4", "on@6"])


try:
    main(os.environ["CLIENT"])
finally:
    AGENT.process.kill()
    BROKER.kill()
