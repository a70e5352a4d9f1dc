// SPDX-License-Identifier: Apache-2.0
// Tenants, their ledger, and settings.
#include "backends/meta/slug.h"
#include "backends/meta/sqlite_int.h"
#include "base/clock.h"

static int exists(struct meta_tx *tx, const char *sql, const char *text, bool *out, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, sql, SQ_ARGS(sq_text(text)), &stmt, err) < 0)
        return -1;
    int rc = sq_next(tx, stmt, err);
    if (rc < 0)
        return -1;
    *out = rc > 0;
    return 0;
}

static int choose_slug(struct meta_tx *tx, const char *name, char slug[SLUG_MAX], struct error *err)
{
    for (int attempt = 0; slug_candidate(name, attempt, slug); attempt++) {
        bool taken;
        if (exists(tx, "SELECT 1 FROM tenant WHERE slug = ?1", slug, &taken, err) < 0)
            return -1;
        if (!taken)
            return 0;
    }
    return error_set(err, ERR_CONFLICT, "No short name is left for the tenant %s", name);
}

int sq_tenant_add(struct meta_tx *tx, const char *name, struct error *err)
{
    bool there;
    if (tenant_name_check(name, err) < 0 || exists(tx, "SELECT 1 FROM tenant WHERE name = ?1", name, &there, err) < 0)
        return -1;
    if (there)
        return 0;
    char slug[SLUG_MAX];
    if (choose_slug(tx, name, slug, err) < 0)
        return -1;
    return sq_exec(tx, "INSERT INTO tenant (name, slug, created_ms) VALUES (?1, ?2, ?3)",
                   SQ_ARGS(sq_text(name), sq_text(slug), sq_int(clock_now_ms())), err);
}

static struct meta_tenant tenant_row(struct arena *arena, sqlite3_stmt *stmt)
{
    return (struct meta_tenant){.name = sq_col_text(arena, stmt, 0),
                                .slug = sq_col_text(arena, stmt, 1),
                                .created_ms = sq_col_int(stmt, 2),
                                .leaving_ms = sq_col_int(stmt, 3)};
}

static int unknown(const char *tenant, struct error *err)
{
    return error_set(err, ERR_TENANT_UNKNOWN, "There is no tenant %.80s", tenant);
}

int sq_tenant_get(struct meta_tx *tx, struct arena *arena, const char *name, struct meta_tenant *out, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, "SELECT name, slug, created_ms, leaving_ms FROM tenant WHERE name = ?1", SQ_ARGS(sq_text(name)),
                 &stmt, err) < 0)
        return -1;
    int rc = sq_next(tx, stmt, err);
    if (rc <= 0)
        return rc < 0 ? -1 : unknown(name, err);
    *out = tenant_row(arena, stmt);
    return 0;
}

int sq_tenant_list(struct meta_tx *tx, struct arena *arena, struct meta_tenant **out, size_t *count, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, "SELECT name, slug, created_ms, leaving_ms, count(*) OVER () FROM tenant ORDER BY name",
                 SQ_NO_ARGS, &stmt, err) < 0)
        return -1;
    struct meta_tenant *rows = NULL;
    size_t n = 0;
    int rc;
    while ((rc = sq_next(tx, stmt, err)) > 0) {
        if (!rows)
            rows = arena_alloc(arena, (size_t)sq_col_int(stmt, 4) * sizeof *rows);
        rows[n++] = tenant_row(arena, stmt);
    }
    if (rc < 0)
        return -1;
    *out = rows;
    *count = n;
    return 0;
}

int sq_tenant_leave(struct meta_tx *tx, const char *name, int64_t now_ms, struct error *err)
{
    if (sq_exec(tx, "UPDATE tenant SET leaving_ms = iif(leaving_ms, leaving_ms, ?2) WHERE name = ?1",
                SQ_ARGS(sq_text(name), sq_int(now_ms)), err) < 0)
        return -1;
    return sq_changes(tx) ? 0 : unknown(name, err);
}

int sq_tenant_remove(struct meta_tx *tx, const char *name, struct error *err)
{
    bool there;
    if (exists(tx, "SELECT 1 FROM media WHERE tenant = ?1 LIMIT 1", name, &there, err) < 0)
        return -1;
    if (there)
        return error_set(err, ERR_CONFLICT, "The tenant %.80s has items still", name);
    if (sq_exec(tx, "DELETE FROM message WHERE tenant = ?1", SQ_ARGS(sq_text(name)), err) < 0 ||
        sq_exec(tx, "DELETE FROM erased WHERE tenant = ?1", SQ_ARGS(sq_text(name)), err) < 0 ||
        sq_exec(tx, "DELETE FROM reply WHERE tenant = ?1", SQ_ARGS(sq_text(name)), err) < 0 ||
        sq_exec(tx, "DELETE FROM optout WHERE tenant = ?1", SQ_ARGS(sq_text(name)), err) < 0 ||
        sq_exec(tx, "DELETE FROM workflow WHERE tenant = ?1", SQ_ARGS(sq_text(name)), err) < 0 ||
        sq_exec(tx, "DELETE FROM tenant WHERE name = ?1", SQ_ARGS(sq_text(name)), err) < 0)
        return -1;
    return sq_changes(tx) ? 0 : unknown(name, err);
}

// ---- The ledger: what was counted on the way in and out, and what is there, so that the sum is a check.

static int ledger_counters(struct meta_tx *tx, const char *tenant, struct meta_ledger *ledger, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    const char *sql = tenant ? "SELECT accepted, deleted, duplicates FROM tenant WHERE name = ?1"
                             : "SELECT sum(accepted), sum(deleted), sum(duplicates) FROM tenant";
    struct sq_arg arg = sq_text(tenant);
    if (sq_query(tx, sql, &arg, tenant ? 1 : 0, &stmt, err) < 0)
        return -1;
    int rc = sq_next(tx, stmt, err);
    if (rc <= 0)
        return rc < 0 ? -1 : unknown(tenant, err);
    ledger->accepted = (uint64_t)sq_col_int(stmt, 0);
    ledger->deleted = (uint64_t)sq_col_int(stmt, 1);
    ledger->duplicates = (uint64_t)sq_col_int(stmt, 2);
    return 0;
}

static int ledger_rows(struct meta_tx *tx, const char *tenant, struct meta_ledger *ledger, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    const char *sql = tenant ? "SELECT status, count(*) FROM media INDEXED BY uploads_by_status"
                               " WHERE tenant = ?1 AND parent IS NULL GROUP BY status"
                             : "SELECT status, count(*) FROM media INDEXED BY uploads_by_status"
                               " WHERE parent IS NULL GROUP BY tenant, status";
    struct sq_arg arg = sq_text(tenant);
    if (sq_query(tx, sql, &arg, tenant ? 1 : 0, &stmt, err) < 0)
        return -1;
    int rc;
    while ((rc = sq_next(tx, stmt, err)) > 0) {
        uint64_t n = (uint64_t)sq_col_int(stmt, 1);
        switch (sq_col_int(stmt, 0)) {
        case MEDIA_COMPLETED:
            ledger->searchable += n;
            break;
        case MEDIA_FAILED:
            ledger->failed += n;
            break;
        default:
            ledger->in_flight += n;
        }
    }
    return rc;
}

int sq_ledger(struct meta_tx *tx, const char *tenant, struct meta_ledger *out, struct error *err)
{
    struct meta_ledger ledger = {0};
    if (ledger_counters(tx, tenant, &ledger, err) < 0 || ledger_rows(tx, tenant, &ledger, err) < 0)
        return -1;
    *out = ledger;
    return 0;
}

// ---- Settings.

int sq_setting_get(struct meta_tx *tx, struct arena *arena, const char *name, const char **value, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, "SELECT value FROM setting WHERE name = ?1", SQ_ARGS(sq_text(name)), &stmt, err) < 0)
        return -1;
    int rc = sq_next(tx, stmt, err);
    if (rc <= 0)
        return rc < 0 ? -1 : error_set(err, ERR_NOT_FOUND, "There is no setting %.80s", name);
    *value = sq_col_text(arena, stmt, 0);
    return 0;
}

int sq_setting_put(struct meta_tx *tx, const char *name, const char *value, struct error *err)
{
    return sq_exec(tx,
                   "INSERT INTO setting (name, value) VALUES (?1, ?2)"
                   " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                   SQ_ARGS(sq_text(name), sq_text(value)), err);
}
