// SPDX-License-Identifier: Apache-2.0
// The schema of the PostgreSQL store and its migrations: the tables of the SQLite store (sqlite_schema.c) but for those
// of its event log, step by step under the same numbers. Each step brings the database one version forward; those that
// are missing run in ONE transaction. Steps are never edited once released, only added: the table `version` keeps the
// hash of each that ran, and a database in which another text ran is refused. Two that start at once take turns.
//
// Texts compare by their bytes (COLLATE "C"), whatever the database is set to: order and case are then those of SQLite.
// Numbers are BIGINT throughout. `num` is what other rows refer to, and no more: numbers may have gaps. `tag_list`
// holds the tags of `tags`, for the filter.
//
// Walls (G7). Statements name the tenant; the policies of the tables that hold what is a tenant's are a second wall: of
// those rows a transaction sees and writes none but of the tenant that it has said before (pg_wall), or of all when it
// said so. They bind the owner of the tables too (FORCE), but no superuser: such a role is refused.
//
// Order. Whoever follows the outbox or the changes reads on behind the last number, so a number must never become
// visible behind a larger one. Sequences do not give that: two transactions may take 1 and 2, and 2 commit first. So
// numbers are given at the end of a transaction, under a lock (PG_ORDER_LOCK) that is free only when its commit can be
// seen: the server makes a transaction visible before it frees its locks. Rows of the outbox are kept back by the
// writer until then (pg_group.c); those of `change` are written by a deferred trigger, which runs in COMMIT itself.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backends/meta/pg_int.h"
#include "base/clock.h"
#include "base/hash.h"

#define TEXT "TEXT COLLATE \"C\""

#define WALL_SEEN                                                                                                      \
    "(tenant = current_setting('deeplens.tenant', true) OR current_setting('deeplens.tenant', true) = '*')"
#define WALL(table, rest)                                                                                              \
    "ALTER TABLE " table " ENABLE ROW LEVEL SECURITY;"                                                                 \
    "ALTER TABLE " table " FORCE ROW LEVEL SECURITY;"                                                                  \
    "CREATE POLICY wall ON " table " USING " WALL_SEEN rest ";"

static const char version_1[] =
    "CREATE TABLE tenant ("
    " name " TEXT " PRIMARY KEY,"
    " slug " TEXT " NOT NULL UNIQUE,"
    " created_ms BIGINT NOT NULL,"
    " accepted BIGINT NOT NULL DEFAULT 0,"
    " deleted BIGINT NOT NULL DEFAULT 0,"
    " duplicates BIGINT NOT NULL DEFAULT 0"
    ") WITH (fillfactor = 50);"
    "INSERT INTO tenant (name, slug, created_ms)"
    " VALUES ('default', 'default', (extract(epoch FROM clock_timestamp()) * 1000)::BIGINT);"

    "CREATE TABLE media ("
    " num BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " tenant " TEXT " NOT NULL,"
    " id " TEXT " NOT NULL,"
    " kind TEXT NOT NULL,"
    " status BIGINT NOT NULL,"
    " priority BIGINT NOT NULL,"
    " file_name " TEXT " NOT NULL,"
    " content_type TEXT NOT NULL,"
    " format TEXT NOT NULL,"
    " hash " TEXT " NOT NULL,"
    " blob_key TEXT NOT NULL,"
    " thumb_key TEXT,"
    " uploaded_by TEXT,"
    " metadata TEXT NOT NULL,"
    " tags TEXT NOT NULL,"
    " tag_list "
    "TEXT[] COLLATE \"C\""
    " NOT NULL,"
    " options TEXT NOT NULL,"
    " event_id TEXT NOT NULL,"
    " size BIGINT NOT NULL,"
    " width BIGINT NOT NULL,"
    " height BIGINT NOT NULL,"
    " uploaded_ms BIGINT NOT NULL,"
    " updated_ms BIGINT NOT NULL,"
    " completed_ms BIGINT NOT NULL,"
    " error_code TEXT,"
    " error_message TEXT"
    ");"
    "CREATE UNIQUE INDEX media_by_id ON media (tenant, id);"
    "CREATE INDEX media_by_time ON media (tenant, uploaded_ms, id);"
    "CREATE INDEX media_by_status ON media (tenant, status, uploaded_ms, id);"
    "CREATE INDEX media_by_hash ON media (tenant, hash, uploaded_ms, id);" WALL("media", "")

        "CREATE TABLE step ("
        " num BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
        " tenant " TEXT " NOT NULL,"
        " media BIGINT NOT NULL," // media.num
        " step TEXT NOT NULL,"
        " model TEXT NOT NULL,"
        " status TEXT NOT NULL,"
        " attempt BIGINT NOT NULL,"
        " started_ms BIGINT NOT NULL,"
        " duration_ms BIGINT NOT NULL,"
        " collection TEXT,"
        " error_message TEXT"
        ");"
        "CREATE UNIQUE INDEX step_by_media ON step (media, step, model);" WALL("step", "")

            "CREATE TABLE inbox ("
            " consumer " TEXT ","
            " event_id " TEXT ","
            " attempt BIGINT,"
            " begun BIGINT NOT NULL,"
            " ended_ms BIGINT NOT NULL," // 0: it has not ended
            " finished BIGINT NOT NULL,"
            " PRIMARY KEY (consumer, event_id, attempt)"
            ");"
            "CREATE INDEX inbox_by_end ON inbox (ended_ms);"

            "CREATE TABLE retry ("
            " id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
            " not_before_ms BIGINT NOT NULL,"
            " topic TEXT NOT NULL,"
            " key TEXT,"
            " value BYTEA NOT NULL"
            ");"
            "CREATE INDEX retry_by_time ON retry (not_before_ms, id);"

            "CREATE TABLE setting (name " TEXT " PRIMARY KEY, value TEXT NOT NULL);"

            "CREATE TABLE turn ();" // holds nothing: writers take turns by locking it (pg_group.c)

            "CREATE TABLE writer (" // what each process has committed (pg_writer.c)
            " id " TEXT " PRIMARY KEY,"
            " number BIGINT NOT NULL,"
            " before BIGINT NOT NULL,"
            " seen_ms BIGINT NOT NULL"
            ") WITH (fillfactor = 50);";

// Events that wait for a log elsewhere: rows come at one end and go at the other.
static const char version_2[] = "CREATE TABLE outbox ("
                                " id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
                                " timestamp_ms BIGINT NOT NULL,"
                                " topic TEXT NOT NULL,"
                                " key TEXT,"
                                " headers BYTEA NOT NULL,"
                                " value BYTEA NOT NULL"
                                ");";

// What a model saw in an item.
static const char version_3[] = "ALTER TABLE media ADD COLUMN auto_tags TEXT;";

// Look-alikes: the group that an item is in, and what it was found to look like.
static const char version_4[] =
    "ALTER TABLE media ADD COLUMN alike BIGINT;"
    "ALTER TABLE media ADD COLUMN alike_id TEXT;"
    "ALTER TABLE media ADD COLUMN alike_score DOUBLE PRECISION;"
    "CREATE INDEX media_by_alike ON media (tenant, alike, uploaded_ms, id) WHERE alike IS NOT NULL;";

// Changes of items' states, in the order of their commits. What a trigger writes, it writes behind the wall of whatever
// tenant came last: so anyone may write.
static const char version_5[] = "CREATE TABLE change ("
                                " seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
                                " at_ms BIGINT NOT NULL,"
                                " tenant " TEXT " NOT NULL,"
                                " id " TEXT " NOT NULL,"
                                " status BIGINT NOT NULL"                 // -1: the item is gone
                                ");" WALL("change", " WITH CHECK (true)") //
    "CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$ BEGIN"
    " PERFORM " PG_ORDER_LOCK ";"
    " IF TG_OP = 'DELETE' THEN"
    "  INSERT INTO change (at_ms, tenant, id, status)"
    "   VALUES ((extract(epoch FROM clock_timestamp()) * 1000)::bigint, OLD.tenant, OLD.id, -1);"
    " ELSE"
    "  INSERT INTO change (at_ms, tenant, id, status) VALUES (NEW.updated_ms, NEW.tenant, NEW.id, NEW.status);"
    " END IF; RETURN NULL; END $$;"
    "CREATE CONSTRAINT TRIGGER media_comes AFTER INSERT ON media"
    " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_change();"
    "CREATE CONSTRAINT TRIGGER media_moves AFTER UPDATE OF status ON media"
    " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.status <> OLD.status) EXECUTE FUNCTION note_change();"
    "CREATE CONSTRAINT TRIGGER media_goes AFTER DELETE ON media"
    " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_change();";

// Videos and their frames, which are rows beside those of uploads: each kind has its own indexes. What becomes of a
// frame is no news: its video's state is.
static const char version_6[] =
    "ALTER TABLE media ADD COLUMN parent " TEXT ";"
    "ALTER TABLE media ADD COLUMN time_ms BIGINT NOT NULL DEFAULT 0;"
    "ALTER TABLE media ADD COLUMN video TEXT;"
    "ALTER TABLE media ADD COLUMN progress TEXT;"
    "DROP INDEX media_by_time;"
    "DROP INDEX media_by_status;"
    "CREATE INDEX uploads_by_time ON media (tenant, uploaded_ms, id) WHERE parent IS NULL;"
    "CREATE INDEX uploads_by_status ON media (tenant, status, uploaded_ms, id) WHERE parent IS NULL;"
    "CREATE INDEX frames_by_time ON media (tenant, uploaded_ms, id) WHERE parent IS NOT NULL;"
    "CREATE INDEX frames_by_parent ON media (tenant, parent, status, time_ms) WHERE parent IS NOT NULL;"
    "DROP TRIGGER media_comes ON media;"
    "DROP TRIGGER media_moves ON media;"
    "DROP TRIGGER media_goes ON media;"
    "CREATE CONSTRAINT TRIGGER media_comes AFTER INSERT ON media DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
    " WHEN (NEW.parent IS NULL) EXECUTE FUNCTION note_change();"
    "CREATE CONSTRAINT TRIGGER media_moves AFTER UPDATE OF status ON media DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
    " WHEN (NEW.status <> OLD.status AND NEW.parent IS NULL) EXECUTE FUNCTION note_change();"
    "CREATE CONSTRAINT TRIGGER media_goes AFTER DELETE ON media DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
    " WHEN (OLD.parent IS NULL) EXECUTE FUNCTION note_change();";

// Webhooks and their deliveries (state: enum delivery_state).
static const char version_7[] = "CREATE TABLE webhook ("
                                " num BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
                                " tenant " TEXT " NOT NULL,"
                                " id " TEXT " NOT NULL,"
                                " url TEXT NOT NULL,"
                                " statuses BIGINT NOT NULL,"
                                " secret TEXT NOT NULL,"
                                " secret_before TEXT,"
                                " before_until_ms BIGINT NOT NULL,"
                                " after_seq BIGINT NOT NULL,"
                                " created_ms BIGINT NOT NULL"
                                ");"
                                "CREATE UNIQUE INDEX webhook_by_id ON webhook (tenant, id);" WALL("webhook", "") //
    "CREATE TABLE delivery ("
    " num BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " tenant " TEXT " NOT NULL,"
    " webhook " TEXT " NOT NULL,"
    " id " TEXT " NOT NULL,"
    " item " TEXT " NOT NULL,"
    " type TEXT NOT NULL,"
    " body TEXT NOT NULL,"
    " state BIGINT NOT NULL,"
    " attempts BIGINT NOT NULL,"
    " not_before_ms BIGINT NOT NULL,"
    " created_ms BIGINT NOT NULL,"
    " ended_ms BIGINT NOT NULL,"
    " status BIGINT NOT NULL,"
    " took_ms BIGINT NOT NULL,"
    " error TEXT"
    ");"
    "CREATE UNIQUE INDEX delivery_by_id ON delivery (tenant, webhook, id);"
    "CREATE INDEX delivery_by_webhook ON delivery (tenant, webhook, state, num);"
    "CREATE INDEX delivery_by_time ON delivery (tenant, webhook, not_before_ms, num) WHERE state = 0;"
    "CREATE INDEX delivery_by_item ON delivery (tenant, webhook, item, num) WHERE state < 2;"
    "CREATE INDEX delivery_by_end ON delivery (ended_ms) WHERE state >= 2;" WALL("delivery", "");

// Groups of look-alikes have a table of their own, as there are some for each model. Nothing had made any before.
static const char version_8[] = "DROP INDEX media_by_alike;"
                                "ALTER TABLE media DROP COLUMN alike;"
                                "CREATE TABLE alike ("
                                " media BIGINT NOT NULL," // media.num
                                " model " TEXT " NOT NULL,"
                                " tenant " TEXT " NOT NULL,"
                                " number BIGINT NOT NULL,"    // of the group
                                " nearest " TEXT " NOT NULL," // the id of the item that it is most like
                                " score DOUBLE PRECISION NOT NULL,"
                                " joined_ms BIGINT NOT NULL," // the last time
                                " PRIMARY KEY (media, model)"
                                ");"
                                "CREATE INDEX alike_by_number ON alike (tenant, model, number);" WALL("alike", "");

// What copies of an item are known by. It is not compressed: half of it is noise.
static const char version_9[] = "CREATE TABLE details ("
                                " media BIGINT PRIMARY KEY," // media.num
                                " tenant " TEXT " NOT NULL,"
                                " bytes BYTEA NOT NULL"
                                ");"
                                "ALTER TABLE details ALTER COLUMN bytes SET STORAGE EXTERNAL;" WALL("details", "");

// Receipts of deletions, of which one of an item at a time is under way. Tenants that are being removed.
static const char version_10[] =
    "ALTER TABLE tenant ADD COLUMN leaving_ms BIGINT NOT NULL DEFAULT 0;"
    "CREATE TABLE receipt ("
    " num BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " tenant " TEXT " NOT NULL,"
    " id " TEXT " NOT NULL,"
    " item " TEXT " NOT NULL,"
    " ended_ms BIGINT NOT NULL," // 0: it is under way
    " text TEXT NOT NULL,"
    " signature TEXT,"
    " key_id TEXT"
    ");"
    "CREATE UNIQUE INDEX receipt_by_id ON receipt (tenant, id);"
    "CREATE UNIQUE INDEX receipt_open ON receipt (tenant, item) WHERE ended_ms = 0;"
    "CREATE INDEX receipt_by_time ON receipt (tenant, ended_ms, id) WHERE ended_ms > 0;"
    "CREATE INDEX receipt_by_item ON receipt (tenant, item, ended_ms, id) WHERE ended_ms > 0;" WALL("receipt", "");

// Messages of chats (state: enum message_state).
static const char version_11[] =
    "CREATE TABLE message ("
    " num BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " tenant " TEXT " NOT NULL,"
    " id " TEXT " NOT NULL,"
    " chat " TEXT " NOT NULL,"
    " from_me BIGINT NOT NULL,"
    " type " TEXT " NOT NULL,"
    " state BIGINT NOT NULL,"
    " content TEXT,"
    " metadata TEXT NOT NULL,"
    " event_id TEXT NOT NULL,"
    " target TEXT,"
    " media_id TEXT,"
    " reactions TEXT,"
    " delivery TEXT,"
    " sent_ms BIGINT NOT NULL,"
    " received_ms BIGINT NOT NULL,"
    " updated_ms BIGINT NOT NULL,"
    " edited_ms BIGINT NOT NULL,"
    " deleted_ms BIGINT NOT NULL,"
    " error_code TEXT,"
    " error_message TEXT"
    ");"
    "CREATE UNIQUE INDEX message_by_id ON message (tenant, id);"
    "CREATE INDEX message_by_time ON message (tenant, sent_ms, id);"
    "CREATE INDEX message_by_chat ON message (tenant, chat, sent_ms, id);"
    "CREATE INDEX message_by_state ON message (tenant, state, sent_ms, id);" WALL("message", "");

// Rules for messages.
static const char version_12[] = "CREATE TABLE workflow ("
                                 " tenant " TEXT " NOT NULL,"
                                 " id " TEXT " NOT NULL,"
                                 " text TEXT NOT NULL,"
                                 " created_ms BIGINT NOT NULL,"
                                 " PRIMARY KEY (tenant, id)"
                                 ");" WALL("workflow", "");

// Runs of maintenance (state: enum run_state), of which one of a task at a time has not ended.
static const char version_13[] = "CREATE TABLE run ("
                                 " id " TEXT " PRIMARY KEY,"
                                 " task " TEXT " NOT NULL,"
                                 " state BIGINT NOT NULL,"
                                 " created_ms BIGINT NOT NULL,"
                                 " ended_ms BIGINT NOT NULL," // 0: it has not
                                 " owner TEXT,"
                                 " lease_ms BIGINT NOT NULL,"
                                 " text TEXT NOT NULL"
                                 ");"
                                 "CREATE UNIQUE INDEX run_open ON run (task) WHERE ended_ms = 0;"
                                 "CREATE INDEX run_by_time ON run (created_ms, id);"
                                 "CREATE INDEX run_by_end ON run (ended_ms) WHERE ended_ms > 0;";

// What workflows have to say to people (state: enum reply_state), and who does not want to hear.
static const char version_14[] = "CREATE TABLE reply ("
                                 " num BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
                                 " tenant " TEXT " NOT NULL,"
                                 " id " TEXT " NOT NULL,"
                                 " channel TEXT NOT NULL,"
                                 " workflow TEXT,"
                                 " message " TEXT " NOT NULL,"
                                 " chat " TEXT " NOT NULL,"
                                 " sender " TEXT " NOT NULL,"
                                 " item " TEXT ","
                                 " what TEXT NOT NULL,"
                                 " state BIGINT NOT NULL,"
                                 " attempts BIGINT NOT NULL,"
                                 " not_before_ms BIGINT NOT NULL,"
                                 " created_ms BIGINT NOT NULL,"
                                 " begun_ms BIGINT NOT NULL,"
                                 " ended_ms BIGINT NOT NULL,"
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
                                 " tenant " TEXT " NOT NULL,"
                                 " sender " TEXT " NOT NULL,"
                                 " at_ms BIGINT NOT NULL,"
                                 " PRIMARY KEY (tenant, sender)"
                                 ");" WALL("reply", "") WALL("optout", "");

// Who sent a message, and what was erased: hashes of ids.
static const char version_15[] =
    "ALTER TABLE message ADD COLUMN sender " TEXT ";"
    "UPDATE message SET sender = coalesce(metadata::json->>'sender', CASE WHEN metadata::json->>'isGroup' = 'true'"
    " THEN metadata::json->>'senderName' END, chat) WHERE from_me = 0 AND state > 0;"
    "CREATE INDEX message_by_sender ON message (tenant, sender, sent_ms, id);"
    "CREATE INDEX reply_by_sender ON reply (tenant, sender, num);"
    "CREATE TABLE erased ("
    " tenant " TEXT " NOT NULL,"
    " hash " TEXT " NOT NULL,"
    " at_ms BIGINT NOT NULL,"
    " PRIMARY KEY (tenant, hash)"
    ");" WALL("erased", "");

static const char *const steps_of_this_version[] = {version_1,  version_2,  version_3,  version_4,  version_5,
                                                    version_6,  version_7,  version_8,  version_9,  version_10,
                                                    version_11, version_12, version_13, version_14, version_15};

enum { MIGRATION_MS = 24 * 3600 * 1000 };

static void hash_of(const char *text, char hex[HASH_HEX])
{
    struct hash_state state;
    hash_init(&state);
    hash_update(&state, text, strlen(text));
    hash_final(&state, hex);
}

static int begin(struct pg_conn *conn, struct error *err)
{
    char sql[256];
    uint64_t key = hash64(conn->config->schema, strlen(conn->config->schema));
    snprintf(sql, sizeof sql,
             "BEGIN; SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0; SET LOCAL deeplens.tenant = '*';"
             "SELECT pg_advisory_xact_lock(%d, %d)",
             0x44706c6e, (int)(uint32_t)key); // "Dpln"
    return pg_conn_script(conn, sql, err);
}

static int make_schema(struct pg_conn *conn, struct error *err)
{
    char sql[512];
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_conn_query(conn,
                      "SELECT count(c.oid), count(*) FILTER (WHERE c.relname = 'version')"
                      " FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind = 'r'"
                      " WHERE n.nspname = $1 GROUP BY n.oid",
                      PG_ARGS(pg_text(conn->config->schema)), &found, err) < 0)
        return -1;
    bool there = PQntuples(found) > 0;
    if (there && pg_col_int(found, 0, 1))
        return 0;
    if (there && pg_col_int(found, 0, 0))
        return error_set(err, ERR_DATA_CORRUPT, "The schema \"%s\" holds tables, but not those of DeepLens",
                         conn->config->schema);
    snprintf(sql, sizeof sql,
             "%s%s%s CREATE TABLE version (number BIGINT PRIMARY KEY, hash TEXT NOT NULL, applied_ms BIGINT NOT NULL)",
             there ? "" : "CREATE SCHEMA \"", there ? "" : conn->config->schema, there ? "" : "\";");
    return pg_conn_script(conn, sql, err);
}

// How many of the steps ran here; they must be the same.
static int check_steps(struct pg_conn *conn, const char *const *steps, size_t count, size_t *ran, struct error *err)
{
    _cleanup_pg_result_ PGresult *rows = NULL;
    if (pg_conn_query(conn, "SELECT number, hash FROM version ORDER BY number", PG_NO_ARGS, &rows, err) < 0)
        return -1;
    size_t n = (size_t)PQntuples(rows);
    if (n > count)
        return error_set(err, ERR_DATA_DIR_NEWER,
                         "The schema \"%s\" has version %zu, and this DeepLens knows versions up to %zu: use a newer "
                         "DeepLens",
                         conn->config->schema, n, count);
    for (size_t i = 0; i < n; i++) {
        char hex[HASH_HEX];
        hash_of(steps[i], hex);
        if (pg_col_int(rows, (int)i, 0) != (int64_t)i + 1 || strcmp(PQgetvalue(rows, (int)i, 1), hex) != 0)
            return error_set(err, ERR_DATA_CORRUPT,
                             "Step %zu of the schema \"%s\" is not the one that this DeepLens knows", i + 1,
                             conn->config->schema);
    }
    *ran = n;
    return 0;
}

static int apply(struct pg_conn *conn, const char *step, size_t number, struct error *err)
{
    char hex[HASH_HEX];
    _cleanup_pg_result_ PGresult *result = NULL;
    hash_of(step, hex);
    if (pg_conn_script(conn, step, err) < 0 ||
        pg_conn_query(conn, "INSERT INTO version VALUES ($1, $2, $3)",
                      PG_ARGS(pg_int((int64_t)number), pg_text(hex), pg_int(clock_now_ms())), &result, err) < 0)
        return error_prefix(err, "Migrating the schema to version %zu", number);
    return 0;
}

static int migrate(struct pg_conn *conn, const char *const *steps, size_t count, struct error *err)
{
    size_t ran = 0;
    if (begin(conn, err) < 0 || make_schema(conn, err) < 0 || check_steps(conn, steps, count, &ran, err) < 0)
        return -1;
    for (size_t i = ran; i < count; i++)
        if (apply(conn, steps[i], i + 1, err) < 0)
            return -1;
    return pg_conn_script(conn, "COMMIT", err);
}

// Waits for another one's migration and takes the time that its own needs.
int pg_schema_migrate(struct pg_conn *conn, const char *const *steps, size_t count, struct error *err)
{
    int64_t patience_ms = conn->patience_ms;
    conn->patience_ms = MIGRATION_MS;
    int rc = migrate(conn, steps, count, err);
    conn->patience_ms = patience_ms;
    if (rc < 0)
        pg_conn_drop(conn); // and the transaction with it
    return rc;
}

static int check_role(struct pg_conn *conn, struct error *err)
{
    _cleanup_pg_result_ PGresult *found = NULL;
    if (pg_conn_query(conn, "SELECT rolname FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolbypassrls)",
                      PG_NO_ARGS, &found, err) < 0)
        return -1;
    if (!PQntuples(found))
        return 0;
    return error_set(err, ERR_CONFIG,
                     "The role \"%.64s\" of PostgreSQL may pass the walls between tenants (it is a superuser, or has "
                     "BYPASSRLS): use a role that has neither",
                     PQgetvalue(found, 0, 0));
}

int pg_schema_open(struct pg_conn *conn, struct error *err)
{
    if (check_role(conn, err) < 0)
        return -1;
    return pg_schema_migrate(conn, steps_of_this_version, ARRAY_LEN(steps_of_this_version), err);
}
