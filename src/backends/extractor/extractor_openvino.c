// SPDX-License-Identifier: Apache-2.0
// Models in folders: read (model_spec.c), each given a worker (worker.c) and a queue (batcher.c) in front of it. A
// picture is fitted here (picture.c), goes through the queue into the worker's shared memory, and comes back as numbers
// that are brought to length 1 and checked: no vector that is zero or no number leaves this file.
#include "backends/extractor/extractor_openvino.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/extractor/batcher.h"
#include "backends/extractor/model_spec.h"
#include "backends/extractor/picture.h"
#include "backends/extractor/worker.h"
#include "base/cleanup.h"
#include "base/log.h"

enum { MODELS_MAX = 15, BATCH_MAX = 8, STREAMS = 2 };

struct loaded {
    struct model_spec spec;
    struct worker *worker;
    struct batcher *queue;
    size_t picture; // bytes of a fitted one
};

struct openvino {
    struct loaded loaded[MODELS_MAX];
    struct extractor_model models[MODELS_MAX];
    size_t count;
};

static uint8_t *pictures_of(void *model, int stream)
{
    return worker_pictures(((struct loaded *)model)->worker, stream);
}

static int run_of(void *model, int stream, size_t count, struct error *err)
{
    return worker_run(((struct loaded *)model)->worker, stream, count, err);
}

static const float *vectors_of(void *model, int stream)
{
    return worker_vectors(((struct loaded *)model)->worker, stream);
}

// --- Opening

// Two names that differ only in punctuation would share the collection of their vectors.
static bool same_collection(const char *a, const char *b)
{
    while (true) {
        a += strspn(a, "._-");
        b += strspn(b, "._-");
        if (*a != *b)
            return false;
        if (!*a)
            return true;
        a++;
        b++;
    }
}

static int begin_model(struct openvino *o, const char *folder, const struct openvino_config *config, struct error *err)
{
    struct loaded *l = &o->loaded[o->count];
    if (model_spec_read(folder, config->precision, &l->spec, err) < 0)
        return -1;
    for (size_t i = 0; i < o->count; i++)
        if (same_collection(o->loaded[i].spec.name, l->spec.name))
            return error_set(err, ERR_CONFIG, "Model %s in %.150s has the name of another one, %s", l->spec.name,
                             folder, o->loaded[i].spec.name);
    if (same_collection(l->spec.name, "builtin"))
        return error_set(err, ERR_CONFIG, "Model %s in %.150s has the name of the built-in one", l->spec.name, folder);
    struct net_config net = {.threads = config->threads, .streams = config->streams, .batch_max = BATCH_MAX};
    snprintf(net.library, sizeof net.library, "%s", config->library);
    snprintf(net.cache, sizeof net.cache, "%s", config->cache);
    if (worker_start(&l->spec, &net, config->program, &l->worker, err) < 0)
        return -1;
    o->count++;
    return 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void begin_all(struct openvino *o, const struct openvino_config *config)
{
    struct dirent **entries = NULL;
    int count = scandir(config->models, &entries, NULL, by_name);
    for (int i = 0; i < count; i++) {
        _cleanup_free_ char *folder = NULL;
        struct error why = {0};
        if (*entries[i]->d_name != '.' && asprintf(&folder, "%s/%s", config->models, entries[i]->d_name) >= 0) {
            if (o->count == MODELS_MAX)
                log_warn("models", "%s is left out: there may be %d models", folder, MODELS_MAX);
            else if (begin_model(o, folder, config, &why) < 0 && why.code != ERR_NOT_FOUND)
                log_warn("models", "%s", why.message);
        }
        free(entries[i]);
    }
    free(entries);
}

static void make_queue(struct loaded *l, const struct openvino_config *config)
{
    l->picture = (size_t)l->spec.width * (size_t)l->spec.height * 3;
    const struct batcher_config queue = {.streams = config->streams,
                                         .batch_max = BATCH_MAX,
                                         .picture = l->picture,
                                         .dimension = worker_dimension(l->worker),
                                         .model = l,
                                         .pictures = pictures_of,
                                         .run = run_of,
                                         .vectors = vectors_of};
    l->queue = batcher_new(&queue);
}

// Waits for all of them; those that cannot be used are left out, with a reason.
static void end_all(struct openvino *o, const struct openvino_config *config)
{
    size_t kept = 0;
    bool said = false; // that OpenVINO is not there, once for all models
    for (size_t i = 0; i < o->count; i++) {
        struct error why = {0};
        struct loaded *l = &o->loaded[i];
        if (worker_ready(l->worker, &why) == 0) {
            o->loaded[kept++] = *l;
            continue;
        }
        if (why.code != ERR_UNAVAILABLE || !said)
            log_warn("models", "%s", why.message);
        said |= why.code == ERR_UNAVAILABLE;
        worker_stop(l->worker);
    }
    memset(o->loaded + kept, 0, (MODELS_MAX - kept) * sizeof *o->loaded);
    o->count = kept;
    for (size_t i = 0; i < kept; i++) { // from here on none moves
        struct loaded *l = &o->loaded[i];
        make_queue(l, config);
        o->models[i] = (struct extractor_model){
            .name = l->spec.name,
            .version = l->spec.version,
            .dimension = worker_dimension(l->worker),
            .input_edge = l->spec.width > l->spec.height ? l->spec.width : l->spec.height,
            .batch_max = BATCH_MAX,
        };
    }
}

int extractor_openvino_open(const struct openvino_config *config, void **state, struct error *err)
{
    struct openvino *o = calloc(1, sizeof *o);
    if (!o)
        return error_set(err, ERR_NO_MEMORY, "No memory for the models");
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct openvino_config all = {
        .models = config->models ? config->models : "",
        .library = config->library ? config->library : "",
        .cache = config->cache ? config->cache : "",
        .precision = config->precision && *config->precision ? config->precision : "auto",
        .program = config->program ? config->program : "",
        .threads = config->threads ? config->threads : (int)processors,
        .streams = config->streams ? config->streams : STREAMS,
    };
    if (*all.models && *all.program) {
        begin_all(o, &all);
        end_all(o, &all);
    }
    *state = o;
    return 0;
}

static int openvino_open(const char *location, void **state, struct error *err)
{
    const struct openvino_config config = {0};
    return extractor_openvino_open(&config, state, err);
}

static void openvino_close(void *state)
{
    struct openvino *o = state;
    for (size_t i = 0; i < o->count; i++) {
        batcher_free(o->loaded[i].queue);
        worker_stop(o->loaded[i].worker);
    }
    free(o);
}

static const struct extractor_model *openvino_models(void *state, size_t *count)
{
    struct openvino *o = state;
    *count = o->count;
    return o->models;
}

// --- Extracting

// Brings a vector to length 1.
static int finish(const struct loaded *l, float *vector, struct error *err)
{
    size_t dimension = worker_dimension(l->worker);
    double sum = 0;
    for (size_t i = 0; i < dimension; i++)
        sum += (double)vector[i] * vector[i];
    if (!isfinite(sum) || sum < 1e-12)
        return error_set(err, ERR_EXTRACTION_FAILED, "Model %s gave a vector that is %s, which cannot be indexed",
                         l->spec.name, isfinite(sum) ? "zero" : "no numbers");
    float scale = (float)(1 / sqrt(sum));
    for (size_t i = 0; i < dimension; i++)
        vector[i] *= scale;
    return 0;
}

static int extract(struct loaded *l, const struct pixels *pictures, size_t count, float *vectors, struct error *err)
{
    size_t dimension = worker_dimension(l->worker);
    _cleanup_free_ uint8_t *fitted = malloc(count * l->picture);
    _cleanup_free_ float *made = malloc(count * dimension * sizeof *made);
    if (!fitted || !made)
        return error_set(err, ERR_NO_MEMORY, "No memory for %zu pictures", count);
    for (size_t i = 0; i < count; i++)
        picture_fit(&pictures[i], &l->spec, fitted + i * l->picture);
    if (batcher_run(l->queue, fitted, count, made, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (finish(l, made + i * dimension, err) < 0)
            return -1;
    memcpy(vectors, made, count * dimension * sizeof *made);
    return 0;
}

static int openvino_extract(void *state, const struct extractor_model *model, const struct pixels *pictures,
                            size_t count, float *vectors, struct error *err)
{
    struct openvino *o = state;
    size_t which = 0;
    while (which < o->count && model != &o->models[which])
        which++;
    if (which == o->count || count > BATCH_MAX)
        return error_set(err, ERR_EXTRACTION_FAILED, "A model was asked for what it does not offer");
    for (size_t i = 0; i < count; i++)
        if (!pictures[i].data || pictures[i].width < 1 || pictures[i].height < 1)
            return error_set(err, ERR_EXTRACTION_FAILED, "Picture %zu of the batch has no pixels", i);
    return count ? extract(&o->loaded[which], pictures, count, vectors, err) : 0;
}

const struct extractor_ops extractor_openvino = {
    .name = "openvino",
    .open = openvino_open,
    .close = openvino_close,
    .models = openvino_models,
    .extract = openvino_extract,
};
