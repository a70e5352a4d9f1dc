// SPDX-License-Identifier: Apache-2.0
// Events: what stands on the topics. One decoder reads the envelope and the flat payloads of the documents
// on every topic; one encoder writes either. The catalogue (catalogue.def) names topics, types, keys, partitions and
// retention; code, admin commands and docs are made from it.
//
// The reader is tolerant: unknown members are kept out of the way, optional ones defaulted, ids accepted with and
// without their prefix. What it insists on: an object, the item's id, a tenant ("default" when absent), and what its
// step cannot do without (a path, a vector). Violations are ERR_EVENT_INVALID with the member's name.
#ifndef DEEPLENS_EVENTS_EVENT_H
#define DEEPLENS_EVENTS_EVENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/id.h"

// catalogue.def: TOPIC(symbol, topic, event type, partitions, retention days)
enum event_topic {
#define TOPIC(symbol, topic, type, partitions, days) TOPIC_##symbol,
#include "events/catalogue.def"
#undef TOPIC
    TOPIC_COUNT
};

const char *event_topic_name(enum event_topic topic); // "deeplens.images.uploaded"
const char *
event_topic_catalogued(enum event_topic topic);       // the same before event_topic_rename: what is kept for later
const char *event_topic_type(enum event_topic topic); // "image.uploaded"; "" for the dead-letter topic
int event_topic_partitions(enum event_topic topic);
int64_t event_topic_retention_ms(enum event_topic topic);
int event_topic_parse(const char *name, enum event_topic *out); // by either name; -1 when it is none of ours
// Another name for a topic, for the whole process: called before there are other threads. ERR_CONFIG when it is no name
// of a topic, or another topic's.
int event_topic_rename(enum event_topic topic, const char *name, struct error *err);

struct event_format {
    bool flat;     // events.format = flat
    bool bare_ids; // events.ids = bare
};

struct event_image_uploaded { // images and videos
    const char *file_name;
    const char *path;     // filePath (envelope), storagePath (flat): "/storage/…", "minio://bucket/key"
    const char *provided; // the same by storageProvider, "minio://container/name"; NULL when not said
    uint64_t size;
    const char *content_type;
    const char *uploaded_by; // NULL when not said
    int64_t uploaded_ms;
    const char *format;        // "JPEG"; NULL when not said
    int width, height;         // 0 when not said
    const char *original_name; // metadata.originalFileName; NULL when not said
    json_t *metadata;          // the rest of `metadata` (the client's); NULL when none
    json_t *options;           // processingOptions; NULL when none
    double duration;           // of a video, in seconds; 0 when not said
};

struct event_extraction {
    const char *path;
    const char *model;    // modelName, extractionParams.model; NULL when not said
    const char *version;  // NULL when not said
    int dimension;        // expectedDimension, extractionParams.dimensions; 0 when not said
    bool normalize;       // true unless said otherwise
    int timeout_s;        // 0 when not said
    const char *priority; // processingOptions.priority, carried along; NULL when not said
};

struct event_indexing {
    const char *model; // NULL when not said
    const char *version;
    const float *vector; // featureVector, vectors
    size_t dimension;
    int64_t extracted_ms;
    double processing_ms;
    json_t *metadata; // metadata, imageMetadata; NULL when none
    const char *priority;
};

struct event_completed_step {
    const char *step;   // "feature_extraction"
    const char *status; // "completed"
    int64_t duration_ms;
    const char *model;      // NULL: none
    const char *collection; // NULL: none
};

struct event_completed {
    const char *status; // "success"
    const struct event_completed_step *steps;
    size_t step_count;
    int64_t total_ms;
    int64_t searchable_ms;
    const char *duplicate_of; // the item that it is a near-duplicate of; NULL: none (ours)
    double duplicate_score;
};

struct event_failed {
    const char *code;
    const char *message;
    bool retryable;
    int attempt;              // attemptNumber
    bool final;               // data.final: no further attempt follows (ours; defaults to !retryable)
    const char *step;         // data.step: the step that failed; NULL when not said
    const char *model;        // NULL: none
    const char *trace;        // error.stackTrace: where it failed; NULL when not said
    const char *duplicate_of; // the item that it was rejected for (ours); NULL: it was not
    double duplicate_score;
    int64_t failed_ms;
};

struct event_maintenance {
    const char *type;           // maintenanceType: "delete"
    const char *const *actions; // delete_minio_files, delete_qdrant_vectors, cleanup_database
    size_t action_count;        // 0: all of them
    int64_t requested_ms;
};

struct event_message { // the media_id of its event is the chat's id (chatJid)
    const char *id;
    bool from_me;
    const char *type;    // messageType: "text" unless said
    const char *content; // NULL: none
    json_t *metadata;    // NULL: none
};

struct event {
    enum event_topic topic;
    const char *id; // "evt_…"
    const char *tenant;
    const char *correlation; // NULL: none
    const char *media_id;    // imageId / videoId, canonical; also the record's key
    int64_t timestamp_ms;
    int attempt;        // retryPolicy.currentAttempt, 1 …
    int max_attempts;   // retryPolicy.maxAttempts; 0 when not said
    int64_t backoff_ms; // retryPolicy.backoffMs; 0 when not said
    // Where members stand that no event of ours has, of the message and of its `data`: the encoder writes these along,
    // so that they go from step to step. Borrowed; NULL: nowhere. The decoder points into the message (`*root`).
    const json_t *more, *more_data;
    union {
        struct event_image_uploaded image_uploaded;
        struct event_extraction extraction;
        struct event_indexing indexing;
        struct event_completed completed;
        struct event_failed failed;
        struct event_maintenance maintenance;
        struct event_message message;
    };
};

// Reads one message of `topic`. Strings and vectors of `out` live in the arena; its json_t members live as long as
// `*root`, the parsed message, which the caller releases with json_decref. `fallback_id` is the event's id where the
// message carries none (flat payloads): the caller derives it from topic, partition and offset. Messages above
// 16 MiB are refused. `*root` may differ from the message where the decoder has taken out what `out` holds. Dead
// letters (the original's bytes) are ERR_UNSUPPORTED, here and below.
int event_decode(enum event_topic topic, const void *data, size_t len, const char *fallback_id, struct arena *arena,
                 struct event *out, json_t **root, struct error *err);

// Appends the event as JSON to `out`, which is as before on failure. `retryPolicy` is written when it says anything;
// messages are always flat. Unknown members go along (more, more_data). What the chosen form has no place for stands in
// additional members (see schemas/), so that every form reads back to the same event.
int event_encode(const struct event *event, struct event_format format, struct buf *out, struct error *err);

// Rewrites a message for another attempt: everything stays, byte for byte, but eventId (set to `event_id` when the
// message has none) and retryPolicy (maxAttempts, currentAttempt). ERR_EVENT_INVALID when the message is no JSON
// object.
int event_reissue(const void *data, size_t len, const char *event_id, int attempt, int max_attempts, struct buf *out,
                  struct error *err);

#endif
