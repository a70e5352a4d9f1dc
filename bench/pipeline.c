// SPDX-License-Identifier: Apache-2.0
// Items a second through the pipeline, as a share of the same work in a tight loop on as many threads.
//
// Items are uploaded while the pipeline is held; then the real server starts on the same data and works them off. Its
// time runs from the moment that it says it began the first item to the moment that the last one is seen searchable:
// reading events and originals, records, thumbnails on the disk and vectors in the index are all in it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "load.h"
#include "server.h"
#include "wire.h"
#include "work.h"

enum { PHOTOS = 4 };

struct kind {
    const char *name;
    int width, height;
    size_t bytes;
    size_t items, brief_items;
};

static const struct kind kinds[] = {
    {"small", 640, 480, 60 * 1000, 1200, 24},
    {"12mp", 4000, 3000, 0, 96, 4},
};

static void upload(struct bench *b, const char *data_dir, const struct photo *photos, size_t items, bool thumbnail,
                   struct load_result *result)
{
    struct server held;
    server_start_on(b, SERVER_HELD, data_dir, &held);
    const struct load load = {
        .address = held.address,
        .target = thumbnail ? "/api/v1/images/upload"
                            : "/api/v1/images/upload?processingOptions=%7B%22generateThumbnail%22%3Afalse%7D",
        .connections = 16,
        .photos = photos,
        .photo_count = PHOTOS,
        .uploads = items};
    load_run(&load, result);
    server_stop(&held);
    bench_settle(b);
}

// When work on the first item began, wall clock: the earliest of the first uploads' first steps.
static int64_t first_began_ms(struct wire *w, const struct load_result *uploads)
{
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < uploads->first_id_count; i++) {
        char path[256], text[64];
        int64_t ms;
        snprintf(path, sizeof path, "/api/v1/images/%s/status", uploads->first_ids[i]);
        wire_get(w, path);
        wire_expect(w, 200, "an item's status");
        wire_member(w, "startedAt", text, sizeof text);
        if (*text && clock_parse(text, &ms) == 0 && ms < first)
            first = ms;
    }
    if (first == INT64_MAX)
        bench_fail("the server does not say when its work began");
    return first;
}

// Waits until nothing is in flight; wall clock.
static int64_t all_done_ms(struct wire *w, size_t items)
{
    char text[32];
    do {
        bench_sleep(0.01);
        wire_get(w, "/api/v1/admin/ledger");
        wire_expect(w, 200, "the ledger");
        wire_member(w, "inFlight", text, sizeof text);
    } while (strtol(text, NULL, 10) > 0);
    int64_t done = clock_now_ms();
    wire_member(w, "searchable", text, sizeof text);
    if ((size_t)strtol(text, NULL, 10) != items)
        bench_fail("%zu items were uploaded, %s became searchable", items, text);
    return done;
}

static double through_pipeline(struct bench *b, const struct photo *photos, size_t items, bool thumbnail, double *cpu)
{
    struct load_result uploads;
    struct server server;
    struct wire wire;
    char data[4096];
    upload(b, bench_fresh(b, data), photos, items, thumbnail, &uploads);
    server_start_on(b, SERVER_DEEPLENS, data, &server);
    wire_open(&wire, server.address);
    int64_t done = all_done_ms(&wire, items);
    double seconds = (double)(done - first_began_ms(&wire, &uploads)) / 1000;
    wire_close(&wire);
    server_stop(&server);
    *cpu = server.cpu / (double)items;
    bench_remove(data);
    load_result_free(&uploads);
    return (double)items / seconds;
}

static void compare(struct bench *b, const struct work *work, const struct kind *kind, const struct photo *photos,
                    bool thumbnail)
{
    struct series ratios = {0}, rates = {0}, loops = {0}, cpu_ratios = {0};
    char name[64];
    size_t items = b->brief ? kind->brief_items : kind->items;
    int rounds = b->brief ? 1 : 3, threads = bench_processors();
    bench_say(b, "%s photos, %s thumbnail", kind->name, thumbnail ? "with" : "without");
    work_loop(work, photos, PHOTOS, PHOTOS, thumbnail, threads); // warm
    for (int i = 0; i < rounds; i++) {
        double cpu, before = bench_cpu(NULL);
        double loop = (double)items / work_loop(work, photos, PHOTOS, items, thumbnail, threads);
        double loop_cpu = (bench_cpu(NULL) - before) / (double)items;
        double rate = through_pipeline(b, photos, items, thumbnail, &cpu);
        series_add(&cpu_ratios, loop_cpu / cpu);
        series_add(&loops, loop);
        series_add(&rates, rate);
        series_add(&ratios, rate / loop);
    }
    const char *how = thumbnail ? "with_thumbnail" : "no_thumbnail";
#define NAME(what) (snprintf(name, sizeof name, what "_%s_%s", kind->name, how), name)
    if (thumbnail) // its bytes are made durable, which the loop does not do
        bench_fact(b, NAME("pipeline_vs_loop"), series_quantile(&ratios, 0.5));
    else
        bench_at_least(b, NAME("pipeline_vs_loop"), series_quantile(&ratios, 0.5), 0.97);
    if (kind == &kinds[0])
        bench_at_least(b, NAME("items_per_s"), series_quantile(&rates, 0.5), 60);
    else
        bench_fact(b, NAME("items_per_s"), series_quantile(&rates, 0.5));
    bench_fact(b, NAME("loop_cpu_vs_pipeline_cpu"), series_quantile(&cpu_ratios, 0.5));
    bench_fact(b, NAME("loop_per_s"), series_quantile(&loops, 0.5));
#undef NAME
    series_free(&ratios);
    series_free(&rates);
    series_free(&loops);
    series_free(&cpu_ratios);
}

int main(int argc, char **argv)
{
    struct bench b;
    struct work work;
    bench_open(&b, "pipeline", argc, argv);
    work_open(&b, &work);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct photo photos[PHOTOS];
        photos_make(kinds[i].width, kinds[i].height, kinds[i].bytes, photos, PHOTOS);
        compare(&b, &work, &kinds[i], photos, false);
        compare(&b, &work, &kinds[i], photos, true);
        photos_free(photos, PHOTOS);
    }
    work_close(&work);
    return 0;
}
