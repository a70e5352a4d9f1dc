// SPDX-License-Identifier: Apache-2.0
// Servers as processes of their own. They end with the benchmark, however that ends.
#ifndef DEEPLENS_BENCH_SERVER_H
#define DEEPLENS_BENCH_SERVER_H

#include <sys/types.h>

#include "bench.h"

struct server {
    pid_t pid;
    int out;
    char address[64]; // "127.0.0.1:40001"
    double cpu;       // seconds of processor time that it took; known when it has ended
};

// Programs of the build folder that print "… http://ADDRESS" as their first line.
#define SERVER_DEEPLENS "deeplens"   // the real one
#define SERVER_HELD "bench/held"     // the same without workers
#define SERVER_BARE "bench/bare_mhd" // the peer

// Returns when the address is known. `args` end with NULL.
void server_start(const struct bench *b, const char *program, const char *const *args, struct server *out);
// The real server, or the held one, on this data folder.
void server_start_on(const struct bench *b, const char *program, const char *data_dir, struct server *out);
void server_stop(struct server *s); // SIGTERM, and waits
void server_kill(struct server *s); // SIGKILL, and waits

#endif
