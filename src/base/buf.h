// SPDX-License-Identifier: Apache-2.0
// A growing byte buffer with a maximum from birth. Every function that grows it returns 0 or -1; after one
// failure the buffer stays failed, so that a chain of appends may be checked once at its end.
#ifndef DEEPLENS_BASE_BUF_H
#define DEEPLENS_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

struct buf {
    char *data; // NUL-terminated once anything was appended; NULL before
    size_t len;
    size_t cap;
    size_t max; // bytes, without the final NUL
    bool failed;
};

#define BUF_INIT(max_bytes) ((struct buf){.max = (max_bytes)})

void buf_free(struct buf *b);  // takes NULL; the buffer may be used again afterwards
void buf_clear(struct buf *b); // keeps the memory
int buf_append(struct buf *b, const void *data, size_t len);
int buf_puts(struct buf *b, const char *text);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *b, const char *fmt, va_list args);
int buf_reserve(struct buf *b, size_t more); // room for `more` bytes behind `len`

// Hands the memory (never NULL unless failed) to the caller, who frees it; the buffer becomes empty.
char *buf_steal(struct buf *b);

static inline void cleanup_buf(struct buf *b)
{
    buf_free(b);
}
#define _cleanup_buf_ _cleanup_(cleanup_buf)

#endif
