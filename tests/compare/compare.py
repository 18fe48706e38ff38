"""Starts Apache Kafka and the broker beside one another and puts the same load on each in turn, again and again: see `run`.

What is compared is the ratio of two loads that followed one another; a round's order is the next one's other way round. Of each load
the first half warms up and is not counted. CPU is user and system time of the broker's process alone.
"""

import argparse
import json
import mmap
import os
import re
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

KAFKA = "tests/kafka/kafka"
BROKER = os.environ["BROKER"]
READ = os.environ["READ"]
WRITE = os.environ["WRITE"]
VALUE = b"v" * 100
START_DEADLINE_S = 60
# Records a batch of what is read: about 13 KB, as Kafka's own producer makes them, and 0.9 MB.
BATCHES = {"small": 125, "large": 8000}
# More than a load writes.
TOUCHED_BYTES = 512 << 20
LEFT_BYTES = 2 << 30
# A broker that ends is no news to its clients here.
QUIET = {"log_level": 0}


def cpu_s(pid):
    """User and system time of all threads of a process, those that ended among them: Linux's clock for it, in nanoseconds, where
    /proc has hundredths of a second."""
    return time.clock_gettime((~pid << 3) | 2)


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read()).group(1)) / 1024


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def first_answer(port):
    """Waits until an ApiVersions request is answered."""
    header = struct.pack(">hhih", 18, 0, 1, -1)
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(struct.pack(">i", len(header)) + header)
                if len(connection.recv(4)) == 4:
                    return time.monotonic()
        except OSError:
            time.sleep(0.0005)
    raise SystemExit(f"port {port} answers nothing after {START_DEADLINE_S} s")


class Kafka:
    def __init__(self, name="Apache Kafka"):
        self.name = name
        self.port = free_port()
        self.dir = tempfile.mkdtemp()
        self.kafka("start", "-p", str(self.port))
        self.kafka("stop")
        # Its data folder is formatted: this start is like any other.
        answered = []
        waiting = threading.Thread(target=lambda: answered.append(first_answer(self.port)))
        begun = time.monotonic()
        waiting.start()
        self.kafka("resume")
        waiting.join()
        self.start_ms = (answered[0] - begun) * 1000
        pids = subprocess.run([KAFKA, "pids", "-d", self.dir], capture_output=True, text=True, check=True)
        self.pid = int(pids.stdout.split()[1])

    def kafka(self, command, *args):
        subprocess.run([KAFKA, command, "-d", self.dir, *args], stdout=subprocess.DEVNULL, check=True)

    def stop(self):
        self.kafka("stop")
        shutil.rmtree(self.dir, ignore_errors=True)


class Ours:
    def __init__(self):
        self.name = "this broker"
        self.port = free_port()
        self.dir = tempfile.mkdtemp()
        listen = f"127.0.0.1:{self.port}"
        begun = time.monotonic()
        self.process = subprocess.Popen(
            [BROKER, "--dir", self.dir, "--listen", listen], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.start_ms = (first_answer(self.port) - begun) * 1000
        self.pid = self.process.pid

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        shutil.rmtree(self.dir, ignore_errors=True)


def bootstrap(broker):
    return f"127.0.0.1:{broker.port}"


def admin(broker):
    return AdminClient({"bootstrap.servers": bootstrap(broker), **QUIET})


def create(broker, topic):
    # The futures end with their client, so it lives as long as they are waited for.
    client = admin(broker)
    for created in client.create_topics([NewTopic(topic, 1, 1)]).values():
        created.result()


def delete(broker, topic):
    client = admin(broker)
    for deleted in client.delete_topics([topic]).values():
        deleted.result()


class Half:
    """Counts the second half of a load: time, and CPU of the broker."""

    def __init__(self, broker):
        self.broker = broker

    def begin(self):
        self.time, self.cpu = time.monotonic(), cpu_s(self.broker.pid)

    def end(self, count):
        return count, time.monotonic() - self.time, cpu_s(self.broker.pid) - self.cpu


def perf_test(broker, topic, records):
    """Kafka's own producer, once it is warm. CPU is counted from its start."""
    command = [KAFKA, "run", "producer-perf-test", "--topic", topic, "--num-records", str(records)]
    command += ["--warmup-records", str(records // 2), "--record-size", "100", "--throughput", "-1"]
    command += ["--bootstrap-server", bootstrap(broker), "--command-property", "acks=all"]
    cpu = cpu_s(broker.pid)
    said = subprocess.run(command, capture_output=True, text=True)
    if said.returncode:
        raise SystemExit(f"producer-perf-test failed:\n{said.stdout}{said.stderr}")
    steady = [line for line in said.stdout.splitlines() if "50th" in line][-1]
    return records, records / float(re.search(r"([\d.]+) records/sec", steady).group(1)), cpu_s(broker.pid) - cpu


def in_rust(program, broker, topic, records):
    """librdkafka through a program in Rust, which reads and does nothing with what it reads, or writes."""
    half = Half(broker)
    with subprocess.Popen([program, bootstrap(broker), topic, str(records)], stdout=subprocess.PIPE, text=True) as running:
        for line in running.stdout:
            if int(line) == records // 2:
                half.begin()
            else:
                return half.end(records - records // 2)
    raise SystemExit(f"{program} failed")


def fill(broker, topic, records, batch):
    subprocess.run([WRITE, bootstrap(broker), topic, str(records), str(batch)], stdout=subprocess.DEVNULL, check=True)


def produce_in_python(broker, topic, records):
    producer = Producer({"bootstrap.servers": bootstrap(broker), **QUIET, "acks": "all", "queue.buffering.max.messages": 200_000})
    half = Half(broker)
    for number in range(records):
        if number == records // 2:
            producer.flush()
            half.begin()
        while True:
            try:
                producer.produce(topic, VALUE, partition=0)
                break
            except BufferError:
                producer.poll(0.01)
    producer.flush()
    return half.end(records - records // 2)


def consumer(broker, **settings):
    settings = {"bootstrap.servers": bootstrap(broker), "group.id": "compared", "enable.auto.commit": False, **settings}
    return Consumer({**QUIET, **settings})


def consume_in_python(broker, topic, records):
    """librdkafka through Python, which makes an object of each record."""
    # Without the setting it waits for a second whenever 100,000 records are in its queue.
    reader, half, found = consumer(broker, **{"fetch.queue.backoff.ms": 2}), Half(broker), 0
    reader.assign([TopicPartition(topic, 0, 0)])
    start = None
    while found < records:
        if start is None and found >= records // 2:
            start = found
            half.begin()
        found += len(reader.consume(10_000, timeout=5))
    ended = half.end(found - start)
    reader.close()
    return ended


def commit(broker, topic, commits):
    reader, half = consumer(broker), Half(broker)
    for number in range(commits):
        if number == commits // 2:
            half.begin()
        reader.commit(offsets=[TopicPartition(topic, 0, number)], asynchronous=False)
    ended = half.end(commits - commits // 2)
    reader.close()
    return ended


def loads(records, commits):
    """What is done in a round, by name: topic, its own or one of those filled before, and the load."""
    return {
        "perf-test": ("perf", lambda *at: perf_test(*at, records)),
        "produce in Rust": ("rust", lambda *at: in_rust(WRITE, *at, records)),
        "produce in Python": ("python", lambda *at: produce_in_python(*at, records // 2)),
        "consume in Rust, small batches": ("small", lambda *at: in_rust(READ, *at, records)),
        "consume in Rust, large batches": ("large", lambda *at: in_rust(READ, *at, records)),
        "consume in Python, small batches": ("small", lambda *at: consume_in_python(*at, records)),
        "consume in Python, large batches": ("large", lambda *at: consume_in_python(*at, records)),
        "commits": ("small", lambda *at: commit(*at, commits)),
    }


def touch(size):
    with mmap.mmap(-1, size) as memory:
        for at in range(0, size, mmap.PAGESIZE):
            memory[at] = 1


def touch_all():
    """All free memory but some is touched once. A virtual machine is given it by its host only then, page by page, and that counts as
    the time of who touches it first: whoever writes what the other one has not written before."""
    free = next(int(line.split()[1]) << 10 for line in open("/proc/meminfo") if line.startswith("MemFree:"))
    if free > LEFT_BYTES:
        touch(free - LEFT_BYTES)


def settle():
    """What was written before is not written to the disk during the next load; and what that writes goes to memory that was touched
    just before: the host of a virtual machine may have taken back what was free."""
    os.sync()
    touch(TOUCHED_BYTES)


def one_round(brokers, records, commits):
    """By load and broker: units a second, and CPU microseconds of the broker for each."""
    found = {}
    for name, (topic, load) in loads(records, commits).items():
        found[name] = {}
        for broker in brokers:
            if topic not in BATCHES:
                create(broker, topic)
            settle()
            count, took, cpu = load(broker, topic)
            found[name][broker.name] = (count / took, cpu / count * 1e6)
            if topic not in BATCHES:
                delete(broker, topic)
    return found


class Report:
    def __init__(self, as_json):
        self.json = as_json
        if not as_json:
            print(f"{'':<58} {'Kafka':>12} {'':>12} {'ratio':>8}  least to most of the rounds")

    def line(self, figure, pairs, beside):
        """Of each round a pair: Kafka's figure and that of the one beside it."""
        kafka, other = (statistics.median(values) for values in zip(*pairs))
        ratios = [mine / theirs if theirs else float("nan") for theirs, mine in pairs]
        ratio = statistics.median(ratios)
        if self.json:
            found = {"figure": figure, "beside": beside, "kafka": round(kafka, 3), "found": round(other, 3)}
            print(json.dumps({**found, "ratio": round(ratio, 4), "ratios": [round(one, 4) for one in ratios]}))
        else:
            print(f"{figure:<46} {beside:<11} {kafka:>12.2f} {other:>12.2f} {ratio:>8.3f}  {min(ratios):.3f} to {max(ratios):.3f}")


def report(brokers, rounds, as_json):
    kafka, *others = brokers
    lines = Report(as_json)
    for other in others:
        lines.line("start, ms", [(kafka.start_ms, other.start_ms)], other.name)
    for name in rounds[0]:
        for at, figure in enumerate((f"{name}, a second", f"{name}, CPU us each")):
            for other in others:
                pairs = [(found[name][kafka.name][at], found[name][other.name][at]) for found in rounds]
                lines.line(figure, pairs, other.name)
    for other in others:
        lines.line("resident, MiB", [(resident_mib(kafka.pid), resident_mib(other.pid))], other.name)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=2_000_000)
    parser.add_argument("--commits", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--null", action="store_true", help="a second Apache Kafka beside the first: how far two of the same differ")
    parser.add_argument("--quick", action="store_true", help="one round of little: whether it works, and no figures")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.quick:
        args.records, args.commits, args.rounds = 160_000, 1000, 1
    # Whole batches in each half.
    whole = 2 * max(BATCHES.values())
    args.records = max(whole, args.records // whole * whole)
    brokers = []
    try:
        brokers.append(Kafka())
        if args.null:
            brokers.append(Kafka("Kafka again"))
        brokers.append(Ours())
        for broker in brokers:
            for topic, batch in BATCHES.items():
                create(broker, topic)
                fill(broker, topic, args.records, batch)
        # What a virtual machine compiles is compiled once.
        if not args.quick:
            touch_all()
            one_round(brokers, max(whole, args.records // 4 // whole * whole), args.commits // 4)
        rounds = []
        for number in range(args.rounds):
            order = brokers if number % 2 == 0 else brokers[::-1]
            rounds.append(one_round(order, args.records, args.commits))
            print(f"round {number + 1} of {args.rounds} is done", file=sys.stderr)
        report(brokers, rounds, args.json)
    finally:
        for broker in brokers:
            broker.stop()


main()
