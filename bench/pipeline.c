// SPDX-License-Identifier: Apache-2.0
// Items a second through the pipeline, as a share of the same work in a tight loop on as many threads.
//
// With a broker (DEEPLENS_TEST_KAFKA says where) also the same on Kafka, as a share of the same on the embedded log.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "through.h"
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
        double before = bench_cpu(NULL);
        double loop = (double)items / work_loop(work, photos, PHOTOS, items, thumbnail, threads);
        double loop_cpu = (bench_cpu(NULL) - before) / (double)items;
        struct through ours;
        through_pipeline(b, photos, PHOTOS, items, thumbnail, &ours);
        series_add(&cpu_ratios, loop_cpu / ours.cpu);
        series_add(&loops, loop);
        series_add(&rates, ours.items_per_s);
        series_add(&ratios, ours.items_per_s / loop);
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

// The servers inherit what carries the events.
static double on_log(struct bench *b, const struct photo *photos, size_t items, const char *brokers)
{
    struct through ours;
    if (brokers) {
        setenv("DEEPLENS_EVENTLOG_BACKEND", "kafka", 1);
        setenv("DEEPLENS_KAFKA_BROKERS", brokers, 1);
        setenv("DEEPLENS_KAFKA_INSTANCE", "none", 1); // each server has its own data; none comes back
    }
    through_pipeline(b, photos, PHOTOS, items, false, &ours);
    unsetenv("DEEPLENS_EVENTLOG_BACKEND");
    unsetenv("DEEPLENS_KAFKA_BROKERS");
    unsetenv("DEEPLENS_KAFKA_INSTANCE");
    return ours.items_per_s;
}

static void compare_logs(struct bench *b, const struct kind *kind, const struct photo *photos, const char *brokers)
{
    struct series ratios = {0}, rates = {0};
    char name[64];
    size_t items = b->brief ? kind->brief_items : kind->items;
    bench_say(b, "%s photos, on Kafka and on the embedded log", kind->name);
    for (int i = 0, rounds = b->brief ? 1 : 3; i < rounds; i++) {
        double embedded = on_log(b, photos, items, NULL);
        double kafka = on_log(b, photos, items, brokers);
        series_add(&rates, kafka);
        series_add(&ratios, kafka / embedded);
    }
    snprintf(name, sizeof name, "kafka_vs_embedded_%s", kind->name);
    bench_at_least(b, name, series_quantile(&ratios, 0.5), 0.95);
    snprintf(name, sizeof name, "items_per_s_%s_kafka", kind->name);
    bench_fact(b, name, series_quantile(&rates, 0.5));
    series_free(&ratios);
    series_free(&rates);
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
        if (getenv("DEEPLENS_TEST_KAFKA"))
            compare_logs(&b, &kinds[i], photos, getenv("DEEPLENS_TEST_KAFKA"));
        photos_free(photos, PHOTOS);
    }
    work_close(&work);
    return 0;
}
