// SPDX-License-Identifier: Apache-2.0
// Runs of maintenance.
#include "backends/meta/sqlite_int.h"

enum { LIST_MAX = 10000 };
#define RUN_COLUMNS "id, task, state, created_ms, ended_ms, owner, lease_ms, text"

int sq_run_put(struct meta_tx *tx, const struct meta_run *row, struct error *err)
{
    return sq_exec(tx,
                   "INSERT INTO run (" RUN_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
                   " ON CONFLICT (id) DO UPDATE SET state = excluded.state, ended_ms = excluded.ended_ms,"
                   " owner = excluded.owner, lease_ms = excluded.lease_ms, text = excluded.text",
                   SQ_ARGS(sq_text(row->id), sq_text(row->task), sq_int(row->state), sq_int(row->created_ms),
                           sq_int(row->ended_ms), sq_text(row->owner), sq_int(row->lease_ms), sq_text(row->text)),
                   err);
}

static struct meta_run run_row(struct arena *arena, sqlite3_stmt *stmt)
{
    return (struct meta_run){.id = sq_col_text(arena, stmt, 0),
                             .task = sq_col_text(arena, stmt, 1),
                             .state = (enum run_state)sq_col_int(stmt, 2),
                             .created_ms = sq_col_int(stmt, 3),
                             .ended_ms = sq_col_int(stmt, 4),
                             .owner = sq_col_text(arena, stmt, 5),
                             .lease_ms = sq_col_int(stmt, 6),
                             .text = sq_col_text(arena, stmt, 7)};
}

// The one row that a query of one text gives.
static int get_one(struct meta_tx *tx, struct arena *arena, const char *sql, const char *what, struct meta_run *out,
                   struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, sql, SQ_ARGS(sq_text(what)), &stmt, err) < 0)
        return -1;
    int rc = sq_next(tx, stmt, err);
    if (rc <= 0)
        return rc < 0 ? -1 : error_set(err, ERR_NOT_FOUND, "There is no run %.80s", what);
    *out = run_row(arena, stmt);
    return 0;
}

int sq_run_get(struct meta_tx *tx, struct arena *arena, const char *id, struct meta_run *out, struct error *err)
{
    return get_one(tx, arena, "SELECT " RUN_COLUMNS " FROM run WHERE id = ?1", id, out, err);
}

int sq_run_open(struct meta_tx *tx, struct arena *arena, const char *task, struct meta_run *out, struct error *err)
{
    return get_one(tx, arena, "SELECT " RUN_COLUMNS " FROM run WHERE task = ?1 AND ended_ms = 0", task, out, err);
}

int sq_run_list(struct meta_tx *tx, struct arena *arena, const struct run_query *query, struct meta_run **out,
                size_t *count, struct error *err)
{
    size_t limit = query->limit < LIST_MAX ? query->limit : LIST_MAX;
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx,
                 "SELECT " RUN_COLUMNS " FROM run WHERE (created_ms, id) < (?1, ?2) AND (?3 IS NULL OR task = ?3)"
                 " ORDER BY created_ms DESC, id DESC LIMIT ?4",
                 SQ_ARGS(sq_int(query->before_ms ? query->before_ms : INT64_MAX),
                         sq_text(query->before_ms && query->before_id ? query->before_id : ""), sq_text(query->task),
                         sq_int((int64_t)limit)),
                 &stmt, err) < 0)
        return -1;
    struct meta_run *rows = arena_alloc(arena, (limit + 1) * sizeof *rows);
    size_t n = 0;
    int rc;
    while ((rc = sq_next(tx, stmt, err)) > 0)
        rows[n++] = run_row(arena, stmt);
    if (rc < 0)
        return -1;
    *out = rows;
    *count = n;
    return 0;
}

int sq_run_prune(struct meta_tx *tx, int64_t before_ms, size_t limit, struct error *err)
{
    return sq_exec(tx,
                   "DELETE FROM run WHERE id IN (SELECT id FROM run WHERE ended_ms > 0 AND ended_ms < ?1"
                   " ORDER BY ended_ms LIMIT ?2)",
                   SQ_ARGS(sq_int(before_ms), sq_int((int64_t)limit)), err);
}
