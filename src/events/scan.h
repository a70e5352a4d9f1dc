// SPDX-License-Identifier: Apache-2.0
// Finds members in JSON text without parsing it: what a vector's reader and the reissue of an event need to cut out or
// replace one value and leave every other byte alone. It proves nothing about the rest: a real parser does that.
#ifndef DEEPLENS_EVENTS_SCAN_H
#define DEEPLENS_EVENTS_SCAN_H

#include <stdbool.h>
#include <stddef.h>

struct scan_span {
    size_t start, end; // bytes [start, end) of the text
};

// The first byte that is no white space, from `at` on.
size_t scan_space(const char *text, size_t len, size_t at);

// Finds the value of member `key` (plain ASCII) in the object that opens at text[object]. False when it is not
// there, is spelt with escapes, or the text is no JSON up to there.
bool scan_member(const char *text, size_t len, size_t object, const char *key, struct scan_span *out);

// How many values the text can hold at most: its commas, brackets and braces outside of strings, plus one.
size_t scan_values(const char *text, size_t len);

#endif
