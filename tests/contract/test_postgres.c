// SPDX-License-Identifier: Apache-2.0
// What the metadata store in PostgreSQL promises beyond the port's contract (test_meta.c): connections that break
// anywhere, several processes on one schema, walls between tenants, migrations. On a real server, which
// DEEPLENS_TEST_POSTGRES names (tests/peers/postgres.py).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/meta/meta_postgres.h"
#include "backends/meta/pg_int.h"
#include "base/clock.h"
#include "cutter.h"

static const struct meta_ops *const ops = &meta_postgres;
static char schema[32];

static const char *server(void)
{
    return getenv("DEEPLENS_TEST_POSTGRES");
}

static int new_schema(void **state)
{
    static int number;
    snprintf(schema, sizeof schema, "p%d_%d", (int)getpid(), number++);
    return 0;
}

static int open_at(const char *conninfo, void **store, struct error *err)
{
    char location[2048];
    snprintf(location, sizeof location, "conninfo=%s sslmode=disable\nschema=%s\ntimeout_ms=5000\n", conninfo, schema);
    return ops->open(location, store, err);
}

static void *open_store(void)
{
    void *store;
    struct error err = {0};
    if (open_at(server(), &store, &err) < 0)
        fail_msg("open: %s", err.message);
    return store;
}

// A connection of our own, to look at and meddle with what is there.
static PGconn *connect_aside(void)
{
    char sql[64];
    PGconn *pg = PQconnectdb(server());
    assert_int_equal(PQstatus(pg), CONNECTION_OK);
    snprintf(sql, sizeof sql, "SET search_path = \"%s\"", schema);
    PQclear(PQexec(pg, sql));
    return pg;
}

// The first column of the first row; the SQLSTATE in place of an answer that is an error. Static.
static const char *ask(PGconn *pg, const char *sql)
{
    static char text[64];
    PGresult *result = PQexec(pg, sql);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    snprintf(text, sizeof text, "%s", state ? state : PQntuples(result) ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    return text;
}

// ---- Breaking

// Something of everything: what is read, what must change a row, what nobody waits for, what is put at the end.
static int one_of_each(struct meta_tx *tx, void *arg, struct error *err)
{
    struct arena arena = {0};
    const char *value = "0";
    char next[32];
    struct error missing = {0};
    const struct meta_outbox row = {.topic = "t", .headers = "", .value = "x", .value_len = 1};
    int rc = ops->setting_get(tx, &arena, "sum", &value, &missing);
    if (rc < 0 && missing.code != ERR_NOT_FOUND) {
        arena_free(&arena);
        return error_copy(err, &missing);
    }
    snprintf(next, sizeof next, "%ld", atol(value) + 1);
    arena_free(&arena);
    return ops->media_duplicate(tx, "default", err) < 0 || ops->setting_put(tx, "sum", next, err) < 0 ||
                   ops->outbox_put(tx, &row, err) < 0
               ? -1
               : 0;
}

struct counts {
    long sum;
    uint64_t duplicates;
    size_t outbox;
};

static int count_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct counts *counts = arg;
    struct arena arena = {0};
    const char *value = "0";
    struct meta_ledger ledger;
    struct meta_outbox *rows;
    int rc = ops->setting_get(tx, &arena, "sum", &value, err) < 0 || ops->ledger(tx, "default", &ledger, err) < 0 ||
                     ops->outbox_read(tx, &arena, 0, 10000, SIZE_MAX, &rows, &counts->outbox, err) < 0
                 ? -1
                 : 0;
    if (rc == 0) {
        counts->sum = atol(value);
        counts->duplicates = ledger.duplicates;
    }
    arena_free(&arena);
    return rc;
}

static void assert_counted(void *store, long expected)
{
    struct counts counts = {0};
    struct error err = {0};
    if (ops->read(store, count_tx, &counts, &err) < 0)
        fail_msg("read: %s", err.message);
    assert_int_equal(counts.sum, expected);
    assert_int_equal(counts.duplicates, expected);
    assert_int_equal(counts.outbox, expected);
}

static void *open_through(struct cutter **cutter)
{
    char *at = strstr(server(), "port="), through[1024];
    int port = 0;
    void *store;
    struct error err = {0};
    *cutter = cutter_start(atoi(at + 5), &port);
    assert_non_null(*cutter);
    const char *rest = at + strcspn(at, " ");
    snprintf(through, sizeof through, "%.*sport=%d%s", (int)(at - server()), server(), port, rest);
    if (open_at(through, &store, &err) < 0)
        fail_msg("open: %s", err.message);
    return store;
}

static int write_one(void *store, struct error *err)
{
    return ops->write(store, META_SYNCED, one_of_each, NULL, err);
}

static void count_ok(void *arg, const struct error *err)
{
    if (!err)
        atomic_fetch_add((atomic_int *)arg, 1);
}

// Several in one group, most likely.
static int write_some(void *store, struct error *err)
{
    atomic_int ok = 0;
    for (int i = 0; i < 3; i++)
        ops->write_async(store, META_RELAXED, one_of_each, NULL, count_ok, &ok);
    int rc = ops->write(store, META_SYNCED, one_of_each, NULL, err);
    return rc < 0 ? rc : ok == 3 ? 0 : error_set(err, ERR_INTERNAL, "one was not done");
}

// Cuts one write after 0, 1, 2, … messages, until it is through before the cut.
static int cut_everywhere(enum cutter_side side, int (*write)(void *store, struct error *err), int each)
{
    struct cutter *cutter;
    void *store = open_through(&cutter);
    int after = 0;
    long done = each;
    assert_int_equal(write(store, NULL), 0);
    for (bool cut = true; cut; after++) {
        struct error err = {0};
        cutter_arm(cutter, side, after);
        if (write(store, &err) < 0)
            fail_msg("cut after %d messages: %s", after, err.message);
        cut = cutter_disarm(cutter);
        assert_counted(store, done += each);
        assert_true(after < 400);
    }
    ops->close(store);
    cutter_stop(cutter);
    return after;
}

static void a_connection_cut_on_the_way_to_the_server(void **state)
{
    assert_true(cut_everywhere(CUT_TO_SERVER, write_one, 1) > 10);
    new_schema(NULL);
    assert_true(cut_everywhere(CUT_TO_SERVER, write_some, 4) > 10);
}

static void a_connection_cut_on_the_way_back(void **state)
{
    assert_true(cut_everywhere(CUT_TO_CLIENT, write_one, 1) > 10);
    new_schema(NULL);
    assert_true(cut_everywhere(CUT_TO_CLIENT, write_some, 4) > 10);
}

static void a_read_that_is_cut_is_read_again(void **state)
{
    struct cutter *cutter;
    void *store = open_through(&cutter);
    assert_int_equal(write_one(store, NULL), 0);
    assert_counted(store, 1); // it is connected
    int after = 0;
    for (bool cut = true; cut; after++) {
        cutter_arm(cutter, CUT_TO_CLIENT, after);
        assert_counted(store, 1);
        cut = cutter_disarm(cutter);
        assert_counted(store, 1); // what was cut behind the answer is noticed now, and not with the next cut
    }
    assert_true(after > 5);
    ops->close(store);
    cutter_stop(cutter);
}

static void *end_sessions(void *arg)
{
    PGconn *pg = connect_aside();
    while (!*(atomic_bool *)arg) {
        ask(pg, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name LIKE 'deeplens%' AND pid <> pg_backend_pid()");
        usleep(20000);
    }
    PQfinish(pg);
    return NULL;
}

// A connection that could not be made is not tried again for half a second.
static void wait_until_it_answers(void *store)
{
    struct counts counts;
    struct error err = {0};
    for (int i = 0; i < 1000 && ops->read(store, count_tx, &counts, &err) < 0 && err.outage; i++) {
        err = (struct error){0};
        usleep(20000);
    }
}

static void sessions_that_are_ended_all_the_time(void **state)
{
    void *store = open_store();
    atomic_bool stop = false;
    pthread_t thread;
    int done = 0;
    assert_int_equal(pthread_create(&thread, NULL, end_sessions, &stop), 0);
    for (int i = 0; i < 200; i++)
        done += write_one(store, NULL) == 0; // ten in a row are too many
    stop = true;
    pthread_join(thread, NULL);
    assert_true(done > 0);
    wait_until_it_answers(store);
    assert_counted(store, done);
    ops->close(store);
}

// What a dead connection left in a socket finds a larger number there.
static void an_attempt_that_comes_too_late_is_not_done(void **state)
{
    void *store = open_store();
    PGconn *pg = connect_aside();
    struct error err = {0};
    assert_int_equal(write_one(store, NULL), 0);
    assert_string_equal(ask(pg, "UPDATE writer SET number = number + 1000 RETURNING 'ok'"), "ok");
    assert_int_equal(write_one(store, &err), -1);
    assert_counted(store, 1);
    PQfinish(pg);
    ops->close(store);
}

static void a_server_that_is_away_is_an_outage(void **state)
{
    struct cutter *cutter;
    void *store = open_through(&cutter);
    struct error err = {0};
    assert_int_equal(write_one(store, NULL), 0);
    cutter_close(cutter);
    assert_int_equal(write_one(store, &err), -1);
    assert_true(err.outage);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    err = (struct error){0};
    assert_int_equal(ops->read(store, count_tx, &(struct counts){0}, &err), -1);
    assert_true(err.outage);
    ops->close(store);
    cutter_stop(cutter);
}

// ---- Several processes

enum { STORES = 2, THREADS = 3, EACH = 150 };

struct author {
    void *store;
    int number, at, failed;
    char id[32];
};

static int author_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct author *a = arg;
    const struct media row = {.id = a->id,
                              .tenant = "default",
                              .kind = "image",
                              .file_name = "f",
                              .content_type = "c",
                              .format = "JPEG",
                              .hash = a->id,
                              .blob_key = "k",
                              .metadata = "{}",
                              .tags = "[]",
                              .options = "{}",
                              .event_id = "e",
                              .uploaded_ms = 1,
                              .updated_ms = 1};
    const struct meta_outbox out = {.topic = "t", .key = a->id, .headers = "", .value = "x", .value_len = 1};
    return ops->media_insert(tx, &row, err) < 0 ? -1 : ops->outbox_put(tx, &out, err);
}

static void *author_main(void *arg)
{
    struct author *a = arg;
    struct error err = {0};
    for (a->at = 0; a->at < EACH; a->at++) {
        snprintf(a->id, sizeof a->id, "img_%d_%d", a->number, a->at);
        if (ops->write(a->store, META_SYNCED, author_tx, a, &err) < 0) {
            print_message("%s\n", err.message);
            a->failed++;
        }
    }
    return NULL;
}

struct reader {
    void *store;
    atomic_bool *over;
    int64_t change, out;
    int changes, outs;
};

static int reader_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct reader *r = arg;
    struct arena arena = {0};
    struct meta_change *changes;
    struct meta_outbox *outs;
    size_t change_count = 0, out_count = 0;
    int rc = ops->change_list(tx, &arena, r->change, 10, &changes, &change_count, err) < 0 ||
                     ops->outbox_read(tx, &arena, r->out, 10, SIZE_MAX, &outs, &out_count, err) < 0
                 ? -1
                 : 0;
    if (rc == 0) {
        r->change = change_count ? changes[change_count - 1].seq : r->change;
        r->out = out_count ? outs[out_count - 1].id : r->out;
        r->changes += (int)change_count;
        r->outs += (int)out_count;
    }
    arena_free(&arena);
    return rc;
}

static void *reader_main(void *arg)
{
    struct reader *r = arg;
    for (bool over = false; !over;) {
        over = *r->over;
        for (int before = -1; before != r->changes + r->outs;) {
            before = r->changes + r->outs;
            if (ops->read(r->store, reader_tx, r, NULL) < 0)
                return NULL;
        }
    }
    return NULL;
}

static void who_reads_on_behind_the_last_number_misses_nothing(void **state)
{
    enum { AUTHORS = STORES * THREADS };
    void *stores[STORES];
    struct author authors[AUTHORS];
    pthread_t threads[AUTHORS], reading;
    atomic_bool over = false;
    for (int i = 0; i < STORES; i++)
        stores[i] = open_store();
    struct reader reader = {.store = stores[0], .over = &over};
    assert_int_equal(pthread_create(&reading, NULL, reader_main, &reader), 0);
    for (int i = 0; i < AUTHORS; i++) {
        authors[i] = (struct author){.store = stores[i % STORES], .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, author_main, &authors[i]), 0);
    }
    for (int i = 0; i < AUTHORS; i++)
        pthread_join(threads[i], NULL);
    over = true;
    pthread_join(reading, NULL);
    for (int i = 0; i < AUTHORS; i++)
        assert_int_equal(authors[i].failed, 0);
    assert_int_equal(reader.changes, AUTHORS * EACH);
    assert_int_equal(reader.outs, AUTHORS * EACH);
    for (int i = 0; i < STORES; i++)
        ops->close(stores[i]);
}

static void write_done(void *arg, const struct error *err)
{
    *(atomic_int *)arg = err ? -1 : 1;
}

static void read_behind(struct reader *r)
{
    struct error err = {0};
    if (ops->read(r->store, reader_tx, r, &err) < 0)
        fail_msg("read: %s", err.message);
}

// Another process has its numbers and is about to commit: whoever comes after it must not be seen before it.
static void numbers_are_given_in_the_order_of_commits(void **state)
{
    void *store = open_store();
    PGconn *pg = connect_aside();
    struct author author = {.store = store, .id = "img_1"};
    struct reader reader = {.store = store};
    atomic_int done = 0;
    ask(pg, "SET deeplens.tenant = '*'");
    ask(pg, "BEGIN");
    ask(pg, "SELECT " PG_ORDER_LOCK);
    ask(pg, "INSERT INTO outbox (timestamp_ms, topic, headers, value) VALUES (1, 't', '', 'x')");
    assert_string_equal(
        ask(pg, "INSERT INTO change (at_ms, tenant, id, status) VALUES (1, 'default', 'img_0', 0) RETURNING 'ok'"),
        "ok");
    ops->write_async(store, META_SYNCED, author_tx, &author, write_done, &done);
    usleep(300000); // time enough to go ahead
    read_behind(&reader);
    ask(pg, "COMMIT");
    while (!done)
        usleep(1000);
    assert_int_equal(done, 1);
    read_behind(&reader);
    assert_int_equal(reader.outs, 2);
    assert_int_equal(reader.changes, 2);
    PQfinish(pg);
    ops->close(store);
}

// ---- Walls

static int two_tenants(struct meta_tx *tx, void *arg, struct error *err)
{
    struct author a = {.id = "img_1"};
    if (ops->tenant_add(tx, "other", err) < 0 || author_tx(tx, &a, err) < 0)
        return -1;
    return ops->step_put(tx, "default", "img_1", &(struct media_step){.step = "s", .model = "", .status = "running"},
                         err);
}

static void g7_the_database_shows_no_row_of_another_tenant(void **state)
{
    void *store = open_store();
    struct error err = {0};
    if (ops->write(store, META_SYNCED, two_tenants, NULL, &err) < 0)
        fail_msg("%s", err.message);
    PGconn *pg = connect_aside();
    static const char *const tables[] = {"media", "step", "change"};
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        char count[64], change[128];
        snprintf(count, sizeof count, "SELECT count(*) FROM %s", tables[i]);
        snprintf(change, sizeof change, "WITH c AS (DELETE FROM %s RETURNING 1) SELECT count(*) FROM c", tables[i]);
        ask(pg, "RESET deeplens.tenant");
        assert_string_equal(ask(pg, count), "0");
        ask(pg, "SET deeplens.tenant = 'other'");
        assert_string_equal(ask(pg, count), "0");
        assert_string_equal(ask(pg, change), "0");
        ask(pg, "SET deeplens.tenant = 'default'");
        assert_string_equal(ask(pg, count), "1");
        ask(pg, "SET deeplens.tenant = '*'");
        assert_string_equal(ask(pg, count), "1");
    }
    ask(pg, "SET deeplens.tenant = 'other'");
    assert_string_equal(ask(pg,
                            "INSERT INTO step (tenant, media, step, model, status, attempt, started_ms, duration_ms)"
                            " VALUES ('default', 1, 's', 'm', 'x', 1, 1, 1)"),
                        "42501");
    PQfinish(pg);
    ops->close(store);
}

// ---- Migrations

static void *open_and_count(void *arg)
{
    void *store;
    if (open_at(server(), &store, NULL) == 0) {
        atomic_fetch_add((atomic_int *)arg, 1);
        ops->close(store);
    }
    return NULL;
}

static void several_that_start_at_once_take_turns(void **state)
{
    pthread_t threads[6];
    atomic_int opened = 0;
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, open_and_count, &opened), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(opened, ARRAY_LEN(threads));
    PGconn *pg = connect_aside();
    assert_string_equal(ask(pg, "SELECT count(*) = max(number) FROM version"), "t");
    PQfinish(pg);
}

static void assert_refused(enum error_code code, const char *says)
{
    void *store;
    struct error err = {0};
    if (open_at(server(), &store, &err) == 0)
        fail_msg("it was opened and should say \"%s\"", says);
    assert_int_equal(err.code, code);
    if (!strstr(err.message, says))
        fail_msg("\"%s\" does not say \"%s\"", err.message, says);
}

static void schemas_that_are_not_ours_are_refused(void **state)
{
    ops->close(open_store());
    PGconn *pg = connect_aside();
    ask(pg, "INSERT INTO version VALUES (99, 'h', 1)");
    assert_refused(ERR_DATA_DIR_NEWER, "use a newer DeepLens");
    ask(pg, "DELETE FROM version WHERE number = 99");
    ask(pg, "UPDATE version SET hash = 'another' WHERE number = 2");
    assert_refused(ERR_DATA_CORRUPT, "Step 2");
    PQfinish(pg);
    new_schema(NULL);
    pg = connect_aside();
    char sql[96];
    snprintf(sql, sizeof sql, "CREATE SCHEMA %s CREATE TABLE theirs (a int)", schema);
    ask(pg, sql);
    assert_refused(ERR_DATA_CORRUPT, "not those of DeepLens");
    PQfinish(pg);
}

static void a_step_that_fails_leaves_nothing(void **state)
{
    struct pg_config config = {0};
    struct pg_down down = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct pg_conn conn;
    char location[2048];
    static const char *const steps[] = {"CREATE TABLE one (a int)", "CREATE TABLE two (a int); SELECT 1/0"};
    struct error err = {0};
    snprintf(location, sizeof location, "conninfo=%s\nschema=%s\n", server(), schema);
    assert_int_equal(pg_config_read(location, &config, &err), 0);
    pg_conn_init(&conn, &config, &down);
    assert_int_equal(pg_conn_ready(&conn, &err), 0);
    assert_int_equal(pg_schema_migrate(&conn, steps, 2, &err), -1);
    assert_non_null(strstr(err.message, "version 2"));
    PGconn *pg = connect_aside();
    char sql[128];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM pg_namespace WHERE nspname = '%s'", schema);
    assert_string_equal(ask(pg, sql), "0");
    assert_int_equal(pg_conn_ready(&conn, &err), 0);
    assert_int_equal(pg_schema_migrate(&conn, steps, 1, &err), 0);
    assert_string_equal(ask(pg, "SELECT count(*) FROM one"), "0");
    PQfinish(pg);
    pg_conn_drop(&conn);
    pg_config_free(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup(name, new_schema)
        T(a_connection_cut_on_the_way_to_the_server),
        T(a_connection_cut_on_the_way_back),
        T(a_read_that_is_cut_is_read_again),
        T(sessions_that_are_ended_all_the_time),
        T(an_attempt_that_comes_too_late_is_not_done),
        T(a_server_that_is_away_is_an_outage),
        T(who_reads_on_behind_the_last_number_misses_nothing),
        T(numbers_are_given_in_the_order_of_commits),
        T(g7_the_database_shows_no_row_of_another_tenant),
        T(several_that_start_at_once_take_turns),
        T(schemas_that_are_not_ours_are_refused),
        T(a_step_that_fails_leaves_nothing),
    };
    return cmocka_run_group_tests_name("postgres", tests, NULL, NULL);
}
