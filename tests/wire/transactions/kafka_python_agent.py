"""kafka-python: pure Python."""

import os

from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.errors import InvalidProducerEpochError, ProducerFencedError

from agent import records, serve

BROKER = os.environ["BOOTSTRAP"]


def consume(consumer, count):
    found = []
    while len(found) < count:
        for polled in consumer.poll(timeout_ms=2000).values():
            found.extend((record.offset, record.value) for record in polled)
    return found[:count]


class Agent:
    def __init__(self):
        self.producers = {}

    def producer(self, name, id, timeout_ms):
        producer = KafkaProducer(bootstrap_servers=BROKER, transactional_id=id, transaction_timeout_ms=int(timeout_ms))
        producer.init_transactions()
        self.producers[name] = producer

    def begin(self, name):
        self.producers[name].begin_transaction()

    def send(self, name, topic, partition, *values):
        told = [self.producers[name].send(topic, value.encode(), partition=int(partition)) for value in values]
        self.producers[name].flush(20)
        for one in told:
            one.get(20)

    def commit(self, name):
        self.producers[name].commit_transaction()

    def abort(self, name):
        self.producers[name].abort_transaction()

    def read(self, isolation, topic, partition, count):
        consumer = KafkaConsumer(bootstrap_servers=BROKER, enable_auto_commit=False, isolation_level=f"read_{isolation}")
        place = TopicPartition(topic, int(partition))
        consumer.assign([place])
        consumer.seek(place, 0)
        found = consume(consumer, int(count))
        consumer.close()
        return records(found)

    def transform(self, name, group, source, target, count, end):
        consumer = KafkaConsumer(
            source,
            bootstrap_servers=BROKER,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            isolation_level="read_committed",
        )
        found = consume(consumer, int(count))
        self.begin(name)
        self.send(name, target, 0, *(value.decode().upper() for _, value in found))
        offsets = {TopicPartition(source, 0): OffsetAndMetadata(found[-1][0] + 1, "", -1)}
        self.producers[name].send_offsets_to_transaction(offsets, consumer.group_metadata())
        getattr(self, end)(name)
        consumer.close()
        return records(found)


def kind_of(error):
    return "fenced" if isinstance(error, (InvalidProducerEpochError, ProducerFencedError)) else "error"


serve(Agent(), kind_of)
