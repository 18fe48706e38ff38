"""aiokafka: asyncio in Python."""

import asyncio
import os

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic

from scenarios import equal, main, scenario, topic

BROKER = os.environ["BOOTSTRAP"]


def asynchronous(function):
    def run():
        asyncio.run(function())

    run.__name__ = function.__name__
    return scenario(run)


async def produce(name, values, **settings):
    producer = AIOKafkaProducer(bootstrap_servers=BROKER, **settings)
    await producer.start()
    told = [await producer.send(name, value, key=b"k", partition=0) for value in values]
    offsets = [(await one).offset for one in told]
    await producer.stop()
    return offsets


async def consume(name, count, offset=0):
    consumer = AIOKafkaConsumer(bootstrap_servers=BROKER, enable_auto_commit=False)
    await consumer.start()
    consumer.assign([TopicPartition(name, 0)])
    consumer.seek(TopicPartition(name, 0), offset)
    found = [await consumer.getone() for _ in range(count)]
    await consumer.stop()
    return found


@asynchronous
async def produce_consume():
    name = topic("aiokafka")
    values = [b"%d" % number for number in range(2000)]
    equal(await produce(name, values), list(range(2000)))
    equal([(record.offset, record.value) for record in await consume(name, 2000)], list(enumerate(values)))


@asynchronous
async def codecs():
    for codec in ["gzip", "snappy", "lz4", "zstd"]:
        name = topic(f"aiokafka-{codec}")
        values = [b"value %d " % number * 20 for number in range(300)]
        await produce(name, values, compression_type=codec, linger_ms=50)
        equal([record.value for record in await consume(name, 300)], values, codec)


@asynchronous
async def seek():
    name = topic("aiokafka-seek")
    await produce(name, [b"%d" % number for number in range(100)])
    equal((await consume(name, 1, offset=90))[0].offset, 90)


@asynchronous
async def topics():
    admin = AIOKafkaAdminClient(bootstrap_servers=BROKER)
    await admin.start()
    name = topic("aiokafka-admin")
    await admin.create_topics([NewTopic(name, 3, 1)])
    equal(name in await admin.list_topics(), True)
    await admin.create_partitions({name: NewPartitions(5)})
    equal(len((await admin.describe_topics([name]))[0]["partitions"]), 5)
    await admin.delete_topics([name])
    equal(name in await admin.list_topics(), False)
    await admin.close()


def member(name, group, **settings):
    return AIOKafkaConsumer(
        name,
        bootstrap_servers=BROKER,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=6000,
        heartbeat_interval_ms=200,
        metadata_max_age_ms=500,
        **settings,
    )


async def until(what, done):
    for _ in range(300):
        if done():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"never: {what}")


@asynchronous
async def group_rebalance():
    admin = AIOKafkaAdminClient(bootstrap_servers=BROKER)
    await admin.start()
    name, group = topic("aiokafka-group"), topic("group")
    await admin.create_topics([NewTopic(name, 4, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=BROKER)
    await producer.start()
    for number in range(200):
        await producer.send_and_wait(name, b"%d" % number, partition=number % 4)
    await producer.stop()
    first, second = member(name, group), member(name, group)
    await first.start()
    found = [await first.getone() for _ in range(200)]
    equal(len({(record.partition, record.offset) for record in found}), 200)
    await first.commit()
    await second.start()
    await until("two each", lambda: len(first.assignment()) == len(second.assignment()) == 2)
    await first.stop()
    await until("all for the second", lambda: len(second.assignment()) == 4)
    await second.stop()


@asynchronous
async def commit_and_go_on():
    name, group = topic("aiokafka-commit"), topic("group")
    await produce(name, [b"%d" % number for number in range(100)])
    consumer, partition = member(name, group), TopicPartition(name, 0)
    await consumer.start()
    [await consumer.getone() for _ in range(50)]
    await consumer.commit({partition: (40, "forty")})
    equal(await consumer.committed(partition), 40)
    await consumer.stop()
    consumer = member(name, group)
    await consumer.start()
    equal((await consumer.getone()).offset, 40)
    await consumer.stop()


@asynchronous
async def idempotent_producer():
    name = topic("aiokafka-idempotent")
    values = [b"%d" % number for number in range(1000)]
    equal(await produce(name, values, enable_idempotence=True), list(range(1000)))
    equal([record.value for record in await consume(name, 1000)], values)


@asynchronous
async def groups_admin():
    admin = AIOKafkaAdminClient(bootstrap_servers=BROKER)
    await admin.start()
    name, group = topic("aiokafka-groups"), topic("group")
    await produce(name, [b"v"])
    consumer = member(name, group)
    await consumer.start()
    await consumer.getone()
    await consumer.commit()
    equal(group in str(await admin.list_consumer_groups()), True)
    equal("Stable" in str(await admin.describe_consumer_groups([group])), True)
    await consumer.stop()
    kept = await admin.list_consumer_group_offsets(group)
    equal({partition.topic: one.offset for partition, one in kept.items()}, {name: 1})
    await admin.close()


main("aiokafka")
