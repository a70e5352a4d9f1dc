// SPDX-License-Identifier: Apache-2.0
// Trying a model out: see model_trial.h.
#include "backends/extractor/model_trial.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "backends/extractor/extractor_builtin.h"
#include "backends/extractor/text_side.h"
#include "backends/extractor/worker.h"
#include "base/cleanup.h"
#include "base/clock.h"

enum { BENCH_US = 3000000, SINGLES = 20, STREAMS_MOST = 8 };

DEFINE_CLEANUP(struct worker *, worker, worker_stop)
DEFINE_CLEANUP(struct text_side *, text, text_side_free)

static const char *fit_name(const struct model_spec *s, char out[64])
{
    static const char *const names[] = {[FIT_SQUASH] = "squashed", [FIT_CROP] = "cropped", [FIT_PAD] = "padded"};
    snprintf(out, 64, "%s to %d x %d", names[s->fit], s->width, s->height);
    return out;
}

struct runner {
    struct worker *worker;
    int stream;
    int64_t until;
    size_t done; // pictures
    int rc;
    struct error error;
};

static void *run_batches(void *arg)
{
    struct runner *r = arg;
    while (r->rc == 0 && clock_mono_us() < r->until) {
        r->rc = worker_run(r->worker, r->stream, OPENVINO_BATCH_MAX, &r->error);
        r->done += OPENVINO_BATCH_MAX;
    }
    return NULL;
}

static int measure_batches(struct worker *w, int streams, double *per_s, struct error *err)
{
    struct runner runners[STREAMS_MOST] = {0};
    pthread_t threads[STREAMS_MOST];
    int started = 0;
    int64_t begin = clock_mono_us();
    size_t done = 0;
    while (started < streams) {
        struct runner *r = &runners[started];
        *r = (struct runner){.worker = w, .stream = started, .until = begin + BENCH_US};
        if (pthread_create(&threads[started], NULL, run_batches, r) != 0)
            break;
        started++;
    }
    for (int i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
        done += runners[i].done;
    }
    for (int i = 0; i < started; i++)
        if (runners[i].rc < 0)
            return error_copy(err, &runners[i].error);
    *per_s = (double)done * 1e6 / (double)(clock_mono_us() - begin);
    return 0;
}

static int measure(struct worker *w, int streams, struct extractor_trial *out, struct error *err)
{
    int64_t begin = clock_mono_us();
    for (int i = 0; i < SINGLES; i++)
        if (worker_run(w, 0, 1, err) < 0)
            return -1;
    out->single_ms = (double)(clock_mono_us() - begin) / 1000 / SINGLES;
    return measure_batches(w, streams, &out->batch_per_s, err);
}

// What the folder's model gives a server: the network's numbers without those of the labels, and what is mixed in.
static size_t dimension_of(const struct worker *w, const struct model_spec *spec)
{
    size_t count, mixed_in = spec->mix_builtin > 0 ? extractor_builtin.models(NULL, &count)->dimension : 0;
    return worker_dimension(w) - spec->label_count + mixed_in;
}

static void describe(const struct model_spec *spec, struct extractor_trial *t)
{
    snprintf(t->name, sizeof t->name, "%s", spec->name);
    snprintf(t->version, sizeof t->version, "%s", spec->version);
    snprintf(t->precision, sizeof t->precision, "%s", model_precision_name(spec->precision));
    snprintf(t->licence, sizeof t->licence, "%s", spec->licence);
    snprintf(t->source, sizeof t->source, "%s", spec->source);
}

static int try_pictures(const struct openvino_config *whole, const struct model_spec *spec, bool bench,
                        struct extractor_trial *t, struct error *err)
{
    const struct net_config net = openvino_net_config(whole);
    _cleanup_(cleanup_worker) struct worker *w = NULL;
    int64_t begin = clock_mono_us();
    if (worker_start(spec, &net, whole->program, &w, err) < 0 || worker_ready(w, err) < 0)
        return -1;
    t->load_ms = (double)(clock_mono_us() - begin) / 1000;
    t->dimension = dimension_of(w, spec);
    describe(spec, t);
    fit_name(spec, t->fit);
    return bench ? measure(w, whole->streams, t, err) : 0;
}

// Embeds a text, and many for `bench`; a model of texts alone is described by this.
static int try_text(struct text_side *text, bool bench, struct extractor_trial *t, struct error *err)
{
    static const char *const one[] = {"a photo of a dog on a beach"};
    _cleanup_free_ float *vector = NULL;
    int64_t begin = clock_mono_us();
    if (text_side_ready(text, err) < 0)
        return -1;
    vector = calloc(text_side_dimension(text), sizeof *vector);
    if (!vector)
        return error_set(err, ERR_NO_MEMORY, "No memory for a trial");
    bool alone = !*t->name;
    if (alone) {
        describe(text_side_spec(text), t);
        snprintf(t->fit, sizeof t->fit, "not taken, texts are");
        t->dimension = text_side_dimension(text);
        t->load_ms = (double)(clock_mono_us() - begin) / 1000;
    }
    begin = clock_mono_us();
    int runs = bench && alone ? SINGLES : 1;
    for (int i = 0; i < runs; i++)
        if (text_side_embed(text, one, 1, vector, err) < 0)
            return -1;
    double ms = (double)(clock_mono_us() - begin) / 1000 / runs;
    if (bench && alone) {
        t->single_ms = ms;
        t->batch_per_s = 1000 / ms;
    }
    return 0;
}

int model_trial(const struct openvino_config *config, const char *folder, bool bench, struct extractor_trial *out,
                struct error *err)
{
    const struct openvino_config whole = openvino_config_whole(config);
    struct model_spec spec;
    struct extractor_trial t = {0};
    struct error none = {0}, no_text = {0};
    _cleanup_(cleanup_text) struct text_side *text = NULL;
    bool pictures = model_spec_read(folder, whole.precision, &spec, &none) == 0;
    if (!pictures && none.code != ERR_NOT_FOUND)
        return error_copy(err, &none);
    if (text_side_begin(folder, &whole, &text, &no_text) < 0 && (no_text.code != ERR_NOT_FOUND || !pictures))
        return error_copy(err, no_text.code != ERR_NOT_FOUND ? &no_text : &none);
    if ((pictures && try_pictures(&whole, &spec, bench, &t, err) < 0) || (text && try_text(text, bench, &t, err) < 0))
        return -1;
    *out = t;
    return 0;
}
