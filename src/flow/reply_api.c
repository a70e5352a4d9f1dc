// SPDX-License-Identifier: Apache-2.0
// POST {api_url}/{number}/messages, and what the Cloud API's errors mean.
// https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/js.h"
#include "flow/reply_int.h"
#include "net/fetch.h"

enum { SAID_MAX = 65536 };

static int take_text(void *arg, const void *data, size_t len, struct error *err)
{
    return buf_append(arg, data, len) == 0 ? 0 : error_set(err, ERR_UNAVAILABLE, "The Cloud API says too much");
}

// ---- What its errors mean

// Codes that are not here are the message's own fault: nothing is gained by sending it again.
static const struct meaning {
    int code;
    enum reply_outcome outcome;
    const char *says; // NULL: what the API says
} meanings[] = {
    {4, OUTCOME_PAUSE, NULL},      // too many calls of the app
    {80007, OUTCOME_PAUSE, NULL},  // … of the account
    {130429, OUTCOME_PAUSE, NULL}, // … messages of the number
    {131048, OUTCOME_PAUSE, NULL}, // the number is restricted, as people blocked it
    {368, OUTCOME_PAUSE, NULL},    // the account is, for a breach of rules
    {131031, OUTCOME_PAUSE, NULL}, // … locked
    {3, OUTCOME_PAUSE, NULL},      // the token may not do this
    {10, OUTCOME_PAUSE, NULL},
    {131005, OUTCOME_PAUSE, NULL},
    {131042, OUTCOME_PAUSE, NULL}, // nobody pays
    {131056, OUTCOME_LATER, NULL}, // too many messages to one person
    {1, OUTCOME_LATER, NULL},      // something went wrong there
    {2, OUTCOME_LATER, NULL},
    {131000, OUTCOME_LATER, NULL},
    {131016, OUTCOME_LATER, NULL},
    {131057, OUTCOME_LATER, NULL}, // maintenance
    {133004, OUTCOME_LATER, NULL},
    {131047, OUTCOME_DEAD, "The last message of the chat is older than 24 hours: only a template would be taken"},
};

static const struct meaning *meaning_of(int64_t code)
{
    for (size_t i = 0; i < ARRAY_LEN(meanings); i++)
        if (meanings[i].code == code)
            return &meanings[i];
    return NULL;
}

static void judge(struct arena *arena, int status, const struct buf *said, struct reply_result *out)
{
    _cleanup_json_ json_t *json = said->len ? js_parse(said->data, said->len, NULL) : NULL;
    const json_t *error = js_obj(json, "error");
    int64_t code = js_int(error, "code", 0);
    const struct meaning *meaning = meaning_of(code);
    const char *details = js_str(js_obj(error, "error_data"), "details", NULL);
    const char *text = details ? details : js_str(error, "message", "no more was said");
    if (code)
        out->code = arena_printf(arena, "%" PRId64, code);
    if (status == 401 || code == 190) { // its words may repeat the token
        out->outcome = OUTCOME_PAUSE;
        error_set(&out->error, ERR_UNAVAILABLE, "The Cloud API refuses whatsapp.access_token (status %d)", status);
        return;
    }
    if (meaning)
        out->outcome = meaning->outcome;
    else if (status == 429)
        out->outcome = OUTCOME_PAUSE;
    else if (status >= 500 && !code) // of something on the way: the API itself may have taken it
        out->outcome = OUTCOME_UNCERTAIN;
    else
        out->outcome = status >= 500 ? OUTCOME_LATER : OUTCOME_DEAD;
    error_set(&out->error, out->outcome == OUTCOME_DEAD ? ERR_INVALID : ERR_UNAVAILABLE, "%.240s (status %d)",
              meaning && meaning->says ? meaning->says : text, status);
}

// ---- The call

static char *request_of(const struct meta_reply *row)
{
    size_t len = strcspn(row->chat, "@");
    bool group = strcmp(row->chat + len, "@g.us") == 0;
    _cleanup_json_ json_t *json = json_pack(
        "{s:s,s:s,s:o,s:s,s:{s:b,s:s},s:{s:s},s:s}", "messaging_product", "whatsapp", "recipient_type",
        group ? "group" : "individual", "to", json_stringn(row->chat, len), "type", "text", "text", "preview_url", 0,
        "body", row->text, "context", "message_id", row->message, "biz_opaque_callback_data", row->id);
    return json ? js_dumps(json) : NULL;
}

static void read_answer(struct arena *arena, const struct buf *text, struct reply_result *out)
{
    _cleanup_json_ json_t *json = js_parse(text->data ? text->data : "", text->len, NULL);
    out->outcome = OUTCOME_SENT; // whatever else it says
    out->sent_id = arena_strdup(arena, js_str(json_array_get(js_arr(json, "messages"), 0), "id", NULL));
}

void reply_call(struct flow *f, struct arena *arena, const struct net_ranges *allowed, const struct meta_reply *row,
                const json_t *what, struct reply_result *out)
{
    int status = 0;
    bool reached = false;
    const struct whatsapp_settings *settings = &f->settings.whatsapp;
    _cleanup_free_ char *request = request_of(row);
    _cleanup_buf_ struct buf text = BUF_INIT(SAID_MAX), said = BUF_INIT(SAID_MAX);
    *out = (struct reply_result){.outcome = OUTCOME_LATER};
    if (!request) {
        error_set(&out->error, ERR_NO_MEMORY, "No memory for a reply");
        return;
    }
    const struct fetch call = {.url =
                                   arena_printf(arena, "%s/%s/messages", settings->api_url, js_str(what, "number", "")),
                               .bearer = settings->access_token,
                               .json = request,
                               .reached = &reached,
                               .allowed = allowed,
                               .timeout_ms = settings->send_timeout_ms,
                               .take = take_text,
                               .arg = &text};
    if (net_fetch(&call, &status, &said, &out->error) == 0) {
        read_answer(arena, &text, out);
        return;
    }
    if (status >= 300)
        judge(arena, status, &said, out);
    else
        out->outcome = reached ? OUTCOME_UNCERTAIN : OUTCOME_LATER;
}
