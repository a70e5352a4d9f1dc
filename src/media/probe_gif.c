// SPDX-License-Identifier: Apache-2.0
// The probe's GIF: walks the blocks to the trailer. The size is that of the logical screen; frames that reach beyond
// it are held against the limits too, as decoders enlarge the screen for them.
#include "media/probe_int.h"

enum { SCREEN, BLOCK, EXTENSION, FRAME, CODE_SIZE, SUB_BLOCK };

static void want(struct probe *p, int state, size_t count)
{
    p->state = state;
    p->want = count;
}

static uint64_t table_bytes(uint8_t flags)
{
    return flags & 0x80 ? (uint64_t)3 << ((flags & 7) + 1) : 0;
}

static int on_screen(struct probe *p, struct error *err)
{
    const uint8_t *b = p->head + 6;
    p->skip = table_bytes(b[4]);
    want(p, BLOCK, 1);
    uint32_t width = le16(b), height = le16(b + 2);
    return width && height ? probe_size(p, width, height, err) : 0;
}

static int on_block(struct probe *p, struct error *err)
{
    switch (p->head[0]) {
    case 0x21:
        want(p, EXTENSION, 1);
        return 0;
    case 0x2c:
        want(p, FRAME, 9);
        return 0;
    case 0x3b:
        p->whole = p->seen_image;
        return p->whole ? 0 : probe_corrupt(p, err, "it ends before any picture");
    case 0: // stray terminators, which decoders pass over
        return 0;
    default:
        return probe_corrupt(p, err, "there is a block of no known kind");
    }
}

static int on_frame(struct probe *p, struct error *err)
{
    const uint8_t *b = p->head;
    uint32_t right = le16(b) + le16(b + 4), bottom = le16(b + 2) + le16(b + 6);
    p->seen_image = true;
    p->skip = table_bytes(b[8]);
    want(p, CODE_SIZE, 1);
    if (!p->width && right && bottom)
        return probe_size(p, right, bottom, err);
    return probe_check_size(p, right, bottom, err);
}

static int next(struct probe *p, struct error *err)
{
    switch (p->state) {
    case SCREEN:
        return on_screen(p, err);
    case BLOCK:
        return on_block(p, err);
    case FRAME:
        return on_frame(p, err);
    case SUB_BLOCK:
        p->skip = p->head[0];
        want(p, p->head[0] ? SUB_BLOCK : BLOCK, 1);
        return 0;
    default: // behind an extension's label or a picture's code size
        want(p, SUB_BLOCK, 1);
        return 0;
    }
}

const struct probe_format probe_gif = {.want = 13, .next = next};
