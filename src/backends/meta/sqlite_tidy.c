// SPDX-License-Identifier: Apache-2.0
// Housekeeping, on the writer's thread between two groups: statistics for the planner that are out of date, then pages
// that nobody uses given back a few at a time, at last the WAL emptied.
//
// Pages are given back where the database was made with auto_vacuum=INCREMENTAL; older ones use them again, and keep
// their size.
#include "backends/meta/sqlite_int.h"

enum { PAGES = 256, LAST = -1 }; // of a piece: about a megabyte

struct tidy {
    struct sq_db *db;
    bool dry_run;
    int64_t piece;
    uint64_t freed;
    int rc;
    struct error err;
};

// Bytes in pages that nobody uses and that can be given back.
static int unused(struct sq_conn *conn, int64_t *out, struct error *err)
{
    int64_t mode, pages, size;
    if (sq_conn_number(conn, "PRAGMA auto_vacuum", &mode, err) < 0 ||
        sq_conn_number(conn, "PRAGMA freelist_count", &pages, err) < 0 ||
        sq_conn_number(conn, "PRAGMA page_size", &size, err) < 0)
        return -1;
    *out = mode == 2 ? pages * size : 0; // INCREMENTAL
    return 0;
}

static int give_back(struct tidy *t, struct sq_conn *conn)
{
    char sql[64];
    int64_t before, after;
    sqlite3_snprintf(sizeof sql, sql, "PRAGMA incremental_vacuum(%d)", PAGES);
    if (unused(conn, &before, &t->err) < 0)
        return -1;
    if (before && sq_conn_script(conn, sql, &t->err) < 0)
        return -1;
    if (unused(conn, &after, &t->err) < 0)
        return -1;
    t->freed = before > after ? (uint64_t)(before - after) : 0;
    t->piece = after && after < before ? t->piece + 1 : LAST;
    return 0;
}

static int do_piece(struct tidy *t)
{
    struct sq_conn *conn = &t->db->writer.conn;
    int64_t bytes = 0;
    conn->failed = 0;
    if (t->dry_run) {
        if (unused(conn, &bytes, &t->err) < 0)
            return -1;
        t->freed = (uint64_t)bytes;
        t->piece = LAST;
        return 0;
    }
    if (t->piece == 0) {
        t->piece = 1;
        return sq_conn_script(conn, "PRAGMA analysis_limit=400; PRAGMA optimize", &t->err);
    }
    if (give_back(t, conn) < 0)
        return -1;
    if (t->piece == LAST) // who reads now is not waited for: it is emptied another time
        sqlite3_wal_checkpoint_v2(conn->sql, "main", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    return 0;
}

static void tidy_between(void *arg, const struct error *err)
{
    struct tidy *t = arg;
    t->rc = err ? error_copy(&t->err, err) : do_piece(t);
}

int sq_tidy(void *state, bool dry_run, int64_t *piece, uint64_t *freed, struct error *err)
{
    struct sq_db *db = state;
    struct tidy tidy = {.db = db, .dry_run = dry_run, .piece = *piece};
    meta_jobs_between(&db->jobs, tidy_between, &tidy);
    if (tidy.rc < 0)
        return error_copy(err, &tidy.err);
    *piece = tidy.piece;
    *freed = tidy.freed;
    return 0;
}
