// SPDX-License-Identifier: Apache-2.0
// Changes of items' states, which a trigger writes (pg_schema.c): no statement can forget them, and it gives them their
// numbers at the end of the transaction, under the lock that keeps numbers in the order of commits. The last row is
// never removed; numbers come from a sequence and may have gaps.
//
// A power cut takes no number back that somebody has seen: a commit can be seen when it is on the disk (sessions never
// run with synchronous_commit off, pg_conn.c), and with it what the sequence gave.
#include "backends/meta/pg_int.h"

enum { READ_MAX = 10000 };

int pg_change_list(struct meta_tx *tx, struct arena *arena, int64_t after, size_t limit, struct meta_change **out,
                   size_t *count, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    limit = limit < READ_MAX ? limit : READ_MAX;
    if (pg_wall(tx, PG_ALL, err) < 0 ||
        pg_query(tx, "SELECT seq, at_ms, tenant, id, status FROM change WHERE seq > $1 ORDER BY seq LIMIT $2",
                 PG_ARGS(pg_int(after), pg_int((int64_t)limit)), &found, err) < 0)
        return -1;
    size_t n = (size_t)PQntuples(found);
    struct meta_change *rows = arena_alloc(arena, (n + 1) * sizeof *rows);
    for (size_t i = 0; i < n; i++)
        rows[i] = (struct meta_change){.seq = pg_col_int(found, (int)i, 0),
                                       .at_ms = pg_col_int(found, (int)i, 1),
                                       .tenant = pg_col_text(arena, found, (int)i, 2),
                                       .id = pg_col_text(arena, found, (int)i, 3),
                                       .status = (int)pg_col_int(found, (int)i, 4)};
    *out = rows;
    *count = n;
    return 0;
}

int pg_change_range(struct meta_tx *tx, int64_t *first, int64_t *last, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_wall(tx, PG_ALL, err) < 0 ||
        pg_query(tx, "SELECT coalesce((SELECT min(seq) FROM change), 1), coalesce((SELECT max(seq) FROM change), 0)",
                 PG_NO_ARGS, &found, err) < 0)
        return -1;
    *first = pg_col_int(found, 0, 0);
    *last = pg_col_int(found, 0, 1);
    return 0;
}

int pg_change_prune(struct meta_tx *tx, int64_t before_ms, int64_t up_to, size_t limit, struct error *err)
{
    if (pg_wall(tx, PG_ALL, err) < 0)
        return -1;
    return pg_later(
        tx,
        "DELETE FROM change WHERE seq IN (SELECT seq FROM change WHERE at_ms < $1"
        " AND seq <= $2 AND seq < (SELECT max(seq) FROM change) ORDER BY seq LIMIT $3 FOR UPDATE SKIP LOCKED)",
        PG_ARGS(pg_int(before_ms), pg_int(up_to), pg_int((int64_t)limit)), err);
}

void pg_change_watch(void *state, void (*fn)(void *arg), void *arg)
{
    struct pg_db *db = state;
    pg_watch_set(db, &db->writer.change_watch, fn, arg);
}
