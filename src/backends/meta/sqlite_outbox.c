// SPDX-License-Identifier: Apache-2.0
// The outbox: rows that are appended, read in order, and removed from the front. Only the writer gives ids, one after
// the other, so that the order of ids is that of commits. It remembers the last one from the time the store was opened,
// since a table that was emptied does not, and whoever reads may have gone on behind it.
#include "backends/meta/sqlite_int.h"

enum { READ_MAX = 10000 };

int sq_outbox_open(struct sq_writer *w, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_conn_query(&w->conn, "SELECT ifnull(max(id), 0) FROM outbox", SQ_NO_ARGS, &stmt, err) < 0 ||
        sq_conn_next(&w->conn, stmt, err) < 0)
        return -1;
    w->outbox_last = sq_col_int(stmt, 0);
    return 0;
}

int sq_outbox_put(struct meta_tx *tx, const struct meta_outbox *row, struct error *err)
{
    struct sq_writer *w = &sq_tx(tx)->db->writer;
    if (!sq_tx(tx)->writable)
        return error_set(err, ERR_INTERNAL, "A transaction that only reads cannot put into the outbox");
    w->outbox_put = true;
    return sq_exec(tx,
                   "INSERT INTO outbox (id, timestamp_ms, topic, key, headers, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                   SQ_ARGS(sq_int(++w->outbox_last), sq_int(row->timestamp_ms), sq_text(row->topic), sq_text(row->key),
                           sq_blob(row->headers, row->headers_len), sq_blob(row->value, row->value_len)),
                   err);
}

static struct meta_outbox outbox_row(struct arena *arena, sqlite3_stmt *stmt)
{
    size_t headers = (size_t)sqlite3_column_bytes(stmt, 4), value = (size_t)sqlite3_column_bytes(stmt, 5);
    return (struct meta_outbox){.id = sq_col_int(stmt, 0),
                                .timestamp_ms = sq_col_int(stmt, 1),
                                .topic = sq_col_text(arena, stmt, 2),
                                .key = sq_col_text(arena, stmt, 3),
                                .headers = arena_memdup(arena, sqlite3_column_blob(stmt, 4), headers),
                                .headers_len = headers,
                                .value = arena_memdup(arena, sqlite3_column_blob(stmt, 5), value),
                                .value_len = value};
}

int sq_outbox_read(struct meta_tx *tx, struct arena *arena, int64_t after, size_t limit, size_t max_bytes,
                   struct meta_outbox **out, size_t *count, struct error *err)
{
    limit = limit < READ_MAX ? limit : READ_MAX;
    struct meta_outbox *rows = arena_alloc(arena, (limit + 1) * sizeof *rows);
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx,
                 "SELECT id, timestamp_ms, topic, key, headers, value FROM outbox WHERE id > ?1 ORDER BY id LIMIT ?2",
                 SQ_ARGS(sq_int(after), sq_int((int64_t)limit)), &stmt, err) < 0)
        return -1;
    size_t n = 0, bytes = 0;
    int rc = 0;
    while ((!n || bytes < max_bytes) && (rc = sq_next(tx, stmt, err)) > 0) {
        size_t more = (size_t)sqlite3_column_bytes(stmt, 5);
        if (n && bytes + more > max_bytes)
            break;
        rows[n++] = outbox_row(arena, stmt);
        bytes += more;
    }
    if (rc < 0)
        return -1;
    *out = rows;
    *count = n;
    return 0;
}

int sq_outbox_remove(struct meta_tx *tx, int64_t first, int64_t last, struct error *err)
{
    return sq_exec(tx, "DELETE FROM outbox WHERE id >= ?1 AND id <= ?2", SQ_ARGS(sq_int(first), sq_int(last)), err);
}

int sq_outbox_depth(struct meta_tx *tx, uint64_t *out, struct error *err)
{
    int64_t depth = 0;
    if (sq_number(tx, "SELECT (SELECT max(id) FROM outbox) - (SELECT min(id) FROM outbox) + 1", 0, &depth, err) < 0)
        return -1;
    *out = (uint64_t)depth;
    return 0;
}

void sq_outbox_watch(void *state, void (*fn)(void *arg), void *arg)
{
    struct sq_db *db = state;
    sq_watch(db, &db->writer.outbox_watch, fn, arg);
}
