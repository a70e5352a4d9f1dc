// SPDX-License-Identifier: Apache-2.0
// What is asked of the upkeep: tasks and their schedules, runs begun, shown and steered.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "flow/step.h"
#include "flow/upkeep.h"

struct ask_call {
    struct flow *flow;
    struct arena *arena;
    enum upkeep_task task;
    const char *id;
    const struct upkeep_wish *wish;
    const struct upkeep_change *change;
    enum upkeep_steer steer;
    struct run_query query;
    struct meta_run *rows;
    size_t count;
    json_t *out;
};

static int give(struct ask_call *call, int rc, json_t **out)
{
    if (rc == 0)
        *out = call->out;
    else
        json_decref(call->out);
    return rc;
}

// Puts what a transaction gave in the place of what an earlier try of it had.
static void set_out(struct ask_call *call, json_t *out)
{
    json_decref(call->out);
    call->out = out;
}

// --- Tasks

static int last_run(struct ask_call *call, struct meta_tx *tx, enum upkeep_task task, json_t *json, struct error *err)
{
    struct meta_run *rows;
    size_t count;
    struct upkeep_run run;
    const struct run_query query = {.task = upkeep_name(task), .limit = 1};
    json_object_set_new(json, "lastRun", json_null());
    if (call->flow->meta.ops->run_list(tx, call->arena, &query, &rows, &count, err) < 0)
        return -1;
    if (!count)
        return 0;
    if (upkeep_run_read(rows, &run, err) < 0)
        return -1;
    json_object_set_new(json, "lastRun", upkeep_run_json(&run, false));
    upkeep_run_free(&run);
    return 0;
}

static int task_json(struct ask_call *call, struct meta_tx *tx, enum upkeep_task task, json_t **out, struct error *err)
{
    struct upkeep_plan plan;
    const struct upkeep_settings *s = &call->flow->settings.upkeep;
    const char *configured = s->task[task].schedule;
    if (upkeep_plan_get(call->flow, tx, task, &plan, err) < 0)
        return -1;
    json_t *json =
        json_pack("{s:s,s:s,s:s,s:I,s:b}", "task", upkeep_name(task), "schedule",
                  *plan.schedule ? plan.schedule : "off", "configured", configured && *configured ? configured : "off",
                  "rate", (json_int_t)plan.rate, "dryRun", plan.dry_run);
    int64_t due_ms = upkeep_due(&plan);
    json_object_set_new(json, "nextAt", json_null());
    if (due_ms != INT64_MAX)
        js_set_time(json, "nextAt", due_ms);
    upkeep_plan_free(&plan);
    if (last_run(call, tx, task, json, err) < 0) {
        json_decref(json);
        return -1;
    }
    *out = json;
    return 0;
}

static int tasks_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct ask_call *call = arg;
    json_t *list = json_array(), *json;
    set_out(call, json_pack("{s:o}", "tasks", list));
    for (int t = 0; t < UPKEEP_TASKS; t++) {
        if (task_json(call, tx, (enum upkeep_task)t, &json, err) < 0)
            return -1;
        json_array_append_new(list, json);
    }
    return 0;
}

int upkeep_tasks(struct flow *f, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct ask_call call = {.flow = f, .arena = &arena};
    return give(&call, f->meta.ops->read(f->meta.state, tasks_tx, &call, err), out);
}

static void change_member(json_t *setting, const char *name, const json_t *value)
{
    if (json_is_null(value))
        json_object_del(setting, name);
    else if (value)
        json_object_set(setting, name, (json_t *)value);
}

static int set_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct ask_call *call = arg;
    struct flow *f = call->flow;
    struct upkeep_plan plan;
    json_t *json;
    if (upkeep_plan_get(f, tx, call->task, &plan, err) < 0)
        return -1;
    change_member(plan.setting, UPKEEP_SCHEDULE, call->change->schedule);
    change_member(plan.setting, UPKEEP_RATE, call->change->rate);
    change_member(plan.setting, UPKEEP_DRY, call->change->dry_run);
    if (call->change->schedule) // what would have been due by the new one is not
        json_object_set_new(plan.setting, UPKEEP_LAST, json_integer(clock_now_ms()));
    int rc = upkeep_plan_put(f, tx, call->task, &plan, err);
    upkeep_plan_free(&plan);
    if (rc == 0 && (rc = task_json(call, tx, call->task, &json, err)) == 0)
        set_out(call, json);
    return rc;
}

static int check_change(const struct upkeep_change *change, struct error *err)
{
    const json_t *schedule = change->schedule, *rate = change->rate, *dry = change->dry_run;
    if (schedule && !json_is_null(schedule) && !json_is_string(schedule))
        return error_set(err, ERR_INVALID, "`schedule` must be a string, or null for what is configured");
    if (json_is_string(schedule) && upkeep_check_schedule(json_string_value(schedule), err) < 0)
        return -1;
    if (rate && !json_is_null(rate) &&
        (!json_is_integer(rate) || json_integer_value(rate) < 0 || json_integer_value(rate) > UPKEEP_RATE_MAX))
        return error_set(err, ERR_INVALID, "`rate` must be a whole number from 0 to %d, or null", UPKEEP_RATE_MAX);
    if (dry && !json_is_null(dry) && !json_is_boolean(dry))
        return error_set(err, ERR_INVALID, "`dryRun` must be true or false, or null");
    if (!schedule && !rate && !dry)
        return error_set(err, ERR_INVALID, "What is to be changed? There are `schedule`, `rate` and `dryRun`");
    return 0;
}

int upkeep_set(struct flow *f, const char *task, const struct upkeep_change *change, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct ask_call call = {.flow = f, .arena = &arena, .change = change};
    if (upkeep_parse(task, &call.task, err) < 0 || check_change(change, err) < 0)
        return -1;
    int rc = f->meta.ops->write(f->meta.state, META_SYNCED, set_tx, &call, err);
    upkeep_wake(f->upkeep);
    return give(&call, rc, out);
}

// --- Runs

static int begin_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct ask_call *call = arg;
    struct upkeep_plan plan;
    struct upkeep_run run;
    if (upkeep_plan_get(call->flow, tx, call->task, &plan, err) < 0)
        return -1;
    int rc = upkeep_run_new(call->flow, tx, call->arena, call->task, &plan, call->wish, "request", &run, err);
    upkeep_plan_free(&plan);
    if (rc < 0)
        return -1;
    set_out(call, upkeep_run_json(&run, true));
    upkeep_run_free(&run);
    return 0;
}

int upkeep_begin(struct flow *f, const char *task, const struct upkeep_wish *wish, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct ask_call call = {.flow = f, .arena = &arena, .wish = wish};
    if (upkeep_parse(task, &call.task, err) < 0 || (wish->tenant && flow_tenant_check(wish->tenant, err) < 0))
        return -1;
    int rc = f->meta.ops->write(f->meta.state, META_SYNCED, begin_tx, &call, err);
    upkeep_wake(f->upkeep);
    return give(&call, rc, out);
}

static int runs_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct ask_call *call = arg;
    return call->flow->meta.ops->run_list(tx, call->arena, &call->query, &call->rows, &call->count, err);
}

// "MS.run_…": behind which one to go on.
static int read_cursor(const char *text, struct run_query *query, struct error *err)
{
    char *end;
    int64_t ms = strtoll(text, &end, 10);
    if (ms <= 0 || *end != '.' || strncmp(end + 1, "run_", 4) != 0 || strlen(end + 1) >= ID_MAX)
        return error_set(err, ERR_INVALID_CURSOR, "The cursor is not one that DeepLens gave");
    query->before_ms = ms;
    query->before_id = end + 1;
    return 0;
}

int upkeep_runs(struct flow *f, const char *task, const char *cursor, size_t limit, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct ask_call call = {.flow = f, .arena = &arena, .query = {.task = task, .limit = limit + 1}};
    if ((task && upkeep_parse(task, &call.task, err) < 0) || (cursor && read_cursor(cursor, &call.query, err) < 0) ||
        f->meta.ops->read(f->meta.state, runs_tx, &call, err) < 0)
        return -1;
    _cleanup_json_ json_t *list = json_array();
    for (size_t i = 0; i < call.count && i < limit; i++) {
        struct upkeep_run run;
        if (upkeep_run_read(&call.rows[i], &run, err) < 0)
            return -1;
        json_array_append_new(list, upkeep_run_json(&run, false));
        upkeep_run_free(&run);
    }
    const struct meta_run *last = call.count > limit ? &call.rows[limit - 1] : NULL;
    *out = json_pack("{s:O,s:s?}", "runs", list, "nextCursor",
                     last ? arena_printf(&arena, "%" PRId64 ".%s", last->created_ms, last->id) : NULL);
    return 0;
}

static int get_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct ask_call *call = arg;
    struct meta_run row;
    struct upkeep_run run;
    if (call->flow->meta.ops->run_get(tx, call->arena, call->id, &row, err) < 0 || upkeep_run_read(&row, &run, err) < 0)
        return -1;
    set_out(call, upkeep_run_json(&run, true));
    upkeep_run_free(&run);
    return 0;
}

int upkeep_get(struct flow *f, const char *id, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct ask_call call = {.flow = f, .arena = &arena, .id = id};
    return give(&call, f->meta.ops->read(f->meta.state, get_tx, &call, err), out);
}

// A run that nobody is at is cancelled at once; else who is at it ends it.
static int steer_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    static const enum run_state states[] = {
        [UPKEEP_PAUSE] = RUN_PAUSED, [UPKEEP_RESUME] = RUN_RUNNING, [UPKEEP_CANCEL] = RUN_CANCELLED};
    struct ask_call *call = arg;
    struct meta_run row;
    if (call->flow->meta.ops->run_get(tx, call->arena, call->id, &row, err) < 0)
        return -1;
    if (row.ended_ms || (row.state == RUN_CANCELLED && call->steer != UPKEEP_CANCEL))
        return error_set(err, ERR_CONFLICT, "The run %s is %s", row.id, run_state_name(row.state));
    row.state = states[call->steer];
    row.ended_ms = row.state == RUN_CANCELLED && !row.owner ? clock_now_ms() : 0;
    if (call->flow->meta.ops->run_put(tx, &row, err) < 0)
        return -1;
    return get_tx(tx, call, err);
}

int upkeep_steer(struct flow *f, const char *id, enum upkeep_steer steer, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct ask_call call = {.flow = f, .arena = &arena, .id = id, .steer = steer};
    int rc = f->meta.ops->write(f->meta.state, META_SYNCED, steer_tx, &call, err);
    upkeep_wake(f->upkeep);
    return give(&call, rc, out);
}
