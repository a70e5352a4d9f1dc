// SPDX-License-Identifier: Apache-2.0
// What workflows have to say to people, and who does not want to hear it.
#include "backends/meta/pg_int.h"

enum { LIST_MAX = 10000 };
#define COLUMNS                                                                                                        \
    "tenant, id, channel, workflow, message, chat, sender, item, what, state, attempts, not_before_ms, created_ms,"    \
    " begun_ms, ended_ms, text, sent_id, error_code, error"
// Its time has come, and its item is neither uploaded nor processing any more.
#define READY                                                                                                          \
    "state = 0 AND channel = $1 AND not_before_ms <= $2 AND NOT EXISTS (SELECT 1 FROM media m WHERE m.tenant ="        \
    " reply.tenant AND m.id = reply.item AND m.status < 2)"
_Static_assert(REPLY_WAITING == 0 && REPLY_SENDING == 1 && REPLY_UNCERTAIN == 3 && REPLY_DEAD == 4 && MEDIA_FAILED == 2,
               "the numbers stand in SQL and in databases");

int pg_reply_put(struct meta_tx *tx, const struct meta_reply *row, struct error *err)
{
    if (pg_wall(tx, row->tenant, err) < 0)
        return -1;
    return pg_later(tx,
                    "INSERT INTO reply (" COLUMNS
                    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)"
                    " ON CONFLICT (tenant, id) DO UPDATE SET "
                    "channel = excluded.channel, workflow = excluded.workflow, message = excluded.message,"
                    " chat = excluded.chat, sender = excluded.sender, item = excluded.item,"
                    " what = excluded.what, state = excluded.state, attempts = excluded.attempts,"
                    " not_before_ms = excluded.not_before_ms, created_ms = excluded.created_ms,"
                    " begun_ms = excluded.begun_ms, ended_ms = excluded.ended_ms, text = excluded.text,"
                    " sent_id = excluded.sent_id, error_code = excluded.error_code, error = excluded.error",
                    PG_ARGS(pg_text(row->tenant), pg_text(row->id), pg_text(row->channel), pg_text(row->workflow),
                            pg_text(row->message), pg_text(row->chat), pg_text(row->sender), pg_text(row->item),
                            pg_text(row->what), pg_int(row->state), pg_int(row->attempts), pg_int(row->not_before_ms),
                            pg_int(row->created_ms), pg_int(row->begun_ms), pg_int(row->ended_ms), pg_text(row->text),
                            pg_text(row->sent_id), pg_text(row->error_code), pg_text(row->error)),
                    err);
}

static struct meta_reply reply_row(struct arena *arena, const PGresult *found, int i)
{
    return (struct meta_reply){.num = pg_col_int(found, i, 0),
                               .tenant = pg_col_text(arena, found, i, 1),
                               .id = pg_col_text(arena, found, i, 2),
                               .channel = pg_col_text(arena, found, i, 3),
                               .workflow = pg_col_text(arena, found, i, 4),
                               .message = pg_col_text(arena, found, i, 5),
                               .chat = pg_col_text(arena, found, i, 6),
                               .sender = pg_col_text(arena, found, i, 7),
                               .item = pg_col_text(arena, found, i, 8),
                               .what = pg_col_text(arena, found, i, 9),
                               .state = (enum reply_state)pg_col_int(found, i, 10),
                               .attempts = (int)pg_col_int(found, i, 11),
                               .not_before_ms = pg_col_int(found, i, 12),
                               .created_ms = pg_col_int(found, i, 13),
                               .begun_ms = pg_col_int(found, i, 14),
                               .ended_ms = pg_col_int(found, i, 15),
                               .text = pg_col_text(arena, found, i, 16),
                               .sent_id = pg_col_text(arena, found, i, 17),
                               .error_code = pg_col_text(arena, found, i, 18),
                               .error = pg_col_text(arena, found, i, 19)};
}

int pg_reply_get(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id, struct meta_reply *out,
                 struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_wall(tx, tenant, err) < 0 || pg_query(tx, "SELECT num, " COLUMNS " FROM reply WHERE tenant = $1 AND id = $2",
                                                 PG_ARGS(pg_text(tenant), pg_text(id)), &found, err) < 0)
        return -1;
    if (!PQntuples(found))
        return error_set(err, ERR_NOT_FOUND, "There is no reply %.80s", id);
    *out = reply_row(arena, found, 0);
    return 0;
}

#define LIST(condition)                                                                                                \
    "SELECT num, " COLUMNS " FROM reply WHERE tenant = $1 AND " condition " num < $2 AND ($3 < 0 OR state = $3)"       \
    " AND ($4::text IS NULL OR chat = $4) AND ($5::text IS NULL OR message = $5) AND ($7::text IS NULL OR sender = "   \
    "$7 OR chat = $7) ORDER BY num DESC LIMIT $6"

int pg_reply_list(struct meta_tx *tx, struct arena *arena, const struct reply_query *query, struct meta_reply **out,
                  size_t *count, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    size_t limit = query->limit < LIST_MAX ? query->limit : LIST_MAX;
    const char *sql = query->of        ? LIST("(sender = $7 OR chat = $7) AND")
                      : query->message ? LIST("message = $5 AND")
                      : query->chat    ? LIST("chat = $4 AND")
                                       : LIST("");
    if (pg_wall(tx, query->tenant, err) < 0 ||
        pg_query(tx, sql,
                 PG_ARGS(pg_text(query->tenant), pg_int(query->before ? query->before : INT64_MAX),
                         pg_int(query->state), pg_text(query->chat), pg_text(query->message), pg_int((int64_t)limit),
                         pg_text(query->of)),
                 &found, err) < 0)
        return -1;
    int n = PQntuples(found);
    struct meta_reply *rows = arena_alloc(arena, ((size_t)n + 1) * sizeof *rows);
    for (int i = 0; i < n; i++)
        rows[i] = reply_row(arena, found, i);
    *out = rows;
    *count = (size_t)n;
    return 0;
}

// ---- Sending

int pg_reply_due(struct meta_tx *tx, const char *channel, int64_t now_ms, bool *out, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_wall(tx, PG_ALL, err) < 0 || pg_query(tx, "SELECT 1 FROM reply WHERE " READY " LIMIT 1",
                                                 PG_ARGS(pg_text(channel), pg_int(now_ms)), &found, err) < 0)
        return -1;
    *out = PQntuples(found) > 0;
    return 0;
}

int pg_reply_claim(struct meta_tx *tx, struct arena *arena, const char *channel, int64_t now_ms, int64_t until_ms,
                   struct meta_reply *out, bool *found, struct error *err)
{
    _cleanup_pg_result_ PGresult *claimed = NULL;
    if (pg_wall(tx, PG_ALL, err) < 0 ||
        pg_write_query(tx,
                       "UPDATE reply SET not_before_ms = $3 WHERE num = (SELECT num FROM reply WHERE " READY
                       " ORDER BY not_before_ms, num LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING num, " COLUMNS,
                       PG_ARGS(pg_text(channel), pg_int(now_ms), pg_int(until_ms)), &claimed, err) < 0)
        return -1;
    *found = PQntuples(claimed) > 0;
    *out = *found ? reply_row(arena, claimed, 0) : (struct meta_reply){0};
    return 0;
}

int pg_reply_lost(struct meta_tx *tx, int64_t before_ms, int64_t now_ms, const char *why, struct error *err)
{
    if (pg_wall(tx, PG_ALL, err) < 0)
        return -1;
    return pg_later(tx, "UPDATE reply SET state = 3, ended_ms = $2, error = $3 WHERE state = 1 AND begun_ms < $1",
                    PG_ARGS(pg_int(before_ms), pg_int(now_ms), pg_text(why)), err);
}

int pg_reply_cancel(struct meta_tx *tx, const char *tenant, const char *sender, int64_t now_ms, const char *why,
                    struct error *err)
{
    if (pg_wall(tx, tenant, err) < 0)
        return -1;
    return pg_later(
        tx,
        "UPDATE reply SET state = 4, ended_ms = $3, error = $4 WHERE tenant = $1 AND sender = $2 AND state = 0"
        " AND channel = 'whatsapp'",
        PG_ARGS(pg_text(tenant), pg_text(sender), pg_int(now_ms), pg_text(why)), err);
}

int pg_reply_forget(struct meta_tx *tx, const char *tenant, const char *of, struct error *err)
{
    if (pg_wall(tx, tenant, err) < 0)
        return -1;
    return pg_later(tx, "DELETE FROM reply WHERE tenant = $1 AND (sender = $2 OR chat = $2)",
                    PG_ARGS(pg_text(tenant), pg_text(of)), err);
}

// ---- Who is not to be answered

int pg_optout_put(struct meta_tx *tx, const char *tenant, const char *sender, int64_t at_ms, struct error *err)
{
    if (pg_wall(tx, tenant, err) < 0)
        return -1;
    return pg_later(tx, "INSERT INTO optout (tenant, sender, at_ms) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                    PG_ARGS(pg_text(tenant), pg_text(sender), pg_int(at_ms)), err);
}

int pg_optout_remove(struct meta_tx *tx, const char *tenant, const char *sender, struct error *err)
{
    if (pg_wall(tx, tenant, err) < 0)
        return -1;
    return pg_later(tx, "DELETE FROM optout WHERE tenant = $1 AND sender = $2",
                    PG_ARGS(pg_text(tenant), pg_text(sender)), err);
}

int pg_optout_get(struct meta_tx *tx, const char *tenant, const char *sender, int64_t *at_ms, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_wall(tx, tenant, err) < 0 || pg_query(tx, "SELECT at_ms FROM optout WHERE tenant = $1 AND sender = $2",
                                                 PG_ARGS(pg_text(tenant), pg_text(sender)), &found, err) < 0)
        return -1;
    *at_ms = PQntuples(found) ? pg_col_int(found, 0, 0) : 0;
    return 0;
}
