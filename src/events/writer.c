// SPDX-License-Identifier: Apache-2.0
// The JSON writer. jansson's own would show 0.1 as 0.10000000000000001 and build a node for each number.
#include "events/writer.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/js.h"
#include "events/number.h"

static void put_key(struct writer *w, const char *key)
{
    if (w->more)
        buf_append(w->out, ",", 1);
    w->more = true;
    if (key) {
        buf_append(w->out, "\"", 1);
        buf_puts(w->out, key);
        buf_append(w->out, "\":", 2);
    }
}

static void open_nest(struct writer *w, const char *key, const char *bracket)
{
    put_key(w, key);
    buf_append(w->out, bracket, 1);
    w->more = false;
}

static void close_nest(struct writer *w, const char *bracket)
{
    buf_append(w->out, bracket, 1);
    w->more = true;
}

void writer_object(struct writer *w, const char *key)
{
    open_nest(w, key, "{");
}

void writer_object_end(struct writer *w)
{
    close_nest(w, "}");
}

void writer_array(struct writer *w, const char *key)
{
    open_nest(w, key, "[");
}

void writer_array_end(struct writer *w)
{
    close_nest(w, "]");
}

static void put_escape(struct buf *out, unsigned char c)
{
    switch (c) {
    case '"':
        buf_append(out, "\\\"", 2);
        break;
    case '\\':
        buf_append(out, "\\\\", 2);
        break;
    case '\n':
        buf_append(out, "\\n", 2);
        break;
    case '\t':
        buf_append(out, "\\t", 2);
        break;
    default:
        buf_printf(out, "\\u%04x", c);
    }
}

static void put_string(struct buf *out, const char *text, size_t len)
{
    buf_append(out, "\"", 1);
    for (size_t from = 0; from < len;) {
        size_t to = from;
        while (to < len && (unsigned char)text[to] >= 0x20 && text[to] != '"' && text[to] != '\\')
            to++;
        buf_append(out, text + from, to - from);
        if (to < len)
            put_escape(out, (unsigned char)text[to++]);
        from = to;
    }
    buf_append(out, "\"", 1);
}

void writer_text(struct writer *w, const char *key, const char *value)
{
    if (!value)
        return;
    put_key(w, key);
    size_t len = strlen(value);
    if (js_utf8_valid(value, len)) {
        put_string(w->out, value, len);
        return;
    }
    _cleanup_free_ char *mended = js_utf8(value, len);
    put_string(w->out, mended ? mended : "", mended ? strlen(mended) : 0);
}

void writer_int(struct writer *w, const char *key, int64_t value)
{
    put_key(w, key);
    buf_printf(w->out, "%lld", (long long)value);
}

void writer_real(struct writer *w, const char *key, double value)
{
    char text[NUMBER_TEXT];
    put_key(w, key);
    buf_append(w->out, text, number_write_double(value, text));
}

void writer_bool(struct writer *w, const char *key, bool value)
{
    put_key(w, key);
    buf_puts(w->out, value ? "true" : "false");
}

void writer_time(struct writer *w, const char *key, int64_t ms)
{
    char text[CLOCK_TEXT];
    if (ms)
        writer_text(w, key, clock_rfc3339(ms, text));
}

void writer_member(struct writer *w, const char *key, const json_t *value)
{
    put_key(w, NULL);
    put_string(w->out, key, strlen(key));
    buf_append(w->out, ":", 1);
    w->more = false;
    writer_json(w, NULL, value);
    w->more = true;
}

static void put_members(struct writer *w, const json_t *object)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)object, name, value) writer_member(w, name, value);
}

void writer_json(struct writer *w, const char *key, const json_t *value)
{
    if (!value)
        return;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        writer_object(w, key);
        put_members(w, value);
        writer_object_end(w);
        break;
    case JSON_ARRAY:
        writer_array(w, key);
        for (size_t i = 0; i < json_array_size(value); i++)
            writer_json(w, NULL, json_array_get(value, i));
        writer_array_end(w);
        break;
    case JSON_STRING:
        put_key(w, key);
        put_string(w->out, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        writer_int(w, key, json_integer_value(value));
        break;
    case JSON_REAL:
        writer_real(w, key, json_real_value(value));
        break;
    case JSON_NULL:
        put_key(w, key);
        buf_puts(w->out, "null");
        break;
    default:
        writer_bool(w, key, json_is_true(value));
    }
}

void writer_floats(struct writer *w, const char *key, const float *values, size_t count)
{
    writer_array(w, key);
    for (size_t i = 0; i < count && buf_reserve(w->out, NUMBER_TEXT + 1) == 0; i++) {
        char *at = w->out->data + w->out->len;
        size_t used = 0;
        if (i)
            at[used++] = ',';
        used += number_write_float(values[i], at + used);
        w->out->len += used;
    }
    writer_array_end(w);
}
