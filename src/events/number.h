// SPDX-License-Identifier: Apache-2.0
// Numbers as JSON text, in any locale: the shortest digits that read back to the same bits, and a strict reader.
#ifndef DEEPLENS_EVENTS_NUMBER_H
#define DEEPLENS_EVENTS_NUMBER_H

#include <stddef.h>

enum { NUMBER_TEXT = 32 }; // room for any number that is written, with its NUL

// Both write "0.123", "-1.0", "1.5e-30"; always with a point or an exponent, so that a reader sees a real. Return the
// length (the text is terminated). The value must be finite.
size_t number_write_float(float value, char out[NUMBER_TEXT]);   // at most 9 significant digits
size_t number_write_double(double value, char out[NUMBER_TEXT]); // at most 17

// Reads one JSON number at `text` (at most `len` bytes), correctly rounded. Returns how many bytes it took, or 0 when
// it is none, is longer than 63 characters, or leaves the range of a double.
size_t number_read(const char *text, size_t len, double *out);

#endif
