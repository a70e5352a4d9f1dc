// SPDX-License-Identifier: Apache-2.0
// The inbox (G3, G5): a row for each attempt at an event by a consumer. `begun` is counted before the work, so
// that work which kills the process is seen; `ended_ms` is set in the transaction that holds the effects, so that
// they happen once.
#include "backends/meta/sqlite_int.h"
#include "base/clock.h"

static int is_over(struct meta_tx *tx, const char *consumer, const char *event_id, int attempt, bool *out,
                   struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx,
                 "SELECT 1 FROM inbox WHERE consumer = ?1 AND event_id = ?2 AND ended_ms > 0"
                 " AND (finished OR attempt >= ?3) LIMIT 1",
                 SQ_ARGS(sq_text(consumer), sq_text(event_id), sq_int(attempt)), &stmt, err) < 0)
        return -1;
    int rc = sq_next(tx, stmt, err);
    if (rc < 0)
        return -1;
    *out = rc > 0;
    return 0;
}

static int count_beginning(struct meta_tx *tx, const char *consumer, const char *event_id, int attempt, int *begun,
                           struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(
            tx,
            "INSERT INTO inbox (consumer, event_id, attempt, begun, ended_ms, finished) VALUES (?1, ?2, ?3, 1, 0, 0)"
            " ON CONFLICT (consumer, event_id, attempt) DO UPDATE SET begun = begun + 1 RETURNING begun",
            SQ_ARGS(sq_text(consumer), sq_text(event_id), sq_int(attempt)), &stmt, err) < 0 ||
        sq_next(tx, stmt, err) < 0)
        return -1;
    *begun = (int)sq_col_int(stmt, 0);
    return 0;
}

int sq_inbox_begin(struct meta_tx *tx, const char *consumer, const char *event_id, int attempt, enum inbox_state *state,
                   int *begun, struct error *err)
{
    bool over;
    if (is_over(tx, consumer, event_id, attempt, &over, err) < 0)
        return -1;
    if (over) {
        *state = INBOX_DONE;
        return 0;
    }
    if (count_beginning(tx, consumer, event_id, attempt, begun, err) < 0)
        return -1;
    *state = INBOX_FRESH;
    return 0;
}

int sq_inbox_end(struct meta_tx *tx, const char *consumer, const char *event_id, int attempt, bool finished,
                 struct error *err)
{
    bool over;
    if (is_over(tx, consumer, event_id, attempt, &over, err) < 0)
        return -1;
    if (over)
        return error_set(err, ERR_EXISTS, "Attempt %d at the event %.80s has ended already", attempt, event_id);
    int64_t now = clock_now_ms();
    if (sq_exec(tx,
                "INSERT INTO inbox (consumer, event_id, attempt, begun, ended_ms, finished)"
                " VALUES (?1, ?2, ?3, 1, ?4, ?5) ON CONFLICT (consumer, event_id, attempt)"
                " DO UPDATE SET ended_ms = excluded.ended_ms, finished = excluded.finished",
                SQ_ARGS(sq_text(consumer), sq_text(event_id), sq_int(attempt), sq_int(now), sq_int(finished)), err) < 0)
        return -1;
    // What this makes vain is over too: earlier attempts, and after the finish all others.
    return sq_exec(tx,
                   "UPDATE inbox SET ended_ms = ?4 WHERE consumer = ?1 AND event_id = ?2 AND ended_ms = 0"
                   " AND (attempt < ?3 OR ?5)",
                   SQ_ARGS(sq_text(consumer), sq_text(event_id), sq_int(attempt), sq_int(now), sq_int(finished)), err);
}

int sq_inbox_release(struct meta_tx *tx, const char *consumer, const char *event_id, int attempt, struct error *err)
{
    const struct sq_arg args[] = {sq_text(consumer), sq_text(event_id), sq_int(attempt)};
    if (sq_exec(tx,
                "UPDATE inbox SET begun = begun - 1"
                " WHERE consumer = ?1 AND event_id = ?2 AND attempt = ?3 AND ended_ms = 0",
                args, ARRAY_LEN(args), err) < 0)
        return -1;
    return sq_exec(tx,
                   "DELETE FROM inbox"
                   " WHERE consumer = ?1 AND event_id = ?2 AND attempt = ?3 AND ended_ms = 0 AND begun < 1",
                   args, ARRAY_LEN(args), err);
}

int sq_inbox_forget(struct meta_tx *tx, const char *consumer, const char *event_id, bool finished, struct error *err)
{
    return sq_exec(tx,
                   "DELETE FROM inbox WHERE consumer = ?1 AND event_id = ?2 AND (?3 OR NOT EXISTS"
                   " (SELECT 1 FROM inbox WHERE consumer = ?1 AND event_id = ?2 AND finished))",
                   SQ_ARGS(sq_text(consumer), sq_text(event_id), sq_int(finished)), err);
}

int sq_inbox_open(struct meta_tx *tx, uint64_t *out, struct error *err)
{
    int64_t count = 0;
    if (sq_number(tx, "SELECT count(*) FROM inbox WHERE ended_ms = 0", 0, &count, err) < 0)
        return -1;
    *out = (uint64_t)count;
    return 0;
}

int sq_inbox_prune(struct meta_tx *tx, int64_t before_ms, struct error *err)
{
    return sq_exec(tx, "DELETE FROM inbox WHERE ended_ms > 0 AND ended_ms < ?1", SQ_ARGS(sq_int(before_ms)), err);
}
