// SPDX-License-Identifier: Apache-2.0
// The steps of items: one row for each (item, step, model).
#include "backends/meta/pg_int.h"

int pg_step_put(struct meta_tx *tx, const char *tenant, const char *id, const struct media_step *step,
                struct error *err)
{
    bool changed;
    if (pg_wall(tx, tenant, err) < 0 ||
        pg_change(
            tx,
            "INSERT INTO step (tenant, media, step, model, status, attempt, started_ms, duration_ms, collection,"
            " error_message) SELECT tenant, num, $3, coalesce($4, ''), $5, $6, $7, $8, $9, $10 FROM media"
            " WHERE tenant = $1 AND id = $2"
            " ON CONFLICT (media, step, model) DO UPDATE SET status = excluded.status, attempt = excluded.attempt,"
            " duration_ms = excluded.duration_ms, collection = excluded.collection,"
            " error_message = excluded.error_message",
            PG_ARGS(pg_text(tenant), pg_text(id), pg_text(step->step), pg_text(step->model), pg_text(step->status),
                    pg_int(step->attempt), pg_int(step->started_ms), pg_int(step->duration_ms),
                    pg_text(step->collection), pg_text(step->error_message)),
            &changed, err) < 0)
        return -1;
    return changed ? 0 : error_set(err, ERR_NOT_FOUND, "There is no item %.80s", id);
}

static struct media_step step_row(struct arena *arena, const PGresult *rows, int i)
{
    return (struct media_step){.step = pg_col_text(arena, rows, i, 0),
                               .model = pg_col_text(arena, rows, i, 1),
                               .status = pg_col_text(arena, rows, i, 2),
                               .attempt = (int)pg_col_int(rows, i, 3),
                               .started_ms = pg_col_int(rows, i, 4),
                               .duration_ms = pg_col_int(rows, i, 5),
                               .collection = pg_col_text(arena, rows, i, 6),
                               .error_message = pg_col_text(arena, rows, i, 7)};
}

int pg_step_list(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id, struct media_step **out,
                 size_t *count, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_wall(tx, tenant, err) < 0 ||
        pg_query(tx,
                 "SELECT step, model, status, attempt, started_ms, duration_ms, collection, error_message FROM step"
                 " WHERE media = (SELECT num FROM media WHERE tenant = $1 AND id = $2) ORDER BY started_ms, num",
                 PG_ARGS(pg_text(tenant), pg_text(id)), &found, err) < 0)
        return -1;
    size_t n = (size_t)PQntuples(found);
    struct media_step *rows = arena_alloc(arena, (n + 1) * sizeof *rows);
    for (size_t i = 0; i < n; i++)
        rows[i] = step_row(arena, found, (int)i);
    *out = rows;
    *count = n;
    return 0;
}
