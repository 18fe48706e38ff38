"""Starts Apache Kafka and the broker in turn and puts the same load on each: see `run`.

Of each load the first half warms up and is not counted. CPU is user and system time of the broker's process alone.
"""

import argparse
import json
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
TOPIC = "compared"
VALUE = b"v" * 100
TICKS = os.sysconf("SC_CLK_TCK")
START_DEADLINE_S = 60
# Reads of the same records, and commits, whose median counts: one takes no more than a second.
TIMES = 5
# A broker that ends is no news to its clients here.
QUIET = {"log_level": 0}


def cpu_s(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


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
    name = "Apache Kafka"

    def __init__(self):
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
    name = "this broker"

    def __init__(self):
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


def perf_test(bootstrap, records):
    """Kafka's own producer: records a second once it is warm."""
    command = [KAFKA, "run", "producer-perf-test", "--topic", TOPIC, "--num-records", str(records)]
    command += ["--warmup-records", str(records // 2), "--record-size", "100", "--throughput", "-1"]
    command += ["--bootstrap-server", bootstrap, "--command-property", "acks=all"]
    said = subprocess.run(command, capture_output=True, text=True)
    if said.returncode:
        raise SystemExit(f"producer-perf-test failed:\n{said.stdout}{said.stderr}")
    steady = [line for line in said.stdout.splitlines() if "50th" in line][-1]
    return float(re.search(r"([\d.]+) records/sec", steady).group(1))


class Half:
    """Counts the second half of a load: time, and CPU of the broker."""

    def __init__(self, broker):
        self.broker = broker

    def begin(self):
        self.time, self.cpu = time.monotonic(), cpu_s(self.broker.pid)

    def end(self):
        return time.monotonic() - self.time, cpu_s(self.broker.pid) - self.cpu


def produce(broker, bootstrap, records):
    settings = {"acks": "all", "linger.ms": 5, "queue.buffering.max.messages": 200_000}
    producer = Producer({"bootstrap.servers": bootstrap, **QUIET, **settings})
    half = Half(broker)
    for number in range(records):
        if number == records // 2:
            producer.flush()
            half.begin()
        while True:
            try:
                producer.produce(TOPIC, VALUE, partition=0)
                break
            except BufferError:
                producer.poll(0.01)
    producer.flush()
    return half.end()


def consumer(bootstrap, **settings):
    return Consumer({"bootstrap.servers": bootstrap, **QUIET, "group.id": "compared", "enable.auto.commit": False, **settings})


def read(broker, bootstrap, records):
    """librdkafka through a program in Rust, which does nothing with the records."""
    half = Half(broker)
    with subprocess.Popen([READ, bootstrap, TOPIC, str(records)], stdout=subprocess.PIPE, text=True) as program:
        for line in program.stdout:
            if int(line) == records // 2:
                half.begin()
            else:
                return (*half.end(), records - records // 2)
    raise SystemExit("the reading program failed")


def consume(broker, bootstrap, records):
    """librdkafka through Python, which makes an object of each record."""
    # Without the setting it waits for a second whenever 100,000 records are in its queue.
    reader, half, found = consumer(bootstrap, **{"fetch.queue.backoff.ms": 2}), Half(broker), 0
    reader.assign([TopicPartition(TOPIC, 0, 0)])
    begun = False
    while found < records:
        if not begun and found >= records // 2:
            begun, start = True, found
            half.begin()
        found += len(reader.consume(10_000, timeout=5))
    reader.close()
    return (*half.end(), found - start)


def commit(broker, bootstrap, commits):
    reader, half = consumer(bootstrap), Half(broker)
    for number in range(commits):
        if number == commits // 2:
            half.begin()
        reader.commit(offsets=[TopicPartition(TOPIC, 0, number)], asynchronous=False)
    ended = half.end()
    reader.close()
    return ended


def measure(kind, args):
    broker = kind()
    try:
        bootstrap = f"127.0.0.1:{broker.port}"
        # Its futures end with it, so it lives as long as they are waited for.
        admin = AdminClient({"bootstrap.servers": bootstrap, **QUIET})
        for created in admin.create_topics([NewTopic(TOPIC, 1, 1)]).values():
            created.result()
        perf_test(bootstrap, args.records // 4)
        cpu = cpu_s(broker.pid)
        rate = perf_test(bootstrap, args.records)
        perf_cpu = (cpu_s(broker.pid) - cpu) / args.records
        took, produced_cpu = produce(broker, bootstrap, args.records // 2)
        # Both producers' records.
        consumed, read_by = (
            [client(broker, bootstrap, args.records) for _ in range(TIMES)] for client in (consume, read)
        )
        committed = [commit(broker, bootstrap, args.commits) for _ in range(TIMES)]
        return {
            "start_ms": broker.start_ms,
            "perf_records_per_s": rate,
            "perf_cpu_s_per_million": perf_cpu * 1e6,
            "librdkafka_produced_per_s": args.records // 4 / took,
            "librdkafka_produce_cpu_s_per_million": produced_cpu / (args.records // 4) * 1e6,
            "librdkafka_in_rust_consumed_per_s": statistics.median(records / took for took, _, records in read_by),
            "librdkafka_in_python_consumed_per_s": statistics.median(records / took for took, _, records in consumed),
            "librdkafka_consume_cpu_s_per_million": statistics.median(cpu / records * 1e6 for _, cpu, records in read_by),
            "commits_per_s": statistics.median(args.commits // 2 / took for took, _ in committed),
            "cpu_us_per_commit": statistics.median(cpu / (args.commits // 2) * 1e6 for _, cpu in committed),
            "resident_mib": resident_mib(broker.pid),
        }
    finally:
        broker.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=4_000_000)
    parser.add_argument("--commits", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = {kind.name: [] for kind in (Kafka, Ours)}
    for _ in range(args.rounds):
        for kind in (Kafka, Ours):
            found[kind.name].append(measure(kind, args))
            print(f"{kind.name}: done", file=sys.stderr)
    medians = {
        name: {figure: statistics.median(one[figure] for one in rounds) for figure in rounds[0]} for name, rounds in found.items()
    }
    theirs, ours = medians[Kafka.name], medians[Ours.name]
    for figure, kafka in theirs.items():
        ratio = ours[figure] / kafka if kafka else float("nan")
        if args.json:
            print(json.dumps({"figure": figure, "kafka": round(kafka, 3), "ours": round(ours[figure], 3), "ratio": round(ratio, 4)}))
        else:
            print(f"{figure:<40} {kafka:>14.2f} {ours[figure]:>14.2f} {ratio:>9.3f}")


main()
