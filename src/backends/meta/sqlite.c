// SPDX-License-Identifier: Apache-2.0
// The metadata store in SQLite: one file in WAL mode, one connection that writes (sqlite_writer.c), and a small pool
// of connections that read beside it. A read transaction is deferred: its first statement takes the snapshot, in
// which everything is seen that was committed before.
#include <string.h>

#include "backends/meta/meta_sqlite.h"
#include "backends/meta/sqlite_int.h"

struct sq_tx *sq_tx(struct meta_tx *tx)
{
    struct sq_tx *mine = (struct sq_tx *)tx;
    if (mine->magic != SQ_TX_MAGIC)
        abort();
    return mine;
}

int sq_query(struct meta_tx *tx, const char *sql, const struct sq_arg *args, size_t count, sqlite3_stmt **out,
             struct error *err)
{
    return sq_conn_query(sq_tx(tx)->conn, sql, args, count, out, err);
}

int sq_next(struct meta_tx *tx, sqlite3_stmt *stmt, struct error *err)
{
    return sq_conn_next(sq_tx(tx)->conn, stmt, err);
}

int sq_exec(struct meta_tx *tx, const char *sql, const struct sq_arg *args, size_t count, struct error *err)
{
    return sq_conn_exec(sq_tx(tx)->conn, sql, args, count, err);
}

int sq_number(struct meta_tx *tx, const char *sql, int64_t otherwise, int64_t *out, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, sql, SQ_NO_ARGS, &stmt, err) < 0)
        return -1;
    int rc = sq_next(tx, stmt, err);
    if (rc < 0)
        return -1;
    *out = rc && sqlite3_column_type(stmt, 0) != SQLITE_NULL ? sq_col_int(stmt, 0) : otherwise;
    return 0;
}

int64_t sq_changes(struct meta_tx *tx)
{
    return sqlite3_changes64(sq_tx(tx)->conn->sql);
}

struct sq_db *sq_db_of(const struct meta *meta)
{
    if (!meta || meta->ops != &meta_sqlite)
        return NULL;
    struct sq_db *db = meta->state;
    return db->magic == SQ_DB_MAGIC ? db : NULL;
}

static struct sq_conn *take_reader(struct sq_db *db)
{
    pthread_mutex_lock(&db->readers_lock);
    while (db->idle_count == 0)
        pthread_cond_wait(&db->reader_idle, &db->readers_lock);
    struct sq_conn *conn = db->idle[--db->idle_count]; // the last one used: its cache is warm
    pthread_mutex_unlock(&db->readers_lock);
    return conn;
}

static void give_reader(struct sq_db *db, struct sq_conn *conn)
{
    pthread_mutex_lock(&db->readers_lock);
    db->idle[db->idle_count++] = conn;
    pthread_cond_signal(&db->reader_idle);
    pthread_mutex_unlock(&db->readers_lock);
}

int sq_read(void *state, meta_tx_fn *fn, void *arg, struct error *err)
{
    struct sq_db *db = state;
    struct sq_tx tx = {.magic = SQ_TX_MAGIC, .conn = take_reader(db), .db = db};
    struct meta_tx *handle = (struct meta_tx *)&tx;
    tx.conn->failed = 0;
    int rc = sq_exec(handle, "BEGIN", SQ_NO_ARGS, err);
    if (rc == 0) {
        rc = fn(handle, arg, err) == 0 ? 0 : -1;
        if (!sqlite3_get_autocommit(tx.conn->sql))
            sq_exec(handle, "ROLLBACK", SQ_NO_ARGS, NULL);
    }
    give_reader(db, tx.conn);
    return rc;
}

static int open_readers(struct sq_db *db, struct error *err)
{
    for (size_t i = 0; i < SQ_READERS; i++) {
        if (sq_conn_open(&db->readers[i], db->path, false, err) < 0)
            return -1;
        db->idle[db->idle_count++] = &db->readers[i];
    }
    return 0;
}

// The readers first: so the writer is the last to leave, and leaves no WAL behind.
static void db_close(void *state)
{
    struct sq_db *db = state;
    if (!db)
        return;
    meta_jobs_stop(&db->jobs);
    for (size_t i = 0; i < SQ_READERS; i++)
        sq_conn_close(&db->readers[i]);
    sq_conn_close(&db->writer.conn);
    pthread_cond_destroy(&db->reader_idle);
    pthread_mutex_destroy(&db->readers_lock);
    free(db->path);
    db->magic = 0;
    free(db);
}
DEFINE_CLEANUP(struct sq_db *, db, db_close)

static int db_open(const char *location, void **state, struct error *err)
{
    _cleanup_(cleanup_db) struct sq_db *db = calloc(1, sizeof *db);
    if (!db)
        return error_set(err, ERR_NO_MEMORY, "Out of memory while opening %s", location);
    db->magic = SQ_DB_MAGIC;
    pthread_mutex_init(&db->readers_lock, NULL);
    pthread_cond_init(&db->reader_idle, NULL);
    db->path = strdup(location);
    if (!db->path)
        return error_set(err, ERR_NO_MEMORY, "Out of memory while opening %s", location);
    if (sq_conn_open(&db->writer.conn, location, true, err) < 0 ||
        sq_schema_open(&db->writer.conn, location, err) < 0 || sq_outbox_open(&db->writer, err) < 0 ||
        sq_change_open(&db->writer, err) < 0 || open_readers(db, err) < 0 || sq_writer_start(db, err) < 0)
        return -1;
    *state = take_ptr(db);
    return 0;
}

const struct meta_ops meta_sqlite = {
    .name = "sqlite",
    .open = db_open,
    .close = db_close,
    .write = sq_write,
    .write_async = sq_write_async,
    .read = sq_read,
    .tenant_add = sq_tenant_add,
    .tenant_get = sq_tenant_get,
    .tenant_list = sq_tenant_list,
    .tenant_leave = sq_tenant_leave,
    .tenant_remove = sq_tenant_remove,
    .media_insert = sq_media_insert,
    .media_get = sq_media_get,
    .media_find_hash = sq_media_find_hash,
    .media_list = sq_media_list,
    .media_update = sq_media_update,
    .media_delete = sq_media_delete,
    .media_duplicate = sq_media_duplicate,
    .frame_list = sq_frame_list,
    .frame_waits = sq_frame_waits,
    .frame_count = sq_frame_count,
    .alike_join = sq_alike_join,
    .alike_leave = sq_alike_leave,
    .alike_find = sq_alike_find,
    .alike_groups = sq_alike_groups,
    .alike_members = sq_alike_members,
    .alike_drop = sq_alike_drop,
    .details_put = sq_details_put,
    .details_get = sq_details_get,
    .step_put = sq_step_put,
    .step_list = sq_step_list,
    .inbox_begin = sq_inbox_begin,
    .inbox_end = sq_inbox_end,
    .inbox_release = sq_inbox_release,
    .inbox_forget = sq_inbox_forget,
    .inbox_open = sq_inbox_open,
    .inbox_prune = sq_inbox_prune,
    .retry_put = sq_retry_put,
    .retry_take = sq_retry_take,
    .retry_next = sq_retry_next,
    .retry_count = sq_retry_count,
    .outbox_put = sq_outbox_put,
    .outbox_read = sq_outbox_read,
    .outbox_remove = sq_outbox_remove,
    .outbox_depth = sq_outbox_depth,
    .outbox_watch = sq_outbox_watch,
    .change_list = sq_change_list,
    .change_range = sq_change_range,
    .change_prune = sq_change_prune,
    .change_watch = sq_change_watch,
    .webhook_put = sq_webhook_put,
    .webhook_list = sq_webhook_list,
    .webhook_remove = sq_webhook_remove,
    .delivery_put = sq_delivery_put,
    .delivery_again = sq_delivery_again,
    .delivery_due = sq_delivery_due,
    .delivery_next = sq_delivery_next,
    .delivery_settle = sq_delivery_settle,
    .delivery_get = sq_delivery_get,
    .delivery_list = sq_delivery_list,
    .delivery_waiting = sq_delivery_waiting,
    .delivery_prune = sq_delivery_prune,
    .receipt_put = sq_receipt_put,
    .receipt_open = sq_receipt_open,
    .receipt_get = sq_receipt_get,
    .receipt_list = sq_receipt_list,
    .run_put = sq_run_put,
    .run_get = sq_run_get,
    .run_open = sq_run_open,
    .run_list = sq_run_list,
    .run_prune = sq_run_prune,
    .tidy = sq_tidy,
    .message_put = sq_message_put,
    .message_get = sq_message_get,
    .message_list = sq_message_list,
    .workflow_put = sq_workflow_put,
    .workflow_list = sq_workflow_list,
    .workflow_remove = sq_workflow_remove,
    .message_remove = sq_message_remove,
    .erased_put = sq_erased_put,
    .erased_get = sq_erased_get,
    .reply_forget = sq_reply_forget,
    .reply_put = sq_reply_put,
    .reply_get = sq_reply_get,
    .reply_list = sq_reply_list,
    .reply_due = sq_reply_due,
    .reply_claim = sq_reply_claim,
    .reply_lost = sq_reply_lost,
    .reply_cancel = sq_reply_cancel,
    .optout_put = sq_optout_put,
    .optout_remove = sq_optout_remove,
    .optout_get = sq_optout_get,
    .message_waiting = sq_message_waiting,
    .ledger = sq_ledger,
    .setting_get = sq_setting_get,
    .setting_put = sq_setting_put,
};
