// SPDX-License-Identifier: Apache-2.0
// Media: rows of items. Every statement names the tenant (G7). The status is a number whose order is the direction
// in which it may move, so "only forward" is max(); the counters of the ledger change in the same transaction.
#include "backends/meta/sqlite_int.h"
#include "base/clock.h"

#define COLUMNS                                                                                                        \
    "tenant, id, kind, status, priority, file_name, content_type, format, hash, blob_key, thumb_key, uploaded_by,"     \
    " metadata, tags, options, event_id, size, width, height, uploaded_ms, updated_ms, completed_ms, error_code,"      \
    " error_message"

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
    };
}

static int not_found(const char *id, struct error *err)
{
    return error_set(err, ERR_NOT_FOUND, "There is no item %.80s", id);
}

// Adds one to a counter of a tenant, which must be there.
static int count_one(struct meta_tx *tx, const char *sql, const char *tenant, struct error *err)
{
    if (sq_exec(tx, sql, SQ_ARGS(sq_text(tenant)), err) < 0)
        return -1;
    return sq_changes(tx) ? 0 : error_set(err, ERR_TENANT_UNKNOWN, "There is no tenant %.80s", tenant);
}

int sq_media_insert(struct meta_tx *tx, const struct media *row, struct error *err)
{
    if (count_one(tx, "UPDATE tenant SET accepted = accepted + 1 WHERE name = ?1", row->tenant, err) < 0)
        return -1;
    struct error failed = {0};
    int rc = sq_exec(
        tx,
        "INSERT INTO media (" COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ifnull(?13, '{}'),"
        " ifnull(?14, '[]'), ifnull(?15, '{}'), ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24)",
        SQ_ARGS(sq_text(row->tenant), sq_text(row->id), sq_text(row->kind), sq_int(row->status), sq_int(row->priority),
                sq_text(row->file_name), sq_text(row->content_type), sq_text(row->format), sq_text(row->hash),
                sq_text(row->blob_key), sq_text(row->thumb_key), sq_text(row->uploaded_by), sq_text(row->metadata),
                sq_text(row->tags), sq_text(row->options), sq_text(row->event_id), sq_int((int64_t)row->size),
                sq_int(row->width), sq_int(row->height), sq_int(row->uploaded_ms), sq_int(row->updated_ms),
                sq_int(row->completed_ms), sq_text(row->error_code), sq_text(row->error_message)),
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
    return get_one(tx, arena, "SELECT " COLUMNS " FROM media WHERE tenant = ?1 AND id = ?2", tenant, id, out, err);
}

int sq_media_find_hash(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *hash, struct media *out,
                       struct error *err)
{
    // 2 and 4: MEDIA_FAILED and MEDIA_DELETING
    _Static_assert(MEDIA_FAILED == 2 && MEDIA_DELETING == 4, "the numbers stand in SQL and in databases");
    return get_one(tx, arena,
                   "SELECT " COLUMNS " FROM media WHERE tenant = ?1 AND hash = ?2 AND status NOT IN (2, 4)"
                   " ORDER BY uploaded_ms, id LIMIT 1",
                   tenant, hash, out, err);
}

#define LIST_FILTER                                                                                                    \
    " AND uploaded_ms >= ?2 AND (uploaded_ms, id) < (?3, ?4)"                                                          \
    " AND (?5 IS NULL OR instr(lower(file_name), lower(?5)) > 0)"                                                      \
    " AND (?6 IS NULL OR EXISTS (SELECT 1 FROM json_each(iif(json_valid(tags), tags, '[]')) WHERE value = ?6))"        \
    " ORDER BY uploaded_ms DESC, id DESC LIMIT ?7"

// A growing array of rows in an arena.
struct rows {
    struct arena *arena;
    struct media *items;
    size_t count, room;
};

static void rows_add(struct rows *rows, sqlite3_stmt *stmt)
{
    if (rows->count == rows->room) {
        size_t room = rows->room ? rows->room * 2 : 16;
        struct media *items = arena_alloc(rows->arena, room * sizeof *items);
        for (size_t i = 0; i < rows->count; i++)
            items[i] = rows->items[i];
        rows->items = items;
        rows->room = room;
    }
    rows->items[rows->count++] = media_row(rows->arena, stmt);
}

int sq_media_list(struct meta_tx *tx, struct arena *arena, const struct media_query *query, struct media **out,
                  size_t *count, struct error *err)
{
    static const char all[] =
        "SELECT " COLUMNS " FROM media INDEXED BY media_by_time WHERE tenant = ?1 AND status <> 4" LIST_FILTER;
    static const char of_status[] = "SELECT " COLUMNS " FROM media INDEXED BY media_by_status"
                                    " WHERE tenant = ?1 AND status = ?8" LIST_FILTER;
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
                                  sq_int(query->status)};
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, query->by_status ? of_status : all, args, ARRAY_LEN(args) - !query->by_status, &stmt, err) < 0)
        return -1;
    struct rows rows = {.arena = arena};
    int rc;
    while ((rc = sq_next(tx, stmt, err)) > 0)
        rows_add(&rows, stmt);
    if (rc < 0)
        return -1;
    *out = rows.items;
    *count = rows.count;
    return 0;
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
                "  WHEN 4 THEN error_message END"
                " WHERE tenant = ?1 AND id = ?2",
                SQ_ARGS(sq_text(tenant), sq_text(id), sq_int(clock_now_ms()),
                        sq_int(patch->set_status ? (int)patch->status : 0), sq_int(patch->width), sq_int(patch->height),
                        sq_text(patch->thumb_key), sq_int(patch->completed_ms), sq_text(patch->error_code),
                        sq_text(patch->error_message)),
                err) < 0)
        return -1;
    return sq_changes(tx) ? 0 : not_found(id, err);
}

int sq_media_delete(struct meta_tx *tx, const char *tenant, const char *id, struct error *err)
{
    if (sq_exec(tx, "DELETE FROM step WHERE media = (SELECT row FROM media WHERE tenant = ?1 AND id = ?2)",
                SQ_ARGS(sq_text(tenant), sq_text(id)), err) < 0 ||
        sq_exec(tx, "DELETE FROM media WHERE tenant = ?1 AND id = ?2", SQ_ARGS(sq_text(tenant), sq_text(id)), err) < 0)
        return -1;
    if (!sq_changes(tx))
        return 0;
    return count_one(tx, "UPDATE tenant SET deleted = deleted + 1 WHERE name = ?1", tenant, err);
}

int sq_media_duplicate(struct meta_tx *tx, const char *tenant, struct error *err)
{
    return count_one(tx, "UPDATE tenant SET duplicates = duplicates + 1 WHERE name = ?1", tenant, err);
}
