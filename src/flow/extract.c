// SPDX-License-Identifier: Apache-2.0
// Step extract: feature.extraction.requested → the model's vector → vector.indexing.requested.
//
// Pictures come from the pixel cache that prepare filled, or are decoded again from the original. Those of one model
// go through the extractor together. What a model with labels sees travels with the vector, as `autoTags` of its
// metadata. The details that copies of it are known by (closer.h) are kept with its record.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "flow/step.h"
#include "flow/words.h"
#include "media/details/details.h"

struct extraction {
    const struct flow_model *model;
    struct media media;
    bool gone;
    struct pixels pixels; // while work runs
    const void *details;
    size_t details_len; // 0: none are kept
};

const char *step_extract_shown(const struct job *job, const char **model)
{
    *model = job->event.extraction.model ? job->event.extraction.model : "";
    return "feature_extraction";
}

static int find_details(struct flow *f, struct job *job, struct error *err)
{
    struct extraction *x = job->state;
    struct details found;
    if (!f->settings.search_closer)
        return 0;
    if (details_find(&x->pixels, DETAILS_KEPT, &found, err) < 0)
        return -1;
    uint8_t *packed = arena_alloc(&job->arena, DETAILS_PACKED_MAX);
    x->details_len = details_pack(&found, packed);
    x->details = packed;
    return 0;
}

// Finds model, item and picture. On failure the job's error is set and it takes no further part.
static int get_ready(struct flow *f, struct job *job, struct error *err)
{
    struct extraction *x = arena_alloc(&job->arena, sizeof *x);
    job->state = x;
    const struct event_extraction *want = &job->event.extraction;
    if (flow_picture_model(f, want->model, &x->model, err) < 0)
        return -1;
    if (want->dimension && (size_t)want->dimension != x->model->model->dimension)
        return error_set(err, ERR_EVENT_INVALID, "Model %s gives %zu dimensions, the event expects %d",
                         x->model->model->name, x->model->model->dimension, want->dimension);
    if (job_media(f, job, &x->media, &x->gone, err) < 0)
        return -1;
    if (x->gone)
        return job_remove_vectors(f, job, x->model->model->name, err);
    return flow_pixels(f, &x->media, &x->pixels, err) < 0 ? -1 : find_details(f, job, err);
}

static int check_vector(const struct flow_model *model, const float *vector, struct error *err)
{
    double sum = 0;
    for (size_t i = 0; i < model->model->dimension; i++)
        sum += (double)vector[i] * vector[i];
    if (!isfinite(sum) || fabs(sum - 1) > 1e-3)
        return error_set(err, ERR_EXTRACTION_FAILED, "Model %s gave a vector that cannot be indexed (|v|² = %g)",
                         model->model->name, sum);
    return 0;
}

static int emit_vector(struct flow *f, struct job *job, const float *vector, const struct extractor_labels *labels,
                       double took_ms, struct error *err)
{
    const struct extraction *x = job->state;
    struct event next;
    if (check_vector(x->model, vector, err) < 0)
        return -1;
    job_next_event(job, TOPIC_VECTORS_INDEXING, x->model->model->name, &next);
    float *kept = arena_alloc(&job->arena, x->model->model->dimension * sizeof *kept);
    memcpy(kept, vector, x->model->model->dimension * sizeof *kept);
    json_t *image =
        job_hold(job, json_pack("{s:i,s:i,s:s,s:I}", "width", x->media.width, "height", x->media.height, "format",
                                x->media.format ? x->media.format : "", "sizeBytes", (json_int_t)x->media.size));
    if (labels)
        json_object_set_new(image, "autoTags", labels_json(labels));
    next.indexing = (struct event_indexing){.model = x->model->model->name,
                                            .version = x->model->model->version,
                                            .vector = kept,
                                            .dimension = x->model->model->dimension,
                                            .extracted_ms = clock_now_ms(),
                                            .processing_ms = took_ms,
                                            .metadata = image,
                                            .priority = job->event.extraction.priority};
    return job_emit(f, job, &next, err);
}

struct extracted {
    float *vectors;
    struct extractor_labels *labels; // NULL: the model has none
};

static int run_model(const struct flow_model *m, const struct pixels *pictures, size_t count, struct extracted *out,
                     struct error *err)
{
    const struct extractor *x = m->extractor;
    out->vectors = calloc(count * m->model->dimension, sizeof *out->vectors);
    out->labels = m->model->labels ? calloc(count, sizeof *out->labels) : NULL;
    if (!out->vectors || (m->model->labels && !out->labels))
        return error_set(err, ERR_NO_MEMORY, "No memory for %zu vectors", count);
    return x->ops->extract(x->state, m->model, pictures, count, out->vectors, out->labels, err);
}

// Extracts jobs[0 … count), all ready and of one model. When that fails, each is tried by itself, so that nobody spends
// an attempt on another's picture.
static void extract_together(struct flow *f, struct job *const *jobs, size_t count)
{
    const struct flow_model *model = ((struct extraction *)jobs[0]->state)->model;
    struct pixels pictures[64];
    for (size_t i = 0; i < count; i++)
        pictures[i] = ((struct extraction *)jobs[i]->state)->pixels;
    struct error why = {0};
    struct extracted made = {NULL, NULL};
    int64_t start = clock_mono_us();
    int rc = run_model(model, pictures, count, &made, &why);
    double took_ms = (double)(clock_mono_us() - start) / 1000 / (double)count;
    bool apart = rc < 0 && count > 1 && !why.outage;
    for (size_t i = 0; i < count; i++) {
        if (apart)
            extract_together(f, jobs + i, 1);
        else if (rc < 0)
            jobs[i]->error = why;
        else
            emit_vector(f, jobs[i], made.vectors + i * model->model->dimension, made.labels ? &made.labels[i] : NULL,
                        took_ms, &jobs[i]->error);
    }
    free(made.vectors);
    free(made.labels);
}

void step_extract_work(struct flow *f, struct job *const *jobs, size_t count)
{
    struct job *ready[64];
    size_t left = 0;
    for (size_t i = 0; i < count; i++)
        if (get_ready(f, jobs[i], &jobs[i]->error) == 0 && !((struct extraction *)jobs[i]->state)->gone)
            ready[left++] = jobs[i];
    while (left) { // the first one's model, with all that share it
        struct job *group[64] = {ready[0]};
        const struct flow_model *model = ((struct extraction *)ready[0]->state)->model;
        size_t grouped = 1, kept = 0;
        for (size_t i = 1; i < left; i++) {
            struct extraction *x = ready[i]->state;
            if (x->model == model && grouped < model->model->batch_max)
                group[grouped++] = ready[i];
            else
                ready[kept++] = ready[i];
        }
        extract_together(f, group, grouped);
        left = kept;
    }
    for (size_t i = 0; i < count; i++)
        if (jobs[i]->state)
            pixels_free(&((struct extraction *)jobs[i]->state)->pixels);
}

int step_extract_apply(struct flow *f, struct meta_tx *tx, struct job *job, struct error *err)
{
    const struct extraction *x = job->state;
    const struct meta_ops *meta = f->meta.ops;
    if (x->details_len && meta->details_put(tx, x->media.tenant, x->media.id, x->details, x->details_len, err) < 0)
        return STEP_FAILED;
    return STEP_OK;
}
