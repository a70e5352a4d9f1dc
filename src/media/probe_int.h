// SPDX-License-Identifier: Apache-2.0
// What the probe's core shares with the file a format. The core owns the bytes, the format the meaning:
//
//   the core collects `want` bytes into `head`, however they are cut into chunks, and calls the format's `next`,
//   which reads them and says what follows: `want` more bytes, or `skip` bytes that do not matter and then `want`,
//   or `seek_ff` (leap to behind the next byte 0xFF that no 0x00 follows), or `whole`: nothing more is needed.
//
// `want` may be 0: `next` is then called as soon as `skip` has passed. While `keep` is set, skipped bytes are also
// stored, up to PROBE_KEEP_MAX.
#ifndef DEEPLENS_MEDIA_PROBE_INT_H
#define DEEPLENS_MEDIA_PROBE_INT_H

#include "media/magic.h"
#include "media/probe.h"

enum { PROBE_HEAD_MAX = 32, PROBE_KEEP_MAX = 64 << 10 };

struct probe {
    struct probe_limits limits;
    struct error refused; // code ERR_NONE until the file is refused
    const struct media_kind *kind;
    const struct probe_format *format;
    uint64_t total;             // bytes fed
    uint8_t magic[MAGIC_BYTES]; // the file's first bytes, until its kind is known
    size_t magic_len;

    uint64_t at; // bytes that the format has consumed
    uint8_t head[PROBE_HEAD_MAX];
    size_t have, want;
    uint64_t skip;
    uint8_t *kept; // PROBE_KEEP_MAX bytes, allocated when first needed
    size_t kept_len;
    bool keep, seek_ff, whole;

    int state;         // the format's own
    int width, height; // 0 until known
    uint64_t end;      // the format's own: where the picture ends
    uint64_t rest;     // the format's own: what is left of the piece at hand
    bool seen_image;   // the part that holds pixels has begun
    bool seen_meta;    // the part that describes them is whole
    uint8_t marker;    // the format's own
};

struct probe_format {
    size_t want; // bytes for the first call of `next`
    int (*next)(struct probe *p, struct error *err);
    bool (*complete)(const struct probe *p); // at the end of the file, when not `whole`; may be NULL (no)
};

extern const struct probe_format probe_jpeg, probe_png, probe_gif, probe_webp, probe_bmff;

// Checks against the limits, then remembers the size.
int probe_size(struct probe *p, uint64_t width, uint64_t height, struct error *err);
int probe_check_size(const struct probe *p, uint64_t width, uint64_t height, struct error *err);

// ERR_IMAGE_CORRUPT: "This JPEG cannot be decoded: why."
int probe_corrupt(const struct probe *p, struct error *err, const char *why);

static inline uint32_t be16(const uint8_t *b)
{
    return (uint32_t)b[0] << 8 | b[1];
}
static inline uint32_t be32(const uint8_t *b)
{
    return be16(b) << 16 | be16(b + 2);
}
static inline uint32_t le16(const uint8_t *b)
{
    return (uint32_t)b[1] << 8 | b[0];
}
static inline uint32_t le32(const uint8_t *b)
{
    return le16(b + 2) << 16 | le16(b);
}

#endif
