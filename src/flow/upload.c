// SPDX-License-Identifier: Apache-2.0
// Uploads of images and videos: the first part of the data path, up to the promise (G1).
//
//   begin   a put in the blob store is opened: the bytes go to a temporary name
//   write   bytes → put, hash and probe; what cannot be accepted is refused as soon as that is certain
//   finish  fields checked → same bytes there already? → bytes durable under their final name
//           → ONE transaction: media row + image.uploaded event → durable → answer
//
// Killed before the transaction is durable, the upload was never accepted: at worst a file without a row stays, which
// no reader can reach and upkeep_sweep.c finds. Killed after it, the client may miss the answer, and finds the item
// when it uploads again.
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/js.h"
#include "flow/adopt.h"
#include "flow/flow.h"
#include "flow/near.h"
#include "flow/step.h"
#include "media/video/kind.h"

struct upload {
    struct flow *flow;
    struct blob_put *put; // NULL: the bytes are there already
    const char *found;    // then, their key
    bool video;
    struct probe *probe;            // of an image
    uint8_t head[VIDEO_KIND_BYTES]; // of a video: its first bytes
    size_t head_len;
    struct hash_state hash;
    uint64_t size;
};

static struct upload *upload_new(struct flow *f, bool video, struct blob_put *put)
{
    struct upload *u = calloc(1, sizeof *u);
    if (!u)
        abort();
    u->flow = f;
    u->put = put;
    u->video = video;
    u->probe = video ? NULL : probe_new(&f->settings.limits);
    hash_init(&u->hash);
    return u;
}

static uint64_t max_bytes(const struct flow *f, bool video)
{
    return video ? f->settings.video_max_bytes : f->settings.upload_max_bytes;
}

static int too_large(const struct flow *f, bool video, struct error *err)
{
    return error_set(err, ERR_BODY_TOO_LARGE, "The file is larger than the %llu bytes that are accepted",
                     (unsigned long long)max_bytes(f, video));
}

static int check_space(struct flow *f, uint64_t expected, struct error *err)
{
    uint64_t space;
    if (f->blob.ops->free_space(f->blob.state, &space, err) < 0)
        return -1;
    if (space != UINT64_MAX && space < f->settings.disk_reserve + expected)
        return error_set(err, ERR_DISK_FULL, "The disk is nearly full: uploads wait until space was made");
    return 0;
}

static int begin(struct flow *f, bool video, uint64_t expected, struct upload **out, struct error *err)
{
    // A multipart body is a little larger than its file: the exact check is made on the bytes themselves.
    if (expected > max_bytes(f, video) + (1 << 20))
        return too_large(f, video, err);
    return flow_check_outbox(f, err) < 0 ? -1 : upload_begin_adopted(f, video, expected, out, err);
}

int upload_begin(struct flow *f, uint64_t expected, struct upload **out, struct error *err)
{
    return begin(f, false, expected, out, err);
}

int upload_begin_video(struct flow *f, uint64_t expected, struct upload **out, struct error *err)
{
    return begin(f, true, expected, out, err);
}

int upload_begin_adopted(struct flow *f, bool video, uint64_t expected, struct upload **out, struct error *err)
{
    if (check_space(f, expected, err) < 0)
        return -1;
    struct blob_put *put;
    if (f->blob.ops->put_begin(f->blob.state, expected, &put, err) < 0)
        return -1;
    *out = upload_new(f, video, put);
    return 0;
}

void upload_abort(struct upload *u)
{
    if (!u)
        return;
    u->flow->blob.ops->put_abort(u->put);
    probe_free(u->probe);
    free(u);
}

DEFINE_CLEANUP(struct upload *, upload, upload_abort)

// Of a video its first bytes are looked at: what is in it, only a decoder can tell.
static int look_at(struct upload *u, const void *data, size_t len, struct error *err)
{
    const struct video_kind *kind;
    if (!u->video)
        return probe_feed(u->probe, data, len, err);
    if (u->head_len == sizeof u->head)
        return 0;
    size_t piece = len < sizeof u->head - u->head_len ? len : sizeof u->head - u->head_len;
    memcpy(u->head + u->head_len, data, piece);
    u->head_len += piece;
    return u->head_len < sizeof u->head ? 0 : video_kind_find(u->head, u->head_len, &kind, err);
}

// What it is, when all of it is there.
static int look_back(struct upload *u, struct media_info *info, struct error *err)
{
    const struct video_kind *kind;
    if (!u->video)
        return probe_end(u->probe, info, err);
    if (video_kind_find(u->head, u->head_len, &kind, err) < 0)
        return -1;
    *info = (struct media_info){.format = kind->name, .content_type = kind->content_type, .extension = kind->extension};
    return 0;
}

int upload_write(struct upload *u, const void *data, size_t len, struct error *err)
{
    if (len > max_bytes(u->flow, u->video) - u->size)
        return too_large(u->flow, u->video, err);
    if (look_at(u, data, len, err) < 0 || (!u->found && u->flow->blob.ops->put_write(u->put, data, len, err) < 0))
        return -1;
    hash_update(&u->hash, data, len);
    u->size += len;
    return 0;
}

// --- What the client said besides the bytes

// The last part of the name, as valid UTF-8 without control characters, at most FLOW_NAME_MAX bytes.
static const char *clean_name(struct arena *arena, const char *name, const struct media_info *info)
{
    if (!name)
        name = "";
    for (const char *p = name; *p; p++)
        if (*p == '/' || *p == '\\')
            name = p + 1;
    _cleanup_free_ char *utf8 = js_utf8(name, strlen(name));
    char *clean = arena_alloc(arena, FLOW_NAME_MAX + 1);
    size_t len = 0;
    for (const char *p = utf8; p && *p && len < FLOW_NAME_MAX; p++)
        if ((unsigned char)*p >= 0x20 && *p != 0x7f)
            clean[len++] = *p;
    while (len && !js_utf8_valid(clean, len)) // cut in the middle of a character
        len--;
    clean[len] = 0;
    if (!len || strcmp(clean, ".") == 0 || strcmp(clean, "..") == 0)
        return arena_printf(arena, "%.5s.%s", info->content_type, info->extension); // "image.jpg", "video.mp4"
    return clean;
}

static int parse_object(const char *text, const char *field, json_t **out, struct error *err)
{
    if (!text || !*text) {
        *out = json_object();
        return 0;
    }
    if (strlen(text) > FLOW_METADATA_MAX)
        return error_set(err, ERR_INVALID, "`%s` is longer than %d bytes", field, FLOW_METADATA_MAX);
    json_t *value = js_parse(text, strlen(text), err);
    if (!value)
        return error_prefix(err, "`%s`", field);
    if (!json_is_object(value)) {
        json_decref(value);
        return error_set(err, ERR_INVALID, "`%s` must be a JSON object", field);
    }
    *out = value;
    return 0;
}

static int add_tag(json_t *tags, const char *tag, size_t len, struct error *err)
{
    while (len && *tag == ' ') {
        tag++;
        len--;
    }
    while (len && tag[len - 1] == ' ')
        len--;
    if (!len)
        return 0;
    if (len > 255 || !js_utf8_valid(tag, len) || json_array_size(tags) >= FLOW_TAGS_MAX)
        return error_set(err, ERR_INVALID, "`tags` takes at most %d tags of at most 255 bytes of UTF-8", FLOW_TAGS_MAX);
    json_array_append_new(tags, json_stringn(tag, len));
    return 0;
}

static int parse_tag_array(const char *text, json_t *tags, struct error *err)
{
    _cleanup_json_ json_t *array = js_parse(text, strlen(text), err);
    if (!array)
        return error_prefix(err, "`tags`");
    size_t i;
    json_t *tag;
    json_array_foreach(array, i, tag)
    {
        if (!json_is_string(tag))
            return error_set(err, ERR_INVALID, "`tags` must be an array of strings");
        if (add_tag(tags, json_string_value(tag), json_string_length(tag), err) < 0)
            return -1;
    }
    return 0;
}

static int parse_tags(const char *text, json_t **out, struct error *err)
{
    _cleanup_json_ json_t *tags = json_array();
    if (text && *text == '[') {
        if (parse_tag_array(text, tags, err) < 0)
            return -1;
    } else {
        while (text && *text) {
            size_t len = strcspn(text, ",");
            if (add_tag(tags, text, len, err) < 0)
                return -1;
            text += len + (text[len] == ',');
        }
    }
    *out = take_ptr(tags);
    return 0;
}

static int check_models(struct flow *f, const char *tenant, json_t *options, struct error *err)
{
    json_t *given = json_object_get(options, "models");
    if (given && !json_is_array(given))
        return error_set(err, ERR_INVALID, "`processingOptions.models` must be an array of names");
    json_t *models = json_array();
    size_t i;
    json_t *name;
    json_array_foreach(given, i, name)
    {
        const struct flow_model *model;
        if (!json_is_string(name) || json_array_size(models) >= FLOW_MODELS_MAX) {
            json_decref(models);
            return error_set(err, ERR_INVALID, "`processingOptions.models` takes at most %d names", FLOW_MODELS_MAX);
        }
        if (flow_picture_model(f, json_string_value(name), &model, err) < 0) {
            json_decref(models);
            return -1;
        }
        bool twice = false;
        for (size_t j = 0; j < json_array_size(models); j++)
            twice |= strcmp(json_string_value(json_array_get(models, j)), model->model->name) == 0;
        if (!twice)
            json_array_append_new(models, json_string(model->model->name));
    }
    if (json_array_size(models) == 0) {
        const struct flow_model *model;
        if (flow_model_for(f, tenant, NULL, &model, err) < 0) {
            json_decref(models);
            return -1;
        }
        json_array_append_new(models, json_string(model->model->name));
    }
    json_object_set_new(options, "models", models);
    return 0;
}

static int check_bool(json_t *options, const char *key, bool otherwise, struct error *err)
{
    json_t *value = json_object_get(options, key);
    if (value && !json_is_boolean(value))
        return error_set(err, ERR_INVALID, "`processingOptions.%s` must be true or false", key);
    if (!value)
        json_object_set_new(options, key, json_boolean(otherwise));
    return 0;
}

// Which frames of a video look like others is recorded, and no more: what it is as a whole, a part of it does not say.
static int check_policy(struct flow *f, const char *tenant, json_t *options, bool video, struct error *err)
{
    enum near_policy policy = NEAR_KEEP;
    const json_t *given = json_object_get(options, "duplicatePolicy");
    if (given && (!json_is_string(given) || near_policy_parse(json_string_value(given), &policy) < 0))
        return error_set(err, ERR_INVALID, "`processingOptions.duplicatePolicy` must be keep, link or reject");
    if (given && video && policy != NEAR_KEEP)
        return error_set(err, ERR_INVALID, "`processingOptions.duplicatePolicy` of a video can only be keep");
    if (!given && !video && near_policy_for(f, tenant, &policy, err) < 0)
        return -1;
    json_object_set_new(options, "duplicatePolicy", json_string(near_policy_name(policy)));
    return 0;
}

static int check_options(struct flow *f, const char *tenant, json_t *options, bool video, enum media_priority *priority,
                         struct error *err)
{
    const char *given = js_str(options, "priority", json_object_get(options, "priority") ? "" : "normal");
    if (media_priority_parse(given, priority) < 0)
        return error_set(err, ERR_INVALID, "`processingOptions.priority` must be high, normal or low");
    json_object_set_new(options, "priority", json_string(given));
    if (check_bool(options, "skipDuplicateCheck", false, err) < 0 ||
        check_bool(options, "generateThumbnail", true, err) < 0 || check_policy(f, tenant, options, video, err) < 0)
        return -1;
    return check_models(f, tenant, options, err);
}

// --- From fields to a row

struct ack { // what the transaction needs, and what it finds
    struct flow *flow;
    struct arena *arena;
    struct media row;
    bool skip_duplicates;
    bool add_tenant;
    struct emit event;
    bool stored;   // the bytes are durable under row.blob_key
    bool inserted; // the row is, if the transaction is committed
    bool duplicate;
    struct media present; // when duplicate
};

static int fill_from_fields(struct flow *f, const struct upload_fields *fields, const struct media_info *info,
                            struct ack *ack, json_t **metadata_out, json_t **options_out, struct error *err)
{
    _cleanup_json_ json_t *metadata = NULL, *tags = NULL, *options = NULL;
    if (parse_object(fields->metadata, "metadata", &metadata, err) < 0 || parse_tags(fields->tags, &tags, err) < 0 ||
        parse_object(fields->options, "processingOptions", &options, err) < 0 ||
        check_options(f, ack->row.tenant, options, strcmp(ack->row.kind, "video") == 0, &ack->row.priority, err) < 0)
        return -1;
    if (fields->uploaded_by &&
        (strlen(fields->uploaded_by) > 255 || !js_utf8_valid(fields->uploaded_by, strlen(fields->uploaded_by))))
        return error_set(err, ERR_INVALID, "`uploadedBy` must be at most 255 bytes of UTF-8");
    struct media *row = &ack->row;
    row->file_name = clean_name(ack->arena, fields->file_name, info);
    row->uploaded_by = fields->uploaded_by && *fields->uploaded_by ? fields->uploaded_by : NULL;
    _cleanup_free_ char *m = js_dumps(metadata), *t = js_dumps(tags), *o = js_dumps(options);
    row->metadata = arena_strdup(ack->arena, m);
    row->tags = arena_strdup(ack->arena, t);
    row->options = arena_strdup(ack->arena, o);
    ack->skip_duplicates = js_bool(options, "skipDuplicateCheck", false);
    if (json_array_size(tags)) // tags travel as a member of the metadata
        json_object_set(metadata, "tags", tags);
    *metadata_out = take_ptr(metadata);
    *options_out = take_ptr(options);
    return 0;
}

static const char *make_blob_key(struct arena *arena, const struct media *row, const char *extension)
{
    time_t seconds = (time_t)(row->uploaded_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    return arena_printf(arena, "tenant-%s/%ss/%04d/%02d/%02d/%s.%s", row->tenant, row->kind, tm.tm_year + 1900,
                        tm.tm_mon + 1, tm.tm_mday, row->id, extension);
}

static int encode_event(struct flow *f, struct arena *arena, const struct media *row, json_t *metadata, json_t *options,
                        struct emit *out, struct error *err)
{
    struct event event = {
        .topic = strcmp(row->kind, "video") == 0 ? TOPIC_VIDEOS_UPLOADED : TOPIC_IMAGES_UPLOADED,
        .id = row->event_id,
        .tenant = row->tenant,
        .media_id = row->id,
        .timestamp_ms = row->uploaded_ms,
        .image_uploaded = {.file_name = row->file_name,
                           .path = flow_path(f, arena, row->blob_key),
                           .size = row->size,
                           .content_type = row->content_type,
                           .uploaded_by = row->uploaded_by,
                           .uploaded_ms = row->uploaded_ms,
                           .format = row->format,
                           .width = row->width,
                           .height = row->height,
                           .original_name = row->file_name,
                           .metadata = metadata,
                           .options = options},
    };
    _cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
    if (event_encode(&event, f->settings.format, &text, err) < 0)
        return -1;
    *out = (struct emit){.topic = event.topic,
                         .key = row->id,
                         .event_id = row->event_id,
                         .priority = arena_strdup(arena, js_str(options, "priority", "normal")),
                         .value = arena_memdup(arena, text.data, text.len),
                         .value_len = text.len};
    return 0;
}

int upload_event(struct flow *f, struct arena *arena, const struct media *row, struct emit *out, struct error *err)
{
    _cleanup_json_ json_t *metadata = js_parse(row->metadata, strlen(row->metadata), NULL),
                          *tags = js_parse(row->tags, strlen(row->tags), NULL),
                          *options = js_parse(row->options, strlen(row->options), NULL);
    if (json_is_object(metadata) && json_array_size(tags))
        json_object_set(metadata, "tags", tags);
    return encode_event(f, arena, row, metadata, options, out, err);
}

// The row of what was read, under the ids and the time of upload that it has already.
static int prepare_row(struct upload *u, const struct upload_fields *fields, struct ack *ack, json_t **metadata,
                       json_t **options, struct error *err)
{
    struct media_info info;
    ack->row.kind = u->video ? "video" : "image";
    if (look_back(u, &info, err) < 0 || fill_from_fields(u->flow, fields, &info, ack, metadata, options, err) < 0)
        return -1;
    char hash[HASH_HEX];
    hash_final(&u->hash, hash);
    struct media *row = &ack->row;
    row->status = MEDIA_UPLOADED;
    row->content_type = info.content_type;
    row->format = info.format;
    row->hash = arena_strdup(ack->arena, hash);
    row->size = u->size;
    row->width = info.width;
    row->height = info.height;
    row->updated_ms = clock_now_ms();
    row->blob_key = u->found ? u->found : make_blob_key(ack->arena, row, info.extension);
    if (u->found) // two items of one file would each delete it
        ack->skip_duplicates = false;
    return 0;
}

static int prepare_new(struct upload *u, const struct upload_fields *fields, struct ack *ack, struct error *err)
{
    _cleanup_json_ json_t *metadata = NULL, *options = NULL;
    char id[ID_MAX], event_id[ID_MAX];
    id_new(u->video ? "vid" : "img", id);
    id_new("evt", event_id);
    ack->row.id = arena_strdup(ack->arena, id);
    ack->row.event_id = arena_strdup(ack->arena, event_id);
    ack->row.uploaded_ms = clock_now_ms();
    if (prepare_row(u, fields, ack, &metadata, &options, err) < 0)
        return -1;
    return encode_event(u->flow, ack->arena, &ack->row, metadata, options, &ack->event, err);
}

// --- The promise

static int find_duplicate(struct meta_tx *tx, void *arg, struct error *err)
{
    struct ack *ack = arg;
    const struct meta_ops *meta = ack->flow->meta.ops;
    ack->duplicate = false;
    if (ack->skip_duplicates)
        return 0;
    struct error none = {0};
    int rc = meta->media_find_hash(tx, ack->arena, ack->row.tenant, ack->row.hash, &ack->present, &none);
    ack->duplicate = rc == 0;
    return rc == 0 || none.code == ERR_NOT_FOUND ? 0 : error_copy(err, &none);
}

static int insert_tx(struct meta_tx *tx, struct ack *ack, bool publish, struct error *err)
{
    struct flow *f = ack->flow;
    if (f->meta.ops->media_insert(tx, &ack->row, err) < 0 || (publish && flow_publish_tx(f, tx, &ack->event, err) < 0))
        return -1;
    ack->inserted = true;
    return 0;
}

static int accept_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct ack *ack = arg;
    const struct meta_ops *meta = ack->flow->meta.ops;
    ack->inserted = false;
    if (ack->add_tenant && meta->tenant_add(tx, ack->row.tenant, err) < 0)
        return -1;
    if (find_duplicate(tx, ack, err) < 0)
        return -1;
    if (ack->duplicate)
        return meta->media_duplicate(tx, ack->row.tenant, err);
    if (!ack->stored) // the item that was there a moment ago went away
        return error_set(err, ERR_OVERLOADED, "The same file is just being deleted; try again");
    return insert_tx(tx, ack, true, err);
}

static int check_tenant(struct flow *f, struct ack *ack, struct error *err)
{
    struct meta_tenant tenant;
    struct error why = {0};
    if (flow_tenant(f, ack->arena, ack->row.tenant, &tenant, &why) == 0)
        return tenant.leaving_ms ? error_set(err, ERR_TENANT_UNKNOWN, "The tenant %.80s is being removed", tenant.name)
                                 : 0;
    if (why.code != ERR_TENANT_UNKNOWN)
        return error_copy(err, &why);
    if (!f->settings.tenants_auto_create)
        return error_set(err, why.code, "%s; `deeplens tenants add %.80s` makes it", why.message, ack->row.tenant);
    ack->add_tenant = true;
    return 0;
}

// The bytes of a row that was not written. Whether it was is not known when the database went away meanwhile: then they
// stay, and the sweep for orphans takes them if they are nobody's.
static void take_back(const struct ack *ack, int rc, const struct error *err)
{
    if (rc < 0 && err->code == ERR_UNAVAILABLE && ack->inserted)
        return;
    ack->flow->blob.ops->remove(ack->flow->blob.state, ack->row.blob_key, NULL);
}

// Bytes durable, then row and event durable; whatever fails takes the bytes away again, unless they were found.
static int keep(struct upload *u, struct ack *ack, struct error *err)
{
    struct flow *f = u->flow;
    if (f->meta.ops->read(f->meta.state, find_duplicate, ack, err) < 0)
        return -1;
    if (!ack->duplicate) {
        if (!u->found && f->blob.ops->put_commit(take_ptr(u->put), ack->row.blob_key, err) < 0)
            return -1;
        ack->stored = true;
    }
    int rc = f->meta.ops->write(f->meta.state, META_SYNCED, accept_tx, ack, err);
    if (!u->found && ack->stored && (rc < 0 || ack->duplicate))
        take_back(ack, rc, err);
    return rc;
}

static const char *estimate(struct flow *f, struct arena *arena)
{
    double seconds = (double)f->item_us * (double)(f->backlog + 1) / 1e6 / (f->cpu_workers ? f->cpu_workers : 1);
    int least = seconds < 1 ? 1 : (int)seconds;
    return arena_printf(arena, "%d-%d seconds", least, least * 2);
}

int upload_finish(struct upload *upload, const struct upload_fields *fields, struct arena *arena,
                  struct upload_result *out, struct error *err)
{
    _cleanup_(cleanup_upload) struct upload *u = upload;
    struct flow *f = u->flow;
    struct ack ack = {.flow = f, .arena = arena, .row.tenant = fields->tenant ? fields->tenant : "default"};
    if (check_tenant(f, &ack, err) < 0 || prepare_new(u, fields, &ack, err) < 0 || keep(u, &ack, err) < 0)
        return -1;
    const struct media *row = ack.duplicate ? &ack.present : &ack.row;
    *out = (struct upload_result){
        .id = row->id, .status = row->status, .duplicate = ack.duplicate, .estimate = estimate(f, arena)};
    return 0;
}

// --- What another system uploaded

struct adoption {
    struct ack ack;
    bool publish; // no event stands for it yet
    bool gone;
};

static int adopt_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct adoption *a = arg;
    struct ack *ack = &a->ack;
    const struct meta_ops *meta = ack->flow->meta.ops;
    ack->inserted = false;
    if (item_buried(ack->flow, tx, ack->row.tenant, ack->row.id, &a->gone, err) < 0)
        return -1;
    if (a->gone)
        return 0;
    struct error why = {0};
    if (meta->media_get(tx, ack->arena, ack->row.tenant, ack->row.id, &ack->present, &why) == 0)
        a->gone = ack->present.status == MEDIA_DELETING;
    ack->duplicate = !why.code;
    if (ack->duplicate || why.code != ERR_NOT_FOUND)
        return ack->duplicate ? 0 : error_copy(err, &why);
    if (ack->add_tenant && meta->tenant_add(tx, ack->row.tenant, err) < 0)
        return -1;
    return insert_tx(tx, ack, a->publish, err);
}

// Bytes, then the row; the bytes go again when they are nobody's. Another process may have been quicker with the same
// item: then the file is its file.
static int adopt(struct upload *u, struct adoption *a, struct error *err)
{
    struct flow *f = u->flow;
    const char *key = a->ack.row.blob_key;
    if (f->blob.ops->put_commit(take_ptr(u->put), key, err) < 0)
        return -1;
    int rc = f->meta.ops->write(f->meta.state, META_RELAXED, adopt_tx, a, err);
    bool shared = rc == 0 && a->ack.duplicate && strcmp(a->ack.present.blob_key, key) == 0;
    if ((rc < 0 || a->gone || a->ack.duplicate) && !shared)
        take_back(&a->ack, rc, err);
    return rc;
}

// As a form would have them. Tags are a member of the metadata, if they are what tags can be.
static void fields_of(const struct event *event, struct arena *arena, struct upload_fields *out)
{
    const struct event_image_uploaded *up = &event->image_uploaded;
    _cleanup_json_ json_t *metadata = up->metadata ? json_copy(up->metadata) : json_object();
    json_t *tags = js_arr(metadata, "tags");
    *out = (struct upload_fields){.tenant = event->tenant, .file_name = up->file_name, .uploaded_by = up->uploaded_by};
    if (tags) {
        _cleanup_free_ char *text = js_dumps(tags);
        out->tags = arena_strdup(arena, text);
        json_object_del(metadata, "tags");
    }
    _cleanup_free_ char *rest = js_dumps(metadata), *options = up->options ? js_dumps(up->options) : NULL;
    out->metadata = arena_strdup(arena, rest);
    out->options = arena_strdup(arena, options);
}

static int finish_adopted(struct upload *upload, const struct event *event, bool publish, struct arena *arena,
                          struct media *out, bool *gone, struct error *err)
{
    _cleanup_(cleanup_upload) struct upload *u = upload;
    _cleanup_json_ json_t *metadata = NULL, *options = NULL;
    struct upload_fields fields;
    int64_t uploaded_ms = event->image_uploaded.uploaded_ms;
    struct adoption a = {.publish = publish,
                         .ack = {.flow = u->flow,
                                 .arena = arena,
                                 .row = {.tenant = event->tenant,
                                         .id = event->media_id,
                                         .event_id = event->id,
                                         .uploaded_ms = uploaded_ms ? uploaded_ms : clock_now_ms()}}};
    fields_of(event, arena, &fields);
    if (check_tenant(u->flow, &a.ack, err) < 0 || prepare_row(u, &fields, &a.ack, &metadata, &options, err) < 0 ||
        (publish && encode_event(u->flow, arena, &a.ack.row, metadata, options, &a.ack.event, err) < 0) ||
        adopt(u, &a, err) < 0)
        return -1;
    *gone = a.gone;
    if (!a.gone)
        *out = a.ack.duplicate ? a.ack.present : a.ack.row;
    return 0;
}

int upload_adopt(struct upload *u, const struct event *event, struct arena *arena, struct media *out, bool *gone,
                 struct error *err)
{
    return finish_adopted(u, event, false, arena, out, gone, err);
}

int upload_keep(struct upload *u, const struct event *event, struct arena *arena, struct media *out, bool *gone,
                struct error *err)
{
    return finish_adopted(u, event, true, arena, out, gone, err);
}

// --- Files that are there already

// A tenant's own files are below its first part; what DeepLens itself keeps there has its items.
static int check_import(const struct upload_fields *fields, const char *key, struct error *err)
{
    const char *tenant = fields->tenant ? fields->tenant : "default";
    size_t len = strlen(tenant);
    const char *rest = strncmp(key, "tenant-", 7) == 0 && strncmp(key + 7, tenant, len) == 0 ? key + 7 + len : "";
    if (*rest != '/')
        return error_set(err, ERR_NOT_FOUND, "Files of tenant %.64s are below tenant-%.64s/", tenant, tenant);
    static const char *const ours[] = {"/images/",  "/thumbnails/", "/videos/", "/frames/",
                                       "/posters/", "/previews/",   "/sprites/"};
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        if (strncmp(rest, ours[i], strlen(ours[i])) == 0)
            return error_set(err, ERR_INVALID, "Below %s DeepLens keeps files of its own, which are not imported",
                             ours[i] + 1);
    return 0;
}

static int feed_found(struct upload *u, struct error *err)
{
    enum { PIECE = 256 * 1024 };
    const struct blob_ops *blob = u->flow->blob.ops;
    struct blob_reader *reader;
    if (blob->open_read(u->flow->blob.state, u->found, &reader, err) < 0)
        return -1;
    uint64_t size = blob->reader_size(reader);
    _cleanup_free_ char *piece = malloc(PIECE);
    int rc = !piece                                      ? error_set(err, ERR_NO_MEMORY, "Out of memory")
             : size > u->flow->settings.upload_max_bytes ? too_large(u->flow, false, err)
             : size == 0                                 ? upload_write(u, "", 0, err)
                                                         : 0;
    for (uint64_t at = 0; rc == 0 && at < size; at += PIECE) {
        size_t len = size - at < PIECE ? (size_t)(size - at) : PIECE;
        rc = blob->read(reader, at, piece, len, err);
        if (rc == 0)
            rc = upload_write(u, piece, len, err);
    }
    blob->reader_close(reader);
    return rc;
}

int upload_import(struct flow *f, const char *path, const struct upload_fields *fields, struct arena *arena,
                  struct upload_result *out, struct error *err)
{
    const char *key = flow_path_key(f, arena, path);
    if (!key)
        return error_set(err, ERR_NOT_FOUND, "\"%.128s\" does not lead into the store of DeepLens", path);
    if (check_import(fields, key, err) < 0 || flow_check_outbox(f, err) < 0)
        return -1;
    struct upload_fields named = *fields;
    if (!named.file_name)
        named.file_name = key; // its last part
    _cleanup_(cleanup_upload) struct upload *u = upload_new(f, false, NULL);
    u->found = key;
    if (feed_found(u, err) < 0)
        return -1;
    return upload_finish(take_ptr(u), &named, arena, out, err);
}

struct import_list {
    struct flow *flow;
    struct arena *arena;
    const struct upload_fields *fields;
    const char *after;
    const char **paths;
    size_t count, limit;
};

static int add_found(void *arg, const char *key, const struct blob_info *info)
{
    struct import_list *l = arg;
    (void)info;
    const char *path = flow_path(l->flow, l->arena, key);
    if (strcmp(path, l->after) <= 0 || check_import(l->fields, key, NULL) < 0)
        return 0;
    if (l->count == l->limit)
        return 1;
    l->paths[l->count++] = path;
    return 0;
}

int upload_import_list(struct flow *f, const char *prefix, const struct upload_fields *fields, const char *after,
                       size_t limit, struct arena *arena, const char ***out, size_t *count, bool *more,
                       struct error *err)
{
    const char *folder =
        flow_path_key(f, arena, arena_printf(arena, "%sx", prefix)); // as a prefix may end with a slash
    if (!folder)
        return error_set(err, ERR_NOT_FOUND, "\"%.128s\" does not lead into the store of DeepLens", prefix);
    if (check_import(fields, folder, err) < 0)
        return -1;
    struct import_list l = {.flow = f,
                            .arena = arena,
                            .fields = fields,
                            .after = after ? after : "",
                            .paths = arena_alloc(arena, limit * sizeof(char *)),
                            .limit = limit};
    const char *start = arena_printf(arena, "%.*s", (int)(strlen(folder) - 1), folder);
    int rc = f->blob.ops->list(f->blob.state, start, add_found, &l, err);
    if (rc < 0)
        return -1;
    *out = l.paths;
    *count = l.count;
    *more = rc == 1;
    return 0;
}
