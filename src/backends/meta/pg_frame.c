// SPDX-License-Identifier: Apache-2.0
// Frames of videos: rows of media with a parent. One index serves all that is asked of them, (tenant, parent, status,
// time): whether one is still waited for is one look; those of a video are few enough (a configured limit) to be
// sorted.
#include "backends/meta/pg_int.h"

int pg_frame_list(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *parent, int64_t after_ms,
                  size_t limit, struct media **out, size_t *count, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_wall(tx, tenant, err) < 0 ||
        pg_query(tx,
                 "SELECT " PG_MEDIA_COLUMNS " FROM media WHERE tenant = $1 AND parent IS NOT NULL AND parent = $2"
                 " AND time_ms > $3 ORDER BY time_ms, id LIMIT $4",
                 PG_ARGS(pg_text(tenant), pg_text(parent), pg_int(after_ms),
                         pg_int(limit < INT32_MAX ? (int64_t)limit : INT32_MAX)),
                 &found, err) < 0)
        return -1;
    *out = pg_media_rows(arena, found, count);
    return 0;
}

int pg_frame_waits(struct meta_tx *tx, const char *tenant, const char *parent, bool *out, struct error *err)
{
    _Static_assert(MEDIA_UPLOADED == 0 && MEDIA_PROCESSING == 1, "the numbers stand in SQL");
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_wall(tx, tenant, err) < 0 ||
        pg_query(tx,
                 "SELECT 1 FROM media WHERE tenant = $1 AND parent IS NOT NULL AND parent = $2 AND status IN (0, 1)"
                 " LIMIT 1",
                 PG_ARGS(pg_text(tenant), pg_text(parent)), &found, err) < 0)
        return -1;
    *out = PQntuples(found) > 0;
    return 0;
}

int pg_frame_count(struct meta_tx *tx, const char *tenant, const char *parent, struct meta_frames *out,
                   struct error *err)
{
    _Static_assert(MEDIA_FAILED == 2 && MEDIA_COMPLETED == 3 && MEDIA_DELETING == 4, "the numbers stand in SQL");
    _cleanup_pg_result_ PGresult *counted = NULL;
    if (pg_wall(tx, tenant, err) < 0 ||
        pg_query(tx,
                 "SELECT count(*) FILTER (WHERE status < 2), count(*) FILTER (WHERE status = 3),"
                 " count(*) FILTER (WHERE status = 2), count(*) FILTER (WHERE status = 4)"
                 " FROM media WHERE tenant = $1 AND parent IS NOT NULL AND parent = $2",
                 PG_ARGS(pg_text(tenant), pg_text(parent)), &counted, err) < 0)
        return -1;
    *out = (struct meta_frames){.waiting = (uint64_t)pg_col_int(counted, 0, 0),
                                .searchable = (uint64_t)pg_col_int(counted, 0, 1),
                                .failed = (uint64_t)pg_col_int(counted, 0, 2),
                                .deleting = (uint64_t)pg_col_int(counted, 0, 3)};
    return 0;
}
