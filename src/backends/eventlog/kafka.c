// SPDX-License-Identifier: Apache-2.0
// The event log on Kafka.
//
// Publishing. One idempotent producer with acks=all and no timeout of its own: while brokers are away its messages wait
// in their order, in a queue that is bounded, and go out in that order when they are back. Keys land where Java's
// client puts them (murmur2); no key means partition 0.
//
// Consuming. Each consumer has a thread that does nothing but take messages from librdkafka one by one, copy them out
// and release them, so that the group never waits for work. What is copied waits in queues by partition; when they hold
// enough, all partitions are paused until half of it is gone. librdkafka 2.0.2 has bugs around pauses (a batch consumed
// across one loses records, a resume may go back): no batches are consumed, and the first message after a pause is held
// against the offset that is due; what was had is dropped, and a gap is looked into by a seek.
//
// Groups. Assignment is eager ("range"; cooperative assignment loops in 2.0.2). Offsets are kept here and told to the
// brokers explicitly, a few times a second and when something ends; nothing is ever committed that the caller did not.
// In a rebalance the thread first stops delivering, then gives what was delivered a moment to be committed. A partition
// that comes straight back keeps its epoch and its place, records in the queue included: no one else can have had it.
// One that does not is gone, and commits for its epoch are refused.
//
// Threads and locks. A consumer's lock guards its queues and numbers, and is never held over a call of librdkafka. The
// log's lock guards what is known of topics. Callbacks run on the thread that serves the handle.
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "backends/eventlog/eventlog_kafka.h"
#include "backends/eventlog/kafka_int.h"
#include "base/clock.h"
#include "base/log.h"

#define KF_MAGIC UINT32_C(0x4b61666b)

enum { DESTROY_MS = 5000 };

void *kf_alloc(size_t size)
{
    void *p = calloc(1, size);
    if (!p)
        abort();
    return p;
}

char *kf_strdup(const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        abort();
    return copy;
}

struct kf_log *kf_log(void *state)
{
    struct kf_log *log = state;
    if (log->magic != KF_MAGIC)
        abort();
    return log;
}

// ---- Errors

static enum error_code code_of(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND:
        return ERR_NOT_FOUND;
    case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS:
        return ERR_EXISTS;
    case RD_KAFKA_RESP_ERR_NON_EMPTY_GROUP:
    case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
    case RD_KAFKA_RESP_ERR_GROUP_SUBSCRIBED_TO_TOPIC:
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
        return ERR_CONFLICT;
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
    case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
        return ERR_INVALID;
    default:
        return ERR_UNAVAILABLE;
    }
}

int kf_error(struct error *err, rd_kafka_resp_err_t code, const char *text, const char *doing)
{
    return error_set(err, code_of(code), "%s: Kafka says: %s", doing, text && *text ? text : rd_kafka_err2str(code));
}

void kf_set_down(struct kf_log *log, const char *why)
{
    if (why) {
        pthread_mutex_lock(&log->lock);
        snprintf(log->why_down, sizeof log->why_down, "%s", why);
        pthread_mutex_unlock(&log->lock);
    }
    log->down = why != NULL;
}

int kf_ask_ms(const struct kf_log *log)
{
    return log->down ? KF_ASK_DOWN_MS : KF_ASK_MS;
}

static int log_health(void *state, struct error *err)
{
    struct kf_log *log = kf_log(state);
    if (!log->down)
        return 0;
    pthread_mutex_lock(&log->lock);
    error_set(err, ERR_UNAVAILABLE, "Kafka cannot be reached: %s", log->why_down);
    pthread_mutex_unlock(&log->lock);
    return -1;
}

// ---- Properties

// What the contract of the port rests on, and who may not change it.
static const char *const fixed[] = {"enable.idempotence",
                                    "acks",
                                    "request.required.acks",
                                    "message.timeout.ms",
                                    "delivery.timeout.ms",
                                    "message.send.max.retries",
                                    "retries",
                                    "partitioner",
                                    "transactional.id",
                                    "max.in.flight",
                                    "max.in.flight.requests.per.connection",
                                    "group.id",
                                    "group.instance.id",
                                    "enable.auto.commit",
                                    "enable.auto.offset.store",
                                    "auto.offset.reset",
                                    "partition.assignment.strategy",
                                    "group.protocol",
                                    "allow.auto.create.topics",
                                    "enable.partition.eof"};

static bool is_fixed(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        if (strcmp(fixed[i], name) == 0)
            return true;
    return false;
}

static int set(rd_kafka_conf_t *conf, const char *name, const char *value, struct error *err)
{
    char why[256];
    if (rd_kafka_conf_set(conf, name, value, why, sizeof why) == RD_KAFKA_CONF_OK)
        return 0;
    return error_set(err, ERR_CONFIG, "kafka.%s does not work: %s", name, why);
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    if (level <= 3) // an error; the rest is told by what follows from it
        log_warn("kafka", "%s: %s", facility, text);
    else
        log_debug("kafka", "%s: %s", facility, text);
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    struct kf_log *log = rd_kafka_type(rk) == RD_KAFKA_PRODUCER ? opaque : NULL;
    if (log && (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || code == RD_KAFKA_RESP_ERR__AUTHENTICATION ||
                code == RD_KAFKA_RESP_ERR__SSL || code == RD_KAFKA_RESP_ERR__FATAL))
        kf_set_down(log, reason);
}

// Producers and consumers are told all properties: each passes over those of the other.
static bool is_for(rd_kafka_type_t type, const char *name)
{
    static const char *const consumers[] = {"fetch.",  "session.",   "heartbeat.", "max.poll.",
                                            "queued.", "isolation.", "check.crcs", "coordinator."};
    static const char *const producers[] = {"compression.", "linger.", "queue.buffering.", "batch.", "sticky."};
    const char *const *others = type == RD_KAFKA_PRODUCER ? consumers : producers;
    size_t count = type == RD_KAFKA_PRODUCER ? ARRAY_LEN(consumers) : ARRAY_LEN(producers);
    for (size_t i = 0; i < count; i++)
        if (strncmp(name, others[i], strlen(others[i])) == 0)
            return false;
    return true;
}

int kf_conf(const struct kf_log *log, rd_kafka_type_t type, const char *const *extra, rd_kafka_conf_t **out,
            struct error *err)
{
    static const char *const common[] = {"message.max.bytes",
                                         "33554432",
                                         "allow.auto.create.topics",
                                         "false",
                                         "reconnect.backoff.ms",
                                         "50",
                                         "reconnect.backoff.max.ms",
                                         "1000",
                                         "log.connection.close",
                                         "false",
                                         "socket.keepalive.enable",
                                         "true",
                                         "socket.nagle.disable",
                                         "true",
                                         "allow.auto.create.topics",
                                         "false",
                                         "topic.metadata.refresh.interval.ms",
                                         "10000",
                                         NULL};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, on_log);
    rd_kafka_conf_set_error_cb(conf, on_error);
    int rc = 0;
    for (const char *const *p = common; rc == 0 && *p; p += 2)
        rc = set(conf, p[0], p[1], err);
    for (const char *const *p = extra; rc == 0 && *p; p += 2)
        rc = set(conf, p[0], p[1], err);
    for (const struct kf_property *p = log->properties; rc == 0 && p; p = p->next)
        if (is_for(type, p->name))
            rc = set(conf, p->name, p->value, err);
    if (rc < 0) {
        rd_kafka_conf_destroy(conf);
        return -1;
    }
    *out = conf;
    return 0;
}

int kf_new(struct kf_log *log, rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **out, struct error *err)
{
    char why[256];
    rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof why);
    if (!rk) {
        rd_kafka_conf_destroy(conf);
        return error_set(err, ERR_CONFIG, "Kafka's client cannot be set up: %s", why);
    }
    *out = rk;
    return 0;
}

// ---- Destroying a handle. After an offset query that failed (a partition that had no leader yet) librdkafka 2.0.2 may
// have lost a reference to its broker, and then never comes back from destroying: so another thread does it, and is
// waited for in vain only so long. What it still holds ends with the process.

struct ending {
    rd_kafka_t *rk;
    pthread_mutex_t lock;
    pthread_cond_t over;
    int users;
};

static void ending_leave(struct ending *e)
{
    bool last = --e->users == 0;
    pthread_cond_signal(&e->over);
    pthread_mutex_unlock(&e->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&e->lock);
    pthread_cond_destroy(&e->over);
    free(e);
}

static void *destroy(void *arg)
{
    struct ending *e = arg;
    rd_kafka_destroy_flags(e->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    pthread_mutex_lock(&e->lock);
    ending_leave(e);
    return NULL;
}

void kf_destroy(rd_kafka_t *rk)
{
    struct ending *e = kf_alloc(sizeof *e);
    int64_t until_us = clock_mono_us() + DESTROY_MS * 1000LL;
    struct timespec until = {.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};
    pthread_t thread;
    *e = (struct ending){.rk = rk, .users = 2};
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->over, NULL);
    if (pthread_create(&thread, NULL, destroy, e) != 0)
        abort();
    pthread_detach(thread);
    pthread_mutex_lock(&e->lock);
    while (e->users == 2 && pthread_cond_clockwait(&e->over, &e->lock, CLOCK_MONOTONIC, &until) == 0)
        ;
    ending_leave(e);
}

static int take_property(struct kf_log *log, const char *name, const char *value, struct error *err)
{
    if (strcmp(name, "deeplens.instance") == 0) {
        free(log->instance);
        log->instance = kf_strdup(value);
        return 0;
    }
    if (strcmp(name, "deeplens.replication") == 0) {
        log->replication = (int)strtol(value, NULL, 10);
        return 0;
    }
    if (is_fixed(name))
        return error_set(err, ERR_CONFIG, "kafka.%s cannot be chosen: what DeepLens promises rests on it", name);
    struct kf_property *p = kf_alloc(sizeof *p), **end = &log->properties;
    p->name = kf_strdup(name);
    p->value = kf_strdup(value);
    while (*end)
        end = &(*end)->next;
    *end = p;
    return 0;
}

static int take_location(struct kf_log *log, const char *location, struct error *err)
{
    _cleanup_free_ char *copy = kf_strdup(location ? location : "");
    char *rest = copy;
    for (char *line; (line = strsep(&rest, "\n"));) {
        char *value = strchr(line, '=');
        if (!*line)
            continue;
        if (!value)
            return error_set(err, ERR_CONFIG, "\"%.64s\" is no property of Kafka's client", line);
        *value++ = 0;
        if (take_property(log, line, value, err) < 0)
            return -1;
    }
    for (const struct kf_property *p = log->properties; p; p = p->next)
        if (strcmp(p->name, "bootstrap.servers") == 0 && *p->value)
            return 0;
    return error_set(err, ERR_CONFIG, "Where Kafka is must be said: --kafka-brokers HOST:PORT,… or KAFKA_BROKERS");
}

// ---- What is known of topics

static struct kf_topic *topic_find(struct kf_log *log, const char *name)
{
    struct kf_topic *t = log->topics;
    while (t && strcmp(t->name, name) != 0)
        t = t->next;
    return t;
}

static void topic_free(struct kf_topic *t)
{
    rd_kafka_topic_destroy(t->handle);
    free(t);
}

void kf_topic_forget(struct kf_log *log, const char *name)
{
    pthread_mutex_lock(&log->lock);
    struct kf_topic *t = topic_find(log, name);
    if (t)
        t->partitions = 0; // the handle may be in use
    pthread_mutex_unlock(&log->lock);
}

// Asks the brokers. The topic's entry is made, or brought up to date.
static int topic_ask(struct kf_log *log, const char *name, struct error *err)
{
    rd_kafka_topic_t *handle = rd_kafka_topic_new(log->producer, name, NULL);
    if (!handle)
        return error_set(err, ERR_INVALID, "\"%.64s\" cannot be a topic's name", name);
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(log->producer, 0, handle, &metadata, kf_ask_ms(log));
    if (code == 0 && metadata->topic_cnt == 1)
        code = metadata->topics[0].err;
    int32_t partitions = code == 0 ? metadata->topics[0].partition_cnt : 0;
    if (metadata)
        rd_kafka_metadata_destroy(metadata);
    if (code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) // it is being made
        code = 0;
    if (code == 0 && partitions == 0)
        code = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    pthread_mutex_lock(&log->lock);
    struct kf_topic *t = topic_find(log, name);
    if (!t && code == 0) {
        t = kf_alloc(sizeof *t + strlen(name) + 1);
        memcpy(t->name, name, strlen(name));
        t->handle = take_ptr(handle);
        t->next = log->topics;
        log->topics = t;
    }
    if (t)
        t->partitions = partitions;
    pthread_mutex_unlock(&log->lock);
    if (handle)
        rd_kafka_topic_destroy(handle);
    if (code == 0) {
        log->down = false;
        return 0;
    }
    if (code_of(code) == ERR_NOT_FOUND || code == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION)
        return error_set(err, ERR_NOT_FOUND, "There is no topic %.249s", name);
    return kf_error(err, code, NULL, "The topic cannot be looked up");
}

int kf_topic(struct kf_log *log, const char *name, bool fresh, rd_kafka_topic_t **handle, int32_t *partitions,
             struct error *err)
{
    for (int ask = fresh; ask < 2; ask++) {
        if (ask && topic_ask(log, name, err) < 0)
            return -1;
        pthread_mutex_lock(&log->lock);
        const struct kf_topic *t = topic_find(log, name);
        int32_t count = t ? t->partitions : 0;
        if (count && handle)
            *handle = t->handle;
        if (count && partitions)
            *partitions = count;
        pthread_mutex_unlock(&log->lock);
        if (count)
            return 0;
    }
    return error_set(err, ERR_NOT_FOUND, "There is no topic %.249s", name);
}

int kf_partition_check(struct kf_log *log, const char *topic, int32_t partition, struct error *err)
{
    int32_t count = 0;
    if (kf_topic(log, topic, false, NULL, &count, err) < 0)
        return -1;
    if (partition >= count && kf_topic(log, topic, true, NULL, &count, err) < 0)
        return -1;
    if (partition < 0 || partition >= count)
        return error_set(err, ERR_NOT_FOUND, "The topic %.249s has no partition %d", topic, partition);
    return 0;
}

// ---- Open and close

static void look_for_brokers(struct kf_log *log)
{
    const struct rd_kafka_metadata *metadata;
    if (rd_kafka_metadata(log->producer, 0, NULL, &metadata, 1000) != 0)
        return;
    kf_set_down(log, NULL);
    rd_kafka_metadata_destroy(metadata);
}

static void *serve(void *arg)
{
    struct kf_log *log = arg;
    while (!log->stop) {
        rd_kafka_poll(log->producer, 100);
        if (log->down)
            look_for_brokers(log);
    }
    return NULL;
}

static void log_free(struct kf_log *log)
{
    log->stop = true;
    if (log->started)
        pthread_join(log->thread, NULL);
    if (log->producer) { // what still waits is told so, after a moment to go out
        rd_kafka_flush(log->producer, log->down ? 100 : 2000);
        rd_kafka_purge(log->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        rd_kafka_flush(log->producer, 2000);
    }
    for (struct kf_topic *t = log->topics, *next; t; t = next) {
        next = t->next;
        topic_free(t);
    }
    if (log->producer)
        kf_destroy(log->producer);
    if (log->reader)
        kf_destroy(log->reader);
    kf_coordinators_free(log);
    kf_askers_free(log);
    for (struct kf_property *p = log->properties, *next; p; p = next) {
        next = p->next;
        free(p->name);
        free(p->value);
        free(p);
    }
    free(log->instance);
    pthread_mutex_destroy(&log->lock);
    pthread_mutex_destroy(&log->reading);
    pthread_mutex_destroy(&log->asking);
    log->magic = 0;
    free(log);
}
DEFINE_CLEANUP(struct kf_log *, log, log_free)

static void log_close(void *state)
{
    if (state)
        log_free(kf_log(state));
}

static int make_producer(struct kf_log *log, struct error *err)
{
    static const char *const settings[] = {"enable.idempotence",
                                           "true",
                                           "acks",
                                           "all",
                                           "message.timeout.ms",
                                           "0",
                                           "max.in.flight",
                                           "1",
                                           "partitioner",
                                           "murmur2",
                                           "linger.ms",
                                           "0",
                                           "queue.buffering.max.kbytes",
                                           "65536",
                                           "queue.buffering.max.messages",
                                           "100000",
                                           NULL};
    rd_kafka_conf_t *conf;
    if (kf_conf(log, RD_KAFKA_PRODUCER, settings, &conf, err) < 0)
        return -1;
    rd_kafka_conf_set_opaque(conf, log);
    rd_kafka_conf_set_dr_msg_cb(conf, kf_delivered);
    return kf_new(log, RD_KAFKA_PRODUCER, conf, &log->producer, err);
}

// A consumer's properties are wrong as soon as they are given, not when the first one subscribes.
static int check_consumer(struct kf_log *log, struct error *err)
{
    static const char *const none[] = {"enable.auto.commit", "false", NULL};
    rd_kafka_conf_t *conf;
    if (kf_conf(log, RD_KAFKA_CONSUMER, none, &conf, err) < 0)
        return -1;
    rd_kafka_conf_destroy(conf);
    return 0;
}

static int log_open(const char *location, struct meta *meta, void **state, struct error *err)
{
    _cleanup_(cleanup_log) struct kf_log *log = kf_alloc(sizeof *log);
    log->magic = KF_MAGIC;
    pthread_mutex_init(&log->lock, NULL);
    pthread_mutex_init(&log->reading, NULL);
    pthread_mutex_init(&log->asking, NULL);
    if (take_location(log, location, err) < 0 || check_consumer(log, err) < 0 || make_producer(log, err) < 0)
        return -1;
    if (pthread_create(&log->thread, NULL, serve, log) != 0)
        return error_set(err, ERR_NO_MEMORY, "The thread of Kafka's producer cannot be started");
    log->started = true;
    *state = take_ptr(log);
    return 0;
}

static int log_housekeep(void *state, int64_t now_ms, struct error *err) // the brokers do it
{
    return 0;
}

const struct elog_ops elog_kafka = {
    .name = "kafka",
    .caps = 0,
    .open = log_open,
    .close = log_close,
    .topic_create = kf_topic_create,
    .topic_delete = kf_topic_delete,
    .topic_alter = kf_topic_alter,
    .records_delete = kf_records_delete,
    .offset_at = kf_offset_at,
    .topic_list = kf_topic_list,
    .topic_describe = kf_topic_describe,
    .group_list = kf_group_list,
    .group_describe = kf_group_describe,
    .group_seek = kf_group_seek,
    .group_delete = kf_group_delete,
    .peek = kf_peek,
    .housekeep = log_housekeep,
    .publish = kf_publish,
    .publish_async = kf_publish_async,
    .health = log_health,
    .subscribe = kf_subscribe,
    .poll = kf_poll,
    .consumer_wake = kf_consumer_wake,
    .commit = kf_commit,
    .unsubscribe = kf_unsubscribe,
};
