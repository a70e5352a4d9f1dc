// SPDX-License-Identifier: Apache-2.0
// Step index: vector.indexing.requested → upsert into the collection of tenant and model → processing.completed, once
// the vectors of all the item's models are in. While a model takes another's place (rebuild.h), what is indexed under
// the one is asked for under the other.
//
// Labels that come with the vector (extract.c) become the item's automatic tags, and its place among words (words.c),
// in a collection beside.
//
// What looks like the item is looked for when its vector is in, and recorded with all else (near.h).
//
// The vector is durable before the transaction that says so (G4): work flushes what it upserted. An item that is gone
// gets its vector removed instead, also when it went away between work and apply (STEP_AGAIN): no orphan stays (G9).
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "flow/near.h"
#include "flow/rebuild.h"
#include "flow/step.h"
#include "flow/words.h"

struct indexing {
    struct media media;
    bool gone;
    const char *collection;
    const char *words; // the collection of places among words
    struct extractor_labels labels;
    const char *auto_tags; // JSON; NULL: none
    const struct flow_model *model;
    struct near_found near;
};

const char *step_index_shown(const struct job *job, const char **model)
{
    *model = job->event.indexing.model ? job->event.indexing.model : "";
    return "vector_indexing";
}

// "autoTags": ["tabby", …] and "autoTagScores": {"tabby": 0.8, …}, so that either can be asked for.
static void add_auto_tags(json_t *payload, const char *text)
{
    _cleanup_json_ json_t *tags = text ? js_parse(text, strlen(text), NULL) : NULL;
    if (!json_array_size(tags))
        return;
    json_t *names = json_array(), *scores = json_object(), *tag;
    size_t i;
    json_array_foreach(tags, i, tag)
    {
        json_array_append(names, json_object_get(tag, "name"));
        json_object_set(scores, js_str(tag, "name", ""), json_object_get(tag, "score"));
    }
    json_object_set_new(payload, "autoTags", names);
    json_object_set_new(payload, "autoTagScores", scores);
}

// What filters see of an item: the client's members, and ours beside them.
json_t *media_payload(const struct media *m, const char *auto_tags)
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
    add_auto_tags(payload, auto_tags ? auto_tags : m->auto_tags);
    js_set_str(payload, "fileName", m->file_name);
    js_set_str(payload, "contentType", m->content_type);
    js_set_str(payload, "format", m->format);
    js_set_str(payload, "uploadedBy", m->uploaded_by);
    js_set_time(payload, "uploadedAt", m->uploaded_ms);
    json_object_set_new(payload, "width", json_integer(m->width));
    json_object_set_new(payload, "height", json_integer(m->height));
    json_object_set_new(payload, "sizeBytes", json_integer((json_int_t)m->size));
    js_set_str(payload, "kind", m->kind);
    if (m->parent) {
        js_set_str(payload, "videoId", m->parent);
        json_object_set_new(payload, "time", json_real((double)m->time_ms / 1000));
    }
    return payload;
}

static void read_labels(struct flow *f, struct job *job, const char *slug, struct indexing *x)
{
    labels_read(js_arr(job->event.indexing.metadata, "autoTags"), &x->labels);
    _cleanup_json_ json_t *shown = labels_shown(&x->labels);
    _cleanup_free_ char *text = shown ? js_dumps(shown) : NULL;
    x->auto_tags = arena_strdup(&job->arena, text);
    if (f->words && x->labels.count)
        x->words = flow_collection(&job->arena, slug, words_model(f->words)->model->name);
}

static int get_ready(struct flow *f, struct job *job, struct error *err)
{
    struct indexing *x = arena_alloc(&job->arena, sizeof *x);
    const struct event_indexing *in = &job->event.indexing;
    const struct flow_model *model;
    struct meta_tenant tenant;
    struct error why = {0};
    if (flow_model(f, in->model, &model, err) < 0 || job_media(f, job, &x->media, &x->gone, err) < 0)
        return -1;
    if (flow_tenant(f, &job->arena, job->event.tenant, &tenant, &why) < 0) {
        if (why.code != ERR_TENANT_UNKNOWN || !x->gone)
            return error_copy(err, &why);
        job->state = x; // the whole tenant went, its collections too
        return 0;
    }
    if (in->dimension != model->model->dimension)
        return error_set(err, ERR_EVENT_INVALID, "Model %s has %zu dimensions, the vector has %zu", model->model->name,
                         model->model->dimension, in->dimension);
    x->model = model;
    x->collection = job->collection = flow_collection(&job->arena, tenant.slug, model->model->name);
    read_labels(f, job, tenant.slug, x);
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
        const struct indexing *x = jobs[i]->state;
        payloads[i] = media_payload(&x->media, x->auto_tags);
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

static int upsert_words(struct flow *f, struct job *job, struct error *err)
{
    const struct indexing *x = job->state;
    size_t dimension = words_model(f->words)->model->dimension;
    float *vector = arena_alloc(&job->arena, dimension * sizeof *vector);
    if (words_of_labels(f, x->labels.at, x->labels.count, vector, err) < 0)
        return -1;
    _cleanup_json_ json_t *payload = media_payload(&x->media, x->auto_tags);
    const struct index_point point = {.id = job->event.media_id, .vector = vector, .payload = payload};
    if (f->index.ops->ensure(f->index.state, x->words, dimension, err) < 0)
        return -1;
    return f->index.ops->upsert(f->index.state, x->words, &point, 1, err);
}

// The places among words of jobs that are of one tenant.
static void place_among_words(struct flow *f, struct job *const *jobs, size_t count)
{
    struct error why = {0};
    const char *collection = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct indexing *x = jobs[i]->state;
        if (!x->words || jobs[i]->error.code)
            continue;
        collection = x->words;
        upsert_words(f, jobs[i], &jobs[i]->error);
    }
    if (!collection || f->index.ops->flush(f->index.state, collection, &why) == 0)
        return;
    for (size_t i = 0; i < count; i++)
        if (((struct indexing *)jobs[i]->state)->words && !jobs[i]->error.code)
            jobs[i]->error = why;
}

static void look_for_near(struct flow *f, struct job *const *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct indexing *x = jobs[i]->state;
        if (!jobs[i]->error.code)
            near_look(f, jobs[i], &x->media, x->model, x->collection, &x->near, &jobs[i]->error);
    }
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
    look_for_near(f, jobs, count);
    place_among_words(f, jobs, count);
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
            job_remove_vectors(f, job, NULL, &job->error); // the one among words, too
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
                                              .searchable_ms = now,
                                              .duplicate_of = media->alike_id,
                                              .duplicate_score = media->alike_score};
    return job_emit(f, job, &next, err);
}

// --- The models that an item is to be under

struct wanted {
    struct media media;
    const struct media_step *rows;
    size_t row_count;
    const char *models[FLOW_MODELS_MAX]; // all of which are in before it is completed
    size_t count;
};

static const struct media_step *row_of(const struct wanted *w, const char *step, const char *model)
{
    for (size_t i = 0; i < w->row_count; i++)
        if (strcmp(w->rows[i].step, step) == 0 && strcmp(w->rows[i].model, model) == 0)
            return &w->rows[i];
    return NULL;
}

static void want(struct wanted *w, const char *model)
{
    for (size_t i = 0; i < w->count; i++)
        if (strcmp(w->models[i], model) == 0)
            return;
    if (w->count < FLOW_MODELS_MAX)
        w->models[w->count++] = model;
}

// Asks for the vector that follows the one of this event. Its id is derived: asked for twice, it is made once.
static int ask_follower(struct flow *f, struct meta_tx *tx, struct job *job, const struct wanted *w,
                        const struct flow_model *model, struct error *err)
{
    struct event next;
    const char *name = model->model->name;
    const struct media_step *row = row_of(w, "vector_indexing", name);
    if (row && strcmp(row->status, MEDIA_STEP_REQUESTED) != 0)
        return 0;
    job_next_event(job, TOPIC_FEATURES_EXTRACTION, name, &next);
    extraction_ask(f, &job->arena, &w->media, model, job->priority, 0, &next);
    if (job_emit(f, job, &next, err) < 0)
        return -1;
    return row ? 0 : media_request(f, tx, &w->media, name, err);
}

// A rebuild may want more models of this item than it was uploaded for.
static int add_followers(struct flow *f, struct meta_tx *tx, struct job *job, struct wanted *w, struct error *err)
{
    const char *of = job->event.indexing.model;
    want(w, of);
    for (size_t i = 0; i < w->count; i++) {
        const char *next;
        const struct flow_model *model;
        bool gates;
        if (rebuild_follower(f, tx, &job->arena, &w->media, w->models[i], &next, &gates, err) < 0)
            return -1;
        if (!next || flow_model(f, next, &model, NULL) < 0)
            continue;
        if (strcmp(w->models[i], of) == 0 && ask_follower(f, tx, job, w, model, err) < 0)
            return -1;
        if (gates)
            want(w, next);
    }
    return 0;
}

static bool all_indexed(const struct wanted *w)
{
    for (size_t i = 0; i < w->count; i++) {
        const struct media_step *row = row_of(w, "vector_indexing", w->models[i]);
        if (!row || strcmp(row->status, "completed") != 0)
            return false;
    }
    return true;
}

int step_index_apply(struct flow *f, struct meta_tx *tx, struct job *job, struct error *err)
{
    struct indexing *x = job->state;
    struct wanted w = {.count = 0};
    struct media_step *rows;
    bool gone;
    job->emits = NULL; // apply may run again
    if (job_media_tx(f, tx, job, &w.media, &gone, err) < 0)
        return STEP_FAILED;
    if (gone != x->gone)
        return STEP_AGAIN;
    if (gone)
        return STEP_OK;
    enum near_outcome outcome;
    if (near_record_tx(f, tx, job, &w.media, &x->near, &outcome, err) < 0)
        return STEP_FAILED;
    if (outcome == NEAR_OUT)
        return STEP_OK;
    const struct media_patch patch = {.auto_tags = x->auto_tags};
    if (x->auto_tags && f->meta.ops->media_update(tx, w.media.tenant, w.media.id, &patch, err) < 0)
        return STEP_FAILED;
    if (f->meta.ops->step_list(tx, &job->arena, w.media.tenant, w.media.id, &rows, &w.row_count, err) < 0)
        return STEP_FAILED;
    w.rows = rows;
    w.count = media_models(&job->arena, &w.media, w.models);
    if (add_followers(f, tx, job, &w, err) < 0)
        return STEP_FAILED;
    if (w.media.completed_ms || !all_indexed(&w)) // it was announced before, or others are on their way
        return STEP_OK;
    return emit_completed(f, job, &w.media, rows, w.row_count, err);
}
