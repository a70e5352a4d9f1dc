// SPDX-License-Identifier: Apache-2.0
// Several extractors as one: see extractor_union.h.
#include "backends/extractor/extractor_union.h"

#include <stdlib.h>

struct joined {
    struct extractor parts[UNION_PARTS_MAX];
    size_t part_count;
    struct extractor_model models[UNION_MODELS_MAX]; // copies; what they are of:
    const struct extractor_model *originals[UNION_MODELS_MAX];
    const struct extractor *owners[UNION_MODELS_MAX];
    size_t count;
};

static void union_close(void *state)
{
    struct joined *j = state;
    for (size_t i = 0; i < j->part_count; i++)
        j->parts[i].ops->close(j->parts[i].state);
    free(j);
}

static const struct extractor_model *union_models(void *state, size_t *count)
{
    struct joined *j = state;
    *count = j->count;
    return j->models;
}

static int union_health(void *state, struct error *err)
{
    struct joined *j = state;
    for (size_t i = 0; i < j->part_count; i++)
        if (j->parts[i].ops->health && j->parts[i].ops->health(j->parts[i].state, err) < 0)
            return -1;
    return 0;
}

// Where the model is from; NULL: it is none of these.
static const struct extractor *owner(const struct joined *j, const struct extractor_model *model,
                                     const struct extractor_model **original, struct error *err)
{
    for (size_t i = 0; i < j->count; i++)
        if (model == &j->models[i]) {
            *original = j->originals[i];
            return j->owners[i];
        }
    error_set(err, ERR_EXTRACTION_FAILED, "An extractor was asked for a model that it does not offer");
    return NULL;
}

static int union_extract(void *state, const struct extractor_model *model, const struct pixels *pictures, size_t count,
                         float *vectors, struct extractor_labels *labels, struct error *err)
{
    const struct extractor *x = owner(state, model, &model, err);
    return x ? x->ops->extract(x->state, model, pictures, count, vectors, labels, err) : -1;
}

static int union_embed(void *state, const struct extractor_model *model, const char *const *texts, size_t count,
                       float *vectors, struct error *err)
{
    const struct extractor *x = owner(state, model, &model, err);
    return x ? x->ops->embed(x->state, model, texts, count, vectors, err) : -1;
}

static const struct extractor_ops union_ops = {
    .name = "union",
    .close = union_close,
    .models = union_models,
    .health = union_health,
    .extract = union_extract,
    .embed = union_embed,
};

struct extractor extractor_union_new(const struct extractor *parts, size_t count)
{
    struct joined *j = calloc(1, sizeof *j);
    if (!j || count > UNION_PARTS_MAX)
        abort(); // a handful, named by the registry
    for (size_t i = 0; i < count; i++) {
        const struct extractor *part = &j->parts[j->part_count];
        j->parts[j->part_count++] = parts[i];
        size_t models;
        const struct extractor_model *offered = part->ops->models(part->state, &models);
        for (size_t m = 0; m < models && j->count < UNION_MODELS_MAX; m++, j->count++) {
            j->models[j->count] = offered[m];
            j->originals[j->count] = &offered[m];
            j->owners[j->count] = part;
        }
    }
    return (struct extractor){.ops = &union_ops, .state = j};
}
