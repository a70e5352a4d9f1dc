// SPDX-License-Identifier: Apache-2.0
// Runs of maintenance. They are of no tenant: no wall.
#include "backends/meta/pg_int.h"

enum { LIST_MAX = 10000 };
#define RUN_COLUMNS "id, task, state, created_ms, ended_ms, owner, lease_ms, text"

int pg_run_put(struct meta_tx *tx, const struct meta_run *row, struct error *err)
{
    return pg_later(tx,
                    "INSERT INTO run (" RUN_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
                    " ON CONFLICT (id) DO UPDATE SET state = excluded.state, ended_ms = excluded.ended_ms,"
                    " owner = excluded.owner, lease_ms = excluded.lease_ms, text = excluded.text",
                    PG_ARGS(pg_text(row->id), pg_text(row->task), pg_int(row->state), pg_int(row->created_ms),
                            pg_int(row->ended_ms), pg_text(row->owner), pg_int(row->lease_ms), pg_text(row->text)),
                    err);
}

static struct meta_run *run_rows(struct arena *arena, const PGresult *found, size_t *count)
{
    int n = PQntuples(found);
    struct meta_run *rows = arena_alloc(arena, ((size_t)n + 1) * sizeof *rows);
    for (int i = 0; i < n; i++)
        rows[i] = (struct meta_run){.id = pg_col_text(arena, found, i, 0),
                                    .task = pg_col_text(arena, found, i, 1),
                                    .state = (enum run_state)pg_col_int(found, i, 2),
                                    .created_ms = pg_col_int(found, i, 3),
                                    .ended_ms = pg_col_int(found, i, 4),
                                    .owner = pg_col_text(arena, found, i, 5),
                                    .lease_ms = pg_col_int(found, i, 6),
                                    .text = pg_col_text(arena, found, i, 7)};
    *count = (size_t)n;
    return rows;
}

// The one row that a query of one text gives.
static int get_one(struct meta_tx *tx, struct arena *arena, const char *sql, const char *what, struct meta_run *out,
                   struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    size_t count;
    if (pg_query(tx, sql, PG_ARGS(pg_text(what)), &found, err) < 0)
        return -1;
    if (PQntuples(found) == 0)
        return error_set(err, ERR_NOT_FOUND, "There is no run %.80s", what);
    *out = run_rows(arena, found, &count)[0];
    return 0;
}

int pg_run_get(struct meta_tx *tx, struct arena *arena, const char *id, struct meta_run *out, struct error *err)
{
    return get_one(tx, arena, "SELECT " RUN_COLUMNS " FROM run WHERE id = $1", id, out, err);
}

int pg_run_open(struct meta_tx *tx, struct arena *arena, const char *task, struct meta_run *out, struct error *err)
{
    return get_one(tx, arena, "SELECT " RUN_COLUMNS " FROM run WHERE task = $1 AND ended_ms = 0", task, out, err);
}

int pg_run_list(struct meta_tx *tx, struct arena *arena, const struct run_query *query, struct meta_run **out,
                size_t *count, struct error *err)
{
    size_t limit = query->limit < LIST_MAX ? query->limit : LIST_MAX;
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_query(tx,
                 "SELECT " RUN_COLUMNS " FROM run WHERE (created_ms, id) < ($1, $2)"
                 " AND ($3::text IS NULL OR task = $3) ORDER BY created_ms DESC, id DESC LIMIT $4",
                 PG_ARGS(pg_int(query->before_ms ? query->before_ms : INT64_MAX),
                         pg_text(query->before_ms && query->before_id ? query->before_id : ""), pg_text(query->task),
                         pg_int((int64_t)limit)),
                 &found, err) < 0)
        return -1;
    *out = run_rows(arena, found, count);
    return 0;
}

int pg_run_prune(struct meta_tx *tx, int64_t before_ms, size_t limit, struct error *err)
{
    return pg_later(tx,
                    "DELETE FROM run WHERE id IN (SELECT id FROM run WHERE ended_ms > 0 AND ended_ms < $1"
                    " ORDER BY ended_ms LIMIT $2)",
                    PG_ARGS(pg_int(before_ms), pg_int((int64_t)limit)), err);
}
