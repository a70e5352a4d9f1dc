// SPDX-License-Identifier: Apache-2.0
// What a model costs: its 8-bit version against the full one, and running it in a process of its own against running it
// here, both with OpenVINO alone in a tight loop on the same decoded pictures. Of the default model unless told
// otherwise.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/extractor/extractor_openvino.h"
#include "backends/extractor/picture.h"
#include "backends/extractor/worker.h"
#include "bench.h"
#include "conf/conf.h"
#include "media/image.h"
#include "photo.h"

enum { STREAMS = 2, BATCH = OPENVINO_BATCH_MAX };

struct subject { // a model with a batch of pictures, loaded here or in a worker
    struct model_spec spec;
    struct net *net;
    struct worker *worker;
    uint8_t *pictures;
    float *vectors[STREAMS];
};

static struct net_config net_config(const struct bench *b, const struct conf *conf, char program[4200])
{
    struct net_config config = {.threads = bench_processors(), .streams = STREAMS, .batch_max = BATCH};
    snprintf(config.library, sizeof config.library, "%s", conf->openvino_dir);
    snprintf(program, 4200, "%s/deeplens", b->build);
    return config;
}

static uint8_t *make_pictures(const struct model_spec *spec)
{
    struct photo photos[BATCH];
    struct error err = {0};
    size_t size = (size_t)spec->width * (size_t)spec->height * 3;
    uint8_t *pictures = malloc(BATCH * size);
    photos_make(640, 480, 60000, photos, BATCH);
    for (size_t i = 0; i < BATCH; i++) {
        struct image_decoded image;
        bench_check(image_decode(photos[i].data, photos[i].len, 512, 1 << 28, &image, &err), &err);
        picture_fit(&image.pixels, spec, pictures + i * size);
        pixels_free(&image.pixels);
    }
    photos_free(photos, BATCH);
    return pictures;
}

static void subject_open(const struct bench *b, const char *precision, bool apart, struct subject *s)
{
    struct conf conf;
    struct error err = {0};
    char folder[1024], program[4200];
    conf_init(&conf);
    *s = (struct subject){0};
    const struct net_config config = net_config(b, &conf, program);
    snprintf(folder, sizeof folder, "%s/%s", conf.models_dir,
             strcmp(b->model, "builtin") ? b->model : "efficientnet-lite0");
    bench_check(model_spec_read(folder, precision, &s->spec, &err), &err);
    if (apart) {
        bench_check(worker_start(&s->spec, &config, program, &s->worker, &err), &err);
        bench_check(worker_ready(s->worker, &err), &err);
    } else {
        bench_check(net_open(&s->spec, &config, &s->net, &err), &err);
    }
    s->pictures = make_pictures(&s->spec);
    for (int i = 0; i < STREAMS; i++)
        s->vectors[i] = malloc(BATCH * MODEL_DIMENSION_MAX * sizeof(float));
    conf_free(&conf);
}

static void subject_close(struct subject *s)
{
    net_close(s->net);
    worker_stop(s->worker);
    free(s->pictures);
    for (int i = 0; i < STREAMS; i++)
        free(s->vectors[i]);
}

static void run(struct subject *s, int stream, size_t count)
{
    struct error err = {0};
    if (s->net) {
        bench_check(net_run(s->net, stream, s->pictures, count, s->vectors[stream], &err), &err);
        return;
    }
    memcpy(worker_pictures(s->worker, stream), s->pictures, count * (size_t)s->spec.width * (size_t)s->spec.height * 3);
    bench_check(worker_run(s->worker, stream, count, &err), &err);
    memcpy(s->vectors[stream], worker_vectors(s->worker, stream), count * worker_dimension(s->worker) * sizeof(float));
}

struct lane {
    struct subject *subject;
    int stream;
    double until;
    size_t done;
};

static void *lane_work(void *arg)
{
    struct lane *lane = arg;
    for (; bench_now() < lane->until; lane->done += BATCH)
        run(lane->subject, lane->stream, BATCH);
    return NULL;
}

// Pictures a second, in full batches on all streams.
static double rate(struct subject *s, double seconds)
{
    struct lane lanes[STREAMS];
    pthread_t threads[STREAMS];
    double start = bench_now();
    size_t done = 0;
    for (int i = 0; i < STREAMS; i++) {
        lanes[i] = (struct lane){s, i, start + seconds, 0};
        if (pthread_create(&threads[i], NULL, lane_work, &lanes[i]) != 0)
            bench_fail("no thread");
    }
    for (int i = 0; i < STREAMS; i++) {
        pthread_join(threads[i], NULL);
        done += lanes[i].done;
    }
    return (double)done / (bench_now() - start);
}

static double single_ms(struct subject *s, int times)
{
    struct series all = {0};
    for (int i = 0; i < times; i++) {
        double start = bench_now();
        run(s, 0, 1);
        series_add(&all, (bench_now() - start) * 1000);
    }
    double median = series_quantile(&all, 0.5);
    series_free(&all);
    return median;
}

// In turn, A B A B …: the median of the pairs' ratios.
static double compare(const struct bench *b, struct subject *a, struct subject *other, double *rate_a)
{
    struct series ratios = {0}, rates = {0};
    double seconds = b->brief ? 0.2 : 3;
    for (int i = 0; i < (b->brief ? 1 : 5); i++) {
        double one = rate(a, seconds), two = rate(other, seconds);
        series_add(&ratios, one / two);
        series_add(&rates, one);
    }
    double ratio = series_quantile(&ratios, 0.5);
    *rate_a = series_quantile(&rates, 0.5);
    series_free(&ratios);
    series_free(&rates);
    return ratio;
}

int main(int argc, char **argv)
{
    struct bench b;
    struct error err = {0};
    struct subject full, small, apart;
    double small_rate, apart_rate;
    bench_open(&b, "models", argc, argv);
    bench_check(image_init(&err), &err);
    subject_open(&b, "f32", false, &full);
    subject_open(&b, "int8", false, &small);
    bench_say(&b, "8 bits against 32");
    bench_at_least(&b, "int8_vs_f32", compare(&b, &small, &full, &small_rate), 2.5);
    bench_fact(&b, "int8_per_s", small_rate);
    bench_fact(&b, "f32_per_s", rate(&full, b.brief ? 0.2 : 3));
    bench_fact(&b, "int8_single_ms", single_ms(&small, b.brief ? 5 : 200));
    subject_close(&full);
    bench_say(&b, "in a process of its own");
    subject_open(&b, "int8", true, &apart);
    bench_at_least(&b, "worker_vs_alone", compare(&b, &apart, &small, &apart_rate), 0.95);
    bench_fact(&b, "worker_single_ms", single_ms(&apart, b.brief ? 5 : 200));
    subject_close(&apart);
    subject_close(&small);
    return 0;
}
