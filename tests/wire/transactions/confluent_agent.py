"""confluent-kafka: librdkafka in Python."""

import os

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from agent import records, serve

BROKER = {"bootstrap.servers": os.environ["BOOTSTRAP"], "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 100}
FENCED = (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH)


def consume(consumer, count):
    found = []
    while len(found) < count:
        record = consumer.poll(1)
        if record is not None and record.error():
            raise KafkaException(record.error())
        if record is not None:
            found.append((record.offset(), record.value()))
    return found[:count]


class Agent:
    def __init__(self):
        self.producers = {}

    def producer(self, name, id, timeout_ms):
        producer = Producer({**BROKER, "transactional.id": id, "transaction.timeout.ms": int(timeout_ms), "linger.ms": 1})
        producer.init_transactions(20)
        self.producers[name] = producer

    def begin(self, name):
        self.producers[name].begin_transaction()

    def send(self, name, topic, partition, *values):
        told = []
        for value in values:
            self.producers[name].produce(topic, value, partition=int(partition), on_delivery=lambda error, _: told.append(error))
        self.producers[name].flush(20)
        for error in told:
            if error:
                raise KafkaException(error)
        if len(told) < len(values):
            raise TimeoutError(f"{len(told)} of {len(values)} records are acknowledged")

    def commit(self, name):
        self.producers[name].commit_transaction(20)

    def abort(self, name):
        self.producers[name].abort_transaction(20)

    def read(self, isolation, topic, partition, count):
        consumer = Consumer({**BROKER, "group.id": "unused", "isolation.level": f"read_{isolation}"})
        consumer.assign([TopicPartition(topic, int(partition), 0)])
        found = consume(consumer, int(count))
        consumer.close()
        return records(found)

    def transform(self, name, group, source, target, count, end):
        producer = self.producers[name]
        settings = {"group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False}
        consumer = Consumer({**BROKER, **settings, "isolation.level": "read_committed"})
        consumer.subscribe([source])
        found = consume(consumer, int(count))
        producer.begin_transaction()
        self.send(name, target, 0, *(value.upper() for _, value in found))
        offsets = [TopicPartition(source, 0, found[-1][0] + 1)]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 20)
        getattr(self, end)(name)
        consumer.close()
        return records(found)


def kind_of(error):
    is_fenced = isinstance(error, KafkaException) and error.args[0].code() in FENCED
    return "fenced" if is_fenced else "error"


serve(Agent(), kind_of)
