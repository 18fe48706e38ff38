"""A broker of its own as a program, with a port for those who log in, and how clients do that."""

import os
import re
import subprocess
import tempfile

FOLDER = tempfile.mkdtemp()
READY = re.compile(r"ready at (\S+)")


def start(users, *more):
    """Two ports, the first for those who log in; `users` have passwords of both kinds."""
    command = [
        os.environ["BROKER"],
        *["--dir", os.path.join(FOLDER, "data")],
        *["--listen", "SASL_PLAINTEXT://127.0.0.1:0,PLAINTEXT://127.0.0.1:0"],
        *["--set", "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"],
        *more,
    ]
    for user in users:
        password = os.path.join(FOLDER, f"password-{user}")
        with open(password, "w") as file:
            file.write(f"{user}'s secret\n")
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"]:
            command += ["--add-scram", f"{mechanism}=[name={user},password-file={password}]"]
    log = open(os.path.join(FOLDER, "log"), "w")
    broker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    address = READY.search(broker.stdout.readline()).group(1)
    plain = re.findall(r"address=(\S+) protocol=\"PLAINTEXT\"", re.sub(r"\x1b\[\d+m", "", log_text()))[0]
    return broker, address, plain


def log_text():
    with open(os.path.join(FOLDER, "log")) as file:
        return file.read()


def login(address, mechanism="SCRAM-SHA-512", user="ann", password=None):
    """The settings of librdkafka."""
    return {
        "bootstrap.servers": address,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": mechanism,
        "sasl.username": user,
        "sasl.password": password or f"{user}'s secret",
    }


def run_tool(address, user, tool, *arguments):
    """One of Kafka's own tools as a user: what it prints; its failure is one."""
    config = os.path.join(FOLDER, f"{user}.properties")
    with open(config, "w") as file:
        file.write("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-512\n")
        module = "org.apache.kafka.common.security.scram.ScramLoginModule"
        file.write(f"sasl.jaas.config={module} required username=\"{user}\" password=\"{user}'s secret\";\n")
    command = ["tests/kafka/kafka", "run", tool, "--bootstrap-server", address, "--command-config", config, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100)
    if ran.returncode != 0:
        raise AssertionError(f"{tool} {arguments}: {ran.stdout} {ran.stderr}")
    return ran.stdout
