// SPDX-License-Identifier: Apache-2.0
// The probe's PNG: walks the chunks from IHDR to IEND. Checksums are left to the decoder.
#include <string.h>

#include "media/probe_int.h"

enum { SIGNATURE, CHUNK, HEADER };
enum { MAX_CHUNK = 0x7fffffff };

static void want_chunk(struct probe *p)
{
    p->state = CHUNK;
    p->want = 8;
}

static int on_chunk(struct probe *p, struct error *err)
{
    uint32_t length = be32(p->head);
    const uint8_t *type = p->head + 4;
    for (int i = 0; i < 4; i++)
        if ((type[i] | 0x20) < 'a' || (type[i] | 0x20) > 'z')
            return probe_corrupt(p, err, "a chunk has no name");
    if (length > MAX_CHUNK)
        return probe_corrupt(p, err, "a chunk has an impossible length");
    bool is_header = memcmp(type, "IHDR", 4) == 0;
    if (is_header != !p->width || (is_header && length != 13))
        return probe_corrupt(p, err, "its header is not where it must be");
    if (is_header) {
        p->state = HEADER;
        p->want = 13;
        return 0;
    }
    if (memcmp(type, "IDAT", 4) == 0)
        p->seen_image = true;
    p->skip = (uint64_t)length + 4;
    want_chunk(p);
    if (memcmp(type, "IEND", 4) != 0)
        return 0;
    if (!p->seen_image)
        return probe_corrupt(p, err, "it ends before any picture");
    p->state = SIGNATURE; // `next` comes once more, when IEND's checksum is there
    p->want = 0;
    return 0;
}

static bool is_depth(uint8_t type, uint8_t depth)
{
    switch (type) {
    case 0: // grey
        return depth == 1 || depth == 2 || depth == 4 || depth == 8 || depth == 16;
    case 3: // palette
        return depth == 1 || depth == 2 || depth == 4 || depth == 8;
    case 2: // RGB, grey and alpha, RGBA
    case 4:
    case 6:
        return depth == 8 || depth == 16;
    default:
        return false;
    }
}

static int on_header(struct probe *p, struct error *err)
{
    uint32_t width = be32(p->head), height = be32(p->head + 4);
    if (width == 0 || height == 0 || width > MAX_CHUNK || height > MAX_CHUNK)
        return probe_corrupt(p, err, "its header has an impossible size");
    if (!is_depth(p->head[9], p->head[8]) || p->head[10] || p->head[11] || p->head[12] > 1)
        return probe_corrupt(p, err, "its header has impossible values");
    p->skip = 4;
    want_chunk(p);
    return probe_size(p, width, height, err);
}

static int next(struct probe *p, struct error *err)
{
    switch (p->state) {
    case SIGNATURE:
        if (p->seen_image)
            p->whole = true;
        want_chunk(p);
        return 0;
    case CHUNK:
        return on_chunk(p, err);
    default:
        return on_header(p, err);
    }
}

const struct probe_format probe_png = {.want = 8, .next = next};
