// SPDX-License-Identifier: Apache-2.0
// Rebuilds: another model for what is there, or the same vectors once more, without a pause.
//
// `models use B` where pictures are under A: every item that has a vector under A is to have one under B, too. Requests
// go through extract and index like any others, with low priority, so that retries, dead letters and lag are seen as
// usual. Searches take A until everything is there; then ONE transaction makes B the default. A's vectors stay until
// they are dropped. `reindex` is the same with B = A: each vector is made again from its original and put in the place
// of the one before.
//
// One rebuild a scope: a tenant, or everybody (the tenants without a choice of their own). It is a note in the records
// and goes through these states:
//
//   building   from the newest item to the oldest, page by page; the note holds the place and moves on when a page is
//              over. An item that comes in meanwhile is asked for when its vector under A is in (index.c: followers),
//              in the same transaction; it is completed without waiting for B.
//   closing    what came in since the beginning is gone through once more. From now on an item is completed when B's
//              vector is in as well, so that nothing is left when
//   done       B becomes the default. An item that was accepted before that and comes later (a retry, a dead letter
//              played back) still gets B's vector before it is completed.
//   ready      instead of closing, when it was asked to hold: `models use B` goes on
//   blocked    some pictures that A shows failed for good under B: `models use B` tries them again, with skip_failed it
//              goes on without them
//   cancelled  A stays
//
// Killed at any moment, the next process reads the note and asks for the page's missing vectors again: what is made
// twice is put twice under one id.
//
// Throttle: after each page, when a search since the page before took longer than the limit, the next page is half as
// long (at least 1 item) and the thread rests as long as this page took; else the next one is twice as long (at most
// REBUILD_PAGE).
#ifndef DEEPLENS_FLOW_REBUILD_H
#define DEEPLENS_FLOW_REBUILD_H

#include "flow/flow.h"

enum { REBUILD_PAGE = 64, REBUILD_PAST = 8 };

enum rebuild_state {
    REBUILD_NONE,
    REBUILD_BUILDING,
    REBUILD_CLOSING,
    REBUILD_READY,
    REBUILD_BLOCKED,
    REBUILD_DONE,
    REBUILD_CANCELLED,
    REBUILD_STATES
};

// --- What is asked for (rebuild.c)

struct rebuild_wish {
    const char *tenant; // NULL: everybody
    const char *model;  // of a reindex NULL: the default
    bool hold;          // build, and do not switch
    bool skip_failed;   // switch though pictures failed for good
};

// Begins, or goes on with what waits. Switches at once where there is nothing to build. Asked for the model that is
// the default, it cancels a rebuild that would have changed that. Durable. ERR_CONFLICT while another one runs in the
// scope, or when the configuration names the model; ERR_MODEL_UNKNOWN, ERR_TENANT_UNKNOWN.
int rebuild_use(struct flow *f, const struct rebuild_wish *wish, struct error *err);
int rebuild_reindex(struct flow *f, const struct rebuild_wish *wish, struct error *err);
int rebuild_cancel(struct flow *f, const char *tenant, struct error *err); // ERR_NOT_FOUND when none runs
// The last one of each scope, as JSON: of `tenant` and everybody, or of all (NULL).
int rebuild_list(struct flow *f, const char *tenant, json_t **out, struct error *err);

// The model that an item's vector under `model` asks for beside: `*model_out` NULL when there is none. `*gates`: the
// item is not completed before that is in.
int rebuild_follower(struct flow *f, struct meta_tx *tx, struct arena *arena, const struct media *media,
                     const char *model, const char **model_out, bool *gates, struct error *err);

// When a reindex of a tenant's items under a model, which is under way, began; 0: there is none.
int rebuild_reindex_since(struct flow *f, struct meta_tx *tx, struct arena *arena, const char *tenant,
                          const char *model, int64_t *out, struct error *err);

// Tells the throttle how long a search took. Any thread.
void rebuild_saw_search(struct flow *f, int64_t took_us);

// --- Who does it (rebuilder.c): one thread a process that runs the steps

struct rebuilder;
int rebuilder_start(struct flow *f, int64_t search_limit_us, struct rebuilder **out, struct error *err);
void rebuilder_wake(struct rebuilder *r); // takes NULL
void rebuilder_stop(struct rebuilder *r); // takes NULL

// --- How answers differ (compare.c)

enum { COMPARE_TOP = 10, COMPARE_SAMPLES_MAX = 500, COMPARE_EXAMPLES = 5 };
// Searches with the newest `samples` items that have vectors under both models: how many of the first COMPARE_TOP hits
// are the same (`overlapAt10`), and the examples that differ most, side by side.
int rebuild_compare(struct flow *f, const char *tenant, const char *from, const char *to, size_t samples, json_t **out,
                    struct error *err);

// --- The note (rebuild_note.c): for the files above

struct rebuild_follow { // what was under `from` when it was accepted before `until_ms` is to be under `to`
    const char *from, *to;
    int64_t until_ms;
};

struct rebuild_note {
    const char *scope; // the tenant; NULL: everybody
    enum rebuild_state state;
    const char *from, *to; // the same for a reindex
    bool hold, skip_failed;
    const char *tenant; // where it is: NULL at the beginning of a pass
    int64_t before_ms;  // … and behind which item; 0: none yet
    const char *before_id;
    int64_t floor_ms; // items accepted before are left out of this pass
    uint64_t total;   // items of the scope at the beginning, about
    uint64_t seen, built, present, failed;
    int64_t started_ms, ended_ms;
    struct rebuild_follow past[REBUILD_PAST]; // of changes before, the newest last
    size_t past_count;
};

const char *rebuild_state_name(enum rebuild_state state);
bool rebuild_runs(const struct rebuild_note *note);   // the rebuilder has work with it
bool rebuild_active(const struct rebuild_note *note); // it is not over
// State NONE when there never was one. Strings in the arena.
int rebuild_note_get(struct flow *f, struct meta_tx *tx, struct arena *arena, const char *scope,
                     struct rebuild_note *out, struct error *err);
int rebuild_note_put(struct flow *f, struct meta_tx *tx, const struct rebuild_note *note, struct error *err);
json_t *rebuild_note_json(const struct rebuild_note *note); // as people see it
// Does the scope's rebuild go through this tenant's items?
int rebuild_covers(struct flow *f, struct meta_tx *tx, struct arena *arena, const struct rebuild_note *note,
                   const char *tenant, bool *out, struct error *err);

#endif
