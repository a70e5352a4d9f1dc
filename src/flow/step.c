// SPDX-License-Identifier: Apache-2.0
// The table of steps, and what they share.
#include "flow/step.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "flow/near.h"
#include "flow/pixel_cache.h"
#include "flow/relay.h"

const struct step steps[STEP_COUNT] = {
#define STEP(symbol, step_name, role_name, group_name, topic, topic2, step_pool, batch_max, commit, goes_onward)       \
    [STEP_##symbol] = {.name = #step_name,                                                                             \
                       .role = role_name,                                                                              \
                       .group = group_name,                                                                            \
                       .topics = {topic, topic2},                                                                      \
                       .topic_count = (int)(topic2) == (int)TOPIC_COUNT ? 1 : 2,                                       \
                       .pool = step_pool,                                                                              \
                       .batch = batch_max,                                                                             \
                       .durability = commit,                                                                           \
                       .onward = goes_onward,                                                                          \
                       .work = step_##step_name##_work,                                                                \
                       .apply = step_##step_name##_apply,                                                              \
                       .shown = step_##step_name##_shown},
#include "flow/steps.def"
#undef STEP
};

const char *step_group(const struct flow *f, const struct step *step)
{
    return step == &steps[STEP_MESSAGE] && f->settings.message_group ? f->settings.message_group : step->group;
}

const char *event_next_id(struct arena *arena, const char *tenant, const char *id, enum event_topic topic,
                          const char *salt)
{
    char next[ID_MAX];
    id_derive("evt", arena_printf(arena, "%s/%s/%s/%s", tenant, id, event_topic_name(topic), salt), id, next);
    return arena_strdup(arena, next);
}

void job_next_event(struct job *job, enum event_topic topic, const char *salt, struct event *out)
{
    *out = (struct event){
        .topic = topic,
        .id = event_next_id(&job->arena, job->event.tenant, job->event.id, topic, salt),
        .tenant = job->event.tenant,
        .correlation = job->event.correlation ? job->event.correlation : job->event.id,
        .media_id = job->event.media_id,
        .timestamp_ms = clock_now_ms(),
        .more = job->event.more,
        .more_data = job->event.more_data,
    };
}

json_t *job_hold(struct job *job, json_t *value)
{
    if (!job->held)
        job->held = json_array();
    json_array_append_new(job->held, value);
    return value;
}

int flow_put(struct flow *f, const char *key, const struct buf *bytes, struct error *err)
{
    struct blob_put *put;
    if (f->blob.ops->put_begin(f->blob.state, bytes->len, &put, err) < 0)
        return -1;
    if (f->blob.ops->put_write(put, bytes->data, bytes->len, err) < 0) {
        f->blob.ops->put_abort(put);
        return -1;
    }
    return f->blob.ops->put_commit(put, key, err);
}

int event_attempts(const struct flow *f, const struct event *event)
{
    return event->max_attempts ? event->max_attempts : f->settings.retry_attempts;
}

const struct step *step_onward_of(enum event_topic topic)
{
    for (int s = 0; s < STEP_COUNT; s++)
        for (size_t i = 0; steps[s].onward && i < steps[s].topic_count; i++)
            if (steps[s].topics[i] == topic)
                return &steps[s];
    return NULL;
}

int64_t retry_delay_ms(const struct flow *f, int64_t base_ms, int attempt)
{
    int64_t delay = base_ms ? base_ms : f->settings.retry_base_ms;
    for (int i = 1; i < attempt && delay < f->settings.retry_max_ms; i++)
        delay *= 2;
    if (delay > f->settings.retry_max_ms)
        delay = f->settings.retry_max_ms;
    return delay / 2 + (int64_t)randombytes_uniform((uint32_t)(delay / 2 + 1));
}

const char *event_priority(const struct event *event)
{
    switch (event->topic) {
    case TOPIC_IMAGES_UPLOADED:
    case TOPIC_VIDEOS_UPLOADED:
        return js_str(event->image_uploaded.options, "priority", NULL);
    case TOPIC_FEATURES_EXTRACTION:
        return event->extraction.priority;
    case TOPIC_VECTORS_INDEXING:
        return event->indexing.priority;
    default:
        return NULL;
    }
}

int job_emit(struct flow *f, struct job *job, const struct event *event, struct error *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(16 << 20);
    if (event_encode(event, f->settings.format, &text, err) < 0)
        return -1;
    struct emit *emit = arena_alloc(&job->arena, sizeof *emit);
    *emit = (struct emit){.event = *event,
                          .topic = event->topic,
                          .key = event->media_id,
                          .event_id = event->id,
                          .priority = media_priority_name(job->priority),
                          .value = arena_memdup(&job->arena, text.data, text.len),
                          .value_len = text.len};
    if (!emit->event.attempt) // as it reads where nothing is said
        emit->event.attempt = 1;
    struct emit **end = &job->emits;
    while (*end)
        end = &(*end)->next;
    *end = emit;
    return 0;
}

size_t emit_headers(const struct emit *emit, const char *time, struct elog_header out[EMIT_HEADERS])
{
    const char *type = event_topic_type(emit->topic); // a message's has no name: the attribute must have one
    const struct elog_header headers[EMIT_HEADERS] = {
        {"ce_specversion", "1.0"},
        {"ce_id", emit->event_id},
        {"ce_type", *type ? type : event_topic_catalogued(emit->topic)},
        {"ce_source", FLOW_SOURCE},
        {"ce_time", time},
        {"deeplens-priority", emit->priority},
    };
    memcpy(out, headers, sizeof headers);
    return emit->priority ? EMIT_HEADERS : EMIT_HEADERS - 1;
}

int flow_put_tx(struct flow *f, struct meta_tx *tx, const struct elog_record *record, struct elog_place *place,
                struct error *err)
{
    if (f->log.ops->caps & ELOG_TRANSACTIONAL)
        return f->log.ops->publish_tx(f->log.state, tx, record, place, err);
    if (outbox_put(f, tx, record, err) < 0)
        return -1;
    *place = (struct elog_place){-1, -1};
    return 0;
}

int flow_publish_tx(struct flow *f, struct meta_tx *tx, struct emit *emit, struct error *err)
{
    char time[CLOCK_TEXT];
    int64_t now = clock_now_ms();
    struct elog_header headers[EMIT_HEADERS];
    const struct elog_record record = {
        .topic = event_topic_name(emit->topic),
        .timestamp_ms = now,
        .key = emit->key,
        .value = emit->value,
        .value_len = emit->value_len,
        .headers = headers,
        .header_count = emit_headers(emit, clock_rfc3339(now, time), headers),
    };
    return flow_put_tx(f, tx, &record, &emit->place, err);
}

// --- The item that a job is about

struct media_call {
    struct flow *flow;
    struct job *job;
    struct media *out;
    bool *gone;
};

int job_media_tx(struct flow *f, struct meta_tx *tx, struct job *job, struct media *out, bool *gone, struct error *err)
{
    struct error why = {0};
    if (f->meta.ops->media_get(tx, &job->arena, job->event.tenant, job->event.media_id, out, &why) == 0)
        *gone = out->status == MEDIA_DELETING || near_rejected(out);
    else if (why.code == ERR_NOT_FOUND)
        *gone = true;
    else
        return error_copy(err, &why);
    return 0;
}

static int read_media(struct meta_tx *tx, void *arg, struct error *err)
{
    struct media_call *call = arg;
    return job_media_tx(call->flow, tx, call->job, call->out, call->gone, err);
}

int job_media(struct flow *f, struct job *job, struct media *out, bool *gone, struct error *err)
{
    if (job->media_known) {
        *out = job->media;
        *gone = false;
        return 0;
    }
    struct media_call call = {f, job, out, gone};
    if (f->meta.ops->read(f->meta.state, read_media, &call, err) < 0)
        return -1;
    job->media_known = !*gone;
    if (!*gone)
        job->media = *out;
    return 0;
}

static int remove_vector(struct flow *f, struct job *job, const char *collection, struct error *err)
{
    const char *id = job->event.media_id;
    float *vector;
    size_t dimension;
    struct error why = {0};
    if (f->index.ops->remove(f->index.state, collection, &id, 1, NULL, err) < 0 ||
        f->index.ops->flush(f->index.state, collection, err) < 0)
        return -1;
    if (f->index.ops->get(f->index.state, collection, id, &job->arena, &vector, &dimension, &why) == 0)
        return error_set(err, ERR_INDEXING_FAILED, "A vector is still there after it was removed");
    return why.code == ERR_NOT_FOUND ? 0 : error_copy(err, &why);
}

int job_remove_vectors(struct flow *f, struct job *job, const char *model, struct error *err)
{
    struct meta_tenant tenant;
    struct error why = {0};
    const char **collections, *one;
    size_t count = 1;
    if (flow_tenant(f, &job->arena, job->event.tenant, &tenant, &why) < 0)
        return why.code == ERR_TENANT_UNKNOWN ? 0 : error_copy(err, &why);
    if (model) {
        one = flow_collection(&job->arena, tenant.slug, model);
        collections = &one;
    } else if (flow_collections(f, &job->arena, job->event.tenant, &collections, &count, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < count; i++)
        if (remove_vector(f, job, collections[i], err) < 0)
            return -1;
    return 0;
}

void extraction_ask(const struct flow *f, struct arena *arena, const struct media *media,
                    const struct flow_model *model, enum media_priority priority, int max_attempts, struct event *event)
{
    event->attempt = 1;
    event->max_attempts = max_attempts ? max_attempts : f->settings.retry_attempts;
    event->backoff_ms = f->settings.retry_base_ms;
    event->extraction = (struct event_extraction){.path = flow_path(f, arena, media->blob_key),
                                                  .model = model->model->name,
                                                  .version = model->model->version,
                                                  .dimension = (int)model->model->dimension,
                                                  .normalize = true,
                                                  .timeout_s = 30,
                                                  .priority = media_priority_name(priority)};
}

int extraction_request(struct flow *f, struct arena *arena, const struct media *media, const struct flow_model *model,
                       struct emit *out, struct error *err)
{
    char id[ID_MAX];
    id_new("evt", id);
    struct event event = {.topic = TOPIC_FEATURES_EXTRACTION,
                          .id = arena_strdup(arena, id),
                          .tenant = media->tenant,
                          .correlation = media->event_id,
                          .media_id = media->id,
                          .timestamp_ms = clock_now_ms()};
    extraction_ask(f, arena, media, model, PRIORITY_LOW, 0, &event);
    _cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
    if (event_encode(&event, f->settings.format, &text, err) < 0)
        return -1;
    *out = (struct emit){.topic = event.topic,
                         .key = media->id,
                         .event_id = event.id,
                         .priority = media_priority_name(PRIORITY_LOW),
                         .value = arena_memdup(arena, text.data, text.len),
                         .value_len = text.len};
    return 0;
}

int media_request(struct flow *f, struct meta_tx *tx, const struct media *media, const char *model, struct error *err)
{
    static const char *const names[] = {"feature_extraction", "vector_indexing"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct media_step row = {.step = names[i],
                                       .model = model,
                                       .status = MEDIA_STEP_REQUESTED,
                                       .attempt = 1,
                                       .started_ms = clock_now_ms()};
        if (f->meta.ops->step_put(tx, media->tenant, media->id, &row, err) < 0)
            return -1;
    }
    return 0;
}

// --- Pictures

static int read_original(struct flow *f, const char *key, void **data, size_t *len, struct error *err)
{
    struct blob_reader *reader;
    if (f->blob.ops->open_read(f->blob.state, key, &reader, err) < 0)
        return -1;
    uint64_t size = f->blob.ops->reader_size(reader);
    _cleanup_free_ char *bytes = size <= f->settings.upload_max_bytes ? malloc(size + 1) : NULL;
    int rc = bytes ? f->blob.ops->read(reader, 0, bytes, size, err)
                   : error_set(err, ERR_NO_MEMORY, "The file of %llu bytes is larger than what is decoded",
                               (unsigned long long)size);
    f->blob.ops->reader_close(reader);
    if (rc < 0)
        return -1;
    *data = take_ptr(bytes);
    *len = size;
    return 0;
}

int flow_decode(struct flow *f, const char *blob_key, struct image_decoded *out, struct error *err)
{
    _cleanup_free_ void *data = NULL;
    size_t len;
    if (read_original(f, blob_key, &data, &len, err) < 0)
        return -1;
    if (image_decode(data, len, f->settings.thumbnail_edge, f->settings.limits.max_pixels, out, err) < 0)
        return -1;
    if (!motion_find(data, len, &out->motion))
        out->motion = (struct motion){0};
    return 0;
}

int flow_pixels(struct flow *f, const struct media *media, struct pixels *out, struct error *err)
{
    struct image_decoded image;
    if (pixel_cache_get(f->cache, media->tenant, media->id, out))
        return 0;
    if (flow_decode(f, media->blob_key, &image, err) < 0)
        return -1;
    *out = image.pixels;
    return 0;
}
