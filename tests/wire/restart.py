"""A broker that is killed and started again under its clients (librdkafka): nobody of them is told to begin anew."""

import os
import threading

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from brokers import Broker
from scenarios import equal, main, scenario, topic

BROKER = Broker(os.environ["RESTART_DIR"])
# What is refused while nobody listens is tried again at once.
CLIENT = {"bootstrap.servers": BROKER.address, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 100}
# Its futures end with it, so it lives as long as the program.
ADMIN = AdminClient(CLIENT)


def create(name, partitions):
    ADMIN.create_topics([NewTopic(name, partitions, 1)])[name].result(20)


def member(name, group, told, **settings):
    consumer = Consumer({
        **CLIENT,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "session.timeout.ms": 30_000,
        "heartbeat.interval.ms": 200,
        **settings,
    })
    listener = {
        "on_assign": lambda _, partitions: told.append(("assigned", len(partitions))),
        "on_revoke": lambda _, partitions: told.append(("revoked", len(partitions))),
        "on_lost": lambda _, partitions: told.append(("lost", len(partitions))),
    }
    consumer.subscribe([name], **listener)
    return consumer


def until(what, done, *consumers):
    found = []
    while not done(found):
        for consumer in consumers:
            record = consumer.poll(0.02)
            if record is not None and not record.error():
                found.append(record)
    return found


def send(name, partition, values, **settings):
    told = []
    producer = Producer({**CLIENT, "linger.ms": 1, **settings})
    for value in values:
        producer.produce(name, value, partition=partition, on_delivery=lambda error, record: told.append((error, record.offset())))
    producer.flush(30)
    return told


@scenario
def members_go_on():
    name, group = topic("restart-group"), topic("group")
    create(name, 4)
    told = [[], []]
    members = [member(name, group, told[0]), member(name, group, told[1])]
    until("two each", lambda _: [len(one.assignment()) for one in members] == [2, 2], *members)
    before = [(one.memberid(), sorted(partition.partition for partition in one.assignment())) for one in members]
    [one.clear() for one in told]
    for _ in range(2):
        BROKER.restart()
        for partition in range(4):
            equal([error for error, _ in send(name, partition, [b"after"] * 25)], [None] * 25)
        found = until("all records", lambda found: len(found) == 100, *members)
        equal({record.partition() for record in found}, {0, 1, 2, 3})
        members[0].commit(asynchronous=False)
    after = [(one.memberid(), sorted(partition.partition for partition in one.assignment())) for one in members]
    equal((after, told), (before, [[], []]))
    [one.close() for one in members]


@scenario
def commits_are_kept():
    name, group = topic("restart-commit"), topic("group")
    equal(len(send(name, 0, [b"%d" % number for number in range(100)])), 100)
    consumer = member(name, group, [])
    until("forty records", lambda found: len(found) >= 40, consumer)
    consumer.commit(offsets=[TopicPartition(name, 0, 40)], asynchronous=False)
    consumer.close()
    BROKER.restart()
    consumer = member(name, group, [])
    equal(until("a record", lambda found: found, consumer)[0].offset(), 40)
    consumer.close()


@scenario
def idempotent_producer_leaves_no_copies():
    name = topic("restart-idempotent")
    create(name, 1)
    told, enough = [], threading.Event()

    def keep_sending():
        producer = Producer({**CLIENT, "enable.idempotence": True, "linger.ms": 1, "batch.num.messages": 20})
        count = 0
        while not enough.is_set():
            producer.produce(name, b"%d" % count, partition=0, on_delivery=lambda error, record: told.append((error, record.offset())))
            count += 1
            while len(producer) > 500:
                producer.poll(0.01)
        producer.flush(30)

    sending = threading.Thread(target=keep_sending)
    sending.start()
    for _ in range(4):
        seen = len(told)
        while len(told) < seen + 1000:
            sending.join(0.01)
        BROKER.restart()
    enough.set()
    sending.join()
    equal([error for error, _ in told if error], [])
    values = [b"%d" % number for number in range(len(told))]
    consumer = Consumer({**CLIENT, "group.id": "unused", "enable.auto.commit": False})
    consumer.assign([TopicPartition(name, 0, 0)])
    found = until("all records", lambda found: len(found) >= len(values), consumer)
    equal(consumer.get_watermark_offsets(TopicPartition(name, 0), timeout=10), (0, len(values)))
    equal([record.value() for record in found], values)
    consumer.close()


try:
    main("restart")
finally:
    BROKER.kill()
