// SPDX-License-Identifier: Apache-2.0
// Models that services run: read (remote_spec.c), each with its service (remote_service.c). What is said to it stands
// in remote_features.c and remote_v2.c. Pictures for tensors go through a queue (batcher.c) that makes batches of them,
// as for models that run here; files are sent one a request, those of a call at once. Every vector is checked and
// brought to length 1 here: none that is zero or no numbers leaves this file.
#include "backends/extractor/extractor_http.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/extractor/batcher.h"
#include "backends/extractor/picture.h"
#include "backends/extractor/remote_service.h"
#include "backends/extractor/remote_wire.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"

enum { MODELS_MAX = 16, BODY_MAX = 1 << 30 };

struct remote {
    struct remote_spec spec;
    struct service *service;
    // Of tensors
    struct batcher *queue; // NULL: files are sent
    struct tensor_text *text;
    size_t picture; // bytes of a fitted one
    uint8_t *pictures[REMOTE_STREAMS_MAX];
    float *vectors[REMOTE_STREAMS_MAX];
};

struct http {
    struct remote remotes[MODELS_MAX];
    struct extractor_model models[MODELS_MAX];
    size_t count;
};

// ---- Tensors: what the queue calls

static uint8_t *pictures_of(void *model, int stream)
{
    return ((struct remote *)model)->pictures[stream];
}

static const float *vectors_of(void *model, int stream)
{
    return ((struct remote *)model)->vectors[stream];
}

static int run_tensor(void *model, int stream, size_t count, struct error *err)
{
    struct remote *r = model;
    uint64_t hashes[REMOTE_BATCH_MAX];
    char path[512];
    _cleanup_buf_ struct buf body = BUF_INIT(BODY_MAX);
    for (size_t i = 0; i < count; i++)
        hashes[i] = hash64(r->pictures[stream] + i * r->picture, r->picture);
    tensor_path(&r->spec, path, sizeof path);
    tensor_write(&r->spec, r->text, r->pictures[stream], count, &body);
    if (body.failed)
        return error_set(err, ERR_NO_MEMORY, "No memory for %zu pictures", count);
    struct call call = {.path = path,
                        .content_type = "application/json",
                        .body = body.data,
                        .len = body.len,
                        .answer_max = remote_answer_max(&r->spec, count)};
    const struct service_work work = {hashes, count};
    int rc = service_send(r->service, &call, &work, 1, err);
    if (rc == 0)
        rc = tensor_read(&r->spec, &call.answer, count, r->vectors[stream], err);
    buf_free(&call.answer);
    return rc;
}

static int make_queue(struct remote *r, struct error *err)
{
    const struct remote_spec *s = &r->spec;
    r->picture = (size_t)s->model.width * (size_t)s->model.height * 3;
    r->text = malloc(sizeof *r->text);
    bool whole = r->text != NULL;
    for (int i = 0; i < s->streams; i++) {
        r->pictures[i] = malloc((size_t)s->batch * r->picture);
        r->vectors[i] = calloc((size_t)s->batch * s->model.dimension, sizeof(float));
        whole = whole && r->pictures[i] && r->vectors[i];
    }
    if (!whole)
        return error_set(err, ERR_NO_MEMORY, "No memory for the batches of model %s", s->model.name);
    tensor_text_make(s, r->text);
    const struct batcher_config queue = {.streams = s->streams,
                                         .batch_max = (size_t)s->batch,
                                         .picture = r->picture,
                                         .dimension = s->model.dimension,
                                         .model = r,
                                         .pictures = pictures_of,
                                         .run = run_tensor,
                                         .vectors = vectors_of};
    r->queue = batcher_new(&queue);
    return 0;
}

// ---- Opening

static void end_remote(struct remote *r)
{
    batcher_free(r->queue);
    service_free(r->service);
    free(r->text);
    for (int i = 0; i < REMOTE_STREAMS_MAX; i++) {
        free(r->pictures[i]);
        free(r->vectors[i]);
    }
    *r = (struct remote){0};
}

static struct extractor_model describe(const struct remote_spec *s)
{
    int edge = s->model.width > s->model.height ? s->model.width : s->model.height;
    return (struct extractor_model){
        .name = s->model.name,
        .version = s->model.version,
        .dimension = s->model.dimension,
        .input_edge = edge,
        .batch_max = (size_t)s->batch,
        .licence = *s->model.licence ? s->model.licence : NULL,
        .source = *s->model.source ? s->model.source : s->url,
        .duplicate_score = s->model.duplicate_score,
    };
}

static int begin_remote(struct remote *r, const char *folder, const struct http_extractor_config *c, struct error *err)
{
    const struct service_config service = {
        .token = c->token ? c->token : "", .ca_file = c->ca_file ? c->ca_file : "", .timeout_ms = c->timeout_ms};
    if (remote_spec_read(folder, &r->spec, err) < 0)
        return -1;
    if (service_new(&r->spec, &service, &r->service, err) < 0 ||
        (r->spec.protocol == REMOTE_V2 && make_queue(r, err) < 0)) {
        end_remote(r);
        return -1;
    }
    return 0;
}

static int check_name(const struct http *h, const char *name, const struct http_extractor_config *c, struct error *err)
{
    for (size_t i = 0; i < c->taken_count; i++)
        if (model_same_collection(c->taken[i].name, name))
            return error_set(err, ERR_CONFIG, "The model %s that a service runs has the name of another one, %s", name,
                             c->taken[i].name);
    for (size_t i = 0; i < h->count; i++)
        if (model_same_collection(h->models[i].name, name))
            return error_set(err, ERR_CONFIG, "The model %s that a service runs has the name of another one, %s", name,
                             h->models[i].name);
    return 0;
}

static int add(struct http *h, const char *folder, const struct http_extractor_config *c, struct error *err)
{
    struct remote *r = &h->remotes[h->count];
    if (begin_remote(r, folder, c, err) < 0)
        return -1;
    if (check_name(h, r->spec.model.name, c, err) < 0) {
        end_remote(r);
        return -1;
    }
    h->models[h->count++] = describe(&r->spec);
    return 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

int extractor_http_open(const struct http_extractor_config *config, void **state, struct error *err)
{
    struct http *h = calloc(1, sizeof *h);
    struct dirent **entries = NULL;
    if (!h)
        return error_set(err, ERR_NO_MEMORY, "No memory for the models");
    int count = config->models && *config->models ? scandir(config->models, &entries, NULL, by_name) : 0;
    for (int i = 0; i < count; i++) {
        _cleanup_free_ char *folder = NULL;
        struct error why = {0};
        if (*entries[i]->d_name != '.' && asprintf(&folder, "%s/%s", config->models, entries[i]->d_name) >= 0) {
            if (h->count + config->taken_count >= MODELS_MAX)
                log_warn("models", "%s is left out: there may be %d models", folder, MODELS_MAX);
            else if (add(h, folder, config, &why) < 0 && why.code != ERR_NOT_FOUND)
                log_warn("models", "%s", why.message);
        }
        free(entries[i]);
    }
    free(entries);
    *state = h;
    return 0;
}

static int http_open(const char *location, void **state, struct error *err)
{
    const struct http_extractor_config config = {0};
    return extractor_http_open(&config, state, err);
}

static void http_close(void *state)
{
    struct http *h = state;
    for (size_t i = 0; i < h->count; i++)
        end_remote(&h->remotes[i]);
    free(h);
}

static const struct extractor_model *http_models(void *state, size_t *count)
{
    struct http *h = state;
    *count = h->count;
    return h->models;
}

static int http_health(void *state, struct error *err)
{
    struct http *h = state;
    for (size_t i = 0; i < h->count; i++)
        if (service_health(h->remotes[i].service, err) < 0)
            return -1;
    return 0;
}

// ---- Extracting

static int send_tensors(struct remote *r, const struct pixels *pictures, size_t count, float *vectors,
                        struct error *err)
{
    _cleanup_free_ uint8_t *fitted = malloc(count * r->picture);
    if (!fitted)
        return error_set(err, ERR_NO_MEMORY, "No memory for %zu pictures", count);
    for (size_t i = 0; i < count; i++)
        picture_fit(&pictures[i], &r->spec.model, fitted + i * r->picture);
    return batcher_run(r->queue, fitted, count, vectors, err);
}

static int take_features(struct remote *r, const struct buf *answer, float *vector, struct error *err)
{
    struct features_said said;
    if (features_read(&r->spec, answer, vector, &said, err) < 0)
        return -1;
    if (*r->spec.name && *said.name && strcmp(r->spec.name, said.name) != 0)
        return service_unlike(r->service, "the model", said.name, r->spec.name, err);
    if (*r->spec.version && strcmp(r->spec.version, said.version) != 0)
        return service_unlike(r->service, "version", *said.version ? said.version : "unknown", r->spec.version, err);
    return 0;
}

struct upload { // of a file
    struct buf body;
    char type[REMOTE_TYPE_MAX];
    uint64_t hash;
};

static int send_uploads(struct remote *r, const struct upload *uploads, size_t count, float *vectors, struct error *err)
{
    struct call calls[REMOTE_BATCH_MAX];
    struct service_work work[REMOTE_BATCH_MAX] = {0};
    for (size_t i = 0; i < count; i++) {
        calls[i] = (struct call){.path = "/extract-features",
                                 .content_type = uploads[i].type,
                                 .body = uploads[i].body.data,
                                 .len = uploads[i].body.len,
                                 .answer_max = remote_answer_max(&r->spec, 1)};
        work[i] = (struct service_work){&uploads[i].hash, 1};
    }
    int rc = service_send(r->service, calls, work, count, err);
    for (size_t i = 0; i < count; i++) {
        if (rc == 0)
            rc = take_features(r, &calls[i].answer, vectors + i * r->spec.model.dimension, err);
        buf_free(&calls[i].answer);
    }
    return rc;
}

static int send_files(struct remote *r, const struct pixels *pictures, size_t count, float *vectors, struct error *err)
{
    struct upload uploads[REMOTE_BATCH_MAX];
    bool failed = false;
    for (size_t i = 0; i < count; i++) {
        uploads[i] =
            (struct upload){.body = BUF_INIT(BODY_MAX), .hash = hash64(pictures[i].data, pixels_bytes(&pictures[i]))};
        features_write(&r->spec, &pictures[i], &uploads[i].body, uploads[i].type);
        failed |= uploads[i].body.failed;
    }
    int rc = failed ? error_set(err, ERR_NO_MEMORY, "No memory for %zu pictures", count)
                    : send_uploads(r, uploads, count, vectors, err);
    for (size_t i = 0; i < count; i++)
        buf_free(&uploads[i].body);
    return rc;
}

static int normalise(const struct remote *r, float *vector, struct error *err)
{
    double sum = 0;
    for (size_t i = 0; i < r->spec.model.dimension; i++)
        sum += (double)vector[i] * vector[i];
    double length = sqrt(sum);
    if (!isfinite(length) || length < 1e-6)
        return error_set(err, ERR_EXTRACTION_FAILED, "Model %s gave a vector that is %s, which cannot be indexed",
                         r->spec.model.name, isfinite(length) ? "zero" : "no numbers");
    for (size_t i = 0; i < r->spec.model.dimension; i++)
        vector[i] = (float)(vector[i] / length);
    return 0;
}

static int extract(struct remote *r, const struct pixels *pictures, size_t count, float *vectors, struct error *err)
{
    size_t dimension = r->spec.model.dimension;
    _cleanup_free_ float *made = malloc(count * dimension * sizeof *made);
    if (!made)
        return error_set(err, ERR_NO_MEMORY, "No memory for %zu vectors", count);
    int rc = r->queue ? send_tensors(r, pictures, count, made, err) : send_files(r, pictures, count, made, err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = normalise(r, made + i * dimension, err);
    if (rc == 0)
        memcpy(vectors, made, count * dimension * sizeof *made);
    return rc;
}

static int http_extract(void *state, const struct extractor_model *model, const struct pixels *pictures, size_t count,
                        float *vectors, struct extractor_labels *labels, struct error *err)
{
    struct http *h = state;
    size_t at = 0;
    while (at < h->count && model != &h->models[at])
        at++;
    if (at == h->count || count > model->batch_max || labels)
        return error_set(err, ERR_EXTRACTION_FAILED, "A model was asked for what it does not offer");
    for (size_t i = 0; i < count; i++)
        if (!pictures[i].data || pictures[i].width < 1 || pictures[i].height < 1)
            return error_set(err, ERR_EXTRACTION_FAILED, "Picture %zu of the batch has no pixels", i);
    return count ? extract(&h->remotes[at], pictures, count, vectors, err) : 0;
}

const struct extractor_ops extractor_http = {
    .name = "http",
    .open = http_open,
    .close = http_close,
    .models = http_models,
    .health = http_health,
    .extract = http_extract,
};

// ---- Trying one out

DEFINE_CLEANUP(struct remote *, remote, end_remote)

static int measure(struct remote *r, const struct pixels *pictures, float *vectors, struct extractor_trial *t,
                   struct error *err)
{
    enum { SINGLES = 20, BATCHES = 10 };
    int64_t begin = clock_mono_us();
    for (int i = 0; i < SINGLES; i++)
        if (extract(r, pictures, 1, vectors, err) < 0)
            return -1;
    t->single_ms = (double)(clock_mono_us() - begin) / 1000 / SINGLES;
    begin = clock_mono_us();
    for (int i = 0; i < BATCHES; i++)
        if (extract(r, pictures, (size_t)r->spec.batch, vectors, err) < 0)
            return -1;
    t->batch_per_s = BATCHES * (double)r->spec.batch * 1e6 / (double)(clock_mono_us() - begin);
    return 0;
}

static int try_out(struct remote *r, bool bench, struct extractor_trial *t, struct error *err)
{
    enum { EDGE = 256 };
    static const uint8_t shades[3] = {90, 120, 200};
    struct pixels pictures[REMOTE_BATCH_MAX];
    struct pixels one = {.width = EDGE, .height = EDGE};
    _cleanup_free_ uint8_t *data = malloc(pixels_bytes(&one));
    _cleanup_free_ float *vectors = calloc((size_t)r->spec.batch * r->spec.model.dimension, sizeof *vectors);
    if (!data || !vectors)
        return error_set(err, ERR_NO_MEMORY, "No memory for a trial");
    one.data = data;
    for (size_t i = 0; i < pixels_bytes(&one); i++)
        data[i] = (uint8_t)(shades[i % 3] + i / 3 % EDGE / 8);
    for (int i = 0; i < r->spec.batch; i++)
        pictures[i] = one;
    int64_t begin = clock_mono_us();
    if (extract(r, pictures, 1, vectors, err) < 0)
        return -1;
    t->load_ms = (double)(clock_mono_us() - begin) / 1000;
    return bench ? measure(r, pictures, vectors, t, err) : 0;
}

int extractor_http_trial(const struct http_extractor_config *config, const char *folder, bool bench,
                         struct extractor_trial *out, struct error *err)
{
    struct remote remote = {0};
    _cleanup_(cleanup_remote) struct remote *r = &remote;
    struct extractor_trial t = {0};
    if (begin_remote(r, folder, config, err) < 0 || try_out(r, bench, &t, err) < 0)
        return -1;
    snprintf(t.name, sizeof t.name, "%.63s", r->spec.model.name);
    snprintf(t.version, sizeof t.version, "%.63s", r->spec.model.version);
    snprintf(t.precision, sizeof t.precision, "%s", r->spec.protocol == REMOTE_V2 ? "v2" : "http");
    snprintf(t.licence, sizeof t.licence, "%.127s", r->spec.model.licence);
    snprintf(t.source, sizeof t.source, "%.255s", *r->spec.model.source ? r->spec.model.source : r->spec.url);
    snprintf(t.fit, sizeof t.fit, "sent to %.50s", r->spec.url);
    t.dimension = r->spec.model.dimension;
    *out = t;
    return 0;
}
