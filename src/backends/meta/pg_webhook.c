// SPDX-License-Identifier: Apache-2.0
// Webhooks and their deliveries. A delivery that is not the first of its item that waits is behind it, so that what is
// due is found by an index however many others wait.
#include <string.h>

#include "backends/meta/pg_int.h"

enum { LIST_MAX = 10000 };
#define WEBHOOK_COLUMNS "id, tenant, url, statuses, secret, secret_before, before_until_ms, after_seq, created_ms"
#define DELIVERY_COLUMNS                                                                                               \
    "num, id, webhook, tenant, item, type, body, state, attempts, not_before_ms, created_ms, ended_ms, status,"        \
    " took_ms, error"

int pg_webhook_put(struct meta_tx *tx, const struct meta_webhook *row, struct error *err)
{
    if (pg_wall(tx, row->tenant, err) < 0)
        return -1;
    return pg_later(tx,
                    "INSERT INTO webhook (" WEBHOOK_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
                    " ON CONFLICT (tenant, id) DO UPDATE SET url = excluded.url, statuses = excluded.statuses,"
                    " secret = excluded.secret, secret_before = excluded.secret_before,"
                    " before_until_ms = excluded.before_until_ms",
                    PG_ARGS(pg_text(row->id), pg_text(row->tenant), pg_text(row->url), pg_int(row->statuses),
                            pg_text(row->secret), pg_text(row->secret_before), pg_int(row->before_until_ms),
                            pg_int(row->after_seq), pg_int(row->created_ms)),
                    err);
}

int pg_webhook_list(struct meta_tx *tx, struct arena *arena, const char *tenant, struct meta_webhook **out,
                    size_t *count, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_wall(tx, tenant ? tenant : PG_ALL, err) < 0 ||
        pg_query(tx,
                 "SELECT " WEBHOOK_COLUMNS " FROM webhook WHERE $1::text IS NULL OR tenant = $1"
                 " ORDER BY created_ms, id LIMIT $2",
                 PG_ARGS(pg_text(tenant), pg_int(LIST_MAX)), &found, err) < 0)
        return -1;
    int n = PQntuples(found);
    struct meta_webhook *rows = arena_alloc(arena, ((size_t)n + 1) * sizeof *rows);
    for (int i = 0; i < n; i++)
        rows[i] = (struct meta_webhook){.id = pg_col_text(arena, found, i, 0),
                                        .tenant = pg_col_text(arena, found, i, 1),
                                        .url = pg_col_text(arena, found, i, 2),
                                        .statuses = pg_col_int(found, i, 3),
                                        .secret = pg_col_text(arena, found, i, 4),
                                        .secret_before = pg_col_text(arena, found, i, 5),
                                        .before_until_ms = pg_col_int(found, i, 6),
                                        .after_seq = pg_col_int(found, i, 7),
                                        .created_ms = pg_col_int(found, i, 8)};
    *out = rows;
    *count = (size_t)n;
    return 0;
}

int pg_webhook_remove(struct meta_tx *tx, const char *tenant, const char *id, struct error *err)
{
    _cleanup_pg_result_ PGresult *removed = NULL;
    if (pg_wall(tx, tenant, err) < 0 || pg_write_query(tx, "DELETE FROM webhook WHERE tenant = $1 AND id = $2",
                                                       PG_ARGS(pg_text(tenant), pg_text(id)), &removed, err) < 0)
        return -1;
    if (strcmp(PQcmdTuples(removed), "0") == 0)
        return error_set(err, ERR_NOT_FOUND, "There is no webhook %.80s", id);
    return pg_later(tx, "DELETE FROM delivery WHERE tenant = $1 AND webhook = $2",
                    PG_ARGS(pg_text(tenant), pg_text(id)), err);
}

int pg_delivery_put(struct meta_tx *tx, const struct meta_delivery *row, struct error *err)
{
    if (pg_wall(tx, row->tenant, err) < 0)
        return -1;
    return pg_later(tx,
                    "INSERT INTO delivery (tenant, webhook, id, item, type, body, state, attempts, not_before_ms,"
                    " created_ms, ended_ms, status, took_ms, error) VALUES ($1, $2, $3, $4, $5, $6,"
                    " CASE WHEN $7 >= 2 THEN $7 ELSE EXISTS (SELECT 1 FROM delivery WHERE tenant = $1 AND webhook = $2"
                    "  AND item = $4 AND state < 2)::int END, $8, $9, $10, $11, $12, $13, $14)",
                    PG_ARGS(pg_text(row->tenant), pg_text(row->webhook), pg_text(row->id), pg_text(row->item),
                            pg_text(row->type), pg_text(row->body), pg_int(row->state), pg_int(row->attempts),
                            pg_int(row->not_before_ms), pg_int(row->created_ms), pg_int(row->ended_ms),
                            pg_int(row->status), pg_int(row->took_ms), pg_text(row->error)),
                    err);
}

static struct meta_delivery *delivery_rows(struct arena *arena, const PGresult *found, size_t *count)
{
    int n = PQntuples(found);
    struct meta_delivery *rows = arena_alloc(arena, ((size_t)n + 1) * sizeof *rows);
    for (int i = 0; i < n; i++)
        rows[i] = (struct meta_delivery){.num = pg_col_int(found, i, 0),
                                         .id = pg_col_text(arena, found, i, 1),
                                         .webhook = pg_col_text(arena, found, i, 2),
                                         .tenant = pg_col_text(arena, found, i, 3),
                                         .item = pg_col_text(arena, found, i, 4),
                                         .type = pg_col_text(arena, found, i, 5),
                                         .body = pg_col_text(arena, found, i, 6),
                                         .state = (enum delivery_state)pg_col_int(found, i, 7),
                                         .attempts = (int)pg_col_int(found, i, 8),
                                         .not_before_ms = pg_col_int(found, i, 9),
                                         .created_ms = pg_col_int(found, i, 10),
                                         .ended_ms = pg_col_int(found, i, 11),
                                         .status = (int)pg_col_int(found, i, 12),
                                         .took_ms = pg_col_int(found, i, 13),
                                         .error = pg_col_text(arena, found, i, 14)};
    *count = (size_t)n;
    return rows;
}

int pg_delivery_get(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *webhook, const char *id,
                    struct meta_delivery *out, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    size_t count;
    if (pg_wall(tx, tenant, err) < 0 ||
        pg_query(tx, "SELECT " DELIVERY_COLUMNS " FROM delivery WHERE tenant = $1 AND webhook = $2 AND id = $3",
                 PG_ARGS(pg_text(tenant), pg_text(webhook), pg_text(id)), &found, err) < 0)
        return -1;
    if (PQntuples(found) == 0)
        return error_set(err, ERR_NOT_FOUND, "There is no delivery %.80s", id);
    *out = delivery_rows(arena, found, &count)[0];
    return 0;
}

int pg_delivery_again(struct meta_tx *tx, const char *tenant, const char *webhook, const char *id, int64_t now_ms,
                      struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct meta_delivery row;
    if (pg_delivery_get(tx, &arena, tenant, webhook, id, &row, err) < 0)
        return -1;
    if (row.state < DELIVERY_DELIVERED)
        return error_set(err, ERR_CONFLICT, "The delivery %.80s is still to be made", id);
    return pg_later(tx,
                    "UPDATE delivery SET attempts = 0, not_before_ms = $4, ended_ms = 0, state = EXISTS (SELECT 1 FROM"
                    " delivery WHERE tenant = $1 AND webhook = $2 AND item = $5 AND state < 2)::int"
                    " WHERE tenant = $1 AND webhook = $2 AND id = $3",
                    PG_ARGS(pg_text(tenant), pg_text(webhook), pg_text(id), pg_int(now_ms), pg_text(row.item)), err);
}

int pg_delivery_due(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *webhook, int64_t now_ms,
                    size_t limit, struct meta_delivery **out, size_t *count, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_wall(tx, tenant, err) < 0 ||
        pg_query(tx,
                 "SELECT " DELIVERY_COLUMNS " FROM delivery WHERE tenant = $1 AND webhook = $2 AND state = 0"
                 " AND not_before_ms <= $3 ORDER BY not_before_ms, num LIMIT $4",
                 PG_ARGS(pg_text(tenant), pg_text(webhook), pg_int(now_ms),
                         pg_int(limit < LIST_MAX ? (int64_t)limit : LIST_MAX)),
                 &found, err) < 0)
        return -1;
    *out = delivery_rows(arena, found, count);
    return 0;
}

int pg_delivery_next(struct meta_tx *tx, const char *tenant, const char *webhook, int64_t *not_before_ms,
                     struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_wall(tx, tenant, err) < 0 ||
        pg_query(tx,
                 "SELECT not_before_ms FROM delivery WHERE tenant = $1 AND webhook = $2 AND state = 0"
                 " ORDER BY not_before_ms LIMIT 1",
                 PG_ARGS(pg_text(tenant), pg_text(webhook)), &found, err) < 0)
        return -1;
    *not_before_ms = PQntuples(found) ? pg_col_int(found, 0, 0) : INT64_MAX;
    return 0;
}

int pg_delivery_settle(struct meta_tx *tx, const struct meta_delivery *row, struct error *err)
{
    if (pg_wall(tx, row->tenant, err) < 0 ||
        pg_later(tx,
                 "UPDATE delivery SET state = $2, attempts = $3, not_before_ms = $4, ended_ms = $5, status = $6,"
                 " took_ms = $7, error = $8 WHERE num = $1",
                 PG_ARGS(pg_int(row->num), pg_int(row->state), pg_int(row->attempts), pg_int(row->not_before_ms),
                         pg_int(row->ended_ms), pg_int(row->status), pg_int(row->took_ms), pg_text(row->error)),
                 err) < 0)
        return -1;
    if (row->state < DELIVERY_DELIVERED)
        return 0;
    return pg_later(tx,
                    "UPDATE delivery SET state = 0, not_before_ms = $4 WHERE num = (SELECT min(num) FROM delivery"
                    " WHERE tenant = $1 AND webhook = $2 AND item = $3 AND state < 2) AND state = 1",
                    PG_ARGS(pg_text(row->tenant), pg_text(row->webhook), pg_text(row->item), pg_int(row->ended_ms)),
                    err);
}

int pg_delivery_list(struct meta_tx *tx, struct arena *arena, const struct delivery_query *query,
                     struct meta_delivery **out, size_t *count, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_wall(tx, query->tenant, err) < 0 ||
        pg_query(tx,
                 "SELECT " DELIVERY_COLUMNS " FROM delivery WHERE tenant = $1 AND webhook = $2"
                 " AND ($3 < 0 OR state = $3 OR ($3 = 0 AND state = 1)) AND num < $4 ORDER BY num DESC LIMIT $5",
                 PG_ARGS(pg_text(query->tenant), pg_text(query->webhook), pg_int(query->state),
                         pg_int(query->before ? query->before : INT64_MAX),
                         pg_int(query->limit < LIST_MAX ? (int64_t)query->limit : LIST_MAX)),
                 &found, err) < 0)
        return -1;
    *out = delivery_rows(arena, found, count);
    return 0;
}

int pg_delivery_waiting(struct meta_tx *tx, const char *tenant, const char *webhook, uint64_t *out, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_wall(tx, tenant, err) < 0 ||
        pg_query(tx, "SELECT count(*) FROM delivery WHERE tenant = $1 AND webhook = $2 AND state < 2",
                 PG_ARGS(pg_text(tenant), pg_text(webhook)), &found, err) < 0)
        return -1;
    *out = (uint64_t)pg_col_int(found, 0, 0);
    return 0;
}

int pg_delivery_prune(struct meta_tx *tx, int64_t before_ms, size_t limit, struct error *err)
{
    if (pg_wall(tx, PG_ALL, err) < 0)
        return -1;
    return pg_later(tx,
                    "DELETE FROM delivery WHERE num IN (SELECT num FROM delivery WHERE state >= 2 AND ended_ms < $1"
                    " ORDER BY ended_ms LIMIT $2)",
                    PG_ARGS(pg_int(before_ms), pg_int((int64_t)limit)), err);
}
