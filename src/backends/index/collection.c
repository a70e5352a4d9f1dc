// SPDX-License-Identifier: Apache-2.0
// One collection: writing, flushing, rewriting. Searching is in search.c.
//
// A write is staged in memory behind what readers see, appended to the file as one frame, and published; when
// appending fails, nothing was. A file of which more than half is garbage (replaced and removed vectors) is
// rewritten from the living rows when it is opened or flushed. Searches go on in the old rows meanwhile.
#include "backends/index/collection.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { GARBAGE_MIN = 256 << 10 }; // bytes: below, rewriting costs more than it gives

static struct collection *collection_new(int dir, const struct kernel *kernel, const char *name)
{
    struct collection *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    snprintf(c->name, sizeof c->name, "%s", name);
    c->dir = dir;
    c->kernel = kernel;
    c->file.fd = -1;
    atomic_init(&c->refs, 1);
    pthread_mutex_init(&c->sync, NULL);
    pthread_mutex_init(&c->write, NULL);
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

struct collection *collection_ref(struct collection *c)
{
    atomic_fetch_add(&c->refs, 1);
    return c;
}

void collection_unref(struct collection *c)
{
    if (!c || atomic_fetch_sub(&c->refs, 1) > 1)
        return;
    rows_free(c->rows);
    if (c->file.fd >= 0)
        close(c->file.fd);
    pthread_mutex_destroy(&c->sync);
    pthread_mutex_destroy(&c->write);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

bool collection_name_ok(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return len > 0 && len <= COLLECTION_NAME_MAX && name[len] == 0;
}

// ---- Views ----

struct view collection_view(struct collection *c)
{
    pthread_mutex_lock(&c->lock);
    struct rows *rows = c->rows;
    struct view view = {.rows = rows, .chunks = rows->chunks, .count = rows->count, .version = rows->version};
    rows->refs++;
    pthread_mutex_unlock(&c->lock);
    return view;
}

static void rows_release(struct collection *c, struct rows *rows)
{
    pthread_mutex_lock(&c->lock);
    bool last = --rows->refs == 0;
    pthread_mutex_unlock(&c->lock);
    if (last)
        rows_free(rows);
}

void collection_release(struct collection *c, struct view *view)
{
    rows_release(c, view->rows);
}

size_t collection_count(struct collection *c)
{
    pthread_mutex_lock(&c->lock);
    size_t live = c->rows->live;
    pthread_mutex_unlock(&c->lock);
    return live;
}

// No lock is held while `each` is called.
int collection_list_ids(struct collection *c, int (*each)(void *arg, const char *id), void *arg)
{
    int rc = 0;
    struct view view = collection_view(c);
    size_t mask = ((size_t)1 << view.rows->chunk_shift) - 1;
    for (size_t row = 0; rc == 0 && row < view.count; row++) {
        const struct item *item = view.chunks[row >> view.rows->chunk_shift]->items[row & mask];
        if (atomic_load_explicit(&item->died, memory_order_relaxed) > view.version)
            rc = each(arg, item_id(item));
    }
    collection_release(c, &view);
    return rc;
}

// ---- Rewriting ----

static int sync_dir(const struct collection *c, struct error *err)
{
    if (fsync(c->dir) < 0)
        return error_errno(err, ERR_IO, errno, "The folder of %s cannot be made durable", c->name);
    return 0;
}

// Puts new rows and their file in the place of the old. Holds sync and write.
static void replace(struct collection *c, struct rows *rows, const struct vecfile *file)
{
    close(c->file.fd);
    c->file = *file;
    pthread_mutex_lock(&c->lock);
    struct rows *old = c->rows;
    c->rows = rows;
    pthread_mutex_unlock(&c->lock);
    rows_release(c, old);
}

// Rewrites the file from what is alive. Holds sync and write. Durable when it returns 0.
static int rewrite(struct collection *c, struct error *err)
{
    struct vecfile file;
    _cleanup_rows_ struct rows *rows = rows_new(c->dimension);
    if (!rows)
        return error_set(err, ERR_NO_MEMORY, "There is no memory to rewrite %s", c->name);
    if (rows_copy_live(c->rows, rows, err) < 0 || vecfile_create(c->dir, c->name, rows, &file, err) < 0)
        return -1;
    if (vecfile_rename(c->dir, c->name, err) < 0) {
        close(file.fd);
        vecfile_discard(c->dir, c->name);
        return -1;
    }
    replace(c, take_ptr(rows), &file);
    // The new file is in its place: only whether the name survives a power cut is open, so that what is flushed
    // cannot be promised before the folder was synced, which the next rewrite does.
    c->rewrite = sync_dir(c, err) < 0;
    return c->rewrite ? -1 : 0;
}

static uint64_t garbage(const struct collection *c)
{
    return c->file.length - VECFILE_HEADER - c->rows->live_size;
}

static bool rewrite_due(const struct collection *c)
{
    uint64_t waste = garbage(c);
    return waste > c->file.length / 2 && waste > c->rewrite_above;
}

// Rewrites when that pays. A failure harms nothing, and the next attempt waits for more garbage. Holds sync and write.
static void rewrite_if_due(struct collection *c)
{
    if (rewrite_due(c))
        c->rewrite_above = rewrite(c, NULL) < 0 ? 2 * garbage(c) : GARBAGE_MIN;
}

// ---- Making and opening ----

int collection_create(int dir, const struct kernel *kernel, const char *name, size_t dimension, struct collection **out,
                      struct error *err)
{
    _cleanup_collection_ struct collection *c = collection_new(dir, kernel, name);
    if (c)
        c->rows = rows_new(dimension);
    if (!c || !c->rows)
        return error_set(err, ERR_NO_MEMORY, "There is no memory for another collection");
    c->dimension = dimension;
    c->rewrite_above = GARBAGE_MIN;
    if (vecfile_create(dir, name, c->rows, &c->file, err) < 0)
        return -1;
    if (vecfile_rename(dir, name, err) < 0) {
        vecfile_discard(dir, name);
        return -1;
    }
    if (sync_dir(c, err) < 0) {
        collection_drop(c, NULL);
        return -1;
    }
    *out = take_ptr(c);
    return 0;
}

int collection_load(int dir, const struct kernel *kernel, const char *name, struct collection **out, struct error *err)
{
    _cleanup_collection_ struct collection *c = collection_new(dir, kernel, name);
    if (!c)
        return error_set(err, ERR_NO_MEMORY, "There is no memory for another collection");
    if (vecfile_load(dir, name, &c->file, &c->rows, err) < 0)
        return -1;
    c->dimension = c->rows->dimension;
    c->rewrite_above = GARBAGE_MIN;
    rewrite_if_due(c);
    *out = take_ptr(c);
    return 0;
}

int collection_drop(struct collection *c, struct error *err)
{
    char name[COLLECTION_NAME_MAX + sizeof VECFILE_SUFFIX];
    snprintf(name, sizeof name, "%s%s", c->name, VECFILE_SUFFIX);
    pthread_mutex_lock(&c->sync);
    pthread_mutex_lock(&c->write);
    int failed = unlinkat(c->dir, name, 0) < 0 && errno != ENOENT;
    if (failed)
        error_errno(err, ERR_IO, errno, "%s cannot be deleted", name);
    else
        c->dropped = true;
    pthread_mutex_unlock(&c->write);
    pthread_mutex_unlock(&c->sync);
    return failed ? -1 : 0;
}

// ---- Upsert ----

int vector_check(const float *vector, size_t dimension, const char *whose, struct error *err)
{
    double square = 0;
    for (size_t i = 0; i < dimension; i++)
        square += (double)vector[i] * vector[i];
    if (!isfinite(square))
        return error_set(err, ERR_INVALID_VECTOR, "The vector of %s has a component that is not a finite number",
                         whose);
    if (fabs(square - 1) > 1e-3)
        return error_set(err, ERR_INVALID_VECTOR, "The vector of %s has length %.4g and must be normalised to 1", whose,
                         sqrt(square));
    return 0;
}

static int id_check(const char *id, struct error *err)
{
    size_t len = id ? strnlen(id, ROW_ID_MAX + 1) : 0;
    if (len == 0 || len > ROW_ID_MAX)
        return error_set(err, ERR_INVALID_ID, "The id of a vector has 1 to %d bytes", ROW_ID_MAX);
    return 0;
}

static int points_check(const struct collection *c, const struct index_point *points, size_t count, struct error *err)
{
    if (count > VECFILE_BODY_MAX / vecfile_record_size(c->dimension, 1, 0))
        return error_set(err, ERR_INVALID, "A batch takes at most %d MiB", VECFILE_BODY_MAX >> 20);
    for (size_t i = 0; i < count; i++)
        if (id_check(points[i].id, err) < 0 || vector_check(points[i].vector, c->dimension, points[i].id, err) < 0)
            return -1;
    return 0;
}

// Stages the batch in memory and in the frame. Holds write.
static int stage(struct collection *c, const struct index_point *points, size_t count, struct buf *frame,
                 struct error *err)
{
    struct term terms[TERMS_MAX];
    frame_begin(frame);
    for (size_t i = 0; i < count; i++) {
        const struct index_point *point = &points[i];
        size_t id_len = strlen(point->id), term_count = terms_make(point->payload, terms, TERMS_MAX);
        float *vector = rows_stage(c->rows, i, point->id, id_len, terms, term_count);
        if (!vector)
            return error_set(err, ERR_NO_MEMORY, "There is no memory for %zu more vectors", count);
        memcpy(vector, point->vector, c->dimension * sizeof *vector);
        rows_filled(c->rows, i);
        frame_upsert(frame, point->id, id_len, terms, term_count, vector, c->dimension);
    }
    return frame_seal(frame, count, err);
}

static int check_there(const struct collection *c, struct error *err)
{
    if (c->dropped)
        return error_set(err, ERR_NOT_FOUND, "There is no collection %s", c->name);
    return 0;
}

// Holds write.
static int upsert(struct collection *c, const struct index_point *points, size_t count, struct error *err)
{
    _cleanup_buf_ struct buf frame = FRAME_INIT;
    if (check_there(c, err) < 0 || rows_reserve(c->rows, count, &c->lock, err) < 0)
        return -1;
    if (stage(c, points, count, &frame, err) < 0 || vecfile_append(&c->file, &frame, err) < 0) {
        rows_unstage(c->rows);
        return -1;
    }
    pthread_mutex_lock(&c->lock);
    rows_publish(c->rows, count);
    pthread_mutex_unlock(&c->lock);
    return 0;
}

int collection_upsert(struct collection *c, const struct index_point *points, size_t count, struct error *err)
{
    if (count == 0)
        return 0;
    if (points_check(c, points, count, err) < 0)
        return -1;
    pthread_mutex_lock(&c->write);
    int result = upsert(c, points, count, err);
    pthread_mutex_unlock(&c->write);
    return result;
}

// ---- Remove ----

static int compare_rows(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

// Finds the living rows of the ids, each once; returns their number. Holds write.
static size_t find_rows(const struct collection *c, const char *const *ids, size_t count, uint32_t *out)
{
    size_t found = 0, unique = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t row = rows_find(c->rows, ids[i], strlen(ids[i]));
        if (row >= 0)
            out[found++] = (uint32_t)row;
    }
    qsort(out, found, sizeof *out, compare_rows);
    for (size_t i = 0; i < found; i++)
        if (i == 0 || out[i] != out[i - 1])
            out[unique++] = out[i];
    return unique;
}

// Holds write.
static int kill_rows(struct collection *c, const uint32_t *rows, size_t count, struct error *err)
{
    _cleanup_buf_ struct buf frame = FRAME_INIT;
    frame_begin(&frame);
    for (size_t i = 0; i < count; i++) {
        const struct item *item = rows_item(c->rows, rows[i]);
        frame_remove(&frame, item_id(item), item->id_len);
    }
    if (frame_seal(&frame, count, err) < 0 || vecfile_append(&c->file, &frame, err) < 0)
        return -1;
    pthread_mutex_lock(&c->lock);
    rows_kill(c->rows, rows, count);
    pthread_mutex_unlock(&c->lock);
    return 0;
}

int collection_remove(struct collection *c, const char *const *ids, size_t count, size_t *removed, struct error *err)
{
    _cleanup_free_ uint32_t *rows = malloc((count ? count : 1) * sizeof *rows);
    if (!rows)
        return error_set(err, ERR_NO_MEMORY, "There is no memory to remove %zu vectors", count);
    pthread_mutex_lock(&c->write);
    size_t found = c->dropped ? 0 : find_rows(c, ids, count, rows);
    int result = found ? kill_rows(c, rows, found, err) : 0;
    pthread_mutex_unlock(&c->write);
    if (result == 0 && removed)
        *removed = found;
    return result;
}

// ---- Flush ----

// Makes what is appended up to now durable, unless it is. Holds sync, not write: writers go on meanwhile.
static int sync_appended(struct collection *c, struct error *err)
{
    pthread_mutex_lock(&c->write);
    int fd = c->file.fd;
    uint64_t length = c->file.length;
    bool needed = !c->dropped && !c->rewrite && length != c->file.clean;
    pthread_mutex_unlock(&c->write);
    if (!needed)
        return 0;
    int saved_errno = fdatasync(fd) < 0 ? errno : 0;
    pthread_mutex_lock(&c->write);
    if (saved_errno == 0)
        vecfile_mark(&c->file, length);
    else
        c->rewrite = true; // the kernel may have dropped what it could not write: syncing again would prove nothing
    pthread_mutex_unlock(&c->write);
    if (saved_errno)
        return error_errno(err, ERR_IO, saved_errno, "%s cannot be made durable", c->name);
    return 0;
}

int collection_flush(struct collection *c, struct error *err)
{
    pthread_mutex_lock(&c->sync);
    int result = sync_appended(c, err);
    pthread_mutex_lock(&c->write);
    if (result == 0 && !c->dropped) {
        if (c->rewrite)
            result = rewrite(c, err);
        else
            rewrite_if_due(c);
    }
    pthread_mutex_unlock(&c->write);
    pthread_mutex_unlock(&c->sync);
    return result;
}

// ---- Tidy ----

int collection_tidy(struct collection *c, bool dry_run, uint64_t *freed, struct error *err)
{
    int result = 0;
    pthread_mutex_lock(&c->sync);
    pthread_mutex_lock(&c->write);
    uint64_t before = c->file.length, waste = garbage(c);
    bool due = !c->dropped && waste > before / TIDY_PART;
    if (due && !dry_run)
        result = rewrite(c, err);
    if (result == 0)
        *freed = !due ? 0 : dry_run ? waste : before - c->file.length;
    pthread_mutex_unlock(&c->write);
    pthread_mutex_unlock(&c->sync);
    return result;
}

// ---- Get ----

static const float *view_vector(const struct view *view, uint32_t row)
{
    unsigned shift = view->rows->chunk_shift;
    return view->chunks[row >> shift]->vectors + (row & ((1U << shift) - 1)) * view->rows->stride;
}

int collection_get(struct collection *c, const char *id, struct arena *arena, float **vector, size_t *dimension,
                   struct error *err)
{
    pthread_mutex_lock(&c->lock);
    int64_t row = rows_find(c->rows, id, strlen(id));
    struct view view = {.rows = c->rows, .chunks = c->rows->chunks};
    c->rows->refs++;
    pthread_mutex_unlock(&c->lock);
    if (row >= 0) {
        *vector = (float *)arena_memdup(arena, view_vector(&view, (uint32_t)row), c->dimension * sizeof **vector);
        *dimension = c->dimension;
    }
    collection_release(c, &view);
    return row >= 0 ? 0 : error_set(err, ERR_NOT_FOUND, "%s has no vector %s", c->name, id);
}
