// SPDX-License-Identifier: Apache-2.0
// Step maintain: image.maintenance.requested (delete) → original, thumbnail, vectors of every model, rows; verified
// (G9).
//
// The item was marked MEDIA_DELETING when its deletion was accepted, so that no reader sees it any more; the row goes
// last, so that a kill at any point leaves something to go on from. Steps that were at work on the item find it gone
// and clean up after themselves (see step.h).
#include <stdio.h>
#include <string.h>

#include "flow/frame.h"
#include "flow/step.h"

enum { ACT_FILES = 1, ACT_VECTORS = 2, ACT_ROWS = 4, ACT_ALL = 7, REMOVALS = 3 };

struct maintenance {
    struct media media;
    bool missing; // there is no row (any more)
    unsigned actions;
};

const char *step_maintain_shown(const struct job *job, const char **model)
{
    (void)job, (void)model;
    return NULL;
}

static int read_actions(const struct event_maintenance *in, unsigned *out, struct error *err)
{
    static const struct {
        const char *name;
        unsigned action;
    } known[] = {
        {"delete_minio_files", ACT_FILES}, {"delete_qdrant_vectors", ACT_VECTORS}, {"cleanup_database", ACT_ROWS}};
    unsigned actions = in->action_count ? 0 : ACT_ALL;
    for (size_t i = 0; i < in->action_count; i++) {
        unsigned found = 0;
        for (size_t j = 0; j < ARRAY_LEN(known); j++)
            if (strcmp(in->actions[i], known[j].name) == 0)
                found = known[j].action;
        if (!found)
            return error_set(err, ERR_EVENT_INVALID, "Maintenance action \"%.60s\" is not known", in->actions[i]);
        actions |= found;
    }
    *out = actions;
    return 0;
}

// Removes and looks. A thumbnail at work may put its file in between, once: what is there then is removed again.
static int remove_file(struct flow *f, const char *key, struct error *err)
{
    for (int i = 0; i < REMOVALS; i++) {
        struct blob_info info;
        struct error why = {0};
        if (f->blob.ops->remove(f->blob.state, key, err) < 0)
            return -1;
        if (f->blob.ops->head(f->blob.state, key, &info, &why) < 0)
            return why.code == ERR_NOT_FOUND ? 0 : error_copy(err, &why);
    }
    return error_set(err, ERR_IO, "A file is still there after it was removed");
}

static int remove_files(struct flow *f, struct job *job, const struct media *media, struct error *err)
{
    const char *thumb = flow_thumb_key(&job->arena, media->tenant, media->id);
    return remove_file(f, media->blob_key, err) < 0 ? -1 : remove_file(f, thumb, err);
}

// Before the video's own: its row goes last. Marked first, as steps may be at work on them.
static int remove_frames(struct flow *f, const struct media *video, unsigned actions, struct error *err)
{
    if (actions & ACT_ROWS && frames_hide(f, video, err) < 0)
        return -1;
    return frames_remove(f, video, actions & ACT_FILES, actions & ACT_VECTORS, actions & ACT_ROWS, err);
}

struct hide_call {
    struct flow *flow;
    struct job *job;
};

static int hide_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct hide_call *call = arg;
    const struct media_patch patch = {.set_status = true, .status = MEDIA_DELETING};
    const struct event *event = &call->job->event;
    return call->flow->meta.ops->media_update(tx, event->tenant, event->media_id, &patch, err);
}

// An event from elsewhere may ask for a deletion that no request has marked.
static int hide(struct flow *f, struct job *job, struct error *err)
{
    struct hide_call call = {f, job};
    return f->meta.ops->write(f->meta.state, META_RELAXED, hide_tx, &call, err);
}

static int maintain(struct flow *f, struct job *job, struct error *err)
{
    struct maintenance *x = arena_alloc(&job->arena, sizeof *x);
    bool gone;
    if (strcmp(job->event.maintenance.type, "delete") != 0)
        return error_set(err, ERR_EVENT_INVALID, "Maintenance of type \"%.60s\" is not known",
                         job->event.maintenance.type);
    if (read_actions(&job->event.maintenance, &x->actions, err) < 0 || job_media(f, job, &x->media, &gone, err) < 0)
        return -1;
    x->missing = x->media.id == NULL;
    job->state = x;
    if (!gone && x->actions & ACT_ROWS && hide(f, job, err) < 0)
        return -1;
    bool video = !x->missing && strcmp(x->media.kind, "video") == 0;
    if (video && remove_frames(f, &x->media, x->actions, err) < 0)
        return -1;
    if (!x->missing && x->actions & ACT_FILES && remove_files(f, job, &x->media, err) < 0)
        return -1;
    return x->actions & ACT_VECTORS ? job_remove_vectors(f, job, NULL, err) : 0;
}

void step_maintain_work(struct flow *f, struct job *const *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        maintain(f, jobs[i], &jobs[i]->error);
}

int step_maintain_apply(struct flow *f, struct meta_tx *tx, struct job *job, struct error *err)
{
    const struct maintenance *x = job->state;
    if (!(x->actions & ACT_ROWS))
        return STEP_OK;
    // Also of an item that is not there: its upload may be another system's, and still to come.
    if (item_bury(f, tx, job->event.tenant, job->event.media_id, err) < 0)
        return STEP_FAILED;
    return x->missing ? STEP_OK : f->meta.ops->media_delete(tx, job->event.tenant, job->event.media_id, err);
}
