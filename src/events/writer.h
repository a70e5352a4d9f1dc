// SPDX-License-Identifier: Apache-2.0
// Writes JSON text straight into a buffer, member by member, in the order of the calls. Failures (the buffer's maximum)
// stick to the buffer and are checked once at the end.
#ifndef DEEPLENS_EVENTS_WRITER_H
#define DEEPLENS_EVENTS_WRITER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct writer {
    struct buf *out;
    bool more; // something stands in the present object or array already
};

// `key` is NULL within arrays and at the top. Keys are plain ASCII.
void writer_object(struct writer *w, const char *key);
void writer_object_end(struct writer *w);
void writer_array(struct writer *w, const char *key);
void writer_array_end(struct writer *w);

void writer_text(struct writer *w, const char *key, const char *value); // nothing when NULL; bad UTF-8 becomes U+FFFD
void writer_int(struct writer *w, const char *key, int64_t value);
void writer_real(struct writer *w, const char *key, double value);
void writer_bool(struct writer *w, const char *key, bool value);
void writer_time(struct writer *w, const char *key, int64_t ms);                          // RFC 3339; nothing when 0
void writer_json(struct writer *w, const char *key, const json_t *value);                 // nothing when NULL
void writer_member(struct writer *w, const char *key, const json_t *value);               // the same; any key
void writer_floats(struct writer *w, const char *key, const float *values, size_t count); // finite ones

#endif
