// SPDX-License-Identifier: Apache-2.0
#include "bench.h"

#include <fcntl.h>
#include <ftw.h>
#include <linux/fs.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char own_dir[4096];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void bench_remove(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

// ext4 puts new files near their folder, and before each it passes over the inodes there that were freed in the last
// minutes: after a round's files were removed the next round's cost ten times as much. Folders in a folder with this
// flag are spread over the disk. Where the file system does not know it, nothing is lost.
static void spread_folders(const char *path)
{
    int flags, fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
        flags |= FS_TOPDIR_FL;
        ioctl(fd, FS_IOC_SETFLAGS, &flags);
    }
    if (fd >= 0)
        close(fd);
}

static void remove_own(void)
{
    bench_remove(own_dir);
}

static bool parse(struct bench *b, int argc, char **argv)
{
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], "--short") == 0)
            b->brief = true;
        else if (strcmp(argv[i], "--model") == 0 && i + 1 < argc)
            b->model = argv[++i];
        else
            return false;
    return argc >= 2;
}

void bench_open(struct bench *b, const char *name, int argc, char **argv)
{
    *b = (struct bench){.name = name, .build = argv[1], .model = "builtin"};
    if (!parse(b, argc, argv)) {
        fprintf(stderr, "usage: %s BUILD [--short] [--model NAME]\n", name);
        exit(2);
    }
    if (snprintf(b->dir, sizeof b->dir, "%s/bench/tmp-%s-XXXXXX", b->build, name) >= (int)sizeof b->dir ||
        !mkdtemp(b->dir))
        bench_fail("no folder can be made in %s/bench", b->build);
    spread_folders(b->dir);
    memcpy(own_dir, b->dir, sizeof own_dir);
    atexit(remove_own);
}

static void figure(const struct bench *b, const char *name, double value, const double *goal, bool met)
{
    printf("{\"bench\":\"%s\",\"figure\":\"%s\",\"value\":%.6g", b->name, name, value);
    if (goal)
        printf(",\"goal\":%.6g,\"met\":%s}\n", *goal, met ? "true" : "false");
    else
        printf(",\"goal\":null,\"met\":null}\n");
    fflush(stdout);
}

void bench_fact(const struct bench *b, const char *name, double value)
{
    figure(b, name, value, NULL, false);
}

void bench_at_least(const struct bench *b, const char *name, double value, double goal)
{
    figure(b, name, value, &goal, value >= goal);
}

void bench_at_most(const struct bench *b, const char *name, double value, double goal)
{
    figure(b, name, value, &goal, value <= goal);
}

void bench_say(const struct bench *b, const char *fmt, ...)
{
    va_list args;
    fprintf(stderr, "%s: ", b->name);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
}

void bench_fail(const char *fmt, ...)
{
    va_list args;
    fputs("bench: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

void bench_check(int rc, const struct error *err)
{
    if (rc < 0)
        bench_fail("%s", err->message);
}

int bench_processors(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

double bench_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

double bench_cpu(const struct rusage *used)
{
    struct rusage own;
    if (!used) {
        getrusage(RUSAGE_SELF, &own);
        used = &own;
    }
    return (double)(used->ru_utime.tv_sec + used->ru_stime.tv_sec) +
           (double)(used->ru_utime.tv_usec + used->ru_stime.tv_usec) / 1e6;
}

void bench_sleep(double seconds)
{
    if (seconds <= 0)
        return;
    struct timespec wait = {.tv_sec = (time_t)seconds, .tv_nsec = (long)(fmod(seconds, 1) * 1e9)};
    nanosleep(&wait, NULL);
}

const char *bench_fresh(struct bench *b, char out[4096])
{
    static unsigned number;
    if (snprintf(out, 4096, "%s/%u", b->dir, number++) >= 4096 || mkdir(out, 0700) < 0)
        bench_fail("no folder can be made in %s", b->dir);
    return out;
}

void bench_settle(const struct bench *b)
{
    int fd = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || syncfs(fd) < 0)
        bench_fail("%s cannot be synced", b->dir);
    close(fd);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_quantile(double *values, size_t count, double at)
{
    if (!count)
        return 0;
    qsort(values, count, sizeof *values, compare);
    double place = at * (double)(count - 1);
    size_t below = (size_t)place;
    double part = place - (double)below;
    return below + 1 < count ? values[below] * (1 - part) + values[below + 1] * part : values[below];
}

void series_add(struct series *s, double value)
{
    if (s->count == s->room) {
        s->room = s->room ? s->room * 2 : 1024;
        s->values = realloc(s->values, s->room * sizeof *s->values);
        if (!s->values)
            bench_fail("no memory for measurements");
    }
    s->values[s->count++] = value;
}

double series_quantile(struct series *s, double at)
{
    return bench_quantile(s->values, s->count, at);
}

void series_free(struct series *s)
{
    free(s->values);
    *s = (struct series){0};
}
