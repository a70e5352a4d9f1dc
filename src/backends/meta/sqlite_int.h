// SPDX-License-Identifier: Apache-2.0
// What the files of the SQLite store share, and what the embedded event log (which keeps its tables in the same
// database) builds on: connections with cached statements, transactions, the writer and its hooks.
//
// sqlite.c          open, close, read transactions and their pool, the table of operations
// sqlite_conn.c     a connection: its settings, its statements, its errors
// sqlite_schema.c   the schema and its migrations
// sqlite_writer.c   the one writer: group commit, durability, checkpoints
// sqlite_media.c, sqlite_step.c, sqlite_tenant.c, sqlite_inbox.c, sqlite_retry.c, sqlite_outbox.c, sqlite_change.c,
// sqlite_webhook.c, sqlite_receipt.c, sqlite_run.c   the operations
#ifndef DEEPLENS_BACKENDS_META_SQLITE_INT_H
#define DEEPLENS_BACKENDS_META_SQLITE_INT_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/meta/jobs.h"
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "ports/meta.h"

#define SQ_TX_MAGIC UINT32_C(0x53715478)
#define SQ_DB_MAGIC UINT32_C(0x53714462)

enum { SQ_STATEMENTS_MAX = 256, SQ_READERS = 8, SQ_BUSY_MS = 5000 };

struct sq_db;

// ---- Connections. One thread at a time uses one.

struct sq_statement {
    const char *sql; // the key is the address of the text: statements are literals
    sqlite3_stmt *stmt;
};

struct sq_conn {
    sqlite3 *sql;
    int failed; // the result code that doomed the transaction under way (disk full, I/O, …); 0 while it is well
    struct sq_statement statements[SQ_STATEMENTS_MAX]; // a hash table
    size_t statement_count;
};

int sq_conn_open(struct sq_conn *conn, const char *path, bool writable, struct error *err);
void sq_conn_close(struct sq_conn *conn); // takes a zeroed one

// Fills `err` from a result code and notes in `conn->failed` what a transaction cannot survive. Returns -1.
int sq_conn_error(struct sq_conn *conn, int rc, const char *doing, struct error *err);

// A value to bind. Text and blobs are borrowed until the statement is reset.
struct sq_arg {
    enum { SQ_INT, SQ_TEXT, SQ_BLOB, SQ_REAL } kind;
    int64_t number; // SQ_BLOB: its length
    double real;
    const void *data;
};

static inline struct sq_arg sq_int(int64_t number)
{
    return (struct sq_arg){.kind = SQ_INT, .number = number};
}
static inline struct sq_arg sq_real(double number)
{
    return (struct sq_arg){.kind = SQ_REAL, .real = number};
}
static inline struct sq_arg sq_text(const char *text) // NULL binds NULL
{
    return (struct sq_arg){.kind = SQ_TEXT, .data = text};
}
static inline struct sq_arg sq_blob(const void *data, size_t len) // an empty blob when `len` is 0
{
    return (struct sq_arg){.kind = SQ_BLOB, .number = (int64_t)len, .data = len ? data : ""};
}

#define SQ_ARGS(...) (const struct sq_arg[]){__VA_ARGS__}, ARRAY_LEN(((const struct sq_arg[]){__VA_ARGS__}))
#define SQ_NO_ARGS NULL, 0

// Prepares (or finds) the statement of the literal `sql` and binds `args` from ?1 on.
int sq_conn_query(struct sq_conn *conn, const char *sql, const struct sq_arg *args, size_t count, sqlite3_stmt **out,
                  struct error *err);
// 1: a row is there; 0: no more; -1: failed.
int sq_conn_next(struct sq_conn *conn, sqlite3_stmt *stmt, struct error *err);
// The one number that it answers; 0 when it answers nothing.
int sq_conn_number(struct sq_conn *conn, const char *sql, int64_t *out, struct error *err);
// Runs a statement to its end, ignoring rows.
int sq_conn_exec(struct sq_conn *conn, const char *sql, const struct sq_arg *args, size_t count, struct error *err);
// Runs a text of several statements that is not worth caching.
int sq_conn_script(struct sq_conn *conn, const char *sql, struct error *err);

static inline void cleanup_sq_reset(sqlite3_stmt **stmt)
{
    if (*stmt) {
        sqlite3_reset(*stmt);
        sqlite3_clear_bindings(*stmt);
    }
}
#define _cleanup_sq_reset_ _cleanup_(cleanup_sq_reset)

// Columns; text lives in the arena, NULL stays NULL.
const char *sq_col_text(struct arena *arena, sqlite3_stmt *stmt, int column);
static inline int64_t sq_col_int(sqlite3_stmt *stmt, int column)
{
    return sqlite3_column_int64(stmt, column);
}

// ---- Transactions: what `struct meta_tx *` points to.

struct sq_tx {
    uint32_t magic;
    bool writable;
    struct sq_conn *conn;
    struct sq_db *db;
};

struct sq_tx *sq_tx(struct meta_tx *tx); // checks the magic number

// The functions of the connection by a transaction's handle.
int sq_query(struct meta_tx *tx, const char *sql, const struct sq_arg *args, size_t count, sqlite3_stmt **out,
             struct error *err);
int sq_next(struct meta_tx *tx, sqlite3_stmt *stmt, struct error *err);
int sq_exec(struct meta_tx *tx, const char *sql, const struct sq_arg *args, size_t count, struct error *err);
// The number in the first column of the first row; `otherwise` when that is NULL or there is no row.
int sq_number(struct meta_tx *tx, const char *sql, int64_t otherwise, int64_t *out, struct error *err);
// Rows changed by the last sq_exec.
int64_t sq_changes(struct meta_tx *tx);

// ---- The writer. All hooks run on its thread.

struct sq_hooks {
    // A function of the group ended: `kept`, or its changes were rolled back.
    void (*function_ended)(void *arg, bool kept);
    // About to commit: the last statements of the transaction may be run. A failure rolls the group back.
    int (*before_commit)(void *arg, struct meta_tx *tx, struct error *err);
    // The group was committed, or rolled back whole. Runs before anybody is told.
    void (*group_ended)(void *arg, bool committed);
};

struct sq_watch { // who is told of a commit
    void (*fn)(void *arg);
    void *arg;
};

struct sq_writer {
    struct sq_conn conn;          // the thread's own
    const struct sq_hooks *hooks; // the thread's own
    void *hooks_arg;
    bool wrote;                // the group under way, so far as it was committed
    bool full;                 // PRAGMA synchronous is FULL
    int64_t unsynced_since_us; // when the oldest commit that is not yet on the disk was made; 0: all are
    int64_t last_commit_us;    //
    int64_t outbox_last;       // the last id given to a row of the outbox
    bool outbox_put;           // by the group under way
    struct sq_watch outbox_watch;
    bool changed; // the state of an item, by the group under way
    struct sq_watch change_watch;
    int wal_pages;              // in the WAL after the last commit
    int wal_pages_checkpointed; // of them, when a checkpoint was last tried
};

int sq_writer_start(struct sq_db *db, struct error *err);
void sq_watch(struct sq_db *db, struct sq_watch *watch, void (*fn)(void *arg), void *arg); // one of the writer's

// ---- The store.

struct sq_db {
    uint32_t magic;
    char *path;
    struct meta_jobs jobs;
    struct sq_writer writer;

    pthread_mutex_t readers_lock; // guards `idle`
    pthread_cond_t reader_idle;
    struct sq_conn readers[SQ_READERS];
    struct sq_conn *idle[SQ_READERS];
    size_t idle_count;
};

struct sq_db *sq_db_of(const struct meta *meta); // NULL when it is not (directly) a SQLite store

int sq_write(void *state, enum meta_durability durability, meta_tx_fn *fn, void *arg, struct error *err);
void sq_write_async(void *state, enum meta_durability durability, meta_tx_fn *fn, void *arg, meta_done_fn *done,
                    void *done_arg);
int sq_read(void *state, meta_tx_fn *fn, void *arg, struct error *err);
// Sets or (NULL) removes the hooks, between two groups.
int sq_set_hooks(struct sq_db *db, const struct sq_hooks *hooks, void *arg, struct error *err);

// ---- The schema. Exposed for its test: `steps` is what brings version i to i + 1.
int sq_schema_migrate(struct sq_conn *conn, const char *path, const char *const *steps, size_t count,
                      struct error *err);
int sq_schema_open(struct sq_conn *conn, const char *path, struct error *err); // with the steps of this version

// ---- The operations (their contracts: ports/meta.h).
int sq_tenant_add(struct meta_tx *tx, const char *name, struct error *err);
int sq_tenant_get(struct meta_tx *tx, struct arena *arena, const char *name, struct meta_tenant *out,
                  struct error *err);
int sq_tenant_list(struct meta_tx *tx, struct arena *arena, struct meta_tenant **out, size_t *count, struct error *err);
int sq_tenant_leave(struct meta_tx *tx, const char *name, int64_t now_ms, struct error *err);
int sq_tenant_remove(struct meta_tx *tx, const char *name, struct error *err);
int sq_ledger(struct meta_tx *tx, const char *tenant, struct meta_ledger *out, struct error *err);
#define SQ_MEDIA_COLUMNS                                                                                               \
    "tenant, id, kind, status, priority, file_name, content_type, format, hash, blob_key, thumb_key, uploaded_by,"     \
    " metadata, tags, options, event_id, size, width, height, uploaded_ms, updated_ms, completed_ms, error_code,"      \
    " error_message, auto_tags, alike_id, alike_score, parent, time_ms, video, progress"
// All rows of a statement that selects SQ_MEDIA_COLUMNS, in the arena.
int sq_media_rows(struct meta_tx *tx, struct arena *arena, sqlite3_stmt *stmt, struct media **out, size_t *count,
                  struct error *err);
int sq_media_insert(struct meta_tx *tx, const struct media *row, struct error *err);
int sq_media_get(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id, struct media *out,
                 struct error *err);
int sq_media_find_hash(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *hash, struct media *out,
                       struct error *err);
int sq_media_list(struct meta_tx *tx, struct arena *arena, const struct media_query *query, struct media **out,
                  size_t *count, struct error *err);
int sq_media_update(struct meta_tx *tx, const char *tenant, const char *id, const struct media_patch *patch,
                    struct error *err);
int sq_media_delete(struct meta_tx *tx, const char *tenant, const char *id, struct error *err);
int sq_media_duplicate(struct meta_tx *tx, const char *tenant, struct error *err);
int sq_frame_list(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *parent, int64_t after_ms,
                  size_t limit, struct media **out, size_t *count, struct error *err);
int sq_frame_waits(struct meta_tx *tx, const char *tenant, const char *parent, bool *out, struct error *err);
int sq_frame_count(struct meta_tx *tx, const char *tenant, const char *parent, struct meta_frames *out,
                   struct error *err);
int sq_alike_join(struct meta_tx *tx, const char *tenant, const char *model, const char *id, const char *other,
                  double score, struct error *err);
int sq_alike_leave(struct meta_tx *tx, const char *tenant, const char *model, const char *id, int64_t before_ms,
                   struct error *err);
int sq_alike_find(struct meta_tx *tx, const char *tenant, const char *model, const char *id, int64_t *group,
                  struct error *err);
int sq_alike_groups(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *model, int64_t before,
                    size_t limit, struct meta_alike **out, size_t *count, struct error *err);
int sq_alike_members(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *model, int64_t group,
                     size_t limit, struct meta_alike_item **out, size_t *count, size_t *total, struct error *err);
int sq_alike_drop(struct meta_tx *tx, const char *tenant, const char *model, size_t limit, size_t *dropped,
                  struct error *err);
// For media: takes an item out of all groups.
int sq_alike_forget(struct meta_tx *tx, const char *tenant, const char *id, struct error *err);
int sq_details_put(struct meta_tx *tx, const char *tenant, const char *id, const void *bytes, size_t len,
                   struct error *err);
int sq_details_get(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *const *ids, size_t count,
                   struct meta_details **out, struct error *err);
int sq_step_put(struct meta_tx *tx, const char *tenant, const char *id, const struct media_step *step,
                struct error *err);
int sq_step_list(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id, struct media_step **out,
                 size_t *count, struct error *err);
int sq_inbox_begin(struct meta_tx *tx, const char *consumer, const char *event_id, int attempt, enum inbox_state *state,
                   int *begun, struct error *err);
int sq_inbox_end(struct meta_tx *tx, const char *consumer, const char *event_id, int attempt, bool finished,
                 struct error *err);
int sq_inbox_release(struct meta_tx *tx, const char *consumer, const char *event_id, int attempt, struct error *err);
int sq_inbox_forget(struct meta_tx *tx, const char *consumer, const char *event_id, bool finished, struct error *err);
int sq_inbox_open(struct meta_tx *tx, uint64_t *out, struct error *err);
int sq_inbox_prune(struct meta_tx *tx, int64_t before_ms, struct error *err);
int sq_retry_put(struct meta_tx *tx, const struct meta_retry *retry, struct error *err);
int sq_retry_take(struct meta_tx *tx, struct arena *arena, int64_t now_ms, size_t limit, struct meta_retry **out,
                  size_t *count, struct error *err);
int sq_retry_next(struct meta_tx *tx, int64_t *not_before_ms, struct error *err);
int sq_retry_count(struct meta_tx *tx, uint64_t *out, struct error *err);
int sq_outbox_open(struct sq_writer *w, struct error *err); // before the writer's thread starts
int sq_outbox_put(struct meta_tx *tx, const struct meta_outbox *row, struct error *err);
int sq_outbox_read(struct meta_tx *tx, struct arena *arena, int64_t after, size_t limit, size_t max_bytes,
                   struct meta_outbox **out, size_t *count, struct error *err);
int sq_outbox_remove(struct meta_tx *tx, int64_t first, int64_t last, struct error *err);
int sq_outbox_depth(struct meta_tx *tx, uint64_t *out, struct error *err);
void sq_outbox_watch(void *state, void (*fn)(void *arg), void *arg);

// --- sqlite_change.c
int sq_change_open(struct sq_writer *w, struct error *err); // before the writer's thread starts
void sq_change_seen(void *writer, int operation, const char *name, const char *table, sqlite3_int64 row);
int sq_change_list(struct meta_tx *tx, struct arena *arena, int64_t after, size_t limit, struct meta_change **out,
                   size_t *count, struct error *err);
int sq_change_range(struct meta_tx *tx, int64_t *first, int64_t *last, struct error *err);
int sq_change_prune(struct meta_tx *tx, int64_t before_ms, int64_t up_to, size_t limit, struct error *err);
void sq_change_watch(void *state, void (*fn)(void *arg), void *arg);

// --- sqlite_webhook.c
int sq_webhook_put(struct meta_tx *tx, const struct meta_webhook *row, struct error *err);
int sq_webhook_list(struct meta_tx *tx, struct arena *arena, const char *tenant, struct meta_webhook **out,
                    size_t *count, struct error *err);
int sq_webhook_remove(struct meta_tx *tx, const char *tenant, const char *id, struct error *err);
int sq_delivery_put(struct meta_tx *tx, const struct meta_delivery *row, struct error *err);
int sq_delivery_again(struct meta_tx *tx, const char *tenant, const char *webhook, const char *id, int64_t now_ms,
                      struct error *err);
int sq_delivery_due(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *webhook, int64_t now_ms,
                    size_t limit, struct meta_delivery **out, size_t *count, struct error *err);
int sq_delivery_next(struct meta_tx *tx, const char *tenant, const char *webhook, int64_t *not_before_ms,
                     struct error *err);
int sq_delivery_settle(struct meta_tx *tx, const struct meta_delivery *row, struct error *err);
int sq_delivery_get(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *webhook, const char *id,
                    struct meta_delivery *out, struct error *err);
int sq_delivery_list(struct meta_tx *tx, struct arena *arena, const struct delivery_query *query,
                     struct meta_delivery **out, size_t *count, struct error *err);
int sq_delivery_waiting(struct meta_tx *tx, const char *tenant, const char *webhook, uint64_t *out, struct error *err);
int sq_delivery_prune(struct meta_tx *tx, int64_t before_ms, size_t limit, struct error *err);
int sq_receipt_put(struct meta_tx *tx, const struct meta_receipt *row, struct error *err);
int sq_receipt_open(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *item,
                    struct meta_receipt *out, struct error *err);
int sq_receipt_get(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id,
                   struct meta_receipt *out, struct error *err);
int sq_receipt_list(struct meta_tx *tx, struct arena *arena, const struct receipt_query *query,
                    struct meta_receipt **out, size_t *count, struct error *err);
int sq_run_put(struct meta_tx *tx, const struct meta_run *row, struct error *err);
int sq_run_get(struct meta_tx *tx, struct arena *arena, const char *id, struct meta_run *out, struct error *err);
int sq_run_open(struct meta_tx *tx, struct arena *arena, const char *task, struct meta_run *out, struct error *err);
int sq_run_list(struct meta_tx *tx, struct arena *arena, const struct run_query *query, struct meta_run **out,
                size_t *count, struct error *err);
int sq_run_prune(struct meta_tx *tx, int64_t before_ms, size_t limit, struct error *err);
int sq_tidy(void *state, bool dry_run, int64_t *piece, uint64_t *freed, struct error *err);
int sq_message_put(struct meta_tx *tx, const struct meta_message *row, struct error *err);
int sq_message_get(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id,
                   struct meta_message *out, struct error *err);
int sq_message_list(struct meta_tx *tx, struct arena *arena, const struct message_query *query,
                    struct meta_message **out, size_t *count, struct error *err);
int sq_workflow_put(struct meta_tx *tx, const struct meta_workflow *row, struct error *err);
int sq_workflow_list(struct meta_tx *tx, struct arena *arena, const char *tenant, struct meta_workflow **out,
                     size_t *count, struct error *err);
int sq_workflow_remove(struct meta_tx *tx, const char *tenant, const char *id, struct error *err);
int sq_reply_put(struct meta_tx *tx, const struct meta_reply *row, struct error *err);
int sq_reply_get(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id, struct meta_reply *out,
                 struct error *err);
int sq_reply_list(struct meta_tx *tx, struct arena *arena, const struct reply_query *query, struct meta_reply **out,
                  size_t *count, struct error *err);
int sq_reply_due(struct meta_tx *tx, const char *channel, int64_t now_ms, bool *out, struct error *err);
int sq_reply_claim(struct meta_tx *tx, struct arena *arena, const char *channel, int64_t now_ms, int64_t until_ms,
                   struct meta_reply *out, bool *found, struct error *err);
int sq_reply_lost(struct meta_tx *tx, int64_t before_ms, int64_t now_ms, const char *why, struct error *err);
int sq_reply_cancel(struct meta_tx *tx, const char *tenant, const char *sender, int64_t now_ms, const char *why,
                    struct error *err);
int sq_optout_put(struct meta_tx *tx, const char *tenant, const char *sender, int64_t at_ms, struct error *err);
int sq_optout_remove(struct meta_tx *tx, const char *tenant, const char *sender, struct error *err);
int sq_optout_get(struct meta_tx *tx, const char *tenant, const char *sender, int64_t *at_ms, struct error *err);
int sq_message_remove(struct meta_tx *tx, const char *tenant, const char *id, struct error *err);
int sq_erased_put(struct meta_tx *tx, const char *tenant, const char *hash, int64_t at_ms, struct error *err);
int sq_erased_get(struct meta_tx *tx, const char *tenant, const char *hash, bool *out, struct error *err);
int sq_reply_forget(struct meta_tx *tx, const char *tenant, const char *of, struct error *err);
int sq_message_waiting(struct meta_tx *tx, struct arena *arena, const char *tenant, int64_t *after, size_t limit,
                       struct meta_message **out, size_t *count, struct error *err);
int sq_setting_get(struct meta_tx *tx, struct arena *arena, const char *name, const char **value, struct error *err);
int sq_setting_put(struct meta_tx *tx, const char *name, const char *value, struct error *err);

#endif
