"""aiokafka: asyncio in Python."""

import asyncio
import os

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import InvalidProducerEpoch, ProducerFenced

from agent import records, serve

BROKER = os.environ["BOOTSTRAP"]
LOOP = asyncio.new_event_loop()


async def consume(consumer, count):
    return [(record.offset, record.value) for record in [await consumer.getone() for _ in range(count)]]


class Agent:
    """Every command runs on the one loop that the producers live on."""

    def __init__(self):
        self.producers = {}

    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        return (lambda *words: LOOP.run_until_complete(found(*words))) if asyncio.iscoroutinefunction(found) else found

    async def producer(self, name, id, timeout_ms):
        producer = AIOKafkaProducer(bootstrap_servers=BROKER, transactional_id=id, transaction_timeout_ms=int(timeout_ms))
        await producer.start()
        self.producers[name] = producer

    async def begin(self, name):
        await self.producers[name].begin_transaction()

    async def send(self, name, topic, partition, *values):
        told = [await self.producers[name].send(topic, value.encode(), partition=int(partition)) for value in values]
        for one in told:
            await one

    async def commit(self, name):
        await self.producers[name].commit_transaction()

    async def abort(self, name):
        await self.producers[name].abort_transaction()

    async def read(self, isolation, topic, partition, count):
        consumer = AIOKafkaConsumer(bootstrap_servers=BROKER, enable_auto_commit=False, isolation_level=f"read_{isolation}")
        await consumer.start()
        place = TopicPartition(topic, int(partition))
        consumer.assign([place])
        consumer.seek(place, 0)
        found = await consume(consumer, int(count))
        await consumer.stop()
        return records(found)

    async def transform(self, name, group, source, target, count, end):
        producer = self.producers[name]
        consumer = AIOKafkaConsumer(
            source,
            bootstrap_servers=BROKER,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            isolation_level="read_committed",
        )
        await consumer.start()
        found = await consume(consumer, int(count))
        await producer.begin_transaction()
        for _, value in found:
            await producer.send_and_wait(target, value.upper(), partition=0)
        await producer.send_offsets_to_transaction({TopicPartition(source, 0): found[-1][0] + 1}, group)
        await (producer.commit_transaction() if end == "commit" else producer.abort_transaction())
        await consumer.stop()
        return records(found)


def kind_of(error):
    return "fenced" if isinstance(error, (InvalidProducerEpoch, ProducerFenced)) else "error"


serve(Agent(), kind_of)
