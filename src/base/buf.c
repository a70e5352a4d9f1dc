// SPDX-License-Identifier: Apache-2.0
// The bounded growing buffer.
#include "base/buf.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

void buf_free(struct buf *b)
{
    if (!b)
        return;
    free(b->data);
    *b = BUF_INIT(b->max);
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data)
        b->data[0] = 0;
}

int buf_reserve(struct buf *b, size_t more)
{
    if (b->failed || more > b->max || b->len > b->max - more) {
        b->failed = true;
        return -1;
    }
    size_t need = b->len + more + 1;
    if (b->data && need <= b->cap)
        return 0;
    size_t cap = b->cap ? b->cap : 256;
    while (cap < need)
        cap *= 2;
    if (cap > b->max + 1)
        cap = b->max + 1;
    char *grown = realloc(b->data, cap);
    if (!grown) {
        b->failed = true;
        return -1;
    }
    b->data = grown;
    b->cap = cap;
    return 0;
}

int buf_append(struct buf *b, const void *data, size_t len)
{
    if (buf_reserve(b, len) < 0)
        return -1;
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = 0;
    return 0;
}

int buf_puts(struct buf *b, const char *text)
{
    return buf_append(b, text, strlen(text));
}

int buf_vprintf(struct buf *b, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    int need = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (need < 0 || buf_reserve(b, (size_t)need) < 0) {
        b->failed = true;
        return -1;
    }
    vsnprintf(b->data + b->len, (size_t)need + 1, fmt, args);
    b->len += (size_t)need;
    return 0;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int rc = buf_vprintf(b, fmt, args);
    va_end(args);
    return rc;
}

char *buf_steal(struct buf *b)
{
    if (b->failed || (!b->data && buf_append(b, "", 0) < 0))
        return NULL;
    char *data = b->data;
    *b = BUF_INIT(b->max);
    return data;
}
