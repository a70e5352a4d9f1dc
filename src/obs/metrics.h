// SPDX-License-Identifier: Apache-2.0
// Metrics: counted anywhere, shown at /metrics in Prometheus' text format.
//
// Any thread. Counting takes no lock, except when a label value is seen for the first time. A metric keeps at most
// METRIC_LABELS_MAX label values of at most METRIC_LABEL_BYTES bytes; what is beyond is counted under "other" (G8).
#ifndef DEEPLENS_OBS_METRICS_H
#define DEEPLENS_OBS_METRICS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"

enum metric {
#define METRIC(symbol, name, kind, label, text) M_##symbol,
#include "obs/counters.def"
#undef METRIC
    METRIC_COUNT
};

enum { METRIC_LABELS_MAX = 64, METRIC_LABEL_BYTES = 63 };

void metrics_init(void); // the start time and the version; once, at the start of a program

// `label` is NULL where the table names none.
void metric_add(enum metric m, const char *label, int64_t n);     // counters, and gauges by difference
void metric_set(enum metric m, const char *label, int64_t value); // gauges
void metric_observe(enum metric m, const char *label, double seconds);

// The value of a counter or gauge, or the number of observations; 0 where nothing was counted.
int64_t metric_get(enum metric m, const char *label);

enum { METRIC_SAMPLES_MAX = 1024, METRIC_NAMES_MAX = 3 };
struct metric_sample {
    const char *labels[METRIC_NAMES_MAX];
    int64_t value;
};
// Writes a metric of kind SAMPLES: the first METRIC_SAMPLES_MAX of them.
int metrics_write_samples(enum metric m, const struct metric_sample *samples, size_t count, struct buf *out);

// All others.
int metrics_write(struct buf *out); // -1 when `out` is too small
void metrics_markdown(FILE *out);   // docs/METRICS.md

#endif
