// SPDX-License-Identifier: Apache-2.0
// Frames of videos: rows of media with a parent. One index serves all that is asked of them, (tenant, parent, status,
// time): whether one is still waited for is one look; those of a video are few enough (a configured limit) to be
// sorted.
#include "backends/meta/sqlite_int.h"

int sq_frame_list(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *parent, int64_t after_ms,
                  size_t limit, struct media **out, size_t *count, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx,
                 "SELECT " SQ_MEDIA_COLUMNS " FROM media INDEXED BY frames_by_parent"
                 " WHERE tenant = ?1 AND parent IS NOT NULL AND parent = ?2 AND time_ms > ?3"
                 " ORDER BY time_ms, id LIMIT ?4",
                 SQ_ARGS(sq_text(tenant), sq_text(parent), sq_int(after_ms),
                         sq_int(limit < INT32_MAX ? (int64_t)limit : INT32_MAX)),
                 &stmt, err) < 0)
        return -1;
    return sq_media_rows(tx, arena, stmt, out, count, err);
}

int sq_frame_waits(struct meta_tx *tx, const char *tenant, const char *parent, bool *out, struct error *err)
{
    _Static_assert(MEDIA_UPLOADED == 0 && MEDIA_PROCESSING == 1, "the numbers stand in SQL");
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx,
                 "SELECT 1 FROM media INDEXED BY frames_by_parent"
                 " WHERE tenant = ?1 AND parent IS NOT NULL AND parent = ?2 AND status IN (0, 1) LIMIT 1",
                 SQ_ARGS(sq_text(tenant), sq_text(parent)), &stmt, err) < 0)
        return -1;
    int rc = sq_next(tx, stmt, err);
    if (rc < 0)
        return -1;
    *out = rc > 0;
    return 0;
}

int sq_frame_count(struct meta_tx *tx, const char *tenant, const char *parent, struct meta_frames *out,
                   struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx,
                 "SELECT status, count(*) FROM media INDEXED BY frames_by_parent"
                 " WHERE tenant = ?1 AND parent IS NOT NULL AND parent = ?2 GROUP BY status",
                 SQ_ARGS(sq_text(tenant), sq_text(parent)), &stmt, err) < 0)
        return -1;
    struct meta_frames frames = {0};
    int rc;
    while ((rc = sq_next(tx, stmt, err)) > 0) {
        uint64_t n = (uint64_t)sq_col_int(stmt, 1);
        switch (sq_col_int(stmt, 0)) {
        case MEDIA_COMPLETED:
            frames.searchable += n;
            break;
        case MEDIA_FAILED:
            frames.failed += n;
            break;
        case MEDIA_DELETING:
            frames.deleting += n;
            break;
        default:
            frames.waiting += n;
        }
    }
    if (rc < 0)
        return -1;
    *out = frames;
    return 0;
}
