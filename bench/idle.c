// SPDX-License-Identifier: Apache-2.0
// What one user alone waits for: from the ack of an upload until it is found, as a share of decode + extract of the
// same picture in a warm loop; a search by a photo among 4,100 items, likewise; and the time from a SIGKILL with work
// in flight until the server is ready again.
//
// "Found" is when a search by the item finds its vector. The client asks every 0.2 ms, but only from shortly before the
// answer is due, so that asking takes next to nothing from the work.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "server.h"
#include "wire.h"
#include "work.h"

static const double poll_every = 0.0002, poll_from = 0.7; // of the shortest time so far

struct kind {
    const char *name;
    int width, height;
    size_t bytes;
    int trials;
};

static const struct kind kinds[] = {{"small", 640, 480, 60 * 1000, 60}, {"12mp", 4000, 3000, 0, 15}};

// --- From ack to searchable

struct waits { // seconds since the ack
    double found, completed;
};

static void poll_found(struct wire *w, const char *id)
{
    char query[128];
    snprintf(query, sizeof query, "{\"imageId\":\"%s\",\"topK\":1}", id);
    while (wire_post(w, "/api/v1/search", "application/json", query, strlen(query), "") != 200)
        bench_sleep(poll_every);
}

static void poll_completed(struct wire *w, const char *id)
{
    char path[128], text[64];
    snprintf(path, sizeof path, "/api/v1/images/%s/status", id);
    for (;;) {
        wire_get(w, path);
        wire_expect(w, 200, "an item's status");
        wire_member(w, "searchableAfter", text, sizeof text);
        if (*text)
            return;
        bench_sleep(poll_every);
    }
}

static struct waits upload_one(struct wire *w, const struct photo *photo, bool thumbnail, double quiet)
{
    char tail[TAIL_LEN + 1], id[64];
    photo_tail(tail);
    wire_post(w,
              thumbnail ? "/api/v1/images/upload"
                        : "/api/v1/images/upload?processingOptions=%7B%22generateThumbnail%22%3Afalse%7D",
              "image/jpeg", photo->data, photo->len, tail);
    double acked = bench_now();
    wire_expect(w, 202, "an upload");
    wire_member(w, "imageId", id, sizeof id);
    bench_sleep(quiet);
    struct waits waits;
    poll_found(w, id);
    waits.found = bench_now() - acked;
    poll_completed(w, id);
    waits.completed = bench_now() - acked;
    return waits;
}

static double loop_time(const struct work *work, const struct photo *photo, bool thumbnail)
{
    double times[3];
    for (int i = 0; i < 3; i++) {
        double start = bench_now();
        work_once(work, photo, thumbnail);
        times[i] = bench_now() - start;
    }
    return bench_quantile(times, 3, 0.5);
}

static void measure_wait(struct bench *b, struct wire *w, const struct work *work, const struct kind *kind,
                         const struct photo *photo, bool thumbnail)
{
    struct series ratios = {0}, found = {0}, completed = {0}, loops = {0};
    char name[64];
    double shortest = 0;
    int trials = b->brief ? 3 : kind->trials;
    upload_one(w, photo, thumbnail, 0); // warm
    for (int i = 0; i < trials; i++) {
        double loop = loop_time(work, photo, thumbnail);
        bench_sleep(0.02); // idle again
        struct waits waits = upload_one(w, photo, thumbnail, shortest * poll_from);
        shortest = shortest == 0 || waits.found < shortest ? waits.found : shortest;
        series_add(&ratios, waits.found / loop);
        series_add(&found, waits.found * 1000);
        series_add(&completed, waits.completed * 1000);
        series_add(&loops, loop * 1000);
    }
    const char *how = thumbnail ? "with_thumbnail" : "no_thumbnail";
#define NAME(what) (snprintf(name, sizeof name, what "_%s_%s", kind->name, how), name)
    bench_at_most(b, NAME("ack_to_found_vs_loop"), series_quantile(&ratios, 0.5), 1.15);
    if (kind == &kinds[0])
        bench_at_most(b, NAME("ack_to_found_p50_ms"), series_quantile(&found, 0.5), 40);
    else
        bench_fact(b, NAME("ack_to_found_p50_ms"), series_quantile(&found, 0.5));
    bench_fact(b, NAME("ack_to_completed_p50_ms"), series_quantile(&completed, 0.5));
    bench_fact(b, NAME("loop_ms"), series_quantile(&loops, 0.5));
#undef NAME
    series_free(&ratios);
    series_free(&found);
    series_free(&completed);
    series_free(&loops);
}

// --- Search, and coming back

static void wait_for_all(struct wire *w)
{
    char text[32];
    do {
        bench_sleep(0.02);
        wire_get(w, "/api/v1/admin/ledger");
        wire_expect(w, 200, "the ledger");
        wire_member(w, "inFlight", text, sizeof text);
    } while (strtol(text, NULL, 10) > 0);
}

// Many small pictures that differ.
static void fill(const struct server *server, size_t items)
{
    enum { TILES = 64 };
    struct photo tiles[TILES];
    struct load_result result;
    photos_make(96, 72, 0, tiles, TILES);
    const struct load load = {.address = server->address,
                              .target = "/api/v1/images/upload",
                              .connections = 16,
                              .photos = tiles,
                              .photo_count = TILES,
                              .uploads = items};
    load_run(&load, &result);
    load_result_free(&result);
    photos_free(tiles, TILES);
}

static void measure_search(struct bench *b, struct wire *w, const struct work *work, const struct photo *photo)
{
    struct series ratios = {0}, times = {0};
    for (int i = 0; i < (b->brief ? 5 : 200); i++) {
        double loop = loop_time(work, photo, false), start = bench_now();
        wire_post(w, "/api/v1/search", "image/jpeg", photo->data, photo->len, "");
        double took = bench_now() - start;
        wire_expect(w, 200, "a search by a photo");
        series_add(&ratios, took / loop);
        series_add(&times, took * 1000);
    }
    bench_fact(b, "search_by_photo_vs_loop", series_quantile(&ratios, 0.5));
    bench_at_most(b, "search_by_photo_p50_ms", series_quantile(&times, 0.5), 19);
    series_free(&ratios);
    series_free(&times);
}

static double until_ready(struct bench *b, const char *data, struct server *server)
{
    struct wire w;
    double start = bench_now();
    server_start_on(b, SERVER_DEEPLENS, data, server);
    wire_open(&w, server->address);
    while (wire_get(&w, "/readyz") != 200)
        bench_sleep(0.001);
    double took = bench_now() - start;
    wire_close(&w);
    return took;
}

static void measure_return(struct bench *b, const char *data, struct server *server)
{
    struct series times = {0};
    struct wire w;
    for (int i = 0; i < (b->brief ? 1 : 3); i++) {
        fill(server, b->brief ? 30 : 1000); // more than can be done before the end
        server_kill(server);
        series_add(&times, until_ready(b, data, server));
    }
    double start = bench_now();
    wire_open(&w, server->address);
    wait_for_all(&w);
    bench_at_most(b, "ready_after_kill_s", series_quantile(&times, 0.5), 9);
    bench_fact(b, "backlog_done_after_kill_s", bench_now() - start);
    wire_close(&w);
    series_free(&times);
}

int main(int argc, char **argv)
{
    struct bench b;
    struct work work;
    struct server server;
    struct wire w;
    struct photo photos[ARRAY_LEN(kinds)];
    char data[4096];
    bench_open(&b, "idle", argc, argv);
    work_open(&b, &work);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        photos_make(kinds[i].width, kinds[i].height, kinds[i].bytes, &photos[i], 1);
    server_start_on(&b, SERVER_DEEPLENS, bench_fresh(&b, data), &server);
    wire_open(&w, server.address);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        for (int thumbnail = 0; thumbnail < 2; thumbnail++) {
            bench_say(&b, "%s photo, %s thumbnail", kinds[i].name, thumbnail ? "with" : "without");
            measure_wait(&b, &w, &work, &kinds[i], &photos[i], thumbnail);
        }
    bench_say(&b, "search among many items");
    fill(&server, b.brief ? 60 : 4100);
    wait_for_all(&w);
    measure_search(&b, &w, &work, &photos[0]);
    bench_say(&b, "SIGKILL with work in flight");
    wire_close(&w);
    measure_return(&b, data, &server);
    server_stop(&server);
    photos_free(photos, ARRAY_LEN(photos));
    work_close(&work);
    return 0;
}
