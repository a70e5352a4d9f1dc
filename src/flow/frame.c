// SPDX-License-Identifier: Apache-2.0
// Making frames, and when their video has come to its end: see frame.h.
#include "flow/frame.h"

#include <sodium.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"

// --- Rows and requests

// "tenant-acme/frames/7f/vid_X/frm_Y.webp"
const char *frame_folder(struct arena *arena, const struct media *video)
{
    unsigned folder = (unsigned)(hash64(video->id, strlen(video->id)) & 0xff);
    return arena_printf(arena, "tenant-%s/frames/%02x/%s/", video->tenant, folder, video->id);
}

static const char *frame_key(struct arena *arena, const struct media *video, const char *id)
{
    return arena_printf(arena, "%s%s.webp", frame_folder(arena, video), id);
}

static const char *frame_options(struct arena *arena, const struct media *video)
{
    _cleanup_json_ json_t *options = js_parse(video->options, strlen(video->options), NULL);
    if (!json_is_object(options))
        return video->options;
    json_object_set_new(options, "generateThumbnail", json_false()); // its picture is one
    _cleanup_free_ char *text = js_dumps(options);
    return arena_strdup(arena, text);
}

int frame_requests(struct flow *f, struct arena *arena, const struct media *frame, struct emit **out, struct error *err)
{
    const char *models[FLOW_MODELS_MAX];
    size_t count = media_models(arena, frame, models);
    struct emit *list = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct flow_model *model;
        if (flow_model(f, models[i], &model, err) < 0)
            return -1;
        struct event event = {
            .topic = TOPIC_FEATURES_EXTRACTION,
            .id = event_next_id(arena, frame->tenant, frame->event_id, TOPIC_FEATURES_EXTRACTION, models[i]),
            .tenant = frame->tenant,
            .correlation = frame->event_id,
            .media_id = frame->id,
            .timestamp_ms = clock_now_ms()};
        extraction_ask(f, arena, frame, model, frame->priority, 0, &event);
        _cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
        if (event_encode(&event, f->settings.format, &text, err) < 0)
            return -1;
        struct emit *emit = arena_alloc(arena, sizeof *emit);
        *emit = (struct emit){.next = list,
                              .topic = event.topic,
                              .key = frame->id,
                              .event_id = event.id,
                              .priority = media_priority_name(frame->priority),
                              .value = arena_memdup(arena, text.data, text.len),
                              .value_len = text.len};
        list = emit;
    }
    *out = list;
    return 0;
}

int frame_make(struct flow *f, struct arena *arena, const struct media *video, int64_t time_ms,
               const struct pixels *pixels, const struct buf *webp, struct frame *out, struct error *err)
{
    char id[ID_MAX], hash[HASH_HEX];
    struct hash_state state;
    hash_init(&state);
    hash_update(&state, webp->data, webp->len);
    hash_final(&state, hash);
    id_derive("frm", arena_printf(arena, "%s/%s/%lld", video->tenant, video->id, (long long)time_ms), video->id, id);
    struct media row = *video;
    row.id = arena_strdup(arena, id);
    row.kind = "frame";
    row.status = MEDIA_PROCESSING;
    row.content_type = "image/webp";
    row.format = "WEBP";
    row.hash = arena_strdup(arena, hash);
    row.blob_key = row.thumb_key = frame_key(arena, video, id);
    row.options = frame_options(arena, video);
    // What stands where an image's upload event does: its extraction events follow from it in the same way.
    row.event_id = event_next_id(arena, video->tenant, video->event_id, TOPIC_FEATURES_EXTRACTION, id);
    row.size = webp->len;
    row.width = pixels->width;
    row.height = pixels->height;
    row.updated_ms = clock_now_ms();
    row.completed_ms = 0;
    row.error_code = row.error_message = row.auto_tags = row.video = row.progress = NULL;
    row.parent = video->id;
    row.time_ms = time_ms;
    out->row = row;
    return frame_requests(f, arena, &out->row, &out->requests, err);
}

// --- Progress

void video_progress_read(const char *text, struct video_progress *out)
{
    *out = (struct video_progress){0};
    _cleanup_json_ json_t *json = text ? js_parse(text, strlen(text), NULL) : NULL;
    if (!json_is_object(json))
        return;
    struct choice_mark *m = &out->mark;
    m->at_ms = json_integer_value(json_object_get(json, "atMs"));
    m->kept = (int)json_integer_value(json_object_get(json, "kept"));
    m->minute = (int)json_integer_value(json_object_get(json, "minute"));
    m->kept_in_minute = (int)json_integer_value(json_object_get(json, "keptInMinute"));
    out->from_ms = json_integer_value(json_object_get(json, "fromMs"));
    out->done = js_bool(json, "done", false);
    size_t len = 0;
    const char *last = js_str(json, "last", "");
    m->has_last =
        sodium_hex2bin(m->last, sizeof m->last, last, strlen(last), NULL, &len, NULL) == 0 && len == sizeof m->last;
}

const char *video_progress_write(struct arena *arena, const struct video_progress *progress)
{
    char last[2 * LOOK_SIZE + 1] = "";
    const struct choice_mark *m = &progress->mark;
    if (m->has_last)
        sodium_bin2hex(last, sizeof last, m->last, sizeof m->last);
    _cleanup_json_ json_t *json = json_pack("{s:I,s:I,s:i,s:i,s:i,s:b,s:s}", "atMs", (json_int_t)m->at_ms, "fromMs",
                                            (json_int_t)progress->from_ms, "kept", m->kept, "minute", m->minute,
                                            "keptInMinute", m->kept_in_minute, "done", progress->done, "last", last);
    _cleanup_free_ char *text = js_dumps(json);
    return arena_strdup(arena, text);
}

// As fast as this attempt was so far.
double video_time_remaining(const struct item *item, int64_t now_ms)
{
    const struct media *video = &item->media;
    struct video_progress progress;
    video_progress_read(video->progress, &progress);
    _cleanup_json_ json_t *known = video->video ? js_parse(video->video, strlen(video->video), NULL) : NULL;
    double duration_ms = json_number_value(json_object_get(known, "duration")) * 1000;
    double left_ms = duration_ms - (double)progress.mark.at_ms,
           done_ms = (double)(progress.mark.at_ms - progress.from_ms);
    for (size_t i = 0; i < item->step_count; i++) {
        const struct media_step *step = &item->steps[i];
        if (strcmp(step->step, "frame_extraction") == 0 && strcmp(step->status, "running") == 0 && !progress.done &&
            done_ms > 0 && left_ms > 0 && now_ms > step->started_ms)
            return (double)(now_ms - step->started_ms) / 1000 * left_ms / done_ms;
    }
    return -1;
}

// --- The video's end

static int publish_end(struct flow *f, struct meta_tx *tx, struct arena *arena, const struct media *video,
                       const struct meta_frames *frames, struct error *err)
{
    bool done = frames->searchable > 0;
    enum event_topic topic = done ? TOPIC_PROCESSING_COMPLETED : TOPIC_PROCESSING_FAILED;
    int64_t now = clock_now_ms();
    struct event event = {.topic = topic,
                          .id = event_next_id(arena, video->tenant, video->event_id, topic, "frames"),
                          .tenant = video->tenant,
                          .correlation = video->event_id,
                          .media_id = video->id,
                          .timestamp_ms = now};
    if (done)
        event.completed =
            (struct event_completed){.status = "success", .total_ms = now - video->uploaded_ms, .searchable_ms = now};
    else
        event.failed = (struct event_failed){
            .code = error_code_name(ERR_EXTRACTION_FAILED),
            .message = arena_printf(arena, "None of the video's %llu frames could be made searchable",
                                    (unsigned long long)frames->failed),
            .final = true,
            .attempt = 1,
            .step = "frame_extraction",
            .failed_ms = now};
    _cleanup_buf_ struct buf text = BUF_INIT(65536);
    if (event_encode(&event, f->settings.format, &text, err) < 0)
        return -1;
    struct emit emit = {.topic = topic,
                        .key = video->id,
                        .event_id = event.id,
                        .priority = media_priority_name(video->priority),
                        .value = text.data,
                        .value_len = text.len};
    return flow_publish_tx(f, tx, &emit, err);
}

int video_settle_tx(struct flow *f, struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id,
                    struct error *err)
{
    const struct meta_ops *meta = f->meta.ops;
    struct media video;
    struct video_progress progress;
    struct meta_frames frames;
    bool waits;
    struct error why = {0};
    if (meta->media_get(tx, arena, tenant, id, &video, &why) < 0)
        return why.code == ERR_NOT_FOUND ? 0 : error_copy(err, &why);
    video_progress_read(video.progress, &progress);
    if (!progress.done || video.status >= MEDIA_FAILED)
        return 0;
    if (meta->frame_waits(tx, tenant, id, &waits, err) < 0)
        return -1;
    if (waits)
        return 0;
    return meta->frame_count(tx, tenant, id, &frames, err) < 0 ? -1 : publish_end(f, tx, arena, &video, &frames, err);
}
