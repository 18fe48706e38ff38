"""ACLs at the port, with librdkafka and Kafka's own kafka-acls, against a broker of its own that looks at rights."""

import functools
import os

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

import logins
import scenarios
from logins import run_tool, start
from scenarios import equal, main, scenario, topic

AUTHORIZER = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
BROKER, ADDRESS, _ = start(
    ["root", "ann", "bob"],
    *["--set", f"authorizer.class.name={AUTHORIZER}", "--set", "super.users=User:root"],
    *["--set", "group.initial.rebalance.delay.ms=0"],
)


def as_user(user, **more):
    return {**logins.login(ADDRESS, user=user), **{name.replace("_", "."): value for name, value in more.items()}}


@functools.cache
def administrator(user="root"):
    return AdminClient(as_user(user))


def new_topic(name):
    name = topic(name)
    administrator().create_topics([NewTopic(name, 1, 1)])[name].result(20)
    return name


def rule(user, operation, kind, name, pattern=ResourcePatternType.LITERAL, permission=AclPermissionType.ALLOW):
    return AclBinding(kind, name, pattern, f"User:{user}", "*", operation, permission)


def allow(*rules):
    for added in administrator().create_acls(list(rules)).values():
        added.result(20)


def produced(user, name, **more):
    """The error's name, or none."""
    told = []
    producer = Producer(as_user(user, message_timeout_ms=20_000, **more))
    try:
        producer.produce(name, b"v", on_delivery=lambda error, _: told.append(error and error.name()))
        producer.flush(30)
    except (KafkaException, SystemError) as error:
        # What is fatal is raised, sometimes on the way through a callback.
        return (error.__cause__ or error).args[0].name()
    return told[0]


def consumed(user, name, group):
    """The first record's value, or the error's name."""
    consumer = Consumer(as_user(user, group_id=group, auto_offset_reset="earliest"))
    consumer.subscribe([name])
    try:
        record = consumer.poll(20)
        return record.error().name() if record.error() else record.value()
    finally:
        consumer.close()


def denied(call):
    """The error's name that a call of an administrator ends with."""
    try:
        call()
    except KafkaException as error:
        return error.args[0].name()
    raise AssertionError("allowed")


@scenario
def refused_without_rights():
    name = new_topic("rights-none")
    equal(produced("ann", name), "TOPIC_AUTHORIZATION_FAILED")
    equal(consumed("ann", name, "rights"), "GROUP_AUTHORIZATION_FAILED")
    equal(name in administrator("ann").list_topics(timeout=20).topics, False)
    admin = administrator("ann")
    equal(denied(lambda: admin.create_topics([NewTopic("mine", 1, 1)])["mine"].result(20)), "TOPIC_AUTHORIZATION_FAILED")
    equal(denied(lambda: admin.delete_topics([name])[name].result(20)), "TOPIC_AUTHORIZATION_FAILED")
    new = rule("ann", AclOperation.ALL, ResourceType.TOPIC, name)
    equal(denied(lambda: admin.create_acls([new])[new].result(20)), "CLUSTER_AUTHORIZATION_FAILED")
    equal(produced("root", name), None)
    equal(consumed("root", name, "rights-root"), b"v")


@scenario
def rights_by_topic_and_group():
    name = new_topic("rights-some")
    group = f"group-of-{name}"
    allow(rule("ann", AclOperation.WRITE, ResourceType.TOPIC, name))
    equal(produced("ann", name), None)
    equal(consumed("ann", name, group), "GROUP_AUTHORIZATION_FAILED")
    allow(rule("ann", AclOperation.READ, ResourceType.GROUP, "group-of-", ResourcePatternType.PREFIXED))
    equal(consumed("ann", name, group), "TOPIC_AUTHORIZATION_FAILED")
    allow(rule("ann", AclOperation.READ, ResourceType.TOPIC, name))
    equal(consumed("ann", name, group), b"v")
    equal(name in administrator("ann").list_topics(timeout=20).topics, True)
    equal(produced("bob", name), "TOPIC_AUTHORIZATION_FAILED")
    # What denies wins, whatever else allows.
    allow(rule("ann", AclOperation.WRITE, ResourceType.TOPIC, "*", permission=AclPermissionType.DENY))
    equal(produced("ann", name), "TOPIC_AUTHORIZATION_FAILED")
    gone = AclBindingFilter(ResourceType.TOPIC, "*", ResourcePatternType.LITERAL, None, None, AclOperation.ANY, AclPermissionType.DENY)
    equal(len(administrator().delete_acls([gone])[gone].result(20)), 1)
    equal(produced("ann", name), None)


@scenario
def idempotent_producer_needs_only_its_topic():
    name = new_topic("rights-idempotent")
    allow(rule("bob", AclOperation.DESCRIBE, ResourceType.TOPIC, name))
    equal(produced("bob", name, enable_idempotence=True), "CLUSTER_AUTHORIZATION_FAILED")
    allow(rule("bob", AclOperation.WRITE, ResourceType.TOPIC, name))
    equal(produced("bob", name, enable_idempotence=True), None)


@scenario
def librdkafka_administers_rules():
    name = topic("rights-rules")
    rules = [
        rule("bob", AclOperation.READ, ResourceType.TOPIC, name),
        rule("bob", AclOperation.ALTER, ResourceType.GROUP, name, ResourcePatternType.PREFIXED, AclPermissionType.DENY),
    ]
    allow(*rules)
    every = AclBindingFilter(
        ResourceType.ANY, name, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
    )
    equal(set(administrator().describe_acls(every).result(20)), set(rules))
    equal(set(administrator().delete_acls([every])[every].result(20)), set(rules))
    equal(administrator().describe_acls(every).result(20), [])


@scenario
def kafka_acls_administers_rules():
    if not os.environ.get("KAFKA_TOOLS"):
        print("skipped rights kafka-acls: no Java", flush=True)
        return
    name = new_topic("rights-tool")
    consumer = ["--allow-principal", "User:bob", "--consumer", "--topic", name, "--group", name]
    run_tool(ADDRESS, "root", "acls", "--add", *consumer, "--producer")
    equal(produced("bob", name, enable_idempotence=True), None)
    equal(consumed("bob", name, name), b"v")
    listed = run_tool(ADDRESS, "root", "acls", "--list", "--topic", name)
    for operation in ["READ", "WRITE", "DESCRIBE", "CREATE"]:
        equal(f"principal=User:bob, host=*, operation={operation}, permissionType=ALLOW" in listed, True, listed)
    run_tool(ADDRESS, "root", "acls", "--remove", "--force", "--topic", name)
    equal(produced("bob", name), "TOPIC_AUTHORIZATION_FAILED")


# Kafka's tools are slow to start.
scenarios.DEADLINE_SECONDS = 100
try:
    main("rights")
finally:
    BROKER.terminate()
    BROKER.wait(20)
