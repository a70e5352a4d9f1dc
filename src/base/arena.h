// SPDX-License-Identifier: Apache-2.0
// An arena: memory that lives exactly as long as one job (a request, a step, a transaction's answer).
// Not for sharing between threads. Allocation aborts the process when memory is exhausted, as malloc's
// failure is not an error that a job could survive; bounds on input (G8) keep that from being an input's doing.
#ifndef DEEPLENS_BASE_ARENA_H
#define DEEPLENS_BASE_ARENA_H

#include <stddef.h>

#include "base/cleanup.h"

struct arena {
    struct arena_block *head;
};

void *arena_alloc(struct arena *a, size_t size);                   // zeroed, aligned to 16; never NULL
char *arena_strdup(struct arena *a, const char *text);             // NULL stays NULL
char *arena_memdup(struct arena *a, const void *data, size_t len); // adds a NUL behind
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3), nonnull(2)));
void arena_free(struct arena *a); // the arena may be used again afterwards

static inline void cleanup_arena(struct arena *a)
{
    arena_free(a);
}
#define _cleanup_arena_ _cleanup_(cleanup_arena)

#endif
