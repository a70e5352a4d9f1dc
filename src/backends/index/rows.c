// SPDX-License-Identifier: Apache-2.0
// The vectors of one collection in memory: chunks, items, and the map from ids to rows.
#include "backends/index/rows.h"

#include <stdlib.h>
#include <string.h>

#include "backends/index/kernel.h"
#include "backends/index/vecfile.h"
#include "base/hash.h"

enum {
    CHUNK_BYTES = 1 << 20, // of vectors
    CHUNK_ROWS_MIN = 4,
    SLAB_BYTES = 1 << 16,
    SLAB_FIRST = 1 << 12, // most collections of most tenants are small
    MAP_FIRST = 64,
    TABLE_FIRST = 8,
};

struct slab {
    struct slab *next;
    size_t used;
    size_t size;
    _Alignas(16) char data[];
};

// A table of chunks that views may still use; all of them together are smaller than the present one.
struct retired {
    struct retired *next;
    struct chunk **chunks;
};

static unsigned chunk_shift(size_t stride)
{
    unsigned shift = 0;
    while ((size_t)1 << shift < CHUNK_ROWS_MIN || ((size_t)2 << shift) * stride * sizeof(float) <= CHUNK_BYTES)
        shift++;
    return shift;
}

struct rows *rows_new(size_t dimension)
{
    struct rows *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->dimension = dimension;
    r->stride = (dimension + KERNEL_STEP - 1) / KERNEL_STEP * KERNEL_STEP;
    r->chunk_shift = chunk_shift(r->stride);
    r->refs = 1;
    return r;
}

static void chunk_free(struct chunk *chunk)
{
    if (chunk) {
        free(chunk->vectors);
        free(chunk->sketches);
    }
    free(chunk);
}

void rows_free(struct rows *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->chunk_count; i++)
        chunk_free(r->chunks[i]);
    for (struct retired *old = r->retired, *next; old; old = next) {
        next = old->next;
        free(old->chunks);
        free(old);
    }
    for (struct slab *slab = r->slabs, *next; slab; slab = next) {
        next = slab->next;
        free(slab);
    }
    free(r->chunks);
    free(r->map);
    free(r);
}

static void lock_if(pthread_mutex_t *lock)
{
    if (lock)
        pthread_mutex_lock(lock);
}

static void unlock_if(pthread_mutex_t *lock)
{
    if (lock)
        pthread_mutex_unlock(lock);
}

// ---- Tables ----

static int table_grow(struct rows *r, pthread_mutex_t *lock)
{
    size_t cap = r->chunk_cap ? 2 * r->chunk_cap : TABLE_FIRST;
    struct retired *retired = malloc(sizeof *retired);
    struct chunk **table = malloc(cap * sizeof *table);
    if (!retired || !table) {
        free(retired);
        free(table);
        return -1;
    }
    if (r->chunk_count)
        memcpy(table, r->chunks, r->chunk_count * sizeof *table);
    *retired = (struct retired){.next = r->retired, .chunks = r->chunks};
    r->retired = retired;
    lock_if(lock);
    r->chunks = table;
    unlock_if(lock);
    r->chunk_cap = cap;
    return 0;
}

static int chunk_add(struct rows *r, pthread_mutex_t *lock)
{
    if (r->chunk_count == r->chunk_cap && table_grow(r, lock) < 0)
        return -1;
    size_t rows = (size_t)1 << r->chunk_shift;
    struct chunk *chunk = malloc(sizeof *chunk + rows * sizeof chunk->items[0]);
    if (!chunk)
        return -1;
    chunk->vectors = aligned_alloc(KERNEL_ALIGN, rows * r->stride * sizeof(float));
    chunk->sketches = aligned_alloc(KERNEL_ALIGN, rows * sizeof *chunk->sketches);
    if (!chunk->vectors || !chunk->sketches) {
        chunk_free(chunk);
        return -1;
    }
    r->chunks[r->chunk_count++] = chunk;
    return 0;
}

static void map_put_new(uint32_t *map, size_t size, uint64_t hash, uint32_t row)
{
    size_t at = hash & (size - 1);
    while (map[at])
        at = (at + 1) & (size - 1);
    map[at] = row + 1;
}

// At most two thirds full.
static int map_reserve(struct rows *r, size_t entries, pthread_mutex_t *lock)
{
    if (entries <= r->map_size / 3 * 2)
        return 0;
    size_t size = r->map_size ? r->map_size : MAP_FIRST;
    while (entries > size / 3 * 2)
        size *= 2;
    uint32_t *map = calloc(size, sizeof *map);
    if (!map)
        return -1;
    for (size_t i = 0; i < r->map_size; i++)
        if (r->map[i])
            map_put_new(map, size, rows_item(r, r->map[i] - 1)->hash, r->map[i] - 1);
    uint32_t *old = r->map;
    lock_if(lock);
    r->map = map;
    r->map_size = size;
    unlock_if(lock);
    free(old);
    return 0;
}

int rows_reserve(struct rows *r, size_t more, pthread_mutex_t *lock, struct error *err)
{
    if (more > UINT32_MAX - 1 - r->count)
        return error_set(err, ERR_UNSUPPORTED, "A collection holds at most %u vectors", UINT32_MAX - 1);
    while (r->chunk_count << r->chunk_shift < r->count + more)
        if (chunk_add(r, lock) < 0)
            return error_set(err, ERR_NO_MEMORY, "There is no memory for %zu more vectors", more);
    if (map_reserve(r, r->live + more, lock) < 0)
        return error_set(err, ERR_NO_MEMORY, "There is no memory for %zu more ids", more);
    r->mark = r->slabs;
    r->mark_used = r->slabs ? r->slabs->used : 0;
    return 0;
}

// ---- Items ----

static void *slab_alloc(struct rows *r, size_t size)
{
    size = (size + 7) & ~(size_t)7;
    if (!r->slabs || r->slabs->size - r->slabs->used < size) {
        size_t room = r->slabs ? SLAB_BYTES : SLAB_FIRST;
        if (room < size)
            room = size;
        struct slab *slab = malloc(sizeof *slab + room);
        if (!slab)
            return NULL;
        *slab = (struct slab){.next = r->slabs, .size = room};
        r->slabs = slab;
    }
    void *p = r->slabs->data + r->slabs->used;
    r->slabs->used += size;
    return p;
}

float *rows_stage(struct rows *r, size_t ahead, const char *id, size_t id_len, const struct term *terms,
                  size_t term_count)
{
    uint32_t row = r->count + (uint32_t)ahead;
    struct item *item = slab_alloc(r, sizeof *item + term_count * sizeof *terms + id_len + 1);
    if (!item)
        return NULL;
    atomic_init(&item->died, ROW_ALIVE);
    item->hash = hash64(id, id_len);
    item->terms = (uint16_t)term_count;
    item->id_len = (uint8_t)id_len;
    if (term_count)
        memcpy(item->term, terms, term_count * sizeof *terms);
    char *copy = (char *)(item->term + term_count);
    memcpy(copy, id, id_len);
    copy[id_len] = 0;
    r->chunks[row >> r->chunk_shift]->items[row & ((1U << r->chunk_shift) - 1)] = item;
    float *vector = rows_vector(r, row);
    memset(vector + r->dimension, 0, (r->stride - r->dimension) * sizeof *vector);
    return vector;
}

void rows_filled(struct rows *r, size_t ahead)
{
    uint32_t row = r->count + (uint32_t)ahead;
    struct chunk *chunk = r->chunks[row >> r->chunk_shift];
    sketch_make(rows_vector(r, row), r->dimension, chunk->sketches[row & ((1U << r->chunk_shift) - 1)]);
}

void rows_unstage(struct rows *r)
{
    while (r->slabs != r->mark) {
        struct slab *slab = r->slabs;
        r->slabs = slab->next;
        free(slab);
    }
    if (r->slabs)
        r->slabs->used = r->mark_used;
}

// ---- The map ----

// Where the id stands, or the free place where its search ended.
static size_t map_seek(const struct rows *r, uint64_t hash, const char *id, size_t id_len)
{
    size_t at = hash & (r->map_size - 1);
    for (; r->map[at]; at = (at + 1) & (r->map_size - 1)) {
        const struct item *item = rows_item(r, r->map[at] - 1);
        if (item->hash == hash && item->id_len == id_len && memcmp(item_id(item), id, id_len) == 0)
            break;
    }
    return at;
}

// Empties a place and closes the gap: whatever stands behind it and was pushed over it moves back.
static void map_erase(struct rows *r, size_t gap)
{
    size_t mask = r->map_size - 1;
    for (size_t at = (gap + 1) & mask; r->map[at]; at = (at + 1) & mask) {
        size_t home = rows_item(r, r->map[at] - 1)->hash & mask;
        if (((at - home) & mask) >= ((at - gap) & mask)) {
            r->map[gap] = r->map[at];
            gap = at;
        }
    }
    r->map[gap] = 0;
}

int64_t rows_find(const struct rows *r, const char *id, size_t id_len)
{
    if (r->map_size == 0)
        return -1;
    return (int64_t)r->map[map_seek(r, hash64(id, id_len), id, id_len)] - 1;
}

// ---- Writes ----

static uint64_t file_size(const struct rows *r, const struct item *item)
{
    return vecfile_record_size(r->dimension, item->id_len, item->terms);
}

static void row_end(struct rows *r, uint32_t row)
{
    struct item *item = rows_item(r, row);
    atomic_store_explicit(&item->died, r->version, memory_order_relaxed);
    r->live--;
    r->live_size -= file_size(r, item);
}

void rows_publish(struct rows *r, size_t staged)
{
    r->version++;
    for (size_t i = 0; i < staged; i++) {
        uint32_t row = r->count + (uint32_t)i;
        const struct item *item = rows_item(r, row);
        size_t at = map_seek(r, item->hash, item_id(item), item->id_len);
        if (r->map[at])
            row_end(r, r->map[at] - 1);
        r->map[at] = row + 1;
        r->live++;
        r->live_size += file_size(r, item);
    }
    r->count += (uint32_t)staged;
}

void rows_kill(struct rows *r, const uint32_t *rows, size_t count)
{
    r->version++;
    for (size_t i = 0; i < count; i++) {
        const struct item *item = rows_item(r, rows[i]);
        map_erase(r, map_seek(r, item->hash, item_id(item), item->id_len));
        row_end(r, rows[i]);
    }
}

int rows_copy_live(const struct rows *from, struct rows *to, struct error *err)
{
    if (rows_reserve(to, from->live, NULL, err) < 0)
        return -1;
    size_t staged = 0;
    for (uint32_t row = 0; row < from->count; row++) {
        const struct item *item = rows_item(from, row);
        if (atomic_load_explicit(&item->died, memory_order_relaxed) != ROW_ALIVE)
            continue;
        float *vector = rows_stage(to, staged++, item_id(item), item->id_len, item->term, item->terms);
        if (!vector)
            return error_set(err, ERR_NO_MEMORY, "There is no memory to rewrite %zu vectors", from->live);
        memcpy(vector, rows_vector(from, row), from->dimension * sizeof *vector);
        rows_filled(to, staged - 1);
    }
    to->version = from->version;
    rows_publish(to, staged);
    return 0;
}
