// SPDX-License-Identifier: Apache-2.0
// A group of transactions in one: each function is run, then all is committed at once.
//
// Guessing. Almost every statement of ours goes well, and what it would answer is known ("one row changed"). So a group
// runs with its statements sent one behind the other, and waits only for rows that a function wants to see, and at the
// end; there are no savepoints. When something was not as guessed (a statement refused, nothing changed where something
// had to, a function that fails having written), nothing of it has happened: the group is rolled back and run again,
// carefully: each function in a savepoint of its own, each answer looked at before the function goes on. One that fails
// is then rolled back alone and gets its own error; what the transaction cannot survive is everybody's.
//
// Isolation. The transaction is SERIALIZABLE. When another process' transaction is in the way, the server says so, at a
// statement or at the commit, and the writer has the group run again. Each group locks the empty table `turn`: they
// share it, but for one that runs alone. The lock is the first statement: the snapshot is taken behind it.
//
// The outbox. What is put is kept, and inserted at the very end, under the lock that keeps numbers in the order of
// commits (pg_schema.c).
#include "backends/meta/pg_int.h"
#include "base/clock.h"

static int send(struct pg_conn *conn, const char *sql, struct error *err)
{
    return pg_conn_send(conn, sql, PG_NO_ARGS, NULL, err);
}

static void forget_puts(struct pg_writer *w)
{
    arena_free(&w->outbox.arena);
    w->outbox.rows = NULL;
    w->outbox.count = w->outbox.room = 0;
    w->changed = false;
}

// An attempt does not put its number over a larger one: that is a NULL then, which the column refuses.
static int begin_group(struct pg_writer *w, bool alone, struct error *err)
{
    struct pg_conn *conn = &w->conn;
    forget_puts(w);
    conn->wall[0] = 0;
    conn->guessed = conn->vain = false;
    if (send(conn, "BEGIN ISOLATION LEVEL SERIALIZABLE", err) < 0 ||
        send(conn, alone ? "LOCK TABLE turn IN EXCLUSIVE MODE" : "LOCK TABLE turn IN ROW SHARE MODE", err) < 0)
        return -1;
    return pg_conn_send(conn,
                        "INSERT INTO writer AS w (id, number, before, seen_ms) VALUES ($1, $2, $2, $3)"
                        " ON CONFLICT (id) DO UPDATE SET seen_ms = excluded.seen_ms,"
                        " number = CASE WHEN w.number < excluded.number THEN excluded.number END",
                        PG_ARGS(pg_text(w->id), pg_int(++w->number), pg_int(clock_now_ms())), NULL, err);
}

static void roll_back(struct pg_conn *conn)
{
    enum pg_trouble trouble = conn->trouble;
    conn->trouble = PG_WELL;
    if (send(conn, "ROLLBACK", NULL) < 0 || pg_conn_collect(conn, NULL) < 0)
        pg_conn_drop(conn);
    conn->trouble = trouble;
}

static enum pg_outcome give_up(struct pg_conn *conn, bool careful, bool committing, struct error *err)
{
    if (conn->trouble != PG_WELL)
        error_copy(err, &conn->why);
    if (conn->trouble == PG_LOST)
        return committing ? PG_ASK : PG_AGAIN;
    roll_back(conn);
    if (conn->trouble == PG_CONFLICT)
        return PG_AGAIN;
    return careful ? PG_FAILED : PG_CAREFUL;
}

// Rolled back is what the function did, in a transaction that goes on.
static int undo(struct pg_conn *conn, struct error *err)
{
    conn->trouble = PG_WELL;
    conn->wall[0] = 0; // it is what it was at the savepoint
    return send(conn, "ROLLBACK TO SAVEPOINT job", err) < 0 ? -1 : send(conn, "RELEASE SAVEPOINT job", err);
}

static int call(struct pg_tx *tx, struct meta_job *job)
{
    job->err = (struct error){0};
    job->failed = job->fn((struct meta_tx *)tx, job->arg, &job->err) != 0;
    return job->failed ? -1 : 0;
}

// Fails when the group cannot go on like this.
static int guess_function(struct pg_db *db, struct meta_job *job, bool lone, struct error *err)
{
    struct pg_conn *conn = &db->writer.conn;
    struct pg_tx tx = {.magic = PG_TX_MAGIC, .writable = true, .conn = conn, .db = db};
    call(&tx, job);
    if (conn->trouble != PG_WELL)
        return error_copy(err, &conn->why);
    return conn->vain || (job->failed && tx.wrote && !lone) ? -1 : 0;
}

static int care_for_function(struct pg_db *db, struct meta_job *job, struct error *err)
{
    struct pg_writer *w = &db->writer;
    struct pg_conn *conn = &w->conn;
    struct pg_tx tx = {.magic = PG_TX_MAGIC, .writable = true, .careful = true, .conn = conn, .db = db};
    size_t put = w->outbox.count;
    bool changed = w->changed;
    if (send(conn, "SAVEPOINT job", err) < 0)
        return -1;
    call(&tx, job);
    if (tx.later && conn->trouble == PG_WELL)
        pg_conn_collect(conn, NULL);
    if (conn->trouble == PG_LOST || conn->trouble == PG_CONFLICT)
        return error_copy(err, &conn->why);
    if (conn->trouble == PG_REFUSED && !job->failed) {
        error_copy(&job->err, &conn->why);
        job->failed = true;
    }
    if (!job->failed)
        return send(conn, "RELEASE SAVEPOINT job", err);
    w->outbox.count = put;
    w->changed = changed;
    return undo(conn, err);
}

static enum pg_outcome commit(struct pg_writer *w, bool careful, struct error *err)
{
    struct pg_conn *conn = &w->conn;
    if (pg_outbox_insert(w, err) < 0 || (conn->guessed && pg_conn_collect(conn, err) < 0) || conn->vain)
        return give_up(conn, careful, false, err);
    if (send(conn, "COMMIT", err) < 0)
        return give_up(conn, careful, false, err);
    return pg_conn_collect(conn, err) < 0 ? give_up(conn, careful, true, err) : PG_DONE;
}

enum pg_outcome pg_group_run(struct pg_db *db, struct meta_job *jobs, bool alone, bool careful, struct error *err)
{
    struct pg_writer *w = &db->writer;
    bool lone = !jobs->next;
    if (begin_group(w, alone, err) < 0)
        return give_up(&w->conn, careful, false, err);
    for (struct meta_job *job = jobs; job; job = job->next)
        if ((careful ? care_for_function(db, job, err) : guess_function(db, job, lone, err)) < 0)
            return give_up(&w->conn, careful, false, err);
    if (!lone || !jobs->failed)
        return commit(w, careful, err);
    roll_back(&w->conn);
    forget_puts(w);
    return w->conn.vain && !careful ? PG_CAREFUL : PG_DONE;
}
