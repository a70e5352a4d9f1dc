// SPDX-License-Identifier: Apache-2.0
// What the files of the Qdrant index back end share.
#ifndef DEEPLENS_BACKENDS_INDEX_QDRANT_INT_H
#define DEEPLENS_BACKENDS_INDEX_QDRANT_INT_H

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/js.h"
#include "ports/index.h"

// Collections of this name and the owner's: whose the others are (qdrant_claim.c).
#define QDRANT_MARK "deeplens_owner_"

enum {
    QDRANT_ID_MAX = 63,           // bytes of an id
    QDRANT_UUID = 37,             // of a point's id as text, with its NUL
    QDRANT_IDLE_MAX = 64,         // connections that are kept for the next request
    QDRANT_BODY_MAX = 160 << 20,  // of a request: one point of the largest size has room in it
    QDRANT_BODY_WANTED = 4 << 20, // of an upsert's request; Qdrant takes 32 MiB unless told otherwise
    QDRANT_POINTS_WANTED = 256,   // points of such a request
    QDRANT_TEXT_MAX = 64 << 20,   // of an answer
    QDRANT_KNOWN_MAX = 65536,     // collections that are remembered
    QDRANT_BUCKETS = 1024,
};

struct qdrant_config { // texts are the config's own
    char *url, *api_key, *ca_file, *owner;
    int64_t timeout_ms;
};

// Reads and checks a location. ERR_CONFIG says what is missing or wrong. What it filled is freed by qdrant_config_free,
// also on failure.
int qdrant_config_read(const char *location, struct qdrant_config *out, struct error *err);
void qdrant_config_free(struct qdrant_config *config);

struct known { // a collection that was there when it was last looked for
    struct known *next;
    size_t dimension;
    char name[];
};

struct qdrant {
    struct qdrant_config config;

    pthread_mutex_t lock;
    CURL *idle[QDRANT_IDLE_MAX];         // [lock]
    size_t idle_count;                   // [lock]
    int64_t down_until_us;               // [lock] until then requests fail at once with `down`
    bool is_down;                        // [lock] the last request found nobody
    struct error down;                   // [lock]
    int64_t looked_us;                   // [lock] when health last asked
    struct error refused;                // [lock] why the server was not ours then; code 0: it was
    struct known *known[QDRANT_BUCKETS]; // [lock]
    size_t known_count;                  // [lock]

    pthread_mutex_t admin; // held while a collection is made or dropped, and while the server is claimed; before `lock`
    _Atomic bool claimed;  // the server is known to be ours
};

// ---- Requests (qdrant_http.c)

struct qdrant_request {
    const char *method;
    const char *path; // behind the URL: "/collections/x"
    const void *body; // JSON; NULL: none
    size_t body_len;
    bool once; // no second attempt, and none is refused because the last one failed
};

struct qdrant_answer {
    long status;
    struct buf text;
    json_t *json;        // the answer, an object
    json_t *result;      // borrowed from it: its member `result`, may be NULL
    int64_t retry_after; // ms
};

// Sends and, where that can help, sends again. 0 when there is an answer that the caller has to look at: 200, 404 (of
// Qdrant's own: what the path names is not there) and 409. All else is an error: an outage for what is no fault of
// this request, ERR_UNAVAILABLE when the server is away or busy, ERR_CONFIG when it refuses us. The answer is freed by
// the caller, also on failure.
int qdrant_send(struct qdrant *q, const struct qdrant_request *request, struct qdrant_answer *out, struct error *err);
void qdrant_answer_free(struct qdrant_answer *answer);
#define _cleanup_answer_ _cleanup_(qdrant_answer_free)

// 0, or why the server could not be reached a moment ago.
int qdrant_is_down(struct qdrant *q, struct error *err);
void qdrant_idle_free(struct qdrant *q);
// That what was asked for was answered with something that cannot be read.
int qdrant_odd(const struct qdrant *q, const struct qdrant_request *request, struct error *err);

// ---- The server is ours (qdrant_claim.c)

// To be called before anything else is asked of the server. ERR_CONFIG when it is somebody else's, or none to work
// with.
int qdrant_claim(struct qdrant *q, struct error *err);
bool qdrant_is_mark(const char *collection);
int qdrant_health(void *state, struct error *err);

// ---- Collections (qdrant_collections.c)

// The collection's dimension: 0 when there is no such collection.
int qdrant_dimension(struct qdrant *q, const char *collection, size_t *out, struct error *err);
// It is not as it was known to be. True when it was known.
bool qdrant_forget(struct qdrant *q, const char *collection);
void qdrant_known_free(struct qdrant *q);

int qdrant_ensure(void *state, const char *collection, size_t dimension, struct error *err);
int qdrant_list(void *state, struct arena *arena, const char ***names, size_t *count, struct error *err);
int qdrant_drop(void *state, const char *collection, struct error *err);
int qdrant_count(void *state, const char *collection, size_t *out, struct error *err);

// ---- Points (qdrant_points.c, qdrant_search.c)

int qdrant_upsert(void *state, const char *collection, const struct index_point *points, size_t count,
                  struct error *err);
int qdrant_remove(void *state, const char *collection, const char *const *ids, size_t count, size_t *removed,
                  struct error *err);
int qdrant_get(void *state, const char *collection, const char *id, struct arena *arena, float **vector,
               size_t *dimension, struct error *err);
int qdrant_list_ids(void *state, const char *collection, int (*each)(void *arg, const char *id), void *arg,
                    struct error *err);
int qdrant_search(void *state, const char *collection, const struct index_query *query, struct arena *arena,
                  struct index_hit **hits, size_t *count, struct error *err);

bool qdrant_id_ok(const char *id);
// "[0.1,0.2]".
void qdrant_write_vector(struct buf *out, const float *vector, size_t dimension);

// ---- What a point carries (qdrant_payload.c)

// The point of an id: a UUID, as text.
void qdrant_point_id(const char *id, char out[QDRANT_UUID]);
// The payload of a point; NULL when memory is short.
json_t *qdrant_payload(const char *id, const json_t *payload);
// Where a member of the client's payload stands in it: `metadata."size.width"`, or `times."…"`. malloc'ed.
char *qdrant_key(bool time, const char *path);

// ---- Filters (qdrant_filter.c)

// Qdrant's words for a filter; NULL when memory is short.
json_t *qdrant_filter(const struct filter *filter);

#endif
