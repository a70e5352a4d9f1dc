// SPDX-License-Identifier: Apache-2.0
// Webhooks and their deliveries. A delivery that is not the first of its item that waits is behind it, so that what is
// due is found by an index however many others wait.
#include <string.h>

#include "backends/meta/sqlite_int.h"

enum { LIST_MAX = 10000 };
#define WEBHOOK_COLUMNS "id, tenant, url, statuses, secret, secret_before, before_until_ms, after_seq, created_ms"
#define DELIVERY_COLUMNS                                                                                               \
    "num, id, webhook, tenant, item, type, body, state, attempts, not_before_ms, created_ms, ended_ms, status,"        \
    " took_ms, error"

int sq_webhook_put(struct meta_tx *tx, const struct meta_webhook *row, struct error *err)
{
    return sq_exec(tx,
                   "INSERT INTO webhook (" WEBHOOK_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
                   " ON CONFLICT (tenant, id) DO UPDATE SET url = excluded.url, statuses = excluded.statuses,"
                   " secret = excluded.secret, secret_before = excluded.secret_before,"
                   " before_until_ms = excluded.before_until_ms",
                   SQ_ARGS(sq_text(row->id), sq_text(row->tenant), sq_text(row->url), sq_int(row->statuses),
                           sq_text(row->secret), sq_text(row->secret_before), sq_int(row->before_until_ms),
                           sq_int(row->after_seq), sq_int(row->created_ms)),
                   err);
}

static struct meta_webhook webhook_row(struct arena *arena, sqlite3_stmt *stmt)
{
    return (struct meta_webhook){.id = sq_col_text(arena, stmt, 0),
                                 .tenant = sq_col_text(arena, stmt, 1),
                                 .url = sq_col_text(arena, stmt, 2),
                                 .statuses = sq_col_int(stmt, 3),
                                 .secret = sq_col_text(arena, stmt, 4),
                                 .secret_before = sq_col_text(arena, stmt, 5),
                                 .before_until_ms = sq_col_int(stmt, 6),
                                 .after_seq = sq_col_int(stmt, 7),
                                 .created_ms = sq_col_int(stmt, 8)};
}

int sq_webhook_list(struct meta_tx *tx, struct arena *arena, const char *tenant, struct meta_webhook **out,
                    size_t *count, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx,
                 "SELECT " WEBHOOK_COLUMNS " FROM webhook WHERE ?1 IS NULL OR tenant = ?1 ORDER BY created_ms, id"
                 " LIMIT ?2",
                 SQ_ARGS(sq_text(tenant), sq_int(LIST_MAX)), &stmt, err) < 0)
        return -1;
    struct meta_webhook *rows = NULL;
    size_t n = 0;
    int rc;
    while ((rc = sq_next(tx, stmt, err)) > 0) {
        if ((n & (n - 1)) == 0) { // n is 0 or a power of two: room for twice as many
            struct meta_webhook *more = arena_alloc(arena, (n ? 2 * n : 1) * sizeof *more);
            if (n)
                memcpy(more, rows, n * sizeof *rows);
            rows = more;
        }
        rows[n++] = webhook_row(arena, stmt);
    }
    if (rc < 0)
        return -1;
    *out = rows;
    *count = n;
    return 0;
}

int sq_webhook_remove(struct meta_tx *tx, const char *tenant, const char *id, struct error *err)
{
    if (sq_exec(tx, "DELETE FROM webhook WHERE tenant = ?1 AND id = ?2", SQ_ARGS(sq_text(tenant), sq_text(id)), err) <
        0)
        return -1;
    if (sq_changes(tx) == 0)
        return error_set(err, ERR_NOT_FOUND, "There is no webhook %.80s", id);
    return sq_exec(tx, "DELETE FROM delivery WHERE tenant = ?1 AND webhook = ?2", SQ_ARGS(sq_text(tenant), sq_text(id)),
                   err);
}

int sq_delivery_put(struct meta_tx *tx, const struct meta_delivery *row, struct error *err)
{
    return sq_exec(tx,
                   "INSERT INTO delivery (tenant, webhook, id, item, type, body, state, attempts, not_before_ms,"
                   " created_ms, ended_ms, status, took_ms, error) VALUES (?1, ?2, ?3, ?4, ?5, ?6,"
                   " CASE WHEN ?7 >= 2 THEN ?7 ELSE EXISTS (SELECT 1 FROM delivery WHERE tenant = ?1 AND webhook = ?2"
                   "  AND item = ?4 AND state < 2) END, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
                   SQ_ARGS(sq_text(row->tenant), sq_text(row->webhook), sq_text(row->id), sq_text(row->item),
                           sq_text(row->type), sq_text(row->body), sq_int(row->state), sq_int(row->attempts),
                           sq_int(row->not_before_ms), sq_int(row->created_ms), sq_int(row->ended_ms),
                           sq_int(row->status), sq_int(row->took_ms), sq_text(row->error)),
                   err);
}

static struct meta_delivery delivery_row(struct arena *arena, sqlite3_stmt *stmt)
{
    return (struct meta_delivery){.num = sq_col_int(stmt, 0),
                                  .id = sq_col_text(arena, stmt, 1),
                                  .webhook = sq_col_text(arena, stmt, 2),
                                  .tenant = sq_col_text(arena, stmt, 3),
                                  .item = sq_col_text(arena, stmt, 4),
                                  .type = sq_col_text(arena, stmt, 5),
                                  .body = sq_col_text(arena, stmt, 6),
                                  .state = (enum delivery_state)sq_col_int(stmt, 7),
                                  .attempts = (int)sq_col_int(stmt, 8),
                                  .not_before_ms = sq_col_int(stmt, 9),
                                  .created_ms = sq_col_int(stmt, 10),
                                  .ended_ms = sq_col_int(stmt, 11),
                                  .status = (int)sq_col_int(stmt, 12),
                                  .took_ms = sq_col_int(stmt, 13),
                                  .error = sq_col_text(arena, stmt, 14)};
}

// Up to `limit` rows.
static int delivery_rows(struct meta_tx *tx, struct arena *arena, sqlite3_stmt *stmt, size_t limit,
                         struct meta_delivery **out, size_t *count, struct error *err)
{
    struct meta_delivery *rows = arena_alloc(arena, (limit + 1) * sizeof *rows);
    size_t n = 0;
    int rc;
    while (n < limit && (rc = sq_next(tx, stmt, err)) != 0) {
        if (rc < 0)
            return -1;
        rows[n++] = delivery_row(arena, stmt);
    }
    *out = rows;
    *count = n;
    return 0;
}

int sq_delivery_get(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *webhook, const char *id,
                    struct meta_delivery *out, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, "SELECT " DELIVERY_COLUMNS " FROM delivery WHERE tenant = ?1 AND webhook = ?2 AND id = ?3",
                 SQ_ARGS(sq_text(tenant), sq_text(webhook), sq_text(id)), &stmt, err) < 0)
        return -1;
    int rc = sq_next(tx, stmt, err);
    if (rc <= 0)
        return rc < 0 ? -1 : error_set(err, ERR_NOT_FOUND, "There is no delivery %.80s", id);
    *out = delivery_row(arena, stmt);
    return 0;
}

int sq_delivery_again(struct meta_tx *tx, const char *tenant, const char *webhook, const char *id, int64_t now_ms,
                      struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct meta_delivery row;
    if (sq_delivery_get(tx, &arena, tenant, webhook, id, &row, err) < 0)
        return -1;
    if (row.state < DELIVERY_DELIVERED)
        return error_set(err, ERR_CONFLICT, "The delivery %.80s is still to be made", id);
    return sq_exec(tx,
                   "UPDATE delivery SET attempts = 0, not_before_ms = ?4, ended_ms = 0, state = EXISTS (SELECT 1 FROM"
                   " delivery WHERE tenant = ?1 AND webhook = ?2 AND item = ?5 AND state < 2)"
                   " WHERE tenant = ?1 AND webhook = ?2 AND id = ?3",
                   SQ_ARGS(sq_text(tenant), sq_text(webhook), sq_text(id), sq_int(now_ms), sq_text(row.item)), err);
}

int sq_delivery_due(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *webhook, int64_t now_ms,
                    size_t limit, struct meta_delivery **out, size_t *count, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    limit = limit < LIST_MAX ? limit : LIST_MAX;
    if (sq_query(tx,
                 "SELECT " DELIVERY_COLUMNS " FROM delivery WHERE tenant = ?1 AND webhook = ?2 AND state = 0"
                 " AND not_before_ms <= ?3 ORDER BY not_before_ms, num LIMIT ?4",
                 SQ_ARGS(sq_text(tenant), sq_text(webhook), sq_int(now_ms), sq_int((int64_t)limit)), &stmt, err) < 0)
        return -1;
    return delivery_rows(tx, arena, stmt, limit, out, count, err);
}

int sq_delivery_next(struct meta_tx *tx, const char *tenant, const char *webhook, int64_t *not_before_ms,
                     struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx,
                 "SELECT not_before_ms FROM delivery WHERE tenant = ?1 AND webhook = ?2 AND state = 0"
                 " ORDER BY not_before_ms LIMIT 1",
                 SQ_ARGS(sq_text(tenant), sq_text(webhook)), &stmt, err) < 0)
        return -1;
    int rc = sq_next(tx, stmt, err);
    if (rc < 0)
        return -1;
    *not_before_ms = rc ? sq_col_int(stmt, 0) : INT64_MAX;
    return 0;
}

int sq_delivery_settle(struct meta_tx *tx, const struct meta_delivery *row, struct error *err)
{
    if (sq_exec(tx,
                "UPDATE delivery SET state = ?2, attempts = ?3, not_before_ms = ?4, ended_ms = ?5, status = ?6,"
                " took_ms = ?7, error = ?8 WHERE num = ?1",
                SQ_ARGS(sq_int(row->num), sq_int(row->state), sq_int(row->attempts), sq_int(row->not_before_ms),
                        sq_int(row->ended_ms), sq_int(row->status), sq_int(row->took_ms), sq_text(row->error)),
                err) < 0)
        return -1;
    if (row->state < DELIVERY_DELIVERED)
        return 0;
    return sq_exec(tx,
                   "UPDATE delivery SET state = 0, not_before_ms = ?4 WHERE num = (SELECT min(num) FROM delivery"
                   " WHERE tenant = ?1 AND webhook = ?2 AND item = ?3 AND state < 2) AND state = 1",
                   SQ_ARGS(sq_text(row->tenant), sq_text(row->webhook), sq_text(row->item), sq_int(row->ended_ms)),
                   err);
}

int sq_delivery_list(struct meta_tx *tx, struct arena *arena, const struct delivery_query *query,
                     struct meta_delivery **out, size_t *count, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    size_t limit = query->limit < LIST_MAX ? query->limit : LIST_MAX;
    if (sq_query(tx,
                 "SELECT " DELIVERY_COLUMNS " FROM delivery WHERE tenant = ?1 AND webhook = ?2"
                 " AND (?3 < 0 OR state = ?3 OR (?3 = 0 AND state = 1)) AND num < ?4 ORDER BY num DESC LIMIT ?5",
                 SQ_ARGS(sq_text(query->tenant), sq_text(query->webhook), sq_int(query->state),
                         sq_int(query->before ? query->before : INT64_MAX), sq_int((int64_t)limit)),
                 &stmt, err) < 0)
        return -1;
    return delivery_rows(tx, arena, stmt, limit, out, count, err);
}

int sq_delivery_waiting(struct meta_tx *tx, const char *tenant, const char *webhook, uint64_t *out, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, "SELECT count(*) FROM delivery WHERE tenant = ?1 AND webhook = ?2 AND state < 2",
                 SQ_ARGS(sq_text(tenant), sq_text(webhook)), &stmt, err) < 0 ||
        sq_next(tx, stmt, err) < 0)
        return -1;
    *out = (uint64_t)sq_col_int(stmt, 0);
    return 0;
}

int sq_delivery_prune(struct meta_tx *tx, int64_t before_ms, size_t limit, struct error *err)
{
    return sq_exec(tx,
                   "DELETE FROM delivery WHERE num IN (SELECT num FROM delivery WHERE state >= 2 AND ended_ms < ?1"
                   " ORDER BY ended_ms LIMIT ?2)",
                   SQ_ARGS(sq_int(before_ms), sq_int((int64_t)limit)), err);
}
