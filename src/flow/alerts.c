// SPDX-License-Identifier: Apache-2.0
// Two settings, each an array of JSON: silences, and what was told of and is not over.
#include "flow/alerts.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "obs/alert.h"

#define SILENCES "alerts.silences"
#define FIRING "alerts.firing"
#define LONGEST_MS (INT64_C(366) * 24 * 3600 * 1000)

// --- The settings

static int get_list(struct flow *f, struct meta_tx *tx, const char *name, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    const char *text;
    struct error why = {0};
    if (f->meta.ops->setting_get(tx, &arena, name, &text, &why) < 0) {
        if (why.code != ERR_NOT_FOUND)
            return error_copy(err, &why);
        *out = json_array();
        return 0;
    }
    json_t *list = js_parse(text, strlen(text), NULL);
    if (!json_is_array(list)) { // nobody's but ours: better none than no start
        json_decref(list);
        list = json_array();
    }
    *out = list;
    return 0;
}

static int put_list(struct flow *f, struct meta_tx *tx, const char *name, const json_t *list, struct error *err)
{
    _cleanup_free_ char *text = js_dumps(list);
    if (!text)
        return error_set(err, ERR_NO_MEMORY, "No memory for alerts");
    return f->meta.ops->setting_put(tx, name, text, err);
}

// --- Silences

static int read_silence(const json_t *json, struct alert_silence *out)
{
    enum alert_kind kind;
    const char *alert = js_str(json, "alert", NULL);
    *out = (struct alert_silence){.kind = -1, .until_ms = js_int(json, "until", 0)};
    if (alert && alert_kind_parse(alert, &kind) < 0)
        return -1;
    if (alert)
        out->kind = (int)kind;
    snprintf(out->subject, sizeof out->subject, "%s", js_str(json, "subject", ""));
    return 0;
}

static void hand_over(struct flow *f, const json_t *list)
{
    struct alert_silence silences[ALERT_SILENCES];
    int count = 0;
    size_t i;
    json_t *one;
    json_array_foreach((json_t *)list, i, one)
    {
        if (count < ALERT_SILENCES && read_silence(one, &silences[count]) == 0)
            count++;
    }
    alerts_set_silences(f->alerts, silences, count);
}

static json_t *silence_json(const json_t *kept)
{
    json_t *json = json_object();
    js_set_str(json, "id", js_str(kept, "id", ""));
    js_set_str(json, "alert", js_str(kept, "alert", NULL));
    js_set_str(json, "subject", js_str(kept, "subject", NULL));
    js_set_str(json, "comment", js_str(kept, "comment", NULL));
    js_set_time(json, "createdAt", js_int(kept, "created", 0));
    js_set_time(json, "until", js_int(kept, "until", 0));
    return json;
}

struct silence_call {
    struct flow *flow;
    json_t *add;        // or
    const char *remove; // an id
    json_t *kept;       // all that are there then
};

static json_t *without_past(const json_t *list, const char *removed)
{
    json_t *left = json_array(), *one;
    size_t i;
    json_array_foreach((json_t *)list, i, one)
    {
        if (js_int(one, "until", 0) > clock_now_ms() && (!removed || strcmp(js_str(one, "id", ""), removed) != 0))
            json_array_append(left, one);
    }
    return left;
}

static int change_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct silence_call *call = arg;
    _cleanup_json_ json_t *list = NULL;
    if (get_list(call->flow, tx, SILENCES, &list, err) < 0)
        return -1;
    _cleanup_json_ json_t *now = without_past(list, NULL), *left = without_past(list, call->remove);
    if (call->remove && json_array_size(left) == json_array_size(now))
        return error_set(err, ERR_NOT_FOUND, "There is no silence %.60s", call->remove);
    if (call->add && json_array_size(left) >= ALERT_SILENCES)
        return error_set(err, ERR_CONFLICT, "There are %d silences already; end one", ALERT_SILENCES);
    if (call->add)
        json_array_append(left, call->add);
    if (put_list(call->flow, tx, SILENCES, left, err) < 0)
        return -1;
    json_decref(call->kept); // of an attempt before
    call->kept = take_ptr(left);
    return 0;
}

static int change(struct silence_call *call, struct error *err)
{
    struct meta *meta = &call->flow->meta;
    int rc = meta->ops->write(meta->state, META_SYNCED, change_tx, call, err);
    if (rc == 0)
        hand_over(call->flow, call->kept);
    json_decref(call->kept);
    return rc;
}

static int check_text(const char *name, const char *text, struct error *err)
{
    if (text && strlen(text) >= ALERT_NAME_MAX)
        return error_set(err, ERR_INVALID, "`%s` is longer than %d bytes", name, ALERT_NAME_MAX - 1);
    return 0;
}

int flow_alerts_silence(struct flow *f, const struct silence_wish *wish, json_t **out, struct error *err)
{
    char id[ID_MAX];
    enum alert_kind kind;
    json_int_t now = clock_now_ms();
    if (wish->alert && alert_kind_parse(wish->alert, &kind) < 0)
        return error_set(err, ERR_INVALID, "There is no alert \"%.60s\"; see the rules", wish->alert);
    if (check_text("subject", wish->subject, err) < 0 || check_text("comment", wish->comment, err) < 0)
        return -1;
    if (wish->duration_ms < 1 || wish->duration_ms > LONGEST_MS)
        return error_set(err, ERR_INVALID, "A silence lasts up to 366 days");
    id_new("sil", id);
    _cleanup_json_ json_t *add =
        json_pack("{s:s,s:I,s:I}", "id", id, "created", now, "until", now + (json_int_t)wish->duration_ms);
    js_set_str(add, "alert", wish->alert);
    js_set_str(add, "subject", wish->subject);
    js_set_str(add, "comment", wish->comment);
    struct silence_call call = {.flow = f, .add = add};
    if (change(&call, err) < 0)
        return -1;
    *out = silence_json(add);
    return 0;
}

int flow_alerts_unsilence(struct flow *f, const char *id, struct error *err)
{
    struct silence_call call = {.flow = f, .remove = id};
    return change(&call, err);
}

// --- What is kept

struct kept_call {
    struct flow *flow;
    json_t *silences, *firing; // what is there; of the second, what is to be
};

static int read_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct kept_call *call = arg;
    json_t *silences = NULL, *firing = NULL;
    if (get_list(call->flow, tx, SILENCES, &silences, err) < 0 || get_list(call->flow, tx, FIRING, &firing, err) < 0) {
        json_decref(silences);
        return -1;
    }
    json_decref(call->silences);
    json_decref(call->firing);
    call->silences = silences;
    call->firing = firing;
    return 0;
}

static int firing_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct kept_call *call = arg;
    return put_list(call->flow, tx, FIRING, call->firing, err);
}

static int read_kept(struct kept_call *call, struct error *err)
{
    return call->flow->meta.ops->read(call->flow->meta.state, read_tx, call, err);
}

int flow_alerts_open(struct flow *f, struct error *err)
{
    struct kept_call call = {.flow = f};
    int rc = read_kept(&call, err);
    if (rc == 0) {
        hand_over(f, call.silences);
        alerts_restore(f->alerts, call.firing);
    }
    json_decref(call.silences);
    json_decref(call.firing);
    return rc;
}

// Whether the same was told at the same times. What it says now (how far a group lags) is no news.
static bool same_told(const json_t *a, const json_t *b)
{
    static const char *const members[] = {"alert", "subject", "told"};
    if (json_array_size(a) != json_array_size(b))
        return false;
    for (size_t i = 0; i < json_array_size(a); i++)
        for (size_t m = 0; m < ARRAY_LEN(members); m++)
            if (!json_equal(json_object_get(json_array_get(a, i), members[m]),
                            json_object_get(json_array_get(b, i), members[m])))
                return false;
    return true;
}

int flow_alerts_look(struct flow *f, struct error *err)
{
    struct kept_call call = {.flow = f};
    _cleanup_json_ json_t *firing = alerts_firing(f->alerts);
    int rc = read_kept(&call, err);
    if (rc == 0)
        hand_over(f, call.silences);
    if (rc == 0 && !same_told(firing, call.firing)) {
        json_decref(call.firing);
        call.firing = json_incref(firing);
        rc = f->meta.ops->write(f->meta.state, META_SYNCED, firing_tx, &call, err);
    }
    json_decref(call.silences);
    json_decref(call.firing);
    return rc;
}

// --- Asking

int flow_alerts_list(struct flow *f, json_t **out, struct error *err)
{
    struct kept_call call = {.flow = f};
    size_t i;
    json_t *one;
    if (read_kept(&call, err) < 0)
        return -1;
    _cleanup_json_ json_t *left = without_past(call.silences, NULL);
    json_t *list = json_array(), *answer = alerts_list(f->alerts);
    json_array_foreach(left, i, one) json_array_append_new(list, silence_json(one));
    json_object_set_new(answer, "silences", list);
    json_decref(call.silences);
    json_decref(call.firing);
    *out = answer;
    return 0;
}

int flow_alerts_test(struct flow *f, json_t **out, struct error *err)
{
    json_t *results = alerts_test(f->alerts);
    if (json_array_size(results) == 0) {
        json_decref(results);
        return error_set(
            err, ERR_CONFLICT,
            "Nobody is told of anything: set alert.webhook, alert.smtp and alert.email_to, or alert.command");
    }
    *out = json_pack("{s:o}", "results", results);
    return 0;
}
