// SPDX-License-Identifier: Apache-2.0
// Trying a model out: see model_trial.h.
#include "backends/extractor/model_trial.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "backends/extractor/worker.h"
#include "base/cleanup.h"
#include "base/clock.h"

enum { BENCH_US = 3000000, SINGLES = 20, STREAMS_MOST = 8 };

DEFINE_CLEANUP(struct worker *, worker, worker_stop)

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

int model_trial(const struct openvino_config *config, const char *folder, bool bench, struct extractor_trial *out,
                struct error *err)
{
    const struct openvino_config whole = openvino_config_whole(config);
    const struct net_config net = openvino_net_config(&whole);
    struct model_spec spec;
    struct extractor_trial t = {0};
    _cleanup_(cleanup_worker) struct worker *w = NULL;
    if (model_spec_read(folder, whole.precision, &spec, err) < 0)
        return -1;
    int64_t begin = clock_mono_us();
    if (worker_start(&spec, &net, whole.program, &w, err) < 0 || worker_ready(w, err) < 0)
        return -1;
    t.load_ms = (double)(clock_mono_us() - begin) / 1000;
    t.dimension = worker_dimension(w);
    snprintf(t.name, sizeof t.name, "%s", spec.name);
    snprintf(t.version, sizeof t.version, "%s", spec.version);
    snprintf(t.precision, sizeof t.precision, "%s", model_precision_name(spec.precision));
    snprintf(t.licence, sizeof t.licence, "%s", spec.licence);
    snprintf(t.source, sizeof t.source, "%s", spec.source);
    fit_name(&spec, t.fit);
    if (bench && measure(w, whole.streams, &t, err) < 0)
        return -1;
    *out = t;
    return 0;
}
