// SPDX-License-Identifier: Apache-2.0
// A message of librdkafka as a record of ours: one block, copied, so that the message can go at once.
#include <string.h>

#include "backends/eventlog/kafka_int.h"

static size_t header_bytes(const rd_kafka_message_t *message, size_t *count)
{
    rd_kafka_headers_t *headers;
    const char *name;
    const void *value;
    size_t len, bytes = 0;
    *count = 0;
    if (rd_kafka_message_headers(message, &headers) != 0)
        return 0;
    while (*count < ELOG_HEADERS_MAX && rd_kafka_header_get_all(headers, *count, &name, &value, &len) == 0) {
        bytes += strlen(name) + 1 + len + 1;
        ++*count;
    }
    return bytes;
}

static char *put(char **at, const void *data, size_t len)
{
    char *begin = *at;
    if (len)
        memcpy(begin, data, len);
    begin[len] = 0;
    *at = begin + len + 1;
    return begin;
}

static void put_headers(const rd_kafka_message_t *message, struct elog_header *out, size_t count, char **at)
{
    rd_kafka_headers_t *headers;
    const char *name;
    const void *value;
    size_t len;
    if (!count || rd_kafka_message_headers(message, &headers) != 0)
        return;
    for (size_t i = 0; i < count && rd_kafka_header_get_all(headers, i, &name, &value, &len) == 0; i++) {
        out[i].name = put(at, name, strlen(name));
        out[i].value = put(at, value, value ? len : 0);
    }
}

size_t kf_record_bytes(const rd_kafka_message_t *message)
{
    return message->len + message->key_len;
}

struct elog_record *kf_record(struct arena *arena, const rd_kafka_message_t *message, int32_t epoch)
{
    const char *topic = rd_kafka_topic_name(message->rkt);
    size_t count, texts = header_bytes(message, &count);
    size_t size = sizeof(struct elog_record) + count * sizeof(struct elog_header) + strlen(topic) + 1 +
                  message->key_len + 1 + message->len + 1 + texts;
    struct elog_record *record = arena ? arena_alloc(arena, size) : malloc(size);
    if (!record)
        abort();
    struct elog_header *headers = (struct elog_header *)(record + 1);
    char *at = (char *)(headers + count);
    int64_t time = rd_kafka_message_timestamp(message, NULL);
    *record = (struct elog_record){.topic = put(&at, topic, strlen(topic)),
                                   .partition = message->partition,
                                   .offset = message->offset,
                                   .timestamp_ms = time > 0 ? time : 0,
                                   .key = message->key ? put(&at, message->key, message->key_len) : NULL,
                                   .value = put(&at, message->payload, message->len),
                                   .value_len = message->len,
                                   .headers = headers,
                                   .header_count = count,
                                   .epoch = epoch};
    put_headers(message, headers, count, &at);
    return record;
}
