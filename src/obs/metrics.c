// SPDX-License-Identifier: Apache-2.0
// Each metric has a fixed array of series, one for each label value. A series is claimed once under a lock and
// published by storing the number of series; from then on readers find it without a lock and only add to its
// atomics. The last series of a metric is "other".
//
// A scrape reads while others count: each number is right by itself, and a histogram's count is the sum of the
// buckets as they were read, so that it always agrees with them.
#include "obs/metrics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "base/clock.h"

enum metric_kind { COUNTER, GAUGE, HISTOGRAM, SAMPLES };

static const struct {
    const char *name;
    enum metric_kind kind;
    const char *label;
    const char *text;
} table[METRIC_COUNT] = {
#define METRIC(symbol, name, kind, label, text) [M_##symbol] = {name, kind, label, text},
#include "obs/counters.def"
#undef METRIC
};

static const char *const kind_names[] = {
    [COUNTER] = "counter", [GAUGE] = "gauge", [HISTOGRAM] = "histogram", [SAMPLES] = "gauge"};

// Upper ends of the buckets, in microseconds and as Prometheus reads them.
static const struct {
    int64_t us;
    const char *le;
} bounds[] = {
    {500, "0.0005"}, {1000, "0.001"},  {2500, "0.0025"}, {5000, "0.005"},  {10000, "0.01"}, {25000, "0.025"},
    {50000, "0.05"}, {100000, "0.1"},  {250000, "0.25"}, {500000, "0.5"},  {1000000, "1"},  {2500000, "2.5"},
    {5000000, "5"},  {10000000, "10"}, {30000000, "30"}, {60000000, "60"},
};
enum { BOUNDS = ARRAY_LEN(bounds) };

struct series {
    char label[METRIC_LABEL_BYTES + 1];
    _Atomic int64_t value; // of counters and gauges; sum of microseconds of histograms
    _Atomic int64_t buckets[BOUNDS + 1];
};

static struct {
    _Atomic size_t count; // of the series that are published
    struct series series[METRIC_LABELS_MAX + 1];
} metrics[METRIC_COUNT];

static pthread_mutex_t claim_lock = PTHREAD_MUTEX_INITIALIZER;

static struct series *find(enum metric m, const char *label)
{
    size_t count = atomic_load_explicit(&metrics[m].count, memory_order_acquire);
    for (size_t i = 0; i < count; i++)
        if (strcmp(metrics[m].series[i].label, label) == 0)
            return &metrics[m].series[i];
    return NULL;
}

static struct series *claim(enum metric m, const char *label)
{
    pthread_mutex_lock(&claim_lock);
    struct series *s = find(m, label);
    size_t count = metrics[m].count;
    if (!s && count >= METRIC_LABELS_MAX) {
        label = "other";
        s = find(m, label);
    }
    if (!s) {
        s = &metrics[m].series[count];
        memcpy(s->label, label, strlen(label) + 1);
        atomic_store_explicit(&metrics[m].count, count + 1, memory_order_release);
    }
    pthread_mutex_unlock(&claim_lock);
    return s;
}

static struct series *series_of(enum metric m, const char *label)
{
    if (!label || !*table[m].label)
        label = "";
    else if (strlen(label) > METRIC_LABEL_BYTES)
        label = "other";
    struct series *s = find(m, label);
    return s ? s : claim(m, label);
}

void metrics_init(void)
{
    metric_set(M_START_TIME, NULL, clock_now_ms() / 1000);
    metric_set(M_BUILD_INFO, DEEPLENS_VERSION, 1);
}

void metric_add(enum metric m, const char *label, int64_t n)
{
    atomic_fetch_add_explicit(&series_of(m, label)->value, n, memory_order_relaxed);
}

void metric_set(enum metric m, const char *label, int64_t value)
{
    atomic_store_explicit(&series_of(m, label)->value, value, memory_order_relaxed);
}

void metric_observe(enum metric m, const char *label, double seconds)
{
    struct series *s = series_of(m, label);
    int64_t us = seconds > 0 ? (int64_t)(seconds * 1e6 + 0.5) : 0;
    size_t i = 0;
    while (i < BOUNDS && us > bounds[i].us)
        i++;
    atomic_fetch_add_explicit(&s->buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->value, us, memory_order_relaxed);
}

int64_t metric_get(enum metric m, const char *label)
{
    const struct series *s = find(m, label && *table[m].label ? label : "");
    if (!s || table[m].kind != HISTOGRAM)
        return s ? s->value : 0;
    int64_t count = 0;
    for (size_t i = 0; i <= BOUNDS; i++)
        count += s->buckets[i];
    return count;
}

// Writes `key="value"` with the escapes of the text format.
static void write_label(struct buf *out, const char *key, const char *value)
{
    buf_printf(out, "%s=\"", key);
    for (; *value; value++) {
        if (*value == '\n')
            buf_puts(out, "\\n");
        else if (*value == '"' || *value == '\\')
            buf_printf(out, "\\%c", *value);
        else
            buf_append(out, value, 1);
    }
    buf_puts(out, "\"");
}

// Writes the name of one sample with its labels, and the space behind.
static void write_name(struct buf *out, enum metric m, const struct series *s, const char *suffix, const char *le)
{
    bool labelled = *table[m].label;
    buf_printf(out, "%s%s", table[m].name, suffix);
    if (labelled || le)
        buf_puts(out, "{");
    if (labelled)
        write_label(out, table[m].label, s->label);
    if (le)
        buf_printf(out, "%sle=\"%s\"", labelled ? "," : "", le);
    buf_puts(out, labelled || le ? "} " : " ");
}

static void write_histogram(struct buf *out, enum metric m, const struct series *s)
{
    int64_t count = 0;
    for (size_t i = 0; i <= BOUNDS; i++) {
        count += s->buckets[i];
        write_name(out, m, s, "_bucket", i < BOUNDS ? bounds[i].le : "+Inf");
        buf_printf(out, "%lld\n", (long long)count);
    }
    int64_t sum = s->value;
    write_name(out, m, s, "_sum", NULL);
    buf_printf(out, "%lld.%06lld\n", (long long)(sum / 1000000), (long long)(sum % 1000000));
    write_name(out, m, s, "_count", NULL);
    buf_printf(out, "%lld\n", (long long)count);
}

static void write_head(struct buf *out, enum metric m)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", table[m].name, table[m].text, table[m].name,
               kind_names[table[m].kind]);
}

int metrics_write_samples(enum metric m, const struct metric_sample *samples, size_t count, struct buf *out)
{
    write_head(out, m);
    for (size_t i = 0; i < count && i < METRIC_SAMPLES_MAX; i++) {
        const char *names = table[m].label;
        buf_printf(out, "%s{", table[m].name);
        for (size_t n = 0; n < METRIC_NAMES_MAX && *names; n++) {
            char name[32];
            size_t len = strcspn(names, ",");
            snprintf(name, sizeof name, "%s%.*s", n ? "," : "", (int)len, names);
            write_label(out, name, samples[i].labels[n]);
            names += len + (names[len] == ',');
        }
        buf_printf(out, "} %lld\n", (long long)samples[i].value);
    }
    return out->failed ? -1 : 0;
}

int metrics_write(struct buf *out)
{
    for (enum metric m = 0; m < METRIC_COUNT; m++) {
        if (table[m].kind == SAMPLES)
            continue;
        if (!*table[m].label)
            series_of(m, NULL); // shown from the start, as 0
        write_head(out, m);
        size_t count = atomic_load_explicit(&metrics[m].count, memory_order_acquire);
        for (size_t i = 0; i < count; i++) {
            const struct series *s = &metrics[m].series[i];
            if (table[m].kind == HISTOGRAM) {
                write_histogram(out, m, s);
            } else {
                write_name(out, m, s, "", NULL);
                buf_printf(out, "%lld\n", (long long)s->value);
            }
        }
    }
    return out->failed ? -1 : 0;
}

void metrics_markdown(FILE *out)
{
    fputs("<!-- Made from src/obs/counters.def; edit that. -->\n"
          "# Metrics\n\n"
          "Served at `/metrics` in Prometheus' text format. A label has at most ",
          out);
    fprintf(out, "%d values; what is beyond is counted as `other`.\n\n", METRIC_LABELS_MAX);
    fputs("| Metric | Kind | Label | What it says |\n|---|---|---|---|\n", out);
    for (enum metric m = 0; m < METRIC_COUNT; m++) {
        const char *tick = *table[m].label ? "`" : "";
        fprintf(out, "| `%s` | %s | %s%s%s | %s |\n", table[m].name, kind_names[table[m].kind], tick, table[m].label,
                tick, table[m].text);
    }
}
