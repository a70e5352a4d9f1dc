// SPDX-License-Identifier: Apache-2.0
// Counts up the attempt in a message that stays as it is otherwise: the text of retryPolicy is replaced (its other
// members are kept), or put in front with eventId where the message has none. All other bytes are copied, so that
// numbers, order and unknown members come out as their producer wrote them.
#include <string.h>

#include "base/cleanup.h"
#include "base/js.h"
#include "events/event.h"
#include "events/message.h"
#include "events/scan.h"
#include "events/writer.h"

// One member to be set. Its value is left alone when `value` is NULL.
struct edit {
    const char *key;
    json_t *value;
    struct scan_span span; // of the value that is there; start 0: there is none
};

// Finds the value of the member, where there is one. -1 when it can be replaced by parsing only: its name is escaped.
static int find_edit(const char *text, size_t len, const json_t *root, struct edit *edit)
{
    if (!json_object_get(root, edit->key))
        return 0;
    return scan_member(text, len, scan_space(text, len, 0), edit->key, &edit->span) ? 0 : -1;
}

// The policy of the message, where it has one, with the new counts. Parsed by itself, so that its integers stay what
// they are whatever stands elsewhere in the message.
static json_t *policy_of(const char *text, const json_t *root, struct scan_span span, int attempt, int max_attempts)
{
    json_t *policy = span.start ? json_loadb(text + span.start, span.end - span.start, 0, NULL) : NULL;
    if (!json_is_object(policy)) {
        json_decref(policy);
        json_t *old = js_obj(root, "retryPolicy");
        policy = old ? json_copy(old) : json_object();
    }
    json_object_set_new(policy, "maxAttempts", json_integer(max_attempts));
    json_object_set_new(policy, "currentAttempt", json_integer(attempt));
    return policy;
}

// Copies the text with the values at the spans replaced, the members that were not there in front.
static void put_edited(const char *text, size_t len, const json_t *root, const struct edit edits[2], struct buf *out)
{
    struct writer w = {.out = out};
    size_t at = scan_space(text, len, 0) + 1;
    bool swapped = edits[0].span.start > edits[1].span.start;
    writer_object(&w, NULL);
    for (int i = 0; i < 2; i++)
        if (edits[i].value && !edits[i].span.start)
            writer_json(&w, edits[i].key, edits[i].value);
    if (w.more && json_object_size(root) > 0)
        buf_puts(out, ",");
    for (int i = 0; i < 2; i++) {
        const struct edit *edit = &edits[swapped ? 1 - i : i];
        if (!edit->value || !edit->span.start)
            continue;
        buf_append(out, text + at, edit->span.start - at);
        w.more = false;
        writer_json(&w, NULL, edit->value);
        at = edit->span.end;
    }
    buf_append(out, text + at, len - at);
}

static void put_parsed(json_t *root, const struct edit edits[2], struct buf *out)
{
    struct writer w = {.out = out};
    for (int i = 0; i < 2; i++)
        if (edits[i].value)
            json_object_set(root, edits[i].key, edits[i].value);
    writer_json(&w, NULL, root);
}

int event_reissue(const void *data, size_t len, const char *event_id, int attempt, int max_attempts, struct buf *out,
                  struct error *err)
{
    _cleanup_json_ json_t *root = message_parse(data, len, err);
    if (!root)
        return -1;
    struct edit edits[2] = {{.key = "eventId"}, {.key = "retryPolicy"}};
    bool plain = find_edit(data, len, root, &edits[0]) == 0;
    plain &= find_edit(data, len, root, &edits[1]) == 0;
    _cleanup_json_ json_t *id = *js_str(root, "eventId", "") ? NULL : json_string(event_id);
    _cleanup_json_ json_t *policy = policy_of(data, root, edits[1].span, attempt, max_attempts);
    edits[0].value = id;
    edits[1].value = policy;
    size_t start = out->len;
    if (plain)
        put_edited(data, len, root, edits, out);
    else
        put_parsed(root, edits, out);
    if (!out->failed)
        return 0;
    out->len = start;
    return error_set(err, ERR_EVENT_INVALID, "The event is larger than %zu bytes", out->max);
}
