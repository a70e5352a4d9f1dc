// SPDX-License-Identifier: Apache-2.0
// Receipts of deletions.
#include "backends/meta/sqlite_int.h"

enum { LIST_MAX = 10000 };
#define RECEIPT_COLUMNS "id, tenant, item, ended_ms, text, signature, key_id"

int sq_receipt_put(struct meta_tx *tx, const struct meta_receipt *row, struct error *err)
{
    return sq_exec(tx,
                   "INSERT INTO receipt (" RECEIPT_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
                   " ON CONFLICT (tenant, id) DO UPDATE SET ended_ms = excluded.ended_ms, text = excluded.text,"
                   " signature = excluded.signature, key_id = excluded.key_id",
                   SQ_ARGS(sq_text(row->id), sq_text(row->tenant), sq_text(row->item), sq_int(row->ended_ms),
                           sq_text(row->text), sq_text(row->signature), sq_text(row->key_id)),
                   err);
}

static struct meta_receipt receipt_row(struct arena *arena, sqlite3_stmt *stmt)
{
    return (struct meta_receipt){.id = sq_col_text(arena, stmt, 0),
                                 .tenant = sq_col_text(arena, stmt, 1),
                                 .item = sq_col_text(arena, stmt, 2),
                                 .ended_ms = sq_col_int(stmt, 3),
                                 .text = sq_col_text(arena, stmt, 4),
                                 .signature = sq_col_text(arena, stmt, 5),
                                 .key_id = sq_col_text(arena, stmt, 6)};
}

// The one row that a query of two texts gives.
static int get_one(struct meta_tx *tx, struct arena *arena, const char *sql, const char *tenant, const char *what,
                   struct meta_receipt *out, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, sql, SQ_ARGS(sq_text(tenant), sq_text(what)), &stmt, err) < 0)
        return -1;
    int rc = sq_next(tx, stmt, err);
    if (rc <= 0)
        return rc < 0 ? -1 : error_set(err, ERR_NOT_FOUND, "There is no receipt %.80s", what);
    *out = receipt_row(arena, stmt);
    return 0;
}

int sq_receipt_open(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *item,
                    struct meta_receipt *out, struct error *err)
{
    return get_one(tx, arena,
                   "SELECT " RECEIPT_COLUMNS " FROM receipt WHERE tenant = ?1 AND item = ?2 AND ended_ms = 0", tenant,
                   item, out, err);
}

int sq_receipt_get(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id,
                   struct meta_receipt *out, struct error *err)
{
    return get_one(tx, arena, "SELECT " RECEIPT_COLUMNS " FROM receipt WHERE tenant = ?1 AND id = ?2 AND ended_ms > 0",
                   tenant, id, out, err);
}

#define LIST(where)                                                                                                    \
    "SELECT " RECEIPT_COLUMNS " FROM receipt WHERE tenant = ?1 AND ended_ms > 0 AND (ended_ms, id) < (?2, ?3)" where   \
    " ORDER BY ended_ms DESC, id DESC LIMIT ?4"

int sq_receipt_list(struct meta_tx *tx, struct arena *arena, const struct receipt_query *query,
                    struct meta_receipt **out, size_t *count, struct error *err)
{
    size_t limit = query->limit < LIST_MAX ? query->limit : LIST_MAX;
    const struct sq_arg args[] = {sq_text(query->tenant), sq_int(query->before_ms ? query->before_ms : INT64_MAX),
                                  sq_text(query->before_ms && query->before_id ? query->before_id : ""),
                                  sq_int((int64_t)limit), sq_text(query->item)};
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, query->item ? LIST(" AND item = ?5") : LIST(""), args, ARRAY_LEN(args) - !query->item, &stmt,
                 err) < 0)
        return -1;
    struct meta_receipt *rows = arena_alloc(arena, (limit + 1) * sizeof *rows);
    size_t n = 0;
    int rc;
    while ((rc = sq_next(tx, stmt, err)) > 0)
        rows[n++] = receipt_row(arena, stmt);
    if (rc < 0)
        return -1;
    *out = rows;
    *count = n;
    return 0;
}
