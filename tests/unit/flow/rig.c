// SPDX-License-Identifier: Apache-2.0
// What the tests of flow/ stand on: see rig.h.
#include "rig.h"

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backends/blob/blob_fs.h"
#include "backends/eventlog/eventlog_embedded.h"
#include "backends/fault.h"
#include "backends/index/index_flat.h"
#include "backends/meta/meta_sqlite.h"
#include "base/clock.h"
#include "base/js.h"
#include "base/log.h"
#include "media/image.h"

// --- The extractor

static const struct extractor_model fake_models[] = {
    {.name = "fake", .version = "1.0", .dimension = FAKE_DIMENSION, .input_edge = 16, .batch_max = 8},
    {.name = "second", .version = "2.1", .dimension = FAKE_DIMENSION, .input_edge = 16, .batch_max = 1},
};

static const struct extractor_model *fake_list(void *state, size_t *count)
{
    *count = ARRAY_LEN(fake_models);
    return fake_models;
}

static int code_of(const struct pixels *p)
{
    return (p->data[0] << 8 | p->data[1]) % FAKE_KEYS;
}

static void describe(const struct fake *fake, const struct pixels *p, float *out)
{
    double sum = 1;
    out[0] = 1;
    for (int i = 1; i < FAKE_DIMENSION; i++) {
        out[i] = (float)(p->data[i % 3] + i) / 128;
        sum += (double)out[i] * out[i];
    }
    for (int i = 0; i < FAKE_DIMENSION && !fake->bad_vector; i++)
        out[i] = (float)(out[i] / sqrt(sum));
}

// Writes the call down and waits while calls are held. Returns its number, from 1.
static size_t enter(struct fake *fake, const struct pixels *pictures, size_t count)
{
    pthread_mutex_lock(&fake->lock);
    size_t call = ++fake->calls;
    if (++fake->at_once > fake->most_at_once)
        fake->most_at_once = fake->at_once;
    if (count > fake->largest_batch)
        fake->largest_batch = count;
    for (size_t i = 0; i < count && fake->count < FAKE_CALLS_MAX; i++)
        fake->codes[fake->count++] = code_of(&pictures[i]);
    fake->waiting++;
    pthread_cond_broadcast(&fake->change);
    while (fake->held)
        pthread_cond_wait(&fake->change, &fake->lock);
    fake->waiting--;
    pthread_mutex_unlock(&fake->lock);
    return call;
}

static int fake_extract(void *state, const struct extractor_model *model, const struct pixels *pictures, size_t count,
                        float *vectors, struct extractor_labels *labels, struct error *err)
{
    (void)labels;
    struct fake *fake = state;
    for (size_t i = 0; i < count; i++)
        if (atomic_fetch_add(&fake->busy[code_of(&pictures[i])], 1) > 0)
            fake->overlapped = true;
    size_t call = enter(fake, pictures, count);
    enum error_code says = fake->script ? fake->script(fake, call, model->name, code_of(pictures)) : ERR_NONE;
    for (size_t i = 0; i < count; i++) {
        describe(fake, &pictures[i], vectors + i * FAKE_DIMENSION);
        atomic_fetch_sub(&fake->busy[code_of(&pictures[i])], 1);
    }
    pthread_mutex_lock(&fake->lock);
    fake->at_once--;
    pthread_mutex_unlock(&fake->lock);
    return says ? error_set(err, says, "The script says so") : 0;
}

static const struct extractor_ops fake_ops = {.name = "fake", .models = fake_list, .extract = fake_extract};

void fake_hold(struct fake *fake)
{
    pthread_mutex_lock(&fake->lock);
    fake->held = true;
    pthread_mutex_unlock(&fake->lock);
}

void fake_release(struct fake *fake)
{
    pthread_mutex_lock(&fake->lock);
    fake->held = false;
    pthread_cond_broadcast(&fake->change);
    pthread_mutex_unlock(&fake->lock);
}

static size_t count_waiting(struct fake *fake)
{
    pthread_mutex_lock(&fake->lock);
    size_t waiting = fake->held ? fake->waiting : 0;
    pthread_mutex_unlock(&fake->lock);
    return waiting;
}

void fake_wait_held(struct fake *fake, size_t calls)
{
    wait_for(count_waiting(fake) >= calls);
}

// --- Opening and closing

static void settle_settings(struct rig *rig)
{
    struct flow *f = &rig->flow;
    f->settings = (struct flow_settings){
        .upload_max_bytes = 1 << 20,
        .limits = {.max_pixels = 1 << 24, .max_edge = 10000},
        .thumbnail_edge = 64,
        .thumbnail_quality = 75,
        .model_default = "fake",
        .pixel_cache = 4 << 20,
        .retry_attempts = 3,
        .retry_base_ms = 2,
        .retry_max_ms = 20,
        .search_k = 10,
        .search_max_k = 1000,
        .search_closer = 50,
        .upkeep = {.keep_ms = 24 * 3600 * 1000, .scrub_nights = 1},
    };
    rig->extractor = (struct extractor){&fake_ops, &rig->fake};
    f->model_count = ARRAY_LEN(fake_models);
    for (size_t i = 0; i < f->model_count; i++)
        f->models[i] = (struct flow_model){&rig->extractor, &fake_models[i]};
}

static const char *inside(const struct rig *rig, char path[600], const char *name)
{
    snprintf(path, 600, "%s/%s", rig->dir, name);
    return path;
}

int rig_open(struct rig *rig, const char *faults, struct error *err)
{
    char path[600];
    struct flow *f = &rig->flow;
    *f = (struct flow){
        .meta.ops = &meta_sqlite, .blob.ops = &blob_fs, .log.ops = &elog_embedded, .index.ops = &index_flat};
    settle_settings(rig);
    if (fault_setup(faults, err) < 0 || meta_sqlite.open(inside(rig, path, "db"), &f->meta.state, err) < 0 ||
        blob_fs.open(inside(rig, path, "storage"), &f->blob.state, err) < 0 ||
        elog_embedded.open("", &f->meta, &f->log.state, err) < 0 ||
        index_flat.open(inside(rig, path, "index"), &f->index.state, err) < 0)
        return -1;
    rig->meta = f->meta;
    f->meta = fault_wrap_meta(f->meta);
    f->blob = fault_wrap_blob(f->blob);
    f->log = fault_wrap_eventlog(f->log);
    f->index = fault_wrap_index(f->index);
    f->settings.log_retention_bytes = 1 << 30;
    return flow_open(f, err);
}

void rig_close(struct rig *rig)
{
    rig_stop(rig);
    struct flow *f = &rig->flow;
    flow_close(f);
    f->index.ops->close(f->index.state);
    f->log.ops->close(f->log.state);
    f->blob.ops->close(f->blob.state);
    f->meta.ops->close(f->meta.state);
}

struct rig *rig_new(const char *faults)
{
    log_setup(LOG_OFF, false);
    assert_true(sodium_init() >= 0);
    must(image_init(err));
    struct rig *rig = test_calloc(1, sizeof *rig);
    pthread_mutex_init(&rig->fake.lock, NULL);
    pthread_cond_init(&rig->fake.change, NULL);
    rig->config =
        (struct runner_config){.cpu_workers = 3, .io_workers = 2, .queue_events = 512, .queue_bytes = 1 << 20};
    const char *tmp = getenv("TMPDIR");
    snprintf(rig->dir, sizeof rig->dir, "%s/deeplens-flow-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(rig->dir));
    must(rig_open(rig, faults, err));
    return rig;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *ftw)
{
    return remove(path);
}

void rig_free(struct rig *rig)
{
    rig_close(rig);
    nftw(rig->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    pthread_mutex_destroy(&rig->fake.lock);
    pthread_cond_destroy(&rig->fake.change);
    test_free(rig);
}

void rig_reopen(struct rig *rig, const char *faults)
{
    rig_close(rig);
    must(rig_open(rig, faults, err));
}

void rig_start(struct rig *rig)
{
    must(runner_start(&rig->flow, &rig->config, &rig->runner, err));
}

void rig_stop(struct rig *rig)
{
    runner_stop(take_ptr(rig->runner));
}

// --- Items and events

void *rig_picture(int number, size_t *len)
{
    enum { W = 32, H = 24 };
    struct pixels p = {.width = W, .height = H, .data = malloc((size_t)W * H * 3)};
    assert_non_null(p.data);
    for (int i = 0; i < W * H * 3; i++)
        p.data[i] = (uint8_t)(number * 37 + (i / 3 % W) * (number % 7 + 1) + (i % 3) * 50);
    _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
    must(image_thumbnail(&p, W, 90, &out, err));
    pixels_free(&p);
    *len = out.len;
    return buf_steal(&out);
}

void rig_upload(struct rig *rig, int number, const char *options, char id[ID_MAX])
{
    _cleanup_arena_ struct arena arena = {0};
    size_t len;
    _cleanup_free_ void *picture = rig_picture(number, &len);
    struct upload *u;
    must(upload_begin(&rig->flow, len, &u, err));
    must(upload_write(u, picture, len, err));
    const struct upload_fields fields = {.tenant = "default", .file_name = "picture.webp", .options = options};
    struct upload_result result;
    must(upload_finish(u, &fields, &arena, &result, err));
    assert_false(result.duplicate);
    strcpy(id, result.id);
}

struct insert_call {
    struct rig *rig;
    struct media row;
};

static int insert_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct insert_call *call = arg;
    const struct meta_ops *meta = call->rig->meta.ops;
    return meta->tenant_add(tx, call->row.tenant, err) < 0 ? -1 : meta->media_insert(tx, &call->row, err);
}

void rig_item_of(struct rig *rig, const char *tenant, int code, const char *options, char id[ID_MAX])
{
    char event[ID_MAX], key[128], name[32];
    id_new("img", id);
    id_new("evt", event);
    snprintf(key, sizeof key, "tenant-%s/images/2026/01/01/%s.png", tenant, id);
    snprintf(name, sizeof name, "item-%d.png", code);
    struct insert_call call = {rig,
                               {.id = id,
                                .tenant = tenant,
                                .kind = "image",
                                .priority = PRIORITY_NORMAL,
                                .file_name = name,
                                .content_type = "image/png",
                                .format = "PNG",
                                .hash = id,
                                .blob_key = key,
                                .metadata = "{}",
                                .tags = "[]",
                                .options = options ? options : "{\"models\":[\"fake\"]}",
                                .event_id = event,
                                .size = 3,
                                .uploaded_ms = clock_now_ms(),
                                .updated_ms = clock_now_ms()}};
    must(rig->meta.ops->write(rig->meta.state, META_RELAXED, insert_tx, &call, err));
    struct pixels p = {.width = 1, .height = 1, .data = malloc(3)};
    assert_non_null(p.data);
    memcpy(p.data, (uint8_t[]){(uint8_t)(code >> 8), (uint8_t)code, 7}, 3);
    pixel_cache_put(rig->flow.cache, tenant, id, &p, 1 << 30);
}

void rig_item(struct rig *rig, int code, char id[ID_MAX])
{
    rig_item_of(rig, "default", code, NULL, id);
}

static void publish(struct rig *rig, enum event_topic topic, const char *key, const void *data, size_t len,
                    const char *priority)
{
    const struct elog_header header = {"deeplens-priority", priority};
    const struct elog_record record = {.topic = event_topic_name(topic),
                                       .key = key,
                                       .value = data,
                                       .value_len = len,
                                       .headers = &header,
                                       .header_count = priority ? 1 : 0};
    must(rig->flow.log.ops->publish(rig->flow.log.state, &record, 1, err));
}

void rig_publish_bytes(struct rig *rig, enum event_topic topic, const char *key, const void *data, size_t len)
{
    publish(rig, topic, key, data, len, NULL);
}

void rig_publish(struct rig *rig, enum event_topic topic, const char *key, const char *text)
{
    publish(rig, topic, key, text, strlen(text), NULL);
}

void rig_request(struct rig *rig, const struct rig_event *e)
{
    char id[ID_MAX];
    id_new("evt", id);
    const struct event event = {
        .topic = TOPIC_FEATURES_EXTRACTION,
        .id = e->id ? e->id : id,
        .tenant = e->tenant ? e->tenant : "default",
        .media_id = e->media,
        .timestamp_ms = clock_now_ms(),
        .attempt = e->attempt,
        .max_attempts = e->max_attempts,
        .backoff_ms = e->backoff_ms,
        .extraction = {.path = "/storage/any", .model = e->model ? e->model : "fake", .normalize = true}};
    _cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
    must(event_encode(&event, rig->flow.settings.format, &text, err));
    publish(rig, event.topic, e->media, text.data, text.len, e->priority);
}

// --- Looking

struct elog_record *rig_records(struct rig *rig, struct arena *arena, enum event_topic topic, size_t *count)
{
    const char *name = event_topic_name(topic);
    const struct eventlog *log = &rig->flow.log;
    struct elog_topic_info info;
    must(log->ops->topic_describe(log->state, arena, name, &info, err));
    size_t room = 0;
    for (int p = 0; p < info.config.partitions; p++)
        room += (size_t)(info.partitions[p].end - info.partitions[p].begin);
    struct elog_record *all = arena_alloc(arena, (room + 1) * sizeof *all);
    *count = 0;
    for (int p = 0; p < info.config.partitions; p++) {
        struct elog_record *some;
        size_t got;
        for (int64_t at = info.partitions[p].begin; at < info.partitions[p].end; at = some[got - 1].offset + 1) {
            must(log->ops->peek(log->state, arena, name, p, at, (size_t)(info.partitions[p].end - at), &some, &got,
                                err));
            assert_true(got > 0);
            memcpy(all + *count, some, got * sizeof *some);
            *count += got;
        }
    }
    return all;
}

size_t rig_count(struct rig *rig, enum event_topic topic)
{
    _cleanup_arena_ struct arena arena = {0};
    size_t count;
    rig_records(rig, &arena, topic, &count);
    return count;
}

size_t rig_count_of(struct rig *rig, enum event_topic topic, const char *media)
{
    _cleanup_arena_ struct arena arena = {0};
    size_t count, found = 0;
    struct elog_record *records = rig_records(rig, &arena, topic, &count);
    for (size_t i = 0; i < count; i++)
        found += records[i].key && strcmp(records[i].key, media) == 0;
    return found;
}

const char *rig_header(const struct elog_record *record, const char *name)
{
    for (size_t i = 0; i < record->header_count; i++)
        if (strcmp(record->headers[i].name, name) == 0)
            return record->headers[i].value;
    return NULL;
}

struct event rig_decode(struct arena *arena, enum event_topic topic, const struct elog_record *record, json_t **root)
{
    struct event event;
    must(event_decode(topic, record->value, record->value_len, NULL, arena, &event, root, err));
    return event;
}

int64_t rig_lag(struct rig *rig, enum step_id step)
{
    json_t *json = NULL;
    must(admin_group(&rig->flow, steps[step].group, &json, err));
    int64_t lag = js_int(json, "lag", -1);
    json_decref(json);
    assert_true(lag >= 0);
    return lag;
}

static struct runner_step_health health(struct rig *rig, enum step_id step)
{
    struct runner_step_health all[STEP_COUNT];
    runner_health(rig->runner, all);
    return all[step];
}

size_t rig_held(struct rig *rig, enum step_id step)
{
    return health(rig, step).held;
}

bool rig_paused(struct rig *rig, enum step_id step)
{
    return health(rig, step).paused;
}

struct numbers_call {
    struct rig *rig;
    uint64_t retries, open;
};

static int numbers_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct numbers_call *call = arg;
    const struct meta_ops *meta = call->rig->meta.ops;
    return meta->retry_count(tx, &call->retries, err) < 0 ? -1 : meta->inbox_open(tx, &call->open, err);
}

static struct numbers_call numbers(struct rig *rig)
{
    struct numbers_call call = {.rig = rig};
    must(rig->meta.ops->read(rig->meta.state, numbers_tx, &call, err));
    return call;
}

uint64_t rig_retries(struct rig *rig)
{
    return numbers(rig).retries;
}

uint64_t rig_open_inbox(struct rig *rig)
{
    return numbers(rig).open;
}

// Looked at twice, from the first step to the last, so that nothing slips by.
bool rig_idle(struct rig *rig)
{
    for (int round = 0; round < 2; round++) {
        if (rig_retries(rig))
            return false;
        for (int s = 0; s < STEP_COUNT; s++)
            if (rig_lag(rig, s) || (rig->runner && rig_held(rig, s)))
                return false;
    }
    return true;
}

void rig_wait_idle(struct rig *rig)
{
    wait_for(rig_idle(rig));
    const struct meta_ledger ledger = rig_ledger(rig);
    assert_true(admin_ledger_closes(&ledger));
}

struct meta_ledger rig_ledger(struct rig *rig)
{
    struct meta_ledger ledger;
    must(admin_ledger(&rig->flow, NULL, &ledger, err));
    return ledger;
}

struct media rig_media(struct rig *rig, struct arena *arena, const char *id)
{
    struct item item;
    must(item_get(&rig->flow, arena, "default", id, &item, err));
    return item.media;
}

bool rig_status_is(struct rig *rig, const char *id, enum media_status status)
{
    _cleanup_arena_ struct arena arena = {0};
    return rig_media(rig, &arena, id).status == status;
}

size_t rig_vectors(struct rig *rig, const char *collection)
{
    size_t count;
    must(rig->flow.index.ops->count(rig->flow.index.state, collection, &count, err));
    return count;
}

static int count_blob(void *arg, const char *key, const struct blob_info *info)
{
    ++*(size_t *)arg;
    return 0;
}

size_t rig_blobs(struct rig *rig)
{
    size_t count = 0;
    must(rig->flow.blob.ops->list(rig->flow.blob.state, "", count_blob, &count, err));
    return count;
}
