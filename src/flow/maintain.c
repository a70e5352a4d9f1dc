// SPDX-License-Identifier: Apache-2.0
// Step maintain: image.maintenance.requested (delete) → original, thumbnail, poster and the like, frames, vectors of
// every model, rows; verified, then receipted (G9). An event may ask for some of that alone, by its `actions`.
//
// The item was marked MEDIA_DELETING when its deletion was accepted, so that no reader sees it any more. What there is
// of it is noted before anything goes (receipt.h); the row goes last, in the transaction that writes the receipt, so
// that a kill at any point leaves something to go on from. Steps that were at work on the item find it gone and clean
// up after themselves (see step.h).
#include <stdio.h>
#include <string.h>

#include "flow/derived.h"
#include "flow/frame.h"
#include "flow/receipt.h"
#include "flow/step.h"

enum { REMOVALS = 3 };

struct maintenance {
    struct media media;
    bool missing; // there is no row (any more)
    unsigned actions;
    struct removal removal;
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
    } known[] = {{"delete_minio_files", REMOVE_FILES},
                 {"delete_qdrant_vectors", REMOVE_VECTORS},
                 {"cleanup_database", REMOVE_ROWS}};
    unsigned actions = in->action_count ? 0 : REMOVE_ALL;
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
    if (remove_file(f, media->blob_key, err) < 0 || remove_file(f, thumb, err) < 0)
        return -1;
    for (enum derived what = 0; strcmp(media->kind, "video") == 0 && what < DERIVED_COUNT; what++)
        if (remove_file(f, derived_key(&job->arena, media->tenant, media->id, what), err) < 0)
            return -1;
    return 0;
}

// Before the video's own: its row goes last. Marked first, as steps may be at work on them.
static int remove_frames(struct flow *f, const struct media *video, unsigned actions, struct error *err)
{
    if (actions & REMOVE_ROWS && frames_hide(f, video, err) < 0)
        return -1;
    return frames_remove(f, video, actions & REMOVE_FILES, actions & REMOVE_VECTORS, actions & REMOVE_ROWS, err);
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
    if (!gone && x->actions & REMOVE_ROWS && hide(f, job, err) < 0)
        return -1;
    if (!x->missing && receipt_begin(f, job, &x->media, &x->removal, err) < 0)
        return -1;
    bool video = !x->missing && strcmp(x->media.kind, "video") == 0;
    if (video && remove_frames(f, &x->media, x->actions, err) < 0)
        return -1;
    if (!x->missing && x->actions & REMOVE_FILES && remove_files(f, job, &x->media, err) < 0)
        return -1;
    return x->actions & REMOVE_VECTORS ? job_remove_vectors(f, job, NULL, err) : 0;
}

void step_maintain_work(struct flow *f, struct job *const *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        maintain(f, jobs[i], &jobs[i]->error);
}

// The row of the item goes with the receipt, its frames' before it: looks whether all of them are gone.
static int remove_rows(struct flow *f, struct meta_tx *tx, struct job *job, const struct maintenance *x,
                       struct error *err)
{
    const struct event *event = &job->event;
    struct media left, *frames;
    struct error why = {0};
    size_t count;
    if (f->meta.ops->media_delete(tx, event->tenant, event->media_id, err) < 0)
        return -1;
    if (f->meta.ops->media_get(tx, &job->arena, event->tenant, event->media_id, &left, &why) == 0)
        return error_set(err, ERR_INTERNAL, "A row is still there after it was removed");
    if (why.code != ERR_NOT_FOUND)
        return error_copy(err, &why);
    if (strcmp(x->media.kind, "video") != 0)
        return 0;
    if (f->meta.ops->frame_list(tx, &job->arena, event->tenant, event->media_id, -1, 1, &frames, &count, err) < 0)
        return -1;
    return count ? error_set(err, ERR_INTERNAL, "The row of a frame is still there after it was removed") : 0;
}

int step_maintain_apply(struct flow *f, struct meta_tx *tx, struct job *job, struct error *err)
{
    const struct maintenance *x = job->state;
    // Also of an item that is not there: its upload may be another system's, and still to come.
    if (x->actions & REMOVE_ROWS && item_bury(f, tx, job->event.tenant, job->event.media_id, err) < 0)
        return STEP_FAILED;
    if (x->missing)
        return STEP_OK;
    if (x->actions & REMOVE_ROWS && remove_rows(f, tx, job, x, err) < 0)
        return STEP_FAILED;
    return receipt_end_tx(f, tx, job, &x->media, &x->removal, x->actions, err);
}
