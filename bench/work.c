// SPDX-License-Identifier: Apache-2.0
#include "work.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "backends/extractor/extractor_builtin.h"
#include "bench.h"
#include "conf/conf.h"
#include "media/image.h"

enum { THREADS_MAX = 256, DIMENSION_MAX = 4096 };

void work_open(struct work *w)
{
    struct conf conf;
    struct error err = {0};
    size_t count;
    conf_init(&conf);
    *w = (struct work){.extractor.ops = &extractor_builtin,
                       .edge = (int)conf.thumbnail_edge,
                       .quality = (int)conf.thumbnail_quality,
                       .max_pixels = (uint64_t)conf.image_max_pixels};
    conf_free(&conf);
    bench_check(image_init(&err), &err);
    bench_check(w->extractor.ops->open("", &w->extractor.state, &err), &err);
    w->model = w->extractor.ops->models(w->extractor.state, &count);
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
    bench_check(image_decode(photo->data, photo->len, w->edge, w->max_pixels, &image, &err), &err);
    if (thumbnail) {
        _cleanup_buf_ struct buf webp = BUF_INIT(16 << 20);
        bench_check(image_thumbnail(&image.pixels, w->edge, w->quality, &webp, &err), &err);
    }
    bench_check(w->extractor.ops->extract(w->extractor.state, w->model, &image.pixels, 1, vector, &err), &err);
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
