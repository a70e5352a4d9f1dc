// SPDX-License-Identifier: Apache-2.0
// The writer: one thread with the only connection of this process that writes. It takes what is queued (jobs.h) in
// groups, and has each group committed (pg_group.c) until that is done or cannot be.
//
// What another process' transactions disturb (serialisation failure, deadlock, a lock not had in time) runs again:
// after a moment, and from the third time on alone. So it comes to an end however many write.
//
// A lost connection. Each process has a row in the table `writer`, and each attempt at a group a number, larger than
// those before it, which the group's transaction puts there. Before COMMIT was sent, a group whose connection broke
// runs again on a new one. After that the row is asked: it has the attempt's number when the attempt was committed.
// Asking also sets a larger number, for which it waits until a transaction that holds the row has ended; and an attempt
// does not put its number over a larger one. So what the server may still find in the socket of a dead connection comes
// to nothing, and no group is applied twice. Only when the server stays away longer than the time-out is the caller
// told of an outage while it may have been done; the inbox and the deterministic ids make that harmless (G3).
//
// Durability. Every group is committed with its sync, the relaxed ones too: this process goes on when the server dies,
// and must never hold for done what the server has forgotten. Relaxed transactions come in larger groups.
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "backends/meta/pg_int.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/id.h"
#include "base/log.h"

enum { CONFLICTS_MAX = 100, LOSSES_MAX = 10, ALONE_FROM = 2, PAUSE_MAX_MS = 100, ASK_AGAIN_MS = 50 };

static void pause_ms(int64_t ms)
{
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

// ---- A new connection

// The session of this writer's last connection may not know yet that nobody is there, and hold what we need.
static int end_last(struct pg_writer *w, struct error *err)
{
    char name[ID_MAX + 16];
    _cleanup_pg_result_ PGresult *ended = NULL;
    snprintf(name, sizeof name, "deeplens %.40s", w->id);
    if (pg_conn_send(&w->conn,
                     "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                     " WHERE application_name = $1 AND usename = current_user AND pid <> pg_backend_pid()",
                     PG_ARGS(pg_text(name)), NULL, err) < 0)
        return -1;
    return pg_conn_query(&w->conn, "SELECT set_config('application_name', $1, false)", PG_ARGS(pg_text(name)), &ended,
                         err);
}

static int try_claim(struct pg_conn *conn, bool *got, struct error *err)
{
    const char *schema = conn->config->schema;
    _cleanup_pg_result_ PGresult *result = NULL;
    if (pg_conn_query(conn, "SELECT pg_try_advisory_lock($1)::int::bigint",
                      PG_ARGS(pg_int((int64_t)hash64(schema, strlen(schema)))), &result, err) < 0)
        return -1;
    *got = pg_col_int(result, 0, 0) == 1;
    return 0;
}

// The right to write, where it is exclusive. The lock ends with the session, and the session of a process that died a
// little after it.
static int claim(struct pg_db *db, struct error *err)
{
    if (!db->config.exclusive)
        return 0;
    for (int64_t until = clock_mono_us() + db->config.timeout_ms * 1000;; pause_ms(ASK_AGAIN_MS)) {
        bool got = false;
        if (try_claim(&db->writer.conn, &got, err) < 0)
            return -1;
        if (got)
            return 0;
        if (clock_mono_us() > until)
            break;
    }
    error_set(err, ERR_DATA_DIR_IN_USE, "Another process serves the schema \"%s\" of this PostgreSQL database",
              db->config.schema);
    if (err)
        err->outage = true;
    return -1;
}

// Learns what became of the last attempt, and sees to it that nothing more does.
static int enroll(struct pg_writer *w, struct error *err)
{
    _cleanup_pg_result_ PGresult *row = NULL;
    if (pg_conn_query(&w->conn,
                      "INSERT INTO writer AS w (id, number, before, seen_ms) VALUES ($1, $3, $3, $4)"
                      " ON CONFLICT (id) DO UPDATE SET before = w.number, seen_ms = excluded.seen_ms,"
                      " number = CASE WHEN w.number = $2 THEN $2 ELSE excluded.number END RETURNING number, before",
                      PG_ARGS(pg_text(w->id), pg_int(w->number), pg_int(w->number + 1), pg_int(clock_now_ms())), &row,
                      err) < 0)
        return -1;
    w->landed = pg_col_int(row, 0, 0) == w->number;
    if (!w->landed)
        w->number++;
    if (pg_col_int(row, 0, 1) < w->told) {
        log_error("postgres", "the database has forgotten transactions that it had confirmed: it was set back, or what "
                              "was promoted did not have them. What is missing is put back after reconcile.after");
        w->told = 0;
    }
    return 0;
}

int pg_writer_ready(struct pg_db *db, struct error *err)
{
    struct pg_writer *w = &db->writer;
    if (pg_conn_ready(&w->conn, err) < 0)
        return -1;
    if (!w->conn.fresh)
        return 0;
    if (end_last(w, err) < 0 || claim(db, err) < 0 || enroll(w, err) < 0) {
        pg_conn_drop(&w->conn); // the next time anew
        return -1;
    }
    w->conn.fresh = false;
    return 0;
}

void pg_writer_leave(struct pg_db *db)
{
    struct pg_writer *w = &db->writer;
    _cleanup_pg_result_ PGresult *result = NULL;
    if (w->conn.pg && w->conn.trouble == PG_WELL)
        pg_conn_query(&w->conn, "DELETE FROM writer WHERE id = $1", PG_ARGS(pg_text(w->id)), &result, NULL);
}

// ---- A group

static int unknown(struct error *err)
{
    error_set(err, ERR_UNAVAILABLE,
              "The metadata database (PostgreSQL) went away during a commit, and whether it was done is not known");
    if (err)
        err->outage = true;
    return -1;
}

// After a connection broke in a commit: 1 when that was done all the same, 0 when not.
static int resolve(struct pg_db *db, struct error *err)
{
    for (int64_t until = clock_mono_us() + db->config.timeout_ms * 1000; clock_mono_us() < until;
         pause_ms(ASK_AGAIN_MS))
        if (pg_writer_ready(db, err) == 0)
            return db->writer.landed;
    return unknown(err);
}

static void pause_before(struct pg_writer *w, int conflicts)
{
    int most = conflicts > 6 ? PAUSE_MAX_MS : 1 << conflicts;
    pause_ms(rand_r(&w->seed) % most);
}

static int commit_group(struct pg_db *db, struct meta_job *jobs, struct error *err)
{
    struct pg_writer *w = &db->writer;
    int conflicts = 0, losses = 0, rc = 0;
    for (bool careful = false;;) {
        if (pg_writer_ready(db, err) < 0)
            return -1;
        enum pg_outcome outcome = pg_group_run(db, jobs, conflicts >= ALONE_FROM, careful, err);
        bool conflict = w->conn.trouble == PG_CONFLICT;
        if (outcome == PG_ASK && (rc = resolve(db, err)) < 0)
            return -1;
        if (outcome == PG_DONE || rc > 0) {
            w->told = w->number;
            return 0;
        }
        if (outcome == PG_FAILED)
            return -1;
        careful |= outcome == PG_CAREFUL;
        if (outcome == PG_CAREFUL)
            continue;
        if (conflict ? ++conflicts >= CONFLICTS_MAX : ++losses >= LOSSES_MAX)
            return -1;
        if (conflict)
            pause_before(w, conflicts);
    }
}

static void tell(const struct pg_watch *watch)
{
    if (watch->fn)
        watch->fn(watch->arg);
}

static void *writer_main(void *arg)
{
    struct pg_db *db = arg;
    struct pg_writer *w = &db->writer;
    for (bool stop = false; !stop;) {
        struct meta_job *jobs = meta_jobs_take(&db->jobs, w->last_commit_us, 0, &stop);
        if (!jobs)
            continue;
        struct error err = {0};
        bool failed = commit_group(db, jobs, &err) < 0;
        w->last_commit_us = clock_mono_us();
        if (!failed && w->outbox.count)
            tell(&w->outbox_watch);
        if (!failed && w->changed)
            tell(&w->change_watch);
        meta_jobs_tell(jobs, failed ? &err : NULL);
    }
    return NULL;
}

int pg_writer_start(struct pg_db *db, struct error *err)
{
    db->writer.seed = (unsigned)clock_mono_us();
    return meta_jobs_start(&db->jobs, "meta-writer", writer_main, db, err);
}

struct watching {
    struct pg_watch *watch;
    struct pg_watch value;
};

static void set_watch(void *arg, const struct error *err)
{
    const struct watching *watching = arg;
    *watching->watch = watching->value;
}

// On the writer's thread, between two groups.
void pg_watch_set(struct pg_db *db, struct pg_watch *watch, void (*fn)(void *arg), void *arg)
{
    struct watching watching = {watch, {fn, arg}};
    meta_jobs_between(&db->jobs, set_watch, &watching);
}
