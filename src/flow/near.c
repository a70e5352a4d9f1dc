// SPDX-License-Identifier: Apache-2.0
// Near-duplicates in the index step: see near.h.
#include "flow/near.h"

#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "flow/rebuild.h"

// How hard to look: of pairs just at the score, all but one of 700 are found.
#define ACCURACY 0.5F

static const char *const policy_names[] = {[NEAR_KEEP] = "keep", [NEAR_LINK] = "link", [NEAR_REJECT] = "reject"};

const char *near_policy_name(enum near_policy policy)
{
    return policy_names[policy];
}

int near_policy_parse(const char *name, enum near_policy *out)
{
    for (size_t i = 0; i < ARRAY_LEN(policy_names); i++)
        if (strcmp(policy_names[i], name) == 0) {
            *out = (enum near_policy)i;
            return 0;
        }
    return -1;
}

enum near_policy near_policy_of(const struct media *media)
{
    enum near_policy policy = NEAR_KEEP;
    _cleanup_json_ json_t *options = js_parse(media->options, strlen(media->options), NULL);
    near_policy_parse(js_str(options, "duplicatePolicy", ""), &policy);
    return policy;
}

bool near_rejected(const struct media *media)
{
    return media->status == MEDIA_FAILED && media->error_code &&
           strcmp(media->error_code, error_code_name(ERR_NEAR_DUPLICATE)) == 0;
}

double near_score(const struct flow *f, const struct flow_model *model)
{
    double score = f->settings.duplicate_score > 0 ? f->settings.duplicate_score : model->model->duplicate_score;
    return score > 1 || model->model->only_texts ? 0 : score;
}

// --- Looking

// A frame is not compared with the others of its video, which would leave no room for anything else.
static int filter_of(const struct media *media, struct filter **out, struct error *err)
{
    _cleanup_json_ json_t *json = media->parent ? json_pack("{s:{s:s}}", "videoId", "not", media->parent) : NULL;
    return filter_parse(json, out, err);
}

int near_look(struct flow *f, struct job *job, const struct media *media, const struct flow_model *model,
              const char *collection, struct near_found *out, struct error *err)
{
    double least = near_score(f, model);
    struct filter *filter;
    struct index_hit *hits;
    size_t count, kept = 0;
    *out = (struct near_found){0};
    if (least <= 0)
        return 0;
    if (filter_of(media, &filter, err) < 0)
        return -1;
    const struct index_query query = {.vector = job->event.indexing.vector,
                                      .dimension = job->event.indexing.dimension,
                                      .k = NEAR_MAX + 1,
                                      .min_score = (float)least,
                                      .filter = filter,
                                      .accuracy = ACCURACY};
    int rc = f->index.ops->search(f->index.state, collection, &query, &job->arena, &hits, &count, err);
    filter_free(filter);
    if (rc < 0)
        return -1;
    struct near *at = arena_alloc(&job->arena, (count + 1) * sizeof *at);
    for (size_t i = 0; i < count; i++)
        if (strcmp(hits[i].id, job->event.media_id) != 0)
            at[kept++] = (struct near){hits[i].id, hits[i].score};
    *out = (struct near_found){at, kept};
    return 0;
}

// --- What was found, as it is now

struct other { // an upload that looks like the item
    struct media media;
    float score;
};

// 1: there is such an item for readers; 0: not (any more).
static int find_item(struct flow *f, struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id,
                     struct media *out, struct error *err)
{
    struct error why = {0};
    if (f->meta.ops->media_get(tx, arena, tenant, id, out, &why) < 0)
        return why.code == ERR_NOT_FOUND ? 0 : error_copy(err, &why);
    return out->status != MEDIA_DELETING && !near_rejected(out);
}

// The uploads behind the hits, each once, the best score first; those of the item itself are left out.
static int find_others(struct flow *f, struct meta_tx *tx, struct job *job, const char *self,
                       const struct near_found *found, struct other *out, size_t *count, struct error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < found->count; i++) {
        struct media media;
        int there = find_item(f, tx, &job->arena, job->event.tenant, found->at[i].id, &media, err);
        if (there > 0 && media.parent)
            there = find_item(f, tx, &job->arena, job->event.tenant, media.parent, &media, err);
        if (there < 0)
            return -1;
        bool seen = !there || strcmp(media.id, self) == 0;
        for (size_t j = 0; j < n && !seen; j++)
            seen = strcmp(out[j].media.id, media.id) == 0;
        if (!seen)
            out[n++] = (struct other){media, found->at[i].score};
    }
    *count = n;
    return 0;
}

// --- What becomes of it

static bool is_before(const struct media *a, const struct media *b)
{
    return a->uploaded_ms != b->uploaded_ms ? a->uploaded_ms < b->uploaded_ms : strcmp(a->id, b->id) < 0;
}

// The first upload among them that is no near-duplicate itself, nor failed; NULL: there is none.
static const struct other *original_of(const struct other *others, size_t count)
{
    const struct other *first = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct media *m = &others[i].media;
        if (m->status != MEDIA_FAILED && !m->alike_id && (!first || is_before(m, &first->media)))
            first = &others[i];
    }
    return first;
}

// Is it now that the item's policy is asked?
static bool is_asked(struct job *job, const struct media *media)
{
    const char *models[FLOW_MODELS_MAX];
    return !media->parent && strcmp(media->kind, "image") == 0 && !media->completed_ms && !media->alike_id &&
           media_models(&job->arena, media, models) > 0 && strcmp(models[0], job->event.indexing.model) == 0;
}

static int emit_rejection(struct flow *f, struct job *job, const struct media *media, const char *why,
                          struct error *err)
{
    static const char *const actions[] = {"delete_minio_files", "delete_qdrant_vectors"};
    struct event failed, removal;
    job_next_event(job, TOPIC_PROCESSING_FAILED, "duplicate", &failed);
    failed.failed = (struct event_failed){.code = error_code_name(ERR_NEAR_DUPLICATE),
                                          .message = why,
                                          .final = true,
                                          .attempt = job->event.attempt,
                                          .step = "vector_indexing",
                                          .model = job->event.indexing.model,
                                          .duplicate_of = media->alike_id,
                                          .duplicate_score = media->alike_score,
                                          .failed_ms = failed.timestamp_ms};
    job_next_event(job, TOPIC_IMAGES_MAINTENANCE, "duplicate", &removal);
    removal.maintenance = (struct event_maintenance){
        .type = "delete", .actions = actions, .action_count = ARRAY_LEN(actions), .requested_ms = removal.timestamp_ms};
    return job_emit(f, job, &failed, err) < 0 ? -1 : job_emit(f, job, &removal, err);
}

// Others may have found it in the index meanwhile, and joined it.
static int reject(struct flow *f, struct meta_tx *tx, struct job *job, const struct media *media, struct error *err)
{
    const char *model = job->event.indexing.model;
    const char *why = arena_printf(&job->arena, "It looks like %s, which is there already (score %.3f)",
                                   media->alike_id, media->alike_score);
    const struct media_patch patch = {.set_status = true,
                                      .status = MEDIA_FAILED,
                                      .error_code = error_code_name(ERR_NEAR_DUPLICATE),
                                      .error_message = why,
                                      .alike_id = media->alike_id,
                                      .alike_score = media->alike_score};
    const struct media_step row = {.step = "vector_indexing",
                                   .model = model,
                                   .status = "failed",
                                   .attempt = job->event.attempt,
                                   .started_ms = job->started_ms,
                                   .error_message = why};
    if (f->meta.ops->media_update(tx, media->tenant, media->id, &patch, err) < 0 ||
        f->meta.ops->step_put(tx, media->tenant, media->id, &row, err) < 0 ||
        f->meta.ops->alike_leave(tx, media->tenant, model, media->id, INT64_MAX, err) < 0)
        return -1;
    return emit_rejection(f, job, media, why, err);
}

static int follow_policy(struct flow *f, struct meta_tx *tx, struct job *job, struct media *media,
                         const struct other *original, enum near_outcome *out, struct error *err)
{
    enum near_policy policy = near_policy_of(media);
    if (policy == NEAR_KEEP)
        return 0;
    media->alike_id = original->media.id;
    media->alike_score = (double)original->score;
    *out = policy == NEAR_REJECT ? NEAR_OUT : NEAR_LINKED;
    if (policy == NEAR_REJECT)
        return reject(f, tx, job, media, err);
    const struct media_patch patch = {.alike_id = media->alike_id, .alike_score = media->alike_score};
    return f->meta.ops->media_update(tx, media->tenant, media->id, &patch, err);
}

static int join(struct flow *f, struct meta_tx *tx, struct job *job, const char *self, const struct other *others,
                size_t count, struct error *err)
{
    for (size_t i = 0; i < count; i++)
        if (f->meta.ops->alike_join(tx, job->event.tenant, job->event.indexing.model, self, others[i].media.id,
                                    (double)others[i].score, err) < 0)
            return -1;
    return 0;
}

// In a reindex, what was joined before it is left.
static int begin_anew(struct flow *f, struct meta_tx *tx, struct job *job, const struct media *media, const char *self,
                      struct error *err)
{
    int64_t since = 0;
    const char *model = job->event.indexing.model;
    if (!media->completed_ms)
        return 0;
    if (rebuild_reindex_since(f, tx, &job->arena, media->tenant, model, &since, err) < 0)
        return -1;
    return since ? f->meta.ops->alike_leave(tx, media->tenant, model, self, since, err) : 0;
}

int near_record_tx(struct flow *f, struct meta_tx *tx, struct job *job, struct media *media,
                   const struct near_found *found, enum near_outcome *out, struct error *err)
{
    struct other *others = arena_alloc(&job->arena, (found->count + 1) * sizeof *others);
    const char *self = media->parent ? media->parent : media->id;
    size_t count;
    *out = NEAR_NONE;
    if (begin_anew(f, tx, job, media, self, err) < 0)
        return -1;
    if (!found->count)
        return 0;
    if (find_others(f, tx, job, self, found, others, &count, err) < 0)
        return -1;
    const struct other *original = is_asked(job, media) ? original_of(others, count) : NULL;
    if (original && follow_policy(f, tx, job, media, original, out, err) < 0)
        return -1;
    return *out == NEAR_OUT ? 0 : join(f, tx, job, self, others, count, err);
}
