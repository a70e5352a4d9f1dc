// SPDX-License-Identifier: Apache-2.0
// Events of 1 KiB a second through the embedded event log, each batch durable when its publish returns: published
// alone; and published while a consumer group reads and commits them, until the last is committed.
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/eventlog/eventlog_embedded.h"
#include "backends/meta/meta_sqlite.h"
#include "bench.h"
#include "ports/eventlog.h"

enum { PRODUCERS = 4, PARTITIONS = 3, EVENT_BYTES = 1024, BATCH_MAX = 256, POLL_MAX = 1024, KEYS = 64 };

#define TOPIC "bench.events"
#define GROUP "bench"

struct log_run {
    struct eventlog log;
    size_t batch;   // events a publish
    size_t batches; // of each producer
    size_t events;  // in all
};

static void *produce(void *arg)
{
    const struct log_run *run = arg;
    static const char value[EVENT_BYTES] = {1};
    char keys[KEYS][16];
    struct elog_record records[BATCH_MAX];
    struct error err = {0};
    for (size_t i = 0; i < KEYS; i++)
        snprintf(keys[i], sizeof keys[i], "key-%zu", i);
    for (size_t i = 0; i < run->batch; i++)
        records[i] =
            (struct elog_record){.topic = TOPIC, .key = keys[i % KEYS], .value = value, .value_len = sizeof value};
    for (size_t i = 0; i < run->batches; i++)
        bench_check(run->log.ops->publish(run->log.state, records, run->batch, &err), &err);
    return NULL;
}

static void start_producers(struct log_run *run, pthread_t threads[PRODUCERS])
{
    for (int i = 0; i < PRODUCERS; i++)
        if (pthread_create(&threads[i], NULL, produce, run) != 0)
            bench_fail("no thread");
}

static void join_producers(pthread_t threads[PRODUCERS])
{
    for (int i = 0; i < PRODUCERS; i++)
        pthread_join(threads[i], NULL);
}

// Reads everything, commits after each poll what it held.
static void consume(const struct log_run *run)
{
    const char *topics[] = {TOPIC};
    struct elog_consumer *consumer;
    struct elog_record *records[POLL_MAX];
    struct error err = {0};
    const struct elog_ops *ops = run->log.ops;
    bench_check(ops->subscribe(run->log.state, GROUP, topics, 1, "bench", &consumer, &err), &err);
    for (size_t seen = 0; seen < run->events;) {
        size_t count;
        bench_check(ops->poll(consumer, POLL_MAX, 4 << 20, 1000, records, &count, &err), &err);
        const struct elog_record *last[PARTITIONS] = {NULL};
        for (size_t i = 0; i < count; i++)
            last[records[i]->partition] = records[i];
        for (int p = 0; p < PARTITIONS; p++)
            if (last[p])
                bench_check(ops->commit(consumer, TOPIC, p, last[p]->epoch, last[p]->offset + 1, &err), &err);
        for (size_t i = 0; i < count; i++)
            free(records[i]);
        seen += count;
    }
    ops->unsubscribe(consumer);
}

// Events a second; the log and its database are made anew.
static double measure(struct bench *b, size_t batch, size_t batches, bool consumed)
{
    char dir[4096], db[4200];
    struct error err = {0};
    struct meta meta = {.ops = &meta_sqlite};
    struct log_run run = {.log.ops = &elog_embedded, .batch = batch, .batches = batches};
    const struct elog_topic_config config = {.partitions = PARTITIONS, .retention_ms = -1, .retention_bytes = -1};
    pthread_t threads[PRODUCERS];
    run.events = PRODUCERS * batch * batches;
    snprintf(db, sizeof db, "%s/log.db", bench_fresh(b, dir));
    bench_check(meta.ops->open(db, &meta.state, &err), &err);
    bench_check(run.log.ops->open(db, &meta, &run.log.state, &err), &err);
    bench_check(run.log.ops->topic_create(run.log.state, TOPIC, &config, &err), &err);
    bench_settle(b);
    double start = bench_now();
    start_producers(&run, threads);
    if (consumed)
        consume(&run);
    join_producers(threads);
    double seconds = bench_now() - start;
    run.log.ops->close(run.log.state);
    meta.ops->close(meta.state);
    bench_remove(dir);
    return (double)run.events / seconds;
}

static double median_of(struct bench *b, size_t batch, size_t events, bool consumed)
{
    struct series rates = {0};
    size_t batches = (b->brief ? events / 50 : events) / PRODUCERS / batch;
    for (int i = 0; i < (b->brief ? 1 : 3); i++)
        series_add(&rates, measure(b, batch, batches ? batches : 1, consumed));
    double rate = series_quantile(&rates, 0.5);
    series_free(&rates);
    return rate;
}

int main(int argc, char **argv)
{
    struct bench b;
    bench_open(&b, "log", argc, argv);
    bench_say(&b, "published");
    bench_at_least(&b, "published_per_s", median_of(&b, BATCH_MAX, 160 * 1024, false), 50000);
    bench_fact(&b, "published_one_by_one_per_s", median_of(&b, 1, 8 * 1024, false));
    bench_say(&b, "published, consumed, committed");
    bench_at_least(&b, "published_consumed_committed_per_s", median_of(&b, BATCH_MAX, 160 * 1024, true), 50000);
    return 0;
}
