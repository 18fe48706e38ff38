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


main("aiokafka")
