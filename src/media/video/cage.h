// SPDX-License-Identifier: Apache-2.0
// The cage: what a process gives up before it looks at bytes of strangers. From then on it has the descriptors that it
// was handed, memory and time within limits, threads, and nothing else: no files, no network, no other programs.
#ifndef DEEPLENS_MEDIA_VIDEO_CAGE_H
#define DEEPLENS_MEDIA_VIDEO_CAGE_H

#include <stdint.h>

#include "base/error.h"

struct cage_limits {
    uint64_t memory; // bytes of address space beyond what is taken when the door closes
    int64_t cpu_s;   // processor time; above, the process is killed
};

// For good. Descriptors 0 to 2 lead nowhere afterwards, those from `first_free` on are closed.
int cage_enter(const struct cage_limits *limits, int first_free, struct error *err);

#endif
