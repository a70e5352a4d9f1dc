// SPDX-License-Identifier: Apache-2.0
// The contract of the eventlog port (ports/eventlog.h), run on every back end, plain and under both
// wrappers. A new back end adds a line to `backends`. What a log promises by its capabilities is asked of it, and what
// the port says of logs without them of the others. Those that need a server are run when a variable says where it is,
// and then alone (tests/peers/); they are emptied before each test.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>

#include "backends/eventlog/eventlog_embedded.h"
#include "backends/eventlog/eventlog_kafka.h"
#include "backends/fault.h"
#include "backends/meta/meta_sqlite.h"
#include "backends/trace.h"
#include "base/clock.h"
#include "base/log.h"
#include "place.h"
#include "ports/eventlog.h"

static const struct backend {
    const struct elog_ops *ops;
    const struct meta_ops *meta;
    const char *meta_file; // of the metadata store's location, in the test's folder
    const char *server;    // the variable that says where its server is; NULL: it needs none
} backends[] = {
    {&elog_embedded, &meta_sqlite, "meta.db", NULL},
    {&elog_kafka, &meta_sqlite, "meta.db", "DEEPLENS_TEST_KAFKA"},
};
static const struct backend *backend; // under test
static const struct elog_ops *ops;    // its functions, wrapped or not

static const struct variant {
    const char *name, *trace, *fault;
} variants[] = {
    {"plain", "", ""},
    {"traced", "eventlog", ""},
    // A rule that never comes to pass, so that the wrapper's functions are in the way.
    {"faulty", "", "eventlog.publish:IO_ERROR@1000000000"},
};
static const struct variant *variant;

enum { BATCH = 512, LONG_MS = 60000, SHORT_MS = 20, QUIET_MS = 1500, NO_LIMIT = 64 << 20 };

struct fixture {
    char dir[PLACE_MAX];
    char meta_location[PLACE_MAX + 64];
    struct meta meta;
    void *log;
    struct arena arena;
    struct elog_record *polled[BATCH];
    size_t count;
};

static const char *location(void)
{
    static char text[256];
    if (!backend->server)
        return "";
    snprintf(text, sizeof text, "bootstrap.servers=%s\n", getenv(backend->server));
    return text;
}

static void open_log(struct fixture *f)
{
    struct error err = {0};
    f->meta.ops = backend->meta;
    if (f->meta.ops->open(f->meta_location, &f->meta.state, &err) < 0 ||
        backend->ops->open(location(), &f->meta, &f->log, &err) < 0)
        fail_msg("open: %s", err.message);
    assert_int_equal(trace_setup(variant->trace, &err), 0);
    assert_int_equal(fault_setup(variant->fault, &err), 0);
    ops = trace_wrap_eventlog(fault_wrap_eventlog((struct eventlog){backend->ops, f->log})).ops;
}

static void close_log(struct fixture *f)
{
    ops->close(f->log);
    f->meta.ops->close(f->meta.state);
    f->log = NULL;
}

static void drop_polled(struct fixture *f)
{
    for (size_t i = 0; i < f->count; i++)
        free(f->polled[i]);
    f->count = 0;
}

// Of a server that other tests used before.
static int empty_server(struct fixture *f)
{
    struct elog_topic_info *topics = NULL;
    struct elog_group_info *groups = NULL;
    size_t count = 0;
    struct error err = {0};
    int rc = ops->topic_list(f->log, &f->arena, &topics, &count, &err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = ops->topic_delete(f->log, topics[i].name, &err);
    if (rc == 0)
        rc = ops->group_list(f->log, &f->arena, &groups, &count, &err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        ops->group_delete(f->log, groups[i].name, NULL); // or its offsets went with its topics
    if (rc < 0)
        fprintf(stderr, "The server cannot be emptied: %s\n", err.message);
    return rc;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    if (!f || place_make(f->dir) < 0)
        return -1;
    snprintf(f->meta_location, sizeof f->meta_location, "%s/%s", f->dir, backend->meta_file);
    open_log(f);
    *state = f;
    return backend->server ? empty_server(f) : 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    drop_polled(f);
    if (f->log)
        close_log(f);
    place_remove(f->dir);
    arena_free(&f->arena);
    free(f);
    return 0;
}

// ---- Short forms.

#define assert_ok(call)                                                                                                \
    do {                                                                                                               \
        struct error err = {0};                                                                                        \
        if ((call) != 0)                                                                                               \
            fail_msg("%s: %s", #call, err.message);                                                                    \
    } while (0)
#define assert_code(call, expected)                                                                                    \
    do {                                                                                                               \
        struct error err = {0};                                                                                        \
        assert_int_equal((call), -1);                                                                                  \
        if (err.code != (expected))                                                                                    \
            fail_msg("%s: %s %s, not %s", #call, error_code_name(err.code), err.message, error_code_name(expected));   \
    } while (0)

static void create(struct fixture *f, const char *topic, int32_t partitions)
{
    struct elog_topic_config config = {.partitions = partitions, .retention_ms = -1, .retention_bytes = -1};
    assert_ok(ops->topic_create(f->log, topic, &config, &err));
}

static void publish(struct fixture *f, const char *topic, const char *key, const char *value)
{
    struct elog_record record = {.topic = topic, .key = key, .value = value, .value_len = strlen(value)};
    assert_ok(ops->publish(f->log, &record, 1, &err));
}

// Values "from" … "from + count - 1" under one key, in one call.
static void publish_numbers(struct fixture *f, const char *topic, const char *key, int from, int count)
{
    struct elog_record *records = calloc((size_t)count, sizeof *records);
    char(*values)[16] = calloc((size_t)count, sizeof *values);
    for (int i = 0; i < count; i++) {
        snprintf(values[i], sizeof values[i], "%d", from + i);
        records[i] = (struct elog_record){
            .topic = topic, .key = key, .value = values[i], .value_len = strlen(values[i]), .timestamp_ms = 1000 + i};
    }
    assert_ok(ops->publish(f->log, records, (size_t)count, &err));
    free(values);
    free(records);
}

static struct elog_consumer *join(struct fixture *f, const char *group, const char *topic, const char *member)
{
    struct elog_consumer *consumer = NULL;
    assert_ok(ops->subscribe(f->log, group, &topic, 1, member, &consumer, &err));
    return consumer;
}

static bool is_prompt(void)
{
    return ops->caps & ELOG_PROMPT;
}

// One poll; where records come in pieces as many as it takes, until `max` are there or no more come for a moment.
static size_t poll_for(struct fixture *f, struct elog_consumer *consumer, size_t max, int timeout_ms)
{
    size_t more;
    drop_polled(f);
    assert_ok(ops->poll(consumer, max, NO_LIMIT, timeout_ms, f->polled, &f->count, &err));
    while (!is_prompt() && f->count && f->count < max) {
        assert_ok(ops->poll(consumer, max - f->count, NO_LIMIT, QUIET_MS, f->polled + f->count, &more, &err));
        f->count += more;
        if (!more)
            break;
    }
    return f->count;
}

// Polls until `wanted` records came, and then once more; returns how many there were. Keeps the last poll's records.
static size_t poll_all(struct fixture *f, struct elog_consumer *consumer, size_t wanted)
{
    size_t total = 0, more;
    while (total < wanted && poll_for(f, consumer, BATCH, LONG_MS))
        total += f->count;
    struct elog_record *records[1];
    assert_ok(ops->poll(consumer, 1, NO_LIMIT, SHORT_MS, records, &more, &err));
    if (more)
        free(records[0]);
    return total + more;
}

// What is so at once on a prompt log, and soon on others.
#define assert_soon(holds)                                                                                             \
    do {                                                                                                               \
        int64_t until_ = clock_mono_us() + LONG_MS * INT64_C(1000);                                                    \
        while (!is_prompt() && !(holds) && clock_mono_us() < until_)                                                   \
            clock_sleep_ms(20);                                                                                        \
        assert_true(holds);                                                                                            \
    } while (0)

static void commit_record(struct elog_consumer *consumer, const struct elog_record *r)
{
    assert_ok(ops->commit(consumer, r->topic, r->partition, r->epoch, r->offset + 1, &err));
}

static void assert_value(const struct elog_record *record, const char *value)
{
    assert_int_equal(record->value_len, strlen(value));
    assert_memory_equal(record->value, value, strlen(value));
}

static struct elog_topic_info describe(struct fixture *f, const char *topic)
{
    struct elog_topic_info info = {0};
    assert_ok(ops->topic_describe(f->log, &f->arena, topic, &info, &err));
    return info;
}

static struct elog_group_info group(struct fixture *f, const char *name)
{
    struct elog_group_info info = {0};
    if (!is_prompt()) // a group is known once its first member is
        for (int i = 0; i < 500 && ops->group_describe(f->log, &f->arena, name, &info, NULL) < 0; i++)
            clock_sleep_ms(20);
    assert_ok(ops->group_describe(f->log, &f->arena, name, &info, &err));
    return info;
}

// ---- Topics.

static void topics_are_made_listed_and_deleted(void **state)
{
    struct fixture *f = *state;
    struct elog_topic_config config = {.partitions = 3, .retention_ms = 7, .retention_bytes = -1};
    assert_ok(ops->topic_create(f->log, "b.topic-1_x", &config, &err));
    create(f, "a", 1);
    assert_code(ops->topic_create(f->log, "a", &config, &err), ERR_EXISTS);
    struct elog_topic_info *topics;
    size_t count;
    assert_ok(ops->topic_list(f->log, &f->arena, &topics, &count, &err));
    assert_int_equal(count, 2);
    assert_string_equal(topics[0].name, "a");
    assert_string_equal(topics[1].name, "b.topic-1_x");
    assert_int_equal(topics[1].config.partitions, 3);
    assert_int_equal(topics[1].config.retention_ms, 7);
    assert_int_equal(topics[1].config.retention_bytes, -1);
    assert_int_equal(topics[1].partitions[2].partition, 2);
    assert_ok(ops->topic_delete(f->log, "a", &err));
    assert_code(ops->topic_delete(f->log, "a", &err), ERR_NOT_FOUND);
    struct elog_topic_info info;
    assert_code(ops->topic_describe(f->log, &f->arena, "a", &info, &err), ERR_NOT_FOUND);
    close_log(f);
    open_log(f);
    assert_ok(ops->topic_list(f->log, &f->arena, &topics, &count, &err));
    assert_int_equal(count, 1);
}

static void topics_that_cannot_be_are_refused(void **state)
{
    struct fixture *f = *state;
    char long_name[ELOG_TOPIC_MAX + 2];
    memset(long_name, 'a', sizeof long_name);
    long_name[ELOG_TOPIC_MAX + 1] = 0;
    struct elog_topic_config good = {.partitions = 1, .retention_ms = -1, .retention_bytes = -1};
    const char *const names[] = {"", ".", "..", "a b", "a/b", "\xc3\xa4", long_name};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_code(ops->topic_create(f->log, names[i], &good, &err), ERR_INVALID);
    assert_ok(ops->topic_create(f->log, long_name + 1, &good, &err));
    static const int32_t partitions[] = {0, -1, 1025};
    for (size_t i = 0; i < ARRAY_LEN(partitions); i++) {
        struct elog_topic_config bad = good;
        bad.partitions = partitions[i];
        assert_code(ops->topic_create(f->log, "t", &bad, &err), ERR_INVALID);
    }
    create(f, "wide", 1024);
    assert_int_equal(describe(f, "wide").config.partitions, 1024);
}

static void an_unknown_topic_is_not_found(void **state)
{
    struct fixture *f = *state;
    struct elog_record record = {.topic = "nowhere", .value = "x", .value_len = 1};
    assert_code(ops->publish(f->log, &record, 1, &err), ERR_NOT_FOUND);
    struct elog_consumer *consumer;
    const char *topic = "nowhere";
    assert_code(ops->subscribe(f->log, "g", &topic, 1, "m", &consumer, &err), ERR_NOT_FOUND);
    struct elog_record *records;
    size_t count;
    assert_code(ops->peek(f->log, &f->arena, "nowhere", 0, 0, 1, &records, &count, &err), ERR_NOT_FOUND);
    create(f, "t", 2);
    assert_code(ops->peek(f->log, &f->arena, "t", 2, 0, 1, &records, &count, &err), ERR_NOT_FOUND);
    struct elog_group_info info;
    assert_code(ops->group_describe(f->log, &f->arena, "nobody", &info, &err), ERR_NOT_FOUND);
}

static void a_topic_made_again_is_empty(void **state)
{
    struct fixture *f = *state;
    create(f, "t", 1);
    create(f, "other", 1);
    publish_numbers(f, "t", NULL, 0, 2500); // more than one chunk of deleting
    publish(f, "other", NULL, "stays");
    struct elog_consumer *consumer = join(f, "g", "t", "m");
    assert_int_equal(poll_for(f, consumer, 5, LONG_MS), 5);
    commit_record(consumer, f->polled[4]);
    struct elog_record *old = f->polled[4];
    f->count = 4;
    assert_ok(ops->topic_delete(f->log, "t", &err));
    if (is_prompt())
        assert_code(ops->commit(consumer, "t", 0, old->epoch, 5, &err), ERR_NOT_FOUND);
    create(f, "t", 1);
    if (is_prompt())
        assert_code(ops->commit(consumer, "t", 0, old->epoch, 0, &err), ERR_CONFLICT);
    free(old);
    struct elog_topic_info info = describe(f, "t");
    assert_int_equal(info.partitions[0].begin, 0);
    assert_int_equal(info.partitions[0].end, 0);
    assert_int_equal(info.partitions[0].bytes, 0);
    publish(f, "t", NULL, "new");
    if (!is_prompt()) // what was on its way already is still delivered
        do
            assert_int_equal(poll_for(f, consumer, 1, LONG_MS), 1);
        while (f->polled[0]->value_len != 3 || memcmp(f->polled[0]->value, "new", 3) != 0);
    else
        assert_int_equal(poll_for(f, consumer, BATCH, LONG_MS), 1); // the subscription outlives the topic
    assert_value(f->polled[0], "new");
    assert_int_equal(f->polled[0]->offset, 0);
    ops->unsubscribe(consumer);
    assert_int_equal(describe(f, "other").partitions[0].end, 1);
}

static void a_topic_grows_and_never_shrinks(void **state)
{
    struct fixture *f = *state;
    struct elog_topic_config config = {.partitions = 5, .retention_ms = 1000, .retention_bytes = 1 << 20};
    create(f, "t", 2);
    publish_numbers(f, "t", NULL, 0, 3);
    struct elog_consumer *consumer = join(f, "g", "t", "m");
    assert_int_equal(poll_for(f, consumer, 100, LONG_MS), 3);
    commit_record(consumer, f->polled[1]);
    int32_t epoch = f->polled[2]->epoch;
    assert_ok(ops->topic_alter(f->log, "t", &config, &err));
    for (int round = 0; round < 2; round++) { // as it is, and after opening again
        struct elog_topic_info info = describe(f, "t");
        assert_int_equal(info.config.partitions, 5);
        assert_int_equal(info.config.retention_ms, 1000);
        assert_int_equal(info.config.retention_bytes, 1 << 20);
        assert_true(info.config.replication >= 1);
        assert_int_equal(info.partitions[0].end, 3);
        assert_int_equal(info.partitions[4].partition, 4);
        assert_int_equal(info.partitions[4].end, round ? 1 : 0);
        if (round)
            break;
        char key[16]; // the first that goes to the last partition
        for (int i = 0; snprintf(key, sizeof key, "%d", i) && elog_partition(key, 5) != 4; i++)
            ;
        publish(f, "t", key, "new");
        assert_int_equal(poll_for(f, consumer, 100, LONG_MS), 1); // whoever was subscribed gets it
        assert_int_equal(f->polled[0]->partition, 4);
        assert_ok(ops->commit(consumer, "t", 0, epoch, 3, &err)); // and keeps what it had
        commit_record(consumer, f->polled[0]);
        ops->unsubscribe(consumer);
        assert_int_equal(group(f, "g").partition_count, 5);
        close_log(f);
        open_log(f);
    }
    config.partitions = 4;
    assert_code(ops->topic_alter(f->log, "t", &config, &err), ERR_INVALID);
    config.partitions = 1025;
    assert_code(ops->topic_alter(f->log, "t", &config, &err), ERR_INVALID);
    config.partitions = 5;
    assert_code(ops->topic_alter(f->log, "nowhere", &config, &err), ERR_NOT_FOUND);
    assert_int_equal(describe(f, "t").config.partitions, 5);
}

// ---- Records.

static void a_record_comes_back_as_it_went_in(void **state)
{
    struct fixture *f = *state;
    create(f, "t", 1);
    const struct elog_header headers[] = {{"ce_id", "1"}, {"empty", ""}, {"ce_id", "again"}};
    struct elog_record records[] = {
        {.topic = "t",
         .key = "k\xc3\xa4",
         .value = "a\0b\0",
         .value_len = 4,
         .timestamp_ms = 12345,
         .headers = headers,
         .header_count = 3},
        {.topic = "t", .key = "", .value = "", .value_len = 0},
        {.topic = "t", .value = NULL, .value_len = 0},
    };
    int64_t before = clock_now_ms();
    assert_ok(ops->publish(f->log, records, 3, &err));
    struct elog_consumer *consumer = join(f, "g", "t", "m");
    assert_int_equal(poll_for(f, consumer, 10, LONG_MS), 3);
    struct elog_record *r = f->polled[0];
    assert_string_equal(r->topic, "t");
    assert_int_equal(r->partition, 0);
    assert_int_equal(r->offset, 0);
    assert_int_equal(r->timestamp_ms, 12345);
    assert_string_equal(r->key, "k\xc3\xa4");
    assert_int_equal(r->value_len, 4);
    assert_memory_equal(r->value, "a\0b\0", 4);
    assert_int_equal(r->header_count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(r->headers[i].name, headers[i].name);
        assert_string_equal(r->headers[i].value, headers[i].value);
    }
    assert_string_equal(f->polled[1]->key, "");
    assert_int_equal(f->polled[1]->value_len, 0);
    assert_int_equal(f->polled[1]->header_count, 0);
    assert_true(f->polled[1]->timestamp_ms >= before && f->polled[1]->timestamp_ms <= clock_now_ms());
    assert_null(f->polled[2]->key);
    assert_int_equal(f->polled[2]->offset, 2);
    ops->unsubscribe(consumer);
}

static void too_many_headers_are_refused(void **state)
{
    struct fixture *f = *state;
    create(f, "t", 1);
    struct elog_header headers[ELOG_HEADERS_MAX + 1];
    for (size_t i = 0; i < ARRAY_LEN(headers); i++)
        headers[i] = (struct elog_header){"name", "value"};
    struct elog_record record = {.topic = "t", .value = "x", .value_len = 1, .headers = headers};
    record.header_count = ELOG_HEADERS_MAX;
    assert_ok(ops->publish(f->log, &record, 1, &err));
    record.header_count = ELOG_HEADERS_MAX + 1;
    assert_code(ops->publish(f->log, &record, 1, &err), ERR_INVALID);
    assert_int_equal(describe(f, "t").partitions[0].end, 1);
}

static void a_value_of_a_megabyte_is_kept(void **state)
{
    struct fixture *f = *state;
    create(f, "t", 1);
    enum { SIZE = 1 << 20 };
    unsigned char *value = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        value[i] = (unsigned char)(i * 31 + i / 977);
    struct elog_record record = {.topic = "t", .value = value, .value_len = SIZE};
    for (int i = 0; i < 3; i++)
        assert_ok(ops->publish(f->log, &record, 1, &err));
    struct elog_consumer *consumer = join(f, "g", "t", "m");
    drop_polled(f);
    for (int64_t i = 0; i < 3; i++) { // more than the bytes asked for, but always one
        assert_ok(ops->poll(consumer, 10, 1000, LONG_MS, f->polled, &f->count, &err));
        assert_int_equal(f->count, 1);
        assert_int_equal(f->polled[0]->offset, i);
        assert_int_equal(f->polled[0]->value_len, SIZE);
        assert_memory_equal(f->polled[0]->value, value, SIZE);
        drop_polled(f);
    }
    free(value);
    ops->unsubscribe(consumer);
}

static void a_key_has_one_partition(void **state)
{
    struct fixture *f = *state;
    create(f, "t", 5);
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof key, "key-%d", i % 25);
        publish(f, "t", key, "x");
    }
    publish(f, "t", NULL, "none");
    struct elog_consumer *consumer = join(f, "g", "t", "m");
    bool used[5] = {0};
    size_t total = 0;
    while (total < 101 && poll_for(f, consumer, 7, LONG_MS)) {
        total += f->count;
        for (size_t i = 0; i < f->count; i++) {
            const struct elog_record *r = f->polled[i];
            assert_int_equal(r->partition, elog_partition(r->key, 5));
            used[r->partition] = true;
        }
    }
    assert_int_equal(total, 101);
    for (int i = 0; i < 5; i++)
        assert_true(used[i]);
    ops->unsubscribe(consumer);
}

// ---- Polling.

static void a_poll_respects_its_limits(void **state)
{
    struct fixture *f = *state;
    create(f, "t", 1);
    publish_numbers(f, "t", NULL, 100, 20); // three bytes each
    struct elog_consumer *consumer = join(f, "g", "t", "m");
    assert_int_equal(poll_for(f, consumer, 4, LONG_MS), 4);
    assert_value(f->polled[3], "103");
    drop_polled(f);
    assert_ok(ops->poll(consumer, 100, 10, LONG_MS, f->polled, &f->count, &err));
    assert_true(is_prompt() ? f->count == 3 : f->count >= 1 && f->count <= 3);
    assert_value(f->polled[0], "104");
    size_t left = 16 - f->count;
    drop_polled(f);
    assert_ok(ops->poll(consumer, 100, 0, LONG_MS, f->polled, &f->count, &err));
    assert_int_equal(f->count, 1);
    assert_int_equal(poll_all(f, consumer, left - 1), left - 1);
    assert_int_equal(poll_for(f, consumer, 10, 0), 0);
    ops->unsubscribe(consumer);
}

static void every_partition_gets_its_turn(void **state)
{
    struct fixture *f = *state;
    create(f, "t", 3);
    static const char *const keys[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        publish_numbers(f, "t", keys[i], 0, 50);
    struct elog_consumer *consumer = join(f, "g", "t", "m");
    bool seen[3] = {0};
    for (int i = 0; i < (is_prompt() ? 3 : 40); i++) { // elsewhere one partition may be there before the others are
        assert_int_equal(poll_for(f, consumer, 10, LONG_MS), 10);
        seen[f->polled[0]->partition] = true;
    }
    assert_true(seen[0] && seen[1] && seen[2]);
    ops->unsubscribe(consumer);
}

static void *wake_later(void *arg)
{
    clock_sleep_ms(20);
    ops->consumer_wake(arg);
    return NULL;
}

static void a_waiting_poll_is_woken(void **state)
{
    struct fixture *f = *state;
    create(f, "t", 1);
    struct elog_consumer *consumer = join(f, "g", "t", "m");
    ops->consumer_wake(consumer); // the next poll
    assert_int_equal(poll_for(f, consumer, 1, LONG_MS), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, wake_later, consumer), 0);
    assert_int_equal(poll_for(f, consumer, 1, LONG_MS), 0); // would end in the suite's timeout
    pthread_join(thread, NULL);
    ops->unsubscribe(consumer);
}

static void *publish_later(void *arg)
{
    struct fixture *f = arg;
    clock_sleep_ms(20);
    struct elog_record record = {.topic = "t", .value = "x", .value_len = 1};
    ops->publish(f->log, &record, 1, NULL);
    return NULL;
}

static void a_waiting_poll_sees_a_record_that_comes(void **state)
{
    struct fixture *f = *state;
    create(f, "t", 2);
    struct elog_consumer *consumer = join(f, "g", "t", "m");
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, publish_later, f), 0);
        assert_int_equal(poll_for(f, consumer, 1, LONG_MS), 1);
        pthread_join(thread, NULL);
    }
    ops->unsubscribe(consumer);
}

static void a_poll_spans_topics(void **state)
{
    struct fixture *f = *state;
    create(f, "a", 2);
    create(f, "b", 2);
    publish(f, "a", "k", "1");
    publish(f, "b", "k", "2");
    const char *topics[] = {"a", "b"};
    struct elog_consumer *consumer = NULL;
    assert_ok(ops->subscribe(f->log, "g", topics, 2, "m", &consumer, &err));
    bool a = false, b = false;
    while (!(a && b)) {
        assert_true(poll_for(f, consumer, 10, LONG_MS) > 0);
        for (size_t i = 0; i < f->count; i++)
            strcmp(f->polled[i]->topic, "a") == 0 ? (a = true) : (b = true);
    }
    ops->unsubscribe(consumer);
}

// ---- Committing.

static void a_group_goes_on_where_it_committed(void **state)
{
    struct fixture *f = *state;
    create(f, "t", 1);
    publish_numbers(f, "t", NULL, 0, 10);
    struct elog_consumer *consumer = join(f, "g", "t", "m");
    assert_int_equal(poll_for(f, consumer, 6, LONG_MS), 6);
    commit_record(consumer, f->polled[3]);
    commit_record(consumer, f->polled[1]); // back: ignored
    ops->unsubscribe(consumer);
    consumer = join(f, "g", "t", "m");
    assert_int_equal(poll_for(f, consumer, 1, LONG_MS), 1);
    assert_value(f->polled[0], "4");
    ops->unsubscribe(consumer);
    drop_polled(f);
    close_log(f);
    open_log(f);
    consumer = join(f, "g", "t", "m");
    assert_int_equal(poll_for(f, consumer, 100, LONG_MS), 6);
    assert_value(f->polled[0], "4");
    ops->unsubscribe(consumer);
    consumer = join(f, "another group", "t", "m");
    assert_int_equal(poll_for(f, consumer, 100, LONG_MS), 10);
    ops->unsubscribe(consumer);
}

static void an_offset_outside_of_the_partition_is_refused(void **state)
{
    struct fixture *f = *state;
    create(f, "t", 1);
    publish_numbers(f, "t", NULL, 0, 3);
    struct elog_consumer *consumer = join(f, "g", "t", "m");
    assert_int_equal(poll_for(f, consumer, 10, LONG_MS), 3);
    int32_t epoch = f->polled[0]->epoch;
    assert_code(ops->commit(consumer, "t", 0, epoch, 4, &err), ERR_INVALID);
    assert_code(ops->commit(consumer, "t", 0, epoch, -1, &err), ERR_INVALID);
    assert_code(ops->commit(consumer, "t", 1, epoch, 0, &err), ERR_NOT_FOUND);
    assert_code(ops->commit(consumer, "x", 0, epoch, 0, &err), ERR_NOT_FOUND);
    assert_ok(ops->commit(consumer, "t", 0, epoch, 3, &err));
    ops->unsubscribe(consumer);
}

// ---- Groups.

static size_t owned_by(struct fixture *f, const char *name, const char *member)
{
    struct elog_group_info info = group(f, name);
    size_t count = 0;
    for (size_t i = 0; i < info.partition_count; i++)
        count += info.partitions[i].member && strcmp(info.partitions[i].member, member) == 0;
    return count;
}

static void members_share_the_partitions(void **state)
{
    struct fixture *f = *state;
    create(f, "t", 5);
    struct elog_consumer *a = join(f, "g", "t", "a");
    assert_soon(owned_by(f, "g", "a") == 5);
    struct elog_consumer *b = join(f, "g", "t", "b");
    assert_soon(owned_by(f, "g", "a") + owned_by(f, "g", "b") == 5 && owned_by(f, "g", "b") >= 2);
    assert_true(owned_by(f, "g", "a") >= 2 && owned_by(f, "g", "b") >= 2);
    struct elog_consumer *c = join(f, "g", "t", "c");
    assert_soon(owned_by(f, "g", "a") >= 1 && owned_by(f, "g", "b") >= 1 && owned_by(f, "g", "c") >= 1);
    assert_int_equal(group(f, "g").members, 3);
    ops->unsubscribe(a);
    ops->unsubscribe(c);
    assert_soon(owned_by(f, "g", "b") == 5);
    ops->unsubscribe(b);
}

static void a_rebalance_fences_the_old_owner(void **state)
{
    struct fixture *f = *state;
    create(f, "t", 1);
    publish_numbers(f, "t", NULL, 0, 10);
    struct elog_consumer *a = join(f, "g", "t", "a"), *b = NULL;
    assert_int_equal(poll_for(f, a, 5, LONG_MS), 5);
    commit_record(a, f->polled[1]);
    struct elog_record *late = f->polled[4];
    f->count = 4;
    if (is_prompt())
        b = join(f, "g", "t", "b"); // one partition: it stays with a
    assert_ok(ops->commit(a, "t", 0, late->epoch, 3, &err));
    if (is_prompt())
        assert_code(ops->commit(b, "t", 0, late->epoch, 4, &err), ERR_CONFLICT);
    ops->unsubscribe(a);
    if (!is_prompt())
        b = join(f, "g", "t", "b");
    assert_int_equal(poll_for(f, b, 100, LONG_MS), 7); // from what was committed
    assert_value(f->polled[0], "3");
    assert_int_not_equal(f->polled[0]->epoch, late->epoch);
    assert_code(ops->commit(b, "t", 0, late->epoch, 5, &err), ERR_CONFLICT); // an old epoch, even of the new owner
    struct elog_record *first = f->polled[0];
    f->polled[0] = f->polled[--f->count];
    if (!is_prompt()) // where one more member may move the partition
        commit_record(b, first);
    a = join(f, "g", "t", "a");
    assert_code(ops->commit(a, "t", 0, late->epoch, 5, &err), ERR_CONFLICT);
    if (is_prompt())
        commit_record(b, first);
    ops->unsubscribe(b);
    assert_int_equal(poll_for(f, a, 100, LONG_MS), 6);
    free(first);
    free(late);
    ops->unsubscribe(a);
}

static void what_moves_is_delivered_by_its_new_owner_alone(void **state)
{
    struct fixture *f = *state;
    create(f, "t", 2);
    struct elog_consumer *a = join(f, "g", "t", "a");
    for (int i = 0; i < 40; i++) {
        char key[16], value[16];
        snprintf(key, sizeof key, "%d", i);
        snprintf(value, sizeof value, "%d", i);
        publish(f, "t", key, value);
    }
    struct elog_consumer *b = join(f, "g", "t", "b");
    assert_soon(owned_by(f, "g", "a") == 1 && owned_by(f, "g", "b") == 1);
    bool by_a[2] = {0}, by_b[2] = {0};
    size_t total = 0;
    for (int i = 0; i < 1000 && total < 40; i++) {
        bool turn = i % 2;
        if (!poll_for(f, turn ? a : b, 5, SHORT_MS))
            continue;
        total += f->count;
        bool *by = turn ? by_a : by_b;
        by[f->polled[0]->partition] = by[f->polled[f->count - 1]->partition] = true;
    }
    assert_int_equal(total, 40);
    assert_true(by_a[0] != by_b[0] && by_a[1] != by_b[1] && by_a[0] != by_a[1]);
    ops->unsubscribe(a);
    ops->unsubscribe(b);
}

static void lag_is_what_was_not_committed(void **state)
{
    struct fixture *f = *state;
    create(f, "t", 2);
    publish_numbers(f, "t", NULL, 0, 10); // partition 0, of long ago
    struct elog_consumer *consumer = join(f, "g", "t", "m");
    assert_soon(owned_by(f, "g", "m") == 2);
    struct elog_group_info info = group(f, "g");
    assert_string_equal(info.name, "g");
    assert_int_equal(info.members, 1);
    assert_int_equal(info.partition_count, 2);
    assert_string_equal(info.partitions[0].topic, "t");
    assert_int_equal(info.partitions[0].committed, -1);
    assert_int_equal(info.partitions[0].end, 10);
    assert_int_equal(info.partitions[0].lag, 10);
    assert_true(info.partitions[0].lag_ms > 1000);
    assert_string_equal(info.partitions[0].member, "m");
    assert_int_equal(info.partitions[1].lag, 0);
    assert_int_equal(info.partitions[1].lag_ms, 0);
    assert_int_equal(poll_for(f, consumer, 100, LONG_MS), 10);
    commit_record(consumer, f->polled[5]);
    assert_soon(group(f, "g").partitions[0].committed == 6);
    info = group(f, "g");
    assert_int_equal(info.partitions[0].lag, 4);
    commit_record(consumer, f->polled[9]);
    ops->unsubscribe(consumer);
    info = group(f, "g"); // it is known by its offsets
    assert_int_equal(info.members, 0);
    assert_int_equal(info.partitions[0].lag, 0);
    assert_int_equal(info.partitions[0].lag_ms, 0);
    assert_null(info.partitions[0].member);
}

static void groups_are_listed_by_name(void **state)
{
    struct fixture *f = *state;
    create(f, "t", 1);
    publish(f, "t", NULL, "x");
    struct elog_consumer *left = join(f, "b", "t", "m");
    assert_int_equal(poll_for(f, left, 1, LONG_MS), 1);
    commit_record(left, f->polled[0]);
    ops->unsubscribe(left);
    struct elog_consumer *c = join(f, "c", "t", "1"), *a = join(f, "a", "t", "1"), *again = join(f, "c", "t", "2");
    assert_soon(group(f, "c").members == 2 && group(f, "a").members == 1);
    struct elog_group_info *groups;
    size_t count;
    assert_ok(ops->group_list(f->log, &f->arena, &groups, &count, &err));
    assert_int_equal(count, 3);
    assert_string_equal(groups[0].name, "a");
    assert_string_equal(groups[1].name, "b");
    assert_string_equal(groups[2].name, "c");
    assert_int_equal(groups[1].members, 0);
    assert_int_equal(groups[2].members, 2);
    ops->unsubscribe(a);
    ops->unsubscribe(c);
    ops->unsubscribe(again);
}

static void a_group_is_put_anywhere_while_nobody_is_in_it(void **state)
{
    struct fixture *f = *state;
    create(f, "t", 2);
    publish_numbers(f, "t", NULL, 0, 10);
    assert_ok(ops->group_seek(f->log, "g", "t", 0, 7, &err)); // the group is new
    assert_int_equal(group(f, "g").members, 0);
    assert_int_equal(group(f, "g").partitions[0].committed, 7);
    assert_int_equal(group(f, "g").partitions[0].lag, 3);
    struct elog_consumer *consumer = join(f, "g", "t", "m");
    assert_int_equal(poll_for(f, consumer, 100, LONG_MS), 3);
    assert_value(f->polled[0], "7");
    commit_record(consumer, f->polled[2]);
    assert_code(ops->group_seek(f->log, "g", "t", 0, 2, &err), ERR_CONFLICT);
    assert_code(ops->group_delete(f->log, "g", &err), ERR_CONFLICT);
    ops->unsubscribe(consumer);
    assert_ok(ops->group_seek(f->log, "g", "t", 0, 2, &err)); // back
    assert_ok(ops->group_seek(f->log, "g", "t", 1, 0, &err));
    assert_code(ops->group_seek(f->log, "g", "t", 0, 11, &err), ERR_INVALID);
    assert_code(ops->group_seek(f->log, "g", "t", 0, -1, &err), ERR_INVALID);
    assert_code(ops->group_seek(f->log, "g", "t", 2, 0, &err), ERR_NOT_FOUND);
    assert_code(ops->group_seek(f->log, "g", "nowhere", 0, 0, &err), ERR_NOT_FOUND);
    close_log(f);
    open_log(f);
    consumer = join(f, "g", "t", "m");
    assert_int_equal(poll_all(f, consumer, 8), 8);
    ops->unsubscribe(consumer);
}

static void a_group_that_is_deleted_begins_anew(void **state)
{
    struct fixture *f = *state;
    struct elog_group_info info;
    create(f, "t", 1);
    publish_numbers(f, "t", NULL, 0, 4);
    assert_ok(ops->group_seek(f->log, "g", "t", 0, 3, &err));
    assert_ok(ops->group_seek(f->log, "other", "t", 0, 3, &err));
    assert_ok(ops->group_delete(f->log, "g", &err));
    assert_code(ops->group_describe(f->log, &f->arena, "g", &info, &err), ERR_NOT_FOUND);
    assert_code(ops->group_delete(f->log, "g", &err), ERR_NOT_FOUND);
    assert_int_equal(group(f, "other").partitions[0].committed, 3);
    struct elog_consumer *consumer = join(f, "g", "t", "m");
    assert_int_equal(poll_all(f, consumer, 4), 4);
    ops->unsubscribe(consumer);
}

static void a_time_has_an_offset(void **state)
{
    struct fixture *f = *state;
    int64_t offset = -1;
    create(f, "t", 2);
    publish_numbers(f, "t", NULL, 0, 10); // at 1000 … 1009 ms
    static const struct {
        int64_t time_ms, offset;
    } known[] = {{0, 0}, {1000, 0}, {1001, 1}, {1009, 9}, {1010, 10}, {INT64_MAX, 10}};
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        assert_ok(ops->offset_at(f->log, "t", 0, known[i].time_ms, &offset, &err));
        assert_int_equal(offset, known[i].offset);
    }
    assert_ok(ops->offset_at(f->log, "t", 1, 0, &offset, &err));
    assert_int_equal(offset, 0);
    assert_ok(ops->records_delete(f->log, "t", 0, 4, &err));
    assert_ok(ops->offset_at(f->log, "t", 0, 0, &offset, &err));
    assert_int_equal(offset, 4);
    assert_code(ops->offset_at(f->log, "t", 2, 0, &offset, &err), ERR_NOT_FOUND);
    assert_code(ops->offset_at(f->log, "nowhere", 0, 0, &offset, &err), ERR_NOT_FOUND);
}

static void records_are_deleted_up_to_an_offset(void **state)
{
    struct fixture *f = *state;
    struct elog_record *records;
    size_t count;
    create(f, "t", 2);
    publish_numbers(f, "t", NULL, 0, 2500); // more than one chunk
    struct elog_consumer *consumer = join(f, "g", "t", "m");
    assert_int_equal(poll_for(f, consumer, 3, LONG_MS), 3);
    assert_ok(ops->records_delete(f->log, "t", 0, 2400, &err)); // though the group needs them
    assert_int_equal(describe(f, "t").partitions[0].begin, 2400);
    assert_int_equal(describe(f, "t").partitions[0].end, 2500);
    assert_ok(ops->peek(f->log, &f->arena, "t", 0, 0, 1, &records, &count, &err));
    assert_int_equal(count, 1);
    assert_int_equal(records[0].offset, 2400);
    assert_int_equal(group(f, "g").partitions[0].lag, 100);
    if (is_prompt()) { // it goes on behind the gap
        assert_int_equal(poll_all(f, consumer, 100), 100);
    } else { // or has the records already
        size_t total = 0;
        for (int64_t last = 0; last < 2499; last = f->polled[f->count - 1]->offset)
            total += poll_for(f, consumer, BATCH, LONG_MS);
        assert_true(total >= 100);
    }
    assert_ok(ops->records_delete(f->log, "t", 0, 5, &err)); // long gone: nothing happens
    assert_int_equal(describe(f, "t").partitions[0].begin, 2400);
    assert_code(ops->records_delete(f->log, "t", 0, 2501, &err), ERR_INVALID);
    assert_code(ops->records_delete(f->log, "t", 2, 0, &err), ERR_NOT_FOUND);
    assert_code(ops->records_delete(f->log, "nowhere", 0, 0, &err), ERR_NOT_FOUND);
    assert_ok(ops->records_delete(f->log, "t", 0, 2500, &err));
    assert_int_equal(describe(f, "t").partitions[0].bytes, 0);
    publish(f, "t", NULL, "next");
    assert_int_equal(poll_for(f, consumer, 3, LONG_MS), 1);
    assert_int_equal(f->polled[0]->offset, 2500);
    ops->unsubscribe(consumer);
}

static void a_peek_disturbs_nobody(void **state)
{
    struct fixture *f = *state;
    create(f, "t", 1);
    publish_numbers(f, "t", NULL, 0, 10);
    struct elog_consumer *consumer = join(f, "g", "t", "m");
    struct elog_record *records;
    size_t count;
    assert_ok(ops->peek(f->log, &f->arena, "t", 0, 7, 2, &records, &count, &err));
    assert_int_equal(count, 2);
    assert_int_equal(records[0].offset, 7);
    assert_value(&records[1], "8");
    assert_ok(ops->peek(f->log, &f->arena, "t", 0, 10, 2, &records, &count, &err));
    assert_int_equal(count, 0);
    assert_int_equal(poll_for(f, consumer, 100, LONG_MS), 10);
    ops->unsubscribe(consumer);
}

// ---- Retention.

static void old_records_go_and_offsets_stay(void **state)
{
    struct fixture *f = *state;
    if (!(ops->caps & ELOG_RETAINS)) {
        create(f, "t", 1);
        publish_numbers(f, "t", NULL, 0, 10);
        assert_ok(ops->housekeep(f->log, INT64_C(1) << 50, &err)); // not its business
        struct elog_partition_info kept = describe(f, "t").partitions[0];
        assert_int_equal(kept.begin, 0);
        assert_int_equal(kept.end, 10);
        assert_int_equal(kept.oldest_ms, 1000);
        assert_int_equal(kept.bytes, 0);
        return;
    }
    struct elog_topic_config config = {.partitions = 1, .retention_ms = 500, .retention_bytes = -1};
    assert_ok(ops->topic_create(f->log, "t", &config, &err));
    publish_numbers(f, "t", NULL, 0, 2500); // at 1000 … 3499
    assert_ok(ops->housekeep(f->log, 1000, &err));
    assert_int_equal(describe(f, "t").partitions[0].begin, 0);
    assert_ok(ops->housekeep(f->log, 3500, &err)); // keeps 3000 …
    struct elog_partition_info p = describe(f, "t").partitions[0];
    assert_int_equal(p.begin, 2000);
    assert_int_equal(p.end, 2500);
    assert_int_equal(p.oldest_ms, 3000);
    assert_int_equal(p.bytes, 500 * 4);
    struct elog_consumer *consumer = join(f, "g", "t", "m"); // a new group begins at the oldest
    assert_int_equal(poll_for(f, consumer, 1, LONG_MS), 1);
    assert_int_equal(f->polled[0]->offset, 2000);
    assert_int_equal(poll_for(f, consumer, 499, LONG_MS), 499);
    commit_record(consumer, f->polled[498]);
    assert_ok(ops->housekeep(f->log, 100000, &err));
    p = describe(f, "t").partitions[0];
    assert_int_equal(p.begin, 2500);
    assert_int_equal(p.bytes, 0);
    assert_int_equal(p.oldest_ms, 0);
    drop_polled(f);
    ops->unsubscribe(consumer);
    close_log(f);
    open_log(f);
    publish(f, "t", NULL, "next");
    consumer = join(f, "g", "t", "m");
    assert_int_equal(poll_for(f, consumer, 10, LONG_MS), 1);
    assert_int_equal(f->polled[0]->offset, 2500);
    ops->unsubscribe(consumer);
}

// The other logs' servers remove what they like: then the group goes on at the oldest record there is.
static void a_group_whose_place_is_gone_goes_on(struct fixture *f)
{
    create(f, "t", 1);
    publish_numbers(f, "t", NULL, 0, 100);
    struct elog_consumer *consumer = join(f, "g", "t", "m");
    assert_int_equal(poll_for(f, consumer, 10, LONG_MS), 10);
    commit_record(consumer, f->polled[9]);
    ops->unsubscribe(consumer);
    assert_ok(ops->records_delete(f->log, "t", 0, 50, &err));
    assert_int_equal(group(f, "g").partitions[0].lag, 50);
    consumer = join(f, "g", "t", "m");
    assert_int_equal(poll_for(f, consumer, 100, LONG_MS), 50);
    assert_int_equal(f->polled[0]->offset, 50);
    ops->unsubscribe(consumer);
}

static void g2_what_a_group_has_still_to_read_is_kept(void **state)
{
    struct fixture *f = *state;
    if (!(ops->caps & ELOG_RETAINS)) {
        a_group_whose_place_is_gone_goes_on(f);
        return;
    }
    struct elog_topic_config config = {.partitions = 1, .retention_ms = 500, .retention_bytes = 10};
    assert_ok(ops->topic_create(f->log, "t", &config, &err));
    publish_numbers(f, "t", NULL, 0, 100);
    struct elog_consumer *consumer = join(f, "g", "t", "m");
    assert_ok(ops->housekeep(f->log, 100000, &err)); // subscribed, nothing committed
    assert_int_equal(describe(f, "t").partitions[0].begin, 0);
    assert_int_equal(poll_for(f, consumer, 10, LONG_MS), 10);
    commit_record(consumer, f->polled[9]);
    ops->unsubscribe(consumer); // committed, not subscribed
    assert_ok(ops->housekeep(f->log, 100000, &err));
    assert_int_equal(describe(f, "t").partitions[0].begin, 10);
    consumer = join(f, "g", "t", "m");
    assert_int_equal(poll_for(f, consumer, 100, LONG_MS), 90);
    assert_int_equal(f->polled[0]->offset, 10);
    commit_record(consumer, f->polled[89]);
    assert_ok(ops->housekeep(f->log, 100000, &err));
    assert_int_equal(describe(f, "t").partitions[0].begin, 100);
    ops->unsubscribe(consumer);
}

static void a_partition_is_kept_below_its_size(void **state)
{
    struct fixture *f = *state;
    struct elog_topic_config config = {.partitions = 2, .retention_ms = -1, .retention_bytes = 1000};
    assert_ok(ops->topic_create(f->log, "t", &config, &err));
    assert_int_equal(describe(f, "t").config.retention_bytes, 1000);
    if (!(ops->caps & ELOG_RETAINS))
        return;                                // when the servers do so is theirs to say
    publish_numbers(f, "t", NULL, 1000, 1500); // four bytes each
    assert_ok(ops->housekeep(f->log, clock_now_ms(), &err));
    struct elog_partition_info p = describe(f, "t").partitions[0];
    assert_int_equal(p.begin, 1250);
    assert_int_equal(p.end, 1500);
    assert_int_equal(p.bytes, 1000);
    create(f, "ever", 1);
    publish_numbers(f, "ever", NULL, 0, 100);
    assert_ok(ops->housekeep(f->log, INT64_C(1) << 50, &err));
    assert_int_equal(describe(f, "ever").partitions[0].begin, 0);
}

// ---- Transactions.

struct change {
    struct fixture *f;
    struct elog_consumer *consumer;
    const struct elog_record *polled;
    const char *value;
    bool fails;
};

// A setting, an event and (with a consumer) an offset, in one transaction.
static int change_all(struct meta_tx *tx, void *arg, struct error *err)
{
    const struct change *c = arg;
    struct elog_record record = {.topic = "t", .key = NULL, .value = c->value, .value_len = strlen(c->value)};
    if (c->f->meta.ops->setting_put(tx, c->value, "1", err) < 0 ||
        ops->publish_tx(c->f->log, tx, &record, NULL, err) < 0)
        return -1;
    if (c->consumer && ops->commit_tx(c->consumer, tx, c->polled->topic, c->polled->partition, c->polled->epoch,
                                      c->polled->offset + 1, err) < 0)
        return -1;
    return c->fails ? error_set(err, ERR_INJECTED, "on purpose") : 0;
}

static int has_setting(struct meta_tx *tx, void *arg, struct error *err)
{
    const struct change *c = arg;
    const char *value;
    return c->f->meta.ops->setting_get(tx, &c->f->arena, c->value, &value, err);
}

static void ignore_done(void *arg, const struct error *err)
{
}

static void g1_a_change_and_its_event_are_one(void **state)
{
    struct fixture *f = *state;
    if (!(ops->caps & ELOG_TRANSACTIONAL))
        return; // the functions are not there: see publishing_waits_for_nobody
    enum { COUNT = 60 };
    create(f, "t", 1);
    struct change changes[COUNT];
    char values[COUNT][16];
    for (int i = 0; i < COUNT; i++) {
        snprintf(values[i], sizeof values[i], "v%d", i);
        changes[i] = (struct change){.f = f, .value = values[i], .fails = i % 3 == 1};
        f->meta.ops->write_async(f->meta.state, META_RELAXED, change_all, &changes[i], ignore_done, NULL);
    }
    struct change last = {.f = f, .value = "last"};
    assert_ok(f->meta.ops->write(f->meta.state, META_SYNCED, change_all, &last, &err));
    struct elog_consumer *consumer = join(f, "g", "t", "m");
    assert_int_equal(poll_for(f, consumer, BATCH, LONG_MS), COUNT - COUNT / 3 + 1);
    size_t next = 0;
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(f->meta.ops->read(f->meta.state, has_setting, &changes[i], NULL), i % 3 == 1 ? -1 : 0);
        if (i % 3 == 1)
            continue;
        assert_int_equal(f->polled[next]->offset, next); // what failed left no gap
        assert_value(f->polled[next++], values[i]);
    }
    assert_int_equal(describe(f, "t").partitions[0].end, COUNT - COUNT / 3 + 1);
    ops->unsubscribe(consumer);
}

static void g4_an_offset_is_one_with_its_effects(void **state)
{
    struct fixture *f = *state;
    if (!(ops->caps & ELOG_TRANSACTIONAL))
        return; // the functions are not there: see publishing_waits_for_nobody
    create(f, "t", 1);
    publish(f, "t", NULL, "first");
    struct elog_consumer *consumer = join(f, "g", "t", "m");
    assert_int_equal(poll_for(f, consumer, 1, LONG_MS), 1);
    struct change change = {.f = f, .consumer = consumer, .polled = f->polled[0], .value = "effect", .fails = true};
    assert_code(f->meta.ops->write(f->meta.state, META_SYNCED, change_all, &change, &err), ERR_INJECTED);
    assert_int_equal(group(f, "g").partitions[0].committed, -1);
    assert_int_equal(describe(f, "t").partitions[0].end, 1);
    change.fails = false;
    assert_ok(f->meta.ops->write(f->meta.state, META_SYNCED, change_all, &change, &err));
    assert_int_equal(group(f, "g").partitions[0].committed, 1);
    ops->unsubscribe(consumer);
    struct elog_consumer *other = join(f, "g", "t", "m"); // the old epoch: nothing of the transaction happens
    change = (struct change){.f = f, .consumer = other, .polled = f->polled[0], .value = "late"};
    assert_code(f->meta.ops->write(f->meta.state, META_SYNCED, change_all, &change, &err), ERR_CONFLICT);
    assert_int_equal(f->meta.ops->read(f->meta.state, has_setting, &change, NULL), -1);
    assert_int_equal(describe(f, "t").partitions[0].end, 2);
    ops->unsubscribe(other);
}

static void a_batch_is_published_whole_or_not(void **state)
{
    struct fixture *f = *state;
    if (!(ops->caps & ELOG_TRANSACTIONAL))
        return; // the functions are not there: see publishing_waits_for_nobody
    create(f, "t", 1);
    struct elog_record records[] = {{.topic = "t", .value = "1", .value_len = 1},
                                    {.topic = "nowhere", .value = "2", .value_len = 1}};
    assert_code(ops->publish(f->log, records, 2, &err), ERR_NOT_FOUND);
    assert_int_equal(describe(f, "t").partitions[0].end, 0);
    publish(f, "t", NULL, "3");
    assert_int_equal(describe(f, "t").partitions[0].bytes, 1);
}

struct told {
    atomic_int count, wrong;
    enum error_code code;
};

struct told_one {
    struct told *all;
    int number;
};

static void tell(void *arg, const struct error *err)
{
    struct told_one *one = arg;
    if (err)
        one->all->code = err->code;
    if (atomic_fetch_add(&one->all->count, 1) != one->number)
        one->all->wrong++;
}

static void publishing_waits_for_nobody(void **state)
{
    struct fixture *f = *state;
    if (ops->caps & ELOG_TRANSACTIONAL) {
        assert_null(ops->publish_async);
        return;
    }
    assert_null(ops->publish_tx);
    assert_null(ops->commit_tx);
    enum { COUNT = 1000 };
    create(f, "t", 1);
    static struct told told;
    static struct told_one each[COUNT];
    memset(&told, 0, sizeof told);
    for (int i = 0; i < COUNT; i++) {
        char value[16];
        snprintf(value, sizeof value, "%d", i);
        struct elog_record record = {.topic = "t", .value = value, .value_len = strlen(value)};
        each[i] = (struct told_one){&told, i};
        assert_ok(ops->publish_async(f->log, &record, tell, &each[i], &err));
    }
    assert_soon(told.count == COUNT);
    assert_int_equal(told.wrong, 0);
    assert_int_equal(told.code, 0);
    struct elog_record *records;
    size_t count;
    assert_ok(ops->peek(f->log, &f->arena, "t", 0, 0, COUNT + 1, &records, &count, &err));
    assert_int_equal(count, COUNT);
    for (int i = 0; i < COUNT; i++) {
        char value[16];
        snprintf(value, sizeof value, "%d", i);
        assert_value(&records[i], value);
    }
    struct elog_record nowhere = {.topic = "nowhere", .value = "x", .value_len = 1};
    assert_code(ops->publish_async(f->log, &nowhere, tell, &each[0], &err), ERR_NOT_FOUND);
    assert_int_equal(told.count, COUNT);
}

static void a_log_within_reach_is_well(void **state)
{
    struct fixture *f = *state;
    create(f, "t", 1);
    assert_ok(ops->health(f->log, &err));
}

// ---- Many at once.

enum { PRODUCERS = 4, CONSUMERS = 3, KEYS = 20, PER_KEY = 100 };

struct crowd {
    struct fixture *f;
    int number;
    struct elog_consumer *consumer;
    atomic_int *seen;  // of each (producer, key): how many, without those that came again
    atomic_int *total; // of all
    bool any_order;    // keys move from partition to partition
    int errors, disorder;
    int moved; // records of partitions that went to another member: they came again, or could not be committed here
};

static void *produce(void *arg)
{
    struct crowd *c = arg;
    for (int n = 0; n < PER_KEY; n++) {
        struct elog_record records[KEYS];
        char keys[KEYS][32], values[KEYS][32];
        for (int k = 0; k < KEYS; k++) {
            snprintf(keys[k], sizeof keys[k], "%d", c->number * KEYS + k);
            snprintf(values[k], sizeof values[k], "%d", n);
            records[k] =
                (struct elog_record){.topic = "t", .key = keys[k], .value = values[k], .value_len = strlen(values[k])};
        }
        int half = n % KEYS;
        c->errors += ops->publish(c->f->log, records, (size_t)half, NULL) != 0;
        c->errors += ops->publish(c->f->log, records + half, (size_t)(KEYS - half), NULL) != 0;
    }
    return NULL;
}

// The numbers of a key come one behind the other, whoever gets them; none is passed over.
static void take(struct crowd *c, int key, int number)
{
    int next = number;
    if (c->any_order) {
        atomic_fetch_add(&c->seen[key], 1);
        atomic_fetch_add(c->total, 1);
    } else if (atomic_compare_exchange_strong(&c->seen[key], &next, number + 1))
        atomic_fetch_add(c->total, 1);
    else if (number < next)
        c->moved++;
    else
        c->disorder++;
}

static void *consume(void *arg)
{
    struct crowd *c = arg;
    struct elog_record *records[64];
    size_t count;
    while (*c->total < PRODUCERS * KEYS * PER_KEY && !c->errors) {
        if (ops->poll(c->consumer, 64, NO_LIMIT, SHORT_MS, records, &count, NULL) < 0) {
            c->errors++;
            break;
        }
        for (size_t i = 0; i < count; i++) {
            take(c, atoi(records[i]->key), atoi(records[i]->value));
            struct error err = {0};
            int rc =
                ops->commit(c->consumer, "t", records[i]->partition, records[i]->epoch, records[i]->offset + 1, &err);
            c->moved += rc != 0 && err.code == ERR_CONFLICT;
            c->errors += rc != 0 && err.code != ERR_CONFLICT;
            free(records[i]);
        }
    }
    return NULL;
}

static void g4_many_producers_and_consumers_lose_nothing_and_keep_order(void **state)
{
    struct fixture *f = *state;
    create(f, "t", 7);
    static atomic_int seen[PRODUCERS * KEYS], total;
    memset(seen, 0, sizeof seen);
    total = 0;
    static struct crowd crowd[PRODUCERS + CONSUMERS];
    pthread_t threads[PRODUCERS + CONSUMERS];
    for (int i = 0; i < PRODUCERS + CONSUMERS; i++) {
        bool produces = i < PRODUCERS;
        crowd[i] = (struct crowd){.f = f, .number = i, .seen = seen, .total = &total};
        crowd[i].consumer = produces ? NULL : join(f, "g", "t", "m");
    }
    assert_soon(group(f, "g").members == CONSUMERS && owned_by(f, "g", "m") == 7);
    for (int i = 0; i < PRODUCERS + CONSUMERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i < PRODUCERS ? produce : consume, &crowd[i]), 0);
    int moved = 0;
    for (int i = 0; i < PRODUCERS + CONSUMERS; i++) {
        pthread_join(threads[i], NULL);
        ops->unsubscribe(crowd[i].consumer);
    }
    for (int i = 0; i < PRODUCERS + CONSUMERS; i++) {
        assert_int_equal(crowd[i].errors, 0);
        assert_int_equal(crowd[i].disorder, 0);
        moved += crowd[i].moved;
    }
    for (int k = 0; k < PRODUCERS * KEYS; k++)
        assert_int_equal(seen[k], PER_KEY);
    if (is_prompt())
        assert_int_equal(moved, 0); // brokers may deal the partitions out anew whenever they like
    struct elog_group_info info = group(f, "g");
    for (size_t i = 0; i < info.partition_count && !moved; i++)
        assert_int_equal(info.partitions[i].lag, 0);
}

enum { VISIT = 200 };

// Members come and go while records flow: each is delivered at least once, and commits of the past are refused.
static void *come_and_go(void *arg)
{
    struct crowd *c = arg;
    struct elog_record *records[VISIT];
    size_t count;
    const char *topic = "t";
    struct error err;
    while (*c->total < KEYS * PER_KEY && !c->errors) {
        if (ops->subscribe(c->f->log, "g", &topic, 1, "m", &c->consumer, NULL) < 0) {
            c->errors++;
            break;
        }
        for (int round = 0; round < 3 + c->number; round++) {
            c->errors += ops->poll(c->consumer, is_prompt() ? 16 : VISIT, NO_LIMIT, is_prompt() ? 1 : 1000, records,
                                   &count, NULL) != 0;
            for (size_t i = 0; i < count; i++) {
                int place = atoi(records[i]->value);
                if (atomic_exchange(&c->seen[place], 1) == 0)
                    atomic_fetch_add(c->total, 1);
                int rc = ops->commit(c->consumer, "t", records[i]->partition, records[i]->epoch, records[i]->offset + 1,
                                     &err);
                c->errors += rc != 0 && err.code != ERR_CONFLICT;
                free(records[i]);
            }
        }
        ops->unsubscribe(c->consumer);
    }
    return NULL;
}

// Its partitions grow while everybody is at work. (Keys may move, so that order is not asked for.)
static void g4_a_topic_that_grows_loses_nothing(void **state)
{
    struct fixture *f = *state;
    if (!(ops->caps & ELOG_PROMPT))
        skip(); // elsewhere it takes minutes until everybody has heard of a new partition
    create(f, "t", 1);
    atomic_int seen[PRODUCERS * KEYS] = {0}, total = 0;
    struct crowd producer[PRODUCERS] = {0}, consumer = {.f = f, .seen = seen, .total = &total, .any_order = true};
    pthread_t producing[PRODUCERS], consuming;
    consumer.consumer = join(f, "g", "t", "m");
    for (int i = 0; i < PRODUCERS; i++) {
        producer[i] = (struct crowd){.f = f, .number = i};
        assert_int_equal(pthread_create(&producing[i], NULL, produce, &producer[i]), 0);
    }
    assert_int_equal(pthread_create(&consuming, NULL, consume, &consumer), 0);
    for (int32_t partitions = 2; partitions <= 64; partitions *= 2) {
        struct elog_topic_config config = {.partitions = partitions, .retention_ms = -1, .retention_bytes = -1};
        assert_ok(ops->topic_alter(f->log, "t", &config, &err));
    }
    for (int i = 0; i < PRODUCERS; i++) {
        pthread_join(producing[i], NULL);
        assert_int_equal(producer[i].errors, 0);
    }
    pthread_join(consuming, NULL);
    assert_int_equal(consumer.errors, 0);
    for (int i = 0; i < PRODUCERS * KEYS; i++)
        assert_int_equal(seen[i], PER_KEY);
    ops->unsubscribe(consumer.consumer);
    assert_int_equal(describe(f, "t").config.partitions, 64);
}

static void g4_a_group_that_changes_misses_nothing(void **state)
{
    struct fixture *f = *state;
    create(f, "t", 5);
    static atomic_int seen[KEYS * PER_KEY], total;
    memset(seen, 0, sizeof seen);
    total = 0;
    static struct crowd crowd[CONSUMERS];
    pthread_t threads[CONSUMERS];
    for (int i = 0; i < CONSUMERS; i++) {
        crowd[i] = (struct crowd){.f = f, .number = i, .seen = seen, .total = &total};
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &crowd[i]), 0);
    }
    for (int k = 0; k < KEYS; k++) {
        char key[16];
        snprintf(key, sizeof key, "%d", k);
        publish_numbers(f, "t", key, k * PER_KEY, PER_KEY);
    }
    for (int i = 0; i < CONSUMERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(crowd[i].errors, 0);
    }
    assert_int_equal(total, KEYS * PER_KEY);
}

// ---- Brokers with members of a name: the last to come with it has the partitions.

static void *open_named(struct fixture *f)
{
    char named[320];
    snprintf(named, sizeof named, "%sdeeplens.instance=twin\n", location());
    void *log = NULL;
    assert_ok(backend->ops->open(named, &f->meta, &log, &err));
    return log;
}

// Polls until the consumer has a record; how often it was refused meanwhile.
static int poll_through(struct fixture *f, struct elog_consumer *consumer)
{
    int refused = 0;
    int64_t until = clock_mono_us() + LONG_MS * INT64_C(1000);
    for (f->count = 0; f->count == 0;) {
        if (clock_mono_us() > until)
            fail_msg("no record comes");
        struct error why = {0};
        if (backend->ops->poll(consumer, BATCH, NO_LIMIT, 100, f->polled, &f->count, &why) < 0) {
            assert_int_equal(why.code, ERR_CONFLICT);
            refused++;
        }
    }
    return refused;
}

static void g4_a_member_that_was_shut_out_joins_again(void **state)
{
    struct fixture *f = *state;
    create(f, "t", 1);
    publish_numbers(f, "t", "k", 0, 1);
    void *logs[2] = {open_named(f), open_named(f)};
    struct elog_consumer *twins[2];
    const char *topics[] = {"t"};
    assert_ok(backend->ops->subscribe(logs[0], "g", topics, 1, "m", &twins[0], &err));
    poll_through(f, twins[0]);
    struct elog_record first = {.topic = "t", .epoch = f->polled[0]->epoch, .offset = f->polled[0]->offset};
    drop_polled(f);

    assert_ok(backend->ops->subscribe(logs[1], "g", topics, 1, "m", &twins[1], &err));
    poll_through(f, twins[1]);
    drop_polled(f);
    backend->ops->unsubscribe(twins[1]);
    backend->ops->close(logs[1]);

    assert_true(poll_through(f, twins[0]) > 0);
    assert_value(f->polled[0], "0");
    assert_code(backend->ops->commit(twins[0], "t", 0, first.epoch, first.offset + 1, &err), ERR_CONFLICT);
    assert_ok(backend->ops->commit(twins[0], "t", 0, f->polled[0]->epoch, f->polled[0]->offset + 1, &err));
    drop_polled(f);
    backend->ops->unsubscribe(twins[0]);
    backend->ops->close(logs[0]);
    assert_int_equal(group(f, "g").partitions[0].lag, 0);
}

// ---- G1: what was published survives the death of the process. The child is this program again.

static int child_main(const char *meta_location)
{
    struct meta meta = {.ops = backend->meta};
    void *log;
    if (meta.ops->open(meta_location, &meta.state, NULL) < 0 || ops->open(location(), &meta, &log, NULL) < 0)
        return 1;
    for (int number = 0;; number++) {
        struct elog_record record = {.topic = "t", .value = &number, .value_len = sizeof number};
        if (ops->publish(log, &record, 1, NULL) < 0 || write(STDOUT_FILENO, &number, sizeof number) != sizeof number)
            return 1;
    }
}

static int run_child_and_kill(struct fixture *f) // returns how many it had answered
{
    int pipes[2], count = 0, status;
    unsigned char dice;
    char which[16];
    snprintf(which, sizeof which, "%d", (int)(backend - backends));
    assert_int_equal(getrandom(&dice, 1, 0), 1);
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(pipes[1], STDOUT_FILENO);
        close(pipes[0]);
        close(pipes[1]);
        execl("/proc/self/exe", "child", "--child", which, f->meta_location, (char *)NULL);
        _exit(127);
    }
    close(pipes[1]);
    for (int number; read(pipes[0], &number, sizeof number) == sizeof number;)
        if (++count == 1 + dice)
            kill(pid, SIGKILL);
    close(pipes[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return count;
}

static void g1_published_records_survive_a_kill(void **state)
{
    struct fixture *f = *state;
    create(f, "t", 1);
    for (int round = 0; round < 4; round++) {
        int64_t before = describe(f, "t").partitions[0].end;
        close_log(f);
        int answered = run_child_and_kill(f);
        open_log(f);
        struct elog_record *records;
        size_t count;
        assert_ok(ops->peek(f->log, &f->arena, "t", 0, before, 10000, &records, &count, &err));
        assert_true(count >= (size_t)answered && count <= (size_t)answered + 1);
        for (size_t i = 0; i < count; i++) {
            int number = (int)i;
            assert_int_equal(records[i].offset, before + (int64_t)i);
            assert_memory_equal(records[i].value, &number, sizeof number);
        }
    }
}

// ----

static int run(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(topics_are_made_listed_and_deleted),
        T(topics_that_cannot_be_are_refused),
        T(an_unknown_topic_is_not_found),
        T(a_topic_made_again_is_empty),
        T(a_topic_grows_and_never_shrinks),
        T(a_record_comes_back_as_it_went_in),
        T(too_many_headers_are_refused),
        T(a_value_of_a_megabyte_is_kept),
        T(a_key_has_one_partition),
        T(a_poll_respects_its_limits),
        T(every_partition_gets_its_turn),
        T(a_waiting_poll_is_woken),
        T(a_waiting_poll_sees_a_record_that_comes),
        T(a_poll_spans_topics),
        T(a_group_goes_on_where_it_committed),
        T(an_offset_outside_of_the_partition_is_refused),
        T(members_share_the_partitions),
        T(a_rebalance_fences_the_old_owner),
        T(what_moves_is_delivered_by_its_new_owner_alone),
        T(lag_is_what_was_not_committed),
        T(groups_are_listed_by_name),
        T(a_group_is_put_anywhere_while_nobody_is_in_it),
        T(a_group_that_is_deleted_begins_anew),
        T(a_time_has_an_offset),
        T(records_are_deleted_up_to_an_offset),
        T(a_peek_disturbs_nobody),
        T(old_records_go_and_offsets_stay),
        T(g2_what_a_group_has_still_to_read_is_kept),
        T(a_partition_is_kept_below_its_size),
        T(g1_a_change_and_its_event_are_one),
        T(g4_an_offset_is_one_with_its_effects),
        T(a_batch_is_published_whole_or_not),
        T(publishing_waits_for_nobody),
        T(a_log_within_reach_is_well),
        T(g4_many_producers_and_consumers_lose_nothing_and_keep_order),
        T(g4_a_topic_that_grows_loses_nothing),
        T(g4_a_group_that_changes_misses_nothing),
        T(g1_published_records_survive_a_kill),
    };
    const struct CMUnitTest with_brokers[] = {
        T(g4_a_member_that_was_shut_out_joins_again),
    };
    char name[64];
    snprintf(name, sizeof name, "%s, %s", backend->ops->name, variant->name);
    int failed = cmocka_run_group_tests_name(name, tests, NULL, NULL);
    if (backend->server)
        failed += cmocka_run_group_tests_name(name, with_brokers, NULL, NULL);
    return failed;
}

// A back end with a server when it is said where that is, and then no other.
static bool wanted(const struct backend *b)
{
    bool given = false;
    for (size_t i = 0; i < ARRAY_LEN(backends); i++)
        given |= backends[i].server && getenv(backends[i].server);
    return b->server ? getenv(b->server) != NULL : !given;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--child") == 0) {
        backend = &backends[atoi(argv[2])];
        ops = backend->ops;
        return child_main(argv[3]);
    }
    int failed = 0;
    log_setup(LOG_OFF, false);
    if (argc == 2) // one test, for a debugger
        cmocka_set_test_filter(argv[1]);
    for (size_t i = 0; i < ARRAY_LEN(backends) * ARRAY_LEN(variants); i++) {
        backend = &backends[i / ARRAY_LEN(variants)];
        variant = &variants[i % ARRAY_LEN(variants)];
        if (wanted(backend))
            failed += run();
    }
    return failed != 0;
}
