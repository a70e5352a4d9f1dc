// SPDX-License-Identifier: Apache-2.0
// Upkeep: what is done now and then so that the house stays clean, by schedules and on request.
//
// A task (upkeep.def) is done in runs, of which one of a task at a time is open. A run is a row of the records: what it
// is to do, its state, the place where it is, counts of what it did (with `dry_run`: would do) and findings, the first
// UPKEEP_FINDINGS of them.
//
//   running    pages are worked off; after each one the place, counts and findings are saved
//   paused     as running, and nobody works on it: resumed, it goes on
//   cancelled, completed, failed   ends
//
// Killed at any moment, the next process goes on from the last page's place: what a page does is harmless when done
// again, but what the cut page had counted already is not in the counts. A run that a process died of
// UPKEEP_DEATHS times at one place has failed. What is away (an outage) is waited for.
//
// Several processes on one store: a run belongs to the process whose name it carries, until its lease is over. The
// lease is drawn out while it is worked on.
//
// A schedule is a cron expression, from the configuration or, instead, as it was set by upkeep_set. What came due while
// no process was there is made up for once. What comes due while a run of the task is open is passed over.
//
//   upkeep.c          the threads, one a task: when to begin, whose turn it is, how quick
//   upkeep_run.c      runs: their records
//   upkeep_ask.c      what is asked for: list, begin, pause, resume, cancel, set
//   upkeep_TASK.c     the tasks
#ifndef DEEPLENS_FLOW_UPKEEP_H
#define DEEPLENS_FLOW_UPKEEP_H

#include "base/js.h"
#include "flow/flow.h"

enum { UPKEEP_FINDINGS = 100, UPKEEP_DEATHS = 3, UPKEEP_RATE_MAX = 100000 };

const char *upkeep_name(enum upkeep_task task);
int upkeep_parse(const char *name, enum upkeep_task *out, struct error *err); // ERR_NOT_FOUND lists them
// Whether a schedule can be read: "off" or "" is none. ERR_INVALID.
int upkeep_check_schedule(const char *text, struct error *err);

// --- What is asked for (upkeep_ask.c). Answers are JSON, as the API gives them: new.

int upkeep_tasks(struct flow *f, json_t **out, struct error *err);

struct upkeep_change {      // of a schedule; NULL: as it is
    const json_t *schedule; // a string; null: as configured
    const json_t *rate;     // a number, 0: no limit; null: as configured
    const json_t *dry_run;  // a boolean; null: as configured
};
int upkeep_set(struct flow *f, const char *task, const struct upkeep_change *change, json_t **out, struct error *err);

struct upkeep_wish {
    const char *tenant;  // NULL: all
    const bool *dry_run; // NULL: as scheduled
    int64_t rate;        // items a second; 0: no limit; -1: as scheduled
    bool whole;          // not only a share
};
// Durable when it returns. ERR_CONFLICT while another run of the task is open; ERR_TENANT_UNKNOWN.
int upkeep_begin(struct flow *f, const char *task, const struct upkeep_wish *wish, json_t **out, struct error *err);

int upkeep_runs(struct flow *f, const char *task, const char *cursor, size_t limit, json_t **out, struct error *err);
int upkeep_get(struct flow *f, const char *id, json_t **out, struct error *err); // with its findings; ERR_NOT_FOUND
enum upkeep_steer { UPKEEP_PAUSE, UPKEEP_RESUME, UPKEEP_CANCEL };
// ERR_CONFLICT when the run has ended. What is at work comes to the end of its page, or of a second.
int upkeep_steer(struct flow *f, const char *id, enum upkeep_steer steer, json_t **out, struct error *err);

// --- The threads (upkeep.c)

int upkeep_start(struct flow *f, struct upkeep **out, struct error *err);
void upkeep_wake(struct upkeep *u); // takes NULL
void upkeep_stop(struct upkeep *u); // runs stay open and go on with the next process; takes NULL

// --- Records of runs (upkeep_run.c): for the files above

struct upkeep_plan {      // how a task is done when nobody says otherwise
    json_t *setting;      // what was set, and what is remembered: an object
    const char *schedule; // "" or "off": none
    int64_t rate;
    bool dry_run;
    int64_t last_ms; // when it was last due; 0: never looked
};
int upkeep_plan_get(struct flow *f, struct meta_tx *tx, enum upkeep_task task, struct upkeep_plan *out,
                    struct error *err);
int upkeep_plan_put(struct flow *f, struct meta_tx *tx, enum upkeep_task task, const struct upkeep_plan *plan,
                    struct error *err);
void upkeep_plan_free(struct upkeep_plan *plan);
int64_t upkeep_due(const struct upkeep_plan *plan); // INT64_MAX: never

#define UPKEEP_PLACE "place" // in a setting: what a task remembers from run to run
#define UPKEEP_LAST "lastMs" // … and when it was last due
#define UPKEEP_SCHEDULE "schedule"
#define UPKEEP_RATE "rate"
#define UPKEEP_DRY "dryRun"

struct upkeep_run { // strings of `row` live in an arena
    struct meta_run row;
    json_t *note; // the text, read: {tenantId, dryRun, rate, whole, origin, place, counts, findings, findingCount, …}
};
int upkeep_run_read(const struct meta_run *row, struct upkeep_run *out, struct error *err);
void upkeep_run_free(struct upkeep_run *run);
int upkeep_run_put(struct flow *f, struct meta_tx *tx, const struct upkeep_run *run, struct error *err);
json_t *upkeep_run_json(const struct upkeep_run *run, bool findings); // as people see it
// A new one, begun by `origin`: "schedule" or "request". ERR_CONFLICT while another is open.
int upkeep_run_new(struct flow *f, struct meta_tx *tx, struct arena *arena, enum upkeep_task task,
                   const struct upkeep_plan *plan, const struct upkeep_wish *wish, const char *origin,
                   struct upkeep_run *out, struct error *err);

// --- Tasks

struct keeper;
struct upkeep_work { // a page of a run
    struct flow *flow;
    struct keeper *keeper;
    struct arena *arena; // the page's
    json_t *note;        // the run's: the page's own reference
    json_t *place;       // an object in it, empty at first: what the page goes on from, and leaves behind
    const json_t *saved; // of `kept`: what the records have
    json_t *kept;        // what the task remembers from run to run, NULL: nothing yet; what a page puts there is saved
    const char *tenant;  // NULL: all
    bool dry_run, whole;
    int64_t run_ms;   // when the run was made
    size_t limit;     // of items of a page
    size_t items;     // that the page looked at: for the rate
    int64_t began_us; // the items' first
    int deaths;       // processes that died at this page
};

enum { UPKEEP_OVER = 0, UPKEEP_MORE = 1, UPKEEP_CUT = 2 };
// Works off the next page. UPKEEP_CUT: it was asked to stop in the middle; nothing is saved. -1: the page is to be done
// again, or the run has failed, as the error says.
typedef int upkeep_page_fn(struct upkeep_work *w, struct error *err);

// In the middle of a long page: what was done so far is saved as if the page ended here, and the rate kept. 0: go on
// (in `place` as it is now: all that was read from note and place before is gone); UPKEEP_CUT; -1.
int upkeep_turn(struct upkeep_work *w, struct error *err);
// The same without saving: rests as the rate wants. Is the work still wanted?
bool upkeep_pace(struct upkeep_work *w);
int64_t upkeep_born_ms(const struct upkeep_work *w); // when this process began with its upkeep, by the clock of now

// Is the work still wanted? To be asked often where a page takes long. Also keeps the lease.
bool upkeep_wanted(struct upkeep_work *w);
// Lets others have the disk for as long as something took.
void upkeep_yield(struct upkeep_work *w, int64_t took_us);
void upkeep_count(struct upkeep_work *w, const char *what, int64_t n);
void upkeep_found(struct upkeep_work *w, json_t *finding); // taken

#define UPKEEP(symbol, name, text) upkeep_page_fn upkeep_##name;
#include "flow/upkeep.def"
#undef UPKEEP

upkeep_page_fn upkeep_sweep_items; // the last part of a sweep (upkeep_items.c)

// The items of a walk through one tenant or all, tenants by their names, items newest first. The walk is in `place`
// {tenant, beforeMs, beforeId}; next: a page of it (`frames`: also of frames), in the arena, and the place behind it.
// `*over` when that was the last one.
struct upkeep_items {
    struct media *rows;
    size_t count;
};
int upkeep_items_next(struct upkeep_work *w, bool frames, struct upkeep_items *out, bool *over, struct error *err);
// The item as it is now, in the arena; false where it is gone, or being deleted.
int upkeep_look(struct upkeep_work *w, const struct media *listed, struct media *now, bool *there, struct error *err);

#endif
