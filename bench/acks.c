// SPDX-License-Identifier: Apache-2.0
// Durable acks a second, as a share of what a bare libmicrohttpd program takes that syncs nothing (and of one that
// syncs file and folder, and keeps no records): each size of body and number of connections, all in turn, the median of
// the ratios. And how long a client waits for its ack.
#include <stdio.h>

#include "http/http_int.h"
#include "load.h"
#include "server.h"

enum { PHOTOS = 4 };

#define UPLOAD "/api/v1/images/upload"

struct size {
    const char *name;
    int width, height;
    size_t bytes;
    size_t uploads; // a round
};

static const struct size sizes[] = {
    {"30k", 480, 360, 30 * 1000 - TAIL_LEN, 1200},
    {"300k", 1600, 1200, 300 * 1000 - TAIL_LEN, 400},
    {"2m", 3264, 2448, 2 * 1000 * 1000 - TAIL_LEN, 128},
};
static const int connections[] = {8, 64};

static double measure(const struct bench *b, const char *address, const struct photo *photos, int clients,
                      size_t uploads, struct series *latency)
{
    const struct load load = {.address = address,
                              .target = UPLOAD,
                              .connections = clients,
                              .photos = photos,
                              .photo_count = PHOTOS,
                              .uploads = uploads};
    struct load_result result;
    bench_settle(b); // what was written before is not this round's to wait for
    load_run(&load, &result);
    for (size_t i = 0; latency && i < result.latency.count; i++)
        series_add(latency, result.latency.values[i]);
    load_result_free(&result);
    return result.per_second;
}

// One size, one number of connections: rounds against each.
static void compare(struct bench *b, const struct size *size, const struct photo *photos, int clients)
{
    struct server ours, bare, synced;
    struct series ratios = {0}, rates = {0}, bare_rates = {0}, synced_ratios = {0}, synced_rates = {0}, latency = {0};
    char data[4096], files[4096], synced_files[4096], name[64];
    server_start_on(b, SERVER_HELD, bench_fresh(b, data), &ours);
    server_start(b, SERVER_BARE, (const char *[]){bench_fresh(b, files), "2", NULL}, &bare);
    server_start(b, SERVER_BARE, (const char *[]){bench_fresh(b, synced_files), "synced", NULL}, &synced);
    int rounds = b->brief ? 1 : 5;
    size_t uploads = b->brief ? (size_t)clients : size->uploads;
    for (int i = 0; i < rounds; i++) {
        double rate = measure(b, ours.address, photos, clients, uploads, &latency);
        double bare_rate = measure(b, bare.address, photos, clients, uploads, NULL);
        double synced_rate = measure(b, synced.address, photos, clients, uploads, NULL);
        series_add(&rates, rate);
        series_add(&synced_rates, synced_rate);
        series_add(&synced_ratios, synced_rate > 0 ? rate / synced_rate : 0);
        series_add(&bare_rates, bare_rate);
        series_add(&ratios, bare_rate > 0 ? rate / bare_rate : 0);
    }
    server_stop(&ours);
    server_stop(&bare);
    server_stop(&synced);
    bench_remove(data);
    bench_remove(files);
    bench_remove(synced_files);
    double all = (double)uploads * rounds;
#define NAME(what) (snprintf(name, sizeof name, what "_%s_%d_clients", size->name, clients), name)
    bench_at_least(b, NAME("acks_vs_bare"), series_quantile(&ratios, 0.5), 0.9);
    bench_fact(b, NAME("acks_vs_bare_synced"), series_quantile(&synced_ratios, 0.5));
    bench_fact(b, NAME("acks_per_s"), series_quantile(&rates, 0.5));
    bench_fact(b, NAME("bare_per_s"), series_quantile(&bare_rates, 0.5));
    bench_fact(b, NAME("bare_synced_per_s"), series_quantile(&synced_rates, 0.5));
    bench_fact(b, NAME("cpu_us_per_ack"), ours.cpu / all * 1e6);
    bench_fact(b, NAME("bare_cpu_us_per_ack"), bare.cpu / all * 1e6);
    bench_fact(b, NAME("bare_synced_cpu_us_per_ack"), synced.cpu / all * 1e6);
    bench_fact(b, NAME("ack_p50_ms"), series_quantile(&latency, 0.5));
    bench_fact(b, NAME("ack_p99_ms"), series_quantile(&latency, 0.99));
#undef NAME
    series_free(&ratios);
    series_free(&rates);
    series_free(&bare_rates);
    series_free(&synced_ratios);
    series_free(&synced_rates);
    series_free(&latency);
}

// What 8 clients with small photos meet, the pipeline held and running.
static void absolute(struct bench *b, const char *program, const char *how)
{
    struct photo photos[PHOTOS];
    struct server server;
    struct series latency = {0};
    char data[4096], name[64];
    photos_make(640, 480, 60 * 1000, photos, PHOTOS);
    server_start_on(b, program, bench_fresh(b, data), &server);
    double rate = measure(b, server.address, photos, 8, b->brief ? 50 : 3000, &latency);
    server_kill(&server); // the backlog is of no interest
    bench_remove(data);
    snprintf(name, sizeof name, "acks_per_s_60k_8_clients_%s", how);
    bench_at_least(b, name, rate, 250);
    snprintf(name, sizeof name, "ack_p50_ms_60k_8_clients_%s", how);
    bench_at_most(b, name, series_quantile(&latency, 0.5), 30);
    snprintf(name, sizeof name, "ack_p99_ms_60k_8_clients_%s", how);
    bench_fact(b, name, series_quantile(&latency, 0.99));
    series_free(&latency);
    photos_free(photos, PHOTOS);
}

int main(int argc, char **argv)
{
    struct bench b;
    bench_open(&b, "acks", argc, argv);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct photo photos[PHOTOS];
        photos_make(sizes[i].width, sizes[i].height, sizes[i].bytes, photos, PHOTOS);
        for (size_t j = 0; j < ARRAY_LEN(connections); j++) {
            bench_say(&b, "bodies of %zu bytes, %d connections", sizes[i].bytes + TAIL_LEN, connections[j]);
            compare(&b, &sizes[i], photos, connections[j]);
        }
        photos_free(photos, PHOTOS);
    }
    absolute(&b, SERVER_HELD, "held");
    absolute(&b, SERVER_DEEPLENS, "running");
    return 0;
}
