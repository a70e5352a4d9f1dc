// SPDX-License-Identifier: Apache-2.0
// Port: meta, the records of the system: tenants, media, their steps, the inbox, retries, the ledger.
//
// Everything happens inside a transaction: a function that is handed a `struct meta_tx` and calls the
// operations below with it. Write transactions are serialisable, applied whole or not at all, and may be
// grouped into one commit. The function must be quick and pure with respect to everything but the
// transaction: no I/O, no locks held by others, and it may be run again (after a serialisation failure).
//
// Durability. META_SYNCED: when the call returns (or `done` runs) the transaction survives a power cut.
// META_RELAXED: it survives the death of the process at once, and a power cut as soon as any later synced
// transaction does (back ends lose a suffix of transactions, never one from the middle) and after a second at
// the latest. Steps use it where repeating the work is harmless; promises to clients never do (G1).
//
// Tenants are walls (G7): every operation on media names the tenant, and what is another's is ERR_NOT_FOUND.
//
// Memory: strings in rows that are read live in the arena given; strings handed in are only read.
// Threads: any, except that a transaction belongs to the thread that its function is called on.
#ifndef DEEPLENS_PORTS_META_H
#define DEEPLENS_PORTS_META_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/id.h"

struct meta_tx; // opaque: back ends cast it to their own

typedef int meta_tx_fn(struct meta_tx *tx, void *arg, struct error *err);
typedef void meta_done_fn(void *arg, const struct error *err); // err is NULL after success; on the writer's thread

enum meta_durability { META_SYNCED, META_RELAXED };

// What becomes of an item. The order is the direction: a status only ever moves forward.
enum media_status {
    MEDIA_UPLOADED,
    MEDIA_PROCESSING,
    MEDIA_FAILED,
    MEDIA_COMPLETED,
    MEDIA_DELETING // gone for every reader but maintenance
};

const char *media_status_name(enum media_status status);          // "uploaded" …; in meta_names.c
int media_status_parse(const char *name, enum media_status *out); // -1 when unknown

enum media_priority { PRIORITY_HIGH, PRIORITY_NORMAL, PRIORITY_LOW, PRIORITY_COUNT };

const char *media_priority_name(enum media_priority priority);        // "high" "normal" "low"
int media_priority_parse(const char *name, enum media_priority *out); // -1 when unknown

struct media {
    const char *id; // "img_…"
    const char *tenant;
    const char *kind; // "image" "video" "frame"
    enum media_status status;
    enum media_priority priority;
    const char *file_name;    // UTF-8, no path, at most 255 bytes
    const char *content_type; // "image/jpeg"
    const char *format;       // "JPEG"
    const char *hash;         // of the original's bytes, HASH_HEX
    const char *blob_key;
    const char *thumb_key;   // NULL while there is none
    const char *uploaded_by; // NULL when not said
    const char *metadata;    // JSON object: the client's
    const char *tags;        // JSON array of strings
    const char *auto_tags;   // JSON array of {name, score}, what a model saw; NULL while there are none
    const char *options;     // JSON object: processingOptions, normalised ("models" always set)
    const char *event_id;    // of its upload event: everything after correlates to it
    uint64_t size;
    int width, height; // of the original; 0 while unknown
    int64_t uploaded_ms, updated_ms;
    int64_t completed_ms;                   // searchable since; 0 while it is not
    const char *error_code, *error_message; // NULL unless failed
    const char *alike_id;                   // what it is a near-duplicate of, by its duplicatePolicy; NULL: nothing
    double alike_score;                     // how much
    const char *parent;                     // of a frame: its video; NULL: an upload of its own
    int64_t time_ms;                        // of a frame: where it is in its video
    const char *video;                      // of a video: JSON object, what is known of it; NULL until then
    const char *progress;                   // of a video: JSON object, how far it was worked on; NULL until then
};

// What media_update changes. Zero and NULL leave a column as it is.
struct media_patch {
    bool set_status;
    enum media_status status; // applied only when it moves forward
    int width, height;
    const char *thumb_key;
    const char *auto_tags;
    int64_t completed_ms;
    const char *error_code, *error_message; // cleared when the status becomes MEDIA_COMPLETED
    const char *alike_id;
    double alike_score; // with alike_id
    const char *video, *progress;
};

struct media_query { // newest first: by uploaded_ms, then id, both descending; uploads alone, unless `frames`
    const char *tenant;
    bool by_status;
    enum media_status status;
    const char *tag;        // exact
    const char *file_name;  // part of the name, ASCII case folded
    int64_t from_ms, to_ms; // uploaded at or after / before; 0: no bound
    int64_t before_ms;      // the cursor: continue behind this row; 0: from the start
    const char *before_id;
    size_t limit;
    const char *kind; // NULL: any
    bool frames;      // frames of videos, too
};

struct meta_details {
    const void *bytes;
    size_t len;
};

struct meta_alike { // a group of look-alikes
    int64_t group;  // numbers grow within tenant and model; the last one is given again when its group is no more
    size_t count;   // of items in it, 2 and more
};

struct meta_alike_item {
    struct media media;
    const char *nearest; // the item that it is most like; NULL: that is gone
    double score;        // how much
};

struct media_step {
    const char *step;   // "preprocessing" "feature_extraction" "vector_indexing" "retry"
    const char *model;  // "" where the step has none
    const char *status; // "requested" "running" "completed" "retrying" "failed"
    int attempt;
    int64_t started_ms;
    int64_t duration_ms;
    const char *collection;    // NULL where there is none
    const char *error_message; // NULL where there is none
};

enum inbox_state {
    INBOX_FRESH, // do the work
    INBOX_DONE   // it was done, or this attempt was already accounted for: skip it
};

struct meta_retry {
    int64_t id; // set by the back end
    int64_t not_before_ms;
    const char *topic;
    const char *key;
    const void *value; // the event, with currentAttempt already counted up
    size_t value_len;
};

struct meta_outbox { // an event that waits to be published by a log that takes no part in transactions
    int64_t id;      // set by the back end
    int64_t timestamp_ms;
    const char *topic;
    const char *key;     // NULL: none
    const void *headers; // bytes that only who wrote them reads
    size_t headers_len;
    const void *value;
    size_t value_len;
};

enum { META_GONE = -1 };

struct meta_change { // an item came, its state changed, or it is gone
    int64_t seq;
    int64_t at_ms;
    const char *tenant;
    const char *id;
    int status; // enum media_status, or META_GONE
};

struct meta_webhook { // an address that is told of a tenant's changes
    const char *id;   // "whk_…"
    const char *tenant;
    const char *url;
    int64_t statuses;          // bits: 1 << enum media_status, and 1 << META_GONE_BIT
    const char *secret;        // what deliveries are signed with
    const char *secret_before; // … as well, until…; NULL: none
    int64_t before_until_ms;
    int64_t after_seq; // only of changes behind this one
    int64_t created_ms;
};

enum { META_GONE_BIT = MEDIA_DELETING + 1 };

enum delivery_state {
    DELIVERY_WAITING,   // for its time
    DELIVERY_BEHIND,    // another one for the same webhook and item that waits
    DELIVERY_DELIVERED, // these two have ended
    DELIVERY_DEAD
};

struct meta_delivery { // something that a webhook is to be told, or was
    int64_t num;       // set by the back end; grows
    const char *id;    // "msg_…"
    const char *webhook, *tenant;
    const char *item; // deliveries of one item are in order
    const char *type; // "processing.completed" …
    const char *body; // JSON
    enum delivery_state state;
    int attempts;
    int64_t not_before_ms;
    int64_t created_ms;
    int64_t ended_ms;  // 0: it has not
    int status;        // HTTP, of the last attempt; 0: no answer
    int64_t took_ms;   // the last attempt
    const char *error; // of the last attempt; NULL: none
};

struct delivery_query { // the newest first
    const char *tenant, *webhook;
    int state;      // enum delivery_state (waiting: also those behind); -1: any
    int64_t before; // continue behind this num; 0: from the start
    size_t limit;
};

struct meta_receipt { // of a deletion; see flow/receipt.h
    const char *id;   // "rcp_…"
    const char *tenant;
    const char *item;      // what was deleted
    int64_t ended_ms;      // 0: it is under way
    const char *text;      // JSON: what was found, as long as it is under way; then the receipt, as it was signed
    const char *signature; // NULL while it is under way, as what follows
    const char *key_id;
};

struct receipt_query { // of deletions that have ended, the latest first
    const char *tenant;
    const char *item;  // NULL: any
    int64_t before_ms; // the cursor: continue behind this one; 0: from the start
    const char *before_id;
    size_t limit;
};

enum run_state { // of maintenance; see flow/upkeep.h
    RUN_RUNNING,
    RUN_PAUSED,
    RUN_CANCELLED, // as long as it has not ended: it is about to
    RUN_COMPLETED,
    RUN_FAILED
};

const char *run_state_name(enum run_state state); // "running" …; in meta_names.c

struct meta_run {     // of a maintenance task
    const char *id;   // "run_…"
    const char *task; // "scrub" …
    enum run_state state;
    int64_t created_ms;
    int64_t ended_ms;  // 0: it has not; at most one of a task has not
    const char *owner; // the process that is at it; NULL: none
    int64_t lease_ms;  // until when that has it for itself
    const char *text;  // JSON object: what it is to do, where it is, what it found
};

struct run_query {     // the latest first
    const char *task;  // NULL: any
    int64_t before_ms; // the cursor: continue behind this one; 0: from the start
    const char *before_id;
    size_t limit;
};

enum message_state {
    MESSAGE_PENDING,    // others name it, itself has not come
    MESSAGE_READY,      // it waits for its turn
    MESSAGE_QUEUED,     // an attempt failed: it waits for the next one
    MESSAGE_PROCESSING, // it is worked on
    MESSAGE_PROCESSED,  // these two are ends
    MESSAGE_FAILED
};

const char *message_state_name(enum message_state state);           // "pending" …; in meta_names.c
int message_state_parse(const char *name, enum message_state *out); // -1 when unknown

struct meta_message { // of a chat
    const char *id;   // as its sender's program gave it; unique within the tenant
    const char *tenant, *chat;
    const char *sender; // NULL: us, or not known
    bool from_me;
    const char *type; // "text" "image" …: any name
    enum message_state state;
    const char *content;                    // NULL: none
    const char *metadata;                   // JSON object
    const char *event_id;                   // of the event that it came with
    const char *target;                     // the message that it changes; NULL: none
    const char *media_id;                   // the item made of its media; NULL: none
    const char *reactions;                  // JSON object: who → {emoji, ms}; NULL: none
    const char *delivery;                   // of one from us: "sent" "delivered" "read" "failed"; NULL: not known
    int64_t sent_ms;                        // as its sender says
    int64_t received_ms, updated_ms;        //
    int64_t edited_ms, deleted_ms;          // 0: never
    const char *error_code, *error_message; // why its last attempt failed; NULL: it did not
};

struct message_query { // newest first: by sent_ms, then id, both descending
    const char *tenant;
    const char *chat, *type; // NULL: any
    const char *of;          // sent by this one, or in the chat with them; NULL: any
    int state;               // enum message_state; -1: any
    int64_t from_ms, to_ms;  // sent at or after / before; 0: no bound
    const char *before_id;   // the cursor: continue behind this row; NULL: from the start
    int64_t before_ms;
    size_t limit;
};

struct meta_workflow { // a rule for messages; see flow/workflow.h
    const char *id;    // "wfl_…": they sort in the order in which they were made
    const char *tenant;
    const char *text; // JSON: when, do …
    int64_t created_ms;
};

enum reply_state {
    REPLY_WAITING,   // for its time, or for its item
    REPLY_SENDING,   // it was, or is about to be, handed over
    REPLY_SENT,      // these have ended
    REPLY_UNCERTAIN, // whether it was handed over is not known
    REPLY_DEAD       // it was not sent, and will not be: error says why
};

const char *reply_state_name(enum reply_state state);           // "waiting" "sending" "sent" "uncertain" "unsent"
int reply_state_parse(const char *name, enum reply_state *out); // -1 when unknown

struct meta_reply { // what a workflow has to say to somebody; see flow/reply.h
    int64_t num;    // set by the back end; grows
    const char *id; // "rpl_…"
    const char *tenant;
    const char *channel;                 // "whatsapp" "email" "topic"
    const char *workflow;                // NULL: none
    const char *message, *chat, *sender; // what it is about, and who sent that
    const char *item;                    // the item that must be worked off before; NULL: none
    const char *what;                    // JSON
    enum reply_state state;
    int attempts;
    int64_t not_before_ms, created_ms;
    int64_t begun_ms;               // REPLY_SENDING since
    int64_t ended_ms;               // 0: it has not
    const char *text;               // what is sent; NULL: not known yet
    const char *sent_id;            // the message that it became; NULL: none
    const char *error_code, *error; // of its last attempt; NULL: none
};

struct reply_query { // the newest first
    const char *tenant;
    const char *chat, *message; // NULL: any
    const char *of;             // to this sender, or in the chat with them; NULL: any
    int state;                  // enum reply_state; -1: any
    int64_t before;             // continue behind this num; 0: from the start
    size_t limit;
};

struct meta_ledger { // G2: accepted == searchable + failed + deleted + in_flight
    uint64_t accepted, searchable, failed, deleted, in_flight;
    uint64_t duplicates; // uploads answered with an item that was there: not accepted, not in the sum
};                       // of uploads: frames of a video are part of it, and are not counted

struct meta_frames { // a video's, by their states
    uint64_t waiting, searchable, failed, deleting;
};

struct meta_tenant {
    const char *name;
    const char *slug; // [a-z0-9]+, unique: what collection names carry
    int64_t created_ms;
    int64_t leaving_ms; // since when it is being removed; 0: it is not
};

struct meta_ops {
    const char *name;

    // Opens, makes or migrates the database. ERR_DATA_DIR_NEWER when its schema is from a newer version.
    int (*open)(const char *location, void **state, struct error *err);
    void (*close)(void *state); // waits for what was submitted

    // Runs `fn` in a write transaction and waits. The function's own error is returned as it is.
    int (*write)(void *state, enum meta_durability durability, meta_tx_fn *fn, void *arg, struct error *err);
    // The same without waiting; never runs `done` before returning… nor forgets to run it: exactly once, also
    // on failure. Blocks only while the bounded queue is full.
    void (*write_async)(void *state, enum meta_durability durability, meta_tx_fn *fn, void *arg, meta_done_fn *done,
                        void *done_arg);
    // Runs `fn` on one consistent snapshot; writes fail. Sees every write that returned before it began.
    int (*read)(void *state, meta_tx_fn *fn, void *arg, struct error *err);

    // Tenants. `default` is always there.
    int (*tenant_add)(struct meta_tx *tx, const char *name, struct error *err); // 0 also when it is there
    int (*tenant_get)(struct meta_tx *tx, struct arena *arena, const char *name, struct meta_tenant *out,
                      struct error *err); // ERR_TENANT_UNKNOWN
    int (*tenant_list)(struct meta_tx *tx, struct arena *arena, struct meta_tenant **out, size_t *count,
                       struct error *err); // by name

    // leave: from now on nothing is uploaded to it (media_insert: ERR_TENANT_UNKNOWN); again: as before. remove: it is
    // no more, with its counts, messages, workflows and replies; ERR_CONFLICT while there is an item of it. Both
    // ERR_TENANT_UNKNOWN.
    int (*tenant_leave)(struct meta_tx *tx, const char *name, int64_t now_ms, struct error *err);
    int (*tenant_remove)(struct meta_tx *tx, const char *name, struct error *err);

    // Media. Insert counts `accepted` up; delete counts `deleted` up and takes steps and details along; of frames
    // neither does.
    int (*media_insert)(struct meta_tx *tx, const struct media *row, struct error *err); // ERR_EXISTS
    int (*media_get)(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id, struct media *out,
                     struct error *err); // ERR_NOT_FOUND; MEDIA_DELETING rows are returned
    // The oldest item of these bytes that is neither failed nor being deleted. ERR_NOT_FOUND.
    int (*media_find_hash)(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *hash,
                           struct media *out, struct error *err);
    // MEDIA_DELETING rows are left out, unless they are what `status` asks for.
    int (*media_list)(struct meta_tx *tx, struct arena *arena, const struct media_query *query, struct media **out,
                      size_t *count, struct error *err);
    int (*media_update)(struct meta_tx *tx, const char *tenant, const char *id, const struct media_patch *patch,
                        struct error *err); // sets updated_ms; ERR_NOT_FOUND
    int (*media_delete)(struct meta_tx *tx, const char *tenant, const char *id, struct error *err); // 0 when gone
    int (*media_duplicate)(struct meta_tx *tx, const char *tenant, struct error *err); // counts one duplicate

    // Frames of a video. list: those behind `after_ms` (-1: all), by their times, also such that are being deleted.
    // waits: whether any is neither searchable nor failed nor being deleted; quick however many there are.
    int (*frame_list)(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *parent, int64_t after_ms,
                      size_t limit, struct media **out, size_t *count, struct error *err);
    int (*frame_waits)(struct meta_tx *tx, const char *tenant, const char *parent, bool *out, struct error *err);
    int (*frame_count)(struct meta_tx *tx, const char *tenant, const char *parent, struct meta_frames *out,
                       struct error *err);

    // Groups of look-alikes, by the vectors of one model. Items that were joined are in one group, with all that were
    // joined to either of them: the same groups in whatever order it happens. An item that is to be deleted leaves its
    // group by that, the others stay together; one alone is no group.
    // join: also remembers of each which other it is most like. ERR_NOT_FOUND, also when one is being deleted.
    int (*alike_join)(struct meta_tx *tx, const char *tenant, const char *model, const char *id, const char *other,
                      double score, struct error *err);
    // leave: takes an item out, unless it was joined to another at that time or later (clock_now_ms). 0 when it is in
    // no group.
    int (*alike_leave)(struct meta_tx *tx, const char *tenant, const char *model, const char *id, int64_t before_ms,
                       struct error *err);
    // The group of an item; 0: none (or it is alone in it).
    int (*alike_find)(struct meta_tx *tx, const char *tenant, const char *model, const char *id, int64_t *group,
                      struct error *err);
    // The newest group first; `before`: continue behind this group, 0: from the start.
    int (*alike_groups)(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *model, int64_t before,
                        size_t limit, struct meta_alike **out, size_t *count, struct error *err);
    // Up to `limit` items of a group, the one that was uploaded first at the front; in *total how many there are.
    int (*alike_members)(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *model, int64_t group,
                         size_t limit, struct meta_alike_item **out, size_t *count, size_t *total, struct error *err);
    // Takes up to `limit` items out of the groups by a model; in *dropped how many they were.
    int (*alike_drop)(struct meta_tx *tx, const char *tenant, const char *model, size_t limit, size_t *dropped,
                      struct error *err);

    // Details of an item (media/details/details.h), opaque here; they go with it.
    // put: replaces; 0 also when there is no such item. get: for each id its details; len 0: it has none.
    int (*details_put)(struct meta_tx *tx, const char *tenant, const char *id, const void *bytes, size_t len,
                       struct error *err);
    int (*details_get)(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *const *ids,
                       size_t count, struct meta_details **out, struct error *err);

    // Steps of an item, one row for each (step, model); put replaces, keeping the first started_ms.
    int (*step_put)(struct meta_tx *tx, const char *tenant, const char *id, const struct media_step *step,
                    struct error *err);
    int (*step_list)(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id,
                     struct media_step **out, size_t *count, struct error *err); // in the order they began

    // Inbox (G3, G5). `attempt` is the event's own currentAttempt (1 …).
    // begin: INBOX_DONE when (consumer, event) is finished, or its attempt `attempt` or a later one has ended;
    // else counts this beginning and gives in *begun how often this attempt has begun without ending (1 …).
    int (*inbox_begin)(struct meta_tx *tx, const char *consumer, const char *event_id, int attempt,
                       enum inbox_state *state, int *begun, struct error *err);
    // end: the attempt is over; `finished` when its effects are in this transaction, so that no later attempt
    // may have any. Returns ERR_EXISTS (and the transaction must be given up) when it had ended already.
    int (*inbox_end)(struct meta_tx *tx, const char *consumer, const char *event_id, int attempt, bool finished,
                     struct error *err);
    // release: takes back the last beginning of an attempt that has not ended: something else was to blame (G6).
    int (*inbox_release)(struct meta_tx *tx, const char *consumer, const char *event_id, int attempt,
                         struct error *err); // 0 also when there is none
    // forget: what is known of an event's attempts by a consumer, so that they begin anew; of a finished event only
    // when `finished` says so, too.
    int (*inbox_forget)(struct meta_tx *tx, const char *consumer, const char *event_id, bool finished,
                        struct error *err); // 0 also when there is nothing
    // How many attempts have begun and not ended: at start, what a process left when it died.
    int (*inbox_open)(struct meta_tx *tx, uint64_t *out, struct error *err);
    int (*inbox_prune)(struct meta_tx *tx, int64_t before_ms, struct error *err); // ended before that

    // Retries. take removes and returns what is due, oldest first.
    int (*retry_put)(struct meta_tx *tx, const struct meta_retry *retry, struct error *err);
    int (*retry_take)(struct meta_tx *tx, struct arena *arena, int64_t now_ms, size_t limit, struct meta_retry **out,
                      size_t *count, struct error *err);
    int (*retry_next)(struct meta_tx *tx, int64_t *not_before_ms, struct error *err); // INT64_MAX when none
    int (*retry_count)(struct meta_tx *tx, uint64_t *out, struct error *err);

    // Outbox. Ids grow in an order in which no row appears before one that was read: whoever reads on behind the last
    // id that it read misses nothing. They grow as long as the store is open, and may begin anew then.
    int (*outbox_put)(struct meta_tx *tx, const struct meta_outbox *row, struct error *err);
    // Rows behind `after` (0: the oldest), up to `limit` of at most `max_bytes` (but always one).
    int (*outbox_read)(struct meta_tx *tx, struct arena *arena, int64_t after, size_t limit, size_t max_bytes,
                       struct meta_outbox **out, size_t *count, struct error *err);
    int (*outbox_remove)(struct meta_tx *tx, int64_t first, int64_t last, struct error *err); // both included
    // About how many there are, and never fewer: quick however many that is.
    int (*outbox_depth)(struct meta_tx *tx, uint64_t *out, struct error *err);
    // Calls `fn` after each commit that put rows, on a thread of the store's, where it must not wait; NULL: no more,
    // and when that returns it does not run any more. One at a time.
    void (*outbox_watch)(void *state, void (*fn)(void *arg), void *arg);

    // Changes: recorded by every transaction that makes an item, changes its status or removes it. `seq` grows from
    // change to change, also from one opening to the next and past a power cut, in an order in which none appears
    // before one that was read. A row of the tenant "" tells of nothing but its number: pass over it. list: those
    // behind `after`, the oldest first.
    int (*change_list)(struct meta_tx *tx, struct arena *arena, int64_t after, size_t limit, struct meta_change **out,
                       size_t *count, struct error *err);
    // The first that is still kept and the last; with none, last is one less than first.
    int (*change_range)(struct meta_tx *tx, int64_t *first, int64_t *last, struct error *err);
    // Removes those of before a time and up to a number, `limit` at most, and never the last one.
    int (*change_prune)(struct meta_tx *tx, int64_t before_ms, int64_t up_to, size_t limit, struct error *err);
    void (*change_watch)(void *state, void (*fn)(void *arg), void *arg); // as outbox_watch

    // Webhooks. put replaces the one of that id; list: of a tenant or (NULL) all, the oldest first; remove takes its
    // deliveries along: ERR_NOT_FOUND.
    int (*webhook_put)(struct meta_tx *tx, const struct meta_webhook *row, struct error *err);
    int (*webhook_list)(struct meta_tx *tx, struct arena *arena, const char *tenant, struct meta_webhook **out,
                        size_t *count, struct error *err);
    int (*webhook_remove)(struct meta_tx *tx, const char *tenant, const char *id, struct error *err);

    // Deliveries. put, and again (which lets one that has ended begin anew; ERR_NOT_FOUND, ERR_CONFLICT when it has
    // not): they wait, or are behind those of the same item that do; put as DELIVERY_DEAD: it has ended already.
    // due: waiting ones whose time has come, by their times. settle: notes by `num` what an attempt gave; when it has
    // ended, the next behind it waits from `ended_ms` on; 0 also when it is gone. waiting: how many have not ended.
    int (*delivery_put)(struct meta_tx *tx, const struct meta_delivery *row, struct error *err);
    int (*delivery_again)(struct meta_tx *tx, const char *tenant, const char *webhook, const char *id, int64_t now_ms,
                          struct error *err);
    int (*delivery_due)(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *webhook,
                        int64_t now_ms, size_t limit, struct meta_delivery **out, size_t *count, struct error *err);
    int (*delivery_next)(struct meta_tx *tx, const char *tenant, const char *webhook, int64_t *not_before_ms,
                         struct error *err); // INT64_MAX when none waits
    int (*delivery_settle)(struct meta_tx *tx, const struct meta_delivery *row, struct error *err);
    int (*delivery_get)(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *webhook,
                        const char *id, struct meta_delivery *out, struct error *err); // ERR_NOT_FOUND
    int (*delivery_list)(struct meta_tx *tx, struct arena *arena, const struct delivery_query *query,
                         struct meta_delivery **out, size_t *count, struct error *err);
    int (*delivery_waiting)(struct meta_tx *tx, const char *tenant, const char *webhook, uint64_t *out,
                            struct error *err);
    int (*delivery_prune)(struct meta_tx *tx, int64_t before_ms, size_t limit, struct error *err); // ended before that

    // Receipts. put replaces the one of that id. open: the one of an item whose deletion is under way, at most one is.
    int (*receipt_put)(struct meta_tx *tx, const struct meta_receipt *row, struct error *err);
    int (*receipt_open)(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *item,
                        struct meta_receipt *out, struct error *err); // ERR_NOT_FOUND
    int (*receipt_get)(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id,
                       struct meta_receipt *out, struct error *err); // ERR_NOT_FOUND, also as long as it is under way
    int (*receipt_list)(struct meta_tx *tx, struct arena *arena, const struct receipt_query *query,
                        struct meta_receipt **out, size_t *count, struct error *err);

    // Runs of maintenance: the operators', of no tenant. put replaces the one of that id. open: the one of a task that
    // has not ended. prune: removes up to `limit` that ended before a time.
    int (*run_put)(struct meta_tx *tx, const struct meta_run *row, struct error *err);
    int (*run_get)(struct meta_tx *tx, struct arena *arena, const char *id, struct meta_run *out,
                   struct error *err); // ERR_NOT_FOUND
    int (*run_open)(struct meta_tx *tx, struct arena *arena, const char *task, struct meta_run *out,
                    struct error *err); // ERR_NOT_FOUND
    int (*run_list)(struct meta_tx *tx, struct arena *arena, const struct run_query *query, struct meta_run **out,
                    size_t *count, struct error *err);
    int (*run_prune)(struct meta_tx *tx, int64_t before_ms, size_t limit, struct error *err);

    // Messages. put replaces the one of that tenant and id.
    int (*message_put)(struct meta_tx *tx, const struct meta_message *row, struct error *err);
    int (*message_get)(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id,
                       struct meta_message *out, struct error *err); // ERR_NOT_FOUND
    int (*message_list)(struct meta_tx *tx, struct arena *arena, const struct message_query *query,
                        struct meta_message **out, size_t *count, struct error *err);
    // The messages that are ready, queued or processing, in the order in which they were first put. `*after` is the
    // cursor: 0 at the start, then the last one's place. Goes through all messages: for what is rare.
    int (*message_waiting)(struct meta_tx *tx, struct arena *arena, const char *tenant, int64_t *after, size_t limit,
                           struct meta_message **out, size_t *count, struct error *err);

    int (*message_remove)(struct meta_tx *tx, const char *tenant, const char *id, struct error *err); // 0 when gone
    // What was erased, by a hash of its id: it is not taken again.
    int (*erased_put)(struct meta_tx *tx, const char *tenant, const char *hash, int64_t at_ms, struct error *err);
    int (*erased_get)(struct meta_tx *tx, const char *tenant, const char *hash, bool *out, struct error *err);

    // Rules for messages. put replaces the one of that id; list: by their ids; remove: ERR_NOT_FOUND. They go with
    // their tenant.
    int (*workflow_put)(struct meta_tx *tx, const struct meta_workflow *row, struct error *err);
    int (*workflow_list)(struct meta_tx *tx, struct arena *arena, const char *tenant, struct meta_workflow **out,
                         size_t *count, struct error *err);
    int (*workflow_remove)(struct meta_tx *tx, const char *tenant, const char *id, struct error *err);

    // Replies. put replaces the one of that tenant and id. due: is one of a channel waiting whose time has come, and
    // whose item is worked off (or gone)? claim: the one of these that is due first, of any tenant, is not due before
    // `until_ms` from now on; *found: there was one. lost: those that were begun before a time are uncertain, with this
    // error. cancel: those of a sender that wait are dead, with this error. All go with their tenant.
    int (*reply_put)(struct meta_tx *tx, const struct meta_reply *row, struct error *err);
    int (*reply_get)(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id,
                     struct meta_reply *out, struct error *err); // ERR_NOT_FOUND
    int (*reply_list)(struct meta_tx *tx, struct arena *arena, const struct reply_query *query, struct meta_reply **out,
                      size_t *count, struct error *err);
    int (*reply_due)(struct meta_tx *tx, const char *channel, int64_t now_ms, bool *out, struct error *err);
    int (*reply_claim)(struct meta_tx *tx, struct arena *arena, const char *channel, int64_t now_ms, int64_t until_ms,
                       struct meta_reply *out, bool *found, struct error *err);
    int (*reply_lost)(struct meta_tx *tx, int64_t before_ms, int64_t now_ms, const char *why, struct error *err);
    int (*reply_forget)(struct meta_tx *tx, const char *tenant, const char *of, struct error *err); // see reply_query
    int (*reply_cancel)(struct meta_tx *tx, const char *tenant, const char *sender, int64_t now_ms, const char *why,
                        struct error *err);

    // Who is not to be answered. put: 0 also when it is there; remove: 0 also when it is not. get: since when; 0: it is
    // not. They go with their tenant.
    int (*optout_put)(struct meta_tx *tx, const char *tenant, const char *sender, int64_t at_ms, struct error *err);
    int (*optout_remove)(struct meta_tx *tx, const char *tenant, const char *sender, struct error *err);
    int (*optout_get)(struct meta_tx *tx, const char *tenant, const char *sender, int64_t *at_ms, struct error *err);

    int (*ledger)(struct meta_tx *tx, const char *tenant, struct meta_ledger *out, struct error *err); // NULL: all

    // Housekeeping, a piece at a time, so that others wait for moments only. `*piece` is 0 for the first one and moves
    // on; below 0 behind the last. In *freed the bytes that this one gave back, or (`dry_run`: which is one piece) all
    // would.
    int (*tidy)(void *state, bool dry_run, int64_t *piece, uint64_t *freed, struct error *err);

    // Small values by name (installation id, …). get: ERR_NOT_FOUND.
    int (*setting_get)(struct meta_tx *tx, struct arena *arena, const char *name, const char **value,
                       struct error *err);
    int (*setting_put)(struct meta_tx *tx, const char *name, const char *value, struct error *err);
};

struct meta { // an opened back end
    const struct meta_ops *ops;
    void *state;
};

#endif
