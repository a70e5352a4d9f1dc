// SPDX-License-Identifier: Apache-2.0
// Step status: processing.completed and processing.failed → the item's status, which only moves forward.
//
// A failure that will be tried again leaves the item in processing: its step says "retrying" and why. The last one
// makes it failed, with the reason; the original event is in the dead-letter topic by then. What a worker of another
// system wants to be tried again is ours to try (foreign.c).
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "flow/frame.h"
#include "flow/step.h"

const char *step_status_shown(const struct job *job, const char **model)
{
    (void)job, (void)model;
    return NULL;
}

void step_status_work(struct flow *f, struct job *const *jobs, size_t count)
{
    (void)f, (void)jobs, (void)count; // all of it is in the transaction
}

int step_status_apply(struct flow *f, struct meta_tx *tx, struct job *job, struct error *err)
{
    struct media media = {0};
    bool gone;
    if (job_media_tx(f, tx, job, &media, &gone, err) < 0)
        return STEP_FAILED;
    if (gone)
        return STEP_OK;
    struct media_patch patch = {.set_status = true, .status = MEDIA_COMPLETED};
    if (job->event.topic == TOPIC_PROCESSING_COMPLETED) {
        if (!media.completed_ms)
            patch.completed_ms = job->event.completed.searchable_ms;
    } else {
        const struct event_failed *failed = &job->event.failed;
        patch.status = failed->final ? MEDIA_FAILED : MEDIA_PROCESSING;
        if (failed->final) {
            patch.error_code = failed->code;
            patch.error_message = failed->message;
        } else if (job->foreign && media.status != MEDIA_COMPLETED && foreign_failed_tx(f, tx, job, &media, err) < 0) {
            return STEP_FAILED;
        }
    }
    if (f->meta.ops->media_update(tx, media.tenant, media.id, &patch, err) < 0)
        return STEP_FAILED;
    bool ended = patch.status == MEDIA_COMPLETED || patch.status == MEDIA_FAILED;
    return media.parent && ended ? video_settle_tx(f, tx, &job->arena, media.tenant, media.parent, err) : STEP_OK;
}
