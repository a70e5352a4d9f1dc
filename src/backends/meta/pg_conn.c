// SPDX-License-Identifier: Apache-2.0
// A connection to PostgreSQL, in libpq's pipeline mode: commands are sent one after the other, and answers are read
// when one of them is needed, so that what needs no answer of its own (BEGIN, a savepoint, most writes) costs no round
// trip. The server answers in order; after an error it skips what follows up to the sync, which ends each batch.
//
// Statements are literals, prepared once on each connection and found again by the address of their text in a small
// hash table. Numbers and bytes travel in binary.
//
// Plans are made once, from tables that may have been empty then: each statement has its index, so whole tables are
// read only where there is no other way (enable_seqscan), and nothing is compiled for that (jit).
//
// Nothing waits longer than the time-out: then the connection is dropped, as nobody knows what the server is at. The
// socket never blocks (PQsetnonblocking), except while connecting, where libpq has a time-out of its own.
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "backends/meta/pg_int.h"
#include "base/clock.h"
#include "base/js.h"

enum { TYPE_BYTEA = 17, TYPE_INT8 = 20, TYPE_TEXT = 25, TYPE_FLOAT8 = 701, DOWN_US = 500 * 1000 };

void pg_conn_init(struct pg_conn *conn, const struct pg_config *config, struct pg_down *down)
{
    *conn = (struct pg_conn){.config = config, .down = down};
    conn->patience_ms =
        config->timeout_ms + 1000; // the server's own time-out of a statement comes first, and says more
}

void pg_conn_drop(struct pg_conn *conn)
{
    if (conn->pg)
        PQfinish(conn->pg);
    conn->pg = NULL;
    memset(conn->statements, 0, sizeof conn->statements);
    conn->statement_count = conn->pending_count = 0;
    conn->synced = conn->guessed = conn->vain = false;
    conn->wall[0] = 0;
}

// ---- Errors

static bool is_class(const char *state, const char *class)
{
    return strncmp(state, class, 2) == 0;
}

// Whether the server is in a state in which it serves nobody, or not us any more.
static bool is_away(const char *state)
{
    return is_class(state, "08") || is_class(state, "57") || strcmp(state, "53300") == 0 || // too many connections
           strcmp(state, "25006") == 0 || strcmp(state, "25P03") == 0;                      // a standby; idle too long
}

static enum error_code code_of(const char *state)
{
    static const struct {
        const char *state;
        enum error_code code;
    } codes[] = {
        {"40001", ERR_UNAVAILABLE}, {"40P01", ERR_UNAVAILABLE},  {"55P03", ERR_UNAVAILABLE},
        {"57014", ERR_TIMEOUT},     {"53100", ERR_DISK_FULL},    {"53200", ERR_NO_MEMORY},
        {"58030", ERR_IO},          {"23505", ERR_EXISTS},       {"22021", ERR_INVALID},
        {"54000", ERR_INVALID},     {"XX001", ERR_DATA_CORRUPT}, {"XX002", ERR_DATA_CORRUPT},
        {"42501", ERR_CONFIG},      {"3D000", ERR_CONFIG},
    };
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (strcmp(state, codes[i].state) == 0)
            return codes[i].code;
    if (is_class(state, "28"))
        return ERR_CONFIG;
    return is_away(state) ? ERR_UNAVAILABLE : ERR_INTERNAL;
}

static bool is_outage(enum error_code code)
{
    return code == ERR_UNAVAILABLE || code == ERR_TIMEOUT || code == ERR_DISK_FULL || code == ERR_IO ||
           code == ERR_NO_MEMORY || code == ERR_CONFIG;
}

// Notes the first trouble of a transaction. The message is the server's, in one line.
static void note(struct pg_conn *conn, enum pg_trouble trouble, enum error_code code, const char *state,
                 const char *message)
{
    if (conn->trouble != PG_WELL)
        return;
    char line[256];
    size_t len = strcspn(message ? message : "", "\n");
    snprintf(line, sizeof line, "%.*s", (int)(len < sizeof line ? len : sizeof line - 1), message ? message : "");
    conn->trouble = trouble;
    error_set(&conn->why, code, "The metadata database (PostgreSQL) failed: %s%s%s%s", line, *state ? " (" : "", state,
              *state ? ")" : "");
    conn->why.outage = is_outage(code);
    conn->why.fatal = code == ERR_DATA_CORRUPT;
}

static int lost(struct pg_conn *conn, const char *message)
{
    note(conn, PG_LOST, ERR_UNAVAILABLE, "", message);
    if (conn->trouble != PG_LOST) // an error before it: the connection is what matters
        conn->trouble = PG_LOST;
    conn->why.outage = true;
    pg_conn_drop(conn);
    return -1;
}

static void refused(struct pg_conn *conn, const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (!state) { // libpq's own words: the connection broke
        lost(conn, PQresultErrorMessage(result));
        return;
    }
    bool conflict = strcmp(state, "40001") == 0 || strcmp(state, "40P01") == 0 || strcmp(state, "55P03") == 0;
    note(conn,
         conflict                                        ? PG_CONFLICT
         : is_away(state) && strcmp(state, "57014") != 0 ? PG_LOST
                                                         : PG_REFUSED,
         code_of(state), state, message);
    if (conn->trouble == PG_LOST)
        pg_conn_drop(conn); // a server that ends us says so first
}

// ---- Connecting

static int is_down(struct pg_down *down, struct error *err)
{
    pthread_mutex_lock(&down->lock);
    int rc = clock_mono_us() < down->until_us ? error_copy(err, &down->why) : 0;
    pthread_mutex_unlock(&down->lock);
    return rc;
}

// The next half second's attempts need not wait for a time-out of their own.
static int went_down(struct pg_conn *conn, struct error *err)
{
    pthread_mutex_lock(&conn->down->lock);
    conn->down->until_us = clock_mono_us() + DOWN_US;
    conn->down->why = conn->why;
    pthread_mutex_unlock(&conn->down->lock);
    return error_copy(err, &conn->why);
}

static int connect_now(struct pg_conn *conn)
{
    char seconds[24];
    snprintf(seconds, sizeof seconds, "%d", (int)((conn->config->timeout_ms + 999) / 1000));
    // What stands before the conninfo it may say otherwise.
    const char *const names[] = {"connect_timeout",  "target_session_attrs",
                                 "application_name", "gssencmode",
                                 "tcp_user_timeout", "dbname",
                                 "client_encoding",  NULL};
    char milliseconds[24];
    snprintf(milliseconds, sizeof milliseconds, "%d", (int)conn->config->timeout_ms);
    const char *const values[] = {seconds,      "read-write",           "deeplens", "disable",
                                  milliseconds, conn->config->conninfo, "UTF8",     NULL};
    conn->pg = PQconnectdbParams(names, values, 1);
    if (conn->pg && PQstatus(conn->pg) == CONNECTION_OK)
        return 0;
    const char *message = conn->pg ? PQerrorMessage(conn->pg) : "out of memory";
    // Wrong keys or a wrong name are told apart from a server that is away by their words alone: libpq gives no code.
    bool wrong = strstr(message, "authentication failed") || strstr(message, "does not exist") ||
                 strstr(message, "no pg_hba.conf entry") || strstr(message, "no password supplied");
    note(conn, PG_LOST, wrong ? ERR_CONFIG : ERR_UNAVAILABLE, "", message);
    pg_conn_drop(conn);
    return -1;
}

static int set_up(struct pg_conn *conn)
{
    char sql[640];
    snprintf(sql, sizeof sql,
             "SET search_path = \"%s\"; SET statement_timeout = %lld; SET lock_timeout = %lld;"
             "SET idle_in_transaction_session_timeout = %lld; SET standard_conforming_strings = on;"
             "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off;"
             "SELECT set_config('synchronous_commit', 'on', false)"
             " WHERE current_setting('synchronous_commit') = 'off'",
             conn->config->schema, (long long)conn->config->timeout_ms, (long long)conn->config->timeout_ms,
             (long long)conn->config->timeout_ms);
    if (PQsetnonblocking(conn->pg, 1) != 0)
        return lost(conn, PQerrorMessage(conn->pg));
    if (pg_conn_script(conn, sql, NULL) < 0)
        return -1;
    return PQenterPipelineMode(conn->pg) ? 0 : lost(conn, PQerrorMessage(conn->pg));
}

int pg_conn_ready(struct pg_conn *conn, struct error *err)
{
    conn->trouble = PG_WELL;
    if (conn->pg && (conn->pending_count == 0 || pg_conn_collect(conn, NULL) == 0 || conn->pg)) {
        conn->trouble = PG_WELL;
        if (PQtransactionStatus(conn->pg) == PQTRANS_IDLE)
            return 0;
        pg_conn_drop(conn);
    }
    conn->trouble = PG_WELL;
    if (is_down(conn->down, err) < 0) {
        conn->trouble = PG_LOST;
        return -1;
    }
    if (connect_now(conn) < 0 || set_up(conn) < 0) {
        pg_conn_drop(conn);
        return went_down(conn, err);
    }
    conn->fresh = true;
    conn->wall[0] = 0;
    return 0;
}

// ---- Waiting

static int remaining_ms(int64_t until_us)
{
    int64_t left = until_us - clock_mono_us();
    return left <= 0 ? 0 : (int)((left + 999) / 1000);
}

// Sends what there is to send and reads until an answer is there.
static int wait_for(struct pg_conn *conn, int64_t until_us)
{
    for (;;) {
        int left = PQflush(conn->pg); // 1: the socket is full
        if (left < 0)
            return lost(conn, PQerrorMessage(conn->pg));
        if (!PQisBusy(conn->pg))
            return 0;
        struct pollfd fd = {.fd = PQsocket(conn->pg), .events = (short)(POLLIN | (left ? POLLOUT : 0))};
        int rc = poll(&fd, 1, remaining_ms(until_us));
        if (rc < 0 && errno != EINTR)
            return lost(conn, strerrordesc_np(errno));
        if (rc == 0 && remaining_ms(until_us) == 0)
            return lost(conn, "no answer came in time");
        if (rc > 0 && (fd.revents & ~POLLOUT) && !PQconsumeInput(conn->pg))
            return lost(conn, PQerrorMessage(conn->pg));
    }
}

static int64_t deadline(const struct pg_conn *conn)
{
    return clock_mono_us() + conn->patience_ms * 1000;
}

int pg_conn_script(struct pg_conn *conn, const char *sql, struct error *err)
{
    bool piped = PQpipelineStatus(conn->pg) == PQ_PIPELINE_ON;
    if ((piped && !PQexitPipelineMode(conn->pg)) || !PQsendQuery(conn->pg, sql))
        lost(conn, PQerrorMessage(conn->pg));
    for (int64_t until = deadline(conn); conn->pg && wait_for(conn, until) == 0;) {
        _cleanup_pg_result_ PGresult *result = PQgetResult(conn->pg);
        if (!result)
            break;
        if (PQresultStatus(result) == PGRES_FATAL_ERROR)
            refused(conn, result);
    }
    if (conn->pg && piped && !PQenterPipelineMode(conn->pg))
        lost(conn, PQerrorMessage(conn->pg));
    return conn->trouble == PG_WELL ? 0 : error_copy(err, &conn->why);
}

// ---- The pipeline

static struct pg_statement *statement_of(struct pg_conn *conn, const char *sql)
{
    size_t i = (size_t)(((uintptr_t)sql * UINT64_C(0x9E3779B97F4A7C15)) >> 40);
    for (;; i++) {
        struct pg_statement *slot = &conn->statements[i % PG_STATEMENTS_MAX];
        if (slot->sql == sql)
            return slot;
        if (slot->sql)
            continue;
        if (conn->statement_count == PG_STATEMENTS_MAX - 1)
            abort(); // they are literals: their number is known
        slot->sql = sql;
        conn->statement_count++;
        return slot;
    }
}

struct values { // as libpq takes them
    Oid types[PG_ARGS_MAX];
    const char *values[PG_ARGS_MAX];
    int lengths[PG_ARGS_MAX], formats[PG_ARGS_MAX];
    uint64_t numbers[PG_ARGS_MAX];
};

static Oid type_of(int kind)
{
    switch (kind) {
    case PG_INT:
        return TYPE_INT8;
    case PG_REAL:
        return TYPE_FLOAT8;
    case PG_BYTES:
        return TYPE_BYTEA;
    }
    return TYPE_TEXT;
}

static int fill(struct values *v, const struct pg_arg *args, size_t count, struct error *err)
{
    if (count > PG_ARGS_MAX)
        abort();
    for (size_t i = 0; i < count; i++) {
        const struct pg_arg *a = &args[i];
        v->numbers[i] = htobe64((uint64_t)a->number);
        bool number = a->kind == PG_INT || a->kind == PG_REAL;
        v->values[i] = number ? (const char *)&v->numbers[i] : a->data;
        v->lengths[i] = number ? (int)sizeof v->numbers[i] : (int)a->number;
        v->formats[i] = a->kind != PG_TEXT;
        v->types[i] = type_of(a->kind);
        if (a->kind == PG_BYTES && a->number > INT32_MAX / 2)
            return error_set(err, ERR_INVALID, "A value is larger than the metadata database takes");
        if (a->kind == PG_TEXT && a->data && !js_utf8_valid(a->data, strlen(a->data)))
            return error_set(err, ERR_INVALID, "A text is no UTF-8");
    }
    return 0;
}

static void pend(struct pg_conn *conn, struct pg_statement *prepares, PGresult **keep)
{
    conn->pending[conn->pending_count++] = (struct pg_pending){.prepares = prepares, .keep = keep};
}

int pg_conn_send(struct pg_conn *conn, const char *sql, const struct pg_arg *args, size_t count, PGresult **keep,
                 struct error *err)
{
    struct values v;
    if (conn->trouble != PG_WELL)
        return error_copy(err, &conn->why);
    if (fill(&v, args, count, err) < 0)
        return -1;
    if (conn->pending_count + 2 > PG_PENDING_MAX && pg_conn_collect(conn, err) < 0)
        return -1;
    struct pg_statement *stmt = statement_of(conn, sql);
    char name[32];
    snprintf(name, sizeof name, "s%zu", (size_t)(stmt - conn->statements));
    if (stmt->readiness == PG_UNKNOWN) {
        if (!PQsendPrepare(conn->pg, name, sql, (int)count, v.types)) {
            lost(conn, PQerrorMessage(conn->pg));
            return error_copy(err, &conn->why);
        }
        stmt->readiness = PG_SENT;
        pend(conn, stmt, NULL);
    }
    if (!PQsendQueryPrepared(conn->pg, name, (int)count, v.values, v.lengths, v.formats, 1)) {
        lost(conn, PQerrorMessage(conn->pg));
        return error_copy(err, &conn->why);
    }
    pend(conn, NULL, keep);
    return 0;
}

int pg_conn_send_must(struct pg_conn *conn, const char *sql, const struct pg_arg *args, size_t count, struct error *err)
{
    if (pg_conn_send(conn, sql, args, count, NULL, err) < 0)
        return -1;
    conn->pending[conn->pending_count - 1].must = conn->guessed = true;
    return 0;
}

// Reads the answer to one command: a result, and the NULL behind it.
static int read_one(struct pg_conn *conn, const struct pg_pending *pending, int64_t until)
{
    for (;;) {
        if (wait_for(conn, until) < 0)
            return -1;
        PGresult *result = PQgetResult(conn->pg);
        if (!result)
            return 0;
        ExecStatusType status = PQresultStatus(result);
        bool good = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
        if (pending->prepares)
            pending->prepares->readiness = good ? PG_READY : PG_UNKNOWN;
        if (good && pending->must && strcmp(PQcmdTuples(result), "0") == 0)
            conn->vain = true;
        if (good && pending->keep) {
            PQclear(*pending->keep);
            *pending->keep = take_ptr(result);
        }
        if (status == PGRES_FATAL_ERROR)
            refused(conn, result);
        PQclear(result);
        if (!conn->pg)
            return -1;
    }
}

static int read_sync(struct pg_conn *conn, int64_t until)
{
    if (wait_for(conn, until) < 0)
        return -1;
    _cleanup_pg_result_ PGresult *result = PQgetResult(conn->pg);
    return result && PQresultStatus(result) == PGRES_PIPELINE_SYNC ? 0 : lost(conn, "its answers are out of step");
}

int pg_conn_collect(struct pg_conn *conn, struct error *err)
{
    if (conn->pg && conn->pending_count) {
        int64_t until = deadline(conn);
        if (!conn->synced && !PQpipelineSync(conn->pg))
            lost(conn, PQerrorMessage(conn->pg));
        size_t count = conn->pending_count;
        for (size_t i = 0; conn->pg && i < count; i++)
            read_one(conn, &conn->pending[i], until);
        if (conn->pg)
            read_sync(conn, until);
        conn->pending_count = 0;
        conn->synced = conn->guessed = false;
    }
    return conn->trouble == PG_WELL ? 0 : error_copy(err, &conn->why);
}

int pg_conn_query(struct pg_conn *conn, const char *sql, const struct pg_arg *args, size_t count, PGresult **out,
                  struct error *err)
{
    _cleanup_pg_result_ PGresult *result = NULL;
    if (pg_conn_send(conn, sql, args, count, &result, err) < 0 || pg_conn_collect(conn, err) < 0)
        return -1;
    *out = take_ptr(result);
    return 0;
}

// A socket that takes no more has the rest sent by who uses the connection next.
void pg_conn_leave(struct pg_conn *conn)
{
    if (!conn->pg || !conn->pending_count)
        return;
    if (!PQpipelineSync(conn->pg) || PQflush(conn->pg) < 0) {
        pg_conn_drop(conn);
        return;
    }
    conn->synced = true;
}

// ---- Columns

const char *pg_col_text(struct arena *arena, const PGresult *result, int row, int column)
{
    size_t len = (size_t)PQgetlength(result, row, column);
    return PQgetisnull(result, row, column) ? NULL : arena_memdup(arena, PQgetvalue(result, row, column), len);
}

const void *pg_col_bytes(struct arena *arena, const PGresult *result, int row, int column, size_t *len)
{
    *len = (size_t)PQgetlength(result, row, column);
    return arena_memdup(arena, PQgetvalue(result, row, column), *len);
}

double pg_col_real(const PGresult *result, int row, int column)
{
    int64_t bits = pg_col_int(result, row, column);
    double real;
    memcpy(&real, &bits, sizeof real);
    return real;
}

int64_t pg_col_int(const PGresult *result, int row, int column)
{
    uint64_t number = 0;
    if (PQgetisnull(result, row, column))
        return 0;
    if (PQgetlength(result, row, column) != sizeof number)
        abort(); // all numbers of ours are of this size
    memcpy(&number, PQgetvalue(result, row, column), sizeof number);
    return (int64_t)be64toh(number);
}
