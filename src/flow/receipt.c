// SPDX-License-Identifier: Apache-2.0
// Receipts: the note of a deletion under way, the receipt at its end, and asking for them. See receipt.h.
#include "flow/receipt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "flow/derived.h"
#include "flow/frame.h"
#include "flow/step.h"

#define KEY_SETTING "receipt_key"

static const char *const counters[] = {"originals", "thumbnails", "frames", "rows", "derived"}; // the last: of videos

// --- What there is

static int is_there(struct flow *f, const char *key, bool *out, struct error *err)
{
    struct blob_info info;
    struct error why = {0};
    *out = f->blob.ops->head(f->blob.state, key, &info, &why) == 0;
    return *out || why.code == ERR_NOT_FOUND ? 0 : error_copy(err, &why);
}

void receipt_count(json_t *found, const char *name, size_t more)
{
    json_object_set_new(found, name, json_integer(js_int(found, name, 0) + (json_int_t)more));
}

static int count_files(struct flow *f, struct arena *arena, const struct media *media, json_t *found, struct error *err)
{
    bool original, thumbnail;
    if (is_there(f, media->blob_key, &original, err) < 0 ||
        is_there(f, flow_thumb_key(arena, media->tenant, media->id), &thumbnail, err) < 0)
        return -1;
    receipt_count(found, "originals", original);
    receipt_count(found, "thumbnails", thumbnail);
    if (strcmp(media->kind, "video") != 0)
        return 0;
    size_t derived;
    if (derived_count(f, arena, media->tenant, media->id, &derived, err) < 0)
        return -1;
    receipt_count(found, "derived", derived);
    return 0;
}

int receipt_count_vectors(struct flow *f, const char *collection, const struct media *rows, size_t count, json_t *found,
                          struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    size_t there = 0;
    for (size_t i = 0; i < count; i++) {
        float *vector;
        size_t dimension;
        struct error why = {0};
        if (f->index.ops->get(f->index.state, collection, rows[i].id, &arena, &vector, &dimension, &why) == 0)
            there++;
        else if (why.code != ERR_NOT_FOUND)
            return error_copy(err, &why);
    }
    if (there)
        receipt_count(js_obj(found, "vectors"), collection, there);
    return 0;
}

static int count_all(struct flow *f, struct arena *arena, const struct media *media, json_t *found, struct error *err)
{
    const char **collections;
    size_t count;
    json_object_set_new(found, "vectors", json_object());
    bool video = strcmp(media->kind, "video") == 0;
    for (size_t i = 0; i < ARRAY_LEN(counters) - !video; i++)
        receipt_count(found, counters[i], 0);
    receipt_count(found, "rows", 1);
    if (count_files(f, arena, media, found, err) < 0 ||
        flow_collections(f, arena, media->tenant, &collections, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (receipt_count_vectors(f, collections[i], media, 1, found, err) < 0)
            return -1;
    return video ? frames_count(f, media, found, err) : 0;
}

// --- The note

struct begin_call {
    struct flow *flow;
    struct job *job;
    json_t *found;
    const char *id;
};

static void keep_larger(json_t *into, const json_t *before)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)before, name, value)
    {
        if (json_is_integer(value) && json_integer_value(value) > js_int(into, name, 0))
            json_object_set(into, name, value);
    }
}

// What an earlier attempt found may be gone by now.
static void add_note(json_t *found, const char *text)
{
    _cleanup_json_ json_t *before = js_parse(text, strlen(text), NULL);
    if (!json_is_object(before))
        return;
    keep_larger(found, before);
    keep_larger(js_obj(found, "vectors"), js_obj(before, "vectors"));
}

static int begin_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct begin_call *call = arg;
    const struct meta_ops *ops = call->flow->meta.ops;
    const struct event *event = &call->job->event;
    struct meta_receipt before;
    struct error why = {0};
    if (ops->receipt_open(tx, &call->job->arena, event->tenant, event->media_id, &before, &why) == 0) {
        call->id = before.id;
        add_note(call->found, before.text);
    } else if (why.code != ERR_NOT_FOUND) {
        return error_copy(err, &why);
    }
    _cleanup_free_ char *text = js_dumps(call->found);
    if (!text)
        return error_set(err, ERR_NO_MEMORY, "No memory for a receipt");
    const struct meta_receipt row = {.id = call->id, .tenant = event->tenant, .item = event->media_id, .text = text};
    return ops->receipt_put(tx, &row, err);
}

int receipt_begin(struct flow *f, struct job *job, const struct media *media, struct removal *out, struct error *err)
{
    char id[ID_MAX];
    id_new("rcp", id);
    struct begin_call call = {
        .flow = f, .job = job, .found = job_hold(job, json_object()), .id = arena_strdup(&job->arena, id)};
    if (count_all(f, &job->arena, media, call.found, err) < 0 ||
        f->meta.ops->write(f->meta.state, META_SYNCED, begin_tx, &call, err) < 0) // before what no power cut takes back
        return -1;
    *out = (struct removal){.receipt = call.id, .found = call.found};
    return 0;
}

// --- The key

// ERR_NOT_FOUND when there is none.
static int key_get_tx(struct flow *f, struct meta_tx *tx, struct receipt_key *out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    const char *seed;
    if (f->meta.ops->setting_get(tx, &arena, KEY_SETTING, &seed, err) < 0)
        return -1;
    return receipt_key_read(seed, out, err);
}

static int key_tx(struct flow *f, struct meta_tx *tx, struct receipt_key *out, struct error *err)
{
    char seed[RECEIPT_KEY_MAX];
    struct error why = {0};
    if (key_get_tx(f, tx, out, &why) == 0)
        return 0;
    if (why.code != ERR_NOT_FOUND)
        return error_copy(err, &why);
    receipt_key_new(seed);
    int rc = f->meta.ops->setting_put(tx, KEY_SETTING, seed, err);
    if (rc == 0)
        rc = receipt_key_read(seed, out, err);
    sodium_memzero(seed, sizeof seed);
    return rc;
}

struct key_call {
    struct flow *flow;
    struct receipt_key *out;
};

static int key_read_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct key_call *call = arg;
    return key_get_tx(call->flow, tx, call->out, err);
}

static int key_make_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct key_call *call = arg;
    return key_tx(call->flow, tx, call->out, err);
}

int receipt_public_key(struct flow *f, json_t **out, struct error *err)
{
    struct receipt_key key;
    struct key_call call = {f, &key};
    struct error why = {0};
    if (f->meta.ops->read(f->meta.state, key_read_tx, &call, &why) < 0) {
        if (why.code != ERR_NOT_FOUND)
            return error_copy(err, &why);
        if (f->meta.ops->write(f->meta.state, META_SYNCED, key_make_tx, &call, err) < 0)
            return -1;
    }
    char id[RECEIPT_KEY_ID_MAX], text[RECEIPT_KEY_MAX], pem[RECEIPT_PEM_MAX];
    receipt_key_id(&key.open, id);
    receipt_public_text(&key.open, text);
    receipt_public_pem(&key.open, pem);
    sodium_memzero(&key, sizeof key);
    *out = json_pack("{s:s,s:s,s:s,s:s}", "algorithm", "Ed25519", "keyId", id, "publicKey", text, "pem", pem);
    return 0;
}

// --- The receipt

static json_t *removed_json(const json_t *found, unsigned actions)
{
    json_t *json = json_object();
    for (size_t i = 0; i < ARRAY_LEN(counters); i++) {
        unsigned by = strcmp(counters[i], "rows") == 0 ? REMOVE_ROWS : REMOVE_FILES;
        if (actions & by)
            json_object_set(json, counters[i], json_object_get(found, counters[i]));
    }
    if (actions & REMOVE_VECTORS)
        json_object_set(json, "vectors", json_object_get(found, "vectors"));
    return json;
}

static json_t *actions_json(unsigned actions)
{
    json_t *json = json_array();
    if (actions & REMOVE_FILES)
        json_array_append_new(json, json_string("delete_minio_files"));
    if (actions & REMOVE_VECTORS)
        json_array_append_new(json, json_string("delete_qdrant_vectors"));
    if (actions & REMOVE_ROWS)
        json_array_append_new(json, json_string("cleanup_database"));
    return json;
}

static json_t *receipt_json(const struct job *job, const struct media *media, const struct removal *removal,
                            unsigned actions, int64_t now_ms)
{
    const struct event *event = &job->event;
    json_t *json = json_pack("{s:i,s:s,s:s,s:s,s:s,s:s,s:s}", "version", 1, "receiptId", removal->receipt, "tenantId",
                             event->tenant, "itemId", event->media_id, "kind", media->kind, "contentHash", media->hash,
                             "eventId", event->id);
    js_set_time(json, "uploadedAt", media->uploaded_ms);
    js_set_time(json, "requestedAt",
                event->maintenance.requested_ms ? event->maintenance.requested_ms : event->timestamp_ms);
    js_set_time(json, "completedAt", now_ms);
    json_object_set_new(json, "actions", actions_json(actions));
    json_object_set_new(json, "removed", removed_json(removal->found, actions));
    return json;
}

int receipt_end_tx(struct flow *f, struct meta_tx *tx, struct job *job, const struct media *media,
                   const struct removal *removal, unsigned actions, struct error *err)
{
    struct receipt_key key;
    if (key_tx(f, tx, &key, err) < 0)
        return -1;
    int64_t now = clock_now_ms();
    char signature[RECEIPT_SIGNATURE_MAX], id[RECEIPT_KEY_ID_MAX];
    _cleanup_json_ json_t *json = receipt_json(job, media, removal, actions, now);
    _cleanup_free_ char *text = json ? receipt_canonical(json) : NULL;
    if (text)
        receipt_sign(&key, text, signature);
    receipt_key_id(&key.open, id);
    sodium_memzero(&key, sizeof key);
    if (!text)
        return error_set(err, ERR_NO_MEMORY, "No memory for a receipt");
    const struct meta_receipt row = {.id = removal->receipt,
                                     .tenant = job->event.tenant,
                                     .item = job->event.media_id,
                                     .ended_ms = now,
                                     .text = text,
                                     .signature = signature,
                                     .key_id = id};
    return f->meta.ops->receipt_put(tx, &row, err);
}

// --- Asking

struct ask_call {
    struct flow *flow;
    struct arena arena;
    const char *id;
    struct receipt_query query;
    struct meta_receipt one, *rows;
    size_t count;
};

static json_t *row_json(const struct meta_receipt *row)
{
    json_t *receipt = js_parse(row->text, strlen(row->text), NULL);
    return json_pack("{s:o,s:s,s:s,s:s}", "receipt", receipt ? receipt : json_object(), "algorithm", "Ed25519", "keyId",
                     row->key_id, "signature", row->signature);
}

static int get_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct ask_call *call = arg;
    return call->flow->meta.ops->receipt_get(tx, &call->arena, call->query.tenant, call->id, &call->one, err);
}

int receipt_get(struct flow *f, const char *tenant, const char *id, json_t **out, struct error *err)
{
    char key[ID_MAX];
    if (id_parse("rcp", id, key) < 0)
        return error_set(err, ERR_INVALID_ID, "\"%.64s\" is not a receipt's id: they look like rcp_019ab3c4-…", id);
    struct ask_call call = {.flow = f, .id = key, .query = {.tenant = tenant}};
    int rc = f->meta.ops->read(f->meta.state, get_tx, &call, err);
    if (rc == 0)
        *out = row_json(&call.one);
    arena_free(&call.arena);
    return rc;
}

static int read_cursor(const char *text, struct ask_call *call, struct error *err)
{
    long long ms;
    char id[ID_MAX];
    int used = 0;
    if (!text || !*text)
        return 0;
    if (sscanf(text, "%lld.%n", &ms, &used) != 1 || !used || ms <= 0 || id_parse("rcp", text + used, id) < 0)
        return error_set(err, ERR_INVALID_CURSOR, "The cursor is not one that DeepLens gave");
    call->query.before_ms = ms;
    call->query.before_id = arena_strdup(&call->arena, id);
    return 0;
}

static int list_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct ask_call *call = arg;
    return call->flow->meta.ops->receipt_list(tx, &call->arena, &call->query, &call->rows, &call->count, err);
}

static json_t *list_json(const struct ask_call *call)
{
    json_t *list = json_array();
    for (size_t i = 0; i < call->count; i++)
        json_array_append_new(list, row_json(&call->rows[i]));
    json_t *json = json_pack("{s:o,s:n}", "receipts", list, "nextCursor");
    const struct meta_receipt *last = call->count == call->query.limit ? &call->rows[call->count - 1] : NULL;
    if (last)
        json_object_set_new(json, "nextCursor", json_sprintf("%lld.%s", (long long)last->ended_ms, last->id));
    return json;
}

int receipt_list(struct flow *f, const char *tenant, const char *item, const char *cursor, size_t limit, json_t **out,
                 struct error *err)
{
    char id[ID_MAX];
    if (flow_tenant_check(tenant, err) < 0 || (item && item_id(item, "img", id, err) < 0))
        return -1;
    struct ask_call call = {.flow = f, .query = {.tenant = tenant, .item = item ? id : NULL, .limit = limit}};
    int rc = read_cursor(cursor, &call, err);
    if (rc == 0)
        rc = f->meta.ops->read(f->meta.state, list_tx, &call, err);
    if (rc == 0)
        *out = list_json(&call);
    arena_free(&call.arena);
    return rc;
}
