// SPDX-License-Identifier: Apache-2.0
// Records in PostgreSQL (DEEPLENS_TEST_POSTGRES says where, by libpq's words) as a share of records in SQLite, both
// with their events on Kafka (DEEPLENS_TEST_KAFKA): durable acks and items through the pipeline a second, in turn, the
// median of the ratios. And what an item costs in transactions and round trips, its upload and its way through the
// pipeline together.
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "through.h"
#include "turns.h"

enum { PHOTOS = 4 };

static const char *conninfo;

static void use_postgres(const char *url)
{
    static int number;
    char schema[32];
    snprintf(schema, sizeof schema, "bench_%d_%d", (int)getpid(), number++);
    setenv("DEEPLENS_META_BACKEND", "postgres", 1);
    setenv("DEEPLENS_META_URL", url, 1);
    setenv("DEEPLENS_META_SCHEMA", schema, 1);
}

static void compare(struct bench *b, const struct photo *photos, size_t items)
{
    struct series acks = {0}, rates = {0}, ack_ratios = {0}, ratios = {0}, cpu_ratios = {0};
    for (int i = 0, rounds = b->brief ? 1 : 5; i < rounds; i++) {
        struct through ours, sqlite;
        bench_say(b, "round %d of %d", i + 1, rounds);
        unsetenv("DEEPLENS_META_BACKEND");
        through_pipeline(b, photos, PHOTOS, items, false, &sqlite);
        use_postgres(conninfo);
        through_pipeline(b, photos, PHOTOS, items, false, &ours);
        series_add(&acks, ours.acks_per_s);
        series_add(&rates, ours.items_per_s);
        series_add(&ack_ratios, ours.acks_per_s / sqlite.acks_per_s);
        series_add(&ratios, ours.items_per_s / sqlite.items_per_s);
        series_add(&cpu_ratios, ours.cpu / sqlite.cpu);
    }
    bench_fact(b, "acks_per_s_60k_16_clients", series_quantile(&acks, 0.5));
    bench_fact(b, "acks_vs_sqlite", series_quantile(&ack_ratios, 0.5));
    bench_fact(b, "items_per_s_small", series_quantile(&rates, 0.5));
    bench_fact(b, "items_vs_sqlite", series_quantile(&ratios, 0.5));
    bench_fact(b, "cpu_vs_sqlite", series_quantile(&cpu_ratios, 0.5));
    series_free(&acks);
    series_free(&rates);
    series_free(&ack_ratios);
    series_free(&ratios);
    series_free(&cpu_ratios);
}

struct transactions { // so far, in the database
    long long committed, rolled_back;
};

static struct transactions transactions(PGconn *pg)
{
    PQclear(PQexec(pg, "SELECT pg_stat_clear_snapshot()"));
    PGresult *row =
        PQexec(pg, "SELECT xact_commit, xact_rollback FROM pg_stat_database WHERE datname = current_database()");
    if (PQntuples(row) != 1)
        bench_fail("PostgreSQL does not say how many transactions there were");
    struct transactions found = {strtoll(PQgetvalue(row, 0, 0), NULL, 10), strtoll(PQgetvalue(row, 0, 1), NULL, 10)};
    PQclear(row);
    return found;
}

// A transaction that reads ends in ROLLBACK, for which nobody waits: its sync is no round trip. Connecting, and what
// the server does by itself, is in the counts.
static void count(struct bench *b, const struct photo *photos, size_t items)
{
    char url[1024];
    int port;
    const char *at = strstr(conninfo, "port=");
    PGconn *pg = PQconnectdb(conninfo);
    if (!at || PQstatus(pg) != CONNECTION_OK)
        bench_fail("DEEPLENS_TEST_POSTGRES needs host=127.0.0.1 port=…");
    struct turns *turns = turns_start((int)strtol(at + 5, NULL, 10), &port);
    snprintf(url, sizeof url, "%.*sport=%d%s sslmode=disable", (int)(at - conninfo), conninfo, port,
             at + strcspn(at, " "));
    use_postgres(url);
    struct transactions before = transactions(pg);
    struct through ours;
    through_pipeline(b, photos, PHOTOS, items, false, &ours);
    bench_sleep(1.5); // the server's counts are a second late
    struct transactions after = transactions(pg);
    double writes = (double)(after.committed - before.committed),
           reads = (double)(after.rolled_back - before.rolled_back);
    bench_fact(b, "write_transactions_per_item", writes / (double)items);
    bench_fact(b, "read_transactions_per_item", reads / (double)items);
    bench_fact(b, "round_trips_per_item", ((double)turns_count(turns) - reads) / (double)items);
    turns_stop(turns);
    PQfinish(pg);
}

int main(int argc, char **argv)
{
    struct bench b;
    struct photo photos[PHOTOS];
    const char *brokers = getenv("DEEPLENS_TEST_KAFKA");
    bench_open(&b, "postgres", argc, argv);
    conninfo = getenv("DEEPLENS_TEST_POSTGRES");
    if (!brokers || !conninfo)
        bench_fail("DEEPLENS_TEST_KAFKA and DEEPLENS_TEST_POSTGRES say where these are: "
                   "tests/peers/kafka.py run -- tests/peers/postgres.py run --synced -- bench/run.sh … starts them");
    setenv("DEEPLENS_EVENTLOG_BACKEND", "kafka", 1);
    setenv("DEEPLENS_KAFKA_BROKERS", brokers, 1);
    setenv("DEEPLENS_KAFKA_INSTANCE", "none", 1); // each server has its own data; none comes back
    size_t items = b.brief ? 24 : 1200;
    photos_make(640, 480, 60 * 1000, photos, PHOTOS);
    compare(&b, photos, items);
    count(&b, photos, items);
    photos_free(photos, PHOTOS);
    return 0;
}
