// SPDX-License-Identifier: Apache-2.0
// What the files of the PostgreSQL store share.
//
// pg.c          the design; open, close, read transactions and their pool, the table of operations
// pg_conf.c     the location
// pg_conn.c     a connection: its pipeline, its statements, its errors
// pg_schema.c   the schema and its migrations
// pg_writer.c   the thread that writes: group commit, durability, trying again
// pg_group.c    what the writer does with a group of transactions
// pg_media.c, pg_frame.c, pg_alike.c, pg_step.c, pg_tenant.c, pg_inbox.c, pg_retry.c, pg_outbox.c, pg_change.c,
// pg_webhook.c, pg_receipt.c, pg_message.c, pg_workflow.c, pg_run.c, pg_reply.c   the operations
#ifndef DEEPLENS_BACKENDS_META_PG_INT_H
#define DEEPLENS_BACKENDS_META_PG_INT_H

#include <libpq-fe.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "backends/meta/jobs.h"
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/id.h"
#include "ports/meta.h"

#define PG_TX_MAGIC UINT32_C(0x50675478)

enum {
    PG_STATEMENTS_MAX = 256,
    PG_ARGS_MAX = 32,
    PG_PENDING_MAX = 512,
    PG_POOL_MAX = 64,
    PG_SCHEMA_MAX = 63,
    PG_WALL_MAX = 128
};

// ---- The location.

struct pg_config {
    char *conninfo;
    char schema[PG_SCHEMA_MAX + 1]; // [a-z_][a-z0-9_]*
    int64_t pool, timeout_ms;
    bool exclusive;
};

int pg_config_read(const char *location, struct pg_config *out, struct error *err); // freed also on failure
void pg_config_free(struct pg_config *config);

// ---- Connections. One thread at a time uses one. It is made when it is needed.

// What became of a transaction's last trouble, for who may try again.
enum pg_trouble {
    PG_WELL,
    PG_REFUSED,  // the server answered with an error: the transaction is to be rolled back
    PG_CONFLICT, // … because of another transaction: the same may succeed when run again
    PG_LOST,     // the connection is gone, and what was under way on it with it
};

enum pg_readiness { PG_UNKNOWN, PG_SENT, PG_READY };

struct pg_statement {
    const char *sql; // the key is the address of the text: statements are literals
    enum pg_readiness readiness;
};

struct pg_pending {                // a command whose answer was not read yet
    struct pg_statement *prepares; // NULL: it is no preparation
    PGresult **keep;               // where its answer goes; NULL: it is only looked at
    bool must;                     // change a row
};

struct pg_conn {
    PGconn *pg; // NULL: not connected
    bool fresh; // it was made since who cares looked
    const struct pg_config *config;
    struct pg_down *down;                              // of the store
    struct pg_statement statements[PG_STATEMENTS_MAX]; // a hash table
    size_t statement_count;
    struct pg_pending pending[PG_PENDING_MAX]; // in the order in which they were sent
    size_t pending_count;
    bool synced;             // the last of them was followed by a sync
    bool guessed;            // a command was sent that must change a row, and its answer was not read
    bool vain;               // … and one of those that were looked at did not
    char wall[PG_WALL_MAX];  // the tenant whose rows the transaction sees; "": none
    int64_t patience_ms;     // how long an answer may take
    enum pg_trouble trouble; // of the transaction under way: the first
    struct error why;        // and its error
};

// What all connections of a store know of the server being away.
struct pg_down {
    pthread_mutex_t lock;
    int64_t until_us; // under lock: so long nobody tries to connect
    struct error why; // under lock
};

void pg_conn_init(struct pg_conn *conn, const struct pg_config *config, struct pg_down *down);
// Connects when it is not; reads what the last use of it left. Clears the trouble.
int pg_conn_ready(struct pg_conn *conn, struct error *err);
void pg_conn_drop(struct pg_conn *conn); // the connection, not the memory; takes one that never was

// A value to bind, borrowed for the call.
struct pg_arg {
    enum { PG_INT, PG_REAL, PG_TEXT, PG_BYTES } kind;
    int64_t number; // PG_BYTES: their count; PG_REAL: its bits
    const void *data;
};

static inline struct pg_arg pg_int(int64_t number)
{
    return (struct pg_arg){.kind = PG_INT, .number = number};
}
static inline struct pg_arg pg_real(double real)
{
    struct pg_arg arg = {.kind = PG_REAL};
    _Static_assert(sizeof arg.number == sizeof real, "a double's bits");
    memcpy(&arg.number, &real, sizeof real);
    return arg;
}
static inline struct pg_arg pg_text(const char *text) // NULL binds NULL
{
    return (struct pg_arg){.kind = PG_TEXT, .data = text};
}
static inline struct pg_arg pg_bytes(const void *data, size_t len)
{
    return (struct pg_arg){.kind = PG_BYTES, .number = (int64_t)len, .data = len ? data : ""};
}

#define PG_ARGS(...) (const struct pg_arg[]){__VA_ARGS__}, ARRAY_LEN(((const struct pg_arg[]){__VA_ARGS__}))
#define PG_NO_ARGS NULL, 0

static inline void cleanup_pg_result(PGresult **result)
{
    PQclear(*result); // takes NULL
}
#define _cleanup_pg_result_ _cleanup_(cleanup_pg_result)

// Sends the statement of the literal `sql` without waiting; its answer is read with the next that is waited for, and
// kept in `keep` (may be NULL).
int pg_conn_send(struct pg_conn *conn, const char *sql, const struct pg_arg *args, size_t count, PGresult **keep,
                 struct error *err);
// The same of one that must change a row: whether it did shows when its answer is read (`vain`).
int pg_conn_send_must(struct pg_conn *conn, const char *sql, const struct pg_arg *args, size_t count,
                      struct error *err);
// Sends it and waits for its answer and all before it.
int pg_conn_query(struct pg_conn *conn, const char *sql, const struct pg_arg *args, size_t count, PGresult **out,
                  struct error *err);
// Waits for the answers to all that was sent.
int pg_conn_collect(struct pg_conn *conn, struct error *err);
// Sends what waits, and leaves the answers to the next use of the connection.
void pg_conn_leave(struct pg_conn *conn);
// Runs a text of several statements that take nothing, outside of the pipeline.
int pg_conn_script(struct pg_conn *conn, const char *sql, struct error *err);

// Columns of a row: text lives in the arena, NULL stays NULL.
const char *pg_col_text(struct arena *arena, const PGresult *result, int row, int column);
int64_t pg_col_int(const PGresult *result, int row, int column); // 0 for NULL
double pg_col_real(const PGresult *result, int row, int column); // 0 for NULL
const void *pg_col_bytes(struct arena *arena, const PGresult *result, int row, int column, size_t *len);

// ---- Transactions: what `struct meta_tx *` points to.

struct pg_db;

struct pg_tx {
    uint32_t magic;
    bool writable;
    bool careful; // every answer is looked at before its function goes on
    bool wrote;   // something was sent that writes
    bool later;   // answers to pg_later were not read yet
    struct pg_conn *conn;
    struct pg_db *db;
};

struct pg_tx *pg_tx(struct meta_tx *tx); // checks the magic number

// What follows sees the rows of this tenant alone, by the policies of the tables; PG_ALL: of all.
#define PG_ALL "*"
int pg_wall(struct meta_tx *tx, const char *tenant, struct error *err);

// Runs a statement and waits for its rows.
int pg_query(struct meta_tx *tx, const char *sql, const struct pg_arg *args, size_t count, PGresult **out,
             struct error *err);
// The same, of one that writes.
int pg_write_query(struct meta_tx *tx, const char *sql, const struct pg_arg *args, size_t count, PGresult **out,
                   struct error *err);
// The same of one that changes a row, unless something is wrong; whether it did. Where it is not looked at, it is taken
// to be well: if not, the functions run again, and it is looked at (pg_group.c).
int pg_change(struct meta_tx *tx, const char *sql, const struct pg_arg *args, size_t count, bool *changed,
              struct error *err);
// Runs a statement whose answer nobody needs: what goes wrong is found by the next one, or at the function's end.
int pg_later(struct meta_tx *tx, const char *sql, const struct pg_arg *args, size_t count, struct error *err);
// The number in the first column of the first row; `otherwise` when that is NULL.
int pg_number(struct meta_tx *tx, const char *sql, int64_t otherwise, int64_t *out, struct error *err);

// ---- The writer.

struct pg_outbox { // what the group under way puts out, inserted at its end
    struct arena arena;
    struct meta_outbox *rows;
    size_t count, room;
};

struct pg_watch { // who is told of a commit
    void (*fn)(void *arg);
    void *arg;
};

struct pg_writer {
    struct pg_conn conn; // the thread's own, as all that follows
    struct pg_outbox outbox;
    bool changed; // the state of an item, by the group under way
    int64_t last_commit_us;
    unsigned seed;
    char id[ID_MAX]; // of its row in the table `writer`
    int64_t number;  // of the last group that was tried
    int64_t told;    // … that was done
    bool landed;     // the last group that was tried is in the database; said when the connection is made
    struct pg_watch outbox_watch, change_watch;
};

int pg_writer_start(struct pg_db *db, struct error *err);
void pg_watch_set(struct pg_db *db, struct pg_watch *watch, void (*fn)(void *arg), void *arg); // one of the writer's
// The connection, and on a new one the right to write and the writer's row.
int pg_writer_ready(struct pg_db *db, struct error *err);
void pg_writer_leave(struct pg_db *db); // removes the row

enum pg_outcome {
    PG_DONE,    // each job knows what became of it
    PG_AGAIN,   // nothing of it happened, and it may be run again
    PG_CAREFUL, // … and is to be, carefully
    PG_ASK,     // the connection broke while it was committed
    PG_FAILED,  // nothing of it happened
};

// Runs a group in one transaction; `alone`: no other process' beside it.
enum pg_outcome pg_group_run(struct pg_db *db, struct meta_job *jobs, bool alone, bool careful, struct error *err);

// ---- The store.

struct pg_db {
    struct pg_config config;
    struct pg_down down;
    struct meta_jobs jobs;
    struct pg_writer writer;

    pthread_mutex_t readers_lock; // guards `idle`
    pthread_cond_t reader_idle;
    struct pg_conn *readers; // config.pool - 1
    struct pg_conn *idle[PG_POOL_MAX];
    size_t idle_count;
};

// ---- The schema. Exposed for its test: `steps` is what brings version i to i + 1.
int pg_schema_migrate(struct pg_conn *conn, const char *const *steps, size_t count, struct error *err);
int pg_schema_open(struct pg_conn *conn, struct error *err); // with the steps of this version

// Whoever gives numbers that must come in the order of commits holds this lock up to the end of his transaction.
#define PG_ORDER_LOCK "pg_advisory_xact_lock(1148223352, 'outbox'::regclass::oid::int)"

// ---- The operations (their contracts: ports/meta.h).
int pg_tenant_add(struct meta_tx *tx, const char *name, struct error *err);
int pg_tenant_get(struct meta_tx *tx, struct arena *arena, const char *name, struct meta_tenant *out,
                  struct error *err);
int pg_tenant_list(struct meta_tx *tx, struct arena *arena, struct meta_tenant **out, size_t *count, struct error *err);
int pg_tenant_leave(struct meta_tx *tx, const char *name, int64_t now_ms, struct error *err);
int pg_tenant_remove(struct meta_tx *tx, const char *name, struct error *err);
int pg_ledger(struct meta_tx *tx, const char *tenant, struct meta_ledger *out, struct error *err);
#define PG_MEDIA_COLUMNS                                                                                               \
    "tenant, id, kind, status, priority, file_name, content_type, format, hash, blob_key, thumb_key, uploaded_by,"     \
    " metadata, tags, options, event_id, size, width, height, uploaded_ms, updated_ms, completed_ms, error_code,"      \
    " error_message, auto_tags, alike_id, alike_score, parent, time_ms, video, progress"
int pg_media_insert(struct meta_tx *tx, const struct media *row, struct error *err);
int pg_media_get(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id, struct media *out,
                 struct error *err);
int pg_media_find_hash(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *hash, struct media *out,
                       struct error *err);
int pg_media_list(struct meta_tx *tx, struct arena *arena, const struct media_query *query, struct media **out,
                  size_t *count, struct error *err);
int pg_media_update(struct meta_tx *tx, const char *tenant, const char *id, const struct media_patch *patch,
                    struct error *err);
int pg_media_delete(struct meta_tx *tx, const char *tenant, const char *id, struct error *err);
int pg_media_duplicate(struct meta_tx *tx, const char *tenant, struct error *err);
struct media *pg_media_rows(struct arena *arena, const PGresult *rows, size_t *count); // of PG_MEDIA_COLUMNS
int pg_frame_list(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *parent, int64_t after_ms,
                  size_t limit, struct media **out, size_t *count, struct error *err);
int pg_frame_waits(struct meta_tx *tx, const char *tenant, const char *parent, bool *out, struct error *err);
int pg_frame_count(struct meta_tx *tx, const char *tenant, const char *parent, struct meta_frames *out,
                   struct error *err);
int pg_alike_join(struct meta_tx *tx, const char *tenant, const char *model, const char *id, const char *other,
                  double score, struct error *err);
int pg_alike_leave(struct meta_tx *tx, const char *tenant, const char *model, const char *id, int64_t before_ms,
                   struct error *err);
int pg_alike_find(struct meta_tx *tx, const char *tenant, const char *model, const char *id, int64_t *group,
                  struct error *err);
int pg_alike_groups(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *model, int64_t before,
                    size_t limit, struct meta_alike **out, size_t *count, struct error *err);
int pg_alike_members(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *model, int64_t group,
                     size_t limit, struct meta_alike_item **out, size_t *count, size_t *total, struct error *err);
int pg_alike_drop(struct meta_tx *tx, const char *tenant, const char *model, size_t limit, size_t *dropped,
                  struct error *err);
int pg_details_put(struct meta_tx *tx, const char *tenant, const char *id, const void *bytes, size_t len,
                   struct error *err);
int pg_details_get(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *const *ids, size_t count,
                   struct meta_details **out, struct error *err);
int pg_step_put(struct meta_tx *tx, const char *tenant, const char *id, const struct media_step *step,
                struct error *err);
int pg_step_list(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id, struct media_step **out,
                 size_t *count, struct error *err);
int pg_inbox_begin(struct meta_tx *tx, const char *consumer, const char *event_id, int attempt, enum inbox_state *state,
                   int *begun, struct error *err);
int pg_inbox_end(struct meta_tx *tx, const char *consumer, const char *event_id, int attempt, bool finished,
                 struct error *err);
int pg_inbox_release(struct meta_tx *tx, const char *consumer, const char *event_id, int attempt, struct error *err);
int pg_inbox_forget(struct meta_tx *tx, const char *consumer, const char *event_id, bool finished, struct error *err);
int pg_inbox_open(struct meta_tx *tx, uint64_t *out, struct error *err);
int pg_inbox_prune(struct meta_tx *tx, int64_t before_ms, struct error *err);
int pg_retry_put(struct meta_tx *tx, const struct meta_retry *retry, struct error *err);
int pg_retry_take(struct meta_tx *tx, struct arena *arena, int64_t now_ms, size_t limit, struct meta_retry **out,
                  size_t *count, struct error *err);
int pg_retry_next(struct meta_tx *tx, int64_t *not_before_ms, struct error *err);
int pg_retry_count(struct meta_tx *tx, uint64_t *out, struct error *err);
int pg_outbox_put(struct meta_tx *tx, const struct meta_outbox *row, struct error *err);
int pg_outbox_insert(struct pg_writer *w, struct error *err); // what was put, at the end of a group
int pg_outbox_read(struct meta_tx *tx, struct arena *arena, int64_t after, size_t limit, size_t max_bytes,
                   struct meta_outbox **out, size_t *count, struct error *err);
int pg_outbox_remove(struct meta_tx *tx, int64_t first, int64_t last, struct error *err);
int pg_outbox_depth(struct meta_tx *tx, uint64_t *out, struct error *err);
void pg_outbox_watch(void *state, void (*fn)(void *arg), void *arg);
int pg_change_list(struct meta_tx *tx, struct arena *arena, int64_t after, size_t limit, struct meta_change **out,
                   size_t *count, struct error *err);
int pg_change_range(struct meta_tx *tx, int64_t *first, int64_t *last, struct error *err);
int pg_change_prune(struct meta_tx *tx, int64_t before_ms, int64_t up_to, size_t limit, struct error *err);
void pg_change_watch(void *state, void (*fn)(void *arg), void *arg);
int pg_webhook_put(struct meta_tx *tx, const struct meta_webhook *row, struct error *err);
int pg_webhook_list(struct meta_tx *tx, struct arena *arena, const char *tenant, struct meta_webhook **out,
                    size_t *count, struct error *err);
int pg_webhook_remove(struct meta_tx *tx, const char *tenant, const char *id, struct error *err);
int pg_delivery_put(struct meta_tx *tx, const struct meta_delivery *row, struct error *err);
int pg_delivery_again(struct meta_tx *tx, const char *tenant, const char *webhook, const char *id, int64_t now_ms,
                      struct error *err);
int pg_delivery_due(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *webhook, int64_t now_ms,
                    size_t limit, struct meta_delivery **out, size_t *count, struct error *err);
int pg_delivery_next(struct meta_tx *tx, const char *tenant, const char *webhook, int64_t *not_before_ms,
                     struct error *err);
int pg_delivery_settle(struct meta_tx *tx, const struct meta_delivery *row, struct error *err);
int pg_delivery_get(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *webhook, const char *id,
                    struct meta_delivery *out, struct error *err);
int pg_delivery_list(struct meta_tx *tx, struct arena *arena, const struct delivery_query *query,
                     struct meta_delivery **out, size_t *count, struct error *err);
int pg_delivery_waiting(struct meta_tx *tx, const char *tenant, const char *webhook, uint64_t *out, struct error *err);
int pg_delivery_prune(struct meta_tx *tx, int64_t before_ms, size_t limit, struct error *err);
int pg_receipt_put(struct meta_tx *tx, const struct meta_receipt *row, struct error *err);
int pg_receipt_open(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *item,
                    struct meta_receipt *out, struct error *err);
int pg_receipt_get(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id,
                   struct meta_receipt *out, struct error *err);
int pg_receipt_list(struct meta_tx *tx, struct arena *arena, const struct receipt_query *query,
                    struct meta_receipt **out, size_t *count, struct error *err);
int pg_run_put(struct meta_tx *tx, const struct meta_run *row, struct error *err);
int pg_run_get(struct meta_tx *tx, struct arena *arena, const char *id, struct meta_run *out, struct error *err);
int pg_run_open(struct meta_tx *tx, struct arena *arena, const char *task, struct meta_run *out, struct error *err);
int pg_run_list(struct meta_tx *tx, struct arena *arena, const struct run_query *query, struct meta_run **out,
                size_t *count, struct error *err);
int pg_run_prune(struct meta_tx *tx, int64_t before_ms, size_t limit, struct error *err);
int pg_tidy(void *state, bool dry_run, int64_t *piece, uint64_t *freed, struct error *err);
int pg_message_put(struct meta_tx *tx, const struct meta_message *row, struct error *err);
int pg_message_get(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id,
                   struct meta_message *out, struct error *err);
int pg_message_list(struct meta_tx *tx, struct arena *arena, const struct message_query *query,
                    struct meta_message **out, size_t *count, struct error *err);
int pg_workflow_put(struct meta_tx *tx, const struct meta_workflow *row, struct error *err);
int pg_workflow_list(struct meta_tx *tx, struct arena *arena, const char *tenant, struct meta_workflow **out,
                     size_t *count, struct error *err);
int pg_workflow_remove(struct meta_tx *tx, const char *tenant, const char *id, struct error *err);
int pg_reply_put(struct meta_tx *tx, const struct meta_reply *row, struct error *err);
int pg_reply_get(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id, struct meta_reply *out,
                 struct error *err);
int pg_reply_list(struct meta_tx *tx, struct arena *arena, const struct reply_query *query, struct meta_reply **out,
                  size_t *count, struct error *err);
int pg_reply_due(struct meta_tx *tx, const char *channel, int64_t now_ms, bool *out, struct error *err);
int pg_reply_claim(struct meta_tx *tx, struct arena *arena, const char *channel, int64_t now_ms, int64_t until_ms,
                   struct meta_reply *out, bool *found, struct error *err);
int pg_reply_lost(struct meta_tx *tx, int64_t before_ms, int64_t now_ms, const char *why, struct error *err);
int pg_reply_cancel(struct meta_tx *tx, const char *tenant, const char *sender, int64_t now_ms, const char *why,
                    struct error *err);
int pg_optout_put(struct meta_tx *tx, const char *tenant, const char *sender, int64_t at_ms, struct error *err);
int pg_optout_remove(struct meta_tx *tx, const char *tenant, const char *sender, struct error *err);
int pg_optout_get(struct meta_tx *tx, const char *tenant, const char *sender, int64_t *at_ms, struct error *err);
int pg_message_remove(struct meta_tx *tx, const char *tenant, const char *id, struct error *err);
int pg_erased_put(struct meta_tx *tx, const char *tenant, const char *hash, int64_t at_ms, struct error *err);
int pg_erased_get(struct meta_tx *tx, const char *tenant, const char *hash, bool *out, struct error *err);
int pg_reply_forget(struct meta_tx *tx, const char *tenant, const char *of, struct error *err);
int pg_message_waiting(struct meta_tx *tx, struct arena *arena, const char *tenant, int64_t *after, size_t limit,
                       struct meta_message **out, size_t *count, struct error *err);
int pg_setting_get(struct meta_tx *tx, struct arena *arena, const char *name, const char **value, struct error *err);
int pg_setting_put(struct meta_tx *tx, const char *name, const char *value, struct error *err);

#endif
