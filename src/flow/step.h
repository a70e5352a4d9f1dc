// SPDX-License-Identifier: Apache-2.0
// What a step is. A step turns one event into effects and next events, in two halves:
//
//   work   does what takes time, outside of any transaction: decode, extract, put, upsert. Everything it does must be
//          harmless when done again (G3). Runs on a worker; several run at once, never two for one key.
//   apply  records what was done, inside the transaction that also marks the event as handled, publishes the next
//   events
//          and moves the offset. Quick; may be run again. It looks at the item as it is NOW: when that changed under
//          the work (deleted), it returns STEP_AGAIN, and work is called once more and sees it.
//
// Everything else (polling, order, priority, attempts, retries, dead letters, offsets) is the runner's.
#ifndef DEEPLENS_FLOW_STEP_H
#define DEEPLENS_FLOW_STEP_H

#include "base/arena.h"
#include "base/error.h"
#include "events/event.h"
#include "flow/flow.h"
#include "media/image.h"

#define FLOW_SOURCE "/deeplens" // the CloudEvents source of what we publish

enum step_pool { POOL_CPU, POOL_IO, POOL_VIDEO, POOL_MESSAGE, POOL_COUNT };

// What the worker that made a step's event does with it at once (process.c): nothing, since it comes by the log; its
// work; or, where all of the step is in its transaction, its effects beside those of the step before.
enum step_onward { ONWARD_NO, ONWARD_WORK, ONWARD_APPLY };

enum { STEP_OK = 0, STEP_FAILED = -1, STEP_AGAIN = 1 };

enum step_id {
#define STEP(symbol, name, role, group, topic, topic2, pool, batch, durability, onward) STEP_##symbol,
#include "flow/steps.def"
#undef STEP
    STEP_COUNT
};

struct emit { // an event to be published with the effects; in the job's arena
    struct emit *next;
    struct event event;      // as it was encoded, with what job_emit says
    bool settled;            // its own step's effects are in the same transaction (see process.c)
    struct elog_place place; // set by flow_publish_tx
    enum event_topic topic;
    const char *key;
    const char *event_id;
    const char *priority;
    const void *value;
    size_t value_len;
};

struct job { // one event on its way through one step
    struct event event;
    struct arena arena; // lives until the effects are committed
    enum media_priority priority;
    bool foreign; // the event came from another system
    int64_t started_ms;
    int64_t work_us;        // how long work took
    struct error error;     // why work failed; code 0: it did not
    void *state;            // the step's own, from work to apply (in the arena)
    const char *collection; // where the vector went, for the item's status; set by work, NULL otherwise
    struct emit *emits;     // published when apply succeeds
    json_t *held;           // what job_hold keeps; NULL: nothing
    struct media media;     // the item as it was a moment ago, when `media_known`: strings live as long as the job
    bool media_known;
    bool put_off; // apply put a retry there
};

struct step {
    const char *name;  // "prepare"
    const char *role;  // "image": what processes run together
    const char *group; // "deeplens-image-processing"; the inbox knows the step by it, whatever step_group says
    enum event_topic topics[2];
    size_t topic_count;
    enum step_pool pool;
    size_t batch;
    enum meta_durability durability;
    enum step_onward onward;
    // Sets `error` of each job that failed. NULL: nothing to do outside of the transaction.
    void (*work)(struct flow *f, struct job *const *jobs, size_t count);
    int (*apply)(struct flow *f, struct meta_tx *tx, struct job *job, struct error *err); // STEP_*
    // How the item's status calls it ("feature_extraction"); NULL when it does not show there.
    const char *(*shown)(const struct job *job, const char **model);
};

extern const struct step steps[STEP_COUNT];

// The group as which the step consumes.
const char *step_group(const struct flow *f, const struct step *step);

#define STEP(symbol, name, role, group, topic, topic2, pool, batch, durability, onward)                                \
    void step_##name##_work(struct flow *f, struct job *const *jobs, size_t count);                                    \
    int step_##name##_apply(struct flow *f, struct meta_tx *tx, struct job *job, struct error *err);                   \
    const char *step_##name##_shown(const struct job *job, const char **model);
#include "flow/steps.def"
#undef STEP

// Encodes `event` and adds it to what the job publishes. What the event points to stays with it: strings and vectors
// live in the job's arena, JSON is held by the job.
int job_emit(struct flow *f, struct job *job, const struct event *event, struct error *err);
// A next event of this job: ids, tenant, correlation filled in; its id is derived from the job's event and `salt`, so
// that doing it again gives the same event (G3).
const char *event_next_id(struct arena *arena, const char *tenant, const char *id, enum event_topic topic,
                          const char *salt); // the id that it gets
void job_next_event(struct job *job, enum event_topic topic, const char *salt, struct event *out);

// Keeps the caller's reference until the job is over. Returns `value`.
json_t *job_hold(struct job *job, json_t *value);

// The step that may go on with an event of this topic at once; NULL: none does.
const struct step *step_onward_of(enum event_topic topic);

// How long to wait after an attempt (1 …) that failed: from `base_ms` (0: as configured), doubling up to what is
// configured; then between half of it and all of it.
int64_t retry_delay_ms(const struct flow *f, int64_t base_ms, int attempt);

// What the event itself says about its priority: "high", "normal", "low"; NULL when nothing.
const char *event_priority(const struct event *event);

// What is to be done when another system's worker told that it failed, and may be asked again: the item's way begins
// once more when its time has come; after the last attempt it is a dead letter, and an event of ours says so.
int foreign_failed_tx(struct flow *f, struct meta_tx *tx, struct job *job, const struct media *media,
                      struct error *err);

// Reads the item that the job is about. `*gone` when there is none (any more), or it was rejected (near.h): its traces
// are to be removed.
int job_media(struct flow *f, struct job *job, struct media *out, bool *gone, struct error *err);
int job_media_tx(struct flow *f, struct meta_tx *tx, struct job *job, struct media *out, bool *gone, struct error *err);

// Removes the vectors of the job's item, which is gone, under one model or (NULL) all that there ever were; verified.
// Each step that finds its item gone calls it: a worker that went on from it may have left a vector when its process
// died or its settling failed.
int job_remove_vectors(struct flow *f, struct job *job, const char *model, struct error *err);

// Models of an item, from its options; at most FLOW_MODELS_MAX names, in the arena.
size_t media_models(struct arena *arena, const struct media *media, const char **out);

// What a request for an item's vector says, in the arena. The rest of the event is the caller's.
void extraction_ask(const struct flow *f, struct arena *arena, const struct media *media,
                    const struct flow_model *model, enum media_priority priority, int max_attempts,
                    struct event *event);

// Such a request beside the item's own way (a rebuild, a repair): with low priority, as an event, in the arena.
int extraction_request(struct flow *f, struct arena *arena, const struct media *media, const struct flow_model *model,
                       struct emit *out, struct error *err);

// Shows in the item's steps that its vector under a model was asked for.
#define MEDIA_STEP_REQUESTED "requested"
int media_request(struct flow *f, struct meta_tx *tx, const struct media *media, const char *model, struct error *err);

// Decodes an original, small enough for thumbnail and models; tells the video in it (`motion.len` 0: there is none).
int flow_decode(struct flow *f, const char *blob_key, struct image_decoded *out, struct error *err);
// The item's decoded picture: from the pixel cache, else decoded again. The caller frees it.
int flow_pixels(struct flow *f, const struct media *media, struct pixels *out, struct error *err);
// Where other programs find a blob: "minio://bucket/key" where they can, else "/storage/KEY". In the arena.
const char *flow_path(const struct flow *f, struct arena *arena, const char *key);
// The key of such a path; NULL when it does not lead into our store.
const char *flow_path_key(const struct flow *f, struct arena *arena, const char *path);

// How often the event is tried.
int event_attempts(const struct flow *f, const struct event *event);

// Puts a file whole, in the place of one before.
int flow_put(struct flow *f, const char *key, const struct buf *bytes, struct error *err);

// Where an item's thumbnail is kept.
const char *flow_thumb_key(struct arena *arena, const char *tenant, const char *id);
// Makes it and puts it there, in the place of one before (thumbnail.c).
int thumbnail_make(struct flow *f, const struct media *media, const char *key, struct error *err);
bool media_wants_thumbnail(const struct media *media);

// Remembers that an item was deleted, longer than any topic keeps its events, so that none of them makes it anew.
int item_bury(struct flow *f, struct meta_tx *tx, const char *tenant, const char *id, struct error *err);
int item_buried(struct flow *f, struct meta_tx *tx, const char *tenant, const char *id, bool *out, struct error *err);

// The event that asks for an item's removal, in the arena.
int item_delete_event(struct flow *f, struct arena *arena, const char *tenant, const char *id, struct emit *out,
                      struct error *err);

// Marks the item and publishes that event. ERR_NOT_FOUND also when it is being deleted already.
int item_delete_tx(struct flow *f, struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id,
                   struct emit *event, struct error *err);

// Deletes a tenant's items, as many as one call may.
int items_delete_all(struct flow *f, const char *tenant, size_t *matched, struct error *err);

// What filters are matched against; the caller's. `auto_tags` NULL: the item's.
json_t *media_payload(const struct media *media, const char *auto_tags);

// The headers of an event's record: CloudEvents attributes and the priority. `time` is what ce_time says.
enum { EMIT_HEADERS = 6 };
size_t emit_headers(const struct emit *emit, const char *time, struct elog_header out[EMIT_HEADERS]);
// Publishes a record in a transaction: into the log, or the outbox when the log takes no part in it; then its place is
// not known, and -1.
int flow_put_tx(struct flow *f, struct meta_tx *tx, const struct elog_record *record, struct elog_place *place,
                struct error *err);
// Publishes an event's record in a transaction.
int flow_publish_tx(struct flow *f, struct meta_tx *tx, struct emit *emit, struct error *err);

#endif
