// SPDX-License-Identifier: Apache-2.0
// Text for a terminal: width in columns of UTF-8, without control characters (names of files are not ours), and
// numbers as people read them.
#ifndef DEEPLENS_CLI_TEXT_H
#define DEEPLENS_CLI_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum { TEXT_SHORT = 32 };

// Columns that `text` takes; bytes that are no UTF-8, and control characters, take one (they are shown as U+FFFD).
size_t text_width(const char *text);

// Appends `text`, cleaned, cut with "…" to at most `width` columns (0: as wide as it is); returns its columns.
size_t text_fit(struct buf *out, const char *text, size_t width);

const char *text_bytes(uint64_t bytes, char out[TEXT_SHORT]);    // "512 B" "1.5 MB"
const char *text_duration(double seconds, char out[TEXT_SHORT]); // "8 s" "2 min 05 s" "3 h 12 min"
const char *text_count(uint64_t count, char out[TEXT_SHORT]);    // "12,345"

// Columns of the terminal behind `fd`, or 0 when it is none.
unsigned text_terminal_width(int fd);

#endif
