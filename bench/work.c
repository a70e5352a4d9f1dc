// SPDX-License-Identifier: Apache-2.0
#include "work.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/extractor/extractor_builtin.h"
#include "backends/extractor/extractor_openvino.h"
#include "bench.h"
#include "conf/conf.h"
#include "media/details/details.h"
#include "media/image.h"

enum { THREADS_MAX = 256, DIMENSION_MAX = 4096 };

const struct extractor_model *work_find_model(const struct extractor *x, const char *name)
{
    size_t count;
    const struct extractor_model *models = x->ops->models(x->state, &count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(models[i].name, name) == 0)
            return &models[i];
    return NULL;
}

static void open_extractor(const struct bench *b, const struct conf *conf, struct extractor *x)
{
    struct error err = {0};
    char program[4200];
    snprintf(program, sizeof program, "%s/deeplens", b->build);
    const struct openvino_config config = {
        .models = conf->models_dir, .library = conf->openvino_dir, .program = program};
    bool builtin = strcmp(b->model, "builtin") == 0;
    x->ops = builtin ? &extractor_builtin : &extractor_openvino;
    bench_check(builtin ? x->ops->open("", &x->state, &err) : extractor_openvino_open(&config, &x->state, &err), &err);
}

void work_open(const struct bench *b, struct work *w)
{
    struct conf conf;
    struct error err = {0};
    conf_init(&conf);
    *w = (struct work){.edge = (int)conf.thumbnail_edge,
                       .quality = (int)conf.thumbnail_quality,
                       .max_pixels = (uint64_t)conf.image_max_pixels,
                       .details = conf.search_closer > 0};
    bench_check(image_init(&err), &err);
    open_extractor(b, &conf, &w->extractor);
    conf_free(&conf);
    w->model = work_find_model(&w->extractor, b->model);
    if (!w->model)
        bench_fail("there is no model %s; `make models` gets those that DeepLens comes with", b->model);
    if (w->model->dimension > DIMENSION_MAX)
        bench_fail("the model has more than %d dimensions", DIMENSION_MAX);
}

void work_close(struct work *w)
{
    w->extractor.ops->close(w->extractor.state);
}

void work_once(const struct work *w, const struct photo *photo, bool thumbnail)
{
    struct error err = {0};
    struct image_decoded image;
    float vector[DIMENSION_MAX];
    struct details details;
    bench_check(image_decode(photo->data, photo->len, w->edge, w->max_pixels, &image, &err), &err);
    if (thumbnail) {
        _cleanup_buf_ struct buf webp = BUF_INIT(16 << 20);
        bench_check(image_thumbnail(&image.pixels, w->edge, w->quality, &webp, &err), &err);
    }
    bench_check(w->extractor.ops->extract(w->extractor.state, w->model, &image.pixels, 1, vector, NULL, &err), &err);
    if (w->details)
        bench_check(details_find(&image.pixels, DETAILS_KEPT, &details, &err), &err);
    pixels_free(&image.pixels);
}

struct loop {
    const struct work *work;
    const struct photo *photos;
    size_t photo_count, items;
    bool thumbnail;
    atomic_size_t next;
};

static void *loop_thread(void *arg)
{
    struct loop *loop = arg;
    for (size_t i; (i = loop->next++) < loop->items;)
        work_once(loop->work, &loop->photos[i % loop->photo_count], loop->thumbnail);
    image_thread_end();
    return NULL;
}

double work_loop(const struct work *w, const struct photo *photos, size_t photo_count, size_t items, bool thumbnail,
                 int threads)
{
    struct loop loop = {
        .work = w, .photos = photos, .photo_count = photo_count, .items = items, .thumbnail = thumbnail};
    pthread_t ids[THREADS_MAX];
    if (threads > THREADS_MAX)
        threads = THREADS_MAX;
    double start = bench_now();
    for (int i = 0; i < threads; i++)
        if (pthread_create(&ids[i], NULL, loop_thread, &loop) != 0)
            bench_fail("no thread");
    for (int i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    return bench_now() - start;
}
