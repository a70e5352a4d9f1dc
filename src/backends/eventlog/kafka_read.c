// SPDX-License-Identifier: Apache-2.0
// Reading without a group: one simple consumer for whoever wants to look, one at a time.
#include <string.h>

#include "backends/eventlog/kafka_int.h"
#include "base/clock.h"

enum { READ_MS = 5000, PEEK_MAX = 10000, PEEK_BYTES = 64 << 20, CHUNK_MS = 100 };

static int reader(struct kf_log *log, struct error *err)
{
    static const char *const settings[] = {"enable.auto.commit",
                                           "false",
                                           "enable.partition.eof",
                                           "true",
                                           "fetch.wait.max.ms",
                                           "20",
                                           "queued.min.messages",
                                           "500",
                                           "queued.max.messages.kbytes",
                                           "4096",
                                           NULL};
    rd_kafka_conf_t *conf;
    if (log->reader) {
        rd_kafka_poll(log->reader, 0); // what it had to say since it was last used
        return 0;
    }
    return kf_conf(log, RD_KAFKA_CONSUMER, settings, &conf, err) < 0
               ? -1
               : kf_new(log, RD_KAFKA_CONSUMER, conf, &log->reader, err);
}

// ---- Peek

struct peek {
    struct arena *arena;
    struct elog_record *out;
    size_t limit, count, bytes;
    int64_t end;
    bool over;
};

static void peek_one(struct peek *peek, const rd_kafka_message_t *m)
{
    if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF || (!m->err && m->offset >= peek->end)) {
        peek->over = true;
        return;
    }
    if (m->err)
        return;
    peek->out[peek->count++] = *kf_record(peek->arena, m, 0);
    peek->bytes += kf_record_bytes(m);
    peek->over = peek->count == peek->limit || peek->bytes >= PEEK_BYTES || m->offset + 1 >= peek->end;
}

static int peek_range(struct kf_log *log, const char *topic, int32_t partition, int64_t from, struct peek *peek,
                      struct error *err)
{
    rd_kafka_topic_t *handle = rd_kafka_topic_new(log->reader, topic, NULL);
    if (!handle || rd_kafka_consume_start(handle, partition, from) != 0) {
        rd_kafka_resp_err_t code = rd_kafka_last_error();
        if (handle)
            rd_kafka_topic_destroy(handle);
        return kf_error(err, code, NULL, "The topic cannot be read");
    }
    int64_t until = clock_mono_us() + READ_MS * 1000LL;
    while (!peek->over && clock_mono_us() < until) {
        rd_kafka_message_t *m = rd_kafka_consume(handle, partition, CHUNK_MS);
        if (!m)
            continue;
        peek_one(peek, m);
        rd_kafka_message_destroy(m);
    }
    rd_kafka_consume_stop(handle, partition);
    rd_kafka_topic_destroy(handle);
    if (!peek->over && !peek->count)
        return error_set(err, ERR_UNAVAILABLE, "Kafka gave no record of %.249s in %d s", topic, READ_MS / 1000);
    return 0;
}

int kf_peek(void *state, struct arena *arena, const char *topic, int32_t partition, int64_t offset, size_t limit,
            struct elog_record **out, size_t *count, struct error *err)
{
    struct kf_log *log = kf_log(state);
    int64_t begin = 0, end = 0;
    if (kf_partition_check(log, topic, partition, err) < 0)
        return -1;
    rd_kafka_resp_err_t code =
        rd_kafka_query_watermark_offsets(log->producer, topic, partition, &begin, &end, kf_ask_ms(log));
    if (code != 0)
        return kf_error(err, code, NULL, "The topic cannot be read");
    limit = limit < PEEK_MAX ? limit : PEEK_MAX;
    struct peek peek = {.arena = arena, .limit = limit, .end = end};
    peek.out = arena_alloc(arena, (limit + 1) * sizeof *peek.out);
    int64_t from = offset < begin ? begin : offset;
    int rc = 0;
    if (from < end && limit) {
        pthread_mutex_lock(&log->reading);
        rc = reader(log, err);
        if (rc == 0)
            rc = peek_range(log, topic, partition, from, &peek, err);
        pthread_mutex_unlock(&log->reading);
    }
    if (rc < 0)
        return -1;
    *out = peek.out;
    *count = peek.count;
    return 0;
}

// ---- Times of records, of many partitions at once

static size_t note_time(struct kf_place *places, size_t count, const rd_kafka_message_t *m)
{
    const char *topic = m->rkt ? rd_kafka_topic_name(m->rkt) : "";
    for (size_t i = 0; i < count; i++) {
        struct kf_place *p = &places[i];
        if (p->partition != m->partition || strcmp(p->topic, topic) != 0 || p->timestamp_ms)
            continue;
        int64_t time = m->err ? -1 : rd_kafka_message_timestamp(m, NULL);
        p->timestamp_ms = time > 0 ? time : -1;
        return 1;
    }
    return 0;
}

static void read_times(struct kf_log *log, struct kf_place *places, size_t count)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(log->reader);
    rd_kafka_topic_t **handles = kf_alloc(count * sizeof *handles);
    size_t wanted = 0;
    for (size_t i = 0; i < count; i++) {
        handles[i] = rd_kafka_topic_new(log->reader, places[i].topic, NULL);
        if (handles[i] && rd_kafka_consume_start_queue(handles[i], places[i].partition, places[i].offset, queue) == 0)
            wanted++;
    }
    int64_t until = clock_mono_us() + READ_MS * 1000LL;
    while (wanted && clock_mono_us() < until) {
        rd_kafka_message_t *m = rd_kafka_consume_queue(queue, CHUNK_MS);
        if (!m)
            continue;
        wanted -= note_time(places, count, m);
        rd_kafka_message_destroy(m);
    }
    for (size_t i = 0; i < count; i++) {
        if (handles[i]) {
            rd_kafka_consume_stop(handles[i], places[i].partition);
            rd_kafka_topic_destroy(handles[i]);
        }
        if (places[i].timestamp_ms < 0)
            places[i].timestamp_ms = 0;
    }
    rd_kafka_queue_destroy(queue);
    free(handles);
}

int kf_times(struct kf_log *log, struct kf_place *places, size_t count, struct error *err)
{
    if (!count)
        return 0;
    pthread_mutex_lock(&log->reading);
    int rc = reader(log, err);
    if (rc == 0)
        read_times(log, places, count);
    pthread_mutex_unlock(&log->reading);
    return rc;
}
