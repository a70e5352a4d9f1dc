// SPDX-License-Identifier: Apache-2.0
// Details of items: one row each, in a table of their own, so that reading an item does not drag them along.
#include "backends/meta/sqlite_int.h"

int sq_details_put(struct meta_tx *tx, const char *tenant, const char *id, const void *bytes, size_t len,
                   struct error *err)
{
    return sq_exec(tx,
                   "INSERT INTO details (media, bytes) SELECT row, ?3 FROM media WHERE tenant = ?1 AND id = ?2"
                   " ON CONFLICT (media) DO UPDATE SET bytes = excluded.bytes",
                   SQ_ARGS(sq_text(tenant), sq_text(id), sq_blob(bytes, len)), err);
}

static int get_one(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id,
                   struct meta_details *out, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, "SELECT bytes FROM details WHERE media = (SELECT row FROM media WHERE tenant = ?1 AND id = ?2)",
                 SQ_ARGS(sq_text(tenant), sq_text(id)), &stmt, err) < 0)
        return -1;
    int rc = sq_next(tx, stmt, err);
    if (rc <= 0)
        return rc;
    out->len = (size_t)sqlite3_column_bytes(stmt, 0);
    out->bytes = arena_memdup(arena, sqlite3_column_blob(stmt, 0), out->len);
    return 0;
}

int sq_details_get(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *const *ids, size_t count,
                   struct meta_details **out, struct error *err)
{
    struct meta_details *rows = arena_alloc(arena, (count + 1) * sizeof *rows);
    for (size_t i = 0; i < count; i++) {
        rows[i] = (struct meta_details){0};
        if (get_one(tx, arena, tenant, ids[i], &rows[i], err) < 0)
            return -1;
    }
    *out = rows;
    return 0;
}
