// SPDX-License-Identifier: Apache-2.0
// Small answers on a kept-alive connection. A server that leaves Nagle's algorithm on makes every second one wait for
// the client's delayed acknowledgement: 40 ms and more instead of a fraction of one.
#include <string.h>

#include "server.h"
#include "wire.h"

static const double goal_ms = 10;

// The median time of a request, two of them on each fresh connection.
static double pairs(const struct server *server, const char *path, int rounds)
{
    struct series times = {0};
    for (int i = 0; i < rounds; i++) {
        struct wire w;
        wire_open(&w, server->address);
        for (int j = 0; j < 2; j++) {
            double start = bench_now();
            wire_get(&w, path);
            series_add(&times, (bench_now() - start) * 1000);
            wire_expect(&w, 200, path);
        }
        wire_close(&w);
    }
    double median = series_quantile(&times, 0.5);
    series_free(&times);
    return median;
}

// The median time of two answers to two requests sent at once.
static double pipelined(const struct server *server, int rounds)
{
    static const char two[] =
        "GET /healthz HTTP/1.1\r\nHost: bench\r\n\r\nGET /healthz HTTP/1.1\r\nHost: bench\r\n\r\n";
    struct series times = {0};
    struct wire w;
    wire_open(&w, server->address);
    for (int i = 0; i < rounds; i++) {
        double start = bench_now();
        wire_send(&w, two, strlen(two));
        for (int j = 0; j < 2; j++) {
            wire_receive(&w);
            wire_expect(&w, 200, "/healthz");
        }
        series_add(&times, (bench_now() - start) * 1000);
    }
    wire_close(&w);
    double median = series_quantile(&times, 0.5);
    series_free(&times);
    return median;
}

int main(int argc, char **argv)
{
    struct bench b;
    struct server server;
    char data[4096];
    bench_open(&b, "nodelay", argc, argv);
    bench_say(&b, "small answers on kept-alive connections");
    server_start_on(&b, SERVER_DEEPLENS, bench_fresh(&b, data), &server);
    int rounds = b.brief ? 10 : 200;
    bench_at_most(&b, "quick_answer_p50_ms", pairs(&server, "/healthz", rounds), goal_ms);
    bench_at_most(&b, "worker_answer_p50_ms", pairs(&server, "/api/v1/admin/ledger", rounds), goal_ms);
    bench_at_most(&b, "two_at_once_p50_ms", pipelined(&server, rounds), goal_ms);
    server_stop(&server);
    return 0;
}
