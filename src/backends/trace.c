// SPDX-License-Identifier: Apache-2.0
// The tracing wrapper: for each call of a port one line in the log.
#include "backends/trace.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "backends/wrap.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

static const char *const port_names[] = {"blob", "eventlog", "extractor", "index", "meta"};
static unsigned chosen; // bit i: port_names[i]

static int port_bit(const char *name, size_t len, unsigned *bit)
{
    for (unsigned i = 0; i < ARRAY_LEN(port_names); i++) {
        if (strlen(port_names[i]) == len && strncmp(port_names[i], name, len) == 0) {
            *bit = 1u << i;
            return 0;
        }
    }
    return -1;
}

int trace_setup(const char *ports, struct error *err)
{
    unsigned wanted = 0, bit;
    for (const char *p = ports ? ports : ""; *p;) {
        size_t len = strcspn(p, ",");
        if (port_bit(p, len, &bit) < 0)
            return error_set(err, ERR_CONFIG,
                             "\"%.*s\" cannot be traced: the ports are blob, eventlog, extractor, index and meta",
                             (int)(len < 64 ? len : 64), p);
        wanted |= bit;
        p += len + (p[len] == ',');
    }
    chosen = wanted;
    return 0;
}

static bool is_chosen(const char *port)
{
    unsigned bit;
    return port_bit(port, strlen(port), &bit) == 0 && (chosen & bit);
}

__attribute__((format(printf, 5, 6))) static void report(const char *call, int rc, const struct error *err,
                                                         int64_t began, const char *fmt, ...)
{
    long long took = clock_mono_us() - began;
    char arguments[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(arguments, sizeof arguments, fmt, args);
    va_end(args);
    if (rc == 0)
        log_info("trace", "%s(%s) in %lld us", call, arguments, took);
    else
        log_info("trace", "%s(%s) = %d %s in %lld us", call, arguments, rc, err ? err->message : "", took);
}

#define CALL(port, call, params, arguments, ...)                                                                       \
    static int trace_##port##_##call params                                                                            \
    {                                                                                                                  \
        int64_t began = clock_mono_us();                                                                               \
        int rc = port##_inner->call arguments;                                                                         \
        report(#port "." #call, rc, err, began, __VA_ARGS__);                                                          \
        return rc;                                                                                                     \
    }
#define VOID(port, call, params, arguments, ...)                                                                       \
    static void trace_##port##_##call params                                                                           \
    {                                                                                                                  \
        int64_t began = clock_mono_us();                                                                               \
        port##_inner->call arguments;                                                                                  \
        report(#port "." #call, 0, NULL, began, __VA_ARGS__);                                                          \
    }
#define ENDS CALL
#define ASYNC VOID
#include "backends/calls/all.def"
#undef CALL
#undef ENDS
#undef VOID
#undef ASYNC

#define CALL(port, call, ...) WRAP_CALL(port, call, trace_##port##_##call)
#define ENDS CALL
#define VOID CALL
#define ASYNC CALL

struct blob trace_wrap_blob(struct blob inner)
{
    WRAP_BEGIN(blob, is_chosen("blob"))
#include "backends/calls/blob.def"
    WRAP_END(blob)
}

struct eventlog trace_wrap_eventlog(struct eventlog inner)
{
    WRAP_BEGIN(eventlog, is_chosen("eventlog"))
#include "backends/calls/eventlog.def"
    WRAP_END(eventlog)
}

struct extractor trace_wrap_extractor(struct extractor inner)
{
    WRAP_BEGIN(extractor, is_chosen("extractor"))
#include "backends/calls/extractor.def"
    WRAP_END(extractor)
}

struct index trace_wrap_index(struct index inner)
{
    WRAP_BEGIN(index, is_chosen("index"))
#include "backends/calls/index.def"
    WRAP_END(index)
}

struct meta trace_wrap_meta(struct meta inner)
{
    WRAP_BEGIN(meta, is_chosen("meta"))
#include "backends/calls/meta.def"
    WRAP_END(meta)
}
