// SPDX-License-Identifier: Apache-2.0
// The outbox: rows that are appended, read in order, and removed from the front. What a group puts is kept in memory
// until it commits (pg_writer.c): ids are given then, in the order of commits. They come from a sequence, which a table
// that was emptied does not set back, nor a restart: whoever read goes on behind what it read. They may have gaps.
#include "backends/meta/pg_int.h"

enum { READ_MAX = 10000 };

int pg_outbox_put(struct meta_tx *tx, const struct meta_outbox *row, struct error *err)
{
    struct pg_outbox *o = &pg_tx(tx)->db->writer.outbox;
    if (!pg_tx(tx)->writable)
        return error_set(err, ERR_INTERNAL, "A transaction that only reads cannot put into the outbox");
    pg_tx(tx)->wrote = true;
    if (o->count == o->room) {
        size_t room = o->room ? o->room * 2 : 16;
        struct meta_outbox *rows = arena_alloc(&o->arena, room * sizeof *rows);
        for (size_t i = 0; i < o->count; i++)
            rows[i] = o->rows[i];
        o->rows = rows;
        o->room = room;
    }
    o->rows[o->count++] = (struct meta_outbox){.timestamp_ms = row->timestamp_ms,
                                               .topic = arena_strdup(&o->arena, row->topic),
                                               .key = arena_strdup(&o->arena, row->key),
                                               .headers = arena_memdup(&o->arena, row->headers, row->headers_len),
                                               .headers_len = row->headers_len,
                                               .value = arena_memdup(&o->arena, row->value, row->value_len),
                                               .value_len = row->value_len};
    return 0;
}

// Not waited for: it goes with the commit.
int pg_outbox_insert(struct pg_writer *w, struct error *err)
{
    const struct pg_outbox *o = &w->outbox;
    if (o->count && pg_conn_send(&w->conn, "SELECT " PG_ORDER_LOCK, PG_NO_ARGS, NULL, err) < 0)
        return -1;
    for (size_t i = 0; i < o->count; i++) {
        const struct meta_outbox *row = &o->rows[i];
        if (pg_conn_send(&w->conn,
                         "INSERT INTO outbox (timestamp_ms, topic, key, headers, value) VALUES ($1, $2, $3, $4, $5)",
                         PG_ARGS(pg_int(row->timestamp_ms), pg_text(row->topic), pg_text(row->key),
                                 pg_bytes(row->headers, row->headers_len), pg_bytes(row->value, row->value_len)),
                         NULL, err) < 0)
            return -1;
    }
    return 0;
}

static struct meta_outbox outbox_row(struct arena *arena, const PGresult *rows, int i)
{
    struct meta_outbox row = {.id = pg_col_int(rows, i, 0),
                              .timestamp_ms = pg_col_int(rows, i, 1),
                              .topic = pg_col_text(arena, rows, i, 2),
                              .key = pg_col_text(arena, rows, i, 3)};
    row.headers = pg_col_bytes(arena, rows, i, 4, &row.headers_len);
    row.value = pg_col_bytes(arena, rows, i, 5, &row.value_len);
    return row;
}

// The server counts the bytes, so that it sends no more than is taken.
int pg_outbox_read(struct meta_tx *tx, struct arena *arena, int64_t after, size_t limit, size_t max_bytes,
                   struct meta_outbox **out, size_t *count, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    limit = limit < READ_MAX ? limit : READ_MAX;
    int64_t most = max_bytes < INT64_MAX ? (int64_t)max_bytes : INT64_MAX;
    if (pg_query(tx,
                 "SELECT id, timestamp_ms, topic, key, headers, value FROM (SELECT *,"
                 " sum(octet_length(value)) OVER (ORDER BY id) AS bytes, row_number() OVER (ORDER BY id) AS place"
                 " FROM (SELECT * FROM outbox WHERE id > $1 ORDER BY id LIMIT $2) AS these) AS counted"
                 " WHERE place = 1 OR bytes <= $3 ORDER BY id",
                 PG_ARGS(pg_int(after), pg_int((int64_t)limit), pg_int(most)), &found, err) < 0)
        return -1;
    size_t n = (size_t)PQntuples(found);
    struct meta_outbox *rows = arena_alloc(arena, (n + 1) * sizeof *rows);
    for (size_t i = 0; i < n; i++)
        rows[i] = outbox_row(arena, found, (int)i);
    *out = rows;
    *count = n;
    return 0;
}

int pg_outbox_remove(struct meta_tx *tx, int64_t first, int64_t last, struct error *err)
{
    return pg_later(tx, "DELETE FROM outbox WHERE id >= $1 AND id <= $2", PG_ARGS(pg_int(first), pg_int(last)), err);
}

int pg_outbox_depth(struct meta_tx *tx, uint64_t *out, struct error *err)
{
    int64_t depth;
    if (pg_number(tx, "SELECT (SELECT max(id) FROM outbox) - (SELECT min(id) FROM outbox) + 1", 0, &depth, err) < 0)
        return -1;
    *out = (uint64_t)depth;
    return 0;
}

void pg_outbox_watch(void *state, void (*fn)(void *arg), void *arg)
{
    struct pg_db *db = state;
    pg_watch_set(db, &db->writer.outbox_watch, fn, arg);
}
