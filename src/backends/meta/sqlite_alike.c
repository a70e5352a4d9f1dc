// SPDX-License-Identifier: Apache-2.0
// Groups of look-alikes: a number for each (item, model). A group needs no row of its own: it is what its members have
// in common, and ends when they go.
#include "backends/meta/sqlite_int.h"
#include "base/clock.h"

struct member {
    int64_t row;    // media.row
    int64_t number; // of its group; 0: none
};

static int find_member(struct meta_tx *tx, const char *tenant, const char *model, const char *id, struct member *out,
                       struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx,
                 "SELECT m.row, a.number FROM media m LEFT JOIN alike a ON a.media = m.row AND a.model = ?3"
                 " WHERE m.tenant = ?1 AND m.id = ?2 AND m.status <> 4",
                 SQ_ARGS(sq_text(tenant), sq_text(id), sq_text(model)), &stmt, err) < 0)
        return -1;
    int rc = sq_next(tx, stmt, err);
    if (rc <= 0)
        return rc < 0 ? -1 : error_set(err, ERR_NOT_FOUND, "There is no item %.80s", id);
    *out = (struct member){sq_col_int(stmt, 0), sq_col_int(stmt, 1)};
    return 0;
}

static int new_number(struct meta_tx *tx, const char *tenant, const char *model, int64_t *out, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, "SELECT max(number) FROM alike WHERE tenant = ?1 AND model = ?2",
                 SQ_ARGS(sq_text(tenant), sq_text(model)), &stmt, err) < 0 ||
        sq_next(tx, stmt, err) < 0)
        return -1;
    *out = sq_col_int(stmt, 0) + 1;
    return 0;
}

static int put_member(struct meta_tx *tx, const char *tenant, const char *model, int64_t row, int64_t number,
                      const char *nearest, double score, struct error *err)
{
    return sq_exec(tx,
                   "INSERT INTO alike (media, model, tenant, number, nearest, score, joined_ms)"
                   " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (media, model) DO UPDATE SET"
                   " number = excluded.number, nearest = iif(excluded.score > score, excluded.nearest, nearest),"
                   " score = max(score, excluded.score), joined_ms = excluded.joined_ms",
                   SQ_ARGS(sq_int(row), sq_text(model), sq_text(tenant), sq_int(number), sq_text(nearest),
                           sq_real(score), sq_int(clock_now_ms())),
                   err);
}

int sq_alike_join(struct meta_tx *tx, const char *tenant, const char *model, const char *id, const char *other,
                  double score, struct error *err)
{
    struct member one, two;
    int64_t number;
    if (find_member(tx, tenant, model, id, &one, err) < 0 || find_member(tx, tenant, model, other, &two, err) < 0 ||
        new_number(tx, tenant, model, &number, err) < 0)
        return -1;
    if (one.number && two.number && one.number != two.number) { // the group that there was first takes the other in
        number = one.number < two.number ? one.number : two.number;
        if (sq_exec(tx, "UPDATE alike SET number = ?3 WHERE tenant = ?1 AND model = ?2 AND number = ?4",
                    SQ_ARGS(sq_text(tenant), sq_text(model), sq_int(number),
                            sq_int(one.number < two.number ? two.number : one.number)),
                    err) < 0)
            return -1;
    } else if (one.number || two.number) {
        number = one.number ? one.number : two.number;
    }
    return put_member(tx, tenant, model, one.row, number, other, score, err) < 0
               ? -1
               : put_member(tx, tenant, model, two.row, number, id, score, err);
}

int sq_alike_leave(struct meta_tx *tx, const char *tenant, const char *model, const char *id, int64_t before_ms,
                   struct error *err)
{
    return sq_exec(tx,
                   "DELETE FROM alike WHERE media = (SELECT row FROM media WHERE tenant = ?1 AND id = ?2)"
                   " AND model = ?3 AND joined_ms < ?4",
                   SQ_ARGS(sq_text(tenant), sq_text(id), sq_text(model), sq_int(before_ms)), err);
}

int sq_alike_forget(struct meta_tx *tx, const char *tenant, const char *id, struct error *err)
{
    return sq_exec(tx, "DELETE FROM alike WHERE media = (SELECT row FROM media WHERE tenant = ?1 AND id = ?2)",
                   SQ_ARGS(sq_text(tenant), sq_text(id)), err);
}

int sq_alike_drop(struct meta_tx *tx, const char *tenant, const char *model, size_t limit, size_t *dropped,
                  struct error *err)
{
    if (sq_exec(tx,
                "DELETE FROM alike WHERE model = ?2 AND media IN"
                " (SELECT media FROM alike WHERE tenant = ?1 AND model = ?2 ORDER BY number LIMIT ?3)",
                SQ_ARGS(sq_text(tenant), sq_text(model), sq_int((int64_t)limit)), err) < 0)
        return -1;
    *dropped = (size_t)sq_changes(tx);
    return 0;
}

// ---- Reading

int sq_alike_find(struct meta_tx *tx, const char *tenant, const char *model, const char *id, int64_t *group,
                  struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx,
                 "SELECT number FROM alike a WHERE media = (SELECT row FROM media WHERE tenant = ?1 AND id = ?2)"
                 " AND model = ?3 AND EXISTS (SELECT 1 FROM alike b WHERE b.tenant = ?1 AND b.model = ?3"
                 "  AND b.number = a.number AND b.media <> a.media)",
                 SQ_ARGS(sq_text(tenant), sq_text(id), sq_text(model)), &stmt, err) < 0)
        return -1;
    int rc = sq_next(tx, stmt, err);
    if (rc < 0)
        return -1;
    *group = rc ? sq_col_int(stmt, 0) : 0;
    return 0;
}

int sq_alike_groups(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *model, int64_t before,
                    size_t limit, struct meta_alike **out, size_t *count, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx,
                 "SELECT number, count(*) FROM alike WHERE tenant = ?1 AND model = ?2 AND number < ?3"
                 " GROUP BY number HAVING count(*) > 1 ORDER BY number DESC LIMIT ?4",
                 SQ_ARGS(sq_text(tenant), sq_text(model), sq_int(before ? before : INT64_MAX),
                         sq_int(limit < INT32_MAX ? (int64_t)limit : INT32_MAX)),
                 &stmt, err) < 0)
        return -1;
    struct meta_alike *groups = arena_alloc(arena, (limit + 1) * sizeof *groups);
    size_t n = 0;
    int rc;
    while ((rc = sq_next(tx, stmt, err)) > 0)
        groups[n++] = (struct meta_alike){.group = sq_col_int(stmt, 0), .count = (size_t)sq_col_int(stmt, 1)};
    if (rc < 0)
        return -1;
    *out = groups;
    *count = n;
    return 0;
}

static int count_members(struct meta_tx *tx, const char *tenant, const char *model, int64_t group, size_t *out,
                         struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, "SELECT count(*) FROM alike WHERE tenant = ?1 AND model = ?2 AND number = ?3",
                 SQ_ARGS(sq_text(tenant), sq_text(model), sq_int(group)), &stmt, err) < 0 ||
        sq_next(tx, stmt, err) < 0)
        return -1;
    *out = (size_t)sq_col_int(stmt, 0);
    return 0;
}

// What each of the members is most like, in the same order.
static int read_nearest(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *model, int64_t group,
                        struct meta_alike_item *items, size_t count, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx,
                 "SELECT n.id, a.score FROM alike a JOIN media m ON m.row = a.media"
                 " LEFT JOIN media n ON n.tenant = ?1 AND n.id = a.nearest AND n.status <> 4"
                 " WHERE a.tenant = ?1 AND a.model = ?2 AND a.number = ?3 ORDER BY m.uploaded_ms, m.id LIMIT ?4",
                 SQ_ARGS(sq_text(tenant), sq_text(model), sq_int(group), sq_int((int64_t)count)), &stmt, err) < 0)
        return -1;
    int rc = 1;
    for (size_t i = 0; i < count && (rc = sq_next(tx, stmt, err)) > 0; i++) {
        items[i].nearest = sq_col_text(arena, stmt, 0);
        items[i].score = sqlite3_column_double(stmt, 1);
    }
    return rc < 0 ? -1 : 0;
}

int sq_alike_members(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *model, int64_t group,
                     size_t limit, struct meta_alike_item **out, size_t *count, size_t *total, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    struct media *rows;
    size_t all, n;
    if (count_members(tx, tenant, model, group, &all, err) < 0 ||
        sq_query(tx,
                 "SELECT " SQ_MEDIA_COLUMNS " FROM media WHERE row IN"
                 " (SELECT media FROM alike WHERE tenant = ?1 AND model = ?2 AND number = ?3)"
                 " ORDER BY uploaded_ms, id LIMIT ?4",
                 SQ_ARGS(sq_text(tenant), sq_text(model), sq_int(group),
                         sq_int(limit < INT32_MAX ? (int64_t)limit : INT32_MAX)),
                 &stmt, err) < 0 ||
        sq_media_rows(tx, arena, stmt, &rows, &n, err) < 0)
        return -1;
    struct meta_alike_item *items = arena_alloc(arena, (n + 1) * sizeof *items);
    for (size_t i = 0; i < n; i++)
        items[i] = (struct meta_alike_item){.media = rows[i]};
    if (read_nearest(tx, arena, tenant, model, group, items, n, err) < 0)
        return -1;
    *out = items;
    *count = n;
    *total = all;
    return 0;
}
