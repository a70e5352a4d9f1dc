// SPDX-License-Identifier: Apache-2.0
// Retries: events that wait for their time. Whoever takes them passes by what another one is taking.
#include "backends/meta/pg_int.h"

enum { TAKE_MAX = 10000 };

int pg_retry_put(struct meta_tx *tx, const struct meta_retry *retry, struct error *err)
{
    return pg_later(tx, "INSERT INTO retry (not_before_ms, topic, key, value) VALUES ($1, $2, $3, $4)",
                    PG_ARGS(pg_int(retry->not_before_ms), pg_text(retry->topic), pg_text(retry->key),
                            pg_bytes(retry->value, retry->value_len)),
                    err);
}

static struct meta_retry retry_row(struct arena *arena, const PGresult *rows, int i)
{
    struct meta_retry retry = {.id = pg_col_int(rows, i, 0),
                               .not_before_ms = pg_col_int(rows, i, 1),
                               .topic = pg_col_text(arena, rows, i, 2),
                               .key = pg_col_text(arena, rows, i, 3)};
    retry.value = pg_col_bytes(arena, rows, i, 4, &retry.value_len);
    return retry;
}

int pg_retry_take(struct meta_tx *tx, struct arena *arena, int64_t now_ms, size_t limit, struct meta_retry **out,
                  size_t *count, struct error *err)
{
    _cleanup_pg_result_ PGresult *taken = NULL;
    limit = limit < TAKE_MAX ? limit : TAKE_MAX;
    if (pg_write_query(tx,
                       "WITH due AS (SELECT id FROM retry WHERE not_before_ms <= $1 ORDER BY not_before_ms, id LIMIT $2"
                       " FOR UPDATE SKIP LOCKED), taken AS (DELETE FROM retry r USING due WHERE r.id = due.id"
                       " RETURNING r.id, r.not_before_ms, r.topic, r.key, r.value)"
                       " SELECT * FROM taken ORDER BY not_before_ms, id",
                       PG_ARGS(pg_int(now_ms), pg_int((int64_t)limit)), &taken, err) < 0)
        return -1;
    size_t n = (size_t)PQntuples(taken);
    struct meta_retry *rows = arena_alloc(arena, (n + 1) * sizeof *rows);
    for (size_t i = 0; i < n; i++)
        rows[i] = retry_row(arena, taken, (int)i);
    *out = rows;
    *count = n;
    return 0;
}

int pg_retry_next(struct meta_tx *tx, int64_t *not_before_ms, struct error *err)
{
    return pg_number(tx, "SELECT min(not_before_ms) FROM retry", INT64_MAX, not_before_ms, err);
}

int pg_retry_count(struct meta_tx *tx, uint64_t *out, struct error *err)
{
    int64_t count;
    if (pg_number(tx, "SELECT count(*) FROM retry", 0, &count, err) < 0)
        return -1;
    *out = (uint64_t)count;
    return 0;
}
