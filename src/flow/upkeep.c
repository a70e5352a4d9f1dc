// SPDX-License-Identifier: Apache-2.0
// The threads of upkeep, one a task: see upkeep.h.
//
//   look    one transaction: a run that is due is made; an open one that runs is claimed, when nobody else has it
//   page    the task's own
//   save    one transaction: the run as it is now, when it is still ours; its state is what others made of it meanwhile
//
// A thread that has nothing to do looks every IDLE_MS, or when it is woken.
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "flow/step.h"
#include "flow/upkeep.h"
#include "obs/alert.h"
#include "obs/metrics.h"

enum { IDLE_MS = 5000, FAULT_MS = 1000, FAULTS = 5, PAGE = 64, LOOK_US = 1000000, YIELD_MAX_US = 1000000, PRUNE = 100 };

struct keeper {
    struct upkeep *all;
    enum upkeep_task task;
    pthread_t thread;
    bool started;
    // The run that is worked on: the thread's.
    struct arena arena;
    struct upkeep_run run;
    bool has_run, ended;
    int deaths, faults;
    int64_t looked_us;
    bool woken; // under the lock
};

struct upkeep {
    struct flow *flow;
    char name[ID_MAX];        // of this process
    int64_t born_ms, born_us; // when it began: by the clock, and monotonic
    pthread_mutex_t lock;
    pthread_cond_t change;
    bool stop; // under the lock
    struct keeper keepers[UPKEEP_TASKS];
};

static upkeep_page_fn *const pages[UPKEEP_TASKS] = {
#define UPKEEP(symbol, name, text) [UPKEEP_##symbol] = upkeep_##name,
#include "flow/upkeep.def"
#undef UPKEEP
};

// Waits; true when the thread is to stop. Being woken ends it, unless `still`.
static bool rest(struct keeper *k, int64_t us, bool still)
{
    struct upkeep *u = k->all;
    int64_t until = clock_mono_us() + us;
    const struct timespec at = {.tv_sec = until / 1000000, .tv_nsec = until % 1000000 * 1000};
    pthread_mutex_lock(&u->lock);
    while (!u->stop && (still || !k->woken) && pthread_cond_timedwait(&u->change, &u->lock, &at) != ETIMEDOUT)
        ;
    k->woken = k->woken && still;
    bool stop = u->stop;
    pthread_mutex_unlock(&u->lock);
    return stop;
}

// --- Look

struct look_call {
    struct keeper *keeper;
    struct upkeep_run run;
    bool claimed, passed_over, began;
    int64_t due_ms; // the next time
};

static int64_t lease_until(const struct keeper *k)
{
    return clock_now_ms() + k->all->flow->settings.upkeep.lease_ms;
}

static bool is_mine(const struct keeper *k, const struct meta_run *row)
{
    return row->owner && strcmp(row->owner, k->all->name) == 0;
}

static bool is_free(const struct keeper *k, const struct meta_run *row)
{
    return !row->owner || is_mine(k, row) || !k->all->flow->settings.upkeep.lease_ms || row->lease_ms < clock_now_ms();
}

// Makes the run that is due. What is due for the first time is so from now on.
static int look_at_plan(struct look_call *call, struct meta_tx *tx, bool open, struct error *err)
{
    struct keeper *k = call->keeper;
    struct flow *f = k->all->flow;
    struct upkeep_plan plan;
    const struct upkeep_wish wish = {.rate = -1};
    int64_t now = clock_now_ms();
    int rc = 0;
    if (upkeep_plan_get(f, tx, k->task, &plan, err) < 0)
        return -1;
    int64_t due = upkeep_due(&plan);
    bool is_due = due <= now;
    if (is_due || !plan.last_ms) {
        plan.last_ms = now;
        json_object_set_new(plan.setting, UPKEEP_LAST, json_integer(now));
        rc = upkeep_plan_put(f, tx, k->task, &plan, err);
    }
    if (rc == 0 && is_due && !open)
        rc = upkeep_run_new(f, tx, &k->arena, k->task, &plan, &wish, "schedule", &call->run, err);
    call->began = rc == 0 && is_due && !open;
    call->passed_over = rc == 0 && is_due && open;
    call->due_ms = upkeep_due(&plan);
    upkeep_plan_free(&plan);
    return rc;
}

static void set_error(json_t *note, enum error_code code, const char *message)
{
    json_object_set_new(note, "error", json_pack("{s:s,s:s}", "code", error_code_name(code), "message", message));
}

// A process died of it, or with it.
static void count_death(struct upkeep_run *run)
{
    int64_t deaths = js_int(run->note, "deaths", 0) + 1;
    json_object_set_new(run->note, "deaths", json_integer(deaths));
    if (deaths < UPKEEP_DEATHS)
        return;
    run->row.state = RUN_FAILED;
    set_error(run->note, ERR_PROCESS_DIED, "The process died while working on it, again and again at the same place");
}

static int claim(struct look_call *call, struct meta_tx *tx, struct error *err)
{
    struct keeper *k = call->keeper;
    struct upkeep_run *run = &call->run;
    if (run->row.state == RUN_PAUSED || !is_free(k, &run->row))
        return 0;
    if (run->row.state == RUN_RUNNING && run->row.owner && !is_mine(k, &run->row))
        count_death(run);
    if (!js_int(run->note, "startedMs", 0))
        json_object_set_new(run->note, "startedMs", json_integer(clock_now_ms()));
    call->claimed = run->row.state == RUN_RUNNING;
    run->row.owner = call->claimed ? k->all->name : NULL;
    run->row.lease_ms = lease_until(k);
    run->row.ended_ms = call->claimed ? 0 : clock_now_ms();
    return upkeep_run_put(k->all->flow, tx, run, err);
}

static int look_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct look_call *call = arg;
    struct keeper *k = call->keeper;
    struct meta_run row;
    struct error why = {0};
    upkeep_run_free(&call->run);
    *call = (struct look_call){.keeper = k};
    bool open = k->all->flow->meta.ops->run_open(tx, &k->arena, upkeep_name(k->task), &row, &why) == 0;
    if (!open && why.code != ERR_NOT_FOUND)
        return error_copy(err, &why);
    if (open && upkeep_run_read(&row, &call->run, err) < 0)
        return -1;
    if (look_at_plan(call, tx, open, err) < 0)
        return -1;
    return open || call->began ? claim(call, tx, err) : 0;
}

static void tell_end(const struct keeper *k, const struct upkeep_run *run)
{
    const char *state = run_state_name(run->row.state);
    int64_t found = js_int(run->note, "findingCount", 0);
    _cleanup_free_ char *counts = js_dumps(js_obj(run->note, "counts"));
    metric_add(M_UPKEEP_RUNS, state, 1);
    if (run->row.state == RUN_FAILED)
        log_warn("upkeep", "%s, %s: failed: %s", upkeep_name(k->task), run->row.id,
                 js_str(js_obj(run->note, "error"), "message", "?"));
    else if (found)
        log_warn("upkeep", "%s, %s: %s with %lld findings, %s; see `deeplens maintenance show %s`",
                 upkeep_name(k->task), run->row.id, state, (long long)found, counts ? counts : "", run->row.id);
    else
        log_info("upkeep", "%s, %s: %s, %s", upkeep_name(k->task), run->row.id, state, counts ? counts : "");
}

static int look(struct keeper *k, int64_t *due_ms, struct error *err)
{
    struct flow *f = k->all->flow;
    struct look_call call = {.keeper = k};
    if (f->meta.ops->write(f->meta.state, META_SYNCED, look_tx, &call, err) < 0) {
        upkeep_run_free(&call.run);
        return -1;
    }
    *due_ms = call.due_ms;
    if (call.passed_over) {
        metric_add(M_UPKEEP_RUNS, "passed over", 1);
        log_warn("upkeep", "%s is due, and passed over: the run %s has not ended", upkeep_name(k->task),
                 call.run.row.id);
    }
    if (call.run.note && call.run.row.ended_ms)
        tell_end(k, &call.run);
    k->has_run = call.claimed;
    if (!call.claimed) {
        upkeep_run_free(&call.run);
        return 0;
    }
    k->run = call.run;
    k->deaths = (int)js_int(k->run.note, "deaths", 0);
    return 0;
}

// Is there anything to look at? Reads alone, as that is what most looks are.
static int peek_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct look_call *call = arg;
    struct keeper *k = call->keeper;
    struct flow *f = k->all->flow;
    struct meta_run row;
    struct upkeep_plan plan;
    struct error why = {0};
    call->claimed = f->meta.ops->run_open(tx, &k->arena, upkeep_name(k->task), &row, &why) == 0;
    if (!call->claimed && why.code != ERR_NOT_FOUND)
        return error_copy(err, &why);
    if (call->claimed)
        call->claimed = row.state != RUN_PAUSED && is_free(k, &row);
    if (upkeep_plan_get(f, tx, k->task, &plan, err) < 0)
        return -1;
    call->due_ms = upkeep_due(&plan);
    call->claimed |= !plan.last_ms || call->due_ms <= clock_now_ms();
    upkeep_plan_free(&plan);
    return 0;
}

// --- Save

struct save_call {
    struct keeper *keeper;
    struct arena *arena;
    const json_t *kept;
    enum run_state end; // RUN_RUNNING: it goes on
    bool release, lost;
};

static int save_kept(struct save_call *call, struct meta_tx *tx, struct error *err)
{
    struct keeper *k = call->keeper;
    struct upkeep_plan plan;
    if (upkeep_plan_get(k->all->flow, tx, k->task, &plan, err) < 0)
        return -1;
    json_object_set(plan.setting, UPKEEP_PLACE, (json_t *)call->kept);
    int rc = upkeep_plan_put(k->all->flow, tx, k->task, &plan, err);
    upkeep_plan_free(&plan);
    return rc;
}

static int save_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct save_call *call = arg;
    struct keeper *k = call->keeper;
    struct flow *f = k->all->flow;
    struct meta_run now;
    if (f->meta.ops->run_get(tx, call->arena, k->run.row.id, &now, err) < 0)
        return -1;
    call->lost = !is_mine(k, &now) || now.ended_ms;
    if (call->lost)
        return 0;
    struct meta_run *row = &k->run.row;
    row->state = now.state == RUN_RUNNING ? call->end : now.state;
    bool over = row->state != RUN_RUNNING && row->state != RUN_PAUSED;
    row->ended_ms = over ? clock_now_ms() : 0;
    row->owner = row->state == RUN_RUNNING && !call->release ? k->all->name : NULL;
    row->lease_ms = lease_until(k);
    if (call->kept && save_kept(call, tx, err) < 0)
        return -1;
    return upkeep_run_put(f, tx, &k->run, err);
}

static int save(struct keeper *k, struct save_call *call, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct flow *f = k->all->flow;
    call->keeper = k;
    call->arena = &arena;
    enum meta_durability durability = call->end == RUN_RUNNING ? META_RELAXED : META_SYNCED;
    if (f->meta.ops->write(f->meta.state, durability, save_tx, call, err) < 0)
        return -1;
    k->looked_us = clock_mono_us();
    if (!call->lost && k->run.row.ended_ms)
        tell_end(k, &k->run);
    k->has_run = !call->lost && k->run.row.owner;
    return 0;
}

// --- What tasks call

struct wanted_call {
    struct keeper *keeper;
    struct arena arena;
    bool wanted;
};

static int wanted_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct wanted_call *call = arg;
    struct keeper *k = call->keeper;
    struct flow *f = k->all->flow;
    struct meta_run now;
    if (f->meta.ops->run_get(tx, &call->arena, k->run.row.id, &now, err) < 0)
        return -1;
    call->wanted = is_mine(k, &now) && now.state == RUN_RUNNING;
    if (!call->wanted || !f->settings.upkeep.lease_ms)
        return 0;
    now.lease_ms = lease_until(k);
    return f->meta.ops->run_put(tx, &now, err);
}

bool upkeep_wanted(struct upkeep_work *w)
{
    struct keeper *k = w->keeper;
    struct flow *f = w->flow;
    pthread_mutex_lock(&k->all->lock);
    bool stop = k->all->stop, woken = k->woken;
    k->woken = false;
    pthread_mutex_unlock(&k->all->lock);
    if (stop || (!woken && clock_mono_us() - k->looked_us < LOOK_US))
        return !stop;
    struct wanted_call call = {.keeper = k, .wanted = true};
    // What cannot be asked at the moment is asked again: the save will tell.
    (f->settings.upkeep.lease_ms ? f->meta.ops->write(f->meta.state, META_RELAXED, wanted_tx, &call, NULL)
                                 : f->meta.ops->read(f->meta.state, wanted_tx, &call, NULL));
    arena_free(&call.arena);
    k->looked_us = clock_mono_us();
    return call.wanted;
}

void upkeep_yield(struct upkeep_work *w, int64_t took_us)
{
    rest(w->keeper, took_us < YIELD_MAX_US ? took_us : YIELD_MAX_US, false);
}

void upkeep_count(struct upkeep_work *w, const char *what, int64_t n)
{
    json_t *counts = js_obj(w->note, "counts");
    json_object_set_new(counts, what, json_integer(js_int(counts, what, 0) + n));
}

void upkeep_found(struct upkeep_work *w, json_t *finding)
{
    json_t *list = js_arr(w->note, "findings");
    json_object_set_new(w->note, "findingCount", json_integer(js_int(w->note, "findingCount", 0) + 1));
    if (json_array_size(list) < UPKEEP_FINDINGS)
        json_array_append(list, finding);
    json_decref(finding);
}

// --- A page

struct kept_call {
    struct keeper *keeper;
    json_t *kept;
};

static int kept_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct kept_call *call = arg;
    struct keeper *k = call->keeper;
    struct upkeep_plan plan;
    if (upkeep_plan_get(k->all->flow, tx, k->task, &plan, err) < 0)
        return -1;
    json_decref(call->kept);
    call->kept = json_incref(json_object_get(plan.setting, UPKEEP_PLACE));
    upkeep_plan_free(&plan);
    return 0;
}

// An error that may pass is waited out; the run's end when it does not.
static int give_up(struct keeper *k, const struct error *why, struct error *err)
{
    bool may_pass = why->outage || (why->retryable && k->faults + 1 < FAULTS);
    if (may_pass) {
        if (k->faults++ == 0)
            log_warn("upkeep", "%s, %s: cannot go on at the moment; tried again: %s", upkeep_name(k->task),
                     k->run.row.id, why->message);
        rest(k, FAULT_MS * 1000, false);
        struct save_call call = {.end = RUN_RUNNING}; // the lease, and what others made of it
        return save(k, &call, err);
    }
    set_error(k->run.note, why->code, why->message);
    struct save_call call = {.end = RUN_FAILED};
    return save(k, &call, err);
}

static size_t page_size(int64_t rate)
{
    return rate > 0 && rate < PAGE ? (size_t)rate : PAGE; // about a second at most
}

static struct upkeep_work make_work(struct keeper *k, struct arena *arena, json_t *kept)
{
    json_t *note = json_deep_copy(k->run.note);
    return (struct upkeep_work){.flow = k->all->flow,
                                .keeper = k,
                                .arena = arena,
                                .note = note,
                                .place = js_obj(note, "place"),
                                .saved = kept,
                                .kept = kept,
                                .tenant = arena_strdup(arena, js_str(note, "tenantId", NULL)),
                                .dry_run = js_bool(note, "dryRun", true),
                                .whole = js_bool(note, "whole", false),
                                .run_ms = k->run.row.created_ms,
                                .deaths = k->deaths,
                                .began_us = clock_mono_us(),
                                .limit = k->deaths ? 1 : page_size(js_int(note, "rate", 0))};
}

// What was done so far is the run's; then the page has a new copy.
static int keep_page(struct upkeep_work *w, bool over, struct error *err)
{
    struct keeper *k = w->keeper;
    json_t *before = k->run.note;
    struct save_call call = {.kept = w->kept == w->saved ? NULL : w->kept, .end = over ? RUN_COMPLETED : RUN_RUNNING};
    json_object_del(w->note, "deaths");
    k->run.note = w->note;
    if (save(k, &call, err) < 0) {
        k->run.note = before; // it is done once more
        return -1;
    }
    metric_add(M_UPKEEP_FINDINGS, upkeep_name(k->task),
               js_int(w->note, "findingCount", 0) - js_int(before, "findingCount", 0));
    json_decref(before);
    w->note = json_deep_copy(k->run.note);
    w->place = js_obj(w->note, "place");
    w->saved = w->kept;
    k->deaths = k->faults = 0;
    return 0;
}

// Rests until the items since the last rest took as long as the rate wants.
static void keep_rate(struct upkeep_work *w)
{
    struct keeper *k = w->keeper;
    int64_t rate = js_int(w->note, "rate", 0), took_us = clock_mono_us() - w->began_us;
    int64_t pace_us = rate > 0 ? (int64_t)w->items * 1000000 / rate : 0;
    metric_add(M_UPKEEP_ITEMS, upkeep_name(k->task), (int64_t)w->items);
    if (pace_us > took_us)
        rest(k, pace_us - took_us, false);
    w->items = 0;
    w->began_us = clock_mono_us();
}

bool upkeep_pace(struct upkeep_work *w)
{
    keep_rate(w);
    return upkeep_wanted(w);
}

int upkeep_turn(struct upkeep_work *w, struct error *err)
{
    if (keep_page(w, false, err) < 0)
        return -1;
    if (!w->keeper->has_run)
        return UPKEEP_CUT;
    return upkeep_pace(w) ? 0 : UPKEEP_CUT;
}

int64_t upkeep_born_ms(const struct upkeep_work *w)
{
    const struct upkeep *u = w->keeper->all;
    int64_t reckoned = clock_now_ms() - (clock_mono_us() - u->born_us) / 1000;
    return reckoned < u->born_ms ? reckoned : u->born_ms; // clocks are set back now and then
}

// A page works on a copy of the note, as it may fail or be cut in its middle.
static int do_page(struct keeper *k, struct arena *arena, struct error *err)
{
    struct flow *f = k->all->flow;
    struct kept_call kept = {.keeper = k};
    struct error why = {0};
    int rc = f->meta.ops->read(f->meta.state, kept_tx, &kept, &why);
    struct upkeep_work w = make_work(k, arena, kept.kept);
    if (rc == 0)
        rc = pages[k->task](&w, &why);
    struct save_call untouched = {.end = RUN_RUNNING};
    if (rc == UPKEEP_OVER || rc == UPKEEP_MORE)
        rc = keep_page(&w, rc == UPKEEP_OVER, err);
    else if (k->has_run) // it was not lost in the middle
        rc = rc < 0 ? give_up(k, &why, err) : save(k, &untouched, err);
    else
        rc = 0;
    if (rc == 0 && k->has_run)
        keep_rate(&w);
    json_decref(w.note);
    json_decref(w.kept);
    return rc;
}

// --- The thread

static int prune_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct flow *f = arg;
    return f->meta.ops->run_prune(tx, clock_now_ms() - f->settings.upkeep.keep_ms, PRUNE, err);
}

// Works on the run until it is over, paused, or the thread is to stop; then it is anybody's.
static int do_run(struct keeper *k, struct error *err)
{
    struct flow *f = k->all->flow;
    int rc = 0;
    bool stop = false;
    k->faults = 0;
    while (rc == 0 && k->has_run && !(stop = rest(k, 0, true))) {
        _cleanup_arena_ struct arena arena = {0};
        rc = do_page(k, &arena, err);
    }
    if (rc == 0 && k->has_run && stop) {
        struct save_call call = {.end = RUN_RUNNING, .release = true};
        rc = save(k, &call, err);
    }
    if (rc == 0 && k->run.row.ended_ms)
        rc = f->meta.ops->write(f->meta.state, META_RELAXED, prune_tx, f, err);
    return rc;
}

// What is due then is not waited for longer than IDLE_MS, as clocks are set.
static int turn(struct keeper *k, int64_t *wait_us, struct error *err)
{
    struct flow *f = k->all->flow;
    struct look_call peek = {.keeper = k};
    int64_t due_ms = INT64_MAX;
    int rc = f->meta.ops->read(f->meta.state, peek_tx, &peek, err);
    due_ms = peek.due_ms;
    if (rc == 0 && peek.claimed)
        rc = look(k, &due_ms, err);
    if (rc == 0 && k->has_run) {
        rc = do_run(k, err);
        upkeep_run_free(&k->run);
        k->has_run = false;
        due_ms = clock_now_ms(); // look at once
    }
    arena_free(&k->arena);
    int64_t until_ms = due_ms == INT64_MAX ? IDLE_MS : due_ms - clock_now_ms();
    *wait_us = (until_ms < 0 ? 0 : until_ms < IDLE_MS ? until_ms : IDLE_MS) * 1000;
    return rc;
}

static void *keeper_main(void *arg)
{
    struct keeper *k = arg;
    char told[sizeof((struct error *)0)->message] = "";
    for (bool stop = false; !stop;) {
        struct error err = {0};
        int64_t wait_us = 0;
        int rc = turn(k, &wait_us, &err);
        if (rc < 0 && strcmp(told, err.message) != 0) {
            log_warn("upkeep", "%s: the records cannot be used at the moment; tried again: %s", upkeep_name(k->task),
                     err.message);
            memcpy(told, err.message, sizeof told);
        }
        if (rc == 0)
            told[0] = 0;
        stop = rest(k, rc < 0 ? FAULT_MS * 1000 : wait_us, false);
    }
    return NULL;
}

static int start_keeper(struct upkeep *u, int task, struct error *err)
{
    struct keeper *k = &u->keepers[task];
    k->all = u;
    k->task = (enum upkeep_task)task;
    int rc = pthread_create(&k->thread, NULL, keeper_main, k);
    k->started = rc == 0;
    return rc == 0 ? 0 : error_errno(err, ERR_INTERNAL, rc, "A thread of the upkeep cannot be started");
}

int upkeep_start(struct flow *f, struct upkeep **out, struct error *err)
{
    struct upkeep *u = calloc(1, sizeof *u);
    if (!u)
        return error_set(err, ERR_NO_MEMORY, "No memory for the upkeep");
    u->flow = f;
    id_new("prc", u->name);
    u->born_ms = clock_now_ms();
    u->born_us = clock_mono_us();
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&u->lock, NULL);
    pthread_cond_init(&u->change, &attr);
    pthread_condattr_destroy(&attr);
    for (int t = 0; t < UPKEEP_TASKS; t++)
        if (start_keeper(u, t, err) < 0) {
            upkeep_stop(u);
            return -1;
        }
    *out = u;
    return 0;
}

void upkeep_wake(struct upkeep *u)
{
    if (!u)
        return;
    pthread_mutex_lock(&u->lock);
    for (int t = 0; t < UPKEEP_TASKS; t++)
        u->keepers[t].woken = true;
    pthread_cond_broadcast(&u->change);
    pthread_mutex_unlock(&u->lock);
}

void upkeep_stop(struct upkeep *u)
{
    if (!u)
        return;
    pthread_mutex_lock(&u->lock);
    u->stop = true;
    pthread_cond_broadcast(&u->change);
    pthread_mutex_unlock(&u->lock);
    for (int t = 0; t < UPKEEP_TASKS; t++)
        if (u->keepers[t].started)
            pthread_join(u->keepers[t].thread, NULL);
    pthread_cond_destroy(&u->change);
    pthread_mutex_destroy(&u->lock);
    free(u);
}
