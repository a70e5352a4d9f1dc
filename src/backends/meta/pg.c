// SPDX-License-Identifier: Apache-2.0
// The metadata store in PostgreSQL, for who wants the records on a server of their own.
//
// Writing. Each process has one thread that writes, on one connection (pg_writer.c): transactions queue for it, run one
// after the other in one SERIALIZABLE transaction, and are committed together (pg_group.c). So a process' own
// transactions never disturb each other, many of them share a sync, and what another process does meanwhile shows as a
// conflict, upon which all of them run again. Reading is done beside it on a pool of connections, each transaction in
// one snapshot (REPEATABLE READ READ ONLY).
//
// Round trips are what a database elsewhere costs. Statements travel in pipelines (pg_conn.c): a transaction waits once
// for each answer that its function looks at, and once for its commit.
//
// Losing a connection loses nothing and does nothing twice (pg_writer.c). Numbers that others read on behind never
// appear out of order, however many processes write (pg_schema.c).
//
// An outage is an outage (G6): refused and torn connections, time-outs, a server that shuts down, recovers or has
// become a standby, full disks, too many connections. All say ERR_UNAVAILABLE (or what it is) with `outage`, at once
// for half a second after a connection could not be made. Opening waits for the server so long as a time-out is, since
// without its schema nothing can be said of a database.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "backends/meta/meta_postgres.h"
#include "backends/meta/pg_int.h"
#include "base/clock.h"
#include "base/id.h"

enum { READ_TRIES = 3, OPEN_AGAIN_MS = 200 };

// ---- Statements of a transaction

struct pg_tx *pg_tx(struct meta_tx *tx)
{
    struct pg_tx *mine = (struct pg_tx *)tx;
    if (mine->magic != PG_TX_MAGIC)
        abort();
    return mine;
}

static int must_write(struct meta_tx *tx, struct error *err)
{
    if (!pg_tx(tx)->writable)
        return error_set(err, ERR_INTERNAL, "A transaction that only reads cannot write");
    pg_tx(tx)->wrote = true;
    return 0;
}

int pg_query(struct meta_tx *tx, const char *sql, const struct pg_arg *args, size_t count, PGresult **out,
             struct error *err)
{
    int rc = pg_conn_query(pg_tx(tx)->conn, sql, args, count, out, err);
    if (rc == 0)
        pg_tx(tx)->later = false;
    return rc;
}

int pg_write_query(struct meta_tx *tx, const char *sql, const struct pg_arg *args, size_t count, PGresult **out,
                   struct error *err)
{
    return must_write(tx, err) < 0 ? -1 : pg_query(tx, sql, args, count, out, err);
}

int pg_change(struct meta_tx *tx, const char *sql, const struct pg_arg *args, size_t count, bool *changed,
              struct error *err)
{
    _cleanup_pg_result_ PGresult *result = NULL;
    if (!pg_tx(tx)->careful) {
        if (must_write(tx, err) < 0 || pg_conn_send_must(pg_tx(tx)->conn, sql, args, count, err) < 0)
            return -1;
        *changed = true;
        return 0;
    }
    if (pg_write_query(tx, sql, args, count, &result, err) < 0)
        return -1;
    *changed = strcmp(PQcmdTuples(result), "0") != 0;
    return 0;
}

// It holds up to the end of the transaction, or until the savepoint is rolled back to.
int pg_wall(struct meta_tx *tx, const char *tenant, struct error *err)
{
    struct pg_conn *conn = pg_tx(tx)->conn;
    if (strcmp(conn->wall, tenant) == 0)
        return 0;
    if (pg_conn_send(conn, "SELECT set_config('deeplens.tenant', $1, true)", PG_ARGS(pg_text(tenant)), NULL, err) < 0)
        return -1;
    snprintf(conn->wall, sizeof conn->wall, "%s", strlen(tenant) < sizeof conn->wall ? tenant : "");
    return 0;
}

int pg_later(struct meta_tx *tx, const char *sql, const struct pg_arg *args, size_t count, struct error *err)
{
    if (must_write(tx, err) < 0)
        return -1;
    pg_tx(tx)->later = true;
    return pg_conn_send(pg_tx(tx)->conn, sql, args, count, NULL, err);
}

int pg_number(struct meta_tx *tx, const char *sql, int64_t otherwise, int64_t *out, struct error *err)
{
    _cleanup_pg_result_ PGresult *result = NULL;
    if (pg_query(tx, sql, PG_NO_ARGS, &result, err) < 0)
        return -1;
    *out = PQntuples(result) && !PQgetisnull(result, 0, 0) ? pg_col_int(result, 0, 0) : otherwise;
    return 0;
}

// ---- Reading

static struct pg_conn *take_reader(struct pg_db *db, struct error *err)
{
    int64_t until = clock_mono_us() + db->config.timeout_ms * 1000;
    const struct timespec at = {.tv_sec = until / 1000000, .tv_nsec = until % 1000000 * 1000};
    struct pg_conn *conn = NULL;
    pthread_mutex_lock(&db->readers_lock);
    while (db->idle_count == 0 && pthread_cond_timedwait(&db->reader_idle, &db->readers_lock, &at) != ETIMEDOUT)
        ;
    if (db->idle_count)
        conn = db->idle[--db->idle_count]; // the last one used: it is connected, and knows the statements
    pthread_mutex_unlock(&db->readers_lock);
    if (conn)
        return conn;
    error_set(err, ERR_OVERLOADED, "All connections to the metadata database are in use");
    if (err)
        err->outage = true;
    return NULL;
}

static void give_reader(struct pg_db *db, struct pg_conn *conn)
{
    pthread_mutex_lock(&db->readers_lock);
    db->idle[db->idle_count++] = conn;
    pthread_cond_signal(&db->reader_idle);
    pthread_mutex_unlock(&db->readers_lock);
}

// The end of a transaction that changed nothing needs no waiting for.
static int read_once(struct pg_db *db, struct pg_conn *conn, meta_tx_fn *fn, void *arg, struct error *err)
{
    struct pg_tx tx = {.magic = PG_TX_MAGIC, .careful = true, .conn = conn, .db = db};
    conn->wall[0] = 0;
    if (pg_conn_send(conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", PG_NO_ARGS, NULL, err) < 0)
        return -1;
    int rc = fn((struct meta_tx *)&tx, arg, err) == 0 ? 0 : -1;
    enum pg_trouble trouble = conn->trouble;
    if (rc == 0 && trouble != PG_WELL) // the function did not care; but what it read is not to be trusted
        rc = error_copy(err, &conn->why);
    if (conn->pg) {
        conn->trouble = PG_WELL;
        if (pg_conn_send(conn, "ROLLBACK", PG_NO_ARGS, NULL, NULL) == 0)
            pg_conn_leave(conn);
        conn->trouble = trouble;
    }
    return rc;
}

static int pg_read(void *state, meta_tx_fn *fn, void *arg, struct error *err)
{
    struct pg_db *db = state;
    struct pg_conn *conn = take_reader(db, err);
    if (!conn)
        return -1;
    int rc = -1;
    for (int tries = 1; pg_conn_ready(conn, err) == 0; tries++) {
        rc = read_once(db, conn, fn, arg, err);
        if (rc == 0 || tries == READ_TRIES || (conn->trouble != PG_LOST && conn->trouble != PG_CONFLICT))
            break;
        rc = -1;
    }
    give_reader(db, conn);
    return rc;
}

// ---- Opening and closing

static int pg_write(void *state, enum meta_durability durability, meta_tx_fn *fn, void *arg, struct error *err)
{
    return meta_jobs_write(&((struct pg_db *)state)->jobs, durability, fn, arg, err);
}

static void pg_write_async(void *state, enum meta_durability durability, meta_tx_fn *fn, void *arg, meta_done_fn *done,
                           void *done_arg)
{
    meta_jobs_write_async(&((struct pg_db *)state)->jobs, durability, fn, arg, done, done_arg);
}

static void pg_close(void *state)
{
    struct pg_db *db = state;
    meta_jobs_stop(&db->jobs);
    pg_writer_leave(db);
    pg_conn_drop(&db->writer.conn);
    arena_free(&db->writer.outbox.arena);
    for (int64_t i = 0; db->readers && i < db->config.pool - 1; i++)
        pg_conn_drop(&db->readers[i]);
    free(db->readers);
    pthread_cond_destroy(&db->reader_idle);
    pthread_mutex_destroy(&db->readers_lock);
    pthread_mutex_destroy(&db->down.lock);
    pg_config_free(&db->config);
    free(db);
}
DEFINE_CLEANUP(struct pg_db *, db, pg_close)

static int make_readers(struct pg_db *db, struct error *err)
{
    db->readers = calloc((size_t)db->config.pool - 1, sizeof *db->readers);
    if (!db->readers)
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    for (int64_t i = 0; i < db->config.pool - 1; i++) {
        pg_conn_init(&db->readers[i], &db->config, &db->down);
        db->idle[db->idle_count++] = &db->readers[i];
    }
    return 0;
}

// A server that is just being started is waited for.
static int first_contact(struct pg_db *db, struct error *err)
{
    const struct timespec pause = {.tv_nsec = OPEN_AGAIN_MS * 1000 * 1000};
    struct error why = {0};
    for (int64_t until = clock_mono_us() + db->config.timeout_ms * 1000;;) {
        if (pg_conn_ready(&db->writer.conn, &why) == 0)
            return 0;
        if (why.code == ERR_CONFIG || clock_mono_us() > until)
            return error_copy(err, &why);
        nanosleep(&pause, NULL);
    }
}

static void init_locks(struct pg_db *db)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&db->reader_idle, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&db->readers_lock, NULL);
    pthread_mutex_init(&db->down.lock, NULL);
}

static int pg_open(const char *location, void **state, struct error *err)
{
    _cleanup_(cleanup_db) struct pg_db *db = calloc(1, sizeof *db);
    if (!db)
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    init_locks(db);
    if (pg_config_read(location, &db->config, err) < 0)
        return -1;
    pg_conn_init(&db->writer.conn, &db->config, &db->down);
    id_new("wrt", db->writer.id);
    if (make_readers(db, err) < 0 || first_contact(db, err) < 0 || pg_schema_open(&db->writer.conn, err) < 0 ||
        pg_writer_ready(db, err) < 0 || pg_writer_start(db, err) < 0)
        return -1;
    *state = take_ptr(db);
    return 0;
}

const struct meta_ops meta_postgres = {
    .name = "postgres",
    .open = pg_open,
    .close = pg_close,
    .write = pg_write,
    .write_async = pg_write_async,
    .read = pg_read,
    .tenant_add = pg_tenant_add,
    .tenant_get = pg_tenant_get,
    .tenant_list = pg_tenant_list,
    .tenant_leave = pg_tenant_leave,
    .tenant_remove = pg_tenant_remove,
    .media_insert = pg_media_insert,
    .media_get = pg_media_get,
    .media_find_hash = pg_media_find_hash,
    .media_list = pg_media_list,
    .media_update = pg_media_update,
    .media_delete = pg_media_delete,
    .media_duplicate = pg_media_duplicate,
    .frame_list = pg_frame_list,
    .frame_waits = pg_frame_waits,
    .frame_count = pg_frame_count,
    .alike_join = pg_alike_join,
    .alike_leave = pg_alike_leave,
    .alike_find = pg_alike_find,
    .alike_groups = pg_alike_groups,
    .alike_members = pg_alike_members,
    .alike_drop = pg_alike_drop,
    .details_put = pg_details_put,
    .details_get = pg_details_get,
    .step_put = pg_step_put,
    .step_list = pg_step_list,
    .inbox_begin = pg_inbox_begin,
    .inbox_end = pg_inbox_end,
    .inbox_release = pg_inbox_release,
    .inbox_forget = pg_inbox_forget,
    .inbox_open = pg_inbox_open,
    .inbox_prune = pg_inbox_prune,
    .retry_put = pg_retry_put,
    .retry_take = pg_retry_take,
    .retry_next = pg_retry_next,
    .retry_count = pg_retry_count,
    .outbox_put = pg_outbox_put,
    .outbox_read = pg_outbox_read,
    .outbox_remove = pg_outbox_remove,
    .outbox_depth = pg_outbox_depth,
    .outbox_watch = pg_outbox_watch,
    .change_list = pg_change_list,
    .change_range = pg_change_range,
    .change_prune = pg_change_prune,
    .change_watch = pg_change_watch,
    .webhook_put = pg_webhook_put,
    .webhook_list = pg_webhook_list,
    .webhook_remove = pg_webhook_remove,
    .delivery_put = pg_delivery_put,
    .delivery_again = pg_delivery_again,
    .delivery_due = pg_delivery_due,
    .delivery_next = pg_delivery_next,
    .delivery_settle = pg_delivery_settle,
    .delivery_get = pg_delivery_get,
    .delivery_list = pg_delivery_list,
    .delivery_waiting = pg_delivery_waiting,
    .delivery_prune = pg_delivery_prune,
    .receipt_put = pg_receipt_put,
    .receipt_open = pg_receipt_open,
    .receipt_get = pg_receipt_get,
    .receipt_list = pg_receipt_list,
    .run_put = pg_run_put,
    .run_get = pg_run_get,
    .run_open = pg_run_open,
    .run_list = pg_run_list,
    .run_prune = pg_run_prune,
    .tidy = pg_tidy,
    .message_put = pg_message_put,
    .message_get = pg_message_get,
    .message_list = pg_message_list,
    .workflow_put = pg_workflow_put,
    .workflow_list = pg_workflow_list,
    .workflow_remove = pg_workflow_remove,
    .message_remove = pg_message_remove,
    .erased_put = pg_erased_put,
    .erased_get = pg_erased_get,
    .reply_forget = pg_reply_forget,
    .reply_put = pg_reply_put,
    .reply_get = pg_reply_get,
    .reply_list = pg_reply_list,
    .reply_due = pg_reply_due,
    .reply_claim = pg_reply_claim,
    .reply_lost = pg_reply_lost,
    .reply_cancel = pg_reply_cancel,
    .optout_put = pg_optout_put,
    .optout_remove = pg_optout_remove,
    .optout_get = pg_optout_get,
    .message_waiting = pg_message_waiting,
    .ledger = pg_ledger,
    .setting_get = pg_setting_get,
    .setting_put = pg_setting_put,
};
