// SPDX-License-Identifier: Apache-2.0
// Models in folders: read (model_spec.c), each given a worker (worker.c) and a queue (batcher.c) in front of it. A
// picture is fitted here (picture.c), goes through the queue into the worker's shared memory, and comes back as numbers
// that are brought to length 1 and checked: no vector that is zero or no number leaves this file. Texts go their own
// way (text_side.c); a model may have either side or both.
#include "backends/extractor/extractor_openvino.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/extractor/batcher.h"
#include "backends/extractor/extractor_builtin.h"
#include "backends/extractor/labels.h"
#include "backends/extractor/model_spec.h"
#include "backends/extractor/picture.h"
#include "backends/extractor/text_side.h"
#include "backends/extractor/worker.h"
#include "base/cleanup.h"
#include "base/log.h"

enum { MODELS_MAX = 15, STREAMS = 2, BATCH_MAX = OPENVINO_BATCH_MAX };

struct loaded {
    struct model_spec spec; // of the side of pictures; of text when there is no other
    struct worker *worker;  // NULL: it takes no pictures
    struct text_side *text; // NULL: it takes no texts
    char **labels;          // NULL: none
    struct batcher *queue;
    size_t picture;                         // bytes of a fitted one
    size_t network;                         // numbers of its vector
    const struct extractor_model *mixed_in; // the built-in model; NULL: none
};

struct openvino {
    struct loaded loaded[MODELS_MAX];
    struct extractor_model models[MODELS_MAX];
    size_t count;
    void *builtin; // state of the built-in extractor
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

struct net_config openvino_net_config(const struct openvino_config *config)
{
    struct net_config net = {.threads = config->threads, .streams = config->streams, .batch_max = BATCH_MAX};
    snprintf(net.library, sizeof net.library, "%s", config->library);
    snprintf(net.cache, sizeof net.cache, "%s", config->cache);
    return net;
}

static int begin_pictures(struct loaded *l, const char *folder, const struct openvino_config *config, struct error *err)
{
    const struct net_config net = openvino_net_config(config);
    if (model_spec_read(folder, config->precision, &l->spec, err) < 0 ||
        (l->spec.label_count && model_labels_read(&l->spec, &l->labels, err) < 0))
        return -1;
    return worker_start(&l->spec, &net, config->program, &l->worker, err);
}

// Either side, or both. A side that is there and cannot be used is an error, also beside one that can.
static int begin_sides(struct loaded *l, const char *folder, const struct openvino_config *config, struct error *err)
{
    struct error pictures = {0}, text = {0};
    if (begin_pictures(l, folder, config, &pictures) < 0 && pictures.code != ERR_NOT_FOUND)
        return error_copy(err, &pictures);
    if (text_side_begin(folder, config, &l->text, &text) < 0 && text.code != ERR_NOT_FOUND)
        return error_copy(err, &text);
    if (!l->worker && !l->text)
        return error_copy(err, &pictures);
    if (!l->worker)
        l->spec = *text_side_spec(l->text);
    return 0;
}

static void end_model(struct loaded *l)
{
    batcher_free(l->queue);
    worker_stop(l->worker);
    text_side_free(l->text);
    free(l->labels);
    *l = (struct loaded){0};
}

static int check_name(const struct openvino *o, const struct loaded *l, const char *folder, struct error *err)
{
    for (size_t i = 0; i < o->count; i++)
        if (model_same_collection(o->loaded[i].spec.name, l->spec.name))
            return error_set(err, ERR_CONFIG, "Model %s in %.150s has the name of another one, %s", l->spec.name,
                             folder, o->loaded[i].spec.name);
    if (model_same_collection(l->spec.name, "builtin"))
        return error_set(err, ERR_CONFIG, "Model %s in %.150s has the name of the built-in one", l->spec.name, folder);
    return 0;
}

static int begin_model(struct openvino *o, const char *folder, const struct openvino_config *config, struct error *err)
{
    struct loaded *l = &o->loaded[o->count];
    if (begin_sides(l, folder, config, err) < 0 || check_name(o, l, folder, err) < 0) {
        end_model(l);
        return -1;
    }
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
    if (!l->worker)
        return;
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

static int both_ready(struct loaded *l, struct error *err)
{
    if ((l->worker && worker_ready(l->worker, err) < 0) || (l->text && text_side_ready(l->text, err) < 0))
        return -1;
    l->network = l->worker ? worker_dimension(l->worker) - l->spec.label_count : text_side_dimension(l->text);
    l->mixed_in = NULL;
    if (l->worker && l->text && text_side_dimension(l->text) != l->network)
        return error_set(err, ERR_CONFIG, "Model %s gives %zu numbers for a picture and %zu for a text", l->spec.name,
                         l->network, text_side_dimension(l->text));
    if (l->worker && l->text && l->spec.mix_builtin > 0)
        return error_set(err, ERR_CONFIG, "Model %s takes texts, so nothing can be mixed into its vectors",
                         l->spec.name);
    return 0;
}

// Waits for all of them; those that cannot be used are left out, with a reason.
static void end_all(struct openvino *o, const struct openvino_config *config)
{
    size_t kept = 0;
    bool said = false; // that OpenVINO is not there, once for all models
    for (size_t i = 0; i < o->count; i++) {
        struct error why = {0};
        struct loaded *l = &o->loaded[i];
        if (both_ready(l, &why) == 0) {
            o->loaded[kept++] = *l;
            continue;
        }
        if (why.code != ERR_UNAVAILABLE || !said)
            log_warn("models", "%s", why.message);
        said |= why.code == ERR_UNAVAILABLE;
        end_model(l);
    }
    memset(o->loaded + kept, 0, (MODELS_MAX - kept) * sizeof *o->loaded);
    o->count = kept;
    for (size_t i = 0; i < kept; i++) { // from here on none moves
        struct loaded *l = &o->loaded[i];
        make_queue(l, config);
        l->mixed_in = l->spec.mix_builtin > 0 ? extractor_builtin.models(o->builtin, &(size_t){0}) : NULL;
        o->models[i] = (struct extractor_model){
            .name = l->spec.name,
            .version = l->spec.version,
            .dimension = l->network + (l->mixed_in ? l->mixed_in->dimension : 0),
            .input_edge = l->spec.width > l->spec.height ? l->spec.width : l->spec.height,
            .batch_max = BATCH_MAX,
            .precision = model_precision_name(l->spec.precision),
            .licence = *l->spec.licence ? l->spec.licence : NULL,
            .source = *l->spec.source ? l->spec.source : NULL,
            .texts = l->text != NULL,
            .only_texts = !l->worker,
            .labels = l->labels != NULL,
            .duplicate_score = l->spec.duplicate_score,
        };
    }
}

struct openvino_config openvino_config_whole(const struct openvino_config *config)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    return (struct openvino_config){
        .models = config->models ? config->models : "",
        .library = config->library ? config->library : "",
        .cache = config->cache ? config->cache : "",
        .precision = config->precision && *config->precision ? config->precision : "auto",
        .program = config->program ? config->program : "",
        .threads = config->threads ? config->threads : (int)processors,
        .streams = config->streams ? config->streams : STREAMS,
    };
}

int extractor_openvino_open(const struct openvino_config *config, void **state, struct error *err)
{
    struct openvino *o = calloc(1, sizeof *o);
    if (!o)
        return error_set(err, ERR_NO_MEMORY, "No memory for the models");
    const struct openvino_config whole = openvino_config_whole(config);
    if (extractor_builtin.open("", &o->builtin, err) < 0) {
        free(o);
        return -1;
    }
    if (*whole.models && *whole.program) {
        begin_all(o, &whole);
        end_all(o, &whole);
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
    for (size_t i = 0; i < o->count; i++)
        end_model(&o->loaded[i]);
    extractor_builtin.close(o->builtin);
    free(o);
}

static const struct extractor_model *openvino_models(void *state, size_t *count)
{
    struct openvino *o = state;
    *count = o->count;
    return o->models;
}

// --- Extracting

static double length_of(const float *vector, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)vector[i] * vector[i];
    return sqrt(sum);
}

static void scale(float *vector, size_t count, double by)
{
    for (size_t i = 0; i < count; i++)
        vector[i] *= (float)by;
}

// Brings what the network gave to length 1.
static int normalise(const struct loaded *l, float *vector, struct error *err)
{
    double length = length_of(vector, l->network);
    if (!isfinite(length) || length < 1e-6)
        return error_set(err, ERR_EXTRACTION_FAILED, "Model %s gave a vector that is %s, which cannot be indexed",
                         l->spec.name, isfinite(length) ? "zero" : "no numbers");
    scale(vector, l->network, 1 / length);
    return 0;
}

// The whole vector of one picture: the network's numbers, and the descriptor's behind them when it is mixed in.
static int finish(const struct openvino *o, const struct loaded *l, const struct pixels *picture, const float *made,
                  float *vector, struct error *err)
{
    memcpy(vector, made, l->network * sizeof *made);
    if (normalise(l, vector, err) < 0)
        return -1;
    if (!l->mixed_in)
        return 0;
    if (extractor_builtin.extract(o->builtin, l->mixed_in, picture, 1, vector + l->network, NULL, err) < 0)
        return -1;
    double whole = sqrt(1 + (double)l->spec.mix_builtin * l->spec.mix_builtin);
    scale(vector, l->network, 1 / whole);
    scale(vector + l->network, l->mixed_in->dimension, l->spec.mix_builtin / whole);
    return 0;
}

static int extract(const struct openvino *o, const struct loaded *l, size_t dimension, const struct pixels *pictures,
                   size_t count, float *vectors, struct extractor_labels *labels, struct error *err)
{
    size_t row = l->network + l->spec.label_count;
    _cleanup_free_ uint8_t *fitted = malloc(count * l->picture);
    _cleanup_free_ float *made = malloc(count * row * sizeof *made);
    _cleanup_free_ float *whole = malloc(count * dimension * sizeof *whole);
    _cleanup_free_ struct extractor_labels *seen = calloc(count, sizeof *seen);
    if (!fitted || !made || !whole || !seen)
        return error_set(err, ERR_NO_MEMORY, "No memory for %zu pictures", count);
    for (size_t i = 0; i < count; i++)
        picture_fit(&pictures[i], &l->spec, fitted + i * l->picture);
    if (batcher_run(l->queue, fitted, count, made, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (finish(o, l, &pictures[i], made + i * row, whole + i * dimension, err) < 0 ||
            (labels && labels_choose(&l->spec, l->labels, made + i * row + l->network, &seen[i], err) < 0))
            return -1;
    memcpy(vectors, whole, count * dimension * sizeof *whole);
    if (labels)
        memcpy(labels, seen, count * sizeof *seen);
    return 0;
}

// The loaded model behind one that is offered; NULL: it is none of these, or cannot do what it is asked for.
static const struct loaded *find(const struct openvino *o, const struct extractor_model *model, bool can,
                                 struct error *err)
{
    for (size_t i = 0; i < o->count && can; i++)
        if (model == &o->models[i])
            return &o->loaded[i];
    error_set(err, ERR_EXTRACTION_FAILED, "A model was asked for what it does not offer");
    return NULL;
}

static int openvino_extract(void *state, const struct extractor_model *model, const struct pixels *pictures,
                            size_t count, float *vectors, struct extractor_labels *labels, struct error *err)
{
    const struct openvino *o = state;
    const struct loaded *l =
        find(o, model, count <= BATCH_MAX && !model->only_texts && (!labels || model->labels), err);
    if (!l)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (!pictures[i].data || pictures[i].width < 1 || pictures[i].height < 1)
            return error_set(err, ERR_EXTRACTION_FAILED, "Picture %zu of the batch has no pixels", i);
    return count ? extract(o, l, model->dimension, pictures, count, vectors, labels, err) : 0;
}

static int openvino_embed(void *state, const struct extractor_model *model, const char *const *texts, size_t count,
                          float *vectors, struct error *err)
{
    const struct loaded *l = find(state, model, model->texts, err);
    return l ? text_side_embed(l->text, texts, count, vectors, err) : -1;
}

const struct extractor_ops extractor_openvino = {
    .name = "openvino",
    .open = openvino_open,
    .close = openvino_close,
    .models = openvino_models,
    .extract = openvino_extract,
    .embed = openvino_embed,
};
