// SPDX-License-Identifier: Apache-2.0
// A proxy on 127.0.0.1 in front of a PostgreSQL server that counts the syncs that clients send: a client in pipeline
// mode sends one each time that it means to look at answers.
#ifndef DEEPLENS_BENCH_TURNS_H
#define DEEPLENS_BENCH_TURNS_H

#include <stdint.h>

struct turns;

struct turns *turns_start(int target_port, int *port); // without TLS
int64_t turns_count(struct turns *t);
void turns_stop(struct turns *t); // when its clients have gone

#endif
