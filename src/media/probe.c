// SPDX-License-Identifier: Apache-2.0
// The probe's core: cuts the stream into the pieces that the formats ask for (see probe_int.h). Whatever the chunks
// are, the formats see the same pieces, and so the answer is the same.
#include "media/probe.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "media/probe_int.h"

static const struct probe_format *const formats[FORMAT_COUNT] = {
    [FORMAT_JPEG] = &probe_jpeg, [FORMAT_PNG] = &probe_png,   [FORMAT_GIF] = &probe_gif,
    [FORMAT_WEBP] = &probe_webp, [FORMAT_AVIF] = &probe_bmff, [FORMAT_HEIC] = &probe_bmff,
};

struct probe *probe_new(const struct probe_limits *limits)
{
    struct probe *p = calloc(1, sizeof(*p));
    if (!p)
        abort();
    p->limits = *limits;
    return p;
}

void probe_free(struct probe *p)
{
    if (!p)
        return;
    free(p->kept);
    free(p);
}

int probe_check_size(const struct probe *p, uint64_t width, uint64_t height, struct error *err)
{
    if (width > (uint64_t)p->limits.max_edge || height > (uint64_t)p->limits.max_edge)
        return error_set(err, ERR_IMAGE_TOO_LARGE,
                         "The image is %llu × %llu pixels large; an edge may have at most %d.",
                         (unsigned long long)width, (unsigned long long)height, p->limits.max_edge);
    if (width * height > p->limits.max_pixels) // both fit 31 bits
        return error_set(
            err, ERR_IMAGE_TOO_LARGE, "The image is %llu × %llu pixels large; it may have at most %llu pixels.",
            (unsigned long long)width, (unsigned long long)height, (unsigned long long)p->limits.max_pixels);
    return 0;
}

int probe_size(struct probe *p, uint64_t width, uint64_t height, struct error *err)
{
    if (probe_check_size(p, width, height, err))
        return -1;
    p->width = (int)width;
    p->height = (int)height;
    return 0;
}

int probe_corrupt(const struct probe *p, struct error *err, const char *why)
{
    return error_set(err, ERR_IMAGE_CORRUPT, "This %s cannot be decoded: %s.", p->kind->name, why);
}

// What the stream still holds.
struct span {
    const uint8_t *data;
    size_t len;
};

static void advance(struct probe *p, struct span *in, size_t count)
{
    in->data += count;
    in->len -= count;
    p->at += count;
}

static void keep(struct probe *p, const uint8_t *data, size_t len)
{
    if (!p->kept && !(p->kept = malloc(PROBE_KEEP_MAX)))
        abort();
    if (len > PROBE_KEEP_MAX - p->kept_len)
        len = PROBE_KEEP_MAX - p->kept_len;
    memcpy(p->kept + p->kept_len, data, len);
    p->kept_len += len;
}

static void skip(struct probe *p, struct span *in)
{
    size_t count = p->skip < in->len ? (size_t)p->skip : in->len;
    if (p->keep)
        keep(p, in->data, count);
    p->skip -= count;
    advance(p, in, count);
}

// Leaps to behind the next 0xFF; those that a 0x00 follows are data (JPEG), and passed at once where both are here.
static void seek_ff(struct probe *p, struct span *in)
{
    const uint8_t *end = in->data + in->len, *found = in->data;
    while ((found = memchr(found, 0xff, (size_t)(end - found))) && end - found > 1 && found[1] == 0)
        found += 2;
    p->seek_ff = !found;
    advance(p, in, found ? (size_t)(found + 1 - in->data) : in->len);
}

static void collect(struct probe *p, struct span *in)
{
    size_t count = p->want - p->have < in->len ? p->want - p->have : in->len;
    memcpy(p->head + p->have, in->data, count);
    p->have += count;
    advance(p, in, count);
}

static int consume(struct probe *p, struct span in, struct error *err)
{
    while (!p->whole) {
        bool waiting = p->skip || p->seek_ff || p->have < p->want;
        if (waiting && in.len == 0)
            break;
        if (p->skip) {
            skip(p, &in);
        } else if (p->seek_ff) {
            seek_ff(p, &in);
        } else if (p->have < p->want) {
            collect(p, &in);
        } else {
            p->have = 0;
            if (p->format->next(p, err))
                return -1;
        }
    }
    return 0;
}

// The first bytes are all here (or the file has ended): says what it is, and gives them to the format.
static int decide(struct probe *p, struct error *err)
{
    p->kind = magic_find(p->magic, p->magic_len);
    if (!p->kind)
        return magic_refuse(p->magic, p->magic_len, err);
    p->format = formats[p->kind->format];
    p->want = p->format->want;
    return consume(p, (struct span){p->magic, p->magic_len}, err);
}

static int feed(struct probe *p, struct span in, struct error *err)
{
    p->total += in.len;
    if (!p->kind) {
        size_t count = MAGIC_BYTES - p->magic_len < in.len ? MAGIC_BYTES - p->magic_len : in.len;
        memcpy(p->magic + p->magic_len, in.data, count);
        p->magic_len += count;
        in.data += count;
        in.len -= count;
        if (p->magic_len < MAGIC_BYTES)
            return 0;
        if (decide(p, err))
            return -1;
    }
    return consume(p, in, err);
}

int probe_feed(struct probe *p, const void *data, size_t len, struct error *err)
{
    if (p->refused.code)
        return error_copy(err, &p->refused);
    if (len > 0 && feed(p, (struct span){data, len}, &p->refused))
        return error_copy(err, &p->refused);
    return 0;
}

static int finish(struct probe *p, struct error *err)
{
    if (p->total == 0)
        return error_set(err, ERR_EMPTY_FILE, "The file is empty.");
    if (!p->kind && decide(p, err))
        return -1;
    if (!p->whole && !(p->format->complete && p->format->complete(p)))
        return error_set(err, ERR_IMAGE_TRUNCATED, "This %s ends too early: the file was cut off after %llu bytes.",
                         p->kind->name, (unsigned long long)p->total);
    return 0;
}

int probe_end(struct probe *p, struct media_info *out, struct error *err)
{
    if (!p->refused.code)
        finish(p, &p->refused);
    if (p->refused.code)
        return error_copy(err, &p->refused);
    *out = (struct media_info){
        .format = p->kind->name,
        .content_type = p->kind->content_type,
        .extension = p->kind->extension,
        .width = p->width,
        .height = p->height,
    };
    return 0;
}
