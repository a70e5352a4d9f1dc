// SPDX-License-Identifier: Apache-2.0
// Step derive: processing.completed of a video → what is made of it for those who look at it (derived.h).
//
// It comes after the video is searchable, and after videos that are not: nobody waits for it to search. It decodes,
// which is the work of the threads for videos alone. A video that was deleted meanwhile leaves nothing behind.
#include <string.h>

#include "base/js.h"
#include "flow/derived.h"
#include "flow/step.h"

struct derive {
    bool gone;
    json_t *made; // NULL: nothing is wanted; the job's
};

const char *step_derive_shown(const struct job *job, const char **model)
{
    (void)job;
    *model = "";
    return "thumbnail";
}

// What was put before it failed is nobody's when the video went away in between.
static int clean_up(struct flow *f, struct job *job, const struct media *video)
{
    bool gone = false;
    struct media now = {0};
    job->media_known = false;
    if (job_media(f, job, &now, &gone, NULL) == 0 && gone)
        derived_remove(f, &job->arena, video->tenant, video->id, NULL);
    return -1;
}

static int derive(struct flow *f, struct job *job, struct error *err)
{
    struct derive *x = arena_alloc(&job->arena, sizeof *x);
    struct media media = {0};
    json_t *made;
    *x = (struct derive){0};
    job->state = x;
    if (job_media(f, job, &media, &x->gone, err) < 0)
        return -1;
    if (x->gone)
        return derived_remove(f, &job->arena, job->event.tenant, job->event.media_id, err);
    if (strcmp(media.kind, "video") != 0 || !media_wants_thumbnail(&media))
        return 0;
    if (derived_make(f, &job->arena, &media, job->event.attempt >= event_attempts(f, &job->event), &made, err) < 0)
        return clean_up(f, job, &media);
    x->made = job_hold(job, made);
    return 0;
}

void step_derive_work(struct flow *f, struct job *const *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        derive(f, jobs[i], &jobs[i]->error);
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

int step_derive_apply(struct flow *f, struct meta_tx *tx, struct job *job, struct error *err)
{
    const struct derive *x = job->state;
    struct media media = {0};
    bool gone;
    if (job_media_tx(f, tx, job, &media, &gone, err) < 0)
        return STEP_FAILED;
    if (gone != x->gone)
        return STEP_AGAIN;
    if (gone || !x->made)
        return STEP_OK;
    _cleanup_free_ char *video = with_derived(&media, x->made);
    const struct media_patch patch = {.video = video};
    return f->meta.ops->media_update(tx, media.tenant, media.id, &patch, err);
}
