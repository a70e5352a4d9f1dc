// SPDX-License-Identifier: Apache-2.0
// Magic: what a file is by its first bytes. One table of the kinds that DeepLens takes, one of those that it
// recognises only to refuse them by name.
#ifndef DEEPLENS_MEDIA_MAGIC_H
#define DEEPLENS_MEDIA_MAGIC_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum media_format { FORMAT_JPEG, FORMAT_PNG, FORMAT_GIF, FORMAT_WEBP, FORMAT_AVIF, FORMAT_HEIC, FORMAT_COUNT };

struct media_kind {
    enum media_format format;
    const char *name;         // "JPEG"
    const char *content_type; // "image/jpeg"
    const char *extension;    // "jpg"
};

// More bytes than this never change the answer.
enum { MAGIC_BYTES = 512 };

// NULL when the bytes begin none of the kinds that are taken. `len` is all there is, or at least MAGIC_BYTES.
const struct media_kind *magic_find(const uint8_t *data, size_t len);

// What the bytes are instead, with its article ("a PDF document"); NULL when nobody knows.
const char *magic_name(const uint8_t *data, size_t len);

// Fills `err` with a sentence that says what the bytes are instead. Always returns -1.
int magic_refuse(const uint8_t *data, size_t len, struct error *err);

#endif
