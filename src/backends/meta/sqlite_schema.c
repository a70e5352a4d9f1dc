// SPDX-License-Identifier: Apache-2.0
// The schema of the SQLite store and its migrations: a table of SQL texts, each of which brings the database
// one version forward. The version stands in PRAGMA user_version; all steps that are missing run in ONE
// transaction, so that a database is never between two versions. Steps are never edited once released, only added.
//
// Media are a rowid table (rows can be long, keys of indexes stay short). The indexes serve: one item by
// (tenant, id); the list of a tenant, newest first, of all states or one; the item of given bytes; the ledger.
//
// Records of the event log are clustered by their rowid, which is (partition row << 44 | offset): publishing is
// an append, polling is a range scan, and there is no second tree to maintain.
#include "backends/meta/sqlite_int.h"

#define APPLICATION_ID "1148218478" // "Dpln", so that file(1) and we know the file

static const char version_1[] =
    "CREATE TABLE tenant ("
    " name TEXT NOT NULL PRIMARY KEY,"
    " slug TEXT NOT NULL UNIQUE,"
    " created_ms INTEGER NOT NULL,"
    " accepted INTEGER NOT NULL DEFAULT 0,"
    " deleted INTEGER NOT NULL DEFAULT 0,"
    " duplicates INTEGER NOT NULL DEFAULT 0"
    ") WITHOUT ROWID;"
    "INSERT INTO tenant (name, slug, created_ms)"
    " VALUES ('default', 'default', CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));"

    "CREATE TABLE media ("
    " row INTEGER PRIMARY KEY,"
    " tenant TEXT NOT NULL,"
    " id TEXT NOT NULL,"
    " kind TEXT NOT NULL,"
    " status INTEGER NOT NULL,"
    " priority INTEGER NOT NULL,"
    " file_name TEXT NOT NULL,"
    " content_type TEXT NOT NULL,"
    " format TEXT NOT NULL,"
    " hash TEXT NOT NULL,"
    " blob_key TEXT NOT NULL,"
    " thumb_key TEXT,"
    " uploaded_by TEXT,"
    " metadata TEXT NOT NULL,"
    " tags TEXT NOT NULL,"
    " options TEXT NOT NULL,"
    " event_id TEXT NOT NULL,"
    " size INTEGER NOT NULL,"
    " width INTEGER NOT NULL,"
    " height INTEGER NOT NULL,"
    " uploaded_ms INTEGER NOT NULL,"
    " updated_ms INTEGER NOT NULL,"
    " completed_ms INTEGER NOT NULL,"
    " error_code TEXT,"
    " error_message TEXT"
    ");"
    "CREATE UNIQUE INDEX media_by_id ON media (tenant, id);"
    "CREATE INDEX media_by_time ON media (tenant, uploaded_ms, id);"
    "CREATE INDEX media_by_status ON media (tenant, status, uploaded_ms, id);"
    "CREATE INDEX media_by_hash ON media (tenant, hash, uploaded_ms, id);"

    "CREATE TABLE step ("
    " row INTEGER PRIMARY KEY,"
    " media INTEGER NOT NULL," // media.row
    " step TEXT NOT NULL,"
    " model TEXT NOT NULL,"
    " status TEXT NOT NULL,"
    " attempt INTEGER NOT NULL,"
    " started_ms INTEGER NOT NULL,"
    " duration_ms INTEGER NOT NULL,"
    " collection TEXT,"
    " error_message TEXT"
    ");"
    "CREATE UNIQUE INDEX step_by_media ON step (media, step, model);"

    "CREATE TABLE inbox ("
    " consumer TEXT NOT NULL,"
    " event_id TEXT NOT NULL,"
    " attempt INTEGER NOT NULL,"
    " begun INTEGER NOT NULL,"
    " ended_ms INTEGER NOT NULL," // 0: it has not ended
    " finished INTEGER NOT NULL,"
    " PRIMARY KEY (consumer, event_id, attempt)"
    ") WITHOUT ROWID;"
    "CREATE INDEX inbox_by_end ON inbox (ended_ms);"

    "CREATE TABLE retry ("
    " id INTEGER PRIMARY KEY,"
    " not_before_ms INTEGER NOT NULL,"
    " topic TEXT NOT NULL,"
    " key TEXT,"
    " value BLOB NOT NULL"
    ");"
    "CREATE INDEX retry_by_time ON retry (not_before_ms);"

    "CREATE TABLE setting (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"

    "CREATE TABLE elog_topic ("
    " id INTEGER PRIMARY KEY,"
    " name TEXT NOT NULL UNIQUE,"
    " partitions INTEGER NOT NULL,"
    " retention_ms INTEGER NOT NULL,"
    " retention_bytes INTEGER NOT NULL"
    ");"
    "CREATE TABLE elog_partition ("
    " id INTEGER PRIMARY KEY,"
    " topic_id INTEGER NOT NULL," // 0: its topic was deleted, its records are still to be removed
    " number INTEGER NOT NULL,"
    " begin_offset INTEGER NOT NULL,"
    " end_offset INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL"
    ");"
    "CREATE INDEX elog_partition_by_topic ON elog_partition (topic_id, number);"
    "CREATE TABLE elog_record ("
    " id INTEGER PRIMARY KEY,"
    " timestamp_ms INTEGER NOT NULL,"
    " key BLOB,"     // the bytes of the text
    " headers BLOB," // name NUL value NUL …
    " value BLOB NOT NULL"
    ");"
    "CREATE TABLE elog_offset ("
    " group_name TEXT NOT NULL,"
    " partition_id INTEGER NOT NULL,"
    " next_offset INTEGER NOT NULL,"
    " PRIMARY KEY (group_name, partition_id)"
    ") WITHOUT ROWID;"
    "CREATE INDEX elog_offset_by_partition ON elog_offset (partition_id);";

// Events that wait for a log elsewhere: rows come at one end and go at the other.
static const char version_2[] = "CREATE TABLE outbox ("
                                " id INTEGER PRIMARY KEY,"
                                " timestamp_ms INTEGER NOT NULL,"
                                " topic TEXT NOT NULL,"
                                " key TEXT,"
                                " headers BLOB NOT NULL,"
                                " value BLOB NOT NULL"
                                ");";

// What a model saw in an item.
static const char version_3[] = "ALTER TABLE media ADD COLUMN auto_tags TEXT;";

// Look-alikes: the group that an item is in, and what it was found to look like.
static const char version_4[] =
    "ALTER TABLE media ADD COLUMN alike INTEGER;"
    "ALTER TABLE media ADD COLUMN alike_id TEXT;"
    "ALTER TABLE media ADD COLUMN alike_score REAL;"
    "CREATE INDEX media_by_alike ON media (tenant, alike, uploaded_ms, id) WHERE alike IS NOT NULL;";

// Changes of items' states, in the order of their commits.
static const char version_5[] =
    "CREATE TABLE change ("
    " seq INTEGER PRIMARY KEY,"
    " at_ms INTEGER NOT NULL,"
    " tenant TEXT NOT NULL,"
    " id TEXT NOT NULL,"
    " status INTEGER NOT NULL" // -1: the item is gone
    ");"
    "CREATE TRIGGER media_comes AFTER INSERT ON media BEGIN"
    " INSERT INTO change (at_ms, tenant, id, status) VALUES (new.updated_ms, new.tenant, new.id, new.status); END;"
    "CREATE TRIGGER media_moves AFTER UPDATE OF status ON media WHEN new.status <> old.status BEGIN"
    " INSERT INTO change (at_ms, tenant, id, status) VALUES (new.updated_ms, new.tenant, new.id, new.status); END;"
    "CREATE TRIGGER media_goes AFTER DELETE ON media BEGIN"
    " INSERT INTO change (at_ms, tenant, id, status)"
    " VALUES (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), old.tenant, old.id, -1); END;";

// Videos and their frames, which are rows beside those of uploads: each kind has its own indexes. What becomes of a
// frame is no news: its video's state is.
static const char version_6[] =
    "ALTER TABLE media ADD COLUMN parent TEXT;"
    "ALTER TABLE media ADD COLUMN time_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE media ADD COLUMN video TEXT;"
    "ALTER TABLE media ADD COLUMN progress TEXT;"
    "DROP INDEX media_by_time;"
    "DROP INDEX media_by_status;"
    "CREATE INDEX uploads_by_time ON media (tenant, uploaded_ms, id) WHERE parent IS NULL;"
    "CREATE INDEX uploads_by_status ON media (tenant, status, uploaded_ms, id) WHERE parent IS NULL;"
    "CREATE INDEX frames_by_time ON media (tenant, uploaded_ms, id) WHERE parent IS NOT NULL;"
    "CREATE INDEX frames_by_parent ON media (tenant, parent, status, time_ms) WHERE parent IS NOT NULL;"
    "DROP TRIGGER media_comes;"
    "DROP TRIGGER media_moves;"
    "DROP TRIGGER media_goes;"
    "CREATE TRIGGER media_comes AFTER INSERT ON media WHEN new.parent IS NULL BEGIN"
    " INSERT INTO change (at_ms, tenant, id, status) VALUES (new.updated_ms, new.tenant, new.id, new.status); END;"
    "CREATE TRIGGER media_moves AFTER UPDATE OF status ON media WHEN new.status <> old.status AND new.parent IS NULL"
    " BEGIN"
    " INSERT INTO change (at_ms, tenant, id, status) VALUES (new.updated_ms, new.tenant, new.id, new.status); END;"
    "CREATE TRIGGER media_goes AFTER DELETE ON media WHEN old.parent IS NULL BEGIN"
    " INSERT INTO change (at_ms, tenant, id, status)"
    " VALUES (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), old.tenant, old.id, -1); END;";

// Webhooks and their deliveries (state: enum delivery_state).
static const char version_7[] =
    "CREATE TABLE webhook ("
    " row INTEGER PRIMARY KEY,"
    " tenant TEXT NOT NULL,"
    " id TEXT NOT NULL,"
    " url TEXT NOT NULL,"
    " statuses INTEGER NOT NULL,"
    " secret TEXT NOT NULL,"
    " secret_before TEXT,"
    " before_until_ms INTEGER NOT NULL,"
    " after_seq INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL"
    ");"
    "CREATE UNIQUE INDEX webhook_by_id ON webhook (tenant, id);"
    "CREATE TABLE delivery ("
    " num INTEGER PRIMARY KEY AUTOINCREMENT,"
    " tenant TEXT NOT NULL,"
    " webhook TEXT NOT NULL,"
    " id TEXT NOT NULL,"
    " item TEXT NOT NULL,"
    " type TEXT NOT NULL,"
    " body TEXT NOT NULL,"
    " state INTEGER NOT NULL,"
    " attempts INTEGER NOT NULL,"
    " not_before_ms INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL,"
    " ended_ms INTEGER NOT NULL,"
    " status INTEGER NOT NULL,"
    " took_ms INTEGER NOT NULL,"
    " error TEXT"
    ");"
    "CREATE UNIQUE INDEX delivery_by_id ON delivery (tenant, webhook, id);"
    "CREATE INDEX delivery_by_webhook ON delivery (tenant, webhook, state, num);"
    "CREATE INDEX delivery_by_time ON delivery (tenant, webhook, not_before_ms, num) WHERE state = 0;"
    "CREATE INDEX delivery_by_item ON delivery (tenant, webhook, item, num) WHERE state < 2;"
    "CREATE INDEX delivery_by_end ON delivery (ended_ms) WHERE state >= 2;";

// Groups of look-alikes have a table of their own, as there are some for each model. Nothing had made any before.
static const char version_8[] = "DROP INDEX media_by_alike;"
                                "ALTER TABLE media DROP COLUMN alike;"
                                "CREATE TABLE alike ("
                                " media INTEGER NOT NULL," // media.row
                                " model TEXT NOT NULL,"
                                " tenant TEXT NOT NULL,"
                                " number INTEGER NOT NULL," // of the group
                                " nearest TEXT NOT NULL,"   // the id of the item that it is most like
                                " score REAL NOT NULL,"
                                " joined_ms INTEGER NOT NULL," // the last time
                                " PRIMARY KEY (media, model)"
                                ") WITHOUT ROWID;"
                                "CREATE INDEX alike_by_number ON alike (tenant, model, number);";

// What copies of an item are known by.
static const char version_9[] = "CREATE TABLE details ("
                                " media INTEGER PRIMARY KEY," // media.row
                                " bytes BLOB NOT NULL"
                                ");";

// Receipts of deletions, of which one of an item at a time is under way. Tenants that are being removed.
static const char version_10[] =
    "ALTER TABLE tenant ADD COLUMN leaving_ms INTEGER NOT NULL DEFAULT 0;"
    "CREATE TABLE receipt ("
    " row INTEGER PRIMARY KEY,"
    " tenant TEXT NOT NULL,"
    " id TEXT NOT NULL,"
    " item TEXT NOT NULL,"
    " ended_ms INTEGER NOT NULL," // 0: it is under way
    " text TEXT NOT NULL,"
    " signature TEXT,"
    " key_id TEXT"
    ");"
    "CREATE UNIQUE INDEX receipt_by_id ON receipt (tenant, id);"
    "CREATE UNIQUE INDEX receipt_open ON receipt (tenant, item) WHERE ended_ms = 0;"
    "CREATE INDEX receipt_by_time ON receipt (tenant, ended_ms, id) WHERE ended_ms > 0;"
    "CREATE INDEX receipt_by_item ON receipt (tenant, item, ended_ms, id) WHERE ended_ms > 0;";

// Messages of chats (state: enum message_state).
static const char version_11[] = "CREATE TABLE message ("
                                 " row INTEGER PRIMARY KEY,"
                                 " tenant TEXT NOT NULL,"
                                 " id TEXT NOT NULL,"
                                 " chat TEXT NOT NULL,"
                                 " from_me INTEGER NOT NULL,"
                                 " type TEXT NOT NULL,"
                                 " state INTEGER NOT NULL,"
                                 " content TEXT,"
                                 " metadata TEXT NOT NULL,"
                                 " event_id TEXT NOT NULL,"
                                 " target TEXT,"
                                 " media_id TEXT,"
                                 " reactions TEXT,"
                                 " delivery TEXT,"
                                 " sent_ms INTEGER NOT NULL,"
                                 " received_ms INTEGER NOT NULL,"
                                 " updated_ms INTEGER NOT NULL,"
                                 " edited_ms INTEGER NOT NULL,"
                                 " deleted_ms INTEGER NOT NULL,"
                                 " error_code TEXT,"
                                 " error_message TEXT"
                                 ");"
                                 "CREATE UNIQUE INDEX message_by_id ON message (tenant, id);"
                                 "CREATE INDEX message_by_time ON message (tenant, sent_ms, id);"
                                 "CREATE INDEX message_by_chat ON message (tenant, chat, sent_ms, id);"
                                 "CREATE INDEX message_by_state ON message (tenant, state, sent_ms, id);";

// Rules for messages.
static const char version_12[] = "CREATE TABLE workflow ("
                                 " tenant TEXT NOT NULL,"
                                 " id TEXT NOT NULL,"
                                 " text TEXT NOT NULL,"
                                 " created_ms INTEGER NOT NULL,"
                                 " PRIMARY KEY (tenant, id)"
                                 ") WITHOUT ROWID;";

// Runs of maintenance (state: enum run_state), of which one of a task at a time has not ended.
static const char version_13[] = "CREATE TABLE run ("
                                 " id TEXT PRIMARY KEY,"
                                 " task TEXT NOT NULL,"
                                 " state INTEGER NOT NULL,"
                                 " created_ms INTEGER NOT NULL,"
                                 " ended_ms INTEGER NOT NULL," // 0: it has not
                                 " owner TEXT,"
                                 " lease_ms INTEGER NOT NULL,"
                                 " text TEXT NOT NULL"
                                 ") WITHOUT ROWID;"
                                 "CREATE UNIQUE INDEX run_open ON run (task) WHERE ended_ms = 0;"
                                 "CREATE INDEX run_by_time ON run (created_ms, id);"
                                 "CREATE INDEX run_by_end ON run (ended_ms) WHERE ended_ms > 0;";

// What workflows have to say to people (state: enum reply_state), and who does not want to hear.
static const char version_14[] = "CREATE TABLE reply ("
                                 " num INTEGER PRIMARY KEY AUTOINCREMENT,"
                                 " tenant TEXT NOT NULL,"
                                 " id TEXT NOT NULL,"
                                 " channel TEXT NOT NULL,"
                                 " workflow TEXT,"
                                 " message TEXT NOT NULL,"
                                 " chat TEXT NOT NULL,"
                                 " sender TEXT NOT NULL,"
                                 " item TEXT,"
                                 " what TEXT NOT NULL,"
                                 " state INTEGER NOT NULL,"
                                 " attempts INTEGER NOT NULL,"
                                 " not_before_ms INTEGER NOT NULL,"
                                 " created_ms INTEGER NOT NULL,"
                                 " begun_ms INTEGER NOT NULL,"
                                 " ended_ms INTEGER NOT NULL,"
                                 " text TEXT,"
                                 " sent_id TEXT,"
                                 " error_code TEXT,"
                                 " error TEXT"
                                 ");"
                                 "CREATE UNIQUE INDEX reply_by_id ON reply (tenant, id);"
                                 "CREATE INDEX reply_due ON reply (channel, not_before_ms, num) WHERE state = 0;"
                                 "CREATE INDEX reply_begun ON reply (begun_ms) WHERE state = 1;"
                                 "CREATE INDEX reply_waiting_of ON reply (tenant, sender) WHERE state = 0;"
                                 "CREATE INDEX reply_by_chat ON reply (tenant, chat, num);"
                                 "CREATE INDEX reply_by_message ON reply (tenant, message, num);"
                                 "CREATE TABLE optout ("
                                 " tenant TEXT NOT NULL,"
                                 " sender TEXT NOT NULL,"
                                 " at_ms INTEGER NOT NULL,"
                                 " PRIMARY KEY (tenant, sender)"
                                 ") WITHOUT ROWID;";

// Who sent a message, and what was erased: hashes of ids.
static const char version_15[] =
    "ALTER TABLE message ADD COLUMN sender TEXT;"
    "UPDATE message SET sender = coalesce(json_extract(metadata, '$.sender'), CASE WHEN json_extract(metadata,"
    " '$.isGroup') THEN json_extract(metadata, '$.senderName') END, chat) WHERE NOT from_me AND state > 0;"
    "CREATE INDEX message_by_sender ON message (tenant, sender, sent_ms, id);"
    "CREATE INDEX reply_by_sender ON reply (tenant, sender, num);"
    "CREATE TABLE erased ("
    " tenant TEXT NOT NULL,"
    " hash TEXT NOT NULL,"
    " at_ms INTEGER NOT NULL,"
    " PRIMARY KEY (tenant, hash)"
    ") WITHOUT ROWID;";

static const char *const steps_of_this_version[] = {version_1,  version_2,  version_3,  version_4,  version_5,
                                                    version_6,  version_7,  version_8,  version_9,  version_10,
                                                    version_11, version_12, version_13, version_14, version_15};

// A file that is not empty and does not carry our mark belongs to somebody else.
static int check_owner(struct sq_conn *conn, const char *path, struct error *err)
{
    int64_t mark, tables;
    if (sq_conn_number(conn, "PRAGMA application_id", &mark, err) < 0 ||
        sq_conn_number(conn, "SELECT count(*) FROM sqlite_schema", &tables, err) < 0)
        return -1;
    char text[24];
    sqlite3_snprintf(sizeof text, text, "%lld", (long long)mark);
    if (tables == 0 || sqlite3_stricmp(text, APPLICATION_ID) == 0)
        return 0;
    return error_set(err, ERR_DATA_CORRUPT, "%s is a database, but not one of DeepLens", path);
}

static int apply(struct sq_conn *conn, const char *const *steps, size_t from, size_t to, struct error *err)
{
    char mark[96];
    sqlite3_snprintf(sizeof mark, mark, "PRAGMA application_id=" APPLICATION_ID "; PRAGMA user_version=%d;", (int)to);
    if (sq_conn_script(conn, "BEGIN IMMEDIATE", err) < 0)
        return -1;
    int rc = 0;
    for (size_t i = from; rc == 0 && i < to; i++)
        if ((rc = sq_conn_script(conn, steps[i], err)) < 0)
            error_prefix(err, "Migrating the schema to version %zu", i + 1);
    if (rc == 0)
        rc = sq_conn_script(conn, mark, err);
    if (rc == 0)
        rc = sq_conn_script(conn, "COMMIT", err);
    if (rc < 0)
        sqlite3_exec(conn->sql, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

int sq_schema_migrate(struct sq_conn *conn, const char *path, const char *const *steps, size_t count, struct error *err)
{
    int64_t version;
    if (check_owner(conn, path, err) < 0 || sq_conn_number(conn, "PRAGMA user_version", &version, err) < 0)
        return -1;
    if (version < 0 || (uint64_t)version > count)
        return error_set(err, ERR_DATA_DIR_NEWER,
                         "%s has schema version %lld, and this DeepLens knows versions up to %zu: use a newer DeepLens",
                         path, (long long)version, count);
    return (size_t)version == count ? 0 : apply(conn, steps, (size_t)version, count, err);
}

int sq_schema_open(struct sq_conn *conn, const char *path, struct error *err)
{
    return sq_schema_migrate(conn, path, steps_of_this_version, ARRAY_LEN(steps_of_this_version), err);
}
