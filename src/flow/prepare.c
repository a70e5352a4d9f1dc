// SPDX-License-Identifier: Apache-2.0
// Step prepare: image.uploaded → decode, thumbnail → feature.extraction.requested, one for each model.
//
// The decoded picture is left in the pixel cache for extract. An item that was deleted meanwhile leaves nothing
// behind: when work finds it gone it removes the thumbnail that an earlier run may have put.
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "flow/pixel_cache.h"
#include "flow/step.h"
#include "media/image.h"

struct prepared {
    bool gone;
    int width, height;     // of the original, upright
    const char *thumb_key; // NULL: none was asked for
};

const char *step_prepare_shown(const struct job *job, const char **model)
{
    (void)job;
    *model = "";
    return "preprocessing";
}

static int put_thumbnail(struct flow *f, const struct pixels *pixels, const char *key, struct error *err)
{
    _cleanup_buf_ struct buf webp = BUF_INIT(16 << 20);
    if (image_thumbnail(pixels, f->settings.thumbnail_edge, f->settings.thumbnail_quality, &webp, err) < 0)
        return -1;
    struct blob_put *put;
    if (f->blob.ops->put_begin(f->blob.state, webp.len, &put, err) < 0)
        return -1;
    if (f->blob.ops->put_write(put, webp.data, webp.len, err) < 0) {
        f->blob.ops->put_abort(put);
        return -1;
    }
    return f->blob.ops->put_commit(put, key, err);
}

static int emit_extractions(struct flow *f, struct job *job, const struct media *media, struct error *err)
{
    const char *models[FLOW_MODELS_MAX];
    size_t count = media_models(&job->arena, media, models);
    for (size_t i = 0; i < count; i++) {
        const struct flow_model *model;
        if (flow_model(f, models[i], &model, err) < 0)
            return -1;
        struct event next;
        job_next_event(job, TOPIC_FEATURES_EXTRACTION, models[i], &next);
        next.attempt = 1;
        next.max_attempts = job->event.max_attempts ? job->event.max_attempts : f->settings.retry_attempts;
        next.backoff_ms = f->settings.retry_base_ms;
        next.extraction = (struct event_extraction){.path = arena_printf(&job->arena, "/storage/%s", media->blob_key),
                                                    .model = model->model->name,
                                                    .version = model->model->version,
                                                    .dimension = (int)model->model->dimension,
                                                    .normalize = true,
                                                    .timeout_s = 30,
                                                    .priority = media_priority_name(job->priority)};
        if (job_emit(f, job, &next, err) < 0)
            return -1;
    }
    return 0;
}

// What an earlier run put before the item was deleted; its row may be gone by now, so the event says where.
static int remove_thumbnail(struct flow *f, struct job *job, struct error *err)
{
    const char *original = flow_path_key(job->event.image_uploaded.path);
    if (!original)
        return 0;
    const char *key = flow_thumb_key(&job->arena, job->event.tenant, job->event.media_id, original);
    return f->blob.ops->remove(f->blob.state, key, err);
}

static int prepare(struct flow *f, struct job *job, struct error *err)
{
    struct prepared *done = arena_alloc(&job->arena, sizeof *done);
    struct media media = {0};
    if (job_media(f, job, &media, &done->gone, err) < 0)
        return -1;
    job->state = done;
    if (done->gone)
        return remove_thumbnail(f, job, err);

    _cleanup_free_ void *data = NULL;
    size_t len;
    if (flow_read_blob(f, media.blob_key, f->settings.upload_max_bytes, &data, &len, err) < 0)
        return -1;
    struct image_decoded image;
    if (image_decode(data, len, f->settings.thumbnail_edge, f->settings.limits.max_pixels, &image, err) < 0)
        return -1;
    done->width = image.width;
    done->height = image.height;
    int rc = 0;
    _cleanup_json_ json_t *options = js_parse(media.options, strlen(media.options), NULL);
    if (js_bool(options, "generateThumbnail", true)) {
        done->thumb_key = flow_thumb_key(&job->arena, media.tenant, media.id, media.blob_key);
        rc = put_thumbnail(f, &image.pixels, done->thumb_key, err);
    }
    if (rc == 0)
        rc = emit_extractions(f, job, &media, err);
    const char *models[FLOW_MODELS_MAX];
    int uses = (int)media_models(&job->arena, &media, models);
    if (rc == 0)
        pixel_cache_put(f->cache, media.tenant, media.id, &image.pixels, uses);
    pixels_free(&image.pixels);
    return rc;
}

void step_prepare_work(struct flow *f, struct job *const *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        prepare(f, jobs[i], &jobs[i]->error);
}

int step_prepare_apply(struct flow *f, struct meta_tx *tx, struct job *job, struct error *err)
{
    struct prepared *done = job->state;
    struct media media = {0};
    bool gone;
    if (job_media_tx(f, tx, job, &media, &gone, err) < 0)
        return STEP_FAILED;
    if (gone != done->gone)
        return STEP_AGAIN;
    if (gone)
        return STEP_OK;
    const struct media_patch patch = {.set_status = true,
                                      .status = MEDIA_PROCESSING,
                                      .width = done->width,
                                      .height = done->height,
                                      .thumb_key = done->thumb_key};
    return f->meta.ops->media_update(tx, media.tenant, media.id, &patch, err);
}
