// SPDX-License-Identifier: Apache-2.0
// The tables of tokens and of pairs of them: open addressing, filled once.
#include <string.h>

#include "backends/extractor/tokenizer_int.h"

static size_t table_size(size_t count)
{
    size_t size = 16;
    while (size < count * 2)
        size *= 2;
    return size;
}

static void *table_new(size_t count, size_t entry)
{
    void *table = calloc(count, entry);
    if (!table)
        abort(); // bounded by TOKENIZER_FILE_MAX
    return table;
}

void vocab_init(struct vocab *v, size_t count)
{
    size_t size = table_size(count);
    *v = (struct vocab){.entries = table_new(size, sizeof *v->entries), .mask = size - 1};
}

void vocab_free(struct vocab *v)
{
    arena_free(&v->arena);
    free(v->entries);
    *v = (struct vocab){0};
}

// FNV's low bits are weak: the place is taken from all of them.
static size_t place(uint64_t hash, size_t mask)
{
    return (size_t)((hash * 0x9e3779b97f4a7c15u) >> 32) & mask;
}

static struct vocab_entry *vocab_slot(const struct vocab *v, const char *bytes, size_t len, uint64_t hash)
{
    for (size_t i = place(hash, v->mask);; i = (i + 1) & v->mask) {
        struct vocab_entry *e = &v->entries[i];
        if (!e->bytes || (e->len == len && memcmp(e->bytes, bytes, len) == 0))
            return e;
    }
}

static uint64_t hash_of(const char *bytes, size_t len)
{
    uint64_t hash = VOCAB_HASH_START;
    for (size_t i = 0; i < len; i++)
        hash = vocab_hash(hash, (unsigned char)bytes[i]);
    return hash;
}

void vocab_add(struct vocab *v, const char *bytes, size_t len, int32_t id)
{
    struct vocab_entry *e = vocab_slot(v, bytes, len, hash_of(bytes, len));
    if (e->bytes) {
        e->id = id;
        return;
    }
    *e = (struct vocab_entry){arena_memdup(&v->arena, bytes, len), (uint32_t)len, id};
    v->count++;
    v->longest = len > v->longest ? len : v->longest;
}

int32_t vocab_find_hashed(const struct vocab *v, const char *bytes, size_t len, uint64_t hash)
{
    if (!v->entries)
        return -1;
    const struct vocab_entry *e = vocab_slot(v, bytes, len, hash);
    return e->bytes ? e->id : -1;
}

int32_t vocab_find(const struct vocab *v, const char *bytes, size_t len)
{
    return vocab_find_hashed(v, bytes, len, hash_of(bytes, len));
}

// --- Pairs

void pairs_init(struct pairs *p, size_t count)
{
    size_t size = table_size(count);
    *p = (struct pairs){.entries = table_new(size, sizeof *p->entries), .mask = size - 1};
    for (size_t i = 0; i < size; i++)
        p->entries[i].left = -1;
}

void pairs_free(struct pairs *p)
{
    free(p->entries);
    *p = (struct pairs){0};
}

static struct pair_entry *pairs_slot(const struct pairs *p, int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    for (size_t i = place(key ^ key >> 29, p->mask);; i = (i + 1) & p->mask) {
        struct pair_entry *e = &p->entries[i];
        if (e->left < 0 || (e->left == left && e->right == right))
            return e;
    }
}

void pairs_add(struct pairs *p, int32_t left, int32_t right, int32_t rank, int32_t merged)
{
    *pairs_slot(p, left, right) = (struct pair_entry){left, right, rank, merged};
}

const struct pair_entry *pairs_find(const struct pairs *p, int32_t left, int32_t right)
{
    const struct pair_entry *e = pairs_slot(p, left, right);
    return e->left < 0 ? NULL : e;
}

// --- Pieces

void pieces_init(struct pieces *p)
{
    *p = (struct pieces){.text = BUF_INIT(TOKENIZER_NORMAL_MAX)};
}

void pieces_free(struct pieces *p)
{
    buf_free(&p->text);
    free(p->at);
    p->at = NULL;
}

void pieces_end(struct pieces *p, size_t begin, bool first)
{
    if (p->text.len == begin)
        return;
    if (p->count == p->cap) { // at most one a byte of the text
        size_t cap = p->cap ? p->cap * 2 : 64;
        struct piece *grown = realloc(p->at, cap * sizeof *grown);
        if (!grown)
            abort();
        p->at = grown;
        p->cap = cap;
    }
    p->at[p->count++] = (struct piece){begin, p->text.len - begin, first};
}
