// SPDX-License-Identifier: Apache-2.0
// The probe's JPEG: walks the markers. As decoders do, it leaps over garbage between segments; entropy-coded data
// are leapt over in the same way, since in them 0xFF is always followed by 0x00 or a restart marker.
#include "media/probe_int.h"

enum { START, MARKER, LENGTH, FRAME };
enum { RST0 = 0xd0, RST7 = 0xd7, SOI = 0xd8, EOI = 0xd9, SOS = 0xda, SOF0 = 0xc0, DHT = 0xc4, JPG = 0xc8, DAC = 0xcc };

static void seek_marker(struct probe *p)
{
    p->state = MARKER;
    p->seek_ff = true;
    p->want = 1;
}

static bool is_frame(uint8_t marker)
{
    return marker >= SOF0 && marker <= SOF0 + 15 && marker != DHT && marker != JPG && marker != DAC;
}

// Baseline, extended and progressive, with Huffman or arithmetic coding, are what libjpeg decodes.
static bool is_decodable(uint8_t marker)
{
    int kind = marker - SOF0;
    return kind <= 2 || kind == 9 || kind == 10;
}

static int on_marker(struct probe *p, struct error *err)
{
    uint8_t marker = p->head[0];
    if (marker == 0xff) // fill bytes
        return 0;
    if (marker == EOI) {
        p->whole = p->width && p->seen_image;
        return p->whole ? 0 : probe_corrupt(p, err, "it ends before any picture");
    }
    if (marker <= 1 || (marker >= RST0 && marker <= SOI)) {
        seek_marker(p);
        return 0;
    }
    p->marker = marker;
    p->state = LENGTH;
    p->want = 2;
    return 0;
}

static int on_length(struct probe *p, struct error *err)
{
    uint32_t length = be16(p->head);
    if (length < 2)
        return probe_corrupt(p, err, "a segment has an impossible length");
    p->skip = length - 2;
    if (is_frame(p->marker)) {
        if (!is_decodable(p->marker))
            return error_set(err, ERR_UNSUPPORTED_MEDIA,
                             "This is a lossless or hierarchical JPEG, which DeepLens does not decode.");
        if (length < 8)
            return probe_corrupt(p, err, "its frame header is too short");
        p->skip = 0;
        p->state = FRAME;
        p->want = 6;
        p->rest = length - 8;
        return 0;
    }
    if (p->marker == SOS) {
        if (!p->width)
            return probe_corrupt(p, err, "a scan comes before the frame header");
        p->seen_image = true;
    }
    seek_marker(p);
    return 0;
}

static int on_frame(struct probe *p, struct error *err)
{
    uint32_t precision = p->head[0], height = be16(p->head + 1), width = be16(p->head + 3);
    if (precision != 8)
        return error_set(err, ERR_UNSUPPORTED_MEDIA,
                         "This JPEG has %u bits a sample; DeepLens decodes those of 8 bits.", precision);
    if (p->width)
        return probe_corrupt(p, err, "it has more than one frame header");
    if (width == 0 || height == 0)
        return probe_corrupt(p, err, "it has no width or no height");
    if (probe_size(p, width, height, err))
        return -1;
    p->skip = p->rest;
    seek_marker(p);
    return 0;
}

static int next(struct probe *p, struct error *err)
{
    switch (p->state) {
    case START:
        seek_marker(p);
        return 0;
    case MARKER:
        return on_marker(p, err);
    case LENGTH:
        return on_length(p, err);
    default:
        return on_frame(p, err);
    }
}

const struct probe_format probe_jpeg = {.want = 2, .next = next};
