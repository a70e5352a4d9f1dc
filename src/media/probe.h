// SPDX-License-Identifier: Apache-2.0
// The probe: says what a file is from its bytes alone, while they stream by, before anything is decoded: its
// kind, its size in pixels, and whether it is structurally whole. It allocates a bounded amount (≤ 64 KiB), never
// trusts a name or a declared type, and is fuzzed.
//
// Known: JPEG, PNG, GIF, WebP, AVIF, HEIC. Everything else is ERR_UNSUPPORTED_MEDIA, with a sentence that
// names what was recognised (SVG, PDF, TIFF, BMP, PSD, text, HTML, ZIP, MP4 …) where it can be.
#ifndef DEEPLENS_MEDIA_PROBE_H
#define DEEPLENS_MEDIA_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct media_info {
    const char *format;       // "JPEG" "PNG" "GIF" "WEBP" "AVIF" "HEIC" (static)
    const char *content_type; // "image/jpeg" … (static)
    const char *extension;    // "jpg" … (static)
    int width, height;        // as stored, before orientation; 0 where the header does not say
};

struct probe_limits {
    uint64_t max_pixels; // width × height; above: ERR_IMAGE_TOO_LARGE
    int max_edge;        // pixels; above: ERR_IMAGE_TOO_LARGE
};

struct probe; // one file's; not for sharing between threads

struct probe *probe_new(const struct probe_limits *limits); // aborts when memory is exhausted
void probe_free(struct probe *p);                           // takes NULL

// Looks at the next bytes. -1 as soon as it is certain that the file must be refused; later calls repeat it.
int probe_feed(struct probe *p, const void *data, size_t len, struct error *err);

// The file has ended. ERR_EMPTY_FILE, ERR_UNSUPPORTED_MEDIA, ERR_IMAGE_TRUNCATED, ERR_IMAGE_CORRUPT (a structure that
// no decoder can read), or 0 and what it is. Bytes behind the end of the image (motion photos) are accepted.
int probe_end(struct probe *p, struct media_info *out, struct error *err);

#endif
