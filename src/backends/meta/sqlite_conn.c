// SPDX-License-Identifier: Apache-2.0
// A connection to SQLite: its settings, its cached statements, and what its result codes mean to the rest of
// DeepLens. Statements are literals, found again by the address of their text in a small hash table.
#include <errno.h>
#include <string.h>

#include "backends/meta/sqlite_int.h"

// What a transaction cannot survive: SQLite may have rolled it back already.
static bool dooms(int primary)
{
    return primary == SQLITE_FULL || primary == SQLITE_IOERR || primary == SQLITE_NOMEM || primary == SQLITE_CORRUPT ||
           primary == SQLITE_NOTADB;
}

static enum error_code code_of(struct sq_conn *conn, int rc, int extended)
{
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return ERR_DISK_FULL;
    case SQLITE_IOERR:
        if (extended == SQLITE_IOERR_NOMEM)
            return ERR_NO_MEMORY;
        if (conn->sql && (sqlite3_system_errno(conn->sql) == ENOSPC || sqlite3_system_errno(conn->sql) == EDQUOT))
            return ERR_DISK_FULL;
        return ERR_IO;
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        return ERR_IO;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_DATA_CORRUPT;
    case SQLITE_NOMEM:
        return ERR_NO_MEMORY;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_UNAVAILABLE;
    case SQLITE_TOOBIG:
        return ERR_INVALID;
    case SQLITE_CONSTRAINT:
        if (extended == SQLITE_CONSTRAINT_UNIQUE || extended == SQLITE_CONSTRAINT_PRIMARYKEY ||
            extended == SQLITE_CONSTRAINT_ROWID)
            return ERR_EXISTS;
        return ERR_INVALID;
    default:
        return ERR_INTERNAL;
    }
}

int sq_conn_error(struct sq_conn *conn, int rc, const char *doing, struct error *err)
{
    int extended = conn->sql ? sqlite3_extended_errcode(conn->sql) : rc;
    if ((extended & 0xff) != (rc & 0xff))
        extended = rc;
    if (dooms(rc & 0xff))
        conn->failed = rc;
    enum error_code code = code_of(conn, rc, extended);
    const char *text = conn->sql && (sqlite3_errcode(conn->sql) & 0xff) == (rc & 0xff) ? sqlite3_errmsg(conn->sql)
                                                                                       : sqlite3_errstr(rc);
    error_set(err, code, "The metadata database failed while %s: %s (SQLite %d)", doing, text, extended);
    if (err) { // the whole database is in trouble, not the work at hand
        err->outage |= code == ERR_DISK_FULL || code == ERR_IO;
        err->fatal |= code == ERR_DATA_CORRUPT;
    }
    return -1;
}

static int setup(struct sq_conn *conn, bool writable, struct error *err)
{
    sqlite3_extended_result_codes(conn->sql, 1);
    sqlite3_busy_timeout(conn->sql, SQ_BUSY_MS); // only a foreign process (a shell) makes anybody wait
    if (!writable)
        return sq_conn_script(conn, "PRAGMA cache_size=-4096; PRAGMA temp_store=MEMORY;", err);
    return sq_conn_script(
        conn,
        "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0;"
        "PRAGMA cache_size=-32768; PRAGMA temp_store=MEMORY; PRAGMA foreign_keys=OFF;",
        err);
}

int sq_conn_open(struct sq_conn *conn, const char *path, bool writable, struct error *err)
{
    int flags = SQLITE_OPEN_NOMUTEX | (writable ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY);
    int rc = sqlite3_open_v2(path, &conn->sql, flags, NULL);
    if (rc != SQLITE_OK)
        sq_conn_error(conn, rc, "opening it", err);
    if (rc != SQLITE_OK || setup(conn, writable, err) < 0) {
        error_prefix(err, "%s", path);
        sq_conn_close(conn);
        return -1;
    }
    return 0;
}

void sq_conn_close(struct sq_conn *conn)
{
    for (size_t i = 0; i < SQ_STATEMENTS_MAX; i++)
        sqlite3_finalize(conn->statements[i].stmt);
    sqlite3_close(conn->sql);
    *conn = (struct sq_conn){0};
}

int sq_conn_script(struct sq_conn *conn, const char *sql, struct error *err)
{
    int rc = sqlite3_exec(conn->sql, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : sq_conn_error(conn, rc, "setting up", err);
}

static struct sq_statement *slot_of(struct sq_conn *conn, const char *sql)
{
    size_t i = (size_t)(((uintptr_t)sql * UINT64_C(0x9E3779B97F4A7C15)) >> 40);
    for (;; i++) {
        struct sq_statement *slot = &conn->statements[i % SQ_STATEMENTS_MAX];
        if (!slot->sql || slot->sql == sql)
            return slot;
    }
}

static int prepare(struct sq_conn *conn, const char *sql, sqlite3_stmt **out, struct error *err)
{
    struct sq_statement *slot = slot_of(conn, sql);
    if (!slot->sql) {
        if (conn->statement_count == SQ_STATEMENTS_MAX - 1)
            return error_set(err, ERR_INTERNAL, "Too many kinds of statements for the cache of a connection");
        int rc = sqlite3_prepare_v3(conn->sql, sql, -1, SQLITE_PREPARE_PERSISTENT, &slot->stmt, NULL);
        if (rc != SQLITE_OK)
            return sq_conn_error(conn, rc, "preparing a statement", err);
        slot->sql = sql;
        conn->statement_count++;
    }
    *out = slot->stmt;
    return 0;
}

static int bind(sqlite3_stmt *stmt, int index, const struct sq_arg *arg)
{
    switch (arg->kind) {
    case SQ_INT:
        return sqlite3_bind_int64(stmt, index, arg->number);
    case SQ_REAL:
        return sqlite3_bind_double(stmt, index, arg->real);
    case SQ_TEXT:
        return sqlite3_bind_text(stmt, index, arg->data, -1, SQLITE_STATIC);
    case SQ_BLOB:
        return sqlite3_bind_blob64(stmt, index, arg->data, (sqlite3_uint64)arg->number, SQLITE_STATIC);
    }
    return SQLITE_MISUSE;
}

int sq_conn_query(struct sq_conn *conn, const char *sql, const struct sq_arg *args, size_t count, sqlite3_stmt **out,
                  struct error *err)
{
    sqlite3_stmt *stmt = NULL;
    if (prepare(conn, sql, &stmt, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        int rc = bind(stmt, (int)i + 1, &args[i]);
        if (rc != SQLITE_OK) {
            sq_conn_error(conn, rc, "binding a value", err);
            sqlite3_clear_bindings(stmt);
            return -1;
        }
    }
    *out = stmt;
    return 0;
}

int sq_conn_next(struct sq_conn *conn, sqlite3_stmt *stmt, struct error *err)
{
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        return 1;
    if (rc == SQLITE_DONE)
        return 0;
    return sq_conn_error(conn, rc, sqlite3_stmt_readonly(stmt) ? "reading" : "writing", err);
}

int sq_conn_exec(struct sq_conn *conn, const char *sql, const struct sq_arg *args, size_t count, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_conn_query(conn, sql, args, count, &stmt, err) < 0)
        return -1;
    int rc;
    do {
        rc = sq_conn_next(conn, stmt, err);
    } while (rc > 0);
    return rc;
}

const char *sq_col_text(struct arena *arena, sqlite3_stmt *stmt, int column)
{
    const void *text = sqlite3_column_text(stmt, column);
    return text ? arena_memdup(arena, text, (size_t)sqlite3_column_bytes(stmt, column)) : NULL;
}

int sq_conn_number(struct sq_conn *conn, const char *sql, int64_t *out, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_conn_query(conn, sql, SQ_NO_ARGS, &stmt, err) < 0)
        return -1;
    int rc = sq_conn_next(conn, stmt, err);
    if (rc < 0)
        return -1;
    *out = rc ? sq_col_int(stmt, 0) : 0;
    return 0;
}
