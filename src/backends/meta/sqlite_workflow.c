// SPDX-License-Identifier: Apache-2.0
// Rules for messages.
#include "backends/meta/sqlite_int.h"

enum { LIST_MAX = 1000 };

int sq_workflow_put(struct meta_tx *tx, const struct meta_workflow *row, struct error *err)
{
    return sq_exec(tx,
                   "INSERT INTO workflow (tenant, id, text, created_ms) VALUES (?1, ?2, ?3, ?4)"
                   " ON CONFLICT (tenant, id) DO UPDATE SET text = excluded.text",
                   SQ_ARGS(sq_text(row->tenant), sq_text(row->id), sq_text(row->text), sq_int(row->created_ms)), err);
}

int sq_workflow_list(struct meta_tx *tx, struct arena *arena, const char *tenant, struct meta_workflow **out,
                     size_t *count, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    struct meta_workflow *rows = NULL;
    size_t n = 0;
    int rc;
    if (sq_query(tx, "SELECT id, text, created_ms FROM workflow WHERE tenant = ?1 ORDER BY id LIMIT ?2",
                 SQ_ARGS(sq_text(tenant), sq_int(LIST_MAX)), &stmt, err) < 0)
        return -1;
    while ((rc = sq_next(tx, stmt, err)) > 0) {
        if (!rows) // most tenants have none
            rows = arena_alloc(arena, LIST_MAX * sizeof *rows);
        rows[n++] = (struct meta_workflow){.id = sq_col_text(arena, stmt, 0),
                                           .tenant = arena_strdup(arena, tenant),
                                           .text = sq_col_text(arena, stmt, 1),
                                           .created_ms = sq_col_int(stmt, 2)};
    }
    if (rc < 0)
        return -1;
    *out = rows;
    *count = n;
    return 0;
}

int sq_workflow_remove(struct meta_tx *tx, const char *tenant, const char *id, struct error *err)
{
    if (sq_exec(tx, "DELETE FROM workflow WHERE tenant = ?1 AND id = ?2", SQ_ARGS(sq_text(tenant), sq_text(id)), err) <
        0)
        return -1;
    return sq_changes(tx) ? 0 : error_set(err, ERR_NOT_FOUND, "There is no workflow %.80s", id);
}
