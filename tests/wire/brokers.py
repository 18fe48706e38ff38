"""A broker that a test starts, kills and starts again, always at the same port: the program, or with JUDGE=kafka a real Apache Kafka."""

import os
import shutil
import socket
import subprocess


def free_port(other):
    """A port that is free, as the one so many behind it is."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + other))
            except (OSError, OverflowError):
                continue
            return port


class Program:
    """The program of this project."""

    def __init__(self, dir, **settings):
        shutil.rmtree(dir, ignore_errors=True)
        self.dir = dir
        self.settings = {"group.initial.rebalance.delay.ms": 0, **settings}
        self.address = "127.0.0.1:0"
        self.start()

    def start(self):
        command = [os.environ["BROKER"], "--dir", self.dir, "--listen", self.address]
        for name, value in self.settings.items():
            command += ["--set", f"{name}={value}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        ready = self.process.stdout.readline()
        if not ready.startswith("ready at "):
            raise AssertionError(f"the broker does not start: {ready}")
        self.address = ready.split()[2]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def restart(self):
        self.kill()
        self.start()


class Kafka:
    """The judge of the tests themselves: what they say of the program must be true of it, too."""

    def __init__(self, dir, **settings):
        shutil.rmtree(dir, ignore_errors=True)
        self.dir = dir
        port = free_port(101)
        self.address = f"127.0.0.1:{port}"
        self.run("start", "-p", str(port), *(word for name, value in settings.items() for word in ("-s", f"{name}={value}")))

    def run(self, command, *flags):
        subprocess.run(["tests/kafka/kafka", command, "-d", self.dir, *flags], check=True, stdout=subprocess.DEVNULL)

    def kill(self):
        self.run("kill")

    def restart(self):
        self.kill()
        self.run("resume")


Broker = Kafka if os.environ.get("JUDGE") == "kafka" else Program
