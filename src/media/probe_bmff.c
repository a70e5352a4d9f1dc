// SPDX-License-Identifier: Apache-2.0
// The probe's AVIF and HEIC: walks the top-level boxes and keeps `meta` (its first 64 KiB), in which it looks up the
// primary item (pitm), its size (iprp: ipma → ipco → ispe) and where the last byte of any item lies (iloc). The file
// is whole when it reaches that byte; where iloc cannot be read, when every box is whole and there were data.
#include <string.h>

#include "media/probe_int.h"

enum { BOX, LARGE_BOX, META_DONE, DATA_DONE, MAX_PROPERTIES = 256, MAX_PADDING = 63 };

// A piece of the kept `meta`; reading behind its end gives zeros and sets `bad`.
struct cursor {
    const uint8_t *at, *end;
    bool bad;
};

static uint64_t take(struct cursor *c, size_t bytes)
{
    uint64_t value = 0;
    if ((size_t)(c->end - c->at) < bytes) {
        c->bad = true;
        c->at = c->end;
        return 0;
    }
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | *c->at++;
    return value;
}

// Takes the next box off `in`: false when there is none that is whole.
static bool take_box(struct cursor *in, char type[4], struct cursor *body)
{
    if (in->end - in->at < 8)
        return false;
    const uint8_t *start = in->at;
    uint64_t size = take(in, 4), header = 8;
    memcpy(type, in->at, 4);
    in->at += 4;
    if (size == 1) {
        size = take(in, 8);
        header = 16;
    } else if (size == 0) {
        size = (uint64_t)(in->end - start);
    }
    if (size < header || size > (uint64_t)(in->end - start))
        return false;
    *body = (struct cursor){start + header, start + size, false};
    in->at = start + size;
    return true;
}

static bool find_box(struct cursor in, const char *name, struct cursor *body)
{
    char type[4];
    while (take_box(&in, type, body))
        if (memcmp(type, name, 4) == 0)
            return true;
    return false;
}

// The number of the property (from 1) that `item` has and that `is_size` marks; 0 when there is none.
static unsigned find_size_property(struct cursor ipma, uint32_t item, const bool is_size[MAX_PROPERTIES])
{
    uint32_t version = (uint32_t)take(&ipma, 1), flags = (uint32_t)take(&ipma, 3), count = (uint32_t)take(&ipma, 4);
    while (count-- > 0 && !ipma.bad) {
        uint32_t id = (uint32_t)take(&ipma, version < 1 ? 2 : 4), links = (uint32_t)take(&ipma, 1);
        while (links-- > 0 && !ipma.bad) {
            uint32_t index = flags & 1 ? take(&ipma, 2) & 0x7fff : take(&ipma, 1) & 0x7f;
            if (id == item && index > 0 && index <= MAX_PROPERTIES && is_size[index - 1])
                return index;
        }
    }
    return 0;
}

static uint32_t primary_item(struct cursor meta)
{
    struct cursor pitm;
    if (!find_box(meta, "pitm", &pitm))
        return 0;
    uint64_t version = take(&pitm, 4) >> 24;
    return (uint32_t)take(&pitm, version == 0 ? 2 : 4);
}

// A tile or another item that is coded in blocks may be padded to their size.
static uint64_t unpadded(uint32_t edge)
{
    return edge > MAX_PADDING ? edge - MAX_PADDING : 1;
}

// Every size in the file is held against the limits; the primary item's is the picture's.
static int read_size(struct probe *p, struct cursor meta, struct error *err)
{
    struct cursor iprp, ipco, ipma, body;
    if (!find_box(meta, "iprp", &iprp) || !find_box(iprp, "ipco", &ipco))
        return 0;
    uint32_t width[MAX_PROPERTIES], height[MAX_PROPERTIES];
    bool is_size[MAX_PROPERTIES] = {false};
    char type[4];
    for (unsigned i = 0; i < MAX_PROPERTIES && take_box(&ipco, type, &body); i++) {
        if (memcmp(type, "ispe", 4) != 0)
            continue;
        take(&body, 4);
        width[i] = (uint32_t)take(&body, 4);
        height[i] = (uint32_t)take(&body, 4);
        if (body.bad || width[i] == 0 || height[i] == 0)
            return probe_corrupt(p, err, "it has no width or no height");
        if (probe_check_size(p, unpadded(width[i]), unpadded(height[i]), err))
            return -1;
        is_size[i] = true;
    }
    unsigned found = find_box(iprp, "ipma", &ipma) ? find_size_property(ipma, primary_item(meta), is_size) : 0;
    return found > 0 ? probe_size(p, width[found - 1], height[found - 1], err) : 0;
}

// Finds where the last byte of any item lies in the file (0 when all are inside `meta`); false when that cannot be
// read.
static bool find_data_end(struct cursor meta, uint64_t *last)
{
    struct cursor c;
    if (!find_box(meta, "iloc", &c))
        return false;
    uint64_t version = take(&c, 4) >> 24, sizes = take(&c, 2), furthest = 0;
    size_t offset_bytes = sizes >> 12 & 15, length_bytes = sizes >> 8 & 15, base_bytes = sizes >> 4 & 15;
    size_t index_bytes = version > 0 ? sizes & 15 : 0;
    if (version > 2 || offset_bytes > 8 || length_bytes > 8 || base_bytes > 8 || index_bytes > 8)
        return false;
    uint64_t items = take(&c, version < 2 ? 2 : 4);
    while (items-- > 0 && !c.bad) {
        take(&c, version < 2 ? 2 : 4);
        bool in_file = version == 0 || (take(&c, 2) & 15) == 0;
        take(&c, 2);
        uint64_t base = take(&c, base_bytes), extents = take(&c, 2);
        while (extents-- > 0 && !c.bad) {
            take(&c, index_bytes);
            uint64_t offset = take(&c, offset_bytes), length = take(&c, length_bytes), end;
            if (__builtin_add_overflow(base, offset, &end) || __builtin_add_overflow(end, length, &end))
                end = UINT64_MAX;
            if (in_file && end > furthest)
                furthest = end;
        }
    }
    *last = furthest;
    return !c.bad;
}

static void want_box(struct probe *p)
{
    p->state = BOX;
    p->want = 8;
}

static int on_meta(struct probe *p, struct error *err)
{
    p->keep = false;
    if (p->kept_len < 4)
        return probe_corrupt(p, err, "its description is too short");
    struct cursor meta = {p->kept + 4, p->kept + p->kept_len, false};
    if (read_size(p, meta, err))
        return -1;
    p->seen_meta = true;
    if (!find_data_end(meta, &p->end)) {
        want_box(p);
        return 0;
    }
    p->skip = p->end > p->at ? p->end - p->at : 0;
    p->state = DATA_DONE;
    p->want = 0;
    return 0;
}

// `size` counts the header, of which `header` bytes are read; 0 means that the box reaches to the file's end.
static int open_box(struct probe *p, uint64_t size, uint64_t header, struct error *err)
{
    if (size != 0 && size < header)
        return probe_corrupt(p, err, "a box has an impossible length");
    p->rest = size == 0;
    p->skip = size == 0 ? UINT64_MAX : size - header;
    want_box(p);
    if (p->marker == 'd')
        p->seen_image = true;
    if (p->marker == 'm' && !p->seen_meta) {
        p->keep = true;
        p->state = META_DONE;
        p->want = 0;
    }
    return 0;
}

static int on_box(struct probe *p, struct error *err)
{
    uint32_t size = be32(p->head);
    p->marker = memcmp(p->head + 4, "meta", 4) == 0 ? 'm' : memcmp(p->head + 4, "mdat", 4) == 0 ? 'd' : 0;
    if (size != 1)
        return open_box(p, size, 8, err);
    p->state = LARGE_BOX;
    p->want = 8;
    return 0;
}

static int next(struct probe *p, struct error *err)
{
    switch (p->state) {
    case BOX:
        return on_box(p, err);
    case LARGE_BOX:
        return open_box(p, (uint64_t)be32(p->head) << 32 | be32(p->head + 4), 16, err);
    case META_DONE:
        return on_meta(p, err);
    default:
        p->whole = true;
        return 0;
    }
}

static bool complete(const struct probe *p)
{
    bool between_boxes = p->state == BOX && p->have == 0 && (p->skip == 0 || p->rest);
    return p->seen_meta && p->seen_image && between_boxes;
}

const struct probe_format probe_bmff = {.want = 8, .next = next, .complete = complete};
