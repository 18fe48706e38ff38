// The agent of the Java client: a line in is a command, a line out is its answer (see tests/wire/transactions/run.py).

import java.io.*;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.*;

public class JavaAgent {
    static final Map<String, KafkaProducer<String, String>> PRODUCERS = new HashMap<>();

    static Map<String, Object> settings(Object... pairs) {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", System.getenv("BOOTSTRAP")));
        for (int i = 0; i < pairs.length; i += 2) settings.put((String) pairs[i], pairs[i + 1]);
        return settings;
    }

    static KafkaConsumer<String, String> consumer(String isolation, Object... pairs) {
        var settings = settings(pairs);
        settings.putAll(Map.of("auto.offset.reset", "earliest", "enable.auto.commit", false, "isolation.level", "read_" + isolation));
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    static List<ConsumerRecord<String, String>> take(KafkaConsumer<String, String> consumer, int count) {
        List<ConsumerRecord<String, String>> found = new ArrayList<>();
        while (found.size() < count) consumer.poll(Duration.ofSeconds(1)).forEach(found::add);
        return found.subList(0, count);
    }

    static String told(List<ConsumerRecord<String, String>> found) {
        return found.stream().map(record -> record.value() + "@" + record.offset()).collect(Collectors.joining(" "));
    }

    static void send(KafkaProducer<String, String> producer, String topic, int partition, List<String> values) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (String value : values) sent.add(producer.send(new ProducerRecord<>(topic, partition, null, value)));
        producer.flush();
        for (var one : sent) one.get(20, TimeUnit.SECONDS);
    }

    static void end(KafkaProducer<String, String> producer, String how) {
        if (how.equals("commit")) producer.commitTransaction();
        else producer.abortTransaction();
    }

    static String answer(String command, List<String> words) throws Exception {
        var producer = PRODUCERS.get(words.get(0));
        switch (command) {
            case "producer" -> {
                var settings = settings("transactional.id", words.get(1), "transaction.timeout.ms", words.get(2), "max.block.ms", 20_000);
                producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
                producer.initTransactions();
                PRODUCERS.put(words.get(0), producer);
            }
            case "begin" -> producer.beginTransaction();
            case "send" -> send(producer, words.get(1), Integer.parseInt(words.get(2)), words.subList(3, words.size()));
            case "commit", "abort" -> end(producer, command);
            case "read" -> {
                try (var consumer = consumer(words.get(0))) {
                    consumer.assign(List.of(new TopicPartition(words.get(1), Integer.parseInt(words.get(2)))));
                    return told(take(consumer, Integer.parseInt(words.get(3))));
                }
            }
            case "transform" -> {
                String source = words.get(2), target = words.get(3);
                try (var consumer = consumer("committed", "group.id", words.get(1))) {
                    consumer.subscribe(List.of(source));
                    var found = take(consumer, Integer.parseInt(words.get(4)));
                    producer.beginTransaction();
                    send(producer, target, 0, found.stream().map(record -> record.value().toUpperCase()).toList());
                    var next = new OffsetAndMetadata(found.get(found.size() - 1).offset() + 1);
                    producer.sendOffsetsToTransaction(Map.of(new TopicPartition(source, 0), next), consumer.groupMetadata());
                    end(producer, words.get(5));
                    return told(found);
                }
            }
            case "epoch" -> {
                try (var admin = Admin.create(settings())) {
                    return String.valueOf(admin.describeTransactions(words).description(words.get(0)).get().producerEpoch());
                }
            }
            default -> throw new IllegalArgumentException("no command '" + command + "'");
        }
        return "";
    }

    /** Whether another instance, or the coordinator, has taken the id over. */
    static boolean isFenced(Throwable error) {
        return error != null
                && (error instanceof ProducerFencedException || error instanceof InvalidProducerEpochException || isFenced(error.getCause()));
    }

    public static void main(String[] none) throws Exception {
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            var words = List.of(line.split(" "));
            try {
                System.out.println("ok " + answer(words.get(0), words.subList(1, words.size())));
            } catch (Throwable error) {
                error.printStackTrace();
                System.out.println((isFenced(error) ? "fenced " : "error ") + String.valueOf(error).replaceAll("\\s+", " "));
            }
        }
        System.exit(0);
    }
}
