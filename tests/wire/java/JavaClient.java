// The Java client, which Kafka itself ships.

import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.function.*;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.*;

public class JavaClient {
    static final String BOOTSTRAP = System.getenv("BOOTSTRAP");
    static final Duration TICK = Duration.ofMillis(50);

    interface Scenario {
        void run(Admin admin) throws Exception;
    }

    static String topic(String name) {
        return name + "-" + UUID.randomUUID().toString().substring(0, 8);
    }

    static void equal(Object found, Object expected) {
        if (!Objects.equals(found, expected)) throw new AssertionError("expected " + expected + ", found " + found);
    }

    static void fails(Class<? extends Throwable> expected, Callable<?> call) {
        try {
            call.call();
        } catch (Throwable error) {
            Throwable cause = error instanceof ExecutionException ? error.getCause() : error;
            if (!expected.isInstance(cause)) throw new AssertionError("expected " + expected + ", found " + cause, cause);
            return;
        }
        throw new AssertionError("expected " + expected.getSimpleName() + ", nothing failed");
    }

    static Map<String, Object> settings(Object... pairs) {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", BOOTSTRAP));
        for (int i = 0; i < pairs.length; i += 2) settings.put((String) pairs[i], pairs[i + 1]);
        return settings;
    }

    static List<String> numbers(int count) {
        return IntStream.range(0, count).mapToObj(Integer::toString).toList();
    }

    static List<Long> produce(String topic, int partition, List<String> values, Object... pairs) throws Exception {
        try (var producer = new KafkaProducer<>(settings(pairs), new StringSerializer(), new StringSerializer())) {
            List<Future<RecordMetadata>> told = new ArrayList<>();
            for (String value : values) {
                var record = new ProducerRecord<>(topic, partition, "k", value);
                record.headers().add(new RecordHeader("from", "java".getBytes()));
                told.add(producer.send(record));
            }
            List<Long> offsets = new ArrayList<>();
            for (var one : told) offsets.add(one.get(20, TimeUnit.SECONDS).offset());
            return offsets;
        }
    }

    static KafkaConsumer<String, String> consumer(Object... pairs) {
        var settings = settings("auto.offset.reset", "earliest", "enable.auto.commit", false, "check.crcs", true);
        settings.putAll(settings(pairs));
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    static KafkaConsumer<String, String> reader(String topic, long offset, Object... pairs) {
        var consumer = consumer(pairs);
        consumer.assign(List.of(new TopicPartition(topic, 0)));
        consumer.seek(new TopicPartition(topic, 0), offset);
        return consumer;
    }

    /** Polls all in turn until it is done; the records. */
    @SafeVarargs
    static List<ConsumerRecord<String, String>> until(
            String what, Predicate<List<ConsumerRecord<String, String>>> done, KafkaConsumer<String, String>... consumers) {
        List<ConsumerRecord<String, String>> found = new ArrayList<>();
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
        while (!done.test(found)) {
            if (System.nanoTime() > deadline) throw new AssertionError("never: " + what);
            for (var consumer : consumers) consumer.poll(TICK).forEach(found::add);
        }
        return found;
    }

    static List<ConsumerRecord<String, String>> take(KafkaConsumer<String, String> consumer, int count) {
        return until(count + " records", found -> found.size() >= count, consumer);
    }

    static List<String> values(List<ConsumerRecord<String, String>> records) {
        return records.stream().map(ConsumerRecord::value).toList();
    }

    static void create(Admin admin, String topic, int partitions) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
    }

    static void produceConsume(Admin admin) throws Exception {
        String topic = topic("java");
        equal(produce(topic, 0, numbers(5000), "enable.idempotence", false), LongStream.range(0, 5000).boxed().toList());
        try (var consumer = reader(topic, 0)) {
            var found = take(consumer, 5000);
            equal(values(found), numbers(5000));
            equal(new String(found.get(0).headers().lastHeader("from").value()), "java");
        }
        // A reader of committed records sees them too.
        try (var consumer = reader(topic, 4990, "isolation.level", "read_committed")) {
            equal(take(consumer, 10).get(0).offset(), 4990L);
        }
    }

    static void codecs(Admin admin) throws Exception {
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            String topic = topic("java-" + codec);
            List<String> values = numbers(500).stream().map(number -> ("value " + number + " ").repeat(20)).toList();
            produce(topic, 0, values, "compression.type", codec, "linger.ms", 50);
            try (var consumer = reader(topic, 0)) {
                equal(values(take(consumer, 500)), values);
            }
        }
    }

    static void acks(Admin admin) throws Exception {
        String topic = topic("java-acks");
        create(admin, topic, 1);
        for (String acks : List.of("0", "1", "all")) produce(topic, 0, List.of(acks), "acks", acks, "enable.idempotence", false);
        try (var consumer = reader(topic, 0)) {
            equal(values(take(consumer, 3)), List.of("0", "1", "all"));
        }
    }

    static void tooLargeIsRefused(Admin admin) throws Exception {
        String topic = topic("java-over");
        var small = new NewTopic(topic, 1, (short) 1).configs(Map.of("max.message.bytes", "1000"));
        admin.createTopics(List.of(small)).all().get();
        fails(RecordTooLargeException.class, () -> produce(topic, 0, List.of("x".repeat(5000))));
    }

    static void seek(Admin admin) throws Exception {
        String topic = topic("java-seek");
        produce(topic, 0, numbers(100));
        var partition = new TopicPartition(topic, 0);
        try (var consumer = reader(topic, 90)) {
            equal(take(consumer, 1).get(0).offset(), 90L);
            consumer.seek(partition, 10);
            equal(take(consumer, 1).get(0).offset(), 10L);
            equal(consumer.beginningOffsets(List.of(partition)), Map.of(partition, 0L));
            equal(consumer.endOffsets(List.of(partition)), Map.of(partition, 100L));
            equal(consumer.offsetsForTimes(Map.of(partition, 1L)).get(partition).offset(), 0L);
            consumer.seekToEnd(List.of(partition));
            equal(consumer.position(partition), 100L);
        }
        try (var consumer = reader(topic, 1000, "auto.offset.reset", "none")) {
            fails(org.apache.kafka.clients.consumer.OffsetOutOfRangeException.class, () -> take(consumer, 1));
        }
    }

    static Map<String, Object> member(String group, Object... pairs) {
        var all = settings("group.id", group, "session.timeout.ms", 6000, "heartbeat.interval.ms", 200);
        all.putAll(settings(pairs));
        return all;
    }

    static KafkaConsumer<String, String> join(String topic, String group, List<String> told, Object... pairs) {
        var settings = member(group, pairs);
        var consumer = consumer(settings.entrySet().stream().flatMap(one -> Stream.of(one.getKey(), one.getValue())).toArray());
        consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
            public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                told.add("assigned " + partitions.size());
            }

            public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                told.add("revoked " + partitions.size());
            }
        });
        return consumer;
    }

    static void rebalances(Admin admin, Class<?> assignor) throws Exception {
        String topic = topic("java-group"), group = topic("group");
        create(admin, topic, 4);
        for (int partition = 0; partition < 4; partition++) produce(topic, partition, numbers(50));
        List<String> told = new ArrayList<>();
        var first = join(topic, group, told, "partition.assignment.strategy", assignor.getName());
        equal(take(first, 200).stream().map(ConsumerRecord::partition).collect(Collectors.toSet()), Set.of(0, 1, 2, 3));
        first.commitSync();
        var second = join(topic, group, new ArrayList<>(), "partition.assignment.strategy", assignor.getName());
        var again = until("two each", found -> first.assignment().size() == 2 && second.assignment().size() == 2, first, second);
        equal(again, List.of());
        // A cooperative member is told of what it loses, an eager one of all.
        boolean cooperative = assignor == CooperativeStickyAssignor.class;
        equal(told.contains("revoked 2") && !told.contains("revoked 4"), cooperative);
        first.close();
        until("all for the second", found -> second.assignment().size() == 4, second);
        produce(topic, 3, List.of("more"));
        equal(values(take(second, 1)), List.of("more"));
        second.close();
    }

    static void staticMember(Admin admin) throws Exception {
        String topic = topic("java-static"), group = topic("group");
        create(admin, topic, 2);
        for (int round = 0; round < 2; round++) {
            List<String> told = new ArrayList<>();
            var consumer = join(topic, group, told, "group.instance.id", "one");
            until("its assignment", found -> !told.isEmpty(), consumer);
            equal(told, List.of("assigned 2"));
            equal(consumer.groupMetadata().generationId(), 1);
            consumer.close();
        }
        var removed = new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("one")));
        admin.removeMembersFromConsumerGroup(group, removed).all().get();
        equal(admin.describeConsumerGroups(List.of(group)).all().get().get(group).members().size(), 0);
    }

    static void commitAndGoOn(Admin admin) throws Exception {
        String topic = topic("java-commit"), group = topic("group");
        produce(topic, 0, numbers(100));
        var partition = new TopicPartition(topic, 0);
        try (var consumer = join(topic, group, new ArrayList<>())) {
            take(consumer, 40);
            consumer.commitSync(Map.of(partition, new OffsetAndMetadata(40, Optional.of(0), "forty")));
            var kept = consumer.committed(Set.of(partition)).get(partition);
            equal(kept, new OffsetAndMetadata(40, Optional.of(0), "forty"));
        }
        try (var consumer = join(topic, group, new ArrayList<>(), "enable.auto.commit", true)) {
            equal(take(consumer, 60).get(0).offset(), 40L);
        }
        var kept = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        equal(kept.get(partition).offset(), 100L);
    }

    static void idempotentProducer(Admin admin) throws Exception {
        String topic = topic("java-idempotent");
        create(admin, topic, 1);
        var offsets = produce(topic, 0, numbers(3000), "enable.idempotence", true, "batch.size", 500);
        equal(offsets, LongStream.range(0, 3000).boxed().toList());
        try (var consumer = reader(topic, 0)) {
            equal(values(take(consumer, 3000)), numbers(3000));
        }
        var partition = new TopicPartition(topic, 0);
        var producers = admin.describeProducers(List.of(partition)).partitionResult(partition).get().activeProducers();
        equal(producers.stream().map(ProducerState::lastSequence).toList(), List.of(2999));
    }

    static void topics(Admin admin) throws Exception {
        String topic = topic("java-admin");
        var made = admin.createTopics(List.of(new NewTopic(topic, Optional.of(3), Optional.empty())));
        equal(made.numPartitions(topic).get(), 3);
        equal(made.config(topic).get().get("retention.ms").value(), "604800000");
        fails(TopicExistsException.class, () -> {
            create(admin, topic, 1);
            return null;
        });
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all().get();
        var described = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
        equal(described.partitions().size(), 5);
        equal(described.topicId(), made.topicId(topic).get());
        var ids = TopicCollection.ofTopicIds(List.of(described.topicId()));
        equal(admin.describeTopics(ids).allTopicIds().get().get(described.topicId()).name(), topic);
        equal(admin.describeCluster().controller().get().id(), 0);
        admin.deleteTopics(ids).all().get();
        equal(admin.listTopics().names().get().contains(topic), false);
        fails(UnknownTopicOrPartitionException.class, () -> admin.describeTopics(List.of(topic)).allTopicNames().get());
    }

    static void configs(Admin admin) throws Exception {
        String topic = topic("java-configs");
        create(admin, topic, 1);
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Callable<ConfigEntry> policy = () -> admin.describeConfigs(List.of(resource)).all().get().get(resource).get("cleanup.policy");
        equal(policy.call().source(), ConfigEntry.ConfigSource.DEFAULT_CONFIG);
        BiFunction<AlterConfigOp.OpType, String, KafkaFuture<Void>> alter = (kind, value) -> admin
                .incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(new ConfigEntry("cleanup.policy", value), kind))))
                .all();
        alter.apply(AlterConfigOp.OpType.APPEND, "compact").get();
        equal(policy.call().value(), "delete,compact");
        equal(policy.call().source(), ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG);
        alter.apply(AlterConfigOp.OpType.SUBTRACT, "delete").get();
        equal(policy.call().value(), "compact");
        alter.apply(AlterConfigOp.OpType.DELETE, "").get();
        equal(policy.call().source(), ConfigEntry.ConfigSource.DEFAULT_CONFIG);
        fails(InvalidConfigurationException.class, () -> alter.apply(AlterConfigOp.OpType.SET, "nonsense").get());
    }

    static void records(Admin admin) throws Exception {
        String topic = topic("java-records");
        produce(topic, 0, numbers(100));
        var partition = new TopicPartition(topic, 0);
        var deleted = admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(30)));
        equal(deleted.lowWatermarks().get(partition).get().lowWatermark(), 30L);
        BiFunction<String, OffsetSpec, Long> offset = (what, spec) -> {
            try {
                return admin.listOffsets(Map.of(partition, spec)).partitionResult(partition).get().offset();
            } catch (Exception error) {
                throw new AssertionError(what, error);
            }
        };
        equal(offset.apply("earliest", OffsetSpec.earliest()), 30L);
        equal(offset.apply("latest", OffsetSpec.latest()), 100L);
        equal(offset.apply("local", OffsetSpec.earliestLocal()), 30L);
        equal(offset.apply("largest time", OffsetSpec.maxTimestamp()) >= 30, true);
        equal(offset.apply("by time", OffsetSpec.forTimestamp(System.currentTimeMillis() + 60_000)), -1L);
        var dirs = admin.describeLogDirs(List.of(0)).allDescriptions().get().get(0).values().iterator().next();
        equal(dirs.replicaInfos().get(partition).size() > 0, true);
        try (var consumer = reader(topic, 0)) {
            equal(take(consumer, 70).get(0).offset(), 30L);
        }
    }

    static void groupsAdmin(Admin admin) throws Exception {
        String topic = topic("java-groups"), group = topic("group");
        create(admin, topic, 1);
        var partition = new TopicPartition(topic, 0);
        List<String> told = new ArrayList<>();
        var consumer = join(topic, group, told);
        until("its assignment", found -> !told.isEmpty(), consumer);
        var described = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
        equal(described.groupState(), GroupState.STABLE);
        equal(described.members().iterator().next().assignment().topicPartitions(), Set.of(partition));
        fails(GroupNotEmptyException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get());
        fails(GroupSubscribedToTopicException.class, () -> admin.deleteConsumerGroupOffsets(group, Set.of(partition)).all().get());
        consumer.close();
        admin.alterConsumerGroupOffsets(group, Map.of(partition, new OffsetAndMetadata(7))).all().get();
        equal(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(partition).offset(), 7L);
        var listed = admin.listGroups(ListGroupsOptions.forConsumerGroups().inGroupStates(Set.of(GroupState.EMPTY))).all().get();
        equal(listed.stream().anyMatch(one -> one.groupId().equals(group)), true);
        admin.deleteConsumerGroupOffsets(group, Set.of(partition)).all().get();
        admin.alterConsumerGroupOffsets(group, Map.of(partition, new OffsetAndMetadata(8))).all().get();
        admin.deleteConsumerGroups(List.of(group)).all().get();
        fails(GroupIdNotFoundException.class, () -> admin.describeConsumerGroups(List.of(group)).all().get());
    }

    static void whatIsNotBuiltIsRefused(Admin admin) throws Exception {
        try (var consumer = consumer("group.id", topic("group"), "group.protocol", "consumer")) {
            consumer.subscribe(List.of(topic("java")));
            fails(UnsupportedVersionException.class, () -> take(consumer, 1));
        }
    }

    public static void main(String[] wanted) throws Exception {
        Map<String, Scenario> scenarios = new LinkedHashMap<>();
        scenarios.put("produce-consume", JavaClient::produceConsume);
        scenarios.put("codecs", JavaClient::codecs);
        scenarios.put("acks", JavaClient::acks);
        scenarios.put("too-large-is-refused", JavaClient::tooLargeIsRefused);
        scenarios.put("seek", JavaClient::seek);
        scenarios.put("group-rebalance-eager", admin -> rebalances(admin, RangeAssignor.class));
        scenarios.put("group-rebalance-cooperative", admin -> rebalances(admin, CooperativeStickyAssignor.class));
        scenarios.put("static-member", JavaClient::staticMember);
        scenarios.put("commit-and-go-on", JavaClient::commitAndGoOn);
        scenarios.put("idempotent-producer", JavaClient::idempotentProducer);
        scenarios.put("topics", JavaClient::topics);
        scenarios.put("configs", JavaClient::configs);
        scenarios.put("delete-records", JavaClient::records);
        scenarios.put("groups-admin", JavaClient::groupsAdmin);
        scenarios.put("what-is-not-built-is-refused", JavaClient::whatIsNotBuiltIsRefused);
        boolean failed = false;
        var threads = Executors.newCachedThreadPool(task -> {
            var thread = new Thread(task);
            thread.setDaemon(true);
            return thread;
        });
        try (var admin = Admin.create(settings("default.api.timeout.ms", 20_000, "request.timeout.ms", 20_000))) {
            for (var one : scenarios.entrySet()) {
                if (wanted.length > 0 && !List.of(wanted).contains(one.getKey())) continue;
                try {
                    threads.submit(() -> {
                        one.getValue().run(admin);
                        return null;
                    }).get(40, TimeUnit.SECONDS);
                    System.out.println("ok java " + one.getKey());
                } catch (Throwable error) {
                    error.printStackTrace();
                    Throwable cause = error instanceof ExecutionException ? error.getCause() : error;
                    System.out.println("FAILED java " + one.getKey() + ": " + String.valueOf(cause).lines().findFirst().orElse(""));
                    failed = true;
                }
            }
        }
        System.exit(failed ? 1 : 0);
    }
}
