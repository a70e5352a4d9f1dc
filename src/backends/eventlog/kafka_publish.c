// SPDX-License-Identifier: Apache-2.0
// Publishing. A message carries what is to be called when it is durable; the producer's thread does so, in order.
#include <string.h>
#include <time.h>

#include "backends/eventlog/kafka_int.h"
#include "base/clock.h"

struct pending {
    elog_done_fn *done;
    void *arg;
};

void kf_delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct kf_log *log = opaque;
    struct pending *pending = message->_private;
    struct error err = {0};
    if (message->err) {
        kf_error(&err, message->err, NULL, "The event was not published");
        if (err.code == ERR_NOT_FOUND)
            kf_topic_forget(log, rd_kafka_topic_name(message->rkt));
    } else if (log->down) {
        kf_set_down(log, NULL);
    }
    pending->done(pending->arg, message->err ? &err : NULL);
    free(pending);
}

static rd_kafka_headers_t *make_headers(const struct elog_record *record)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(record->header_count);
    for (size_t i = 0; i < record->header_count; i++)
        rd_kafka_header_add(headers, record->headers[i].name, -1, record->headers[i].value,
                            (ssize_t)strlen(record->headers[i].value));
    return headers;
}

static rd_kafka_resp_err_t produce(struct kf_log *log, rd_kafka_topic_t *topic, const struct elog_record *record,
                                   struct pending *pending)
{
    rd_kafka_headers_t *headers = record->header_count ? make_headers(record) : NULL;
    rd_kafka_vu_t args[] = {
        {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = topic},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = record->key ? RD_KAFKA_PARTITION_UA : 0},
        {.vtype = RD_KAFKA_VTYPE_VALUE,
         .u.mem = {.ptr = (void *)(record->value ? record->value : ""), .size = record->value_len}},
        {.vtype = RD_KAFKA_VTYPE_KEY,
         .u.mem = {.ptr = (void *)record->key, .size = record->key ? strlen(record->key) : 0}},
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = record->timestamp_ms},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = pending},
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers},
    };
    rd_kafka_error_t *error = rd_kafka_produceva(log->producer, args, ARRAY_LEN(args) - (headers ? 0 : 1));
    if (!error)
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    rd_kafka_error_destroy(error);
    if (headers)
        rd_kafka_headers_destroy(headers);
    return code;
}

int kf_publish_async(void *state, const struct elog_record *record, elog_done_fn *done, void *arg, struct error *err)
{
    struct kf_log *log = kf_log(state);
    rd_kafka_topic_t *topic = NULL;
    if (record->header_count > ELOG_HEADERS_MAX)
        return error_set(err, ERR_INVALID, "A record has at most %d headers", ELOG_HEADERS_MAX);
    if (kf_topic(log, record->topic, false, &topic, NULL, err) < 0)
        return -1;
    struct pending *pending = kf_alloc(sizeof *pending);
    *pending = (struct pending){done, arg};
    rd_kafka_resp_err_t code = produce(log, topic, record, pending);
    if (code == 0)
        return 0;
    free(pending);
    if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
        return error_set(err, ERR_OVERLOADED, "As many events wait for Kafka as may");
    kf_error(err, code, NULL, "The event was not published");
    if (err && err->code == ERR_NOT_FOUND)
        kf_topic_forget(log, record->topic);
    return -1;
}

// ---- And waiting for it. The batch outlives a caller who gave up: whoever is last frees it.

struct batch {
    pthread_mutex_t lock;
    pthread_cond_t all;
    size_t waiting;
    bool abandoned;
    struct error failed;
};

static void batch_free(struct batch *b)
{
    pthread_mutex_destroy(&b->lock);
    pthread_cond_destroy(&b->all);
    free(b);
}

static void one_done(void *arg, const struct error *err)
{
    struct batch *b = arg;
    pthread_mutex_lock(&b->lock);
    if (err && !b->failed.code)
        b->failed = *err;
    bool last = --b->waiting == 0;
    bool ours = last && b->abandoned;
    if (last)
        pthread_cond_signal(&b->all);
    pthread_mutex_unlock(&b->lock);
    if (ours)
        batch_free(b);
}

static int publish_one(struct kf_log *log, const struct elog_record *record, struct batch *b, int64_t until_us,
                       struct error *err)
{
    struct error why = {0};
    pthread_mutex_lock(&b->lock);
    b->waiting++;
    pthread_mutex_unlock(&b->lock);
    while (kf_publish_async(log, record, one_done, b, &why) < 0) {
        if (why.code == ERR_OVERLOADED && clock_mono_us() < until_us) {
            clock_sleep_ms(1);
            continue;
        }
        pthread_mutex_lock(&b->lock);
        b->waiting--;
        pthread_mutex_unlock(&b->lock);
        return error_copy(err, &why);
    }
    return 0;
}

static int await_batch(struct batch *b, int64_t until_us, int rc, struct error *err)
{
    struct timespec until = {.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};
    pthread_mutex_lock(&b->lock);
    while (b->waiting && pthread_cond_clockwait(&b->all, &b->lock, CLOCK_MONOTONIC, &until) == 0)
        ;
    b->abandoned = b->waiting > 0;
    bool abandoned = b->abandoned;
    if (rc == 0 && b->failed.code)
        rc = error_copy(err, &b->failed);
    pthread_mutex_unlock(&b->lock);
    if (!abandoned)
        batch_free(b);
    else if (rc == 0)
        rc = error_set(err, ERR_UNAVAILABLE, "Kafka did not confirm in %d s; the event may be published later",
                       KF_PUBLISH_MS / 1000);
    return rc;
}

int kf_publish(void *state, const struct elog_record *records, size_t count, struct error *err)
{
    struct kf_log *log = kf_log(state);
    struct batch *b = kf_alloc(sizeof *b);
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->all, NULL);
    int64_t until_us = clock_mono_us() + KF_PUBLISH_MS * 1000LL;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = publish_one(log, &records[i], b, until_us, err);
    return await_batch(b, until_us, rc, err);
}
