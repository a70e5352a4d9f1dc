// SPDX-License-Identifier: Apache-2.0
// Labels → sentences → one vector: see words.h.
//
// Sentences of labels are embedded when they are first needed and kept: there are as many as the models have labels.
#include "flow/words.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/js.h"

enum { KEPT_MAX = 8192, KEPT_SLOTS = 2 * KEPT_MAX, LABEL_MAX = 255, SHOWN_MAX = 5 };
#define SENTENCE "a photo of a %s"
#define SHOWN_LEAST 0.1f

struct words {
    const struct flow_model *model;
    const struct flow_model *labeller; // NULL: no model names what it sees
    pthread_mutex_t lock;              // of what is below
    struct arena arena;
    struct kept {
        const char *name; // NULL: free
        float *vector;
    } kept[KEPT_SLOTS];
    size_t count;
};

void words_open(struct flow *f)
{
    const struct flow_model *texts = NULL, *labeller = NULL;
    for (size_t i = 0; i < f->model_count; i++) {
        if (!texts && f->models[i].model->only_texts)
            texts = &f->models[i];
        if (!labeller && f->models[i].model->labels)
            labeller = &f->models[i];
    }
    if (!texts)
        return;
    struct words *w = calloc(1, sizeof *w);
    if (!w)
        abort();
    w->model = texts;
    w->labeller = labeller;
    pthread_mutex_init(&w->lock, NULL);
    f->words = w;
}

void words_close(struct words *w)
{
    if (!w)
        return;
    pthread_mutex_destroy(&w->lock);
    arena_free(&w->arena);
    free(w);
}

const struct flow_model *words_model(const struct words *w)
{
    return w->model;
}

int words_model_for(struct flow *f, const char *tenant, const char *name, const struct flow_model **out,
                    struct error *err)
{
    const struct flow_model *model;
    if (flow_model_for(f, tenant, name, &model, err) < 0)
        return -1;
    if (!model->model->texts && name && *name)
        return error_set(err, ERR_INVALID, "Model %s takes no texts%s", model->model->name,
                         f->words ? "; leave `model` out to search by words" : "");
    if (!model->model->texts && !f->words)
        return error_set(err, ERR_MODEL_UNKNOWN,
                         "There is no model here that understands words; `make models` gets one, and a server started "
                         "after that uses it for what is uploaded from then on");
    *out = model->model->texts ? model : f->words->model;
    return 0;
}

// --- Vectors of labels

static struct kept *slot_of(struct words *w, const char *name)
{
    size_t i = hash64(name, strlen(name)) % KEPT_SLOTS;
    while (w->kept[i].name && strcmp(w->kept[i].name, name) != 0)
        i = (i + 1) % KEPT_SLOTS;
    return &w->kept[i];
}

static bool get_kept(struct words *w, const char *name, float *out)
{
    size_t dimension = w->model->model->dimension;
    pthread_mutex_lock(&w->lock);
    const struct kept *slot = slot_of(w, name);
    if (slot->name)
        memcpy(out, slot->vector, dimension * sizeof *out);
    bool found = slot->name != NULL;
    pthread_mutex_unlock(&w->lock);
    return found;
}

static void keep(struct words *w, const char *name, const float *vector)
{
    size_t bytes = w->model->model->dimension * sizeof *vector;
    pthread_mutex_lock(&w->lock);
    struct kept *slot = slot_of(w, name);
    if (!slot->name && w->count < KEPT_MAX) { // somebody else may have been first
        slot->vector = memcpy(arena_alloc(&w->arena, bytes), vector, bytes);
        slot->name = arena_strdup(&w->arena, name);
        w->count++;
    }
    pthread_mutex_unlock(&w->lock);
}

// Writes count × dimension numbers.
static int label_vectors(struct words *w, const struct extractor_label *labels, size_t count, float *vectors,
                         struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    const char *sentences[EXTRACTOR_LABELS];
    size_t missing[EXTRACTOR_LABELS], missed = 0, dimension = w->model->model->dimension;
    for (size_t i = 0; i < count; i++)
        if (!get_kept(w, labels[i].name, vectors + i * dimension)) {
            sentences[missed] = arena_printf(&arena, SENTENCE, labels[i].name);
            missing[missed++] = i;
        }
    if (!missed)
        return 0;
    const struct extractor *x = w->model->extractor;
    float *fresh = arena_alloc(&arena, missed * dimension * sizeof *fresh);
    if (x->ops->embed(x->state, w->model->model, sentences, missed, fresh, err) < 0)
        return -1;
    for (size_t i = 0; i < missed; i++) {
        memcpy(vectors + missing[i] * dimension, fresh + i * dimension, dimension * sizeof *fresh);
        keep(w, labels[missing[i]].name, fresh + i * dimension);
    }
    return 0;
}

int words_of_labels(struct flow *f, const struct extractor_label *labels, size_t count, float *vector,
                    struct error *err)
{
    struct words *w = f->words;
    size_t dimension = w->model->model->dimension;
    _cleanup_free_ float *vectors = malloc(count * dimension * sizeof *vectors);
    _cleanup_free_ double *sum = calloc(dimension, sizeof *sum);
    double length = 0;
    if (!vectors || !sum)
        return error_set(err, ERR_NO_MEMORY, "No memory for the vectors of labels");
    if (label_vectors(w, labels, count, vectors, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < dimension; j++)
            sum[j] += sqrt((double)labels[i].share) * vectors[i * dimension + j];
    for (size_t j = 0; j < dimension; j++)
        length += sum[j] * sum[j];
    if (!isfinite(length) || length < 1e-30)
        return error_set(err, ERR_EXTRACTION_FAILED, "The labels of a picture have no meaning together");
    for (size_t j = 0; j < dimension; j++)
        vector[j] = (float)(sum[j] / sqrt(length));
    return 0;
}

int words_of_picture(struct flow *f, const struct pixels *picture, float *vector, struct error *err)
{
    const struct flow_model *m = f->words->labeller;
    struct extractor_labels labels;
    if (!m)
        return error_set(err, ERR_MODEL_UNKNOWN, "There is no model here that names what a picture shows");
    _cleanup_free_ float *unused = malloc(m->model->dimension * sizeof *unused);
    if (!unused)
        return error_set(err, ERR_NO_MEMORY, "No memory for a vector");
    if (m->extractor->ops->extract(m->extractor->state, m->model, picture, 1, unused, &labels, err) < 0)
        return -1;
    return words_of_labels(f, labels.at, labels.count, vector, err);
}

// --- Labels in events

static json_t *label_json(const struct extractor_label *label)
{
    return json_pack("{s:s,s:f}", "name", label->name, "score", (double)label->share);
}

json_t *labels_json(const struct extractor_labels *labels)
{
    json_t *array = json_array();
    for (size_t i = 0; i < labels->count; i++)
        json_array_append_new(array, label_json(&labels->at[i]));
    return array;
}

void labels_read(const json_t *array, struct extractor_labels *out)
{
    size_t i;
    json_t *one;
    *out = (struct extractor_labels){0};
    json_array_foreach(array, i, one)
    {
        const char *name = js_str(one, "name", "");
        double score = js_num(one, "score", 0);
        if (out->count < EXTRACTOR_LABELS && *name && strlen(name) <= LABEL_MAX && score > 0 && score <= 1)
            out->at[out->count++] = (struct extractor_label){name, (float)score};
    }
}

json_t *labels_shown(const struct extractor_labels *labels)
{
    json_t *array = json_array();
    for (size_t i = 0; i < labels->count && json_array_size(array) < SHOWN_MAX; i++)
        if (labels->at[i].share >= SHOWN_LEAST)
            json_array_append_new(array, label_json(&labels->at[i]));
    if (json_array_size(array))
        return array;
    json_decref(array);
    return NULL;
}
