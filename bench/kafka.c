// SPDX-License-Identifier: Apache-2.0
// The event log on a real Kafka (DEEPLENS_TEST_KAFKA says where; tests/peers/kafka.py run starts one), with events of 1
// KiB:
//
//   published   through outbox and relay, until the broker has confirmed all and their rows are gone, as a share of a
//               bare producer of librdkafka with the same settings
//   consumed    polled, handled by doing nothing, committed, as a share of a bare consumer of librdkafka
//   delivery    from the commit that wrote the row to the moment that a consumer of the port has the event, while
//   nothing
//               else goes on
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/eventlog/eventlog_kafka.h"
#include "backends/meta/meta_sqlite.h"
#include "base/clock.h"
#include "bench.h"
#include "flow/relay.h"
#include "ports/eventlog.h"

enum { PARTITIONS = 3, EVENT_BYTES = 1024, KEYS = 64, TX_EVENTS = 50, POLL_MAX = 1024 };

static const char *brokers;
static const char value[EVENT_BYTES] = {1};
static char keys[KEYS][16];

static void make_topic(struct eventlog *log, const char *topic)
{
    const struct elog_topic_config config = {.partitions = PARTITIONS, .retention_ms = -1, .retention_bytes = -1};
    struct error err = {0};
    log->ops->topic_delete(log->state, topic, NULL); // of an earlier run
    bench_check(log->ops->topic_create(log->state, topic, &config, &err), &err);
}

// ---- Bare librdkafka

static rd_kafka_t *bare(rd_kafka_type_t type, const char *const *settings)
{
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", brokers, NULL, 0);
    for (; *settings; settings += 2)
        if (rd_kafka_conf_set(conf, settings[0], settings[1], why, sizeof why) != RD_KAFKA_CONF_OK)
            bench_fail("%s", why);
    rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof why);
    if (!rk)
        bench_fail("%s", why);
    return rk;
}

static double bare_published(const char *topic, size_t events)
{
    static const char *const settings[] = {"enable.idempotence",
                                           "true",
                                           "acks",
                                           "all",
                                           "max.in.flight",
                                           "1",
                                           "partitioner",
                                           "murmur2",
                                           "linger.ms",
                                           "0",
                                           "queue.buffering.max.kbytes",
                                           "65536",
                                           NULL};
    rd_kafka_t *rk = bare(RD_KAFKA_PRODUCER, settings);
    rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, topic, NULL);
    double start = bench_now();
    for (size_t i = 0; i < events; i++)
        while (rd_kafka_produce(handle, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, (void *)value, sizeof value,
                                keys[i % KEYS], strlen(keys[i % KEYS]), NULL) < 0)
            rd_kafka_poll(rk, 1);
    if (rd_kafka_flush(rk, 120000) != 0)
        bench_fail("the bare producer did not get rid of its events");
    double seconds = bench_now() - start;
    rd_kafka_topic_destroy(handle);
    rd_kafka_destroy(rk);
    return (double)events / seconds;
}

static double bare_consumed(const char *topic, size_t events)
{
    char group[64];
    snprintf(group, sizeof group, "bare-%lld", (long long)clock_mono_us());
    const char *const settings[] = {"group.id",
                                    group,
                                    "auto.offset.reset",
                                    "earliest",
                                    "enable.auto.commit",
                                    "true",
                                    "queued.max.messages.kbytes",
                                    "16384",
                                    "queued.min.messages",
                                    "10000",
                                    NULL};
    rd_kafka_t *rk = bare(RD_KAFKA_CONSUMER, settings);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_poll_set_consumer(rk);
    rd_kafka_subscribe(rk, list);
    double start = 0;
    for (size_t seen = 0; seen < events;) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 1000);
        if (m && !m->err && seen++ == 0)
            start = bench_now(); // joining is not what is measured
        if (m)
            rd_kafka_message_destroy(m);
    }
    double seconds = bench_now() - start;
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
    return (double)events / seconds;
}

// ---- Ours

struct put {
    struct flow *flow;
    const char *topic;
    size_t from, count;
};

static int put_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    const struct put *put = arg;
    for (size_t i = 0; i < put->count; i++) {
        const struct elog_record record = {
            .topic = put->topic, .key = keys[(put->from + i) % KEYS], .value = value, .value_len = sizeof value};
        if (outbox_put(put->flow, tx, &record, err) < 0)
            return -1;
    }
    return 0;
}

static void no_error(void *arg, const struct error *err)
{
    if (err)
        bench_fail("%s", err->message);
    free(arg);
}

static void put_events(struct flow *f, const char *topic, size_t events)
{
    for (size_t i = 0; i < events; i += TX_EVENTS) {
        struct put *put = malloc(sizeof *put);
        if (!put)
            abort();
        *put = (struct put){f, topic, i, events - i < TX_EVENTS ? events - i : TX_EVENTS};
        f->meta.ops->write_async(f->meta.state, META_RELAXED, put_tx, put, no_error, put);
    }
}

struct depth {
    struct flow *flow;
    uint64_t rows;
};

static int depth_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct depth *depth = arg;
    return depth->flow->meta.ops->outbox_depth(tx, &depth->rows, err);
}

static void await_empty(struct flow *f)
{
    struct depth depth = {.flow = f, .rows = 1};
    struct error err = {0};
    while (depth.rows) {
        bench_check(f->meta.ops->read(f->meta.state, depth_tx, &depth, &err), &err);
        bench_sleep(0.001);
    }
}

static double relayed(struct flow *f, const char *topic, size_t events)
{
    double start = bench_now();
    put_events(f, topic, events);
    await_empty(f);
    return (double)events / (bench_now() - start);
}

static double consumed(struct flow *f, const char *topic, size_t events)
{
    char group[64];
    struct elog_consumer *consumer;
    struct elog_record *records[POLL_MAX];
    struct error err = {0};
    const struct elog_ops *ops = f->log.ops;
    snprintf(group, sizeof group, "ours-%lld", (long long)clock_mono_us());
    bench_check(ops->subscribe(f->log.state, group, &topic, 1, "bench", &consumer, &err), &err);
    double start = 0;
    for (size_t seen = 0, count; seen < events; seen += count) {
        bench_check(ops->poll(consumer, POLL_MAX, 4 << 20, 1000, records, &count, &err), &err);
        if (count && !seen)
            start = bench_now();
        for (size_t i = 0; i < count; i++) {
            const struct elog_record *r = records[i];
            bench_check(ops->commit(consumer, topic, r->partition, r->epoch, r->offset + 1, &err), &err);
            free(records[i]);
        }
    }
    double seconds = bench_now() - start;
    ops->unsubscribe(consumer);
    return (double)events / seconds;
}

static void delivery(struct bench *b, struct flow *f, const char *topic)
{
    struct elog_consumer *consumer;
    struct elog_record *records[1];
    struct error err = {0};
    struct series times = {0};
    const struct elog_ops *ops = f->log.ops;
    size_t count = 0, rounds = b->brief ? 20 : 500;
    bench_check(ops->subscribe(f->log.state, "delivery", &topic, 1, "bench", &consumer, &err), &err);
    for (size_t i = 0; i < rounds + 1; i++) {
        struct put put = {f, topic, i, 1};
        bench_check(f->meta.ops->write(f->meta.state, META_RELAXED, put_tx, &put, &err), &err);
        double committed = bench_now();
        for (count = 0; !count;)
            bench_check(ops->poll(consumer, 1, 1 << 20, 1000, records, &count, &err), &err);
        if (i) // the first one had to wait for the group
            series_add(&times, (bench_now() - committed) * 1000);
        free(records[0]);
        bench_sleep(0.005);
    }
    ops->unsubscribe(consumer);
    bench_at_most(b, "commit_to_consumer_p50_ms", series_quantile(&times, 0.5), 5);
    bench_fact(b, "commit_to_consumer_p99_ms", series_quantile(&times, 0.99));
    series_free(&times);
}

static void compare(struct bench *b, struct flow *f)
{
    size_t events = b->brief ? 2000 : 200000;
    struct series published = {0}, bare_p = {0}, read = {0}, bare_r = {0};
    for (int i = 0; i < (b->brief ? 1 : 3); i++) {
        make_topic(&f->log, "bench.bare");
        make_topic(&f->log, "bench.ours");
        bench_say(b, "published");
        series_add(&bare_p, bare_published("bench.bare", events));
        series_add(&published, relayed(f, "bench.ours", events));
        bench_say(b, "consumed");
        series_add(&bare_r, bare_consumed("bench.ours", events));
        series_add(&read, consumed(f, "bench.ours", events));
    }
    double p = series_quantile(&published, 0.5), pb = series_quantile(&bare_p, 0.5), c = series_quantile(&read, 0.5),
           cb = series_quantile(&bare_r, 0.5);
    bench_fact(b, "published_per_s", p);
    bench_fact(b, "published_bare_per_s", pb);
    bench_at_least(b, "published_share_of_bare", p / pb, 0.8);
    bench_fact(b, "consumed_per_s", c);
    bench_fact(b, "consumed_bare_per_s", cb);
    bench_at_least(b, "consumed_share_of_bare", c / cb, 0.8);
    series_free(&published);
    series_free(&bare_p);
    series_free(&read);
    series_free(&bare_r);
}

int main(int argc, char **argv)
{
    struct bench b;
    char dir[4096], db[4200], location[512];
    struct error err = {0};
    static struct flow flow = {.meta.ops = &meta_sqlite, .log.ops = &elog_kafka};
    bench_open(&b, "kafka", argc, argv);
    if (!(brokers = getenv("DEEPLENS_TEST_KAFKA")))
        bench_fail(
            "DEEPLENS_TEST_KAFKA does not say where Kafka is; tests/peers/kafka.py run -- bench/run.sh … starts one");
    for (size_t i = 0; i < KEYS; i++)
        snprintf(keys[i], sizeof keys[i], "key-%zu", i);
    snprintf(db, sizeof db, "%s/outbox.db", bench_fresh(&b, dir));
    snprintf(location, sizeof location, "bootstrap.servers=%s\n", brokers);
    bench_check(flow.meta.ops->open(db, &flow.meta.state, &err), &err);
    bench_check(flow.log.ops->open(location, &flow.meta, &flow.log.state, &err), &err);
    bench_check(relay_start(&flow, &flow.relay, &err), &err);
    make_topic(&flow.log, "bench.delivery");
    delivery(&b, &flow, "bench.delivery");
    compare(&b, &flow);
    relay_stop(flow.relay);
    flow.log.ops->close(flow.log.state);
    flow.meta.ops->close(flow.meta.state);
    return 0;
}
