// SPDX-License-Identifier: Apache-2.0
// The probe's WebP: walks the chunks to the end that the RIFF header states.
#include <string.h>

#include "media/probe_int.h"

enum { RIFF, FIRST, CHUNK, LOSSY, LOSSLESS, EXTENDED };

// Behind a chunk of `rest` bytes comes another, or the end; what is too short for a chunk is passed over.
static int end_chunk(struct probe *p, struct error *err)
{
    uint64_t left = p->end - p->at;
    bool last = left < p->rest + 8;
    if (last && !p->seen_image)
        return probe_corrupt(p, err, "it ends before any picture");
    p->skip = last ? left : p->rest;
    p->state = CHUNK;
    p->want = last ? 0 : 8;
    return 0;
}

static int on_riff(struct probe *p, struct error *err)
{
    uint32_t size = le32(p->head + 4);
    if (size < 4 + 8 || size > UINT32_MAX - 8)
        return probe_corrupt(p, err, "its length is impossible");
    p->end = (uint64_t)size + 8;
    p->state = FIRST;
    p->want = 8;
    return 0;
}

// Reads a chunk's header: at least its bytes without the padding must lie within the file.
static int open_chunk(struct probe *p, struct error *err)
{
    uint32_t length = le32(p->head + 4);
    if (length > p->end - p->at)
        return probe_corrupt(p, err, "a chunk reaches beyond the end");
    p->rest = (uint64_t)length + (length & 1);
    return 0;
}

// The size stands in the first chunk, whose kind says how.
static int on_first(struct probe *p, struct error *err)
{
    static const struct {
        char name[5];
        uint8_t state, want;
    } kinds[] = {{"VP8 ", LOSSY, 10}, {"VP8L", LOSSLESS, 5}, {"VP8X", EXTENDED, 10}};
    if (open_chunk(p, err))
        return -1;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (memcmp(p->head, kinds[i].name, 4) != 0)
            continue;
        if (p->rest < kinds[i].want)
            return probe_corrupt(p, err, "its first chunk is too short");
        p->seen_image = kinds[i].state != EXTENDED;
        p->state = kinds[i].state;
        p->want = kinds[i].want;
        p->rest -= kinds[i].want;
        return 0;
    }
    return probe_corrupt(p, err, "its first chunk is of no known kind");
}

static int on_chunk(struct probe *p, struct error *err)
{
    if (p->at == p->end) {
        p->whole = true;
        return 0;
    }
    if (open_chunk(p, err))
        return -1;
    if (memcmp(p->head, "VP8", 3) == 0 || memcmp(p->head, "ANMF", 4) == 0)
        p->seen_image = true;
    return end_chunk(p, err);
}

static int on_size(struct probe *p, struct error *err)
{
    const uint8_t *b = p->head;
    uint32_t width, height;
    if (p->state == LOSSY) {
        if ((b[0] & 1) || memcmp(b + 3, "\x9d\x01\x2a", 3) != 0)
            return probe_corrupt(p, err, "its first frame is no key frame");
        width = le16(b + 6) & 0x3fff;
        height = le16(b + 8) & 0x3fff;
    } else if (p->state == LOSSLESS) {
        if (b[0] != 0x2f)
            return probe_corrupt(p, err, "its lossless signature is missing");
        uint32_t bits = le32(b + 1);
        width = (bits & 0x3fff) + 1;
        height = (bits >> 14 & 0x3fff) + 1;
    } else {
        width = (le32(b + 4) & 0xffffff) + 1;
        height = (le32(b + 6) >> 8) + 1;
    }
    if (width == 0 || height == 0)
        return probe_corrupt(p, err, "it has no width or no height");
    if (probe_size(p, width, height, err))
        return -1;
    return end_chunk(p, err);
}

static int next(struct probe *p, struct error *err)
{
    switch (p->state) {
    case RIFF:
        return on_riff(p, err);
    case FIRST:
        return on_first(p, err);
    case CHUNK:
        return on_chunk(p, err);
    default:
        return on_size(p, err);
    }
}

const struct probe_format probe_webp = {.want = 12, .next = next};
