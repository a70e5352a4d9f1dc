// SPDX-License-Identifier: Apache-2.0
// Step thumbnail: processing.completed → a small WebP of the item, beside the item. Frames of videos are such already;
// what is made of videos is the step derive's.
//
// It comes after the item is searchable, so that nobody waits for it to search. The decoded picture is usually still in
// the pixel cache. An item that was deleted meanwhile leaves nothing behind: work that finds it gone removes what an
// earlier run may have put.
#include <string.h>

#include "flow/step.h"
#include "media/image.h"

struct thumbnail {
    bool gone;
    const char *key; // NULL: none was asked for
};

const char *step_thumbnail_shown(const struct job *job, const char **model)
{
    (void)job;
    *model = "";
    return "thumbnail";
}

int thumbnail_make(struct flow *f, const struct media *media, const char *key, struct error *err)
{
    struct pixels pixels;
    if (flow_pixels(f, media, &pixels, err) < 0)
        return -1;
    _cleanup_buf_ struct buf webp = BUF_INIT(16 << 20);
    int rc = image_thumbnail(&pixels, f->settings.thumbnail_edge, f->settings.thumbnail_quality, &webp, err);
    pixels_free(&pixels);
    return rc < 0 ? -1 : flow_put(f, key, &webp, err);
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
        return f->blob.ops->remove(f->blob.state, x->key, err);
    if (strcmp(media.kind, "image") != 0 || !media_wants_thumbnail(&media))
        x->key = NULL;
    return x->key ? thumbnail_make(f, &media, x->key, err) : 0;
}

void step_thumbnail_work(struct flow *f, struct job *const *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        thumbnail(f, jobs[i], &jobs[i]->error);
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
    if (gone || !x->key)
        return STEP_OK;
    const struct media_patch patch = {.thumb_key = x->key};
    return f->meta.ops->media_update(tx, media.tenant, media.id, &patch, err);
}
