// SPDX-License-Identifier: Apache-2.0
// The steps of items: one row for each (item, step, model).
#include "backends/meta/sqlite_int.h"

int sq_step_put(struct meta_tx *tx, const char *tenant, const char *id, const struct media_step *step,
                struct error *err)
{
    if (sq_exec(tx,
                "INSERT INTO step (media, step, model, status, attempt, started_ms, duration_ms, collection,"
                " error_message) SELECT row, ?3, ifnull(?4, ''), ?5, ?6, ?7, ?8, ?9, ?10 FROM media"
                " WHERE tenant = ?1 AND id = ?2"
                " ON CONFLICT (media, step, model) DO UPDATE SET status = excluded.status, attempt = excluded.attempt,"
                " duration_ms = excluded.duration_ms, collection = excluded.collection,"
                " error_message = excluded.error_message",
                SQ_ARGS(sq_text(tenant), sq_text(id), sq_text(step->step), sq_text(step->model), sq_text(step->status),
                        sq_int(step->attempt), sq_int(step->started_ms), sq_int(step->duration_ms),
                        sq_text(step->collection), sq_text(step->error_message)),
                err) < 0)
        return -1;
    return sq_changes(tx) ? 0 : error_set(err, ERR_NOT_FOUND, "There is no item %.80s", id);
}

static struct media_step step_row(struct arena *arena, sqlite3_stmt *stmt)
{
    return (struct media_step){.step = sq_col_text(arena, stmt, 0),
                               .model = sq_col_text(arena, stmt, 1),
                               .status = sq_col_text(arena, stmt, 2),
                               .attempt = (int)sq_col_int(stmt, 3),
                               .started_ms = sq_col_int(stmt, 4),
                               .duration_ms = sq_col_int(stmt, 5),
                               .collection = sq_col_text(arena, stmt, 6),
                               .error_message = sq_col_text(arena, stmt, 7)};
}

int sq_step_list(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id, struct media_step **out,
                 size_t *count, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx,
                 "SELECT step, model, status, attempt, started_ms, duration_ms, collection, error_message,"
                 " count(*) OVER () FROM step"
                 " WHERE media = (SELECT row FROM media WHERE tenant = ?1 AND id = ?2) ORDER BY started_ms, row",
                 SQ_ARGS(sq_text(tenant), sq_text(id)), &stmt, err) < 0)
        return -1;
    struct media_step *rows = NULL;
    size_t n = 0;
    int rc;
    while ((rc = sq_next(tx, stmt, err)) > 0) {
        if (!rows)
            rows = arena_alloc(arena, (size_t)sq_col_int(stmt, 8) * sizeof *rows);
        rows[n++] = step_row(arena, stmt);
    }
    if (rc < 0)
        return -1;
    *out = rows;
    *count = n;
    return 0;
}
