// SPDX-License-Identifier: Apache-2.0
// Rules for messages.
#include "backends/meta/pg_int.h"

enum { LIST_MAX = 1000 };

int pg_workflow_put(struct meta_tx *tx, const struct meta_workflow *row, struct error *err)
{
    if (pg_wall(tx, row->tenant, err) < 0)
        return -1;
    return pg_later(tx,
                    "INSERT INTO workflow (tenant, id, text, created_ms) VALUES ($1, $2, $3, $4)"
                    " ON CONFLICT (tenant, id) DO UPDATE SET text = excluded.text",
                    PG_ARGS(pg_text(row->tenant), pg_text(row->id), pg_text(row->text), pg_int(row->created_ms)), err);
}

int pg_workflow_list(struct meta_tx *tx, struct arena *arena, const char *tenant, struct meta_workflow **out,
                     size_t *count, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_wall(tx, tenant, err) < 0 ||
        pg_query(tx, "SELECT id, text, created_ms FROM workflow WHERE tenant = $1 ORDER BY id LIMIT $2",
                 PG_ARGS(pg_text(tenant), pg_int(LIST_MAX)), &found, err) < 0)
        return -1;
    int n = PQntuples(found);
    struct meta_workflow *rows = arena_alloc(arena, ((size_t)n + 1) * sizeof *rows);
    for (int i = 0; i < n; i++)
        rows[i] = (struct meta_workflow){.id = pg_col_text(arena, found, i, 0),
                                         .tenant = arena_strdup(arena, tenant),
                                         .text = pg_col_text(arena, found, i, 1),
                                         .created_ms = pg_col_int(found, i, 2)};
    *out = rows;
    *count = (size_t)n;
    return 0;
}

int pg_workflow_remove(struct meta_tx *tx, const char *tenant, const char *id, struct error *err)
{
    _cleanup_pg_result_ PGresult *removed = NULL;
    if (pg_wall(tx, tenant, err) < 0 ||
        pg_write_query(tx, "DELETE FROM workflow WHERE tenant = $1 AND id = $2 RETURNING 1",
                       PG_ARGS(pg_text(tenant), pg_text(id)), &removed, err) < 0)
        return -1;
    return PQntuples(removed) ? 0 : error_set(err, ERR_NOT_FOUND, "There is no workflow %.80s", id);
}
