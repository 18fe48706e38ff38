"""What the tests of transactions see with librdkafka, whichever client writes."""

import os
import sys
import time
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from brokers import Broker  # noqa: E402
from scenarios import topic  # noqa: E402

WAIT_SECONDS = 20
SETTINGS = {"transaction.abort.timed.out.transaction.cleanup.interval.ms": 200}
BROKER = Broker(os.environ["TRANSACTIONS_DIR"], **SETTINGS)
CLIENT = {"bootstrap.servers": BROKER.address, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 100}
# Its futures end with it, so it lives as long as the program.
ADMIN = AdminClient(CLIENT)


def create(name, partitions=1):
    name = topic(name)
    ADMIN.create_topics([NewTopic(name, partitions, 1)])[name].result(20)
    return name


def consumer(**settings):
    return Consumer({**CLIENT, "group.id": "unused", "isolation.level": "read_committed", **settings})


def stable(name, partition=0):
    """Up to where readers of what is committed may read."""
    one = consumer()
    end = one.get_watermark_offsets(TopicPartition(name, partition), timeout=10)[1]
    one.close()
    return end


def until_stable(name, offset):
    deadline = time.monotonic() + WAIT_SECONDS
    while (found := stable(name)) != offset:
        if time.monotonic() > deadline:
            raise AssertionError(f"{name} is stable to {found}, never to {offset}")


def committed(group, name):
    """The group's offset of partition 0, as a client that asks for stable ones is told; None without one."""
    one = consumer(**{"group.id": group})
    offset = one.committed([TopicPartition(name, 0)], timeout=10)[0].offset
    one.close()
    return offset if offset >= 0 else None
