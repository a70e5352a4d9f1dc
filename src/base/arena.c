// SPDX-License-Identifier: Apache-2.0
// The arena: a list of blocks, the newest first; large requests get a block of their own.
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK_SIZE = 4096, ALIGN = 16 };

struct arena_block {
    struct arena_block *next;
    size_t used;
    size_t size;
    _Alignas(ALIGN) char data[];
};

static struct arena_block *block_new(size_t size)
{
    struct arena_block *block = calloc(1, sizeof *block + size);
    if (!block)
        abort();
    block->size = size;
    return block;
}

void *arena_alloc(struct arena *a, size_t size)
{
    if (size > (size_t)1 << 40)
        abort();
    size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (size > BLOCK_SIZE / 2) {
        struct arena_block *large = block_new(size);
        large->used = size;
        if (a->head) { // keep the half-filled block in front
            large->next = a->head->next;
            a->head->next = large;
        } else {
            a->head = large;
        }
        return large->data;
    }
    if (!a->head || a->head->size - a->head->used < size) {
        struct arena_block *block = block_new(BLOCK_SIZE);
        block->next = a->head;
        a->head = block;
    }
    void *p = a->head->data + a->head->used;
    a->head->used += size;
    return p;
}

char *arena_memdup(struct arena *a, const void *data, size_t len)
{
    char *copy = arena_alloc(a, len + 1);
    if (len)
        memcpy(copy, data, len);
    copy[len] = 0;
    return copy;
}

char *arena_strdup(struct arena *a, const char *text)
{
    return text ? arena_memdup(a, text, strlen(text)) : NULL;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int need = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = arena_alloc(a, (size_t)(need < 0 ? 0 : need) + 1);
    vsnprintf(text, (size_t)(need < 0 ? 0 : need) + 1, fmt, again);
    va_end(again);
    return text;
}

void arena_free(struct arena *a)
{
    if (!a)
        return;
    for (struct arena_block *block = a->head, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    a->head = NULL;
}
