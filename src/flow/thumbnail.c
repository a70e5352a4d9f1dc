// SPDX-License-Identifier: Apache-2.0
// Step thumbnail: processing.completed → a small WebP of the item, beside the item; of a video, whose frames are such
// already, what is made for those who look at it (derived.h).
//
// It comes after the item is searchable, so that nobody waits for it to search. The decoded picture is usually still in
// the pixel cache. An item that was deleted meanwhile leaves nothing behind: work that finds it gone removes what an
// earlier run may have put.
#include <string.h>

#include "base/js.h"
#include "flow/derived.h"
#include "flow/step.h"
#include "media/image.h"

struct thumbnail {
    bool gone;
    const char *key; // NULL: none was asked for
    json_t *derived; // of a video, else NULL; the job's
};

const char *step_thumbnail_shown(const struct job *job, const char **model)
{
    (void)job;
    *model = "";
    return "thumbnail";
}

static int put(struct flow *f, const struct buf *webp, const char *key, struct error *err)
{
    struct blob_put *put;
    if (f->blob.ops->put_begin(f->blob.state, webp->len, &put, err) < 0)
        return -1;
    if (f->blob.ops->put_write(put, webp->data, webp->len, err) < 0) {
        f->blob.ops->put_abort(put);
        return -1;
    }
    return f->blob.ops->put_commit(put, key, err);
}

static int make(struct flow *f, const struct media *media, const char *key, struct error *err)
{
    struct pixels pixels;
    if (flow_pixels(f, media, &pixels, err) < 0)
        return -1;
    _cleanup_buf_ struct buf webp = BUF_INIT(16 << 20);
    int rc = image_thumbnail(&pixels, f->settings.thumbnail_edge, f->settings.thumbnail_quality, &webp, err);
    pixels_free(&pixels);
    return rc < 0 ? -1 : put(f, &webp, key, err);
}

static int derive(struct flow *f, struct job *job, const struct media *video, struct thumbnail *x, struct error *err)
{
    json_t *made;
    if (derived_make(f, &job->arena, video, &made, err) < 0)
        return -1;
    x->derived = job_hold(job, made);
    return 0;
}

static int remove_all(struct flow *f, struct job *job, const char *key, struct error *err)
{
    const struct event *event = &job->event;
    if (f->blob.ops->remove(f->blob.state, key, err) < 0)
        return -1;
    return strncmp(event->media_id, "vid_", 4) == 0
               ? derived_remove(f, &job->arena, event->tenant, event->media_id, err)
               : 0;
}

static int thumbnail(struct flow *f, struct job *job, struct error *err)
{
    struct thumbnail *x = arena_alloc(&job->arena, sizeof *x);
    struct media media = {0};
    if (job_media(f, job, &media, &x->gone, err) < 0)
        return -1;
    job->state = x;
    x->key = flow_thumb_key(&job->arena, job->event.tenant, job->event.media_id);
    if (x->gone)
        return remove_all(f, job, x->key, err);
    bool image = strcmp(media.kind, "image") == 0, wanted = media_wants_thumbnail(&media);
    if (!image || !wanted)
        x->key = NULL;
    if (wanted && strcmp(media.kind, "video") == 0)
        return derive(f, job, &media, x, err);
    return x->key ? make(f, &media, x->key, err) : 0;
}

void step_thumbnail_work(struct flow *f, struct job *const *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        thumbnail(f, jobs[i], &jobs[i]->error);
}

// What is known of the video, and what was made of it.
static char *with_derived(const struct media *video, json_t *derived)
{
    _cleanup_json_ json_t *known = video->video ? js_parse(video->video, strlen(video->video), NULL) : NULL;
    if (!json_is_object(known)) {
        json_decref(known);
        known = json_object();
    }
    json_object_set(known, "derived", derived);
    return js_dumps(known);
}

int step_thumbnail_apply(struct flow *f, struct meta_tx *tx, struct job *job, struct error *err)
{
    const struct thumbnail *x = job->state;
    struct media media = {0};
    bool gone;
    if (job_media_tx(f, tx, job, &media, &gone, err) < 0)
        return STEP_FAILED;
    if (gone != x->gone)
        return STEP_AGAIN;
    if (gone || (!x->key && !x->derived))
        return STEP_OK;
    _cleanup_free_ char *video = x->derived ? with_derived(&media, x->derived) : NULL;
    const struct media_patch patch = {.thumb_key = x->key, .video = video};
    return f->meta.ops->media_update(tx, media.tenant, media.id, &patch, err);
}
