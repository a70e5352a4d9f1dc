// SPDX-License-Identifier: Apache-2.0
// Tenants, their ledger, and settings.
#include "backends/meta/pg_int.h"
#include "backends/meta/slug.h"
#include "base/clock.h"

static int exists(struct meta_tx *tx, const char *sql, const char *text, bool *out, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_query(tx, sql, PG_ARGS(pg_text(text)), &found, err) < 0)
        return -1;
    *out = PQntuples(found) > 0;
    return 0;
}

static int choose_slug(struct meta_tx *tx, const char *name, char slug[SLUG_MAX], struct error *err)
{
    for (int attempt = 0; slug_candidate(name, attempt, slug); attempt++) {
        bool taken;
        if (exists(tx, "SELECT 1 FROM tenant WHERE slug = $1", slug, &taken, err) < 0)
            return -1;
        if (!taken)
            return 0;
    }
    return error_set(err, ERR_CONFLICT, "No short name is left for the tenant %s", name);
}

int pg_tenant_add(struct meta_tx *tx, const char *name, struct error *err)
{
    bool there;
    char slug[SLUG_MAX];
    if (tenant_name_check(name, err) < 0 || exists(tx, "SELECT 1 FROM tenant WHERE name = $1", name, &there, err) < 0)
        return -1;
    if (there)
        return 0;
    if (choose_slug(tx, name, slug, err) < 0)
        return -1;
    return pg_later(tx, "INSERT INTO tenant (name, slug, created_ms) VALUES ($1, $2, $3)",
                    PG_ARGS(pg_text(name), pg_text(slug), pg_int(clock_now_ms())), err);
}

static struct meta_tenant tenant_row(struct arena *arena, const PGresult *rows, int i)
{
    return (struct meta_tenant){.name = pg_col_text(arena, rows, i, 0),
                                .slug = pg_col_text(arena, rows, i, 1),
                                .created_ms = pg_col_int(rows, i, 2),
                                .leaving_ms = pg_col_int(rows, i, 3)};
}

static int unknown(const char *tenant, struct error *err)
{
    return error_set(err, ERR_TENANT_UNKNOWN, "There is no tenant %.80s", tenant);
}

int pg_tenant_get(struct meta_tx *tx, struct arena *arena, const char *name, struct meta_tenant *out, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_query(tx, "SELECT name, slug, created_ms, leaving_ms FROM tenant WHERE name = $1", PG_ARGS(pg_text(name)),
                 &found, err) < 0)
        return -1;
    if (!PQntuples(found))
        return unknown(name, err);
    *out = tenant_row(arena, found, 0);
    return 0;
}

int pg_tenant_list(struct meta_tx *tx, struct arena *arena, struct meta_tenant **out, size_t *count, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_query(tx, "SELECT name, slug, created_ms, leaving_ms FROM tenant ORDER BY name", PG_NO_ARGS, &found, err) <
        0)
        return -1;
    size_t n = (size_t)PQntuples(found);
    struct meta_tenant *rows = arena_alloc(arena, (n + 1) * sizeof *rows);
    for (size_t i = 0; i < n; i++)
        rows[i] = tenant_row(arena, found, (int)i);
    *out = rows;
    *count = n;
    return 0;
}

int pg_tenant_leave(struct meta_tx *tx, const char *name, int64_t now_ms, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_write_query(tx,
                       "UPDATE tenant SET leaving_ms = CASE leaving_ms WHEN 0 THEN $2 ELSE leaving_ms END"
                       " WHERE name = $1 RETURNING 1",
                       PG_ARGS(pg_text(name), pg_int(now_ms)), &found, err) < 0)
        return -1;
    return PQntuples(found) ? 0 : unknown(name, err);
}

int pg_tenant_remove(struct meta_tx *tx, const char *name, struct error *err)
{
    bool there;
    _cleanup_pg_result_ PGresult *removed = NULL;
    if (pg_wall(tx, name, err) < 0 ||
        exists(tx, "SELECT 1 FROM media WHERE tenant = $1 LIMIT 1", name, &there, err) < 0)
        return -1;
    if (there)
        return error_set(err, ERR_CONFLICT, "The tenant %.80s has items still", name);
    if (pg_later(tx, "DELETE FROM message WHERE tenant = $1", PG_ARGS(pg_text(name)), err) < 0 ||
        pg_later(tx, "DELETE FROM erased WHERE tenant = $1", PG_ARGS(pg_text(name)), err) < 0 ||
        pg_later(tx, "DELETE FROM reply WHERE tenant = $1", PG_ARGS(pg_text(name)), err) < 0 ||
        pg_later(tx, "DELETE FROM optout WHERE tenant = $1", PG_ARGS(pg_text(name)), err) < 0 ||
        pg_later(tx, "DELETE FROM workflow WHERE tenant = $1", PG_ARGS(pg_text(name)), err) < 0 ||
        pg_write_query(tx, "DELETE FROM tenant WHERE name = $1 RETURNING 1", PG_ARGS(pg_text(name)), &removed, err) < 0)
        return -1;
    return PQntuples(removed) ? 0 : unknown(name, err);
}

// ---- The ledger: what was counted on the way in and out, and what is there, so that the sum is a check.

#define COUNTS                                                                                                         \
    "count(*) FILTER (WHERE status = 3) AS searchable, count(*) FILTER (WHERE status = 2) AS failed,"                  \
    " count(*) FILTER (WHERE status NOT IN (2, 3)) AS in_flight"

int pg_ledger(struct meta_tx *tx, const char *tenant, struct meta_ledger *out, struct error *err)
{
    _Static_assert(MEDIA_FAILED == 2 && MEDIA_COMPLETED == 3, "the numbers stand in SQL and in databases");
    _cleanup_pg_result_ PGresult *counted = NULL;
    struct pg_arg arg = pg_text(tenant);
    const char *sql = tenant ? "SELECT accepted, deleted, duplicates, searchable, failed, in_flight FROM tenant,"
                               " (SELECT " COUNTS " FROM media WHERE tenant = $1 AND parent IS NULL) AS counted"
                               " WHERE name = $1"
                             : "SELECT sum(accepted)::bigint, sum(deleted)::bigint, sum(duplicates)::bigint,"
                               " max(searchable), max(failed), max(in_flight) FROM tenant,"
                               " (SELECT " COUNTS " FROM media WHERE parent IS NULL) AS counted";
    if (pg_wall(tx, tenant ? tenant : PG_ALL, err) < 0 || pg_query(tx, sql, &arg, tenant ? 1 : 0, &counted, err) < 0)
        return -1;
    if (!PQntuples(counted))
        return unknown(tenant, err);
    *out = (struct meta_ledger){.accepted = (uint64_t)pg_col_int(counted, 0, 0),
                                .deleted = (uint64_t)pg_col_int(counted, 0, 1),
                                .duplicates = (uint64_t)pg_col_int(counted, 0, 2),
                                .searchable = (uint64_t)pg_col_int(counted, 0, 3),
                                .failed = (uint64_t)pg_col_int(counted, 0, 4),
                                .in_flight = (uint64_t)pg_col_int(counted, 0, 5)};
    return 0;
}

// ---- Settings.

int pg_setting_get(struct meta_tx *tx, struct arena *arena, const char *name, const char **value, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_query(tx, "SELECT value FROM setting WHERE name = $1", PG_ARGS(pg_text(name)), &found, err) < 0)
        return -1;
    if (!PQntuples(found))
        return error_set(err, ERR_NOT_FOUND, "There is no setting %.80s", name);
    *value = pg_col_text(arena, found, 0, 0);
    return 0;
}

int pg_setting_put(struct meta_tx *tx, const char *name, const char *value, struct error *err)
{
    return pg_later(tx,
                    "INSERT INTO setting (name, value) VALUES ($1, $2)"
                    " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    PG_ARGS(pg_text(name), pg_text(value)), err);
}
