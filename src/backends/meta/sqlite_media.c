// SPDX-License-Identifier: Apache-2.0
// Media: rows of items. Every statement names the tenant (G7). The status is a number whose order is the direction
// in which it may move, so "only forward" is max(); the counters of the ledger change in the same transaction.
#include "backends/meta/sqlite_int.h"
#include "base/clock.h"

static struct media media_row(struct arena *arena, sqlite3_stmt *stmt)
{
    return (struct media){
        .tenant = sq_col_text(arena, stmt, 0),
        .id = sq_col_text(arena, stmt, 1),
        .kind = sq_col_text(arena, stmt, 2),
        .status = (enum media_status)sq_col_int(stmt, 3),
        .priority = (enum media_priority)sq_col_int(stmt, 4),
        .file_name = sq_col_text(arena, stmt, 5),
        .content_type = sq_col_text(arena, stmt, 6),
        .format = sq_col_text(arena, stmt, 7),
        .hash = sq_col_text(arena, stmt, 8),
        .blob_key = sq_col_text(arena, stmt, 9),
        .thumb_key = sq_col_text(arena, stmt, 10),
        .uploaded_by = sq_col_text(arena, stmt, 11),
        .metadata = sq_col_text(arena, stmt, 12),
        .tags = sq_col_text(arena, stmt, 13),
        .options = sq_col_text(arena, stmt, 14),
        .event_id = sq_col_text(arena, stmt, 15),
        .size = (uint64_t)sq_col_int(stmt, 16),
        .width = (int)sq_col_int(stmt, 17),
        .height = (int)sq_col_int(stmt, 18),
        .uploaded_ms = sq_col_int(stmt, 19),
        .updated_ms = sq_col_int(stmt, 20),
        .completed_ms = sq_col_int(stmt, 21),
        .error_code = sq_col_text(arena, stmt, 22),
        .error_message = sq_col_text(arena, stmt, 23),
        .auto_tags = sq_col_text(arena, stmt, 24),
        .alike_id = sq_col_text(arena, stmt, 25),
        .alike_score = sqlite3_column_double(stmt, 26),
        .parent = sq_col_text(arena, stmt, 27),
        .time_ms = sq_col_int(stmt, 28),
        .video = sq_col_text(arena, stmt, 29),
        .progress = sq_col_text(arena, stmt, 30),
    };
}

int sq_media_rows(struct meta_tx *tx, struct arena *arena, sqlite3_stmt *stmt, struct media **out, size_t *count,
                  struct error *err)
{
    struct media *items = NULL;
    size_t n = 0, room = 0;
    int rc;
    while ((rc = sq_next(tx, stmt, err)) > 0) {
        if (n == room) {
            struct media *grown = arena_alloc(arena, (room = room ? room * 2 : 16) * sizeof *grown);
            for (size_t i = 0; i < n; i++)
                grown[i] = items[i];
            items = grown;
        }
        items[n++] = media_row(arena, stmt);
    }
    if (rc < 0)
        return -1;
    *out = items;
    *count = n;
    return 0;
}

static int not_found(const char *id, struct error *err)
{
    return error_set(err, ERR_NOT_FOUND, "There is no item %.80s", id);
}

// Adds one to a counter of a tenant, which must be there (+ 0 only asks).
static int count_one(struct meta_tx *tx, const char *sql, const char *tenant, struct error *err)
{
    if (sq_exec(tx, sql, SQ_ARGS(sq_text(tenant)), err) < 0)
        return -1;
    return sq_changes(tx) ? 0 : error_set(err, ERR_TENANT_UNKNOWN, "There is no tenant %.80s", tenant);
}

int sq_media_insert(struct meta_tx *tx, const struct media *row, struct error *err)
{
    static const char upload[] = "UPDATE tenant SET accepted = accepted + 1 WHERE name = ?1 AND leaving_ms = 0",
                      frame[] = "UPDATE tenant SET accepted = accepted + 0 WHERE name = ?1";
    if (count_one(tx, row->parent ? frame : upload, row->tenant, err) < 0)
        return -1;
    struct error failed = {0};
    int rc =
        sq_exec(tx,
                "INSERT INTO media (" SQ_MEDIA_COLUMNS
                ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ifnull(?13, '{}'),"
                " ifnull(?14, '[]'), ifnull(?15, '{}'), ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, NULL, NULL,"
                " ?26, ?27, ?28, ?29)",
                SQ_ARGS(sq_text(row->tenant), sq_text(row->id), sq_text(row->kind), sq_int(row->status),
                        sq_int(row->priority), sq_text(row->file_name), sq_text(row->content_type),
                        sq_text(row->format), sq_text(row->hash), sq_text(row->blob_key), sq_text(row->thumb_key),
                        sq_text(row->uploaded_by), sq_text(row->metadata), sq_text(row->tags), sq_text(row->options),
                        sq_text(row->event_id), sq_int((int64_t)row->size), sq_int(row->width), sq_int(row->height),
                        sq_int(row->uploaded_ms), sq_int(row->updated_ms), sq_int(row->completed_ms),
                        sq_text(row->error_code), sq_text(row->error_message), sq_text(row->auto_tags),
                        sq_text(row->parent), sq_int(row->time_ms), sq_text(row->video), sq_text(row->progress)),
                &failed);
    if (rc < 0 && failed.code == ERR_EXISTS)
        return error_set(err, ERR_EXISTS, "The item %.80s is there already", row->id);
    return rc < 0 ? error_copy(err, &failed) : 0;
}

// The one row that a query of two texts gives.
static int get_one(struct meta_tx *tx, struct arena *arena, const char *sql, const char *tenant, const char *what,
                   struct media *out, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, sql, SQ_ARGS(sq_text(tenant), sq_text(what)), &stmt, err) < 0)
        return -1;
    int rc = sq_next(tx, stmt, err);
    if (rc <= 0)
        return rc < 0 ? -1 : not_found(what, err);
    *out = media_row(arena, stmt);
    return 0;
}

int sq_media_get(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id, struct media *out,
                 struct error *err)
{
    return get_one(tx, arena, "SELECT " SQ_MEDIA_COLUMNS " FROM media WHERE tenant = ?1 AND id = ?2", tenant, id, out,
                   err);
}

int sq_media_find_hash(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *hash, struct media *out,
                       struct error *err)
{
    // 2 and 4: MEDIA_FAILED and MEDIA_DELETING
    _Static_assert(MEDIA_FAILED == 2 && MEDIA_DELETING == 4, "the numbers stand in SQL and in databases");
    return get_one(tx, arena,
                   "SELECT " SQ_MEDIA_COLUMNS " FROM media WHERE tenant = ?1 AND hash = ?2 AND status NOT IN (2, 4)"
                   " AND parent IS NULL"
                   " ORDER BY uploaded_ms, id LIMIT 1",
                   tenant, hash, out, err);
}

#define LIST_FILTER                                                                                                    \
    " AND uploaded_ms >= ?2 AND (uploaded_ms, id) < (?3, ?4)"                                                          \
    " AND (?5 IS NULL OR instr(lower(file_name), lower(?5)) > 0)"                                                      \
    " AND (?6 IS NULL OR EXISTS (SELECT 1 FROM json_each(iif(json_valid(tags), tags, '[]')) WHERE value = ?6))"        \
    " AND (?8 IS NULL OR kind = ?8)"
#define LIST_ORDER " ORDER BY uploaded_ms DESC, id DESC LIMIT ?7"
#define LIST_UPLOADS                                                                                                   \
    "SELECT " SQ_MEDIA_COLUMNS " FROM media INDEXED BY uploads_by_time"                                                \
    " WHERE tenant = ?1 AND parent IS NULL AND status <> 4" LIST_FILTER LIST_ORDER
#define LIST_FRAMES                                                                                                    \
    "SELECT " SQ_MEDIA_COLUMNS " FROM media INDEXED BY frames_by_time"                                                 \
    " WHERE tenant = ?1 AND parent IS NOT NULL AND status <> 4" LIST_FILTER LIST_ORDER
#define LIST_STATUS                                                                                                    \
    "SELECT " SQ_MEDIA_COLUMNS " FROM media INDEXED BY uploads_by_status"                                              \
    " WHERE tenant = ?1 AND parent IS NULL AND status = ?9" LIST_FILTER LIST_ORDER
#define LIST_FRAMES_STATUS                                                                                             \
    "SELECT " SQ_MEDIA_COLUMNS " FROM media INDEXED BY frames_by_time"                                                 \
    " WHERE tenant = ?1 AND parent IS NOT NULL AND status = ?9" LIST_FILTER LIST_ORDER
#define LIST_BOTH(uploads, frames) "SELECT * FROM (" uploads ") UNION ALL SELECT * FROM (" frames ")" LIST_ORDER

// Uploads and frames have indexes of their own, so that a list of uploads never walks over frames.
static const char *list_sql(const struct media_query *query)
{
    if (query->frames)
        return query->by_status ? LIST_BOTH(LIST_STATUS, LIST_FRAMES_STATUS) : LIST_BOTH(LIST_UPLOADS, LIST_FRAMES);
    return query->by_status ? LIST_STATUS : LIST_UPLOADS;
}

int sq_media_list(struct meta_tx *tx, struct arena *arena, const struct media_query *query, struct media **out,
                  size_t *count, struct error *err)
{
    int64_t until_ms = query->before_ms ? query->before_ms : INT64_MAX; // the cursor or `to_ms`, what comes first
    const char *until_id = query->before_ms && query->before_id ? query->before_id : "";
    if (query->to_ms && query->to_ms <= until_ms) {
        until_ms = query->to_ms;
        until_id = "";
    }
    int64_t limit = query->limit < INT32_MAX ? (int64_t)query->limit : INT32_MAX;
    const struct sq_arg args[] = {sq_text(query->tenant),
                                  sq_int(query->from_ms ? query->from_ms : INT64_MIN),
                                  sq_int(until_ms),
                                  sq_text(until_id),
                                  sq_text(query->file_name),
                                  sq_text(query->tag),
                                  sq_int(limit),
                                  sq_text(query->kind),
                                  sq_int(query->status)};
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, list_sql(query), args, ARRAY_LEN(args) - !query->by_status, &stmt, err) < 0)
        return -1;
    return sq_media_rows(tx, arena, stmt, out, count, err);
}

// An error belongs to a failed item (and stays to be read while that is being deleted): what a late patch brings for a
// state that is past is not taken over. The first time of completion stays.
int sq_media_update(struct meta_tx *tx, const char *tenant, const char *id, const struct media_patch *patch,
                    struct error *err)
{
    if (sq_exec(tx,
                "UPDATE media SET updated_ms = ?3, status = max(status, ?4),"
                " width = iif(?5, ?5, width), height = iif(?6, ?6, height), thumb_key = ifnull(?7, thumb_key),"
                " completed_ms = iif(?8 AND completed_ms = 0, ?8, completed_ms),"
                " error_code = CASE max(status, ?4) WHEN 2 THEN ifnull(?9, error_code) WHEN 4 THEN error_code END,"
                " error_message = CASE max(status, ?4) WHEN 2 THEN ifnull(?10, error_message)"
                "  WHEN 4 THEN error_message END, auto_tags = ifnull(?11, auto_tags),"
                " alike_score = iif(?12 IS NULL, alike_score, ?13), alike_id = ifnull(?12, alike_id),"
                " video = ifnull(?14, video), progress = ifnull(?15, progress)"
                " WHERE tenant = ?1 AND id = ?2",
                SQ_ARGS(sq_text(tenant), sq_text(id), sq_int(clock_now_ms()),
                        sq_int(patch->set_status ? (int)patch->status : 0), sq_int(patch->width), sq_int(patch->height),
                        sq_text(patch->thumb_key), sq_int(patch->completed_ms), sq_text(patch->error_code),
                        sq_text(patch->error_message), sq_text(patch->auto_tags), sq_text(patch->alike_id),
                        sq_real(patch->alike_score), sq_text(patch->video), sq_text(patch->progress)),
                err) < 0)
        return -1;
    if (!sq_changes(tx))
        return not_found(id, err);
    return patch->set_status && patch->status == MEDIA_DELETING ? sq_alike_forget(tx, tenant, id, err) : 0;
}

int sq_media_delete(struct meta_tx *tx, const char *tenant, const char *id, struct error *err)
{
    if (sq_alike_forget(tx, tenant, id, err) < 0 ||
        sq_exec(tx, "DELETE FROM step WHERE media = (SELECT row FROM media WHERE tenant = ?1 AND id = ?2)",
                SQ_ARGS(sq_text(tenant), sq_text(id)), err) < 0 ||
        sq_exec(tx, "DELETE FROM details WHERE media = (SELECT row FROM media WHERE tenant = ?1 AND id = ?2)",
                SQ_ARGS(sq_text(tenant), sq_text(id)), err) < 0 ||
        sq_exec(tx, "DELETE FROM media WHERE tenant = ?1 AND id = ?2 AND parent IS NOT NULL",
                SQ_ARGS(sq_text(tenant), sq_text(id)), err) < 0)
        return -1;
    if (sq_changes(tx)) // a frame
        return 0;
    if (sq_exec(tx, "DELETE FROM media WHERE tenant = ?1 AND id = ?2", SQ_ARGS(sq_text(tenant), sq_text(id)), err) < 0)
        return -1;
    if (!sq_changes(tx))
        return 0;
    return count_one(tx, "UPDATE tenant SET deleted = deleted + 1 WHERE name = ?1", tenant, err);
}

int sq_media_duplicate(struct meta_tx *tx, const char *tenant, struct error *err)
{
    return count_one(tx, "UPDATE tenant SET duplicates = duplicates + 1 WHERE name = ?1", tenant, err);
}
