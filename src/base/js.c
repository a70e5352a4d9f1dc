// SPDX-License-Identifier: Apache-2.0
// jansson helpers.
#include "base/js.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

json_t *js_parse(const char *text, size_t len, struct error *err)
{
    json_error_t where;
    json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &where);
    if (!value)
        error_set(err, ERR_INVALID_JSON, "The JSON cannot be read: %s (line %d, column %d)", where.text, where.line,
                  where.column);
    return value;
}

static int append(const char *data, size_t len, void *out)
{
    return buf_append(out, data, len);
}

// The fewest digits that read back as the same number: 0.1, not 0.10000000000000001.
static int write_real(double value, struct buf *out)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return buf_printf(out, "%s%s", text, strpbrk(text, ".e") ? "" : ".0");
}

static int write_array(const json_t *array, struct buf *out)
{
    size_t i;
    json_t *element;
    buf_puts(out, "[");
    json_array_foreach(array, i, element)
    {
        if (i)
            buf_puts(out, ",");
        if (js_write(element, out) < 0)
            return -1;
    }
    return buf_puts(out, "]");
}

static int write_object(const json_t *object, struct buf *out)
{
    const char *key;
    json_t *value;
    bool first = true;
    buf_puts(out, "{");
    json_object_foreach((json_t *)object, key, value)
    {
        buf_puts(out, first ? "" : ",");
        first = false;
        json_t *name = json_string(key);
        int rc = json_dump_callback(name, append, out, JSON_ENCODE_ANY);
        json_decref(name);
        buf_puts(out, ":");
        if (rc < 0 || js_write(value, out) < 0)
            return -1;
    }
    return buf_puts(out, "}");
}

// jansson writes all but reals as we want them; its reals have 17 digits always.
int js_write(const json_t *value, struct buf *out)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return write_object(value, out);
    case JSON_ARRAY:
        return write_array(value, out);
    case JSON_REAL:
        return write_real(json_real_value(value), out);
    default:
        return json_dump_callback(value, append, out, JSON_COMPACT | JSON_ENCODE_ANY);
    }
}

char *js_dumps(const json_t *value)
{
    struct buf out = BUF_INIT((size_t)1 << 30);
    if (js_write(value, &out) < 0) {
        buf_free(&out);
        return NULL;
    }
    return buf_steal(&out);
}

const char *js_str(const json_t *object, const char *key, const char *otherwise)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : otherwise;
}

int64_t js_int(const json_t *object, const char *key, int64_t otherwise)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_integer(value))
        return json_integer_value(value);
    if (json_is_real(value)) {
        double real = json_real_value(value);
        if (real >= -9e18 && real <= 9e18)
            return (int64_t)real;
    }
    return otherwise;
}

double js_num(const json_t *object, const char *key, double otherwise)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : otherwise;
}

bool js_bool(const json_t *object, const char *key, bool otherwise)
{
    const json_t *value = json_object_get(object, key);
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

json_t *js_obj(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return json_is_object(value) ? value : NULL;
}

json_t *js_arr(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return json_is_array(value) ? value : NULL;
}

void js_set_str(json_t *object, const char *key, const char *value)
{
    if (value)
        json_object_set_new(object, key, json_string(value));
}

void js_set_time(json_t *object, const char *key, int64_t ms)
{
    char text[CLOCK_TEXT];
    if (ms)
        json_object_set_new(object, key, json_string(clock_rfc3339(ms, text)));
}

// The length of the valid UTF-8 sequence at `p` (at most `left` bytes), or 0.
static size_t sequence(const unsigned char *p, size_t left)
{
    if (p[0] < 0x80)
        return 1;
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 0;
    if (!len || len > left || p[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool surrogate = p[0] == 0xed && p[1] >= 0xa0;
    bool beyond = p[0] == 0xf4 && p[1] >= 0x90;
    return overlong || surrogate || beyond ? 0 : len;
}

bool js_utf8_valid(const char *text, size_t len)
{
    for (size_t i = 0, step; i < len; i += step) {
        step = sequence((const unsigned char *)text + i, len - i);
        if (!step)
            return false;
    }
    return true;
}

char *js_utf8(const char *text, size_t len)
{
    struct buf out = BUF_INIT(len * 3 + 1);
    for (size_t i = 0; i < len;) {
        size_t step = sequence((const unsigned char *)text + i, len - i);
        buf_append(&out, step ? text + i : "\xef\xbf\xbd", step ? step : 3);
        i += step ? step : 1;
    }
    return buf_steal(&out);
}
