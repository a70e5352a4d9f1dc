// SPDX-License-Identifier: Apache-2.0
// The records of upkeep: plans (a setting a task, as JSON, over what is configured) and runs.
#include <string.h>

#include "base/clock.h"
#include "base/cron.h"
#include "flow/step.h"
#include "flow/upkeep.h"

static const char *const names[UPKEEP_TASKS] = {
#define UPKEEP(symbol, name, text) [UPKEEP_##symbol] = #name,
#include "flow/upkeep.def"
#undef UPKEEP
};

const char *upkeep_name(enum upkeep_task task)
{
    return names[task];
}

int upkeep_parse(const char *name, enum upkeep_task *out, struct error *err)
{
    _cleanup_buf_ struct buf known = BUF_INIT(256);
    for (int t = 0; t < UPKEEP_TASKS; t++) {
        if (name && strcmp(names[t], name) == 0) {
            *out = (enum upkeep_task)t;
            return 0;
        }
        buf_printf(&known, "%s%s", t ? ", " : "", names[t]);
    }
    return error_set(err, ERR_NOT_FOUND, "There is no task \"%.40s\"; there are %s", name ? name : "", known.data);
}

static bool is_off(const char *schedule)
{
    return !*schedule || strcmp(schedule, "off") == 0;
}

int upkeep_check_schedule(const char *text, struct error *err)
{
    struct cron cron;
    return is_off(text) ? 0 : cron_parse(text, &cron, err);
}

// --- Plans

int upkeep_plan_get(struct flow *f, struct meta_tx *tx, enum upkeep_task task, struct upkeep_plan *out,
                    struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    const struct upkeep_settings *s = &f->settings.upkeep;
    const char *text = "{}";
    struct error why = {0};
    if (f->meta.ops->setting_get(tx, &arena, arena_printf(&arena, "upkeep.%s", names[task]), &text, &why) < 0 &&
        why.code != ERR_NOT_FOUND)
        return error_copy(err, &why);
    json_t *setting = js_parse(text, strlen(text), err);
    if (!setting)
        return -1;
    *out = (struct upkeep_plan){
        .setting = setting,
        .schedule = js_str(setting, UPKEEP_SCHEDULE, s->task[task].schedule ? s->task[task].schedule : ""),
        .rate = js_int(setting, UPKEEP_RATE, s->rate),
        .dry_run = js_bool(setting, UPKEEP_DRY, s->task[task].dry_run),
        .last_ms = js_int(setting, UPKEEP_LAST, 0)};
    return 0;
}

int upkeep_plan_put(struct flow *f, struct meta_tx *tx, enum upkeep_task task, const struct upkeep_plan *plan,
                    struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    _cleanup_free_ char *text = js_dumps(plan->setting);
    if (!text)
        return error_set(err, ERR_NO_MEMORY, "No memory for a plan");
    return f->meta.ops->setting_put(tx, arena_printf(&arena, "upkeep.%s", names[task]), text, err);
}

void upkeep_plan_free(struct upkeep_plan *plan)
{
    json_decref(plan->setting);
    plan->setting = NULL;
}

int64_t upkeep_due(const struct upkeep_plan *plan)
{
    struct cron cron;
    if (is_off(plan->schedule) || cron_parse(plan->schedule, &cron, NULL) < 0 || !plan->last_ms)
        return INT64_MAX;
    return cron_next(&cron, plan->last_ms);
}

// --- Runs

int upkeep_run_read(const struct meta_run *row, struct upkeep_run *out, struct error *err)
{
    json_t *note = js_parse(row->text, strlen(row->text), err);
    if (!note)
        return -1;
    *out = (struct upkeep_run){.row = *row, .note = note};
    return 0;
}

void upkeep_run_free(struct upkeep_run *run)
{
    json_decref(run->note);
    run->note = NULL;
}

int upkeep_run_put(struct flow *f, struct meta_tx *tx, const struct upkeep_run *run, struct error *err)
{
    _cleanup_free_ char *text = js_dumps(run->note);
    if (!text)
        return error_set(err, ERR_NO_MEMORY, "No memory for a run");
    struct meta_run row = run->row;
    row.text = text;
    return f->meta.ops->run_put(tx, &row, err);
}

json_t *upkeep_run_json(const struct upkeep_run *run, bool findings)
{
    const struct meta_run *row = &run->row;
    const json_t *note = run->note;
    bool ending = row->state == RUN_CANCELLED && !row->ended_ms;
    json_t *json =
        json_pack("{s:s,s:s,s:s,s:s?,s:b,s:b,s:s,s:I,s:O,s:I}", "runId", row->id, "task", row->task, "state",
                  ending ? "cancelling" : run_state_name(row->state), "tenantId", js_str(note, "tenantId", NULL),
                  "dryRun", js_bool(note, "dryRun", true), "whole", js_bool(note, "whole", false), "origin",
                  js_str(note, "origin", "request"), "rate", (json_int_t)js_int(note, "rate", 0), "counts",
                  js_obj(note, "counts"), "findingCount", (json_int_t)js_int(note, "findingCount", 0));
    js_set_time(json, "createdAt", row->created_ms);
    js_set_time(json, "startedAt", js_int(note, "startedMs", 0));
    js_set_time(json, "endedAt", row->ended_ms);
    json_t *error = js_obj(note, "error");
    json_object_set(json, "error", error ? error : json_null());
    if (findings)
        json_object_set(json, "findings", js_arr(note, "findings"));
    return json;
}

int upkeep_run_new(struct flow *f, struct meta_tx *tx, struct arena *arena, enum upkeep_task task,
                   const struct upkeep_plan *plan, const struct upkeep_wish *wish, const char *origin,
                   struct upkeep_run *out, struct error *err)
{
    char id[ID_MAX];
    struct meta_run open;
    struct meta_tenant tenant;
    struct error why = {0};
    if (f->meta.ops->run_open(tx, arena, names[task], &open, &why) == 0)
        return error_set(err, ERR_CONFLICT, "The run %s of the task %s has not ended: only one of a task at a time",
                         open.id, names[task]);
    if (why.code != ERR_NOT_FOUND)
        return error_copy(err, &why);
    if (wish->tenant && f->meta.ops->tenant_get(tx, arena, wish->tenant, &tenant, err) < 0)
        return -1;
    id_new("run", id);
    json_t *note = json_pack("{s:s?,s:b,s:b,s:I,s:s,s:{},s:{},s:[],s:i}", "tenantId", wish->tenant, "dryRun",
                             wish->dry_run ? *wish->dry_run : plan->dry_run, "whole", wish->whole, "rate",
                             (json_int_t)(wish->rate >= 0 ? wish->rate : plan->rate), "origin", origin, "place",
                             "counts", "findings", "findingCount", 0);
    *out = (struct upkeep_run){
        .row = {.id = arena_strdup(arena, id), .task = names[task], .state = RUN_RUNNING, .created_ms = clock_now_ms()},
        .note = note};
    if (upkeep_run_put(f, tx, out, err) == 0)
        return 0;
    upkeep_run_free(out);
    return -1;
}

// --- Items

struct next_call {
    struct upkeep_work *work;
    bool frames;
    const char *tenant; // NULL: none is left
    struct upkeep_items found;
};

static int find_tenant(struct next_call *call, struct meta_tx *tx, struct error *err)
{
    struct upkeep_work *w = call->work;
    struct meta_tenant *tenants;
    size_t count;
    const char *from = w->tenant ? w->tenant : js_str(w->place, "tenant", "");
    call->tenant = NULL;
    if (w->flow->meta.ops->tenant_list(tx, w->arena, &tenants, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count && !call->tenant; i++) // by name
        if (w->tenant ? strcmp(tenants[i].name, from) == 0 : strcmp(tenants[i].name, from) >= 0)
            call->tenant = tenants[i].name;
    return 0;
}

static int next_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct next_call *call = arg;
    struct upkeep_work *w = call->work;
    call->found = (struct upkeep_items){0};
    if (find_tenant(call, tx, err) < 0)
        return -1;
    if (!call->tenant)
        return 0;
    bool same = strcmp(call->tenant, js_str(w->place, "tenant", "")) == 0; // else that one is not there any more
    const struct media_query query = {.tenant = call->tenant,
                                      .before_ms = same ? js_int(w->place, "beforeMs", 0) : 0,
                                      .before_id = same ? js_str(w->place, "beforeId", NULL) : NULL,
                                      .frames = call->frames,
                                      .limit = w->limit};
    return w->flow->meta.ops->media_list(tx, w->arena, &query, &call->found.rows, &call->found.count, err);
}

static void set_place(struct upkeep_work *w, const char *tenant, const struct media *last)
{
    json_object_set_new(w->place, "tenant", json_string(tenant));
    json_object_set_new(w->place, "beforeMs", json_integer(last ? last->uploaded_ms : 0));
    json_object_set_new(w->place, "beforeId", json_string(last ? last->id : ""));
}

int upkeep_items_next(struct upkeep_work *w, bool frames, struct upkeep_items *out, bool *over, struct error *err)
{
    struct flow *f = w->flow;
    struct next_call call = {.work = w, .frames = frames};
    if (f->meta.ops->read(f->meta.state, next_tx, &call, err) < 0)
        return -1;
    bool last = call.found.count < w->limit; // of the tenant
    *out = call.found;
    *over = !call.tenant || (last && w->tenant);
    if (call.tenant && !last)
        set_place(w, call.tenant, &call.found.rows[call.found.count - 1]);
    else if (call.tenant && !w->tenant) // the least name behind this one is not before that
        set_place(w, arena_printf(w->arena, "%s-", call.tenant), NULL);
    return 0;
}

struct look_call {
    struct upkeep_work *work;
    const struct media *listed;
    struct media now;
    bool there;
};

static int look_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct look_call *c = arg;
    struct error why = {0};
    int rc = c->work->flow->meta.ops->media_get(tx, c->work->arena, c->listed->tenant, c->listed->id, &c->now, &why);
    c->there = rc == 0 && c->now.status != MEDIA_DELETING;
    return rc < 0 && why.code != ERR_NOT_FOUND ? error_copy(err, &why) : 0;
}

int upkeep_look(struct upkeep_work *w, const struct media *listed, struct media *now, bool *there, struct error *err)
{
    struct look_call call = {.work = w, .listed = listed};
    if (w->flow->meta.ops->read(w->flow->meta.state, look_tx, &call, err) < 0)
        return -1;
    *now = call.now;
    *there = call.there;
    return 0;
}
