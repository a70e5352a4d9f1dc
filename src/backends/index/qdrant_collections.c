// SPDX-License-Identifier: Apache-2.0
// Collections: made with our distance, and with indexes on what filters ask for most.
//
// Which are there, and of which dimension, is remembered: every write begins with `ensure`, and vectors come without
// their length. Nobody else changes them (qdrant_claim.c); when a request finds otherwise, what was remembered is
// forgotten.
#include <stdio.h>
#include <string.h>

#include "backends/index/collection.h"
#include "backends/index/qdrant_int.h"
#include "base/hash.h"

enum { PATH_MAX_LEN = COLLECTION_NAME_MAX + 64 };

// ---- What is known

static struct known **slot_of(struct qdrant *q, const char *name)
{
    struct known **slot = &q->known[hash64(name, strlen(name)) % QDRANT_BUCKETS];
    while (*slot && strcmp((*slot)->name, name) != 0)
        slot = &(*slot)->next;
    return slot;
}

static size_t recall(struct qdrant *q, const char *name)
{
    pthread_mutex_lock(&q->lock);
    const struct known *known = *slot_of(q, name);
    size_t dimension = known ? known->dimension : 0;
    pthread_mutex_unlock(&q->lock);
    return dimension;
}

void qdrant_known_free(struct qdrant *q)
{
    for (size_t i = 0; i < QDRANT_BUCKETS; i++) {
        while (q->known[i]) {
            struct known *known = q->known[i];
            q->known[i] = known->next;
            free(known);
        }
    }
    q->known_count = 0;
}

// Short of memory, it is just asked for again.
static void remember(struct qdrant *q, const char *name, size_t dimension)
{
    size_t len = strlen(name) + 1;
    pthread_mutex_lock(&q->lock);
    if (q->known_count >= QDRANT_KNOWN_MAX)
        qdrant_known_free(q);
    struct known **slot = slot_of(q, name);
    if (!*slot && (*slot = malloc(sizeof **slot + len))) {
        (*slot)->next = NULL;
        memcpy((*slot)->name, name, len);
        q->known_count++;
    }
    if (*slot)
        (*slot)->dimension = dimension;
    pthread_mutex_unlock(&q->lock);
}

bool qdrant_forget(struct qdrant *q, const char *name)
{
    pthread_mutex_lock(&q->lock);
    struct known **slot = slot_of(q, name), *known = *slot;
    if (known) {
        *slot = known->next;
        q->known_count--;
    }
    pthread_mutex_unlock(&q->lock);
    free(known);
    return known != NULL;
}

// ---- What is there

struct found {
    size_t dimension; // 0: there is none
    json_t *schema;   // its indexes; owned
};

static int read_collection(const char *name, const struct qdrant_answer *answer, struct found *out, struct error *err)
{
    const json_t *params = js_obj(js_obj(answer->result, "config"), "params"), *vectors = js_obj(params, "vectors");
    int64_t size = js_int(vectors, "size", 0);
    if (size < 1 || strcmp(js_str(vectors, "distance", ""), "Cosine") != 0)
        return error_set(
            err, ERR_CONFLICT,
            "The collection %s on Qdrant was not made by DeepLens: it must have one vector a point, and the "
            "distance Cosine",
            name);
    *out = (struct found){(size_t)size, json_incref(js_obj(answer->result, "payload_schema"))};
    return 0;
}

static int look_up(struct qdrant *q, const char *name, struct found *out, struct error *err)
{
    char path[PATH_MAX_LEN];
    *out = (struct found){0};
    if (!collection_name_ok(name))
        return 0; // nothing of that name can be there
    snprintf(path, sizeof path, "/collections/%s", name);
    const struct qdrant_request request = {.method = "GET", .path = path};
    _cleanup_answer_ struct qdrant_answer answer;
    if (qdrant_send(q, &request, &answer, err) < 0)
        return -1;
    return answer.status == 200 ? read_collection(name, &answer, out, err) : 0;
}

int qdrant_dimension(struct qdrant *q, const char *name, size_t *out, struct error *err)
{
    if (qdrant_claim(q, err) < 0)
        return -1;
    struct found found = {.dimension = recall(q, name)};
    if (!found.dimension) {
        if (look_up(q, name, &found, err) < 0)
            return -1;
        json_decref(found.schema);
        if (found.dimension)
            remember(q, name, found.dimension);
    }
    *out = found.dimension;
    return 0;
}

// ---- Making

// What filters ask for most: without an index Qdrant reads each point's payload. Numbers are floats, as filters compare
// them as such.
static const struct {
    const char *key, *schema;
} indexes[] = {
    {"metadata.\"tags\"", "keyword"},       {"metadata.\"autoTags\"", "keyword"}, {"metadata.\"kind\"", "keyword"},
    {"metadata.\"uploadedBy\"", "keyword"}, {"metadata.\"videoId\"", "keyword"},  {"times.\"uploadedAt\"", "float"},
};

// Qdrant shows a key without the quotes that it could do without.
static bool has_index(const json_t *schema, const char *key)
{
    char plain[64];
    size_t len = 0;
    for (const char *p = key; *p && len + 1 < sizeof plain; p++)
        if (*p != '"')
            plain[len++] = *p;
    plain[len] = 0;
    return json_object_get(schema, key) || json_object_get(schema, plain);
}

static int make_indexes(struct qdrant *q, const char *name, const json_t *schema, struct error *err)
{
    char path[PATH_MAX_LEN];
    snprintf(path, sizeof path, "/collections/%s/index?wait=true", name);
    for (size_t i = 0; i < ARRAY_LEN(indexes); i++) {
        if (has_index(schema, indexes[i].key))
            continue;
        _cleanup_json_ json_t *json =
            json_pack("{s:s, s:s}", "field_name", indexes[i].key, "field_schema", indexes[i].schema);
        _cleanup_free_ char *body = json ? js_dumps(json) : NULL;
        if (!body)
            return error_set(err, ERR_NO_MEMORY, "Out of memory");
        const struct qdrant_request request = {.method = "PUT", .path = path, .body = body, .body_len = strlen(body)};
        _cleanup_answer_ struct qdrant_answer answer;
        if (qdrant_send(q, &request, &answer, err) < 0)
            return -1;
    }
    return 0;
}

// 409: another was quicker, or an attempt whose answer was lost.
static int make(struct qdrant *q, const char *name, size_t dimension, struct error *err)
{
    char path[PATH_MAX_LEN], body[96];
    snprintf(path, sizeof path, "/collections/%s", name);
    int len = snprintf(body, sizeof body, "{\"vectors\":{\"size\":%zu,\"distance\":\"Cosine\"}}", dimension);
    const struct qdrant_request request = {.method = "PUT", .path = path, .body = body, .body_len = (size_t)len};
    _cleanup_answer_ struct qdrant_answer answer;
    return qdrant_send(q, &request, &answer, err);
}

static int check_dimension(const char *name, size_t there, size_t wanted, struct error *err)
{
    return there == wanted
               ? 0
               : error_set(err, ERR_CONFLICT, "The vectors of %s have %zu dimensions, not %zu", name, there, wanted);
}

// Holds admin. The indexes are looked after also when the collection is there: a kill may have come between.
static int make_sure(struct qdrant *q, const char *name, size_t dimension, struct error *err)
{
    struct found found;
    if (look_up(q, name, &found, err) < 0)
        return -1;
    if (!found.dimension && (make(q, name, dimension, err) < 0 || look_up(q, name, &found, err) < 0))
        return -1;
    _cleanup_json_ json_t *schema = found.schema;
    if (check_dimension(name, found.dimension, dimension, err) < 0 || make_indexes(q, name, schema, err) < 0)
        return -1;
    remember(q, name, dimension);
    return 0;
}

int qdrant_ensure(void *state, const char *name, size_t dimension, struct error *err)
{
    struct qdrant *q = state;
    if (!collection_name_ok(name) || qdrant_is_mark(name))
        return error_set(err, ERR_INVALID, "The name of a collection has 1 to %d of a-z, 0-9 and _",
                         COLLECTION_NAME_MAX);
    if (dimension < 1 || dimension > DIMENSION_MAX)
        return error_set(err, ERR_INVALID, "Vectors have 1 to %d dimensions", DIMENSION_MAX);
    if (qdrant_claim(q, err) < 0)
        return -1;
    size_t known = recall(q, name);
    if (known)
        return check_dimension(name, known, dimension, err);
    pthread_mutex_lock(&q->admin);
    int rc = make_sure(q, name, dimension, err);
    pthread_mutex_unlock(&q->admin);
    return rc;
}

// ---- Listing, dropping, counting

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int qdrant_list(void *state, struct arena *arena, const char ***names, size_t *count, struct error *err)
{
    size_t i, n = 0;
    json_t *each;
    struct qdrant *q = state;
    const struct qdrant_request request = {.method = "GET", .path = "/collections"};
    if (qdrant_claim(q, err) < 0)
        return -1;
    _cleanup_answer_ struct qdrant_answer answer;
    if (qdrant_send(q, &request, &answer, err) < 0)
        return -1;
    const json_t *there = js_arr(answer.result, "collections");
    if (answer.status != 200 || !there)
        return qdrant_odd(q, &request, err);
    const char **list = arena_alloc(arena, (json_array_size(there) + 1) * sizeof *list);
    json_array_foreach((json_t *)there, i, each)
    {
        const char *name = js_str(each, "name", "");
        if (collection_name_ok(name) && !qdrant_is_mark(name))
            list[n++] = arena_strdup(arena, name);
    }
    qsort(list, n, sizeof *list, compare_names);
    *names = list;
    *count = n;
    return 0;
}

int qdrant_drop(void *state, const char *name, struct error *err)
{
    char path[PATH_MAX_LEN];
    struct qdrant *q = state;
    if (!collection_name_ok(name) || qdrant_is_mark(name))
        return 0; // nothing of that name can be there
    if (qdrant_claim(q, err) < 0)
        return -1;
    snprintf(path, sizeof path, "/collections/%s", name);
    const struct qdrant_request request = {.method = "DELETE", .path = path};
    _cleanup_answer_ struct qdrant_answer answer;
    pthread_mutex_lock(&q->admin);
    qdrant_forget(q, name); // also on failure: whether it is gone is not known then
    int rc = qdrant_send(q, &request, &answer, err);
    pthread_mutex_unlock(&q->admin);
    return rc;
}

int qdrant_count(void *state, const char *name, size_t *out, struct error *err)
{
    static const char body[] = "{\"exact\":true}";
    char path[PATH_MAX_LEN];
    struct qdrant *q = state;
    if (!collection_name_ok(name)) { // nothing of that name can be there
        *out = 0;
        return 0;
    }
    if (qdrant_claim(q, err) < 0)
        return -1;
    snprintf(path, sizeof path, "/collections/%s/points/count", name);
    const struct qdrant_request request = {.method = "POST", .path = path, .body = body, .body_len = sizeof body - 1};
    _cleanup_answer_ struct qdrant_answer answer;
    if (qdrant_send(q, &request, &answer, err) < 0)
        return -1;
    int64_t count = js_int(answer.result, "count", -1);
    if (answer.status == 200 && count < 0)
        return qdrant_odd(q, &request, err);
    *out = answer.status == 200 ? (size_t)count : 0;
    return 0;
}
