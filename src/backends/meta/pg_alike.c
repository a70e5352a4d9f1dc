// SPDX-License-Identifier: Apache-2.0
// Groups of look-alikes: a number for each (item, model). A group needs no row of its own: it is what its members have
// in common, and ends when they go.
#include "backends/meta/pg_int.h"
#include "base/clock.h"

struct member {
    int64_t num;    // media.num
    int64_t number; // of its group; 0: none
};

static int find_members(struct meta_tx *tx, const char *tenant, const char *model, const char *id, const char *other,
                        struct member out[2], int64_t *next, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_write_query(tx,
                       "SELECT (m.id = $3)::int::bigint, m.num, coalesce(a.number, 0), (SELECT coalesce(max(number), "
                       "0) + 1 FROM alike"
                       "  WHERE tenant = $1 AND model = $2) FROM media m LEFT JOIN alike a ON a.media = m.num"
                       " AND a.model = $2 WHERE m.tenant = $1 AND m.id IN ($3, $4) AND m.status <> 4",
                       PG_ARGS(pg_text(tenant), pg_text(model), pg_text(id), pg_text(other)), &found, err) < 0)
        return -1;
    struct member members[2] = {{0, 0}, {0, 0}};
    for (int i = 0; i < PQntuples(found); i++) {
        members[!pg_col_int(found, i, 0)] = (struct member){pg_col_int(found, i, 1), pg_col_int(found, i, 2)};
        *next = pg_col_int(found, i, 3);
    }
    if (!members[0].num || !members[1].num)
        return error_set(err, ERR_NOT_FOUND, "There is no item %.80s", members[0].num ? other : id);
    memcpy(out, members, sizeof members);
    return 0;
}

static int put_member(struct meta_tx *tx, const char *tenant, const char *model, int64_t num, int64_t number,
                      const char *nearest, double score, struct error *err)
{
    return pg_later(tx,
                    "INSERT INTO alike (media, model, tenant, number, nearest, score, joined_ms)"
                    " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (media, model) DO UPDATE SET"
                    " number = excluded.number, joined_ms = excluded.joined_ms,"
                    " nearest = CASE WHEN excluded.score > alike.score THEN excluded.nearest ELSE alike.nearest END,"
                    " score = greatest(alike.score, excluded.score)",
                    PG_ARGS(pg_int(num), pg_text(model), pg_text(tenant), pg_int(number), pg_text(nearest),
                            pg_real(score), pg_int(clock_now_ms())),
                    err);
}

// Two processes that give the same number at once, or join one group to another, are in each other's way, and one of
// them runs again.
int pg_alike_join(struct meta_tx *tx, const char *tenant, const char *model, const char *id, const char *other,
                  double score, struct error *err)
{
    struct member two[2] = {{0, 0}, {0, 0}};
    int64_t number = 0;
    if (pg_wall(tx, tenant, err) < 0 || find_members(tx, tenant, model, id, other, two, &number, err) < 0)
        return -1;
    int64_t a = two[0].number, b = two[1].number;
    if (a && b && a != b) { // the group that there was first takes the other in
        number = a < b ? a : b;
        if (pg_later(tx, "UPDATE alike SET number = $3 WHERE tenant = $1 AND model = $2 AND number = $4",
                     PG_ARGS(pg_text(tenant), pg_text(model), pg_int(number), pg_int(a < b ? b : a)), err) < 0)
            return -1;
    } else if (a || b) {
        number = a ? a : b;
    }
    return put_member(tx, tenant, model, two[0].num, number, other, score, err) < 0
               ? -1
               : put_member(tx, tenant, model, two[1].num, number, id, score, err);
}

int pg_alike_leave(struct meta_tx *tx, const char *tenant, const char *model, const char *id, int64_t before_ms,
                   struct error *err)
{
    if (pg_wall(tx, tenant, err) < 0)
        return -1;
    return pg_later(tx,
                    "DELETE FROM alike WHERE media = (SELECT num FROM media WHERE tenant = $1 AND id = $2)"
                    " AND model = $3 AND joined_ms < $4",
                    PG_ARGS(pg_text(tenant), pg_text(id), pg_text(model), pg_int(before_ms)), err);
}

int pg_alike_drop(struct meta_tx *tx, const char *tenant, const char *model, size_t limit, size_t *dropped,
                  struct error *err)
{
    _cleanup_pg_result_ PGresult *gone = NULL;
    if (pg_wall(tx, tenant, err) < 0 ||
        pg_write_query(tx,
                       "DELETE FROM alike WHERE model = $2 AND media IN (SELECT media FROM alike"
                       " WHERE tenant = $1 AND model = $2 ORDER BY number LIMIT $3) RETURNING 1",
                       PG_ARGS(pg_text(tenant), pg_text(model), pg_int((int64_t)limit)), &gone, err) < 0)
        return -1;
    *dropped = (size_t)PQntuples(gone);
    return 0;
}

// ---- Reading

int pg_alike_find(struct meta_tx *tx, const char *tenant, const char *model, const char *id, int64_t *group,
                  struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_wall(tx, tenant, err) < 0 ||
        pg_query(tx,
                 "SELECT number FROM alike a WHERE media = (SELECT num FROM media WHERE tenant = $1 AND id = $2)"
                 " AND model = $3 AND EXISTS (SELECT 1 FROM alike b WHERE b.tenant = $1 AND b.model = $3"
                 "  AND b.number = a.number AND b.media <> a.media)",
                 PG_ARGS(pg_text(tenant), pg_text(id), pg_text(model)), &found, err) < 0)
        return -1;
    *group = PQntuples(found) ? pg_col_int(found, 0, 0) : 0;
    return 0;
}

int pg_alike_groups(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *model, int64_t before,
                    size_t limit, struct meta_alike **out, size_t *count, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_wall(tx, tenant, err) < 0 ||
        pg_query(tx,
                 "SELECT number, count(*) FROM alike WHERE tenant = $1 AND model = $2 AND number < $3"
                 " GROUP BY number HAVING count(*) > 1 ORDER BY number DESC LIMIT $4",
                 PG_ARGS(pg_text(tenant), pg_text(model), pg_int(before ? before : INT64_MAX),
                         pg_int(limit < INT32_MAX ? (int64_t)limit : INT32_MAX)),
                 &found, err) < 0)
        return -1;
    size_t n = (size_t)PQntuples(found);
    struct meta_alike *groups = arena_alloc(arena, (n + 1) * sizeof *groups);
    for (size_t i = 0; i < n; i++)
        groups[i] =
            (struct meta_alike){.group = pg_col_int(found, (int)i, 0), .count = (size_t)pg_col_int(found, (int)i, 1)};
    *out = groups;
    *count = n;
    return 0;
}

// The rows of the members, and in the same order what each is most like.
int pg_alike_members(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *model, int64_t group,
                     size_t limit, struct meta_alike_item **out, size_t *count, size_t *total, struct error *err)
{
    _cleanup_pg_result_ PGresult *nearest = NULL, *found = NULL;
    int64_t most = limit < INT32_MAX ? (int64_t)limit : INT32_MAX;
    if (pg_wall(tx, tenant, err) < 0 ||
        pg_conn_send(pg_tx(tx)->conn,
                     "SELECT n.id, a.score, count(*) OVER () FROM alike a JOIN media m ON m.num = a.media"
                     " LEFT JOIN media n ON n.tenant = $1 AND n.id = a.nearest AND n.status <> 4"
                     " WHERE a.tenant = $1 AND a.model = $2 AND a.number = $3 ORDER BY m.uploaded_ms, m.id LIMIT $4",
                     PG_ARGS(pg_text(tenant), pg_text(model), pg_int(group), pg_int(most)), &nearest, err) < 0 ||
        pg_query(tx,
                 "SELECT " PG_MEDIA_COLUMNS " FROM media WHERE num IN"
                 " (SELECT media FROM alike WHERE tenant = $1 AND model = $2 AND number = $3)"
                 " ORDER BY uploaded_ms, id LIMIT $4",
                 PG_ARGS(pg_text(tenant), pg_text(model), pg_int(group), pg_int(most)), &found, err) < 0)
        return -1;
    size_t n;
    struct media *rows = pg_media_rows(arena, found, &n);
    struct meta_alike_item *items = arena_alloc(arena, (n + 1) * sizeof *items);
    for (size_t i = 0; i < n; i++)
        items[i] = (struct meta_alike_item){.media = rows[i],
                                            .nearest = pg_col_text(arena, nearest, (int)i, 0),
                                            .score = pg_col_real(nearest, (int)i, 1)};
    *out = items;
    *count = n;
    *total = n ? (size_t)pg_col_int(nearest, 0, 2) : 0;
    return 0;
}
