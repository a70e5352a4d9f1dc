// SPDX-License-Identifier: Apache-2.0
// Changes of items' states, which triggers write (see sqlite_schema.c): no statement can forget them. The last row is
// never removed, so that numbers grow for ever. The newest read is behind no row that comes later, as there is one
// writer.
//
// A power cut may take the last moments' rows, whose numbers somebody has seen already. So that none is given twice,
// each opening begins with a row of its own, far behind the last one and on the disk before anything else is recorded.
#include <string.h>

#include "base/clock.h"

#include "backends/meta/sqlite_int.h"

enum { READ_MAX = 10000 };
#define SKIPPED (INT64_C(1) << 20) // numbers; more than are given within SYNC_WITHIN_US (sqlite_writer.c)

int sq_change_open(struct sq_writer *w, struct error *err)
{
    return sq_conn_exec(&w->conn,
                        "INSERT INTO change (seq, at_ms, tenant, id, status)"
                        " SELECT max(seq) + ?1, ?2, '', '', -1 FROM change HAVING max(seq) IS NOT NULL",
                        SQ_ARGS(sq_int(SKIPPED), sq_int(clock_now_ms())), err);
}

// Called by SQLite for each row that the writer touches.
void sq_change_seen(void *arg, int operation, const char *name, const char *table, sqlite3_int64 row)
{
    struct sq_writer *w = arg;
    if (operation == SQLITE_INSERT && strcmp(table, "change") == 0)
        w->changed = true;
}

int sq_change_list(struct meta_tx *tx, struct arena *arena, int64_t after, size_t limit, struct meta_change **out,
                   size_t *count, struct error *err)
{
    limit = limit < READ_MAX ? limit : READ_MAX;
    struct meta_change *rows = arena_alloc(arena, (limit + 1) * sizeof *rows);
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, "SELECT seq, at_ms, tenant, id, status FROM change WHERE seq > ?1 ORDER BY seq LIMIT ?2",
                 SQ_ARGS(sq_int(after), sq_int((int64_t)limit)), &stmt, err) < 0)
        return -1;
    size_t n = 0;
    int rc;
    while ((rc = sq_next(tx, stmt, err)) > 0)
        rows[n++] = (struct meta_change){.seq = sq_col_int(stmt, 0),
                                         .at_ms = sq_col_int(stmt, 1),
                                         .tenant = sq_col_text(arena, stmt, 2),
                                         .id = sq_col_text(arena, stmt, 3),
                                         .status = (int)sq_col_int(stmt, 4)};
    if (rc < 0)
        return -1;
    *out = rows;
    *count = n;
    return 0;
}

int sq_change_range(struct meta_tx *tx, int64_t *first, int64_t *last, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, "SELECT ifnull((SELECT min(seq) FROM change), 1), ifnull((SELECT max(seq) FROM change), 0)",
                 SQ_NO_ARGS, &stmt, err) < 0 ||
        sq_next(tx, stmt, err) < 0)
        return -1;
    *first = sq_col_int(stmt, 0);
    *last = sq_col_int(stmt, 1);
    return 0;
}

int sq_change_prune(struct meta_tx *tx, int64_t before_ms, int64_t up_to, size_t limit, struct error *err)
{
    return sq_exec(tx,
                   "DELETE FROM change WHERE seq IN (SELECT seq FROM change WHERE at_ms < ?1"
                   " AND seq <= ?2 AND seq < (SELECT max(seq) FROM change) ORDER BY seq LIMIT ?3)",
                   SQ_ARGS(sq_int(before_ms), sq_int(up_to), sq_int((int64_t)limit)), err);
}

void sq_change_watch(void *state, void (*fn)(void *arg), void *arg)
{
    struct sq_db *db = state;
    sq_watch(db, &db->writer.change_watch, fn, arg);
}
