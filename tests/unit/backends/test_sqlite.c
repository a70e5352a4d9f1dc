// SPDX-License-Identifier: Apache-2.0
// What is particular to the SQLite store: migrations, foreign and newer files, and what becomes of a group when
// the disk is full or a file cannot grow.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "../../contract/place.h"
#include "backends/eventlog/eventlog_embedded.h"
#include "backends/meta/meta_sqlite.h"
#include "backends/meta/sqlite_int.h"
#include "base/clock.h"

struct fixture {
    char dir[PLACE_MAX];
    char path[PLACE_MAX + 64];
    struct sq_conn conn;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    if (!f || place_make(f->dir) < 0)
        return -1;
    snprintf(f->path, sizeof f->path, "%s/meta.db", f->dir);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    sq_conn_close(&f->conn);
    place_remove(f->dir);
    free(f);
    return 0;
}

static void run_sql(struct fixture *f, const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static int64_t number(struct fixture *f, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return value;
}

static enum error_code open_code(struct fixture *f, struct error *err)
{
    void *state = NULL;
    if (meta_sqlite.open(f->path, &state, err) < 0)
        return err->code;
    meta_sqlite.close(state);
    return ERR_NONE;
}

// ---- The schema.

static const char *const steps[] = {
    "CREATE TABLE a (x); INSERT INTO a VALUES (1);",
    "ALTER TABLE a ADD COLUMN y; UPDATE a SET y = x + 1;",
    "CREATE TABLE b AS SELECT y FROM a;",
};

static void migrations_go_on_from_where_the_file_is(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    assert_int_equal(sq_conn_open(&f->conn, f->path, true, &err), 0);
    for (size_t version = 1; version <= 3; version++) {
        assert_int_equal(sq_schema_migrate(&f->conn, f->path, steps, version, &err), 0);
        assert_int_equal(sq_schema_migrate(&f->conn, f->path, steps, version, &err), 0);
        assert_int_equal(number(f, "PRAGMA user_version"), version);
    }
    assert_int_equal(number(f, "SELECT y FROM b"), 2);
}

static void a_migration_happens_whole_or_not(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    const char *const broken[] = {steps[0], steps[1], "CREATE TABLE c (x); SELECT * FROM nowhere;"};
    assert_int_equal(sq_conn_open(&f->conn, f->path, true, &err), 0);
    assert_int_equal(sq_schema_migrate(&f->conn, f->path, steps, 1, &err), 0);
    assert_int_equal(sq_schema_migrate(&f->conn, f->path, broken, 3, &err), -1);
    assert_non_null(strstr(err.message, "version 3"));
    assert_int_equal(number(f, "PRAGMA user_version"), 1);
    assert_int_equal(number(f, "SELECT count(*) FROM sqlite_schema"), 1);
    assert_int_equal(sq_schema_migrate(&f->conn, f->path, steps, 3, &err), 0);
}

static void a_newer_schema_is_refused_and_left_alone(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    assert_int_equal(open_code(f, &err), ERR_NONE);
    char known[32];
    snprintf(known, sizeof known, "versions up to %d", (int)number(f, "PRAGMA user_version"));
    run_sql(f, "PRAGMA user_version = 4711");
    assert_int_equal(open_code(f, &err), ERR_DATA_DIR_NEWER);
    assert_non_null(strstr(err.message, "4711"));
    assert_non_null(strstr(err.message, known));
    assert_int_equal(number(f, "PRAGMA user_version"), 4711);
}

static void what_is_not_ours_is_refused(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    run_sql(f, "CREATE TABLE somebodys (x)");
    assert_int_equal(open_code(f, &err), ERR_DATA_CORRUPT);
    assert_int_equal(number(f, "SELECT count(*) FROM sqlite_schema"), 1);
    FILE *file = fopen(f->path, "w");
    for (int i = 0; i < 1000; i++)
        fputs("this is no database\n", file);
    fclose(file);
    assert_int_equal(open_code(f, &err), ERR_DATA_CORRUPT);
    assert_true(err.fatal);
    snprintf(f->path, sizeof f->path, "%s/nowhere/meta.db", f->dir);
    assert_int_equal(open_code(f, &err), ERR_IO);
    assert_non_null(strstr(err.message, f->path));
}

static void the_log_needs_the_store_itself(void **state)
{
    struct error err = {0};
    struct meta_ops other = meta_sqlite;
    struct meta meta = {.ops = &other};
    void *log;
    assert_int_equal(elog_embedded.open("", &meta, &log, &err), -1);
    assert_int_equal(err.code, ERR_CONFIG);
}

static void numbers_of_changes_are_not_given_again_after_a_power_cut(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(open_code(f, NULL), ERR_NONE);
    assert_int_equal(open_code(f, NULL), ERR_NONE);
    assert_int_equal(number(f, "SELECT count(*) FROM change"), 0); // where nothing happened, nothing can be lost
    run_sql(f, "INSERT INTO change (at_ms, tenant, id, status) VALUES (1, 'default', 'a', 0)");
    assert_int_equal(open_code(f, NULL), ERR_NONE);
    for (int cut = 0; cut < 3; cut++) { // each time rows come, are seen, and are lost
        run_sql(f,
                "INSERT INTO change (at_ms, tenant, id, status) VALUES (1, 'default', 'b', 1), (1, 'default', 'b', 3)");
        int64_t seen = number(f, "SELECT max(seq) FROM change");
        run_sql(f, "DELETE FROM change WHERE id = 'b'");
        assert_int_equal(open_code(f, NULL), ERR_NONE);
        run_sql(f, "INSERT INTO change (at_ms, tenant, id, status) VALUES (1, 'default', 'c', 0)");
        assert_true(number(f, "SELECT max(seq) FROM change") > seen);
        run_sql(f, "DELETE FROM change WHERE id = 'c'");
    }
    assert_int_equal(number(f, "SELECT count(*) FROM change WHERE tenant <> ''"), 1);
}

// ---- A group and its disk. The functions run on the writer's thread, so they may touch its connection.

struct store {
    struct meta meta;
    struct eventlog log;
};

static void store_open(struct fixture *f, struct store *s)
{
    *s = (struct store){.meta = {.ops = &meta_sqlite}, .log = {.ops = &elog_embedded}};
    struct elog_topic_config config = {.partitions = 1, .retention_ms = -1, .retention_bytes = -1};
    assert_int_equal(meta_sqlite.open(f->path, &s->meta.state, NULL), 0);
    assert_int_equal(elog_embedded.open("", &s->meta, &s->log.state, NULL), 0);
    assert_int_equal(elog_embedded.topic_create(s->log.state, "t", &config, NULL), 0);
}

static void store_close(struct store *s)
{
    elog_embedded.close(s->log.state);
    meta_sqlite.close(s->meta.state);
}

struct big {
    struct store *store;
    size_t len;
};

static int publish_big(struct meta_tx *tx, void *arg, struct error *err)
{
    const struct big *big = arg;
    _cleanup_free_ char *value = malloc(big->len);
    memset(value, 'x', big->len);
    struct elog_record record = {.topic = "t", .value = value, .value_len = big->len};
    return elog_embedded.publish_tx(big->store->log.state, tx, &record, NULL, err);
}

static int limit_pages(struct meta_tx *tx, void *arg, struct error *err)
{
    return sq_conn_script(sq_tx(tx)->conn, arg, err);
}

struct gate {
    sem_t entered, go;
};

static int hold(struct meta_tx *tx, void *arg, struct error *err)
{
    struct gate *gate = arg;
    sem_post(&gate->entered);
    while (sem_wait(&gate->go) < 0)
        ;
    return 0;
}

struct told {
    int ok;
    int full;
    int outages;
    int others;
};

static void note(void *arg, const struct error *err)
{
    struct told *told = arg;
    if (!err)
        told->ok++;
    else if (err->code == ERR_DISK_FULL)
        told->full++;
    else
        told->others++;
    told->outages += err && err->outage && err->retryable;
}

// Runs functions of these sizes as one group.
static struct told run_group(struct store *s, const size_t *sizes, size_t count)
{
    struct told told = {0}, ignored = {0};
    struct big big[8];
    struct gate gate;
    sem_init(&gate.entered, 0, 0);
    sem_init(&gate.go, 0, 0);
    sq_write_async(s->meta.state, META_RELAXED, hold, &gate, note, &ignored);
    while (sem_wait(&gate.entered) < 0)
        ;
    for (size_t i = 0; i < count; i++) {
        big[i] = (struct big){s, sizes[i]};
        sq_write_async(s->meta.state, META_SYNCED, publish_big, &big[i], note, &told);
    }
    sem_post(&gate.go);
    struct big last = {s, 1};
    sq_write(s->meta.state, META_RELAXED, publish_big, &last, NULL); // in the group, or in one after it
    while (told.ok + told.full + told.others < (int)count)
        clock_sleep_ms(1);
    return told;
}

static struct elog_partition_info partition(struct store *s)
{
    _cleanup_arena_ struct arena arena = {0};
    struct elog_topic_info info;
    assert_int_equal(elog_embedded.topic_describe(s->log.state, &arena, "t", &info, NULL), 0);
    return info.partitions[0];
}

static void a_full_database_fails_the_group_and_the_next_works(void **state)
{
    struct fixture *f = *state;
    struct store s;
    store_open(f, &s);
    assert_int_equal(sq_write(s.meta.state, META_SYNCED, limit_pages, "PRAGMA max_page_count=200", NULL), 0);
    static const size_t sizes[] = {100, 2 << 20, 100};
    struct told told = run_group(&s, sizes, ARRAY_LEN(sizes));
    assert_int_equal(told.full, 3);
    assert_int_equal(told.outages, 3);
    assert_int_equal(told.ok, 0);
    struct elog_partition_info before = partition(&s);
    static const size_t small[] = {100, 100};
    told = run_group(&s, small, ARRAY_LEN(small));
    assert_int_equal(told.ok, 2);
    assert_int_equal(partition(&s).end, before.end + 3);
    assert_int_equal(partition(&s).bytes, before.bytes + 201);
    store_close(&s);
    assert_int_equal(number(f, "SELECT count(*) = max(id) - min(id) + 1 FROM elog_record"), 1); // no gap
}

static void a_file_that_cannot_grow_fails_the_group_and_the_next_works(void **state)
{
    struct fixture *f = *state;
    struct store s;
    struct rlimit before, limited;
    store_open(f, &s);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limited = before;
    limited.rlim_cur = 1 << 20;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limited), 0);
    static const size_t sizes[] = {100, 4 << 20};
    struct told told = run_group(&s, sizes, ARRAY_LEN(sizes));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(told.ok, 0);
    assert_int_equal(told.outages, 2);
    told = run_group(&s, sizes, ARRAY_LEN(sizes));
    assert_int_equal(told.ok, 2);
    store_close(&s);
    assert_int_equal(number(f, "SELECT count(*) = max(id) - min(id) + 1 FROM elog_record"), 1);
}

static int write_inside(struct meta_tx *tx, void *arg, struct error *err)
{
    struct big big = {arg, 1};
    return sq_write(big.store->meta.state, META_SYNCED, publish_big, &big, err);
}

static void a_transaction_inside_of_another_is_refused(void **state)
{
    struct fixture *f = *state;
    struct store s;
    struct error err = {0};
    store_open(f, &s);
    assert_int_equal(sq_write(s.meta.state, META_SYNCED, write_inside, &s, &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_int_equal(partition(&s).end, 0);
    store_close(&s);
}

// ---- The WAL.

static off_t file_size(const char *path, const char *suffix)
{
    char name[PLACE_MAX + 80];
    struct stat info;
    snprintf(name, sizeof name, "%s%s", path, suffix);
    return stat(name, &info) == 0 ? info.st_size : -1;
}

static void the_wal_stays_bounded_and_is_gone_after_close(void **state)
{
    struct fixture *f = *state;
    struct store s;
    store_open(f, &s);
    struct big big = {&s, 1 << 20};
    for (int i = 0; i < 150; i++)
        assert_int_equal(sq_write(s.meta.state, META_RELAXED, publish_big, &big, NULL), 0);
    assert_in_range(file_size(f->path, "-wal"), 1, 64 << 20);
    store_close(&s);
    assert_int_equal(file_size(f->path, "-wal"), -1);
    assert_in_range(file_size(f->path, ""), 150 << 20, 200 << 20);
}

struct slow_read {
    struct store *store;
    struct gate gate;
};

static int look_and_hold(struct meta_tx *tx, void *arg, struct error *err)
{
    struct slow_read *r = arg;
    int64_t count;
    if (sq_number(tx, "SELECT count(*) FROM elog_record", 0, &count, err) < 0)
        return -1;
    hold(tx, &r->gate, err);
    int64_t again;
    if (sq_number(tx, "SELECT count(*) FROM elog_record", 0, &again, err) < 0)
        return -1;
    return count == again ? 0 : error_set(err, ERR_CONFLICT, "the snapshot moved");
}

static void *read_slowly(void *arg)
{
    struct slow_read *r = arg;
    return sq_read(r->store->meta.state, look_and_hold, r, NULL) < 0 ? r : NULL;
}

static void a_long_read_keeps_its_snapshot_across_checkpoints(void **state)
{
    struct fixture *f = *state;
    struct store s;
    store_open(f, &s);
    struct slow_read slow = {.store = &s};
    sem_init(&slow.gate.entered, 0, 0);
    sem_init(&slow.gate.go, 0, 0);
    pthread_t thread;
    void *failed;
    struct big big = {&s, 1 << 20};
    assert_int_equal(sq_write(s.meta.state, META_RELAXED, publish_big, &big, NULL), 0);
    assert_int_equal(pthread_create(&thread, NULL, read_slowly, &slow), 0);
    while (sem_wait(&slow.gate.entered) < 0)
        ;
    for (int i = 0; i < 40; i++)
        assert_int_equal(sq_write(s.meta.state, META_RELAXED, publish_big, &big, NULL), 0);
    sem_post(&slow.gate.go);
    pthread_join(thread, &failed);
    assert_null(failed);
    store_close(&s);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(migrations_go_on_from_where_the_file_is),
        T(a_migration_happens_whole_or_not),
        T(a_newer_schema_is_refused_and_left_alone),
        T(what_is_not_ours_is_refused),
        T(the_log_needs_the_store_itself),
        T(numbers_of_changes_are_not_given_again_after_a_power_cut),
        T(a_full_database_fails_the_group_and_the_next_works),
        T(a_file_that_cannot_grow_fails_the_group_and_the_next_works),
        T(a_transaction_inside_of_another_is_refused),
        T(the_wal_stays_bounded_and_is_gone_after_close),
        T(a_long_read_keeps_its_snapshot_across_checkpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
