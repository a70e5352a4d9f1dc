// SPDX-License-Identifier: Apache-2.0
// A producer on Kafka's own Java client, as services of others have one: Client.java BROKERS, compiled at its start.
// Each line of stdin is {"topic", "key", "value" (base64), "headers"}; each line of stdout "partition offset" of one.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Map;
import java.util.Properties;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Client {
    static Properties settings(String brokers) {
        Properties p = new Properties();
        p.put("bootstrap.servers", brokers);
        p.put("max.request.size", 64 << 20);
        p.put("buffer.memory", 128L << 20);
        return p;
    }

    static ProducerRecord<String, byte[]> record(JsonNode line) {
        byte[] value = Base64.getDecoder().decode(line.get("value").asText());
        var record = new ProducerRecord<String, byte[]>(line.get("topic").asText(), line.path("key").textValue(), value);
        for (Map.Entry<String, JsonNode> h : line.path("headers").properties())
            record.headers().add(h.getKey(), h.getValue().asText().getBytes(StandardCharsets.UTF_8));
        return record;
    }

    public static void main(String[] arguments) throws Exception {
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var json = new ObjectMapper(com.fasterxml.jackson.core.JsonFactory.builder().streamReadConstraints(
            com.fasterxml.jackson.core.StreamReadConstraints.builder().maxStringLength(64 << 20).build()).build());
        try (var producer = new KafkaProducer<>(settings(arguments[0]), new StringSerializer(), new ByteArraySerializer())) {
            for (String line; (line = lines.readLine()) != null;) {
                RecordMetadata where = producer.send(record(json.readTree(line))).get();
                System.out.println(where.partition() + " " + where.offset());
                System.out.flush();
            }
        }
    }
}
