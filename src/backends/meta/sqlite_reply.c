// SPDX-License-Identifier: Apache-2.0
// What workflows have to say to people, and who does not want to hear it.
#include "backends/meta/sqlite_int.h"

enum { LIST_MAX = 10000 };
#define COLUMNS                                                                                                        \
    "tenant, id, channel, workflow, message, chat, sender, item, what, state, attempts, not_before_ms, created_ms,"    \
    " begun_ms, ended_ms, text, sent_id, error_code, error"
// Its time has come, and its item is neither uploaded nor processing any more.
#define READY                                                                                                          \
    "state = 0 AND channel = ?1 AND not_before_ms <= ?2 AND NOT EXISTS (SELECT 1 FROM media m WHERE m.tenant ="        \
    " reply.tenant AND m.id = reply.item AND m.status < 2)"
_Static_assert(REPLY_WAITING == 0 && REPLY_SENDING == 1 && REPLY_UNCERTAIN == 3 && REPLY_DEAD == 4 && MEDIA_FAILED == 2,
               "the numbers stand in SQL and in databases");

int sq_reply_put(struct meta_tx *tx, const struct meta_reply *row, struct error *err)
{
    return sq_exec(tx,
                   "INSERT INTO reply (" COLUMNS
                   ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)"
                   " ON CONFLICT (tenant, id) DO UPDATE SET "
                   "channel = excluded.channel, workflow = excluded.workflow, message = excluded.message,"
                   " chat = excluded.chat, sender = excluded.sender, item = excluded.item,"
                   " what = excluded.what, state = excluded.state, attempts = excluded.attempts,"
                   " not_before_ms = excluded.not_before_ms, created_ms = excluded.created_ms,"
                   " begun_ms = excluded.begun_ms, ended_ms = excluded.ended_ms, text = excluded.text,"
                   " sent_id = excluded.sent_id, error_code = excluded.error_code, error = excluded.error",
                   SQ_ARGS(sq_text(row->tenant), sq_text(row->id), sq_text(row->channel), sq_text(row->workflow),
                           sq_text(row->message), sq_text(row->chat), sq_text(row->sender), sq_text(row->item),
                           sq_text(row->what), sq_int(row->state), sq_int(row->attempts), sq_int(row->not_before_ms),
                           sq_int(row->created_ms), sq_int(row->begun_ms), sq_int(row->ended_ms), sq_text(row->text),
                           sq_text(row->sent_id), sq_text(row->error_code), sq_text(row->error)),
                   err);
}

static struct meta_reply reply_row(struct arena *arena, sqlite3_stmt *stmt)
{
    return (struct meta_reply){.num = sq_col_int(stmt, 0),
                               .tenant = sq_col_text(arena, stmt, 1),
                               .id = sq_col_text(arena, stmt, 2),
                               .channel = sq_col_text(arena, stmt, 3),
                               .workflow = sq_col_text(arena, stmt, 4),
                               .message = sq_col_text(arena, stmt, 5),
                               .chat = sq_col_text(arena, stmt, 6),
                               .sender = sq_col_text(arena, stmt, 7),
                               .item = sq_col_text(arena, stmt, 8),
                               .what = sq_col_text(arena, stmt, 9),
                               .state = (enum reply_state)sq_col_int(stmt, 10),
                               .attempts = (int)sq_col_int(stmt, 11),
                               .not_before_ms = sq_col_int(stmt, 12),
                               .created_ms = sq_col_int(stmt, 13),
                               .begun_ms = sq_col_int(stmt, 14),
                               .ended_ms = sq_col_int(stmt, 15),
                               .text = sq_col_text(arena, stmt, 16),
                               .sent_id = sq_col_text(arena, stmt, 17),
                               .error_code = sq_col_text(arena, stmt, 18),
                               .error = sq_col_text(arena, stmt, 19)};
}

int sq_reply_get(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id, struct meta_reply *out,
                 struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, "SELECT num, " COLUMNS " FROM reply WHERE tenant = ?1 AND id = ?2",
                 SQ_ARGS(sq_text(tenant), sq_text(id)), &stmt, err) < 0)
        return -1;
    int rc = sq_next(tx, stmt, err);
    if (rc <= 0)
        return rc < 0 ? -1 : error_set(err, ERR_NOT_FOUND, "There is no reply %.80s", id);
    *out = reply_row(arena, stmt);
    return 0;
}

#define LIST(condition)                                                                                                \
    "SELECT num, " COLUMNS " FROM reply WHERE tenant = ?1 AND " condition " num < ?2 AND (?3 < 0 OR state = ?3)"       \
    " AND (?4 IS NULL OR chat = ?4) AND (?5 IS NULL OR message = ?5) AND (?7 IS NULL OR sender = ?7 OR chat = ?7) "    \
    "ORDER BY num DESC LIMIT ?6"

int sq_reply_list(struct meta_tx *tx, struct arena *arena, const struct reply_query *query, struct meta_reply **out,
                  size_t *count, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    size_t limit = query->limit < LIST_MAX ? query->limit : LIST_MAX, n = 0;
    const char *sql = query->of        ? LIST("(sender = ?7 OR chat = ?7) AND")
                      : query->message ? LIST("message = ?5 AND")
                      : query->chat    ? LIST("chat = ?4 AND")
                                       : LIST("");
    if (sq_query(tx, sql,
                 SQ_ARGS(sq_text(query->tenant), sq_int(query->before ? query->before : INT64_MAX),
                         sq_int(query->state), sq_text(query->chat), sq_text(query->message), sq_int((int64_t)limit),
                         sq_text(query->of)),
                 &stmt, err) < 0)
        return -1;
    struct meta_reply *rows = arena_alloc(arena, (limit + 1) * sizeof *rows);
    int rc;
    while ((rc = sq_next(tx, stmt, err)) > 0)
        rows[n++] = reply_row(arena, stmt);
    if (rc < 0)
        return -1;
    *out = rows;
    *count = n;
    return 0;
}

// ---- Sending

int sq_reply_due(struct meta_tx *tx, const char *channel, int64_t now_ms, bool *out, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, "SELECT 1 FROM reply WHERE " READY " LIMIT 1", SQ_ARGS(sq_text(channel), sq_int(now_ms)), &stmt,
                 err) < 0)
        return -1;
    int rc = sq_next(tx, stmt, err);
    if (rc < 0)
        return -1;
    *out = rc > 0;
    return 0;
}

int sq_reply_claim(struct meta_tx *tx, struct arena *arena, const char *channel, int64_t now_ms, int64_t until_ms,
                   struct meta_reply *out, bool *found, struct error *err)
{
    struct meta_reply row = {0};
    int rc;
    {
        _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
        if (sq_query(tx, "SELECT num, " COLUMNS " FROM reply WHERE " READY " ORDER BY not_before_ms, num LIMIT 1",
                     SQ_ARGS(sq_text(channel), sq_int(now_ms)), &stmt, err) < 0)
            return -1;
        rc = sq_next(tx, stmt, err);
        if (rc < 0)
            return -1;
        if (rc > 0)
            row = reply_row(arena, stmt);
    }
    if (rc > 0 && sq_exec(tx, "UPDATE reply SET not_before_ms = ?2 WHERE num = ?1",
                          SQ_ARGS(sq_int(row.num), sq_int(until_ms)), err) < 0)
        return -1;
    row.not_before_ms = until_ms;
    *out = row;
    *found = rc > 0;
    return 0;
}

int sq_reply_lost(struct meta_tx *tx, int64_t before_ms, int64_t now_ms, const char *why, struct error *err)
{
    return sq_exec(tx, "UPDATE reply SET state = 3, ended_ms = ?2, error = ?3 WHERE state = 1 AND begun_ms < ?1",
                   SQ_ARGS(sq_int(before_ms), sq_int(now_ms), sq_text(why)), err);
}

int sq_reply_cancel(struct meta_tx *tx, const char *tenant, const char *sender, int64_t now_ms, const char *why,
                    struct error *err)
{
    return sq_exec(
        tx,
        "UPDATE reply SET state = 4, ended_ms = ?3, error = ?4 WHERE tenant = ?1 AND sender = ?2 AND state = 0"
        " AND channel = 'whatsapp'",
        SQ_ARGS(sq_text(tenant), sq_text(sender), sq_int(now_ms), sq_text(why)), err);
}

int sq_reply_forget(struct meta_tx *tx, const char *tenant, const char *of, struct error *err)
{
    return sq_exec(tx, "DELETE FROM reply WHERE tenant = ?1 AND (sender = ?2 OR chat = ?2)",
                   SQ_ARGS(sq_text(tenant), sq_text(of)), err);
}

// ---- Who is not to be answered

int sq_optout_put(struct meta_tx *tx, const char *tenant, const char *sender, int64_t at_ms, struct error *err)
{
    return sq_exec(tx, "INSERT INTO optout (tenant, sender, at_ms) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                   SQ_ARGS(sq_text(tenant), sq_text(sender), sq_int(at_ms)), err);
}

int sq_optout_remove(struct meta_tx *tx, const char *tenant, const char *sender, struct error *err)
{
    return sq_exec(tx, "DELETE FROM optout WHERE tenant = ?1 AND sender = ?2",
                   SQ_ARGS(sq_text(tenant), sq_text(sender)), err);
}

int sq_optout_get(struct meta_tx *tx, const char *tenant, const char *sender, int64_t *at_ms, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, "SELECT at_ms FROM optout WHERE tenant = ?1 AND sender = ?2",
                 SQ_ARGS(sq_text(tenant), sq_text(sender)), &stmt, err) < 0)
        return -1;
    int rc = sq_next(tx, stmt, err);
    if (rc < 0)
        return -1;
    *at_ms = rc ? sq_col_int(stmt, 0) : 0;
    return 0;
}
