// SPDX-License-Identifier: Apache-2.0
// Progress of long work, on stderr: a bar with rate and time left on a terminal; elsewhere a plain line now and then;
// nothing when it is to be quiet. One thread.
#ifndef DEEPLENS_CLI_PROGRESS_H
#define DEEPLENS_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct progress {
    const char *label;    // "Uploading"
    uint64_t total;       // items
    uint64_t total_bytes; // 0: there are no bytes to count
    bool quiet;
    unsigned width; // of the terminal; 0: it is none
    int64_t start_us;
    int64_t drawn_us; // 0: not yet
};

void progress_start(struct progress *p, const char *label, uint64_t total, uint64_t total_bytes, bool quiet);
void progress_show(struct progress *p, uint64_t done, uint64_t bytes); // as often as one likes; draws when it is time
void progress_end(struct progress *p);                                 // removes the bar

// The line that progress_show draws, `elapsed` seconds after the start, in at most `width` columns (0: a plain line
// without a bar).
void progress_line(const struct progress *p, uint64_t done, uint64_t bytes, double elapsed, unsigned width,
                   struct buf *out);

#endif
