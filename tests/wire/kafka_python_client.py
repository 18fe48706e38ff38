"""kafka-python: pure Python."""

import os
import threading

from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import KafkaAdminClient, NewPartitions, NewTopic
from kafka.errors import TopicAlreadyExistsError

from scenarios import equal, main, scenario, topic

BROKER = os.environ["BOOTSTRAP"]


def produce(name, values, **settings):
    producer = KafkaProducer(bootstrap_servers=BROKER, **{"enable_idempotence": False, **settings})
    told = [producer.send(name, value, key=b"k", partition=0) for value in values]
    producer.flush(20)
    producer.close()
    return [one.get(10).offset for one in told]


def reader(name, offset=0):
    consumer = KafkaConsumer(bootstrap_servers=BROKER, enable_auto_commit=False, check_crcs=True)
    consumer.assign([TopicPartition(name, 0)])
    consumer.seek(TopicPartition(name, 0), offset)
    return consumer


def consume(consumer, count):
    found = []
    while len(found) < count:
        for records in consumer.poll(timeout_ms=1000).values():
            found.extend(records)
    return found


@scenario
def produce_consume():
    name = topic("kafka-python")
    values = [b"%d" % number for number in range(2000)]
    equal(produce(name, values), list(range(2000)))
    consumer = reader(name)
    equal([(record.offset, record.value) for record in consume(consumer, 2000)], list(enumerate(values)))
    consumer.close()


@scenario
def codecs():
    for codec in ["gzip", "snappy", "lz4", "zstd"]:
        name = topic(f"kafka-python-{codec}")
        values = [b"value %d " % number * 20 for number in range(300)]
        produce(name, values, compression_type=codec, linger_ms=50)
        consumer = reader(name)
        equal([record.value for record in consume(consumer, 300)], values, codec)
        consumer.close()


@scenario
def seek():
    name = topic("kafka-python-seek")
    produce(name, [b"%d" % number for number in range(100)])
    partition = TopicPartition(name, 0)
    consumer = reader(name, 90)
    equal(consume(consumer, 1)[0].offset, 90)
    consumer.seek(partition, 10)
    equal(consume(consumer, 1)[0].offset, 10)
    equal((consumer.beginning_offsets([partition]), consumer.end_offsets([partition])), ({partition: 0}, {partition: 100}))
    equal(consumer.offsets_for_times({partition: 1})[partition].offset, 0)
    consumer.close()


@scenario
def topics():
    admin = KafkaAdminClient(bootstrap_servers=BROKER)
    name = topic("kafka-python-admin")
    admin.create_topics([NewTopic(name, 3, 1)])
    try:
        admin.create_topics([NewTopic(name, 3, 1)])
        raise AssertionError("made twice")
    except TopicAlreadyExistsError:
        pass
    equal(name in admin.list_topics(), True)
    admin.create_partitions({name: NewPartitions(5)})
    equal(len(admin.describe_topics([name])[0]["partitions"]), 5)
    admin.delete_topics([name])
    equal(name in admin.list_topics(), False)
    admin.close()


def member(name, group, **settings):
    return KafkaConsumer(
        name,
        bootstrap_servers=BROKER,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=6000,
        heartbeat_interval_ms=200,
        **settings,
    )


# Longer than a join takes: in kafka-python 3.0.12 a join that ends between two polls leaves its member without heartbeats.
POLL_MS = 2000


def until(what, done, *consumers):
    found = []
    for _ in range(20):
        if done(found):
            return found
        for consumer in consumers:
            for records in consumer.poll(timeout_ms=POLL_MS).values():
                found.extend(records)
    raise AssertionError(f"never: {what}")


@scenario
def group_rebalance():
    name, group = topic("kafka-python-group"), topic("group")
    KafkaAdminClient(bootstrap_servers=BROKER).create_topics([NewTopic(name, 4, 1)])
    producer = KafkaProducer(bootstrap_servers=BROKER)
    for number in range(200):
        producer.send(name, b"%d" % number, partition=number % 4)
    producer.flush(20)
    first = member(name, group)
    until("all records", lambda found: len(found) == 200, first)
    first.commit()
    # Each in its own thread: one that waits for the others must not keep them from being polled.
    stop, second_has = threading.Event(), []

    def other():
        second = member(name, group)
        while not stop.is_set():
            second.poll(timeout_ms=POLL_MS)
            second_has[:] = second.assignment()
        second.close()

    thread = threading.Thread(target=other)
    thread.start()
    try:
        again = until("two each", lambda _: len(first.assignment()) == len(second_has) == 2, first)
        equal(again, [])
    finally:
        stop.set()
        thread.join(20)
    until("all for the first", lambda _: len(first.assignment()) == 4, first)
    first.close()


@scenario
def commit_and_go_on():
    name, group = topic("kafka-python-commit"), topic("group")
    produce(name, [b"%d" % number for number in range(100)])
    consumer = member(name, group)
    until("records", lambda found: len(found) >= 40, consumer)
    partition = TopicPartition(name, 0)
    consumer.commit({partition: OffsetAndMetadata(40, "forty", -1)})
    equal(consumer.committed(partition), 40)
    consumer.close()
    consumer = member(name, group)
    equal(until("a record", lambda found: found, consumer)[0].offset, 40)
    consumer.close()


@scenario
def idempotent_producer():
    name = topic("kafka-python-idempotent")
    values = [b"%d" % number for number in range(1000)]
    equal(produce(name, values, enable_idempotence=True), list(range(1000)))
    consumer = reader(name)
    equal([record.value for record in consume(consumer, 1000)], values)
    consumer.close()


@scenario
def groups_admin():
    admin = KafkaAdminClient(bootstrap_servers=BROKER)
    name, group = topic("kafka-python-groups"), topic("group")
    produce(name, [b"v"])
    consumer = member(name, group)
    until("a record", lambda found: found, consumer)
    consumer.commit()
    equal(group in str(admin.list_groups()), True)
    equal("Stable" in str(admin.describe_groups([group])), True)
    consumer.close()
    equal(":1" in str(admin.list_group_offsets(group)).replace(" ", "").replace("offset=1", ":1"), True)
    admin.delete_groups([group])
    equal(group in str(admin.list_groups()), False)
    admin.close()


main("kafka_python")
