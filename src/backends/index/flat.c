// SPDX-License-Identifier: Apache-2.0
// The exact index: a folder with one file a collection, all of them in memory.
//
// The collections stand in an array sorted by name. Whoever uses one holds a reference, so that dropping it
// takes nothing from under a search. Making and dropping are serialised by `admin`, which is taken before `lock`.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/index/collection.h"
#include "backends/index/index_flat.h"

struct flat {
    int dir;
    const struct kernel *kernel;
    pthread_mutex_t admin;
    pthread_rwlock_t lock;
    struct collection **collections; // [lock]
    size_t count;                    // [lock]
    size_t cap;
};

// ---- The array ----

// The place of the first that is not before `name`.
static size_t place(const struct flat *flat, const char *name)
{
    size_t low = 0, high = flat->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(flat->collections[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// With a reference; NULL when there is none.
static struct collection *find(struct flat *flat, const char *name)
{
    struct collection *found = NULL;
    pthread_rwlock_rdlock(&flat->lock);
    size_t at = place(flat, name);
    if (at < flat->count && strcmp(flat->collections[at]->name, name) == 0)
        found = collection_ref(flat->collections[at]);
    pthread_rwlock_unlock(&flat->lock);
    return found;
}

// As find, with ERR_NOT_FOUND.
static struct collection *need(struct flat *flat, const char *name, struct error *err)
{
    struct collection *found = find(flat, name);
    if (!found)
        error_set(err, ERR_NOT_FOUND, "There is no collection %.*s", COLLECTION_NAME_MAX, name);
    return found;
}

// Room for one more. Holds admin.
static int array_reserve(struct flat *flat, struct error *err)
{
    if (flat->count < flat->cap)
        return 0;
    size_t cap = flat->cap ? 2 * flat->cap : 16;
    pthread_rwlock_wrlock(&flat->lock);
    struct collection **grown = realloc(flat->collections, cap * sizeof *grown);
    if (grown) {
        flat->collections = grown;
        flat->cap = cap;
    }
    pthread_rwlock_unlock(&flat->lock);
    return grown ? 0 : error_set(err, ERR_NO_MEMORY, "There is no memory for another collection");
}

// Takes the reference. Holds admin.
static void array_insert(struct flat *flat, struct collection *c)
{
    pthread_rwlock_wrlock(&flat->lock);
    size_t at = place(flat, c->name);
    memmove(flat->collections + at + 1, flat->collections + at, (flat->count - at) * sizeof(struct collection *));
    flat->collections[at] = c;
    flat->count++;
    pthread_rwlock_unlock(&flat->lock);
}

// Gives up the array's reference. Holds admin.
static void array_delete(struct flat *flat, struct collection *c)
{
    pthread_rwlock_wrlock(&flat->lock);
    size_t at = place(flat, c->name);
    flat->count--;
    memmove(flat->collections + at, flat->collections + at + 1, (flat->count - at) * sizeof(struct collection *));
    pthread_rwlock_unlock(&flat->lock);
    collection_unref(c);
}

// All of them, each with a reference, NULL behind the last; NULL when memory is short.
static struct collection **all(struct flat *flat)
{
    pthread_rwlock_rdlock(&flat->lock);
    struct collection **list = malloc((flat->count + 1) * sizeof(struct collection *));
    if (list) {
        for (size_t i = 0; i < flat->count; i++)
            list[i] = collection_ref(flat->collections[i]);
        list[flat->count] = NULL;
    }
    pthread_rwlock_unlock(&flat->lock);
    return list;
}

// ---- Open and close ----

static void flat_free(struct flat *flat)
{
    for (size_t i = 0; i < flat->count; i++)
        collection_unref(flat->collections[i]);
    free(flat->collections);
    if (flat->dir >= 0)
        close(flat->dir);
    pthread_rwlock_destroy(&flat->lock);
    pthread_mutex_destroy(&flat->admin);
    free(flat);
}
DEFINE_CLEANUP(struct flat *, flat, flat_free)

static int open_folder(struct flat *flat, const char *location, struct error *err)
{
    if (mkdir(location, 0700) < 0 && errno != EEXIST)
        return error_errno(err, ERR_IO, errno, "The index folder %.200s cannot be made", location);
    flat->dir = open(location, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (flat->dir < 0)
        return error_errno(err, ERR_IO, errno, "The index folder %.200s cannot be opened", location);
    _cleanup_close_ int parent = openat(flat->dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0 || fsync(parent) < 0)
        return error_errno(err, ERR_IO, errno, "The folder above %.200s cannot be made durable", location);
    return 0;
}

// Loads the collection that a file holds; deletes what a stopped rewrite left; passes over what is not ours.
static int open_file(struct flat *flat, const char *file, struct error *err)
{
    char name[COLLECTION_NAME_MAX + 1];
    size_t len = strcspn(file, ".");
    if (len > COLLECTION_NAME_MAX)
        return 0;
    snprintf(name, sizeof name, "%.*s", (int)len, file);
    if (!collection_name_ok(name))
        return 0;
    if (strcmp(file + len, VECFILE_TEMPORARY) == 0)
        vecfile_discard(flat->dir, name);
    if (strcmp(file + len, VECFILE_SUFFIX) != 0)
        return 0;
    struct collection *c;
    if (array_reserve(flat, err) < 0 || collection_load(flat->dir, flat->kernel, name, &c, err) < 0)
        return -1;
    array_insert(flat, c);
    return 0;
}

static void close_folder(DIR **folder)
{
    if (*folder)
        closedir(*folder);
}

static int open_files(struct flat *flat, const char *location, struct error *err)
{
    _cleanup_(close_folder) DIR *folder = opendir(location);
    if (!folder)
        return error_errno(err, ERR_IO, errno, "The index folder %.200s cannot be read", location);
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (!entry && errno)
            return error_errno(err, ERR_IO, errno, "The index folder %.200s cannot be read", location);
        if (!entry)
            return 0;
        if (open_file(flat, entry->d_name, err) < 0)
            return -1;
    }
}

static int flat_open(const char *location, void **state, struct error *err)
{
    _cleanup_(cleanup_flat) struct flat *flat = calloc(1, sizeof *flat);
    if (!flat)
        return error_set(err, ERR_NO_MEMORY, "There is no memory for the index");
    flat->dir = -1;
    flat->kernel = kernel_best();
    pthread_mutex_init(&flat->admin, NULL);
    pthread_rwlock_init(&flat->lock, NULL);
    if (open_folder(flat, location, err) < 0 || open_files(flat, location, err) < 0)
        return -1;
    *state = take_ptr(flat);
    return 0;
}

static int flat_flush(void *state, const char *collection, struct error *err);

static void flat_close(void *state)
{
    flat_flush(state, NULL, NULL);
    flat_free(state);
}

// ---- Collections ----

static int ensure(struct flat *flat, const char *name, size_t dimension, struct error *err)
{
    _cleanup_collection_ struct collection *there = find(flat, name);
    if (there && there->dimension != dimension)
        return error_set(err, ERR_CONFLICT, "The vectors of %s have %zu dimensions, not %zu", name, there->dimension,
                         dimension);
    struct collection *c;
    if (there)
        return 0;
    if (array_reserve(flat, err) < 0 || collection_create(flat->dir, flat->kernel, name, dimension, &c, err) < 0)
        return -1;
    array_insert(flat, c);
    return 0;
}

static int flat_ensure(void *state, const char *collection, size_t dimension, struct error *err)
{
    struct flat *flat = state;
    if (!collection_name_ok(collection))
        return error_set(err, ERR_INVALID, "The name of a collection has 1 to %d of a-z, 0-9 and _",
                         COLLECTION_NAME_MAX);
    if (dimension < 1 || dimension > DIMENSION_MAX)
        return error_set(err, ERR_INVALID, "Vectors have 1 to %d dimensions", DIMENSION_MAX);
    pthread_mutex_lock(&flat->admin);
    int result = ensure(flat, collection, dimension, err);
    pthread_mutex_unlock(&flat->admin);
    return result;
}

static int flat_list(void *state, struct arena *arena, const char ***names, size_t *count, struct error *err)
{
    struct flat *flat = state;
    pthread_rwlock_rdlock(&flat->lock);
    const char **list = arena_alloc(arena, flat->count * sizeof *list);
    for (size_t i = 0; i < flat->count; i++)
        list[i] = arena_strdup(arena, flat->collections[i]->name);
    *names = list;
    *count = flat->count;
    pthread_rwlock_unlock(&flat->lock);
    return 0;
}

// Holds admin.
static int drop(struct flat *flat, const char *name, struct error *err)
{
    _cleanup_collection_ struct collection *c = find(flat, name);
    if (c && collection_drop(c, err) < 0)
        return -1;
    if (c)
        array_delete(flat, c);
    // Also when there is none: an earlier drop may have failed just here.
    if (fsync(flat->dir) < 0)
        return error_errno(err, ERR_IO, errno, "That %.*s was deleted cannot be made durable", COLLECTION_NAME_MAX,
                           name);
    return 0;
}

static int flat_drop(void *state, const char *collection, struct error *err)
{
    struct flat *flat = state;
    pthread_mutex_lock(&flat->admin);
    int result = drop(flat, collection, err);
    pthread_mutex_unlock(&flat->admin);
    return result;
}

// ---- Vectors ----

static int flat_upsert(void *state, const char *collection, const struct index_point *points, size_t count,
                       struct error *err)
{
    _cleanup_collection_ struct collection *c = need(state, collection, err);
    return c ? collection_upsert(c, points, count, err) : -1;
}

static int flat_remove(void *state, const char *collection, const char *const *ids, size_t count, size_t *removed,
                       struct error *err)
{
    _cleanup_collection_ struct collection *c = find(state, collection);
    if (c)
        return collection_remove(c, ids, count, removed, err);
    if (removed)
        *removed = 0;
    return 0;
}

static int flat_search(void *state, const char *collection, const struct index_query *query, struct arena *arena,
                       struct index_hit **hits, size_t *count, struct error *err)
{
    _cleanup_collection_ struct collection *c = find(state, collection);
    if (c)
        return collection_search(c, query, arena, hits, count, err);
    *hits = NULL;
    *count = 0;
    return 0;
}

static int flat_get(void *state, const char *collection, const char *id, struct arena *arena, float **vector,
                    size_t *dimension, struct error *err)
{
    _cleanup_collection_ struct collection *c = need(state, collection, err);
    return c ? collection_get(c, id, arena, vector, dimension, err) : -1;
}

static int flat_count(void *state, const char *collection, size_t *out, struct error *err)
{
    _cleanup_collection_ struct collection *c = find(state, collection);
    *out = c ? collection_count(c) : 0;
    return 0;
}

static int flat_list_ids(void *state, const char *collection, int (*each)(void *arg, const char *id), void *arg,
                         struct error *err)
{
    _cleanup_collection_ struct collection *c = find(state, collection);
    return c ? collection_list_ids(c, each, arg) : 0;
}

static int flush_all(struct flat *flat, struct error *err)
{
    _cleanup_free_ struct collection **list = all(flat);
    if (!list)
        return error_set(err, ERR_NO_MEMORY, "There is no memory to flush the index");
    int result = 0;
    for (struct collection **c = list; *c; c++) {
        if (collection_flush(*c, result == 0 ? err : NULL) < 0)
            result = -1;
        collection_unref(*c);
    }
    return result;
}

static int flat_flush(void *state, const char *collection, struct error *err)
{
    if (!collection)
        return flush_all(state, err);
    _cleanup_collection_ struct collection *c = find(state, collection);
    return c ? collection_flush(c, err) : 0;
}

static int flat_tidy(void *state, const char *collection, bool dry_run, uint64_t *freed, struct error *err)
{
    _cleanup_collection_ struct collection *c = find(state, collection);
    if (c)
        return collection_tidy(c, dry_run, freed, err);
    *freed = 0;
    return 0;
}

static int flat_health(void *state, struct error *err)
{
    return 0; // all of it is in memory; a disk that fails fails the writes
}

const struct index_ops index_flat = {
    .name = "flat",
    .open = flat_open,
    .close = flat_close,
    .ensure = flat_ensure,
    .list = flat_list,
    .drop = flat_drop,
    .upsert = flat_upsert,
    .remove = flat_remove,
    .search = flat_search,
    .get = flat_get,
    .count = flat_count,
    .list_ids = flat_list_ids,
    .flush = flat_flush,
    .tidy = flat_tidy,
    .health = flat_health,
};
