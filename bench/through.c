// SPDX-License-Identifier: Apache-2.0
#include "through.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "load.h"
#include "server.h"
#include "wire.h"

static void upload(struct bench *b, const char *data_dir, const struct photo *photos, size_t photo_count, size_t items,
                   bool thumbnail, struct load_result *result)
{
    struct server held;
    server_start_on(b, SERVER_HELD, data_dir, &held);
    const struct load load = {
        .address = held.address,
        .target = thumbnail ? "/api/v1/images/upload"
                            : "/api/v1/images/upload?processingOptions=%7B%22generateThumbnail%22%3Afalse%7D",
        .connections = 16,
        .photos = photos,
        .photo_count = photo_count,
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

static bool is_behind(const char *groups)
{
    while ((groups = strstr(groups, "\"lag\":")))
        if (strtol(groups += strlen("\"lag\":"), NULL, 10) > 0)
            return true;
    return false;
}

// Events that one server leaves on shared topics would be the next one's to puzzle over.
static void await_groups(struct wire *w)
{
    do {
        bench_sleep(0.05);
        wire_get(w, "/api/v1/admin/groups");
        wire_expect(w, 200, "the groups");
    } while (is_behind(w->body));
}

void through_pipeline(struct bench *b, const struct photo *photos, size_t photo_count, size_t items, bool thumbnail,
                      struct through *out)
{
    struct load_result uploads;
    struct server server;
    struct wire wire;
    char data[4096];
    upload(b, bench_fresh(b, data), photos, photo_count, items, thumbnail, &uploads);
    server_start_on(b, SERVER_DEEPLENS, data, &server);
    wire_open(&wire, server.address);
    int64_t done = all_done_ms(&wire, items);
    double seconds = (double)(done - first_began_ms(&wire, &uploads)) / 1000;
    await_groups(&wire);
    wire_close(&wire);
    server_stop(&server);
    bench_remove(data);
    *out = (struct through){
        .acks_per_s = uploads.per_second, .items_per_s = (double)items / seconds, .cpu = server.cpu / (double)items};
    load_result_free(&uploads);
}
