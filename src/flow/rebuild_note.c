// SPDX-License-Identifier: Apache-2.0
// A rebuild's note: one setting a scope, as JSON.
#include <string.h>

#include "base/js.h"
#include "flow/rebuild.h"

#define SETTING "rebuild"

static const char *const state_names[REBUILD_STATES] = {
    [REBUILD_NONE] = "none",          [REBUILD_BUILDING] = "building", [REBUILD_CLOSING] = "closing",
    [REBUILD_READY] = "ready",        [REBUILD_BLOCKED] = "blocked",   [REBUILD_DONE] = "done",
    [REBUILD_CANCELLED] = "cancelled"};

const char *rebuild_state_name(enum rebuild_state state)
{
    return state_names[state];
}

bool rebuild_runs(const struct rebuild_note *note)
{
    return note->state == REBUILD_BUILDING || note->state == REBUILD_CLOSING;
}

bool rebuild_active(const struct rebuild_note *note)
{
    return rebuild_runs(note) || note->state == REBUILD_READY || note->state == REBUILD_BLOCKED;
}

static const char *setting_name(struct arena *arena, const char *scope)
{
    return scope ? arena_printf(arena, SETTING ".%s", scope) : SETTING;
}

// --- Reading

static const char *text_of(struct arena *arena, const json_t *json, const char *key)
{
    return arena_strdup(arena, js_str(json, key, NULL));
}

static void read_past(struct arena *arena, const json_t *json, struct rebuild_note *out)
{
    size_t i;
    json_t *one;
    json_array_foreach(js_arr(json, "past"), i, one)
    {
        if (out->past_count < REBUILD_PAST)
            out->past[out->past_count++] = (struct rebuild_follow){text_of(arena, one, "from"),
                                                                   text_of(arena, one, "to"), js_int(one, "until", 0)};
    }
}

static void read_note(struct arena *arena, const json_t *json, struct rebuild_note *out)
{
    const char *state = js_str(json, "state", "none");
    for (int s = 0; s < REBUILD_STATES; s++)
        if (strcmp(state_names[s], state) == 0)
            out->state = (enum rebuild_state)s;
    out->from = text_of(arena, json, "from");
    out->to = text_of(arena, json, "to");
    out->hold = js_bool(json, "hold", false);
    out->skip_failed = js_bool(json, "skipFailed", false);
    out->tenant = text_of(arena, json, "tenant");
    out->before_ms = js_int(json, "beforeMs", 0);
    out->before_id = text_of(arena, json, "beforeId");
    out->floor_ms = js_int(json, "floorMs", 0);
    out->total = (uint64_t)js_int(json, "total", 0);
    out->seen = (uint64_t)js_int(json, "seen", 0);
    out->built = (uint64_t)js_int(json, "built", 0);
    out->present = (uint64_t)js_int(json, "present", 0);
    out->failed = (uint64_t)js_int(json, "failed", 0);
    out->started_ms = js_int(json, "startedMs", 0);
    out->ended_ms = js_int(json, "endedMs", 0);
    read_past(arena, json, out);
}

int rebuild_note_get(struct flow *f, struct meta_tx *tx, struct arena *arena, const char *scope,
                     struct rebuild_note *out, struct error *err)
{
    struct rebuild_note note = {.scope = scope};
    const char *text;
    struct error why = {0};
    if (f->meta.ops->setting_get(tx, arena, setting_name(arena, scope), &text, &why) == 0) {
        _cleanup_json_ json_t *json = js_parse(text, strlen(text), err);
        if (!json)
            return -1;
        read_note(arena, json, &note);
    } else if (why.code != ERR_NOT_FOUND) {
        return error_copy(err, &why);
    }
    *out = note;
    return 0;
}

// --- Writing

static json_t *counters(const struct rebuild_note *n)
{
    return json_pack("{s:s,s:s,s:s,s:b,s:b,s:I,s:I,s:I,s:I,s:I}", "state", state_names[n->state], "from", n->from, "to",
                     n->to, "hold", n->hold, "skipFailed", n->skip_failed, "total", (json_int_t)n->total, "seen",
                     (json_int_t)n->seen, "built", (json_int_t)n->built, "present", (json_int_t)n->present, "failed",
                     (json_int_t)n->failed);
}

int rebuild_note_put(struct flow *f, struct meta_tx *tx, const struct rebuild_note *n, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    _cleanup_json_ json_t *json = counters(n);
    json_t *past = json_array();
    for (size_t i = 0; i < n->past_count; i++)
        json_array_append_new(past, json_pack("{s:s,s:s,s:I}", "from", n->past[i].from, "to", n->past[i].to, "until",
                                              (json_int_t)n->past[i].until_ms));
    json_object_set_new(json, "past", past);
    js_set_str(json, "tenant", n->tenant);
    js_set_str(json, "beforeId", n->before_id);
    json_object_set_new(json, "beforeMs", json_integer(n->before_ms));
    json_object_set_new(json, "floorMs", json_integer(n->floor_ms));
    json_object_set_new(json, "startedMs", json_integer(n->started_ms));
    json_object_set_new(json, "endedMs", json_integer(n->ended_ms));
    _cleanup_free_ char *text = js_dumps(json);
    if (!text)
        return error_set(err, ERR_NO_MEMORY, "No memory for a note");
    return f->meta.ops->setting_put(tx, setting_name(&arena, n->scope), text, err);
}

json_t *rebuild_note_json(const struct rebuild_note *n)
{
    json_t *json = counters(n);
    json_object_set_new(json, "kind", json_string(strcmp(n->from, n->to) == 0 ? "reindex" : "use"));
    js_set_str(json, "tenantId", n->scope);
    js_set_time(json, "startedAt", n->started_ms);
    js_set_time(json, "endedAt", n->ended_ms);
    return json;
}

// --- Scopes

int rebuild_covers(struct flow *f, struct meta_tx *tx, struct arena *arena, const struct rebuild_note *note,
                   const char *tenant, bool *out, struct error *err)
{
    struct rebuild_note own;
    const char *choice = NULL;
    bool reindex = strcmp(note->from, note->to) == 0;
    if (note->scope || reindex) {
        *out = !note->scope || strcmp(note->scope, tenant) == 0;
        return 0;
    }
    if (flow_model_choice(f, tx, arena, tenant, &choice, err) < 0 ||
        rebuild_note_get(f, tx, arena, tenant, &own, err) < 0)
        return -1;
    *out = !choice && !(rebuild_active(&own) && strcmp(own.from, own.to) != 0);
    return 0;
}
