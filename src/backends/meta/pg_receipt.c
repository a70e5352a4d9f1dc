// SPDX-License-Identifier: Apache-2.0
// Receipts of deletions.
#include "backends/meta/pg_int.h"

enum { LIST_MAX = 10000 };
#define RECEIPT_COLUMNS "id, tenant, item, ended_ms, text, signature, key_id"

int pg_receipt_put(struct meta_tx *tx, const struct meta_receipt *row, struct error *err)
{
    if (pg_wall(tx, row->tenant, err) < 0)
        return -1;
    return pg_later(tx,
                    "INSERT INTO receipt (" RECEIPT_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7)"
                    " ON CONFLICT (tenant, id) DO UPDATE SET ended_ms = excluded.ended_ms, text = excluded.text,"
                    " signature = excluded.signature, key_id = excluded.key_id",
                    PG_ARGS(pg_text(row->id), pg_text(row->tenant), pg_text(row->item), pg_int(row->ended_ms),
                            pg_text(row->text), pg_text(row->signature), pg_text(row->key_id)),
                    err);
}

static struct meta_receipt *receipt_rows(struct arena *arena, const PGresult *found, size_t *count)
{
    int n = PQntuples(found);
    struct meta_receipt *rows = arena_alloc(arena, ((size_t)n + 1) * sizeof *rows);
    for (int i = 0; i < n; i++)
        rows[i] = (struct meta_receipt){.id = pg_col_text(arena, found, i, 0),
                                        .tenant = pg_col_text(arena, found, i, 1),
                                        .item = pg_col_text(arena, found, i, 2),
                                        .ended_ms = pg_col_int(found, i, 3),
                                        .text = pg_col_text(arena, found, i, 4),
                                        .signature = pg_col_text(arena, found, i, 5),
                                        .key_id = pg_col_text(arena, found, i, 6)};
    *count = (size_t)n;
    return rows;
}

// The one row that a query of two texts gives.
static int get_one(struct meta_tx *tx, struct arena *arena, const char *sql, const char *tenant, const char *what,
                   struct meta_receipt *out, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    size_t count;
    if (pg_wall(tx, tenant, err) < 0 || pg_query(tx, sql, PG_ARGS(pg_text(tenant), pg_text(what)), &found, err) < 0)
        return -1;
    if (PQntuples(found) == 0)
        return error_set(err, ERR_NOT_FOUND, "There is no receipt %.80s", what);
    *out = receipt_rows(arena, found, &count)[0];
    return 0;
}

int pg_receipt_open(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *item,
                    struct meta_receipt *out, struct error *err)
{
    return get_one(tx, arena,
                   "SELECT " RECEIPT_COLUMNS " FROM receipt WHERE tenant = $1 AND item = $2 AND ended_ms = 0", tenant,
                   item, out, err);
}

int pg_receipt_get(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id,
                   struct meta_receipt *out, struct error *err)
{
    return get_one(tx, arena, "SELECT " RECEIPT_COLUMNS " FROM receipt WHERE tenant = $1 AND id = $2 AND ended_ms > 0",
                   tenant, id, out, err);
}

#define LIST(where)                                                                                                    \
    "SELECT " RECEIPT_COLUMNS " FROM receipt WHERE tenant = $1 AND ended_ms > 0 AND (ended_ms, id) < ($2, $3)" where   \
    " ORDER BY ended_ms DESC, id DESC LIMIT $4"

int pg_receipt_list(struct meta_tx *tx, struct arena *arena, const struct receipt_query *query,
                    struct meta_receipt **out, size_t *count, struct error *err)
{
    size_t limit = query->limit < LIST_MAX ? query->limit : LIST_MAX;
    const struct pg_arg args[] = {pg_text(query->tenant), pg_int(query->before_ms ? query->before_ms : INT64_MAX),
                                  pg_text(query->before_ms && query->before_id ? query->before_id : ""),
                                  pg_int((int64_t)limit), pg_text(query->item)};
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_wall(tx, query->tenant, err) < 0 || pg_query(tx, query->item ? LIST(" AND item = $5") : LIST(""), args,
                                                        ARRAY_LEN(args) - !query->item, &found, err) < 0)
        return -1;
    *out = receipt_rows(arena, found, count);
    return 0;
}
