// SPDX-License-Identifier: Apache-2.0
// Messages. A list is asked for in the few ways that have an index; each has its own text, so that it is used.
#include "backends/meta/sqlite_int.h"

enum { LIST_MAX = 10000 };
#define COLUMNS                                                                                                        \
    "tenant, id, chat, from_me, type, state, content, metadata, event_id, target, media_id, reactions, delivery,"      \
    " sent_ms, received_ms, updated_ms, edited_ms, deleted_ms, error_code, error_message,"                             \
    " sender"

int sq_message_put(struct meta_tx *tx, const struct meta_message *row, struct error *err)
{
    return sq_exec(
        tx,
        "INSERT INTO message (" COLUMNS
        ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)"
        " ON CONFLICT (tenant, id) DO UPDATE SET"
        " chat = excluded.chat, from_me = excluded.from_me, type = excluded.type, state ="
        " excluded.state, content = excluded.content, metadata = excluded.metadata, event_id ="
        " excluded.event_id, target = excluded.target, media_id = excluded.media_id, reactions ="
        " excluded.reactions, delivery = excluded.delivery, sent_ms = excluded.sent_ms, received_ms"
        " = excluded.received_ms, updated_ms = excluded.updated_ms, edited_ms = excluded.edited_ms,"
        " deleted_ms = excluded.deleted_ms, error_code = excluded.error_code, error_message ="
        " excluded.error_message, sender = excluded.sender",
        SQ_ARGS(sq_text(row->tenant), sq_text(row->id), sq_text(row->chat), sq_int(row->from_me), sq_text(row->type),
                sq_int(row->state), sq_text(row->content), sq_text(row->metadata), sq_text(row->event_id),
                sq_text(row->target), sq_text(row->media_id), sq_text(row->reactions), sq_text(row->delivery),
                sq_int(row->sent_ms), sq_int(row->received_ms), sq_int(row->updated_ms), sq_int(row->edited_ms),
                sq_int(row->deleted_ms), sq_text(row->error_code), sq_text(row->error_message), sq_text(row->sender)),
        err);
}

static struct meta_message message_row(struct arena *arena, sqlite3_stmt *stmt)
{
    return (struct meta_message){.tenant = sq_col_text(arena, stmt, 0),
                                 .id = sq_col_text(arena, stmt, 1),
                                 .chat = sq_col_text(arena, stmt, 2),
                                 .from_me = sq_col_int(stmt, 3) != 0,
                                 .type = sq_col_text(arena, stmt, 4),
                                 .state = (enum message_state)sq_col_int(stmt, 5),
                                 .content = sq_col_text(arena, stmt, 6),
                                 .metadata = sq_col_text(arena, stmt, 7),
                                 .event_id = sq_col_text(arena, stmt, 8),
                                 .target = sq_col_text(arena, stmt, 9),
                                 .media_id = sq_col_text(arena, stmt, 10),
                                 .reactions = sq_col_text(arena, stmt, 11),
                                 .delivery = sq_col_text(arena, stmt, 12),
                                 .sent_ms = sq_col_int(stmt, 13),
                                 .received_ms = sq_col_int(stmt, 14),
                                 .updated_ms = sq_col_int(stmt, 15),
                                 .edited_ms = sq_col_int(stmt, 16),
                                 .deleted_ms = sq_col_int(stmt, 17),
                                 .error_code = sq_col_text(arena, stmt, 18),
                                 .error_message = sq_col_text(arena, stmt, 19),
                                 .sender = sq_col_text(arena, stmt, 20)};
}

int sq_message_get(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id,
                   struct meta_message *out, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, "SELECT " COLUMNS " FROM message WHERE tenant = ?1 AND id = ?2",
                 SQ_ARGS(sq_text(tenant), sq_text(id)), &stmt, err) < 0)
        return -1;
    int rc = sq_next(tx, stmt, err);
    if (rc <= 0)
        return rc < 0 ? -1 : error_set(err, ERR_NOT_FOUND, "There is no message %.80s", id);
    *out = message_row(arena, stmt);
    return 0;
}

#define LIST(condition)                                                                                                \
    "SELECT " COLUMNS " FROM message WHERE tenant = ?1 AND " condition " (?3 IS NULL OR type = ?3)"                    \
    " AND (?4 < 0 OR state = ?4) AND (?2 IS NULL OR chat = ?2) AND sent_ms >= ?5 AND sent_ms < ?6"                     \
    " AND (?10 IS NULL OR sender = ?10 OR chat = ?10) AND (?8 IS NULL OR (sent_ms, id) < (?7, ?8)) ORDER BY sent_ms "  \
    "DESC, id DESC LIMIT ?9"

int sq_message_list(struct meta_tx *tx, struct arena *arena, const struct message_query *query,
                    struct meta_message **out, size_t *count, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    size_t limit = query->limit < LIST_MAX ? query->limit : LIST_MAX, n = 0;
    const char *sql = query->of           ? LIST("(sender = ?10 OR chat = ?10) AND")
                      : query->chat       ? LIST("chat = ?2 AND")
                      : query->state >= 0 ? LIST("state = ?4 AND")
                                          : LIST("");
    // What is behind the cursor was sent no later: so the index finds the place.
    int64_t to_ms = query->to_ms ? query->to_ms : INT64_MAX;
    if (query->before_id && query->before_ms < to_ms)
        to_ms = query->before_ms + 1;
    if (sq_query(tx, sql,
                 SQ_ARGS(sq_text(query->tenant), sq_text(query->chat), sq_text(query->type), sq_int(query->state),
                         sq_int(query->from_ms), sq_int(to_ms), sq_int(query->before_ms), sq_text(query->before_id),
                         sq_int((int64_t)limit), sq_text(query->of)),
                 &stmt, err) < 0)
        return -1;
    struct meta_message *rows = arena_alloc(arena, (limit + 1) * sizeof *rows);
    int rc;
    while (n < limit && (rc = sq_next(tx, stmt, err)) != 0) {
        if (rc < 0)
            return -1;
        rows[n++] = message_row(arena, stmt);
    }
    *out = rows;
    *count = n;
    return 0;
}

int sq_message_remove(struct meta_tx *tx, const char *tenant, const char *id, struct error *err)
{
    return sq_exec(tx, "DELETE FROM message WHERE tenant = ?1 AND id = ?2", SQ_ARGS(sq_text(tenant), sq_text(id)), err);
}

// ---- What was erased

int sq_erased_put(struct meta_tx *tx, const char *tenant, const char *hash, int64_t at_ms, struct error *err)
{
    return sq_exec(tx, "INSERT INTO erased (tenant, hash, at_ms) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                   SQ_ARGS(sq_text(tenant), sq_text(hash), sq_int(at_ms)), err);
}

int sq_erased_get(struct meta_tx *tx, const char *tenant, const char *hash, bool *out, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, "SELECT 1 FROM erased WHERE tenant = ?1 AND hash = ?2", SQ_ARGS(sq_text(tenant), sq_text(hash)),
                 &stmt, err) < 0)
        return -1;
    int rc = sq_next(tx, stmt, err);
    if (rc < 0)
        return -1;
    *out = rc > 0;
    return 0;
}

// ---- What waits

// By the rows' own order, not by an index: what came first is published first.
int sq_message_waiting(struct meta_tx *tx, struct arena *arena, const char *tenant, int64_t *after, size_t limit,
                       struct meta_message **out, size_t *count, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    limit = limit < LIST_MAX ? limit : LIST_MAX;
    if (sq_query(tx,
                 "SELECT " COLUMNS ", row FROM message WHERE row > ?2 AND +tenant = ?1 AND +state IN (?3, ?4, ?5)"
                 " ORDER BY row LIMIT ?6",
                 SQ_ARGS(sq_text(tenant), sq_int(*after), sq_int(MESSAGE_READY), sq_int(MESSAGE_QUEUED),
                         sq_int(MESSAGE_PROCESSING), sq_int((int64_t)limit)),
                 &stmt, err) < 0)
        return -1;
    struct meta_message *rows = arena_alloc(arena, (limit + 1) * sizeof *rows);
    size_t n = 0;
    int64_t last = *after;
    int rc;
    while (n < limit && (rc = sq_next(tx, stmt, err)) != 0) {
        if (rc < 0)
            return -1;
        rows[n++] = message_row(arena, stmt);
        last = sq_col_int(stmt, 21);
    }
    *out = rows;
    *count = n;
    *after = last;
    return 0;
}
