// SPDX-License-Identifier: Apache-2.0
// The writer: one thread with the only connection that writes. Transactions come to it through a bounded queue
// (jobs.h).
//
// Group commit. The thread takes all that is queued (up to META_GROUP_MAX), begins, runs each function inside its
// own savepoint, and commits once: the cost of a sync is shared by all who wait for it. A lone transaction
// commits at once; nobody waits for company. But what nobody waits for, and no promise hangs on, waits a moment behind
// another commit: under load a commit then holds several, and writes the pages that they share once. A function that
// fails is rolled back alone and gets its own error. What the transaction as a whole cannot survive (disk full, an I/O
// error, a failed commit) rolls the group back whole, and everybody in it gets that error; the next group starts
// afresh.
//
// Durability. The WAL is a log of which a crash leaves a prefix. With synchronous=FULL each commit ends with an
// fsync of the WAL; with NORMAL it does not, but the pages are handed to the kernel, so that they survive the
// death of the process; and the next fsync of the WAL, whoever asks for it, covers everything before it. So a
// group with a META_SYNCED member runs with FULL, a group of META_RELAXED ones with NORMAL, and the relaxed
// promise (lose a suffix at most, never one from the middle, durable after a second) needs only that the WAL is
// synced soon: by the next FULL group, or by this thread once SYNC_WITHIN_US have passed. A checkpoint syncs the WAL
// before it moves pages from it, so it does not break the order either.
//
// Checkpoints are made here, between two groups: PASSIVE every CHECKPOINT_PAGES; RESTART when the WAL got long all
// the same because readers overlapped (it waits a moment for those who read now, and new ones read past the WAL);
// TRUNCATE when there is nothing else to do and the file is large.
#include "backends/meta/sqlite_int.h"
#include "base/clock.h"

enum {
    SYNC_WITHIN_US = 500 * 1000,
    IDLE_US = 1000 * 1000,
    CHECKPOINT_PAGES = 4096,
    CHECKPOINT_PATIENCE_MS = 50,
    RESTART_PAGES = 8 * CHECKPOINT_PAGES,
    TRUNCATE_PAGES = 2 * CHECKPOINT_PAGES,
};

// ---- The WAL.

// Called by SQLite after each commit that wrote something.
static int count_pages(void *arg, sqlite3 *sql, const char *name, int pages)
{
    struct sq_writer *w = arg;
    if (pages < w->wal_pages) // the WAL began anew
        w->wal_pages_checkpointed = 0;
    w->wal_pages = pages;
    w->wrote = true;
    return SQLITE_OK;
}

static int sync_wal(struct sq_writer *w, struct error *err)
{
    sqlite3_file *wal = NULL;
    int rc = sqlite3_file_control(w->conn.sql, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);
    if (rc == SQLITE_OK && wal && wal->pMethods)
        rc = wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL);
    if (rc != SQLITE_OK)
        return sq_conn_error(&w->conn, rc, "syncing the log", err);
    w->unsynced_since_us = 0;
    return 0;
}

// ---- The group.

static int set_synchronous(struct sq_writer *w, bool full, struct error *err)
{
    if (w->full == full)
        return 0;
    if (sq_conn_script(&w->conn, full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL", err) < 0)
        return -1;
    w->full = full;
    return 0;
}

static bool wants_full(const struct sq_writer *w, const struct meta_job *jobs)
{
    if (w->unsynced_since_us && clock_mono_us() - w->unsynced_since_us > SYNC_WITHIN_US)
        return true;
    for (; jobs; jobs = jobs->next)
        if (jobs->durability == META_SYNCED)
            return true;
    return false;
}

// The transaction cannot go on: SQLite rolled it back, or something happened that it must not survive.
static bool is_doomed(const struct sq_writer *w)
{
    return w->conn.failed || sqlite3_get_autocommit(w->conn.sql);
}

// Fails only when the group is lost.
static int run_function(struct sq_writer *w, struct meta_tx *tx, struct meta_job *job, struct error *err)
{
    if (sq_exec(tx, "SAVEPOINT job", SQ_NO_ARGS, err) < 0)
        return -1;
    job->failed = job->fn(tx, job->arg, &job->err) != 0;
    if (is_doomed(w)) {
        if (job->err.code != ERR_NONE)
            return error_copy(err, &job->err);
        return sq_conn_error(&w->conn, w->conn.failed ? w->conn.failed : SQLITE_ABORT, "running a transaction", err);
    }
    if (job->failed && sq_exec(tx, "ROLLBACK TO job", SQ_NO_ARGS, err) < 0)
        return -1;
    if (sq_exec(tx, "RELEASE job", SQ_NO_ARGS, err) < 0)
        return -1;
    if (w->hooks)
        w->hooks->function_ended(w->hooks_arg, !job->failed);
    return 0;
}

static int run_functions(struct sq_writer *w, struct meta_tx *tx, struct meta_job *jobs, struct error *err)
{
    if (sq_exec(tx, "BEGIN IMMEDIATE", SQ_NO_ARGS, err) < 0)
        return -1;
    for (struct meta_job *job = jobs; job; job = job->next)
        if (run_function(w, tx, job, err) < 0)
            return -1;
    if (w->hooks && w->hooks->before_commit(w->hooks_arg, tx, err) < 0)
        return -1;
    return sq_exec(tx, "COMMIT", SQ_NO_ARGS, err);
}

// A commit that wrote nothing syncs nothing, but who asked for a synced one may have read what is not synced yet.
static int note_commit(struct sq_writer *w, bool full, struct error *err)
{
    w->last_commit_us = clock_mono_us();
    if (full && !w->wrote)
        return w->unsynced_since_us ? sync_wal(w, err) : 0;
    if (full)
        w->unsynced_since_us = 0;
    else if (w->wrote && !w->unsynced_since_us)
        w->unsynced_since_us = w->last_commit_us;
    return 0;
}

static int commit_group(struct sq_db *db, struct meta_job *jobs, struct error *err)
{
    struct sq_writer *w = &db->writer;
    struct sq_tx tx = {.magic = SQ_TX_MAGIC, .writable = true, .conn = &w->conn, .db = db};
    w->conn.failed = 0;
    w->wrote = false;
    w->outbox_put = w->changed = false;
    bool full = wants_full(w, jobs);
    int rc = set_synchronous(w, full, err);
    if (rc == 0)
        rc = run_functions(w, (struct meta_tx *)&tx, jobs, err);
    if (!sqlite3_get_autocommit(w->conn.sql))
        sqlite3_exec(w->conn.sql, "ROLLBACK", NULL, NULL, NULL);
    if (rc == 0)
        rc = note_commit(w, full, err);
    if (w->hooks)
        w->hooks->group_ended(w->hooks_arg, rc == 0);
    if (rc == 0 && w->outbox_put && w->outbox_watch.fn)
        w->outbox_watch.fn(w->outbox_watch.arg);
    if (rc == 0 && w->changed && w->change_watch.fn)
        w->change_watch.fn(w->change_watch.arg);
    return rc;
}

static void run_group(struct sq_db *db, struct meta_job *jobs)
{
    struct error err = {0};
    meta_jobs_tell(jobs, commit_group(db, jobs, &err) < 0 ? &err : NULL);
}

// ---- Checkpoints and syncs between groups. A failure here is nobody's: what it was for is tried again.

static void checkpoint(struct sq_writer *w, int mode)
{
    w->wal_pages_checkpointed = w->wal_pages;
    sqlite3_busy_timeout(w->conn.sql, CHECKPOINT_PATIENCE_MS);
    sqlite3_wal_checkpoint_v2(w->conn.sql, "main", mode, NULL, NULL);
    sqlite3_busy_timeout(w->conn.sql, SQ_BUSY_MS);
}

static void checkpoint_when_due(struct sq_writer *w)
{
    if (w->wal_pages - w->wal_pages_checkpointed < CHECKPOINT_PAGES)
        return;
    checkpoint(w, w->wal_pages >= RESTART_PAGES ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE);
}

static bool is_wal_large(const struct sq_writer *w)
{
    return w->wal_pages >= TRUNCATE_PAGES;
}

// When the thread has something to do without a job, in monotonic microseconds; 0: never.
static int64_t next_chore_us(const struct sq_writer *w)
{
    int64_t sync = w->unsynced_since_us ? w->unsynced_since_us + SYNC_WITHIN_US : 0;
    int64_t truncate = is_wal_large(w) ? w->last_commit_us + IDLE_US : 0;
    return sync && (!truncate || sync < truncate) ? sync : truncate;
}

static void do_chores(struct sq_writer *w)
{
    int64_t now = clock_mono_us();
    if (w->unsynced_since_us && now - w->unsynced_since_us >= SYNC_WITHIN_US && sync_wal(w, NULL) < 0)
        w->unsynced_since_us = now;
    if (is_wal_large(w) && now - w->last_commit_us >= IDLE_US) {
        checkpoint(w, SQLITE_CHECKPOINT_TRUNCATE);
        w->wal_pages = w->wal_pages_checkpointed = 0;
    }
}

// ---- The thread.

static void *writer_main(void *arg)
{
    struct sq_db *db = arg;
    struct sq_writer *w = &db->writer;
    for (bool stop = false; !stop;) {
        struct meta_job *jobs = meta_jobs_take(&db->jobs, w->last_commit_us, next_chore_us(w), &stop);
        if (jobs) {
            run_group(db, jobs);
            checkpoint_when_due(w);
        } else if (!stop) {
            do_chores(w);
        }
    }
    return NULL;
}

int sq_write(void *state, enum meta_durability durability, meta_tx_fn *fn, void *arg, struct error *err)
{
    return meta_jobs_write(&((struct sq_db *)state)->jobs, durability, fn, arg, err);
}

void sq_write_async(void *state, enum meta_durability durability, meta_tx_fn *fn, void *arg, meta_done_fn *done,
                    void *done_arg)
{
    meta_jobs_write_async(&((struct sq_db *)state)->jobs, durability, fn, arg, done, done_arg);
}

struct hooks_change {
    struct sq_db *db;
    const struct sq_hooks *hooks;
    void *arg;
};

// The new hooks must not see the end of this group without its beginning: see sq_set_hooks.
static void change_hooks(void *arg, const struct error *err)
{
    struct hooks_change *change = arg;
    change->db->writer.hooks = change->hooks;
    change->db->writer.hooks_arg = change->arg;
}

static int nothing(struct meta_tx *tx, void *arg, struct error *err)
{
    return 0;
}

// The change is made by the `done` of an empty transaction, hence on the writer's thread and between two groups;
// a second one makes sure that the first was told.
int sq_set_hooks(struct sq_db *db, const struct sq_hooks *hooks, void *arg, struct error *err)
{
    struct hooks_change change = {.db = db, .hooks = hooks, .arg = arg};
    sq_write_async(db, META_RELAXED, nothing, NULL, change_hooks, &change);
    return sq_write(db, META_RELAXED, nothing, NULL, err);
}

struct watching {
    struct sq_watch *watch;
    struct sq_watch value;
};

static void set_watch(void *arg, const struct error *err)
{
    const struct watching *watching = arg;
    *watching->watch = watching->value;
}

// On the writer's thread, between two groups; the second transaction waits until it is done.
void sq_watch(struct sq_db *db, struct sq_watch *watch, void (*fn)(void *arg), void *arg)
{
    struct watching watching = {watch, {fn, arg}};
    meta_jobs_between(&db->jobs, set_watch, &watching);
}

int sq_writer_start(struct sq_db *db, struct error *err)
{
    struct sq_writer *w = &db->writer;
    w->full = true; // as the connection was set up
    sqlite3_wal_hook(w->conn.sql, count_pages, w);
    sqlite3_update_hook(w->conn.sql, sq_change_seen, w);
    return meta_jobs_start(&db->jobs, "meta-writer", writer_main, db, err);
}
