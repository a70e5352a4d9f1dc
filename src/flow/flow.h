// SPDX-License-Identifier: Apache-2.0
// THE DATA PATH. Read the files of this folder in this order and you know DeepLens:
//
//   flow.h      the ports a flow stands on, and what it offers to the API and the command line
//   upload.c    bytes in → blob, [media row + event], 202
//   adopt.c     image.uploaded of another system → its file → blob, media row
//   prepare.c   image.uploaded → decode → feature.extraction.requested, one for each model
//   video.c     video.uploaded → frames, each an item with feature.extraction.requested for each model
//   frame.h     frames of videos: how they are made, when their video is complete, how they go
//   extract.c   feature.extraction.requested → vector → vector.indexing.requested
//   index.c     vector.indexing.requested → upsert → processing.completed, once all models are in
//   status.c    processing.completed / .failed → the item's status
//   thumbnail.c processing.completed → a small WebP; of videos, what derived.h tells
//   maintain.c  image.maintenance.requested → everything of the item is removed, and verified
//   message.h   messages of chats: taken, and worked on by a step
//   whatsapp.h  what the WhatsApp Cloud API sends, read as messages
//   workflow.h  rules for messages: what is done when one comes
//   reply.h     what workflows have to say to people
//   receipt.h   what was deleted, signed
//   search.c    query → (decode → extract) → index → filter → hydrate
//   closer.h    the nearest looked at closer, for altered copies
//   search_video.h   a video as the query: which it is a copy of, and what of what; align.h
//   models.c    which model is taken when none is named
//   words.c     what lets pictures be found by text
//   near.h      near-duplicates: how they are found, and what becomes of them
//   rebuild.h   another model for what is there, or the same vectors once more, without a pause
//   items.c     status, item, list, delete, files
//   items_delete.c   many deleted by a filter
//   steps.def   the steps in ONE list, from which code, metrics and docs are made
//   step.h      what a step is
//   runner.c    everything around a step, written once; lane.c: its queues; process.c: what a worker does;
//               settle.c: its transactions
//   relay.c     outbox → a log that takes no part in transactions
//   live.h      changes as they happen; hook.h: webhooks
//   watch.c     lag and failures that somebody should know of
//   upkeep.h    what is done by schedules: sweeps, scrubs
//   reconcile.c items whose event is lost are put back
//   admin.h     ledger, tenants, topics, groups, lag, dead letters
//
// flow/ sees ports/, events/, media/, obs/ and base/, and no back end.
#ifndef DEEPLENS_FLOW_FLOW_H
#define DEEPLENS_FLOW_FLOW_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/hash.h"
#include "events/event.h"
#include "media/probe.h"
#include "media/video/video.h"
#include "ports/blob.h"
#include "ports/eventlog.h"
#include "ports/extractor.h"
#include "ports/index.h"
#include "ports/meta.h"

enum { FLOW_MODELS_MAX = 16, FLOW_NAME_MAX = 255, FLOW_TAGS_MAX = 64, FLOW_METADATA_MAX = 65536 };

struct flow_model {
    const struct extractor *extractor;
    const struct extractor_model *model;
};

struct whatsapp_settings { // of the Cloud API; "" where nothing is set
    const char *app_secret, *verify_token, *access_token;
    const char *api_url;         // with its version
    int64_t media_timeout_ms;    // of fetching media, also those of bridges
    const char *tenant;          // whose its messages are
    const char *phone_number_id; // only of this number
    const char *link_url;        // in answers, where people find an item: "https://…/{id}"
    int senders;                 // replies that are sent at once
    int64_t rate;                // … in a second
    int64_t send_timeout_ms;     // of each
};

enum upkeep_task {
#define UPKEEP(symbol, name, text) UPKEEP_##symbol,
#include "flow/upkeep.def"
#undef UPKEEP
    UPKEEP_TASKS
};

struct upkeep_settings { // see upkeep.h
    struct {
        const char *schedule; // NULL as "off"
        bool dry_run;
    } task[UPKEEP_TASKS];
    int64_t rate;           // items a second; 0: no limit
    int64_t keep_ms;        // how long runs are shown after their end
    int64_t lease_ms;       // how long a process that does not stir has a run for itself; 0: there is no other process
    int64_t sweep_grace_ms; // files and items that are younger are not looked at
    int scrub_nights;       // a scrub goes through one part in so many
};

struct flow_settings {
    uint64_t upload_max_bytes;
    struct probe_limits limits;
    int thumbnail_edge, thumbnail_quality;
    uint64_t video_max_bytes;
    struct video_limits video;
    const char *model_default; // "auto" before flow_open: the data directory's
    bool model_fixed;          // the configuration names it; set by flow_open
    bool tenants_auto_create;
    uint64_t disk_reserve; // bytes that uploads leave free
    size_t pixel_cache;    // bytes
    int retry_attempts;
    int64_t retry_base_ms, retry_max_ms;
    size_t search_k, search_max_k;
    size_t search_closer;    // hits that are looked at closer (closer.h); 0: none, and details are not kept
    bool search_approximate; // a search may miss some, to be quicker
    struct event_format format;
    int64_t log_retention_bytes; // of a partition, of a log that ELOG_RETAINS
    uint64_t outbox_max;         // events that wait for a log elsewhere, before uploads are refused
    int64_t lag_limit;           // events of a group above which somebody is told; 0: never
    int64_t lag_interval_ms;     // between two looks at the groups
    int64_t age_limit_ms;        // of a group's oldest event, above which somebody is told; 0: never
    uint64_t disk_low;           // free bytes for blobs below which somebody is told
    int64_t reconcile_ms;        // see reconcile.c; 0: never
    const char *hook_allow;      // private addresses that webhooks may call (net/address.h)
    int hook_attempts;
    int64_t hook_timeout_ms, hook_retry_base_ms, hook_retry_max_ms;
    int64_t hook_keep_ms;  // how long deliveries are tried, and shown after their end
    uint64_t hook_backlog; // deliveries of a webhook that may wait
    struct whatsapp_settings whatsapp;
    bool messages_elsewhere;         // programs of others work on messages
    const char *message_group;       // consumer group of the messages' step; NULL: as steps.def says
    const struct alert_config *mail; // how e-mails are sent; NULL: they are not
    double
        duplicate_score;  // from which pictures are near-duplicates (near.h); 0: as each model says; above 1: none are
    int duplicate_policy; // enum near_policy of uploads and tenants that name none
    struct upkeep_settings upkeep;
};

// Everything that the data path stands on. Set up by the caller before flow_open; shared by all threads after.
struct flow {
    struct meta meta;
    struct blob blob;
    struct eventlog log;
    struct index index;
    const struct blob_mount *mounts; // files of other systems
    size_t mount_count;
    struct flow_model models[FLOW_MODELS_MAX];
    size_t model_count;
    struct flow_settings settings;
    struct pixel_cache *cache;
    struct relay *relay;      // of a log that is not transactional, while its workers run; else NULL. Set by the caller
    struct words *words;      // NULL: no model of texts alone; set by flow_open
    struct lag_history *lags; // what the groups' offsets were before
    struct alerts *alerts;    // NULL: nobody is told; set by the caller
    struct hooks *hooks;      // NULL: this process calls no webhooks; set by the caller
    struct upkeep *upkeep;    // NULL: this process does no upkeep; set by the caller
    struct replies *replies;  // NULL: this process sends no replies; set by the caller
    struct rebuilder *rebuilder;     // NULL: this process does not rebuild; set by the caller
    _Atomic int64_t search_worst_us; // the longest search since the rebuilder last asked
    // What an item costs at the moment, for estimates: microseconds of work, and how many are waiting.
    _Atomic unsigned consuming; // the steps that this process runs, a bit each; set by the runner
    _Atomic bool stopping;      // what takes long is to end where it can go on later; set by the runner
    _Atomic int64_t item_us;
    _Atomic int64_t backlog;
    int cpu_workers;              // that share the backlog; set by the runner
    _Atomic uint64_t glimpses[2]; // of videos, being decoded: for which tenants (derived.h); 0: free
    _Atomic int film_searches;    // with videos, at work (search_video.h)
};

// Makes the topics of the catalogue that are missing (a log elsewhere may be away: then the relay does it later), and
// the pixel cache.
int flow_open(struct flow *f, struct error *err);
// For administration by the log alone: only `log` and `settings` are set, and only topics, groups, lag and dead letters
// can be asked for. Makes nothing.
void flow_open_log(struct flow *f);
void flow_close(struct flow *f); // the caller closes the ports afterwards

// What the catalogue says of a topic.
struct elog_topic_config flow_topic_config(const struct flow *f, enum event_topic topic);
int flow_topics_ensure(struct flow *f, struct error *err); // makes those that are missing

// ERR_OVERLOADED when more events wait for the log than may: nothing is to be accepted then.
int flow_check_outbox(struct flow *f, struct error *err);

// --- Names (names.c) and default models (models.c)

// ERR_MODEL_UNKNOWN lists the known ones. `name` NULL or "": the default model.
int flow_model(const struct flow *f, const char *name, const struct flow_model **out, struct error *err);
// As flow_model, for pictures: ERR_MODEL_UNKNOWN for a model that takes texts alone.
int flow_picture_model(const struct flow *f, const char *name, const struct flow_model **out, struct error *err);
// As flow_model; without a name, the tenant's default (`tenant` NULL: everybody's). Reads records when there is no
// name.
int flow_model_for(struct flow *f, const char *tenant, const char *name, const struct flow_model **out,
                   struct error *err);
// From now on what is uploaded or searched without naming a model takes this one, whether what is there has vectors
// under it or not (rebuild.h makes them first). Durable. ERR_MODEL_UNKNOWN, ERR_TENANT_UNKNOWN; ERR_CONFLICT when the
// configuration says otherwise.
int flow_model_use(struct flow *f, const char *tenant, const char *name, struct error *err);
// The model, when it may be used so.
int flow_model_usable(struct flow *f, const char *tenant, const char *name, const struct flow_model **out,
                      struct error *err);
// A tenant's own choice, in the arena; NULL: it has none. And making it (`tenant` NULL: everybody's).
int flow_model_choice(struct flow *f, struct meta_tx *tx, struct arena *arena, const char *tenant, const char **out,
                      struct error *err);
int flow_model_choose(struct flow *f, struct meta_tx *tx, const char *tenant, const char *name, struct error *err);
// Removes the vectors under a model (which need not be there any more) of one tenant or all, and says how many they
// were. ERR_CONFLICT while it is a tenant's default or a rebuild needs them.
int flow_model_drop(struct flow *f, const char *tenant, const char *name, size_t *dropped, struct error *err);
bool flow_model_name_valid(const char *name);            // [a-z0-9][a-z0-9._-]{0,62}
int flow_models_open(struct flow *f, struct error *err); // for flow_open
// "tenant_acmecorp_builtin_vectors", in the arena.
const char *flow_collection(struct arena *arena, const char *slug, const char *model);
// Those that a tenant has, also under models that are not there any more; in the arena. None of an unknown tenant.
int flow_collections(struct flow *f, struct arena *arena, const char *tenant, const char ***out, size_t *count,
                     struct error *err);
// Looks the tenant up: ERR_TENANT_UNKNOWN, ERR_INVALID_TENANT. `row` in the arena.
int flow_tenant(struct flow *f, struct arena *arena, const char *tenant, struct meta_tenant *row, struct error *err);
bool flow_tenant_valid(const char *tenant);                   // [a-zA-Z0-9][a-zA-Z0-9._-]{0,62}
int flow_tenant_check(const char *tenant, struct error *err); // ERR_INVALID_TENANT says what is valid

// --- Uploads (upload.c)

struct upload; // one in progress: belongs to one thread at a time

struct upload_fields { // all strings are borrowed; NULL where the client said nothing
    const char *tenant;
    const char *file_name; // as the client named it: any bytes
    const char *uploaded_by;
    const char *metadata; // JSON object
    const char *tags;     // JSON array of strings, or words separated by commas
    const char *options;  // processingOptions: JSON object
};

struct upload_result { // in the arena
    const char *id;
    enum media_status status;
    bool duplicate;       // the answer is what an earlier upload of the same bytes has
    const char *estimate; // "1-2 seconds"
};

// `expected`: bytes of the body if known, else 0. Refuses early what cannot fit (BODY_TOO_LARGE, DISK_FULL).
int upload_begin(struct flow *f, uint64_t expected, struct upload **out, struct error *err);
int upload_begin_video(struct flow *f, uint64_t expected, struct upload **out, struct error *err);
// Takes the next bytes of the file; refuses as soon as it is certain that they cannot be accepted.
int upload_write(struct upload *u, const void *data, size_t len, struct error *err);
// Ends the upload either way. On 0 the promise holds (G1): bytes, row and event are durable.
int upload_finish(struct upload *u, const struct upload_fields *fields, struct arena *arena, struct upload_result *out,
                  struct error *err);
void upload_abort(struct upload *u); // takes NULL; leaves nothing behind

// Makes an item of a file that is in the blob store already, by its path ("minio://bucket/key", "/storage/KEY"), below
// the tenant's first part. Nothing is copied: the file is the item's from now on, and goes with it. It must not change.
int upload_import(struct flow *f, const char *path, const struct upload_fields *fields, struct arena *arena,
                  struct upload_result *out, struct error *err);
// The paths behind `after` (NULL: all) that begin with `prefix` and can be imported, at most `limit`; `more` when
// others follow.
int upload_import_list(struct flow *f, const char *prefix, const struct upload_fields *fields, const char *after,
                       size_t limit, struct arena *arena, const char ***out, size_t *count, bool *more,
                       struct error *err);

// The upload event of a row, as it was published with the row: in the arena.
struct emit;
int upload_event(struct flow *f, struct arena *arena, const struct media *row, struct emit *out, struct error *err);

// --- Items (items.c)

struct item { // in the arena
    struct media media;
    struct media_step *steps;
    size_t step_count;
};

// The item's id in its full form: what has no prefix is a `kind` ("img", "vid"). ERR_INVALID_ID.
int item_id(const char *text, const char *kind, char out[ID_MAX], struct error *err);
// `id` with its prefix, or an image's without. What is being deleted is not there: ERR_NOT_FOUND.
int item_get(struct flow *f, struct arena *arena, const char *tenant, const char *id, struct item *out,
             struct error *err);
int item_list(struct flow *f, struct arena *arena, const struct media_query *query, struct media **out, size_t *count,
              struct error *err);
// Marks it and asks for its removal; durable. From now on it is not there for any reader (G9).
int item_delete(struct flow *f, const char *tenant, const char *id, char canonical[ID_MAX], struct error *err);
// Deletes all items of a kind that a filter lets through, as item_delete does: as many as one call may, the latest
// first.
struct delete_query {
    const char *tenant;
    const char *kind;            // "image" or "video"
    const struct filter *filter; // as searches take it
    int64_t to_ms;               // only what was uploaded before; 0: before now
    const char *cursor;          // an earlier answer's; NULL: from the start
    bool dry_run;                // only says what would be deleted
};
// `{dryRun, matched, sample, uploadedBefore, nextCursor}`: as long as there is a cursor, there may be more. Cut off, it
// may be begun anew: what is being deleted is not met again.
int items_delete(struct flow *f, const struct delete_query *query, json_t **out, struct error *err);
// Opens the original (or the thumbnail: ERR_NOT_READY while there is none).
int item_open(struct flow *f, struct arena *arena, const char *tenant, const char *id, bool thumbnail,
              struct media *media, struct blob_reader **out, struct error *err);
// Frames of a video by their times, those behind `after_ms` (-1: all), and how many there are of each state.
// ERR_NOT_FOUND.
int item_frames(struct flow *f, struct arena *arena, const char *tenant, const char *id, int64_t after_ms, size_t limit,
                struct media **out, size_t *count, struct error *err);
int item_frame_count(struct flow *f, const struct media *video, struct meta_frames *out, struct error *err);
// Seconds until it is searchable, as far as can be told; 0 when it is.
double item_time_remaining(struct flow *f, const struct media *media);

// --- Search (search.c)

enum { SEARCH_TERMS_MAX = 16 };

struct search_term {   // exactly one of text, image, id, vector
    const char *text;  // UTF-8
    const void *image; // encoded bytes
    size_t image_len;
    const char *id; // a stored item, which is left out of the answer
    const float *vector;
    size_t vector_len;
    float weight; // of its vector, which has length 1, in the query's; below 0: away from it
};

// One query vector from everything that is given: text, image, id and vector weigh 1 each, terms what they say.
struct search_query {
    const char *tenant;
    const char *text;
    const void *image;
    size_t image_len;
    const char *id;
    const float *vector;
    size_t vector_len;
    const struct search_term *terms;
    size_t term_count;
    const char *model;           // NULL: the default
    size_t k;                    // 0: the default
    size_t offset;               // hits to pass over (paging)
    float min_score;             // -1 for all
    const struct filter *filter; // NULL: none
};

enum { SEARCH_MOMENTS_MAX = 16 };

struct search_moment { // in a video
    const char *frame;
    int64_t time_ms;
    float score;
    bool shown; // it has a picture
};

struct search_hit { // an image; or a video, by the moments in it, the best first
    struct media media;
    float score;
    struct search_moment *moments;
    size_t moment_count; // 0: not a video
};

struct search_result { // in the arena
    struct search_hit *hits;
    size_t count;
    bool more; // there may be hits behind these
    const char *model;
    int64_t took_us;
};

int search_run(struct flow *f, const struct search_query *query, struct arena *arena, struct search_result *out,
               struct error *err);

#endif
