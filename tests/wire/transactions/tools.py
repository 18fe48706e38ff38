"""Kafka's own tools, as an administrator of transactions uses them: librdkafka writes, and leaves one open."""

import os
import re
import subprocess

from confluent_kafka import KafkaException, Producer

from observer import ADMIN, BROKER, CLIENT, create, stable, until_stable
from scenarios import equal, main, scenario, topic

# They live a second: they are not worth being compiled well.
ENVIRONMENT = {**os.environ, "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1", "KAFKA_HEAP": "128m"}
NODE = next(iter(ADMIN.list_topics(timeout=20).brokers))


def tool(name, *words):
    command = ["tests/kafka/kafka", "run", name, "--bootstrap-server", BROKER.address, *(str(word) for word in words)]
    done = subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.PIPE, check=True, text=True)
    return [line for line in done.stdout.splitlines() if line]


def table(*words):
    """What `kafka-transactions` prints, by the heads of its columns."""
    lines = [re.split(r"\s*\t\s*|\s{2,}", line.strip()) for line in tool("transactions", *words)]
    heads = lines[0] if lines else []
    return [dict(zip(heads, line)) for line in lines[1:]]


def producer(id):
    one = Producer({**CLIENT, "transactional.id": id, "linger.ms": 1})
    one.init_transactions(20)
    return one


def send(one, name, *sent, end=None):
    one.begin_transaction()
    for value in sent:
        one.produce(name, value, partition=0)
    one.flush(20)
    if end:
        getattr(one, f"{end}_transaction")(20)


@scenario
def transactions_list_and_describe():
    name, id, ended = create("txn-tools"), topic("id"), topic("ended")
    send(producer(ended), name, "v", end="commit")
    one = producer(id)
    send(one, name, "open")
    states = {row["TransactionalId"]: row["TransactionState"] for row in table("list")}
    equal([states[id], states[ended]], ["Ongoing", "CompleteCommit"])
    [found] = table("describe", "--transactional-id", id)
    told = [found[key] for key in ("TransactionalId", "CoordinatorId", "ProducerEpoch", "TransactionState", "TopicPartitions")]
    equal(told, [id, str(NODE), "0", "Ongoing", f"{name}-0"])
    equal(found["TransactionTimeoutMs"], "60000")
    mine = [row for row in table("list") if row["TransactionalId"] == id]
    [described] = [row for row in table("describe-producers", "--topic", name, "--partition", 0) if row["ProducerId"] == mine[0]["ProducerId"]]
    equal([described["CurrentTransactionStartOffset"], described["LastSequence"]], ["2", "0"])
    one.abort_transaction(20)
    [found] = table("describe", "--transactional-id", id)
    equal([found["TransactionState"], found.get("TopicPartitions")], ["CompleteAbort", None])


@scenario
def transactions_find_hanging():
    name = create("txn-tools")
    one = producer(topic("id"))
    send(one, name, "open")
    # It is old enough for the tool, and its coordinator knows of it: it does not hang.
    equal(table("find-hanging", "--broker-id", NODE, "--max-transaction-timeout", 0), [])
    one.abort_transaction(20)


@scenario
def transactions_abort():
    name = create("txn-tools")
    one = producer(topic("id"))
    send(one, name, "open")
    equal(stable(name), 0)
    equal(tool("transactions", "abort", "--topic", name, "--partition", 0, "--start-offset", 0), [])
    until_stable(name, 2)
    one.abort_transaction(20)


@scenario
def transactions_terminate():
    name, id = create("txn-tools"), topic("id")
    one = producer(id)
    send(one, name, "open")
    equal(tool("transactions", "forceTerminateTransaction", "--transactionalId", id), [])
    until_stable(name, 2)
    try:
        one.commit_transaction(20)
        raise AssertionError("it was terminated, and committed")
    except KafkaException as error:
        equal(error.args[0].name(), "_FENCED")


@scenario
def transactions_console_consumer():
    name = create("txn-tools")
    one = producer(topic("id"))
    send(one, name, "first", end="commit")
    send(one, name, "never", end="abort")
    send(one, name, "last", end="commit")
    read = ("console-consumer", "--topic", name, "--from-beginning", "--isolation-level")
    equal(tool(*read, "read_committed", "--max-messages", 2), ["first", "last"])
    equal(tool(*read, "read_uncommitted", "--max-messages", 3), ["first", "never", "last"])


@scenario
def transactions_producer_perf_test():
    name = create("txn-tools")
    settings = ("--num-records", 5000, "--record-size", 100, "--throughput", -1, "--transaction-duration-ms", 50)
    told = tool("producer-perf-test", "--topic", name, *settings, "--transactional-id", topic("perf"), "--command-property", "acks=all")
    equal(told[-1].split(",")[0], "5000 records sent")
    # Each transaction's end has an offset, too.
    equal(stable(name) > 5000, True)


try:
    main("tools")
finally:
    BROKER.kill()
