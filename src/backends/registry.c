// SPDX-License-Identifier: Apache-2.0
// The tables of back ends, one a port, and opening what the configuration names.
#include "backends/registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/blob/blob_folder.h"
#include "backends/blob/blob_fs.h"
#include "backends/blob/blob_s3.h"
#include "backends/eventlog/eventlog_embedded.h"
#include "backends/eventlog/eventlog_kafka.h"
#include "backends/extractor/extractor_builtin.h"
#include "backends/extractor/extractor_http.h"
#include "backends/extractor/extractor_openvino.h"
#include "backends/extractor/extractor_union.h"
#include "backends/extractor/model_trial.h"
#include "backends/extractor/worker_main.h"
#include "backends/fault.h"
#include "backends/index/index_flat.h"
#include "backends/index/index_qdrant.h"
#include "backends/meta/meta_postgres.h"
#include "backends/meta/meta_sqlite.h"
#include "backends/owner.h"
#include "backends/trace.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/hash.h"

static const struct meta_ops *const metas[] = {&meta_sqlite, &meta_postgres, NULL};
static const struct blob_ops *const blobs[] = {&blob_fs, &blob_s3, NULL};
static const struct elog_ops *const eventlogs[] = {&elog_embedded, &elog_kafka, NULL};
static const struct index_ops *const indexes[] = {&index_flat, &index_qdrant, NULL};

// Finds a table by name; the options' choices name no other.
#define CHOOSE(tables, wanted, out, err)                                                                               \
    ({                                                                                                                 \
        (out) = NULL;                                                                                                  \
        for (size_t i_ = 0; (tables)[i_]; i_++)                                                                        \
            if (strcmp((tables)[i_]->name, (wanted)) == 0)                                                             \
                (out) = (tables)[i_];                                                                                  \
        (out) ? 0 : error_set((err), ERR_CONFIG, "There is no back end called \"%s\"", (wanted));                      \
    })

static char *inside(const char *dir, const char *name)
{
    char *path;
    if (asprintf(&path, "%s/%s", dir, name) < 0)
        abort();
    return path;
}

static const char *worker_program;

void registry_set_worker(const char *program)
{
    worker_program = program;
}

static struct openvino_config openvino_settings(const struct conf *conf, const char *cache)
{
    return (struct openvino_config){
        .models = conf->models_dir,
        .library = conf->openvino_dir,
        .cache = cache,
        .precision = conf->models_precision,
        .program = worker_program,
        .threads = (int)conf->models_threads,
        .streams = (int)conf->models_streams,
    };
}

static struct http_extractor_config http_settings(const struct conf *conf)
{
    return (struct http_extractor_config){
        .models = conf->models_dir,
        .token = conf->extractor_token,
        .ca_file = conf->extractor_ca_file,
        .timeout_ms = conf->extractor_timeout,
    };
}

int registry_try_model(const struct conf *conf, const char *folder, bool bench, struct extractor_trial *out,
                       struct error *err)
{
    const struct openvino_config here = openvino_settings(conf, "");
    const struct http_extractor_config elsewhere = http_settings(conf);
    struct error why = {0};
    if (extractor_http_trial(&elsewhere, folder, bench, out, &why) == 0)
        return 0;
    return why.code == ERR_NOT_FOUND ? model_trial(&here, folder, bench, out, err) : error_copy(err, &why);
}

static int open_parts(const struct conf *conf, const char *cache, struct extractor parts[3], struct error *err)
{
    const struct openvino_config here = openvino_settings(conf, cache);
    struct http_extractor_config elsewhere = http_settings(conf);
    if (extractor_builtin.open("", &parts[0].state, err) < 0 ||
        extractor_openvino_open(&here, &parts[1].state, err) < 0)
        return -1;
    struct extractor_model taken[UNION_MODELS_MAX];
    for (size_t i = 0; i < 2; i++) {
        size_t count;
        const struct extractor_model *models = parts[i].ops->models(parts[i].state, &count);
        for (size_t m = 0; m < count && elsewhere.taken_count < ARRAY_LEN(taken); m++)
            taken[elsewhere.taken_count++] = models[m];
    }
    elsewhere.taken = taken;
    return extractor_http_open(&elsewhere, &parts[2].state, err);
}

// The built-in model is always there; beside it whatever the folder of models holds, run here or elsewhere.
static int open_extractors(const struct conf *conf, const char *cache, struct extractor *out, struct error *err)
{
    struct extractor parts[] = {{.ops = &extractor_builtin}, {.ops = &extractor_openvino}, {.ops = &extractor_http}};
    if (open_parts(conf, cache, parts, err) < 0) {
        for (size_t i = 0; i < ARRAY_LEN(parts); i++)
            if (parts[i].state)
                parts[i].ops->close(parts[i].state);
        return -1;
    }
    *out = extractor_union_new(parts, ARRAY_LEN(parts));
    return 0;
}

// A name that is the same after a restart and nobody else's: the data directory is served by one process. Who has none
// joins no group.
static char *kafka_instance(const struct conf *conf, const char *db)
{
    char host[256] = "", hash[HASH_HEX], *name = NULL;
    if (!db || strcmp(conf->kafka_instance, "none") == 0)
        return strdup("");
    if (strcmp(conf->kafka_instance, "auto") != 0)
        return strdup(conf->kafka_instance);
    _cleanup_free_ char *path = realpath(db, NULL);
    struct hash_state state;
    gethostname(host, sizeof host - 1);
    hash_init(&state);
    hash_update(&state, host, strlen(host) + 1);
    hash_update(&state, path ? path : db, strlen(path ? path : db));
    hash_final(&state, hash);
    return asprintf(&name, "deeplens-%.16s", hash) < 0 ? NULL : name;
}

static char *log_location(const struct conf *conf, const char *db)
{
    char *text = NULL;
    if (strcmp(conf->eventlog_backend, "kafka") != 0)
        return db ? strdup(db) : NULL;
    _cleanup_free_ char *instance = kafka_instance(conf, db);
    if (!instance || asprintf(&text,
                              "bootstrap.servers=%s\nclient.id=%s\ndeeplens.instance=%s\n"
                              "deeplens.replication=%d\n%s",
                              conf->kafka_brokers, conf->kafka_client_id, instance, (int)conf->kafka_replication,
                              conf->kafka_properties) < 0)
        abort();
    return text;
}

// "minio://bucket=/srv/bucket": one entry of storage.mounts, which stays as it is.
static int add_mount(struct ports *p, const char *entry, size_t len, struct error *err)
{
    const char *equals = memrchr(entry, '=', len);
    size_t prefix = equals ? (size_t)(equals - entry) : 0;
    if (!prefix || p->mount_count == BLOB_MOUNTS_MAX)
        return error_set(err, ERR_CONFIG,
                         "storage.mounts takes up to %d of PREFIX=FOLDER, joined by commas, not \"%.*s\"",
                         BLOB_MOUNTS_MAX, (int)(len < 128 ? len : 128), entry);
    struct blob_mount *mount = &p->mounts[p->mount_count];
    _cleanup_free_ char *name = strndup(entry, prefix), *folder = strndup(equals + 1, len - prefix - 1);
    if (!name || !folder)
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    if (blob_folder.open(folder, &mount->blob.state, err) < 0)
        return error_prefix(err, "storage.mounts");
    mount->prefix = take_ptr(name);
    mount->blob.ops = &blob_folder;
    p->mount_count++;
    return 0;
}

static int open_mounts(const struct conf *conf, struct ports *p, struct error *err)
{
    for (const char *at = conf->storage_mounts; *at;) {
        size_t len = strcspn(at, ",");
        if (len && add_mount(p, at, len, err) < 0)
            return -1;
        at += len + (at[len] == ',');
    }
    return 0;
}

// What is configured, else the first of the variables that is set (NULL-terminated), else "".
static const char *or_variable(const char *configured, const char *const *names)
{
    if (*configured)
        return configured;
    for (; *names; names++) {
        const char *value = getenv(*names);
        if (value && *value)
            return value;
    }
    return "";
}
#define OR_VARIABLE(configured, ...) or_variable(configured, (const char *const[]){__VA_ARGS__, NULL})

struct setting {
    const char *name, *value;
};

// Lines "name=value", without those that say nothing; `of` is what the options' names begin with.
static int write_settings(const char *of, const struct setting *settings, size_t count, struct buf *out,
                          struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (strchr(settings[i].value, '\n'))
            return error_set(err, ERR_CONFIG, "%s.%s takes one line", of, settings[i].name);
        if (*settings[i].value)
            buf_printf(out, "%s=%s\n", settings[i].name, settings[i].value);
    }
    return 0;
}

static int blob_location_s3(const struct conf *c, const char *dir, struct buf *out, struct error *err)
{
    char owner[OWNER_NAME] = "";
    if (strcmp(c->s3_owner, "auto") == 0 && owner_name(dir, "blob-owner", owner, err) < 0)
        return -1;
    const struct setting texts[] = {
        {"endpoint", OR_VARIABLE(c->s3_endpoint, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")},
        {"bucket", c->s3_bucket},
        {"prefix", c->s3_prefix},
        {"region", OR_VARIABLE(c->s3_region, "AWS_REGION", "AWS_DEFAULT_REGION")},
        {"style", c->s3_style},
        {"access_key", OR_VARIABLE(c->s3_access_key, "AWS_ACCESS_KEY_ID")},
        {"secret_key", OR_VARIABLE(c->s3_secret_key, "AWS_SECRET_ACCESS_KEY")},
        {"session_token", OR_VARIABLE(c->s3_session_token, "AWS_SESSION_TOKEN")},
        {"ca_file", OR_VARIABLE(c->s3_ca_file, "AWS_CA_BUNDLE")},
        {"owner", strcmp(c->s3_owner, "auto") == 0 ? owner : c->s3_owner},
    };
    if (write_settings("s3", texts, ARRAY_LEN(texts), out, err) < 0)
        return -1;
    if (buf_printf(out, "attempts=%lld\ntimeout_ms=%lld\nmemory=%lld\n", (long long)c->s3_attempts,
                   (long long)c->s3_timeout, (long long)c->s3_memory) < 0)
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    return 0;
}

static int open_blobs(const struct conf *conf, const char *dir, struct blob *out, struct error *err)
{
    _cleanup_buf_ struct buf location = BUF_INIT(65536);
    if (CHOOSE(blobs, conf->blob_backend, out->ops, err) < 0)
        return -1;
    if (out->ops != &blob_s3)
        buf_printf(&location, "%s/storage", dir);
    else if (blob_location_s3(conf, dir, &location, err) < 0)
        return -1;
    int rc = location.failed ? error_set(err, ERR_NO_MEMORY, "Out of memory")
                             : out->ops->open(location.data, &out->state, err);
    if (location.data)
        explicit_bzero(location.data, location.cap);
    return rc;
}

static int index_location_qdrant(const struct conf *c, const char *dir, struct buf *out, struct error *err)
{
    char owner[OWNER_NAME] = "";
    if (strcmp(c->qdrant_owner, "auto") == 0 && owner_name(dir, "index-owner", owner, err) < 0)
        return -1;
    const struct setting texts[] = {
        {"url", OR_VARIABLE(c->qdrant_url, "QDRANT_URL")},
        {"api_key", OR_VARIABLE(c->qdrant_api_key, "QDRANT_API_KEY")},
        {"ca_file", c->qdrant_ca_file},
        {"owner", strcmp(c->qdrant_owner, "auto") == 0 ? owner : c->qdrant_owner},
    };
    if (write_settings("qdrant", texts, ARRAY_LEN(texts), out, err) < 0)
        return -1;
    buf_printf(out, "timeout_ms=%lld\n", (long long)c->qdrant_timeout);
    return 0;
}

static int open_indexes(const struct conf *conf, const char *dir, struct index *out, struct error *err)
{
    _cleanup_buf_ struct buf location = BUF_INIT(65536);
    if (CHOOSE(indexes, conf->index_backend, out->ops, err) < 0)
        return -1;
    if (out->ops != &index_qdrant)
        buf_printf(&location, "%s/index", dir);
    else if (index_location_qdrant(conf, dir, &location, err) < 0)
        return -1;
    int rc = location.failed ? error_set(err, ERR_NO_MEMORY, "Out of memory")
                             : out->ops->open(location.data, &out->state, err);
    if (location.data)
        explicit_bzero(location.data, location.cap);
    return rc;
}

// One process at a time writes there: it serves a data directory of its own.
static int meta_location_postgres(const struct conf *c, struct buf *out, struct error *err)
{
    if (strchr(c->meta_url, '\n') || strchr(c->meta_schema, '\n'))
        return error_set(err, ERR_CONFIG, "meta.url and meta.schema take one line");
    buf_printf(out, "conninfo=%s\nschema=%s\npool=%lld\ntimeout_ms=%lld\nexclusive=1\n", c->meta_url, c->meta_schema,
               (long long)c->meta_connections, (long long)c->meta_timeout);
    return 0;
}

static int open_metas(const struct conf *conf, const char *db, struct meta *out, struct error *err)
{
    _cleanup_buf_ struct buf location = BUF_INIT(65536);
    if (CHOOSE(metas, conf->meta_backend, out->ops, err) < 0)
        return -1;
    bool lives_in_records = !registry_log_alone(conf);
    if (lives_in_records && out->ops != &meta_sqlite)
        return error_set(err, ERR_CONFIG,
                         "eventlog.backend = %s keeps its events in the database of meta.backend = sqlite: with "
                         "meta.backend = %s set eventlog.backend = kafka",
                         conf->eventlog_backend, conf->meta_backend);
    if (out->ops != &meta_postgres)
        buf_puts(&location, db);
    else if (meta_location_postgres(conf, &location, err) < 0)
        return -1;
    int rc = location.failed ? error_set(err, ERR_NO_MEMORY, "Out of memory")
                             : out->ops->open(location.data, &out->state, err);
    if (location.data)
        explicit_bzero(location.data, location.cap);
    return rc;
}

// `db`: where a log that lives in the records finds them.
static int open_log(const struct conf *conf, const char *db, struct ports *p, struct error *err)
{
    if (CHOOSE(eventlogs, conf->eventlog_backend, p->log.ops, err) < 0)
        return -1;
    _cleanup_free_ char *location = log_location(conf, db);
    return p->log.ops->open(location, &p->meta, &p->log.state, err);
}

static int open_all(const struct conf *conf, const char *dir, struct ports *p, struct error *err)
{
    _cleanup_free_ char *db = inside(dir, "deeplens.db"), *compiled = inside(dir, "models-cache");
    if (open_metas(conf, db, &p->meta, err) < 0)
        return -1;
    if (open_blobs(conf, dir, &p->blob, err) < 0)
        return -1;
    if (open_log(conf, db, p, err) < 0)
        return -1;
    if (open_indexes(conf, dir, &p->index, err) < 0)
        return -1;
    if (open_mounts(conf, p, err) < 0)
        return -1;
    return open_extractors(conf, compiled, &p->extractor, err);
}

int registry_open(const struct conf *conf, const char *dir, struct ports *out, struct error *err)
{
    *out = (struct ports){0};
    if (fault_setup(conf->fault, err) < 0 || trace_setup(conf->trace, err) < 0)
        return -1;
    if (open_all(conf, dir, out, err) < 0) {
        registry_close(out);
        return -1;
    }
    out->meta = trace_wrap_meta(fault_wrap_meta(out->meta));
    out->blob = trace_wrap_blob(fault_wrap_blob(out->blob));
    out->log = trace_wrap_eventlog(fault_wrap_eventlog(out->log));
    out->index = trace_wrap_index(fault_wrap_index(out->index));
    out->extractor = trace_wrap_extractor(fault_wrap_extractor(out->extractor));
    return 0;
}

bool registry_log_alone(const struct conf *conf)
{
    const struct elog_ops *ops;
    return CHOOSE(eventlogs, conf->eventlog_backend, ops, NULL) == 0 && !(ops->caps & ELOG_TRANSACTIONAL);
}

int registry_open_log(const struct conf *conf, struct ports *out, struct error *err)
{
    *out = (struct ports){0};
    if (!registry_log_alone(conf))
        return error_set(err, ERR_CONFIG, "The event log \"%s\" lives in the records and is not opened without them",
                         conf->eventlog_backend);
    if (fault_setup(conf->fault, err) < 0 || trace_setup(conf->trace, err) < 0)
        return -1;
    if (open_log(conf, NULL, out, err) < 0) {
        registry_close(out);
        return -1;
    }
    out->log = trace_wrap_eventlog(fault_wrap_eventlog(out->log));
    return 0;
}

void registry_close(struct ports *p)
{
    if (p->extractor.ops && p->extractor.state)
        p->extractor.ops->close(p->extractor.state);
    if (p->index.ops && p->index.state)
        p->index.ops->close(p->index.state);
    if (p->log.ops && p->log.state)
        p->log.ops->close(p->log.state);
    if (p->blob.ops && p->blob.state)
        p->blob.ops->close(p->blob.state);
    if (p->meta.ops && p->meta.state)
        p->meta.ops->close(p->meta.state);
    for (size_t i = 0; i < p->mount_count; i++) {
        p->mounts[i].blob.ops->close(p->mounts[i].blob.state);
        free((char *)p->mounts[i].prefix);
    }
    *p = (struct ports){0};
}

int registry_worker(void)
{
    return worker_main();
}
