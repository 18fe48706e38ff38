"""kafka-python: pure Python."""

import os

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
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


main("kafka_python")
