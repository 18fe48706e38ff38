"""Logins over the port, with librdkafka, kafka-python and Kafka's own kafka-configs, against a broker of its own."""

import os
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)
from kafka import KafkaProducer
from kafka.errors import KafkaError

import logins
import scenarios
from logins import log_text, run_tool, start
from scenarios import equal, main, scenario, topic

# How long a login holds.
SESSION_SECONDS = 3
BROKER, ADDRESS, PLAINTEXT = start(["ann"], "--set", f"connections.max.reauth.ms={1000 * SESSION_SECONDS}")


def login(mechanism, user="ann", password="ann's secret"):
    return logins.login(ADDRESS, mechanism, user, password)


def round_trip(name, settings):
    producer = Producer(settings)
    told = []
    producer.produce(name, b"v", on_delivery=lambda error, _: told.append(error))
    producer.flush(20)
    equal(told, [None])
    consumer = Consumer({**settings, "group.id": "unused"})
    consumer.assign([TopicPartition(name, 0, 0)])
    record = consumer.poll(20)
    equal(record.value(), b"v")
    consumer.close()


def refused(settings):
    """The error that a login ends with."""
    seen = []
    admin = AdminClient({**settings, "error_cb": lambda error: seen.append(error.name())})
    try:
        admin.list_topics(timeout=3)
    except KafkaException:
        admin.poll(1)
        return seen
    raise AssertionError("let in")


@scenario
def mechanisms_of_librdkafka():
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]:
        round_trip(topic(f"secure-{mechanism.lower()}"), login(mechanism))


@scenario
def logs_in_again_on_the_same_connection():
    name = topic("secure-again")
    before = log_text()
    producer = Producer({**login("SCRAM-SHA-256"), "linger.ms": 0})
    ends = time.monotonic() + 2.5 * SESSION_SECONDS
    told = []
    while time.monotonic() < ends:
        producer.produce(name, b"v", on_delivery=lambda error, _: told.append(error))
        producer.flush(20)
        time.sleep(0.05)
    equal([error for error in told if error], [])
    # Who does not log in again is let go, and comes back on another connection: librdkafka would go on all the same.
    equal("connections.max.reauth.ms" in log_text()[len(before) :], False, log_text())


@scenario
def wrong_credentials():
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]:
        for user, password in [("ann", "another"), ("nobody", "ann's secret")]:
            equal("_AUTHENTICATION" in refused(login(mechanism, user, password)), True, f"{mechanism} {user}")
    equal("user 'nobody'" in log_text() and "ann's secret" not in log_text(), True)


@scenario
def no_login():
    try:
        AdminClient({"bootstrap.servers": ADDRESS}).list_topics(timeout=3)
    except KafkaException:
        return
    raise AssertionError("let in")


@scenario
def mechanisms_of_kafka_python():
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]:
        settings = {
            "bootstrap_servers": ADDRESS,
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": mechanism,
            "sasl_plain_username": "ann",
        }
        producer = KafkaProducer(**settings, sasl_plain_password="ann's secret")
        equal(producer.send(topic("secure-python"), b"v").get(20).offset, 0, mechanism)
        producer.close()
        try:
            KafkaProducer(**settings, sasl_plain_password="another", bootstrap_timeout_ms=3000)
        except KafkaError:
            continue
        raise AssertionError("let in")


@scenario
def kafka_configs_administers_users():
    if not os.environ.get("KAFKA_TOOLS"):
        print("skipped secure kafka-configs: no Java", flush=True)
        return
    add = "SCRAM-SHA-512=[iterations=8192,password=bobs-secret]"
    run_tool(ADDRESS, "ann", "configs", "--entity-type", "users", "--entity-name", "bob", "--alter", "--add-config", add)
    round_trip(topic("secure-bob"), login("SCRAM-SHA-512", "bob", "bobs-secret"))
    equal("_AUTHENTICATION" in refused(login("SCRAM-SHA-256", "bob", "bobs-secret")), True)


@scenario
def librdkafka_administers_users():
    admin = AdminClient({"bootstrap.servers": PLAINTEXT})
    how = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
    admin.alter_user_scram_credentials([UserScramCredentialUpsertion("eve", how, b"eves-secret")])["eve"].result(20)
    described = admin.describe_user_scram_credentials(["eve"])["eve"].result(20)
    equal([one.iterations for one in described.scram_credential_infos], [4096])
    round_trip(topic("secure-eve"), login("SCRAM-SHA-256", "eve", "eves-secret"))
    deletion = UserScramCredentialDeletion("eve", ScramMechanism.SCRAM_SHA_256)
    admin.alter_user_scram_credentials([deletion])["eve"].result(20)
    equal("_AUTHENTICATION" in refused(login("SCRAM-SHA-256", "eve", "eves-secret")), True)


# Kafka's tools are slow to start.
scenarios.DEADLINE_SECONDS = 100
try:
    main("secure")
finally:
    BROKER.terminate()
    BROKER.wait(20)
