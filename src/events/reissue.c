// SPDX-License-Identifier: Apache-2.0
// Counts up the attempt in a message that stays as it is otherwise: the text of retryPolicy is replaced (its other
// members are kept), or put in front with eventId where the message has none. All other bytes are copied, so that
// numbers, order and unknown members come out as their producer wrote them.
#include <string.h>

#include "base/cleanup.h"
#include "base/js.h"
#include "events/event.h"
#include "events/scan.h"
#include "events/writer.h"

static json_t *parse_object(const void *data, size_t len, struct error *err)
{
    struct error why;
    json_t *root = js_parse(data, len, &why);
    if (json_is_object(root))
        return root;
    error_set(err, ERR_EVENT_INVALID, "%s", root ? "The event is no JSON object" : why.message);
    json_decref(root);
    return NULL;
}

// The policy of the message, where it has one, with the new counts.
static json_t *policy_of(const json_t *root, int attempt, int max_attempts)
{
    const json_t *old = js_obj(root, "retryPolicy");
    json_t *policy = old ? json_copy((json_t *)old) : json_object();
    json_object_set_new(policy, "maxAttempts", json_integer(max_attempts));
    json_object_set_new(policy, "currentAttempt", json_integer(attempt));
    return policy;
}

static bool has_id(const json_t *root)
{
    const char *id = js_str(root, "eventId", NULL);
    return id && *id;
}

// Where the value of `key` stands. False when it is not there or must be replaced by parsing (an escaped name).
static bool plain_span(const char *text, size_t len, const json_t *root, const char *key, struct scan_span *span)
{
    return json_object_get(root, key) && scan_member(text, len, scan_space(text, len, 0), key, span);
}

// Copies the text with the values at the spans replaced; a member without a span (start 0) is put in front.
struct edit {
    const char *key;
    const json_t *value; // NULL: leave the member alone
    struct scan_span span;
};

static void put_edited(const char *text, size_t len, const json_t *root, struct edit edits[2], struct buf *out)
{
    struct writer w = {.out = out};
    size_t at = scan_space(text, len, 0) + 1;
    bool first_later = edits[0].span.start > edits[1].span.start;
    writer_object(&w, NULL);
    for (int i = 0; i < 2; i++)
        if (edits[i].value && !edits[i].span.start)
            writer_json(&w, edits[i].key, edits[i].value);
    if (w.more && json_object_size(root) > 0)
        buf_puts(out, ",");
    for (int i = 0; i < 2; i++) {
        const struct edit *edit = &edits[first_later ? 1 - i : i];
        if (!edit->value || !edit->span.start)
            continue;
        buf_append(out, text + at, edit->span.start - at);
        w.more = false;
        writer_json(&w, NULL, edit->value);
        at = edit->span.end;
    }
    buf_append(out, text + at, len - at);
}

int event_reissue(const void *data, size_t len, const char *event_id, int attempt, int max_attempts, struct buf *out,
                  struct error *err)
{
    _cleanup_json_ json_t *root = parse_object(data, len, err);
    if (!root)
        return -1;
    _cleanup_json_ json_t *policy = policy_of(root, attempt, max_attempts);
    _cleanup_json_ json_t *id = has_id(root) ? NULL : json_string(event_id);
    struct edit edits[2] = {{.key = "eventId", .value = id}, {.key = "retryPolicy", .value = policy}};
    size_t start = out->len;
    bool plain = true;
    for (int i = 0; i < 2; i++)
        if (edits[i].value && json_object_get(root, edits[i].key))
            plain &= plain_span(data, len, root, edits[i].key, &edits[i].span);
    if (plain) {
        put_edited(data, len, root, edits, out);
    } else {
        struct writer w = {.out = out};
        for (int i = 0; i < 2; i++)
            if (edits[i].value)
                json_object_set(root, edits[i].key, (json_t *)edits[i].value);
        writer_json(&w, NULL, root);
    }
    if (!out->failed)
        return 0;
    out->len = start;
    return error_set(err, ERR_EVENT_INVALID, "The event is larger than %zu bytes", out->max);
}
