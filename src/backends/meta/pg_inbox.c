// SPDX-License-Identifier: Apache-2.0
// The inbox (G3, G5): a row for each attempt at an event by a consumer. `begun` is counted before the work, so
// that work which kills the process is seen; `ended_ms` is set in the transaction that holds the effects, so that
// they happen once.
#include "backends/meta/pg_int.h"
#include "base/clock.h"

#define IS_OVER                                                                                                        \
    "(SELECT 1 FROM inbox WHERE consumer = $1 AND event_id = $2 AND ended_ms > 0 AND (finished <> 0 OR attempt >= "    \
    "$3))"

int pg_inbox_begin(struct meta_tx *tx, const char *consumer, const char *event_id, int attempt, enum inbox_state *state,
                   int *begun, struct error *err)
{
    _cleanup_pg_result_ PGresult *result = NULL;
    if (pg_write_query(tx,
                       "INSERT INTO inbox AS i (consumer, event_id, attempt, begun, ended_ms, finished)"
                       " SELECT $1, $2, $3, 1, 0, 0 WHERE NOT EXISTS " IS_OVER
                       " ON CONFLICT (consumer, event_id, attempt) DO UPDATE SET begun = i.begun + 1 RETURNING begun",
                       PG_ARGS(pg_text(consumer), pg_text(event_id), pg_int(attempt)), &result, err) < 0)
        return -1;
    *state = PQntuples(result) ? INBOX_FRESH : INBOX_DONE;
    if (PQntuples(result))
        *begun = (int)pg_col_int(result, 0, 0);
    return 0;
}

int pg_inbox_end(struct meta_tx *tx, const char *consumer, const char *event_id, int attempt, bool finished,
                 struct error *err)
{
    const struct pg_arg args[] = {pg_text(consumer), pg_text(event_id), pg_int(attempt), pg_int(clock_now_ms()),
                                  pg_int(finished)};
    bool changed;
    if (pg_change(tx,
                  "INSERT INTO inbox (consumer, event_id, attempt, begun, ended_ms, finished)"
                  " SELECT $1, $2, $3, 1, $4, $5 WHERE NOT EXISTS " IS_OVER " ON CONFLICT (consumer, event_id, attempt)"
                  " DO UPDATE SET ended_ms = excluded.ended_ms, finished = excluded.finished",
                  args, ARRAY_LEN(args), &changed, err) < 0)
        return -1;
    if (!changed)
        return error_set(err, ERR_EXISTS, "Attempt %d at the event %.80s has ended already", attempt, event_id);
    // What this makes vain is over too: earlier attempts, and after the finish all others.
    return pg_later(tx,
                    "UPDATE inbox SET ended_ms = $4 WHERE consumer = $1 AND event_id = $2 AND ended_ms = 0"
                    " AND (attempt < $3 OR $5 <> 0)",
                    args, ARRAY_LEN(args), err);
}

int pg_inbox_release(struct meta_tx *tx, const char *consumer, const char *event_id, int attempt, struct error *err)
{
    const struct pg_arg args[] = {pg_text(consumer), pg_text(event_id), pg_int(attempt)};
    if (pg_later(tx,
                 "UPDATE inbox SET begun = begun - 1"
                 " WHERE consumer = $1 AND event_id = $2 AND attempt = $3 AND ended_ms = 0",
                 args, ARRAY_LEN(args), err) < 0)
        return -1;
    return pg_later(tx,
                    "DELETE FROM inbox"
                    " WHERE consumer = $1 AND event_id = $2 AND attempt = $3 AND ended_ms = 0 AND begun < 1",
                    args, ARRAY_LEN(args), err);
}

int pg_inbox_forget(struct meta_tx *tx, const char *consumer, const char *event_id, bool finished, struct error *err)
{
    return pg_later(tx,
                    "DELETE FROM inbox WHERE consumer = $1 AND event_id = $2 AND ($3 <> 0 OR NOT EXISTS"
                    " (SELECT 1 FROM inbox WHERE consumer = $1 AND event_id = $2 AND finished <> 0))",
                    PG_ARGS(pg_text(consumer), pg_text(event_id), pg_int(finished)), err);
}

int pg_inbox_open(struct meta_tx *tx, uint64_t *out, struct error *err)
{
    int64_t count;
    if (pg_number(tx, "SELECT count(*) FROM inbox WHERE ended_ms = 0", 0, &count, err) < 0)
        return -1;
    *out = (uint64_t)count;
    return 0;
}

int pg_inbox_prune(struct meta_tx *tx, int64_t before_ms, struct error *err)
{
    return pg_later(tx, "DELETE FROM inbox WHERE ended_ms > 0 AND ended_ms < $1", PG_ARGS(pg_int(before_ms)), err);
}
