// SPDX-License-Identifier: Apache-2.0
// Step prepare: image.uploaded → decode → feature.extraction.requested, one for each model.
//
// An item that another system uploaded is made here, from its event (adopt.c). The decoded picture is left in the pixel
// cache for extract and thumbnail. Where the video in a motion picture lies, its record says.
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "flow/adopt.h"
#include "flow/pixel_cache.h"
#include "flow/step.h"
#include "media/image.h"

struct prepared {
    bool gone;
    int width, height; // of the original, upright
    struct motion motion;
};

const char *step_prepare_shown(const struct job *job, const char **model)
{
    (void)job;
    *model = "";
    return "preprocessing";
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
        extraction_ask(f, &job->arena, media, model, job->priority, job->event.max_attempts, &next);
        if (job_emit(f, job, &next, err) < 0)
            return -1;
    }
    return 0;
}

static int prepare(struct flow *f, struct job *job, struct error *err)
{
    struct prepared *done = arena_alloc(&job->arena, sizeof *done);
    struct media media = {0};
    if (job_media(f, job, &media, &done->gone, err) < 0)
        return -1;
    job->state = done;
    if (!media.id && item_adopt(f, job, &media, &done->gone, err) < 0)
        return -1;
    if (done->gone)
        return job_remove_vectors(f, job, NULL, err);
    struct image_decoded image;
    if (flow_decode(f, media.blob_key, &image, err) < 0)
        return -1;
    done->width = job->media.width = image.width;
    done->height = job->media.height = image.height;
    done->motion = image.motion;
    int rc = emit_extractions(f, job, &media, err);
    if (rc == 0) {
        const char *models[FLOW_MODELS_MAX];
        size_t uses = media_models(&job->arena, &media, models) + media_wants_thumbnail(&media);
        pixel_cache_put(f->cache, media.tenant, media.id, &image.pixels, (int)uses);
    }
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
    const char *video = done->motion.len ? arena_printf(&job->arena, "{\"motion\":{\"offset\":%zu,\"size\":%zu}}",
                                                        done->motion.at, done->motion.len)
                                         : NULL;
    const struct media_patch patch = {
        .set_status = true, .status = MEDIA_PROCESSING, .width = done->width, .height = done->height, .video = video};
    return f->meta.ops->media_update(tx, media.tenant, media.id, &patch, err);
}
