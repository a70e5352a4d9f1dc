// SPDX-License-Identifier: Apache-2.0
// Items: status, item, list, files, delete. What is being deleted is not there for any of them.
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "flow/flow.h"
#include "flow/step.h"

struct item_call {
    struct flow *flow;
    struct arena *arena;
    const char *tenant;
    const char *id;
    struct item *out;
};

static int not_found(const char *id, struct error *err)
{
    return error_set(err, ERR_NOT_FOUND, "There is no item %.64s", id);
}

int item_id(const char *text, const char *kind, char out[ID_MAX], struct error *err)
{
    static const char *const kinds[] = {"vid", "frm"};
    const char *prefix = kind;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strncmp(text, kinds[i], 3) == 0 && text[3] == '_')
            prefix = kinds[i];
    if (id_parse(prefix, text, out) < 0)
        return error_set(err, ERR_INVALID_ID, "\"%.64s\" is not an id: ids look like %s_019ab3c4-…", text, kind);
    return 0;
}

static int canonical(const char *id, char out[ID_MAX], struct error *err)
{
    return item_id(id, "img", out, err);
}

static int visible(struct flow *f, struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id,
                   struct media *out, struct error *err)
{
    struct error why = {0};
    if (f->meta.ops->media_get(tx, arena, tenant, id, out, &why) < 0)
        return why.code == ERR_NOT_FOUND ? not_found(id, err) : error_copy(err, &why);
    return out->status == MEDIA_DELETING ? not_found(id, err) : 0;
}

// A frame is there as long as its video is.
static int visible_whole(struct item_call *call, struct meta_tx *tx, struct media *out, struct error *err)
{
    struct media video;
    if (visible(call->flow, tx, call->arena, call->tenant, call->id, out, err) < 0)
        return -1;
    return out->parent ? visible(call->flow, tx, call->arena, call->tenant, out->parent, &video, err) : 0;
}

static int get_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct item_call *call = arg;
    struct flow *f = call->flow;
    struct item *item = call->out;
    if (visible_whole(call, tx, &item->media, err) < 0)
        return -1;
    return f->meta.ops->step_list(tx, call->arena, call->tenant, call->id, &item->steps, &item->step_count, err);
}

int item_get(struct flow *f, struct arena *arena, const char *tenant, const char *id, struct item *out,
             struct error *err)
{
    char key[ID_MAX];
    struct item found = {0};
    if (canonical(id, key, err) < 0)
        return -1;
    struct item_call call = {f, arena, tenant, key, &found};
    if (f->meta.ops->read(f->meta.state, get_tx, &call, err) < 0)
        return -1;
    *out = found;
    return 0;
}

struct list_call {
    struct flow *flow;
    struct arena *arena;
    const struct media_query *query;
    struct media **out;
    size_t *count;
};

static int list_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct list_call *call = arg;
    return call->flow->meta.ops->media_list(tx, call->arena, call->query, call->out, call->count, err);
}

int item_list(struct flow *f, struct arena *arena, const struct media_query *query, struct media **out, size_t *count,
              struct error *err)
{
    struct meta_tenant tenant;
    if (flow_tenant(f, arena, query->tenant, &tenant, err) < 0)
        return -1;
    if (query->by_status && query->status == MEDIA_DELETING)
        return error_set(err, ERR_INVALID, "What is being deleted is not listed");
    struct list_call call = {f, arena, query, out, count};
    return f->meta.ops->read(f->meta.state, list_tx, &call, err);
}

int item_open(struct flow *f, struct arena *arena, const char *tenant, const char *id, bool thumbnail,
              struct media *media, struct blob_reader **out, struct error *err)
{
    struct item item;
    if (item_get(f, arena, tenant, id, &item, err) < 0)
        return -1;
    const char *key = thumbnail ? item.media.thumb_key : item.media.blob_key;
    if (!key)
        return error_set(err, ERR_NOT_READY, "There is no thumbnail of this item (yet)");
    if (f->blob.ops->open_read(f->blob.state, key, out, err) < 0)
        return -1;
    *media = item.media;
    return 0;
}

// --- Frames

struct frames_call {
    struct flow *flow;
    struct arena *arena;
    const char *tenant, *id;
    int64_t after_ms;
    size_t limit;
    struct media **out;
    size_t *count;
    struct meta_frames *states;
};

static int frames_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct frames_call *call = arg;
    struct media video;
    if (visible(call->flow, tx, call->arena, call->tenant, call->id, &video, err) < 0)
        return -1;
    return call->flow->meta.ops->frame_list(tx, call->arena, call->tenant, call->id, call->after_ms, call->limit,
                                            call->out, call->count, err);
}

int item_frames(struct flow *f, struct arena *arena, const char *tenant, const char *id, int64_t after_ms, size_t limit,
                struct media **out, size_t *count, struct error *err)
{
    char key[ID_MAX];
    if (item_id(id, "vid", key, err) < 0)
        return -1;
    struct frames_call call = {f, arena, tenant, key, after_ms, limit, out, count, NULL};
    return f->meta.ops->read(f->meta.state, frames_tx, &call, err);
}

static int frame_count_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct frames_call *call = arg;
    return call->flow->meta.ops->frame_count(tx, call->tenant, call->id, call->states, err);
}

int item_frame_count(struct flow *f, const struct media *video, struct meta_frames *out, struct error *err)
{
    struct frames_call call = {.flow = f, .tenant = video->tenant, .id = video->id, .states = out};
    return f->meta.ops->read(f->meta.state, frame_count_tx, &call, err);
}

// --- What was deleted: an event of the inbox that nobody sends, ended

enum { BURIED_NAME = 2 * ID_MAX + 2 };
static const char graveyard[] = "deeplens-deleted";

int item_bury(struct flow *f, struct meta_tx *tx, const char *tenant, const char *id, struct error *err)
{
    char name[BURIED_NAME];
    struct error why = {0};
    snprintf(name, sizeof name, "%s/%s", tenant, id);
    if (f->meta.ops->inbox_end(tx, graveyard, name, 1, true, &why) == 0 || why.code == ERR_EXISTS)
        return 0;
    return error_copy(err, &why);
}

int item_buried(struct flow *f, struct meta_tx *tx, const char *tenant, const char *id, bool *out, struct error *err)
{
    char name[BURIED_NAME];
    enum inbox_state state;
    int begun;
    snprintf(name, sizeof name, "%s/%s", tenant, id);
    if (f->meta.ops->inbox_begin(tx, graveyard, name, 1, &state, &begun, err) < 0)
        return -1;
    *out = state == INBOX_DONE;
    return *out ? 0 : f->meta.ops->inbox_release(tx, graveyard, name, 1, err);
}

// --- Deleting

struct delete_call {
    struct flow *flow;
    struct arena arena;
    const char *tenant;
    const char *id;
    struct emit event;
};

int item_delete_tx(struct flow *f, struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id,
                   struct emit *event, struct error *err)
{
    struct media media;
    if (visible(f, tx, arena, tenant, id, &media, err) < 0)
        return -1;
    if (media.parent)
        return error_set(err, ERR_CONFLICT, "A frame goes with its video, %s, and not by itself", media.parent);
    const struct media_patch patch = {.set_status = true, .status = MEDIA_DELETING};
    if (f->meta.ops->media_update(tx, tenant, id, &patch, err) < 0)
        return -1;
    return flow_publish_tx(f, tx, event, err);
}

static int delete_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct delete_call *call = arg;
    return item_delete_tx(call->flow, tx, &call->arena, call->tenant, call->id, &call->event, err);
}

int item_delete_event(struct flow *f, struct arena *arena, const char *tenant, const char *id, struct emit *out,
                      struct error *err)
{
    static const char *const actions[] = {"delete_minio_files", "delete_qdrant_vectors", "cleanup_database"};
    char new_id[ID_MAX];
    id_new("evt", new_id);
    const char *event_id = arena_strdup(arena, new_id);
    int64_t now = clock_now_ms();
    const struct event event = {
        .topic = TOPIC_IMAGES_MAINTENANCE,
        .id = event_id,
        .tenant = tenant,
        .media_id = id,
        .timestamp_ms = now,
        .maintenance = {.type = "delete", .actions = actions, .action_count = ARRAY_LEN(actions), .requested_ms = now}};
    _cleanup_buf_ struct buf text = BUF_INIT(65536);
    if (event_encode(&event, f->settings.format, &text, err) < 0)
        return -1;
    *out = (struct emit){.topic = event.topic,
                         .key = id,
                         .event_id = event_id,
                         .value = arena_memdup(arena, text.data, text.len),
                         .value_len = text.len};
    return 0;
}

int item_delete(struct flow *f, const char *tenant, const char *id, char out[ID_MAX], struct error *err)
{
    char key[ID_MAX];
    if (canonical(id, key, err) < 0)
        return -1;
    struct delete_call call = {.flow = f, .tenant = tenant, .id = key};
    int rc = item_delete_event(f, &call.arena, tenant, key, &call.event, err);
    if (rc == 0)
        rc = f->meta.ops->write(f->meta.state, META_SYNCED, delete_tx, &call, err);
    arena_free(&call.arena);
    if (rc == 0)
        memcpy(out, key, sizeof key);
    return rc;
}

double item_time_remaining(struct flow *f, const struct media *media)
{
    if (media->completed_ms || media->status >= MEDIA_FAILED)
        return 0;
    double waiting = media->status == MEDIA_UPLOADED ? (double)f->backlog : 0;
    double seconds = (double)f->item_us * (waiting + 1) / 1e6 / (f->cpu_workers ? f->cpu_workers : 1);
    return seconds < 0.1 ? 0.1 : seconds;
}
