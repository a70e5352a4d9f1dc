// SPDX-License-Identifier: Apache-2.0
// Media: rows of items. Every statement names the tenant (G7), and sees no row of
// another one (pg_wall). The status is a number whose order is the direction
// in which it may move, so "only forward" is greatest(); the counters of the ledger change in the same statement.
#include <jansson.h>
#include <string.h>

#include "backends/meta/pg_int.h"
#include "base/buf.h"
#include "base/clock.h"

enum { TAG_LIST_MAX = 1 << 20 };

static struct media media_row(struct arena *arena, const PGresult *rows, int i)
{
    return (struct media){
        .tenant = pg_col_text(arena, rows, i, 0),
        .id = pg_col_text(arena, rows, i, 1),
        .kind = pg_col_text(arena, rows, i, 2),
        .status = (enum media_status)pg_col_int(rows, i, 3),
        .priority = (enum media_priority)pg_col_int(rows, i, 4),
        .file_name = pg_col_text(arena, rows, i, 5),
        .content_type = pg_col_text(arena, rows, i, 6),
        .format = pg_col_text(arena, rows, i, 7),
        .hash = pg_col_text(arena, rows, i, 8),
        .blob_key = pg_col_text(arena, rows, i, 9),
        .thumb_key = pg_col_text(arena, rows, i, 10),
        .uploaded_by = pg_col_text(arena, rows, i, 11),
        .metadata = pg_col_text(arena, rows, i, 12),
        .tags = pg_col_text(arena, rows, i, 13),
        .options = pg_col_text(arena, rows, i, 14),
        .event_id = pg_col_text(arena, rows, i, 15),
        .size = (uint64_t)pg_col_int(rows, i, 16),
        .width = (int)pg_col_int(rows, i, 17),
        .height = (int)pg_col_int(rows, i, 18),
        .uploaded_ms = pg_col_int(rows, i, 19),
        .updated_ms = pg_col_int(rows, i, 20),
        .completed_ms = pg_col_int(rows, i, 21),
        .error_code = pg_col_text(arena, rows, i, 22),
        .error_message = pg_col_text(arena, rows, i, 23),
        .auto_tags = pg_col_text(arena, rows, i, 24),
        .alike_id = pg_col_text(arena, rows, i, 25),
        .alike_score = pg_col_real(rows, i, 26),
        .parent = pg_col_text(arena, rows, i, 27),
        .time_ms = pg_col_int(rows, i, 28),
        .video = pg_col_text(arena, rows, i, 29),
        .progress = pg_col_text(arena, rows, i, 30),
    };
}

struct media *pg_media_rows(struct arena *arena, const PGresult *rows, size_t *count)
{
    size_t n = (size_t)PQntuples(rows);
    struct media *items = arena_alloc(arena, (n + 1) * sizeof *items);
    for (size_t i = 0; i < n; i++)
        items[i] = media_row(arena, rows, (int)i);
    *count = n;
    return items;
}

static int not_found(const char *id, struct error *err)
{
    return error_set(err, ERR_NOT_FOUND, "There is no item %.80s", id);
}

static int no_tenant(const char *tenant, struct error *err)
{
    return error_set(err, ERR_TENANT_UNKNOWN, "There is no tenant %.80s", tenant);
}

// ---- Putting in

// A JSON array's strings as PostgreSQL writes an array. What is no string is no tag.
static int tag_list(const char *tags, struct buf *out, struct error *err)
{
    json_t *array = tags ? json_loads(tags, 0, NULL) : NULL, *tag;
    size_t i;
    buf_puts(out, "{");
    json_array_foreach(array, i, tag)
    {
        if (!json_is_string(tag))
            continue;
        buf_puts(out, out->len > 1 ? ",\"" : "\"");
        for (const char *p = json_string_value(tag); *p; p++)
            buf_printf(out, *p == '"' || *p == '\\' ? "\\%c" : "%c", *p);
        buf_puts(out, "\"");
    }
    json_decref(array);
    return buf_puts(out, "}") < 0 ? error_set(err, ERR_INVALID, "The tags are too long") : 0;
}

// Nothing was inserted: there is no such tenant, or there is such an item.
static int why_not(struct meta_tx *tx, const struct media *row, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_query(tx, "SELECT leaving_ms FROM tenant WHERE name = $1", PG_ARGS(pg_text(row->tenant)), &found, err) < 0)
        return -1;
    bool open = PQntuples(found) && (row->parent || pg_col_int(found, 0, 0) == 0);
    return open ? error_set(err, ERR_EXISTS, "The item %.80s is there already", row->id) : no_tenant(row->tenant, err);
}

#define INSERT(and)                                                                                                    \
    "INSERT INTO media (" PG_MEDIA_COLUMNS ", tag_list) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,"     \
    " coalesce($13, '{}'), coalesce($14, '[]'), coalesce($15, '{}'), $16, $17, $18, $19, $20, $21, $22, $23,"          \
    " $24, $25, NULL, NULL, $26, $27, $28, $29, $30::text[] FROM tenant WHERE name = $1" and                           \
        " ON CONFLICT (tenant, id) DO NOTHING"

int pg_media_insert(struct meta_tx *tx, const struct media *row, struct error *err)
{
    static const char frame[] = INSERT(""),
                      upload[] =
                          "WITH put AS (" INSERT(" AND leaving_ms = 0") " RETURNING 1) UPDATE tenant"
                                                                        " SET accepted = accepted + 1 WHERE name = $1"
                                                                        " AND EXISTS (SELECT 1 FROM put)";
    _cleanup_buf_ struct buf list = BUF_INIT(TAG_LIST_MAX);
    bool changed;
    if (tag_list(row->tags, &list, err) < 0 || pg_wall(tx, row->tenant, err) < 0)
        return -1;
    pg_tx(tx)->db->writer.changed |= !row->parent;
    if (pg_change(tx, row->parent ? frame : upload,
                  PG_ARGS(pg_text(row->tenant), pg_text(row->id), pg_text(row->kind), pg_int(row->status),
                          pg_int(row->priority), pg_text(row->file_name), pg_text(row->content_type),
                          pg_text(row->format), pg_text(row->hash), pg_text(row->blob_key), pg_text(row->thumb_key),
                          pg_text(row->uploaded_by), pg_text(row->metadata), pg_text(row->tags), pg_text(row->options),
                          pg_text(row->event_id), pg_int((int64_t)row->size), pg_int(row->width), pg_int(row->height),
                          pg_int(row->uploaded_ms), pg_int(row->updated_ms), pg_int(row->completed_ms),
                          pg_text(row->error_code), pg_text(row->error_message), pg_text(row->auto_tags),
                          pg_text(row->parent), pg_int(row->time_ms), pg_text(row->video), pg_text(row->progress),
                          pg_text(list.data)),
                  &changed, err) < 0)
        return -1;
    return changed ? 0 : why_not(tx, row, err);
}

// ---- Getting

// The one row that a query of two texts gives.
static int get_one(struct meta_tx *tx, struct arena *arena, const char *sql, const char *tenant, const char *what,
                   struct media *out, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_wall(tx, tenant, err) < 0 || pg_query(tx, sql, PG_ARGS(pg_text(tenant), pg_text(what)), &found, err) < 0)
        return -1;
    if (!PQntuples(found))
        return not_found(what, err);
    *out = media_row(arena, found, 0);
    return 0;
}

int pg_media_get(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id, struct media *out,
                 struct error *err)
{
    return get_one(tx, arena, "SELECT " PG_MEDIA_COLUMNS " FROM media WHERE tenant = $1 AND id = $2", tenant, id, out,
                   err);
}

int pg_media_find_hash(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *hash, struct media *out,
                       struct error *err)
{
    // 2 and 4: MEDIA_FAILED and MEDIA_DELETING
    _Static_assert(MEDIA_FAILED == 2 && MEDIA_DELETING == 4, "the numbers stand in SQL and in databases");
    return get_one(tx, arena,
                   "SELECT " PG_MEDIA_COLUMNS " FROM media WHERE tenant = $1 AND hash = $2 AND status NOT IN (2, 4)"
                   " AND parent IS NULL ORDER BY uploaded_ms, id LIMIT 1",
                   tenant, hash, out, err);
}

#define LIST(which, state)                                                                                             \
    "(SELECT " PG_MEDIA_COLUMNS " FROM media WHERE tenant = $1 AND parent IS " which " AND status " state              \
    " AND uploaded_ms >= $2 AND (uploaded_ms, id) < ($3, $4)"                                                          \
    " AND ($5 IS NULL OR strpos(lower(file_name), lower($5 COLLATE \"C\")) > 0)"                                       \
    " AND ($6 IS NULL OR tag_list @> ARRAY[$6]) AND ($8 IS NULL OR kind = $8)" LIST_ORDER ")"
#define LIST_ORDER " ORDER BY uploaded_ms DESC, id DESC LIMIT $7"
#define LIST_BOTH(state)                                                                                               \
    "SELECT * FROM (" LIST("NULL", state) " UNION ALL " LIST("NOT NULL", state) ") AS both_kinds" LIST_ORDER

// Uploads and frames have indexes of their own, so that a list of uploads never walks over frames.
static const char *list_sql(const struct media_query *query)
{
    static const char uploads[] = LIST("NULL", "<> 4"), uploads_of[] = LIST("NULL", "= $9"), both[] = LIST_BOTH("<> 4"),
                      both_of[] = LIST_BOTH("= $9");
    if (query->frames)
        return query->by_status ? both_of : both;
    return query->by_status ? uploads_of : uploads;
}

int pg_media_list(struct meta_tx *tx, struct arena *arena, const struct media_query *query, struct media **out,
                  size_t *count, struct error *err)
{
    int64_t until_ms = query->before_ms ? query->before_ms : INT64_MAX; // the cursor or `to_ms`, what comes first
    const char *until_id = query->before_ms && query->before_id ? query->before_id : "";
    if (query->to_ms && query->to_ms <= until_ms) {
        until_ms = query->to_ms;
        until_id = "";
    }
    int64_t limit = query->limit < INT32_MAX ? (int64_t)query->limit : INT32_MAX;
    const struct pg_arg args[] = {pg_text(query->tenant),
                                  pg_int(query->from_ms ? query->from_ms : INT64_MIN),
                                  pg_int(until_ms),
                                  pg_text(until_id),
                                  pg_text(query->file_name),
                                  pg_text(query->tag),
                                  pg_int(limit),
                                  pg_text(query->kind),
                                  pg_int(query->status)};
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_wall(tx, query->tenant, err) < 0 ||
        pg_query(tx, list_sql(query), args, ARRAY_LEN(args) - !query->by_status, &found, err) < 0)
        return -1;
    *out = pg_media_rows(arena, found, count);
    return 0;
}

// ---- Changing

// An error belongs to a failed item (and stays to be read while that is being deleted): what a late patch brings for a
// state that is past is not taken over. The first time of completion stays.
int pg_media_update(struct meta_tx *tx, const char *tenant, const char *id, const struct media_patch *patch,
                    struct error *err)
{
    bool changed;
    if (pg_wall(tx, tenant, err) < 0)
        return -1;
    pg_tx(tx)->db->writer.changed |= patch->set_status;
    if (pg_change(tx,
                  "UPDATE media SET updated_ms = $3, status = greatest(status, $4),"
                  " width = CASE WHEN $5 <> 0 THEN $5 ELSE width END,"
                  " height = CASE WHEN $6 <> 0 THEN $6 ELSE height END, thumb_key = coalesce($7, thumb_key),"
                  " completed_ms = CASE WHEN $8 <> 0 AND completed_ms = 0 THEN $8 ELSE completed_ms END,"
                  " error_code = CASE greatest(status, $4) WHEN 2 THEN coalesce($9, error_code)"
                  "  WHEN 4 THEN error_code END,"
                  " error_message = CASE greatest(status, $4) WHEN 2 THEN coalesce($10, error_message)"
                  "  WHEN 4 THEN error_message END, auto_tags = coalesce($11, auto_tags),"
                  " alike_score = CASE WHEN $12 IS NULL THEN alike_score ELSE $13 END,"
                  " alike_id = coalesce($12, alike_id), video = coalesce($14, video),"
                  " progress = coalesce($15, progress)"
                  " WHERE tenant = $1 AND id = $2",
                  PG_ARGS(pg_text(tenant), pg_text(id), pg_int(clock_now_ms()),
                          pg_int(patch->set_status ? (int)patch->status : 0), pg_int(patch->width),
                          pg_int(patch->height), pg_text(patch->thumb_key), pg_int(patch->completed_ms),
                          pg_text(patch->error_code), pg_text(patch->error_message), pg_text(patch->auto_tags),
                          pg_text(patch->alike_id), pg_real(patch->alike_score), pg_text(patch->video),
                          pg_text(patch->progress)),
                  &changed, err) < 0)
        return -1;
    if (!changed)
        return not_found(id, err);
    if (!patch->set_status || patch->status != MEDIA_DELETING)
        return 0;
    return pg_later(tx, "DELETE FROM alike WHERE media = (SELECT num FROM media WHERE tenant = $1 AND id = $2)",
                    PG_ARGS(pg_text(tenant), pg_text(id)), err);
}

int pg_media_delete(struct meta_tx *tx, const char *tenant, const char *id, struct error *err)
{
    if (pg_wall(tx, tenant, err) < 0)
        return -1;
    pg_tx(tx)->db->writer.changed = true;
    return pg_later(
        tx,
        "WITH gone AS (DELETE FROM media WHERE tenant = $1 AND id = $2 RETURNING num, parent),"
        " steps AS (DELETE FROM step WHERE media IN (SELECT num FROM gone)),"
        " details AS (DELETE FROM details WHERE media IN (SELECT num FROM gone)),"
        " groups AS (DELETE FROM alike WHERE media IN (SELECT num FROM gone))"
        " UPDATE tenant SET deleted = deleted + 1 WHERE name = $1 AND EXISTS (SELECT 1 FROM gone WHERE parent IS NULL)",
        PG_ARGS(pg_text(tenant), pg_text(id)), err);
}

int pg_media_duplicate(struct meta_tx *tx, const char *tenant, struct error *err)
{
    bool changed;
    if (pg_change(tx, "UPDATE tenant SET duplicates = duplicates + 1 WHERE name = $1", PG_ARGS(pg_text(tenant)),
                  &changed, err) < 0)
        return -1;
    return changed ? 0 : no_tenant(tenant, err);
}
