// SPDX-License-Identifier: Apache-2.0
// Step video: video.uploaded → the frames that matter, each an item with feature.extraction.requested for each model.
//
// The frames come from a process that decodes (media/video/video.h). They are kept in batches: their files, then in ONE
// transaction their rows, their events, and the mark from which the choice goes on. A worker that is killed therefore
// goes on at the last mark; frames whose files were put and whose rows were not are chosen again, under the same ids,
// and a redelivered video makes no second frame (G3). A server that stops ends the step at once: no attempt is spent.
//
// What can be had is had: a file that is cut off gives the frames up to there. A decoder that dies or takes too long at
// its last attempt (time: at the first) leaves what it gave; the video fails only when that is nothing.
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "flow/adopt.h"
#include "flow/frame.h"
#include "flow/pixel_cache.h"
#include "flow/video_file.h"
#include "media/image.h"

enum { BATCH = 16, COMMIT_US = 2000000 };

struct pending { // a frame whose file is there
    struct pending *next;
    struct frame frame;
};

struct watching { // one video at work
    struct flow *flow;
    struct job *job;
    struct media media;
    struct video_progress progress;
    struct video_info info;
    json_t *shown;      // what media.video will hold
    struct arena arena; // of the batch
    struct pending *batch, **end;
    size_t count;
    int64_t committed_us;
    bool over, gone;
};

const char *step_video_shown(const struct job *job, const char **model)
{
    (void)job;
    *model = "";
    return "frame_extraction";
}

// --- What is known of the video

static void show_info(struct watching *w)
{
    const struct video_info *i = &w->info;
    json_t *j = w->shown;
    json_object_set_new(j, "duration", json_real((double)i->duration_ms / 1000));
    json_object_set_new(j, "fps", json_real(round(i->fps * 1000) / 1000));
    json_object_set_new(j, "rotation", json_integer(i->rotation));
    js_set_str(j, "codec", i->codec);
    json_object_set_new(j, "audio", *i->audio ? json_string(i->audio) : json_null());
}

// What was measured is nearer to the truth than what the container said. A file that gives much less than it said is
// cut off, or lied: who would know.
static void show_end(struct watching *w, const struct video_message *m)
{
    int64_t said = w->info.duration_ms, measured = m->duration_ms;
    bool complete = m->complete;
    if (measured > 0) {
        json_object_set_new(w->shown, "duration", json_real((double)measured / 1000));
        if (llabs(said - measured) > 1000)
            json_object_set_new(w->shown, "statedDuration", json_real((double)said / 1000));
        complete = complete && measured + 1000 >= said / 10 * 9;
    }
    json_object_set_new(w->shown, "complete", json_boolean(complete));
}

// --- Frames

static void keep_pixels(struct watching *w, const struct media *frame, const struct pixels *px)
{
    const char *models[FLOW_MODELS_MAX];
    struct pixels copy = {px->width, px->height, malloc(pixels_bytes(px))};
    if (!copy.data)
        return;
    memcpy(copy.data, px->data, pixels_bytes(px));
    pixel_cache_put(w->flow->cache, frame->tenant, frame->id, &copy, (int)media_models(&w->arena, frame, models));
}

static int add_frame(struct watching *w, const struct video_message *m, struct error *err)
{
    const struct flow_settings *settings = &w->flow->settings;
    struct pending *one = arena_alloc(&w->arena, sizeof *one);
    _cleanup_buf_ struct buf webp = BUF_INIT(16 << 20);
    if (image_thumbnail(&m->pixels, settings->video.frame_edge, settings->thumbnail_quality, &webp, err) < 0 ||
        frame_make(w->flow, &w->arena, &w->media, m->time_ms, &m->pixels, &webp, &one->frame, err) < 0 ||
        flow_put(w->flow, one->frame.row.blob_key, &webp, err) < 0)
        return -1;
    keep_pixels(w, &one->frame.row, &m->pixels);
    if (!w->media.thumb_key)
        w->media.thumb_key = arena_strdup(&w->job->arena, one->frame.row.blob_key);
    *w->end = one;
    w->end = &one->next;
    w->count++;
    return 0;
}

// --- A batch

static int insert_frame(struct watching *w, struct meta_tx *tx, struct frame *frame, struct error *err)
{
    struct flow *f = w->flow;
    struct media there;
    struct error why = {0};
    if (f->meta.ops->media_get(tx, &w->arena, frame->row.tenant, frame->row.id, &there, &why) == 0)
        return 0; // with its events
    if (why.code != ERR_NOT_FOUND)
        return error_copy(err, &why);
    if (f->meta.ops->media_insert(tx, &frame->row, err) < 0)
        return -1;
    for (struct emit *emit = frame->requests; emit; emit = emit->next)
        if (flow_publish_tx(f, tx, emit, err) < 0)
            return -1;
    return 0;
}

static int batch_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct watching *w = arg;
    struct media now;
    if (job_media_tx(w->flow, tx, w->job, &now, &w->gone, err) < 0)
        return -1;
    if (w->gone)
        return 0;
    for (struct pending *p = w->batch; p; p = p->next)
        if (insert_frame(w, tx, &p->frame, err) < 0)
            return -1;
    _cleanup_free_ char *shown = js_dumps(w->shown);
    const struct media_patch patch = {.set_status = true,
                                      .status = MEDIA_PROCESSING,
                                      .width = w->info.width,
                                      .height = w->info.height,
                                      .thumb_key = w->media.thumb_key,
                                      .video = shown,
                                      .progress = video_progress_write(&w->arena, &w->progress)};
    return w->flow->meta.ops->media_update(tx, now.tenant, now.id, &patch, err);
}

static void begin_batch(struct watching *w)
{
    arena_free(&w->arena);
    w->batch = NULL;
    w->end = &w->batch;
    w->count = 0;
    w->committed_us = clock_mono_us();
}

static int commit(struct watching *w, const struct choice_mark *mark, struct error *err)
{
    struct flow *f = w->flow;
    w->progress.mark = *mark;
    if (f->meta.ops->write(f->meta.state, META_RELAXED, batch_tx, w, err) < 0)
        return -1;
    for (struct pending *p = w->gone ? w->batch : NULL; p; p = p->next)
        if (f->blob.ops->remove(f->blob.state, p->frame.row.blob_key, err) < 0)
            return -1;
    begin_batch(w);
    return 0;
}

static int take(struct watching *w, const struct video_message *m, struct error *err)
{
    switch (m->step) {
    case VIDEO_INFO:
        w->info = m->info;
        show_info(w);
        return 0;
    case VIDEO_FRAME:
        return add_frame(w, m, err);
    case VIDEO_MARK:
        if (w->count < BATCH && clock_mono_us() - w->committed_us < COMMIT_US)
            return 0;
        return commit(w, &m->mark, err);
    default:
        w->over = true;
        show_end(w, m);
        return commit(w, &m->mark, err);
    }
}

static int watch(struct watching *w, struct video *video, struct error *err)
{
    struct video_message message;
    while (!w->over && !w->gone) {
        if (w->flow->stopping)
            return video_stopped(err);
        if (video_next(video, &message, err) < 0 || take(w, &message, err) < 0)
            return -1;
    }
    return 0;
}

// Was the decoder to blame, is there something, and is it not worth another attempt?
static bool is_enough(const struct watching *w, const struct error *why)
{
    const struct event *event = &w->job->event;
    bool last = event->attempt >= event_attempts(w->flow, event);
    bool some = w->progress.mark.kept > 0 || w->count > 0;
    return some && (why->code == ERR_DECODER_TIMEOUT || (why->code == ERR_DECODER_DIED && last));
}

static int run(struct watching *w, struct error *err)
{
    struct error why = {0};
    struct video *video;
    _cleanup_close_ int fd = -1;
    const struct choice_mark *from = w->progress.mark.at_ms || w->progress.mark.kept ? &w->progress.mark : NULL;
    if (video_file_open(w->flow, w->media.blob_key, 0, &fd, err) < 0 ||
        video_open(fd, &w->flow->settings.video, from, &video, err) < 0)
        return -1;
    begin_batch(w);
    int rc = watch(w, video, &why);
    video_close(video);
    if (rc < 0 && is_enough(w, &why)) {
        json_object_set_new(w->shown, "complete", json_false());
        js_set_str(w->shown, "problem", why.message);
        struct choice_mark mark = w->progress.mark;
        rc = commit(w, &mark, &why);
    }
    arena_free(&w->arena);
    return rc < 0 ? error_copy(err, &why) : 0;
}

// --- The step

struct done {
    bool gone;
};

static int work(struct flow *f, struct job *job, struct error *err)
{
    struct done *done = arena_alloc(&job->arena, sizeof *done);
    struct watching w = {.flow = f, .job = job};
    job->state = done;
    if (job_media(f, job, &w.media, &done->gone, err) < 0)
        return -1;
    if (!w.media.id && item_adopt(f, job, &w.media, &done->gone, err) < 0)
        return -1;
    if (done->gone)
        return 0;
    video_progress_read(w.media.progress, &w.progress);
    if (w.progress.done)
        return 0;
    w.progress.from_ms = w.progress.mark.at_ms;
    _cleanup_json_ json_t *shown = w.media.video ? js_parse(w.media.video, strlen(w.media.video), NULL) : NULL;
    if (!json_is_object(shown)) {
        json_decref(shown);
        shown = json_object();
    }
    w.shown = shown;
    if (run(&w, err) < 0)
        return -1;
    done->gone = w.gone;
    job->media_known = false; // it has moved on
    return 0;
}

void step_video_work(struct flow *f, struct job *const *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        work(f, jobs[i], &jobs[i]->error);
}

int step_video_apply(struct flow *f, struct meta_tx *tx, struct job *job, struct error *err)
{
    const struct done *done = job->state;
    struct video_progress progress;
    struct media media = {0};
    bool gone;
    if (job_media_tx(f, tx, job, &media, &gone, err) < 0)
        return STEP_FAILED;
    if (gone != done->gone)
        return STEP_AGAIN;
    if (gone)
        return STEP_OK;
    video_progress_read(media.progress, &progress);
    progress.done = true;
    const struct media_patch patch = {
        .set_status = true, .status = MEDIA_PROCESSING, .progress = video_progress_write(&job->arena, &progress)};
    if (f->meta.ops->media_update(tx, media.tenant, media.id, &patch, err) < 0)
        return STEP_FAILED;
    return video_settle_tx(f, tx, &job->arena, media.tenant, media.id, err);
}
