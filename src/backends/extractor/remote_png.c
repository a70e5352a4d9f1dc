// SPDX-License-Identifier: Apache-2.0
// Pictures as PNG, in blocks that are stored and not deflated: the service is near, and time is dearer than bytes.
#include <string.h>

#include "backends/extractor/remote_wire.h"

enum { BLOCK_MAX = 65535, ADLER = 65521, ADLER_RUN = 3800 };

static uint32_t crc(const uint8_t *data, size_t len)
{
    uint32_t sum = 0xffffffff;
    for (size_t i = 0; i < len; i++) {
        static const uint32_t half[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
                                          0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                          0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
        sum ^= data[i];
        sum = (sum >> 4) ^ half[sum & 15];
        sum = (sum >> 4) ^ half[sum & 15];
    }
    return ~sum;
}

static void put32(struct buf *out, uint32_t value)
{
    const uint8_t bytes[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
    buf_append(out, bytes, sizeof bytes);
}

// Ends the chunk whose length stands at `start`, now that it is known, and adds its sum.
static void end_chunk(struct buf *out, size_t start)
{
    if (out->failed)
        return;
    uint32_t len = (uint32_t)(out->len - start - 8);
    for (size_t i = 0; i < 4; i++)
        out->data[start + i] = (char)(len >> (24 - 8 * i));
    put32(out, crc((const uint8_t *)out->data + start + 4, len + 4));
}

static size_t begin_chunk(struct buf *out, const char *kind)
{
    size_t start = out->len;
    put32(out, 0);
    buf_append(out, kind, 4);
    return start;
}

struct stored { // a stream of bytes, cut into blocks
    struct buf *out;
    size_t left, block; // bytes to come, and in this block
    uint32_t a, b;
};

static void store(struct stored *s, const uint8_t *data, size_t len)
{
    for (size_t done = 0; done < len;) {
        size_t piece = len - done < ADLER_RUN ? len - done : ADLER_RUN;
        for (size_t i = 0; i < piece; i++) {
            s->a += data[done + i];
            s->b += s->a;
        }
        s->a %= ADLER;
        s->b %= ADLER;
        done += piece;
    }
    while (len) {
        if (!s->block) {
            s->block = s->left < BLOCK_MAX ? s->left : BLOCK_MAX;
            const uint8_t head[5] = {s->block == s->left, (uint8_t)s->block, (uint8_t)(s->block >> 8),
                                     (uint8_t)~s->block, (uint8_t)(~s->block >> 8)};
            buf_append(s->out, head, sizeof head);
        }
        size_t piece = len < s->block ? len : s->block;
        buf_append(s->out, data, piece);
        data += piece;
        len -= piece;
        s->block -= piece;
        s->left -= piece;
    }
}

void remote_png(const struct pixels *p, struct buf *out)
{
    static const uint8_t head[] = {8, 2, 0, 0, 0}, zlib[] = {0x78, 0x01}, no_filter[] = {0};
    size_t row = (size_t)p->width * 3;
    struct stored s = {.out = out, .left = (row + 1) * (size_t)p->height, .a = 1};
    buf_append(out, "\x89PNG\r\n\x1a\n", 8);
    size_t at = begin_chunk(out, "IHDR");
    put32(out, (uint32_t)p->width);
    put32(out, (uint32_t)p->height);
    buf_append(out, head, sizeof head);
    end_chunk(out, at);
    at = begin_chunk(out, "IDAT");
    buf_append(out, zlib, sizeof zlib);
    for (int y = 0; y < p->height; y++) {
        store(&s, no_filter, 1);
        store(&s, p->data + (size_t)y * row, row);
    }
    put32(out, s.b << 16 | s.a);
    end_chunk(out, at);
    end_chunk(out, begin_chunk(out, "IEND"));
}
