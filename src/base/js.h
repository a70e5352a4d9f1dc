// SPDX-License-Identifier: Apache-2.0
// Small helpers around jansson. Readers are tolerant: a member that is missing or of another type gives the
// default. Parsing is bounded in bytes by the caller and in depth by jansson (2048).
#ifndef DEEPLENS_BASE_JS_H
#define DEEPLENS_BASE_JS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

DEFINE_CLEANUP(json_t *, json, json_decref)
#define _cleanup_json_ _cleanup_(cleanup_json)

// Parses exactly one JSON value; ERR_INVALID_JSON says what and where. NUL in strings is refused.
json_t *js_parse(const char *text, size_t len, struct error *err);

// Writes compact JSON to `out`; reals with the fewest digits that read back as the same number.
int js_write(const json_t *value, struct buf *out);
char *js_dumps(const json_t *value); // compact, malloc'ed; NULL when memory is short

const char *js_str(const json_t *object, const char *key, const char *otherwise); // lives as long as `object`
int64_t js_int(const json_t *object, const char *key, int64_t otherwise);         // reals are truncated
double js_num(const json_t *object, const char *key, double otherwise);
bool js_bool(const json_t *object, const char *key, bool otherwise);
json_t *js_obj(const json_t *object, const char *key); // borrowed; NULL when not an object
json_t *js_arr(const json_t *object, const char *key); // borrowed; NULL when not an array

// Sets a member unless `value` is NULL (for strings: unless it is NULL).
void js_set_str(json_t *object, const char *key, const char *value);
void js_set_time(json_t *object, const char *key, int64_t ms); // RFC 3339; nothing when ms == 0

// Makes any bytes valid UTF-8 (bad sequences become U+FFFD); malloc'ed.
char *js_utf8(const char *text, size_t len);
bool js_utf8_valid(const char *text, size_t len);

#endif
