// SPDX-License-Identifier: Apache-2.0
// What every benchmark stands on: its arguments, a folder of its own, figures, and what to make of many measurements.
//
// A benchmark is a program `NAME BUILD [--short] [--model NAME]`. It prints one line of JSON for each figure to stdout,
// what it is doing to stderr, and fails (exit 1) only when it could not measure. A goal that is not met is a fact, not
// an error.
#ifndef DEEPLENS_BENCH_BENCH_H
#define DEEPLENS_BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"

struct bench {
    const char *name;
    const char *build; // the build folder: where the programs are
    bool brief;        // a smoke run: everything is done, little of it
    const char *model; // "builtin", or one of the usual folder (`make models`), which servers then take, too
    char dir[4096];    // on the build folder's disk; removed at exit
};

void bench_open(struct bench *b, const char *name, int argc, char **argv);

void bench_fact(const struct bench *b, const char *figure, double value);
void bench_at_least(const struct bench *b, const char *figure, double value, double goal);
void bench_at_most(const struct bench *b, const char *figure, double value, double goal);
void bench_say(const struct bench *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

_Noreturn void bench_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
// Fails with the error's message when `rc` is negative.
void bench_check(int rc, const struct error *err);

int bench_processors(void);
double bench_now(void); // seconds, monotonic
void bench_sleep(double seconds);
struct rusage;
double bench_cpu(const struct rusage *used); // seconds; NULL: of this process so far

// Folders, always below the benchmark's own.
const char *bench_fresh(struct bench *b, char out[4096]); // a new empty one
void bench_remove(const char *path);                      // with all that is in it
void bench_settle(const struct bench *b);                 // waits until everything written so far is on the disk

// Measurements. `at` 0.5 is the median. The values are sorted in place.
double bench_quantile(double *values, size_t count, double at);

struct series { // grows without end
    double *values;
    size_t count, room;
};
void series_add(struct series *s, double value);
double series_quantile(struct series *s, double at); // 0 when empty
void series_free(struct series *s);

#endif
