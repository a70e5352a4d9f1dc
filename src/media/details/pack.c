// SPDX-License-Identifier: Apache-2.0
// Details as bytes, little-endian: a byte for the layout (1), a byte for where each kind ends; then of
// each x and y (16 bits, 64ths of a pixel), the logarithm of its size (16 bits, 4096ths of an octave), its angle
// (16 bits, of a full turn), and its bits.
#include <math.h>
#include <string.h>

#include "media/details/details_int.h"

enum { LAYOUT = 1, PIXEL = 64, OCTAVE = 4096, TURN = 65536 };

static uint8_t *put(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        *at++ = (uint8_t)(value >> (8 * i));
    return at;
}

static uint64_t take(const uint8_t **at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t) * (*at)++ << (8 * i);
    return value;
}

static uint16_t whole(float value)
{
    return (uint16_t)fmaxf(0, fminf(65535, roundf(value)));
}

size_t details_pack(const struct details *in, uint8_t *out)
{
    uint8_t *at = put(out, LAYOUT, 1);
    for (int k = 0; k < DETAIL_KINDS; k++)
        at = put(at, in->ends[k], 1);
    for (size_t i = 0; i < in->count; i++) {
        const struct detail *d = &in->of[i];
        float turn = d->angle / (2 * DETAILS_PI);
        at = put(at, whole(d->x * PIXEL), 2);
        at = put(at, whole(d->y * PIXEL), 2);
        at = put(at, whole(log2f(d->size) * OCTAVE), 2);
        at = put(at, (uint32_t)((turn - floorf(turn)) * TURN), 2);
        for (int w = 0; w < DETAIL_WORDS; w++)
            at = put(at, in->bits[w][i], 8);
    }
    return (size_t)(at - out);
}

int details_unpack(const void *bytes, size_t len, struct details *out, struct error *err)
{
    const uint8_t *at = bytes;
    bool sound = len >= DETAILS_HEAD && at[0] == LAYOUT && at[1] <= at[2] && at[2] <= at[3] && at[3] <= DETAILS_KEPT &&
                 len == DETAILS_HEAD + (size_t)at[3] * DETAIL_PACKED;
    if (!sound)
        return error_set(err, ERR_DATA_CORRUPT, "These %zu bytes are not the details of a picture", len);
    at++;
    for (int k = 0; k < DETAIL_KINDS; k++)
        out->ends[k] = take(&at, 1);
    out->count = out->ends[DETAIL_KINDS - 1];
    for (size_t i = 0; i < out->count; i++) {
        struct detail *d = &out->of[i];
        d->x = (float)take(&at, 2) / PIXEL;
        d->y = (float)take(&at, 2) / PIXEL;
        d->size = exp2f((float)take(&at, 2) / OCTAVE);
        d->angle = (float)take(&at, 2) * (2 * DETAILS_PI / TURN);
        for (int w = 0; w < DETAIL_WORDS; w++)
            out->bits[w][i] = take(&at, 8);
    }
    return 0;
}
