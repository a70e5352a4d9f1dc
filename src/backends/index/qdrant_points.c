// SPDX-License-Identifier: Apache-2.0
// Points: put, taken away, and read by their ids.
#include <stdio.h>
#include <string.h>

#include "backends/index/collection.h"
#include "backends/index/qdrant_int.h"

enum { PATH_MAX_LEN = COLLECTION_NAME_MAX + 64, IDS_WANTED = 1000, PAGE = 1000 };

bool qdrant_id_ok(const char *id)
{
    size_t len = id ? strnlen(id, QDRANT_ID_MAX + 1) : 0;
    return len > 0 && len <= QDRANT_ID_MAX && js_utf8_valid(id, len);
}

// Nine digits read back as the same float.
void qdrant_write_vector(struct buf *out, const float *vector, size_t dimension)
{
    char text[32];
    for (size_t i = 0; i < dimension; i++) {
        int len = snprintf(text, sizeof text, "%c%.9g", i ? ',' : '[', (double)vector[i]);
        buf_append(out, text, (size_t)len);
    }
    buf_puts(out, "]");
}

static int post(struct qdrant *q, const char *method, const char *collection, const char *what, const struct buf *body,
                struct qdrant_answer *answer, struct error *err)
{
    char path[PATH_MAX_LEN];
    *answer = (struct qdrant_answer){0};
    if (body->failed)
        return error_set(err, ERR_NO_MEMORY, "There is no memory for a request to Qdrant");
    snprintf(path, sizeof path, "/collections/%s/points%s", collection, what);
    const struct qdrant_request request = {.method = method, .path = path, .body = body->data, .body_len = body->len};
    return qdrant_send(q, &request, answer, err);
}

// Whether Qdrant has done it, or only promises to.
static int check_done(const struct qdrant *q, const struct qdrant_answer *answer, struct error *err)
{
    const char *status = js_str(answer->result, "status", "");
    return strcmp(status, "completed") == 0
               ? 0
               : error_set(err, ERR_UNAVAILABLE, "Qdrant at %.100s has not done yet what it was given (%.32s)",
                           q->config.url, status);
}

// ---- Upserting

static int points_check(const struct index_point *points, size_t count, size_t dimension, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (!qdrant_id_ok(points[i].id))
            return error_set(err, ERR_INVALID_ID, "The id of a vector has 1 to %d bytes, in UTF-8", QDRANT_ID_MAX);
        if (vector_check(points[i].vector, dimension, points[i].id, err) < 0)
            return -1;
    }
    return 0;
}

static void write_point(struct buf *out, const struct index_point *point, size_t dimension)
{
    char uuid[QDRANT_UUID];
    _cleanup_json_ json_t *payload = qdrant_payload(point->id, point->payload);
    qdrant_point_id(point->id, uuid);
    buf_printf(out, "{\"id\":\"%s\",\"vector\":", uuid);
    qdrant_write_vector(out, point->vector, dimension);
    buf_puts(out, ",\"payload\":");
    if (!payload || js_write(payload, out) < 0)
        out->failed = true;
    buf_puts(out, "}");
}

// The collection was there a moment ago, or it was not: only the latter is what the caller can be told of.
static int is_gone(struct qdrant *q, const char *collection, bool known, struct error *err)
{
    qdrant_forget(q, collection); // somebody else may have been first
    if (known)
        return error_set(err, ERR_UNAVAILABLE,
                         "The collection %s was taken from Qdrant; it is made anew (`deeplens reindex` fills it)",
                         collection);
    return error_set(err, ERR_NOT_FOUND, "There is no collection %.*s", COLLECTION_NAME_MAX, collection);
}

// As many of the points as one request should hold. Returns how many, -1 on failure.
static ssize_t upsert_some(struct qdrant *q, const char *collection, const struct index_point *points, size_t count,
                           size_t dimension, struct error *err)
{
    size_t n = 0;
    _cleanup_buf_ struct buf body = BUF_INIT(QDRANT_BODY_MAX);
    buf_puts(&body, "{\"points\":[");
    for (; n < count && n < QDRANT_POINTS_WANTED && body.len < QDRANT_BODY_WANTED; n++) {
        if (n)
            buf_puts(&body, ",");
        write_point(&body, &points[n], dimension);
    }
    buf_puts(&body, "]}");
    _cleanup_answer_ struct qdrant_answer answer;
    if (post(q, "PUT", collection, "?wait=true", &body, &answer, err) < 0)
        return -1;
    if (answer.status == 404)
        return is_gone(q, collection, true, err);
    return check_done(q, &answer, err) < 0 ? -1 : (ssize_t)n;
}

int qdrant_upsert(void *state, const char *collection, const struct index_point *points, size_t count,
                  struct error *err)
{
    size_t dimension;
    struct qdrant *q = state;
    if (qdrant_dimension(q, collection, &dimension, err) < 0)
        return -1;
    if (!dimension) {
        is_gone(q, collection, false, err);
        if (err)
            err->retryable = true; // `ensure` makes it
        return -1;
    }
    if (points_check(points, count, dimension, err) < 0)
        return -1;
    for (size_t done = 0; done < count;) {
        ssize_t n = upsert_some(q, collection, points + done, count - done, dimension, err);
        if (n < 0)
            return -1;
        done += (size_t)n;
    }
    return 0;
}

// ---- Removing

// The points of the ids; those that no vector can have are passed over. Returns how many.
static size_t write_ids(struct buf *out, const char *const *ids, size_t count)
{
    size_t n = 0;
    char uuid[QDRANT_UUID];
    buf_puts(out, "[");
    for (size_t i = 0; i < count; i++) {
        if (!qdrant_id_ok(ids[i]))
            continue;
        qdrant_point_id(ids[i], uuid);
        buf_printf(out, "%s\"%s\"", n++ ? "," : "", uuid);
    }
    buf_puts(out, "]");
    return n;
}

static int count_there(struct qdrant *q, const char *collection, const char *const *ids, size_t count, size_t *out,
                       struct error *err)
{
    _cleanup_buf_ struct buf body = BUF_INIT(QDRANT_BODY_MAX);
    buf_puts(&body, "{\"exact\":true,\"filter\":{\"must\":[{\"has_id\":");
    write_ids(&body, ids, count);
    buf_puts(&body, "}]}}");
    _cleanup_answer_ struct qdrant_answer answer;
    if (post(q, "POST", collection, "/count", &body, &answer, err) < 0)
        return -1;
    *out += (size_t)js_int(answer.result, "count", 0);
    return 0;
}

static int remove_some(struct qdrant *q, const char *collection, const char *const *ids, size_t count, size_t *removed,
                       struct error *err)
{
    _cleanup_buf_ struct buf body = BUF_INIT(QDRANT_BODY_MAX);
    buf_puts(&body, "{\"points\":");
    if (write_ids(&body, ids, count) == 0)
        return 0;
    buf_puts(&body, "}");
    if (removed && count_there(q, collection, ids, count, removed, err) < 0)
        return -1;
    _cleanup_answer_ struct qdrant_answer answer;
    if (post(q, "POST", collection, "/delete?wait=true", &body, &answer, err) < 0)
        return -1;
    if (answer.status == 404) {
        qdrant_forget(q, collection);
        return 0;
    }
    return check_done(q, &answer, err);
}

int qdrant_remove(void *state, const char *collection, const char *const *ids, size_t count, size_t *removed,
                  struct error *err)
{
    size_t total = 0;
    struct qdrant *q = state;
    if (qdrant_claim(q, err) < 0)
        return -1;
    for (size_t done = 0, n; collection_name_ok(collection) && done < count; done += n) {
        n = count - done < IDS_WANTED ? count - done : IDS_WANTED;
        if (remove_some(q, collection, ids + done, n, removed ? &total : NULL, err) < 0)
            return -1;
    }
    if (removed)
        *removed = total;
    return 0;
}

// ---- Reading

static float *read_vector(const json_t *point, struct arena *arena, size_t *dimension)
{
    size_t i;
    json_t *number;
    const json_t *numbers = js_arr(point, "vector");
    size_t count = json_array_size(numbers);
    if (!count)
        return NULL;
    float *out = arena_alloc(arena, count * sizeof *out);
    json_array_foreach((json_t *)numbers, i, number) out[i] = (float)json_number_value(number);
    *dimension = count;
    return out;
}

int qdrant_get(void *state, const char *collection, const char *id, struct arena *arena, float **vector,
               size_t *dimension, struct error *err)
{
    size_t known;
    struct qdrant *q = state;
    _cleanup_buf_ struct buf body = BUF_INIT(4096);
    if (qdrant_dimension(q, collection, &known, err) < 0)
        return -1;
    if (!known)
        return is_gone(q, collection, false, err);
    buf_puts(&body, "{\"ids\":");
    if (write_ids(&body, &id, 1) == 0)
        return error_set(err, ERR_NOT_FOUND, "There is no vector of that id in %s", collection);
    buf_puts(&body, ",\"with_vector\":true,\"with_payload\":false}");
    _cleanup_answer_ struct qdrant_answer answer;
    if (post(q, "POST", collection, "", &body, &answer, err) < 0)
        return -1;
    if (answer.status == 404)
        return is_gone(q, collection, false, err);
    const struct qdrant_request asked = {.method = "POST", .path = "/collections/…/points"};
    if (!json_is_array(answer.result))
        return qdrant_odd(q, &asked, err);
    if (!json_array_size(answer.result))
        return error_set(err, ERR_NOT_FOUND, "There is no vector of %s in %s", id, collection);
    float *found = read_vector(json_array_get(answer.result, 0), arena, &known);
    if (!found)
        return qdrant_odd(q, &asked, err);
    *vector = found;
    *dimension = known;
    return 0;
}

// ---- Listing

// What begins a page: the id that Qdrant said comes next; NULL for the first.
static int ask_page(struct qdrant *q, const char *collection, const json_t *next, struct qdrant_answer *answer,
                    struct error *err)
{
    _cleanup_buf_ struct buf body = BUF_INIT(4096);
    *answer = (struct qdrant_answer){0};
    buf_printf(&body, "{\"limit\":%d,\"with_vector\":false,\"with_payload\":[\"id\"]", PAGE);
    if (next) {
        buf_puts(&body, ",\"offset\":");
        if (js_write(next, &body) < 0)
            return error_set(err, ERR_NO_MEMORY, "There is no memory for a request to Qdrant");
    }
    buf_puts(&body, "}");
    return post(q, "POST", collection, "/scroll", &body, answer, err);
}

// Points without an id of ours are somebody else's.
static int show_page(const json_t *points, int (*each)(void *arg, const char *id), void *arg)
{
    size_t i;
    json_t *point;
    json_array_foreach((json_t *)points, i, point)
    {
        const char *id = js_str(js_obj(point, "payload"), "id", NULL);
        int rc = id ? each(arg, id) : 0;
        if (rc)
            return rc;
    }
    return 0;
}

int qdrant_list_ids(void *state, const char *collection, int (*each)(void *arg, const char *id), void *arg,
                    struct error *err)
{
    struct qdrant *q = state;
    _cleanup_json_ json_t *next = NULL;
    if (!collection_name_ok(collection))
        return 0;
    if (qdrant_claim(q, err) < 0)
        return -1;
    do {
        _cleanup_answer_ struct qdrant_answer answer;
        if (ask_page(q, collection, next, &answer, err) < 0)
            return -1;
        const struct qdrant_request asked = {.method = "POST", .path = "/collections/…/points/scroll"};
        if (answer.status == 200 && !js_arr(answer.result, "points"))
            return qdrant_odd(q, &asked, err);
        int rc = show_page(js_arr(answer.result, "points"), each, arg);
        if (rc)
            return rc;
        json_decref(next);
        next = json_incref(json_object_get(answer.result, "next_page_offset"));
    } while (next && !json_is_null(next));
    return 0;
}
