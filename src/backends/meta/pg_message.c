// SPDX-License-Identifier: Apache-2.0
// Messages. A list is asked for in the few ways that have an index; each has its own text, so that it is used.
#include "backends/meta/pg_int.h"

enum { LIST_MAX = 10000 };
#define COLUMNS                                                                                                        \
    "tenant, id, chat, from_me, type, state, content, metadata, event_id, target, media_id, reactions, delivery,"      \
    " sent_ms, received_ms, updated_ms, edited_ms, deleted_ms, error_code, error_message,"                             \
    " sender"

int pg_message_put(struct meta_tx *tx, const struct meta_message *row, struct error *err)
{
    if (pg_wall(tx, row->tenant, err) < 0)
        return -1;
    return pg_later(
        tx,
        "INSERT INTO message (" COLUMNS
        ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)"
        " ON CONFLICT (tenant, id) DO UPDATE SET"
        " chat = excluded.chat, from_me = excluded.from_me, type = excluded.type, state ="
        " excluded.state, content = excluded.content, metadata = excluded.metadata, event_id ="
        " excluded.event_id, target = excluded.target, media_id = excluded.media_id, reactions ="
        " excluded.reactions, delivery = excluded.delivery, sent_ms = excluded.sent_ms, received_ms"
        " = excluded.received_ms, updated_ms = excluded.updated_ms, edited_ms = excluded.edited_ms,"
        " deleted_ms = excluded.deleted_ms, error_code = excluded.error_code, error_message ="
        " excluded.error_message, sender = excluded.sender",
        PG_ARGS(pg_text(row->tenant), pg_text(row->id), pg_text(row->chat), pg_int(row->from_me), pg_text(row->type),
                pg_int(row->state), pg_text(row->content), pg_text(row->metadata), pg_text(row->event_id),
                pg_text(row->target), pg_text(row->media_id), pg_text(row->reactions), pg_text(row->delivery),
                pg_int(row->sent_ms), pg_int(row->received_ms), pg_int(row->updated_ms), pg_int(row->edited_ms),
                pg_int(row->deleted_ms), pg_text(row->error_code), pg_text(row->error_message), pg_text(row->sender)),
        err);
}

static struct meta_message message_row(struct arena *arena, const PGresult *found, int i)
{
    return (struct meta_message){.tenant = pg_col_text(arena, found, i, 0),
                                 .id = pg_col_text(arena, found, i, 1),
                                 .chat = pg_col_text(arena, found, i, 2),
                                 .from_me = pg_col_int(found, i, 3) != 0,
                                 .type = pg_col_text(arena, found, i, 4),
                                 .state = (enum message_state)pg_col_int(found, i, 5),
                                 .content = pg_col_text(arena, found, i, 6),
                                 .metadata = pg_col_text(arena, found, i, 7),
                                 .event_id = pg_col_text(arena, found, i, 8),
                                 .target = pg_col_text(arena, found, i, 9),
                                 .media_id = pg_col_text(arena, found, i, 10),
                                 .reactions = pg_col_text(arena, found, i, 11),
                                 .delivery = pg_col_text(arena, found, i, 12),
                                 .sent_ms = pg_col_int(found, i, 13),
                                 .received_ms = pg_col_int(found, i, 14),
                                 .updated_ms = pg_col_int(found, i, 15),
                                 .edited_ms = pg_col_int(found, i, 16),
                                 .deleted_ms = pg_col_int(found, i, 17),
                                 .error_code = pg_col_text(arena, found, i, 18),
                                 .error_message = pg_col_text(arena, found, i, 19),
                                 .sender = pg_col_text(arena, found, i, 20)};
}

int pg_message_get(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id,
                   struct meta_message *out, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_wall(tx, tenant, err) < 0 || pg_query(tx, "SELECT " COLUMNS " FROM message WHERE tenant = $1 AND id = $2",
                                                 PG_ARGS(pg_text(tenant), pg_text(id)), &found, err) < 0)
        return -1;
    if (PQntuples(found) == 0)
        return error_set(err, ERR_NOT_FOUND, "There is no message %.80s", id);
    *out = message_row(arena, found, 0);
    return 0;
}

#define LIST(condition)                                                                                                \
    "SELECT " COLUMNS " FROM message WHERE tenant = $1 AND " condition " ($3::text IS NULL OR type = $3)"              \
    " AND ($4 < 0 OR state = $4) AND ($2::text IS NULL OR chat = $2) AND sent_ms >= $5 AND sent_ms < $6"               \
    " AND ($10::text IS NULL OR sender = $10 OR chat = $10) AND ($8::text IS NULL OR (sent_ms, id) < ($7, $8)) ORDER " \
    "BY sent_ms DESC, id DESC LIMIT $9"

int pg_message_list(struct meta_tx *tx, struct arena *arena, const struct message_query *query,
                    struct meta_message **out, size_t *count, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    size_t limit = query->limit < LIST_MAX ? query->limit : LIST_MAX;
    const char *sql = query->of           ? LIST("(sender = $10 OR chat = $10) AND")
                      : query->chat       ? LIST("chat = $2 AND")
                      : query->state >= 0 ? LIST("state = $4 AND")
                                          : LIST("");
    // What is behind the cursor was sent no later: so the index finds the place.
    int64_t to_ms = query->to_ms ? query->to_ms : INT64_MAX;
    if (query->before_id && query->before_ms < to_ms)
        to_ms = query->before_ms + 1;
    if (pg_wall(tx, query->tenant, err) < 0 ||
        pg_query(tx, sql,
                 PG_ARGS(pg_text(query->tenant), pg_text(query->chat), pg_text(query->type), pg_int(query->state),
                         pg_int(query->from_ms), pg_int(to_ms), pg_int(query->before_ms), pg_text(query->before_id),
                         pg_int((int64_t)limit), pg_text(query->of)),
                 &found, err) < 0)
        return -1;
    int n = PQntuples(found);
    struct meta_message *rows = arena_alloc(arena, ((size_t)n + 1) * sizeof *rows);
    for (int i = 0; i < n; i++)
        rows[i] = message_row(arena, found, i);
    *out = rows;
    *count = (size_t)n;
    return 0;
}

int pg_message_remove(struct meta_tx *tx, const char *tenant, const char *id, struct error *err)
{
    if (pg_wall(tx, tenant, err) < 0)
        return -1;
    return pg_later(tx, "DELETE FROM message WHERE tenant = $1 AND id = $2", PG_ARGS(pg_text(tenant), pg_text(id)),
                    err);
}

// ---- What was erased

int pg_erased_put(struct meta_tx *tx, const char *tenant, const char *hash, int64_t at_ms, struct error *err)
{
    if (pg_wall(tx, tenant, err) < 0)
        return -1;
    return pg_later(tx, "INSERT INTO erased (tenant, hash, at_ms) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                    PG_ARGS(pg_text(tenant), pg_text(hash), pg_int(at_ms)), err);
}

int pg_erased_get(struct meta_tx *tx, const char *tenant, const char *hash, bool *out, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_wall(tx, tenant, err) < 0 || pg_query(tx, "SELECT 1 FROM erased WHERE tenant = $1 AND hash = $2",
                                                 PG_ARGS(pg_text(tenant), pg_text(hash)), &found, err) < 0)
        return -1;
    *out = PQntuples(found) > 0;
    return 0;
}

// ---- What waits

int pg_message_waiting(struct meta_tx *tx, struct arena *arena, const char *tenant, int64_t *after, size_t limit,
                       struct meta_message **out, size_t *count, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    limit = limit < LIST_MAX ? limit : LIST_MAX;
    if (pg_wall(tx, tenant, err) < 0 ||
        pg_query(tx,
                 "SELECT " COLUMNS ", num FROM message WHERE num > $2 AND tenant = $1 AND state IN ($3, $4, $5)"
                 " ORDER BY num LIMIT $6",
                 PG_ARGS(pg_text(tenant), pg_int(*after), pg_int(MESSAGE_READY), pg_int(MESSAGE_QUEUED),
                         pg_int(MESSAGE_PROCESSING), pg_int((int64_t)limit)),
                 &found, err) < 0)
        return -1;
    int n = PQntuples(found);
    struct meta_message *rows = arena_alloc(arena, ((size_t)n + 1) * sizeof *rows);
    for (int i = 0; i < n; i++)
        rows[i] = message_row(arena, found, i);
    if (n)
        *after = pg_col_int(found, n - 1, 21);
    *out = rows;
    *count = (size_t)n;
    return 0;
}
