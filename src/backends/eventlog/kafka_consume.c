// SPDX-License-Identifier: Apache-2.0
// A consumer: the thread that takes messages from librdkafka, the queues, and poll, which takes records from those.
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "backends/eventlog/kafka_int.h"
#include "base/clock.h"

enum {
    HELD_RECORDS = 20000,     // that wait for poll, before the partitions are paused
    HELD_BYTES = 16 << 20,    //
    TAKE = 500,               // messages that are handed over at once
    SERVE_MS = 50,            // that the thread waits for a message, before it looks at other things
    COMMIT_EVERY_US = 100000, // how often the brokers are told what is done
    SEEK_MS = 5000,
    CLOSE_MS = 5000,
    AGAIN_US =
        2000000 // from being shut out to the next try: two of one name must not drive each other out at full speed
};

// ---- A member of a group

static int make_handle(struct kf_log *log, struct elog_consumer *c, struct error *err)
{
    const char *settings[] = {"group.id",
                              c->group,
                              "client.id",
                              c->member,
                              "enable.auto.commit",
                              "false",
                              "enable.auto.offset.store",
                              "false",
                              "auto.offset.reset",
                              "earliest",
                              "partition.assignment.strategy",
                              "range",
                              "session.timeout.ms",
                              "15000",
                              "heartbeat.interval.ms",
                              "1000",
                              "fetch.error.backoff.ms",
                              "100",
                              "fetch.wait.max.ms",
                              "100",
                              "queued.min.messages",
                              "10000",
                              "queued.max.messages.kbytes",
                              "16384",
                              NULL,
                              NULL,
                              NULL};
    if (log->instance && *log->instance) {
        settings[ARRAY_LEN(settings) - 3] = "group.instance.id";
        settings[ARRAY_LEN(settings) - 2] = log->instance;
    }
    rd_kafka_conf_t *conf;
    if (kf_conf(log, RD_KAFKA_CONSUMER, settings, &conf, err) < 0)
        return -1;
    rd_kafka_conf_set_opaque(conf, c);
    rd_kafka_conf_set_rebalance_cb(conf, kf_rebalance);
    rd_kafka_conf_set_offset_commit_cb(conf, kf_committed);
    if (kf_new(log, RD_KAFKA_CONSUMER, conf, &c->rk, err) < 0)
        return -1;
    rd_kafka_poll_set_consumer(c->rk);
    return 0;
}

static int join(struct elog_consumer *c, struct error *err)
{
    if (make_handle(c->log, c, err) < 0)
        return -1;
    rd_kafka_resp_err_t code = rd_kafka_subscribe(c->rk, c->topics);
    if (code != 0)
        return kf_error(err, code, NULL, "The group cannot be joined");
    return 0;
}

// As a new member in the place of one that was shut out, with nothing of what that had.
static void join_again(struct elog_consumer *c)
{
    if (clock_mono_us() < c->again_us) {
        clock_sleep_ms(SERVE_MS);
        return;
    }
    struct error why = {0};
    if (c->rk)
        kf_destroy(c->rk);
    c->rk = NULL;
    c->paused = false;
    int rc = join(c, &why);
    c->again_us = rc < 0 ? clock_mono_us() + AGAIN_US : 0;
    pthread_mutex_lock(&c->lock);
    c->failed = rc < 0 ? why : (struct error){0};
    pthread_mutex_unlock(&c->lock);
}

// ---- On the thread

static void set_paused(struct elog_consumer *c, bool paused)
{
    rd_kafka_topic_partition_list_t *mine;
    if (rd_kafka_assignment(c->rk, &mine) != 0)
        return;
    if (paused)
        rd_kafka_pause_partitions(c->rk, mine);
    else
        rd_kafka_resume_partitions(c->rk, mine);
    rd_kafka_topic_partition_list_destroy(mine);
    c->paused = paused;
    pthread_mutex_lock(&c->lock);
    for (struct kf_part *p = c->parts; p && !paused; p = p->next)
        p->resumed = true;
    pthread_mutex_unlock(&c->lock);
}

static void balance(struct elog_consumer *c)
{
    pthread_mutex_lock(&c->lock);
    size_t records = c->held_records, bytes = c->held_bytes;
    pthread_mutex_unlock(&c->lock);
    if (!c->paused && (records >= HELD_RECORDS || bytes >= HELD_BYTES))
        set_paused(c, true);
    else if (c->paused && records <= HELD_RECORDS / 2 && bytes <= HELD_BYTES / 2)
        set_paused(c, false);
}

// The log of a partition begins anew (the topic was made again, or its end was lost): so does what is known of it.
static void begin_anew(struct elog_consumer *c, struct kf_part *p)
{
    kf_part_empty(c, p);
    p->epoch = ++c->log->epoch;
    p->fetched = p->delivered = p->done = p->sent = -1;
}

// Whether this message is the one to take. The lock is released while a gap behind a pause is looked into: the first
// message behind the seek is believed.
static bool is_due(struct elog_consumer *c, struct kf_part *p, const rd_kafka_message_t *m)
{
    if (p->fetched < 0 || m->offset == p->fetched) {
        p->resumed = false;
        return true;
    }
    if (m->offset < p->fetched) {
        if (p->resumed)
            return false; // had already
        begin_anew(c, p);
        return true;
    }
    bool look = p->resumed;
    p->resumed = false;
    if (!look)
        return true; // records that were removed, or marks of transactions
    int64_t wanted = p->fetched;
    pthread_mutex_unlock(&c->lock);
    bool sought = rd_kafka_seek(m->rkt, m->partition, wanted, SEEK_MS) == 0;
    pthread_mutex_lock(&c->lock);
    return !sought;
}

static void take_message(struct elog_consumer *c, const rd_kafka_message_t *m)
{
    struct kf_held *held = kf_alloc(sizeof *held);
    held->record = kf_record(NULL, m, 0);
    held->bytes = kf_record_bytes(m);
    pthread_mutex_lock(&c->lock);
    struct kf_part *p = kf_part_find(c, rd_kafka_topic_name(m->rkt), m->partition);
    if (p && p->assigned && is_due(c, p, m)) {
        held->record->epoch = p->epoch;
        p->fetched = m->offset + 1;
        STAILQ_INSERT_TAIL(&p->queue, held, link);
        held = NULL;
        c->held_records++;
        c->held_bytes += kf_record_bytes(m);
    }
    pthread_mutex_unlock(&c->lock);
    if (held)
        free(held->record);
    free(held);
}

// A member is shut out when the brokers gave its name to another: to a second process of that name, or to itself, when
// its coordinator died between letting it in and telling it so. librdkafka does nothing more then.
static void take_error(struct elog_consumer *c, const rd_kafka_message_t *m)
{
    if (m->err != RD_KAFKA_RESP_ERR__FATAL && m->err != RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID)
        return; // it goes on by itself: brokers away, a topic not there yet
    pthread_mutex_lock(&c->lock);
    kf_parts_free(c);
    if (!c->failed.code)
        kf_error(&c->failed, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, rd_kafka_message_errstr(m),
                 "The consumer was shut out");
    pthread_mutex_unlock(&c->lock);
    c->again_us = clock_mono_us() + AGAIN_US;
}

static void take_messages(struct elog_consumer *c)
{
    size_t count = 0;
    for (int wait = SERVE_MS; count < TAKE; wait = 0) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(c->rk, wait);
        if (!m)
            break;
        if (m->err)
            take_error(c, m);
        else
            take_message(c, m);
        rd_kafka_message_destroy(m);
        count++;
    }
    if (!count)
        return;
    pthread_mutex_lock(&c->lock);
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
}

static void *serve(void *arg)
{
    struct elog_consumer *c = arg;
    while (!c->stop) {
        if (c->again_us) {
            join_again(c);
            continue;
        }
        take_messages(c);
        balance(c);
        int64_t now = clock_mono_us();
        if (now >= c->commit_due_us) {
            kf_commit_send(c, false);
            c->commit_due_us = now + COMMIT_EVERY_US;
        }
    }
    return NULL;
}

// ---- On the caller's

static struct elog_record *take_from(struct elog_consumer *c, struct kf_part *p)
{
    struct kf_held *held = STAILQ_FIRST(&p->queue);
    struct elog_record *record = held->record;
    STAILQ_REMOVE_HEAD(&p->queue, link);
    c->held_records--;
    c->held_bytes -= held->bytes;
    p->delivered = record->offset + 1;
    free(held);
    return record;
}

// Takes what there is, a share from each partition in turn.
static size_t take_records(struct elog_consumer *c, size_t max_records, size_t max_bytes, struct elog_record **out)
{
    size_t count = 0, bytes = 0;
    int32_t parts = 0, place = 0;
    for (const struct kf_part *p = c->parts; p; p = p->next)
        parts++;
    for (int32_t i = 0; i < parts; i++) {
        struct kf_part *p = c->parts;
        for (place = (c->turn + i) % parts; place > 0; place--)
            p = p->next;
        while (p->assigned && !STAILQ_EMPTY(&p->queue) && count < max_records) {
            size_t next = STAILQ_FIRST(&p->queue)->bytes;
            if (count && bytes + next > max_bytes)
                return count;
            bytes += next;
            out[count++] = take_from(c, p);
        }
    }
    if (parts)
        c->turn = (c->turn + 1) % parts;
    return count;
}

int kf_poll(struct elog_consumer *c, size_t max_records, size_t max_bytes, int timeout_ms, struct elog_record **out,
            size_t *count, struct error *err)
{
    int64_t until_us = clock_mono_us() + timeout_ms * 1000LL;
    struct timespec until = {.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};
    pthread_mutex_lock(&c->lock);
    size_t got = 0;
    int rc = 0;
    while (!(got = take_records(c, max_records, max_bytes, out)) && !c->woken) {
        if (c->failed.code) {
            rc = error_copy(err, &c->failed);
            break;
        }
        if (pthread_cond_clockwait(&c->wake, &c->lock, CLOCK_MONOTONIC, &until) != 0)
            break;
    }
    if (!got)
        c->woken = false;
    pthread_mutex_unlock(&c->lock);
    if (rc == 0)
        *count = got;
    return rc;
}

void kf_consumer_wake(struct elog_consumer *c)
{
    pthread_mutex_lock(&c->lock);
    c->woken = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
}

static void consumer_free(struct elog_consumer *c)
{
    kf_parts_free(c);
    if (c->rk)
        kf_destroy(c->rk);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->wake);
    pthread_cond_destroy(&c->done);
    rd_kafka_topic_partition_list_destroy(c->topics);
    free(c->group);
    free(c->member);
    free(c);
}
DEFINE_CLEANUP(struct elog_consumer *, consumer, consumer_free)

int kf_subscribe(void *state, const char *group, const char *const *topics, size_t count, const char *member,
                 struct elog_consumer **out, struct error *err)
{
    struct kf_log *log = kf_log(state);
    for (size_t i = 0; i < count; i++) {
        struct error why = {0};
        if (kf_topic(log, topics[i], false, NULL, NULL, &why) < 0 && !why.outage) // a broker that is away may have it
            return error_copy(err, &why);
    }
    _cleanup_(cleanup_consumer) struct elog_consumer *c = kf_alloc(sizeof *c);
    c->log = log;
    c->group = kf_strdup(group);
    c->member = kf_strdup(member);
    c->topics = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++)
        rd_kafka_topic_partition_list_add(c->topics, topics[i], RD_KAFKA_PARTITION_UA);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->wake, NULL);
    pthread_cond_init(&c->done, NULL);
    if (join(c, err) < 0)
        return -1;
    if (pthread_create(&c->thread, NULL, serve, c) != 0)
        return error_set(err, ERR_NO_MEMORY, "A consumer's thread cannot be started");
    *out = take_ptr(c);
    return 0;
}

// Leaving takes answers of a broker; when none comes, the session ends by itself after its timeout.
static void leave(struct elog_consumer *c)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(c->rk);
    rd_kafka_error_t *error = rd_kafka_consumer_close_queue(c->rk, queue);
    int64_t until = clock_mono_us() + (c->log->down ? 500 : CLOSE_MS) * 1000LL;
    while (!error && !rd_kafka_consumer_closed(c->rk) && clock_mono_us() < until) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 50);
        if (event && rd_kafka_event_type(event) == RD_KAFKA_EVENT_REBALANCE)
            rd_kafka_assign(c->rk, NULL);
        if (event)
            rd_kafka_event_destroy(event);
    }
    if (error)
        rd_kafka_error_destroy(error);
    rd_kafka_queue_destroy(queue);
}

void kf_unsubscribe(struct elog_consumer *c)
{
    if (!c)
        return;
    c->stop = true;
    pthread_mutex_lock(&c->lock);
    pthread_cond_broadcast(&c->done);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    kf_commit_send(c, true);
    if (c->rk)
        leave(c);
    consumer_free(c);
}
