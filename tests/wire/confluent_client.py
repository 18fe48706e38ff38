"""confluent-kafka: librdkafka in Python."""

import os

from confluent_kafka import (
    OFFSET_END,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic, OffsetSpec

from scenarios import equal, main, scenario, topic

BROKER = {"bootstrap.servers": os.environ["BOOTSTRAP"]}
# Its futures end with it, so it lives as long as the program.
ADMIN = AdminClient(BROKER)


def produce(name, values, partition=0, **settings):
    producer = Producer({**BROKER, **settings})
    told = []
    for value in values:
        producer.produce(name, value, key=b"k", partition=partition, on_delivery=lambda error, record: told.append((error, record)))
    producer.flush(20)
    errors = [error for error, _ in told if error]
    equal(errors, [])
    return [record.offset() for _, record in told]


def consume(consumer, count):
    found = []
    while len(found) < count:
        record = consumer.poll(20)
        if record is None:
            raise AssertionError(f"{len(found)} of {count} records")
        if record.error():
            raise KafkaException(record.error())
        found.append(record)
    return found


def reader(name, offset, **settings):
    consumer = Consumer({**BROKER, "group.id": "unused", "enable.auto.commit": False, "check.crcs": True, **settings})
    consumer.assign([TopicPartition(name, 0, offset)])
    return consumer


def create(name, partitions=1, **settings):
    ADMIN.create_topics([NewTopic(name, partitions, 1, **settings)])[name].result(20)


@scenario
def produce_consume():
    name = topic("confluent")
    values = [b"%d" % number for number in range(5000)]
    equal(produce(name, values), list(range(5000)))
    consumer = reader(name, 0)
    found = consume(consumer, 5000)
    equal([(record.offset(), record.value()) for record in found], list(enumerate(values)))
    consumer.close()


@scenario
def large_records():
    name = topic("confluent-large")
    values = [bytes([number]) * 900_000 for number in range(12)]
    produce(name, values)
    consumer = reader(name, 0)
    equal([record.value() == value for record, value in zip(consume(consumer, 12), values)], [True] * 12)
    consumer.close()


@scenario
def too_large_is_refused():
    name = topic("confluent-over")
    create(name, config={"max.message.bytes": "1000"})
    told = []
    producer = Producer(BROKER)
    producer.produce(name, b"x" * 5000, on_delivery=lambda error, _: told.append(error.name()))
    producer.flush(20)
    equal(told, ["MSG_SIZE_TOO_LARGE"])


@scenario
def codecs():
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
        name = topic(f"confluent-{codec}")
        values = [b"value %d " % number * 20 for number in range(500)]
        produce(name, values, **{"compression.type": codec, "linger.ms": 50})
        consumer = reader(name, 0)
        equal([record.value() for record in consume(consumer, 500)], values, codec)
        consumer.close()


@scenario
def seek():
    name = topic("confluent-seek")
    produce(name, [b"%d" % number for number in range(100)])
    consumer = reader(name, 90)
    equal(consume(consumer, 1)[0].offset(), 90)
    consumer.seek(TopicPartition(name, 0, 10))
    equal(consume(consumer, 1)[0].offset(), 10)
    equal(consumer.get_watermark_offsets(TopicPartition(name, 0)), (0, 100))
    consumer.close()


@scenario
def waits_for_records():
    name = topic("confluent-late")
    create(name)
    consumer = reader(name, OFFSET_END, **{"fetch.wait.max.ms": 10_000})
    equal(consumer.poll(1), None)
    produce(name, [b"late"])
    equal(consume(consumer, 1)[0].value(), b"late")
    consumer.close()


@scenario
def acks():
    name = topic("confluent-acks")
    create(name)
    for number, acks in enumerate(["0", "1", "all"]):
        produce(name, [b"v"], acks=acks)
        consumer = reader(name, number)
        equal(consume(consumer, 1)[0].offset(), number, f"acks={acks}")
        consumer.close()


@scenario
def topics():
    name = topic("confluent-admin")
    create(name, 3)
    try:
        create(name)
        raise AssertionError("made twice")
    except KafkaException as error:
        equal(error.args[0].name(), "TOPIC_ALREADY_EXISTS")
    equal(len(ADMIN.list_topics(timeout=10).topics[name].partitions), 3)
    ADMIN.create_partitions([NewPartitions(name, 5)])[name].result(20)
    equal(len(ADMIN.list_topics(timeout=10).topics[name].partitions), 5)
    cluster = ADMIN.describe_cluster().result(20)
    equal((cluster.controller.id, len(cluster.nodes)), (0, 1))
    described = ADMIN.describe_topics(TopicCollection([name]))[name].result(20)
    equal(len(described.partitions), 5)
    ADMIN.delete_topics([name])[name].result(20)
    equal(name in ADMIN.list_topics(timeout=10).topics, False)


@scenario
def offsets_by_time():
    name = topic("confluent-time")
    producer = Producer(BROKER)
    for number in range(10):
        producer.produce(name, b"v", partition=0, timestamp=1_700_000_000_000 + number * 1000)
    producer.flush(20)
    consumer = reader(name, 0)
    asked = [TopicPartition(name, 0, 1_700_000_004_500)]
    equal(consumer.offsets_for_times(asked, timeout=10)[0].offset, 5)
    consumer.close()
    partition = TopicPartition(name, 0)
    found = ADMIN.list_offsets({partition: OffsetSpec.latest()})[partition].result(20)
    equal(found.offset, 10)


def member(name, group, **settings):
    told = []
    consumer = Consumer({
        **BROKER,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "session.timeout.ms": 6000,
        "heartbeat.interval.ms": 200,
        **settings,
    })
    consumer.subscribe(
        [name],
        on_assign=lambda _, partitions: told.append(("assigned", [one.partition for one in partitions])),
        on_revoke=lambda _, partitions: told.append(("revoked", [one.partition for one in partitions])),
    )
    return consumer, told


def until(what, done, *consumers):
    """Polls all consumers in turn until it is done; returns the records."""
    found = []
    for _ in range(1000):
        if done(found):
            return found
        for consumer in consumers:
            record = consumer.poll(0.02)
            if record is not None and not record.error():
                found.append(record)
    raise AssertionError(f"never: {what}")


def owned(*consumers):
    return sorted(sorted(one.partition for one in consumer.assignment()) for consumer in consumers)


def rebalances(strategy):
    name, group = topic("confluent-group"), topic("group")
    create(name, 4)
    for partition in range(4):
        produce(name, [b"%d" % number for number in range(50)], partition=partition)
    settings = {"partition.assignment.strategy": strategy}
    first, _ = member(name, group, **settings)
    found = until("all records", lambda found: len(found) == 200, first)
    equal({record.partition() for record in found}, {0, 1, 2, 3})
    first.commit(asynchronous=False)
    second, _ = member(name, group, **settings)
    shared = lambda _: [len(one) for one in owned(first, second)] == [2, 2]
    again = until("two each", shared, first, second)
    equal((again, sorted(sum(owned(first, second), []))), ([], [0, 1, 2, 3]))
    first.close()
    until("all for the second", lambda _: owned(second) == [[0, 1, 2, 3]], second)
    produce(name, [b"more"], partition=3)
    equal([record.offset() for record in until("the new record", lambda found: found, second)], [50])
    second.close()


@scenario
def group_rebalance_eager():
    rebalances("range")


@scenario
def group_rebalance_cooperative():
    rebalances("cooperative-sticky")


@scenario
def static_member():
    name, group = topic("confluent-static"), topic("group")
    create(name, 2)
    produce(name, [b"v"])
    consumer, told = member(name, group, **{"group.instance.id": "one"})
    until("a record", lambda found: found, consumer)
    id_before = consumer.memberid()
    consumer.close()
    consumer, told = member(name, group, **{"group.instance.id": "one"})
    until("its assignment", lambda _: told, consumer)
    equal(told, [("assigned", [0, 1])])
    equal(consumer.memberid() == id_before, False)
    described = ADMIN.describe_consumer_groups([group])[group].result(20)
    equal([one.group_instance_id for one in described.members], ["one"])
    consumer.close()


@scenario
def commit_and_go_on():
    name, group = topic("confluent-commit"), topic("group")
    produce(name, [b"%d" % number for number in range(100)])
    consumer, _ = member(name, group)
    until("forty records", lambda found: len(found) >= 40, consumer)
    partition = TopicPartition(name, 0)
    stored = consumer.commit(offsets=[TopicPartition(name, 0, 40, metadata="forty")], asynchronous=False)
    equal([(one.offset, one.error) for one in stored], [(40, None)])
    kept = consumer.committed([partition], timeout=10)[0]
    equal((kept.offset, kept.metadata), (40, "forty"))
    consumer.close()
    consumer, _ = member(name, group)
    equal(until("a record", lambda found: found, consumer)[0].offset(), 40)
    consumer.close()


@scenario
def idempotent_producer():
    name = topic("confluent-idempotent")
    values = [b"%d" % number for number in range(3000)]
    settings = {"enable.idempotence": True, "linger.ms": 1, "batch.num.messages": 50}
    equal(produce(name, values, **settings), list(range(3000)))
    consumer = reader(name, 0)
    equal([record.value() for record in consume(consumer, 3000)], values)
    consumer.close()


@scenario
def groups_admin():
    name, group = topic("confluent-groups"), topic("group")
    create(name)
    consumer, told = member(name, group)
    until("its assignment", lambda _: told, consumer)
    listed = ADMIN.list_consumer_groups().result(20)
    equal([one.state.name for one in listed.valid if one.group_id == group], ["STABLE"])
    described = ADMIN.describe_consumer_groups([group])[group].result(20)
    equal((described.state.name, described.partition_assignor, len(described.members)), ("STABLE", "range", 1))
    equal([one.topic for one in described.members[0].assignment.topic_partitions], [name])
    try:
        ADMIN.delete_consumer_groups([group])[group].result(20)
        raise AssertionError("a live group was deleted")
    except KafkaException as error:
        equal(error.args[0].name(), "NON_EMPTY_GROUP")
    consumer.close()
    wanted = ConsumerGroupTopicPartitions(group, [TopicPartition(name, 0, 7)])
    ADMIN.alter_consumer_group_offsets([wanted])[group].result(20)
    asked = ConsumerGroupTopicPartitions(group, [TopicPartition(name, 0)])
    kept = ADMIN.list_consumer_group_offsets([asked])[group].result(20)
    equal([one.offset for one in kept.topic_partitions], [7])
    ADMIN.delete_consumer_groups([group])[group].result(20)
    equal([one for one in ADMIN.list_consumer_groups().result(20).valid if one.group_id == group], [])


main("confluent")
