// SPDX-License-Identifier: Apache-2.0
// Retries: events that wait for their time.
#include "backends/meta/sqlite_int.h"

enum { TAKE_MAX = 10000 };

int sq_retry_put(struct meta_tx *tx, const struct meta_retry *retry, struct error *err)
{
    return sq_exec(tx, "INSERT INTO retry (not_before_ms, topic, key, value) VALUES (?1, ?2, ?3, ?4)",
                   SQ_ARGS(sq_int(retry->not_before_ms), sq_text(retry->topic), sq_text(retry->key),
                           sq_blob(retry->value, retry->value_len)),
                   err);
}

static struct meta_retry retry_row(struct arena *arena, sqlite3_stmt *stmt)
{
    size_t len = (size_t)sqlite3_column_bytes(stmt, 4);
    return (struct meta_retry){.id = sq_col_int(stmt, 0),
                               .not_before_ms = sq_col_int(stmt, 1),
                               .topic = sq_col_text(arena, stmt, 2),
                               .key = sq_col_text(arena, stmt, 3),
                               .value = arena_memdup(arena, sqlite3_column_blob(stmt, 4), len),
                               .value_len = len};
}

static int find_due(struct meta_tx *tx, struct arena *arena, int64_t now_ms, size_t limit, struct meta_retry *rows,
                    size_t *count, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx,
                 "SELECT id, not_before_ms, topic, key, value FROM retry WHERE not_before_ms <= ?1"
                 " ORDER BY not_before_ms, id LIMIT ?2",
                 SQ_ARGS(sq_int(now_ms), sq_int((int64_t)limit)), &stmt, err) < 0)
        return -1;
    int rc;
    while ((rc = sq_next(tx, stmt, err)) > 0)
        rows[(*count)++] = retry_row(arena, stmt);
    return rc;
}

int sq_retry_take(struct meta_tx *tx, struct arena *arena, int64_t now_ms, size_t limit, struct meta_retry **out,
                  size_t *count, struct error *err)
{
    limit = limit < TAKE_MAX ? limit : TAKE_MAX;
    struct meta_retry *rows = arena_alloc(arena, limit * sizeof *rows);
    size_t n = 0;
    if (find_due(tx, arena, now_ms, limit, rows, &n, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (sq_exec(tx, "DELETE FROM retry WHERE id = ?1", SQ_ARGS(sq_int(rows[i].id)), err) < 0)
            return -1;
    *out = rows;
    *count = n;
    return 0;
}

int sq_retry_next(struct meta_tx *tx, int64_t *not_before_ms, struct error *err)
{
    return sq_number(tx, "SELECT min(not_before_ms) FROM retry", INT64_MAX, not_before_ms, err);
}

int sq_retry_count(struct meta_tx *tx, uint64_t *out, struct error *err)
{
    int64_t count = 0;
    if (sq_number(tx, "SELECT count(*) FROM retry", 0, &count, err) < 0)
        return -1;
    *out = (uint64_t)count;
    return 0;
}
