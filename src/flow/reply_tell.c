// SPDX-License-Identifier: Apache-2.0
// Telling somebody of a message by e-mail, or on a topic.
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "flow/reply_int.h"
#include "obs/alert_send.h"

// In the shape of an alert, which is what e-mails are made of.
static json_t *mail_of(const struct meta_reply *row, const json_t *told)
{
    const json_t *message = js_obj(told, "message");
    const char *name = js_str(told, "workflow", NULL),
               *item = js_str(message, "imageId", js_str(message, "videoId", NULL));
    json_t *details = json_pack("{s:s,s:s,s:s}", "messageId", row->message, "chatJid", row->chat, "messageType",
                                js_str(message, "messageType", ""));
    js_set_str(details, "itemId", item);
    json_t *one = json_pack("{s:s,s:s,s:s,s:s,s:o}", "status", "message", "subject", row->sender, "message",
                            js_str(message, "content", ""), "since", js_str(message, "sentAt", ""), "details", details);
    return json_pack("{s:s,s:s,s:s,s:[o]}", "status", "message", "alert", name ? name : "workflow", "message",
                     row->sender, "alerts", one);
}

static int send_mail(struct flow *f, const _Atomic bool *stop, const struct meta_reply *row, const json_t *what,
                     const char *to, struct error *err)
{
    if (!f->settings.mail)
        return error_set(err, ERR_CONFIG, "alert.smtp is not set");
    struct alert_config config = *f->settings.mail;
    _cleanup_json_ json_t *message = mail_of(row, js_obj(what, "told"));
    config.mail_to = to;
    return alert_send(&config, CHANNEL_EMAIL, message, stop, err);
}

// Under the reply's id, by which whoever reads it twice knows it.
static int publish(struct flow *f, const struct meta_reply *row, const json_t *what, const char *topic,
                   struct error *err)
{
    char time[CLOCK_TEXT];
    _cleanup_free_ char *value = js_dumps(js_obj(what, "told"));
    if (!value)
        return error_set(err, ERR_NO_MEMORY, "No memory for a record");
    const struct elog_header headers[] = {{"ce_specversion", "1.0"},
                                          {"ce_id", row->id},
                                          {"ce_type", "message.matched"},
                                          {"ce_source", "/deeplens"},
                                          {"ce_time", clock_rfc3339(row->created_ms, time)}};
    const struct elog_record record = {.topic = topic,
                                       .key = row->chat,
                                       .value = value,
                                       .value_len = strlen(value),
                                       .headers = headers,
                                       .header_count = ARRAY_LEN(headers)};
    return f->log.ops->publish(f->log.state, &record, 1, err);
}

void reply_tell(struct flow *f, struct arena *arena, const _Atomic bool *stop, const struct meta_reply *row,
                const json_t *what, struct reply_result *out)
{
    (void)arena;
    const char *email = js_str(what, "email", NULL), *topic = js_str(what, "topic", "");
    *out = (struct reply_result){.outcome = OUTCOME_SENT};
    int rc = email ? send_mail(f, stop, row, what, email, &out->error) : publish(f, row, what, topic, &out->error);
    if (rc == 0)
        return;
    out->code = error_code_name(out->error.code);
    out->outcome = out->error.code == ERR_NOT_FOUND || out->error.code == ERR_CONFIG ? OUTCOME_DEAD : OUTCOME_LATER;
}
