// SPDX-License-Identifier: Apache-2.0
// Bounded parsing of messages.
#include "events/message.h"

#include <stdbool.h>

#include "events/scan.h"

enum {
    VALUES_FREE = 1 << 20, // messages up to this size cannot hold too many values
    VALUES_MAX = 1 << 18,
};

static json_t *parse_any(const char *text, size_t len, json_error_t *why)
{
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY;
    json_t *root = json_loadb(text, len, flags, why);
    if (!root && json_error_code(why) == json_error_numeric_overflow)
        root = json_loadb(text, len, flags | JSON_DECODE_INT_AS_REAL, why);
    return root;
}

json_t *message_parse(const char *text, size_t len, struct error *err)
{
    json_error_t why;
    if (len > MESSAGE_MAX || (len > VALUES_FREE && scan_values(text, len) > VALUES_MAX)) {
        error_set(err, ERR_EVENT_INVALID, "The event holds more than %d bytes or %d values", MESSAGE_MAX, VALUES_MAX);
        return NULL;
    }
    json_t *root = parse_any(text, len, &why);
    if (json_is_object(root))
        return root;
    if (root)
        error_set(err, ERR_EVENT_INVALID, "The event is no JSON object");
    else
        error_set(err, ERR_EVENT_INVALID, "The JSON cannot be read: %s (line %d, column %d)", why.text, why.line,
                  why.column);
    json_decref(root);
    return NULL;
}
