// SPDX-License-Identifier: Apache-2.0
// Step index: vector.indexing.requested → upsert into the collection of tenant and model → processing.completed, once
// the vectors of all the item's models are in.
//
// The vector is durable before the transaction that says so (G4): work flushes what it upserted. An item that is gone
// gets its vector removed instead, also when it went away between work and apply (STEP_AGAIN): no orphan stays (G9).
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "flow/step.h"

struct indexing {
    struct media media;
    bool gone;
    const char *collection;
};

const char *step_index_shown(const struct job *job, const char **model)
{
    *model = job->event.indexing.model ? job->event.indexing.model : "";
    return "vector_indexing";
}

// What filters see of an item: the client's members, and ours beside them.
static json_t *make_payload(const struct media *m)
{
    json_t *payload = js_parse(m->metadata, strlen(m->metadata), NULL);
    if (!json_is_object(payload)) {
        json_decref(payload);
        payload = json_object();
    }
    json_t *tags = js_parse(m->tags, strlen(m->tags), NULL);
    if (json_array_size(tags))
        json_object_set(payload, "tags", tags);
    json_decref(tags);
    js_set_str(payload, "fileName", m->file_name);
    js_set_str(payload, "contentType", m->content_type);
    js_set_str(payload, "format", m->format);
    js_set_str(payload, "uploadedBy", m->uploaded_by);
    js_set_time(payload, "uploadedAt", m->uploaded_ms);
    json_object_set_new(payload, "width", json_integer(m->width));
    json_object_set_new(payload, "height", json_integer(m->height));
    json_object_set_new(payload, "sizeBytes", json_integer((json_int_t)m->size));
    return payload;
}

static int get_ready(struct flow *f, struct job *job, struct error *err)
{
    struct indexing *x = arena_alloc(&job->arena, sizeof *x);
    const struct event_indexing *in = &job->event.indexing;
    const struct flow_model *model;
    struct meta_tenant tenant;
    if (flow_model(f, in->model, &model, err) < 0 || flow_tenant(f, &job->arena, job->event.tenant, &tenant, err) < 0 ||
        job_media(f, job, &x->media, &x->gone, err) < 0)
        return -1;
    if (in->dimension != model->model->dimension)
        return error_set(err, ERR_EVENT_INVALID, "Model %s has %zu dimensions, the vector has %zu", model->model->name,
                         model->model->dimension, in->dimension);
    x->collection = job->collection = flow_collection(&job->arena, tenant.slug, model->model->name);
    job->state = x;
    return 0;
}

// Upserts jobs that share a collection.
static int upsert_together(struct flow *f, struct job *const *jobs, size_t count, struct error *err)
{
    struct index_point points[64];
    json_t *payloads[64];
    const struct indexing *first = jobs[0]->state;
    for (size_t i = 0; i < count; i++) {
        payloads[i] = make_payload(&((struct indexing *)jobs[i]->state)->media);
        points[i] = (struct index_point){
            .id = jobs[i]->event.media_id, .vector = jobs[i]->event.indexing.vector, .payload = payloads[i]};
    }
    int rc = f->index.ops->ensure(f->index.state, first->collection, jobs[0]->event.indexing.dimension, err);
    if (rc == 0)
        rc = f->index.ops->upsert(f->index.state, first->collection, points, count, err);
    for (size_t i = 0; i < count; i++)
        json_decref(payloads[i]);
    return rc;
}

// One bad vector must not take its neighbours along: a batch that is refused is tried one by one.
static void upsert_group(struct flow *f, struct job *const *jobs, size_t count)
{
    struct error why = {0};
    if (upsert_together(f, jobs, count, &why) < 0) {
        for (size_t i = 0; i < count; i++)
            if (count == 1)
                jobs[i]->error = why;
            else
                upsert_together(f, jobs + i, 1, &jobs[i]->error);
    }
    const char *collection = ((struct indexing *)jobs[0]->state)->collection;
    if (f->index.ops->flush(f->index.state, collection, &why) < 0)
        for (size_t i = 0; i < count; i++)
            jobs[i]->error = why;
}

void step_index_work(struct flow *f, struct job *const *jobs, size_t count)
{
    struct job *ready[64], *group[64];
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        struct job *job = jobs[i];
        if (get_ready(f, job, &job->error) < 0)
            continue;
        if (((struct indexing *)job->state)->gone)
            job_remove_vectors(f, job, job->event.indexing.model, &job->error);
        else
            ready[left++] = job;
    }
    while (left) {
        const char *collection = ((struct indexing *)ready[0]->state)->collection;
        size_t grouped = 0, kept = 0;
        for (size_t i = 0; i < left; i++) {
            bool same = strcmp(((struct indexing *)ready[i]->state)->collection, collection) == 0;
            if (same)
                group[grouped++] = ready[i];
            else
                ready[kept++] = ready[i];
        }
        upsert_group(f, group, grouped);
        left = kept;
    }
}

static bool is_indexed(const struct media_step *done, size_t count, const char *model)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(done[i].step, "vector_indexing") == 0 && strcmp(done[i].model, model) == 0)
            return strcmp(done[i].status, "completed") == 0;
    return false;
}

static int emit_completed(struct flow *f, struct job *job, const struct media *media, const struct media_step *rows,
                          size_t count, struct error *err)
{
    struct event_completed_step *shown = arena_alloc(&job->arena, (count + 1) * sizeof *shown);
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        shown[n++] = (struct event_completed_step){.step = rows[i].step,
                                                   .status = rows[i].status,
                                                   .duration_ms = rows[i].duration_ms,
                                                   .model = *rows[i].model ? rows[i].model : NULL,
                                                   .collection = rows[i].collection};
    struct event next;
    int64_t now = clock_now_ms();
    job_next_event(job, TOPIC_PROCESSING_COMPLETED, "", &next);
    next.completed = (struct event_completed){.status = "success",
                                              .steps = shown,
                                              .step_count = n,
                                              .total_ms = now - media->uploaded_ms,
                                              .searchable_ms = now};
    job->emits = NULL; // apply may run again
    return job_emit(f, job, &next, err);
}

int step_index_apply(struct flow *f, struct meta_tx *tx, struct job *job, struct error *err)
{
    struct indexing *x = job->state;
    struct media media = {0};
    bool gone;
    if (job_media_tx(f, tx, job, &media, &gone, err) < 0)
        return STEP_FAILED;
    if (gone != x->gone)
        return STEP_AGAIN;
    if (gone)
        return STEP_OK;
    struct media_step *rows;
    size_t count;
    if (f->meta.ops->step_list(tx, &job->arena, media.tenant, media.id, &rows, &count, err) < 0)
        return STEP_FAILED;
    const char *models[FLOW_MODELS_MAX];
    size_t wanted = media_models(&job->arena, &media, models);
    for (size_t i = 0; i < wanted; i++)
        if (!is_indexed(rows, count, models[i]))
            return STEP_OK; // others are on their way
    return emit_completed(f, job, &media, rows, count, err);
}
