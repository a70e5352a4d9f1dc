// SPDX-License-Identifier: Apache-2.0
// Simple colour profiles: see icc.h. Tags and curves are as in ICC.1:2022, 7.3, 9.2, 10.6 and 10.18.
#include "media/icc.h"

#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_BYTES = 128, MAX_TAGS = 100, FULL = 65535, UNIT = 16384 };

struct profile {
    const uint8_t *data;
    size_t len;
};

struct tag {
    const uint8_t *data;
    size_t len;
};

static uint32_t be16(const uint8_t *b)
{
    return (uint32_t)b[0] << 8 | b[1];
}

static uint32_t be32(const uint8_t *b)
{
    return be16(b) << 16 | be16(b + 2);
}

static double fixed(const uint8_t *b) // s15Fixed16Number
{
    return (int32_t)be32(b) / 65536.0;
}

static bool find_tag(const struct profile *p, const char *name, struct tag *out)
{
    uint32_t count = be32(p->data + HEADER_BYTES);
    if (count > MAX_TAGS || p->len < HEADER_BYTES + 4 + (size_t)count * 12)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *entry = p->data + HEADER_BYTES + 4 + (size_t)i * 12;
        uint32_t offset = be32(entry + 4), size = be32(entry + 8);
        if (memcmp(entry, name, 4) != 0)
            continue;
        if (offset > p->len || size > p->len - offset || size < 12)
            return false;
        *out = (struct tag){p->data + offset, size};
        return true;
    }
    return false;
}

static double light_to_srgb(double l)
{
    return l <= 0.0031308 ? l * 12.92 : 1.055 * pow(l, 1 / 2.4) - 0.055;
}

static uint8_t encoded[FULL + 1]; // light → sRGB sample
static pthread_once_t encoded_once = PTHREAD_ONCE_INIT;

static void make_encoded(void)
{
    for (int i = 0; i <= FULL; i++)
        encoded[i] = (uint8_t)(light_to_srgb((double)i / FULL) * 255 + 0.5);
}

static uint16_t to_light(double l)
{
    return l >= 1 ? FULL : l > 0 ? (uint16_t)(l * FULL + 0.5) : 0; // NaN becomes 0
}

// `curv`: nothing (linear), one exponent, or a table.
static bool read_table_curve(const struct tag *tag, uint16_t out[256])
{
    uint32_t count = be32(tag->data + 8);
    if (count > 65536 || tag->len < 12 + (size_t)count * 2)
        return false;
    const uint8_t *table = tag->data + 12;
    for (int i = 0; i < 256; i++) {
        if (count == 0) {
            out[i] = (uint16_t)(i * 257);
        } else if (count == 1) {
            out[i] = to_light(pow(i / 255.0, be16(table) / 256.0));
        } else {
            uint64_t at = (uint64_t)i * (count - 1), whole = at / 255, part = at % 255;
            uint32_t low = be16(table + whole * 2), high = part ? be16(table + whole * 2 + 2) : low;
            out[i] = (uint16_t)((low * (255 - part) + high * part + 127) / 255);
        }
    }
    return true;
}

// `para`: one of five formulas, with g a b c d e f.
static bool read_formula_curve(const struct tag *tag, uint16_t out[256])
{
    static const uint8_t counts[] = {1, 3, 4, 5, 7};
    uint32_t type = be16(tag->data + 8);
    if (type > 4 || tag->len < 12 + (size_t)counts[type] * 4)
        return false;
    double k[7] = {1, 1, 0, 0, 0, 0, 0};
    for (int i = 0; i < counts[type]; i++)
        k[i] = fixed(tag->data + 12 + i * 4);
    double g = k[0], a = k[1], b = k[2], c = k[3], d = k[4], e = k[5], f = k[6];
    if (type == 1 || type == 2) {
        if (a == 0)
            return false;
        d = -b / a;
        e = f = type == 2 ? c : 0;
        c = 0;
    } else if (type == 0) {
        d = 0;
    }
    for (int i = 0; i < 256; i++) {
        double x = i / 255.0;
        out[i] = to_light(x >= d ? pow(a * x + b, g) + e : c * x + f);
    }
    return true;
}

static bool read_curve(const struct profile *p, const char *name, uint16_t out[256])
{
    struct tag tag;
    if (!find_tag(p, name, &tag))
        return false;
    if (memcmp(tag.data, "curv", 4) == 0)
        return read_table_curve(&tag, out);
    return memcmp(tag.data, "para", 4) == 0 && read_formula_curve(&tag, out);
}

static bool read_primary(const struct profile *p, const char *name, double out[3])
{
    struct tag tag;
    if (!find_tag(p, name, &tag) || tag.len < 20 || memcmp(tag.data, "XYZ ", 4) != 0)
        return false;
    for (int i = 0; i < 3; i++)
        out[i] = fixed(tag.data + 8 + i * 4);
    return true;
}

// From XYZ under D50 to linear sRGB: the inverse of sRGB's primaries as adapted by Bradford's method.
static const double xyz_to_srgb[3][3] = {
    {3.1341359, -1.6172206, -0.4906619},
    {-0.9787955, 1.9162544, 0.0334427},
    {0.0719554, -0.2289768, 1.4053861},
};

static bool read_rgb(const struct profile *p, struct icc *out)
{
    static const char *const primaries[] = {"rXYZ", "gXYZ", "bXYZ"}, *const curves[] = {"rTRC", "gTRC", "bTRC"};
    struct tag tables;
    if (memcmp(p->data + 20, "XYZ ", 4) != 0 || find_tag(p, "A2B0", &tables))
        return false;
    for (int c = 0; c < 3; c++) {
        double xyz[3];
        if (!read_primary(p, primaries[c], xyz) || !read_curve(p, curves[c], out->linear[c]))
            return false;
        for (int r = 0; r < 3; r++) {
            double sum = 0;
            for (int k = 0; k < 3; k++)
                sum += xyz_to_srgb[r][k] * xyz[k];
            if (!(fabs(sum) < 8)) // no real primary is that far out; keeps the integers small
                return false;
            out->matrix[r][c] = (int32_t)lround(sum * UNIT);
        }
    }
    return true;
}

static bool read_grey(const struct profile *p, struct icc *out)
{
    if (!read_curve(p, "kTRC", out->linear[0]))
        return false;
    for (int c = 0; c < 3; c++) {
        memcpy(out->linear[c], out->linear[0], sizeof(out->linear[0]));
        for (int r = 0; r < 3; r++)
            out->matrix[r][c] = r == c ? UNIT : 0;
    }
    return true;
}

// Whether applying it would change no sample by more than one step.
static bool is_srgb(const struct icc *icc)
{
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 3; c++)
            if (abs(icc->matrix[r][c] - (r == c ? UNIT : 0)) > UNIT / 250)
                return false;
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 256; i++)
            if (abs(encoded[icc->linear[c][i]] - i) > 1)
                return false;
    return true;
}

enum icc_kind icc_read(const void *data, size_t len, int channels, struct icc *out)
{
    struct profile p = {data, len};
    if (len < HEADER_BYTES + 4)
        return ICC_OTHER;
    const char *space = channels == 3 ? "RGB " : channels == 1 ? "GRAY" : "";
    if (!*space || memcmp(p.data + 16, space, 4) != 0)
        return ICC_OTHER;
    struct icc made;
    if (!(channels == 3 ? read_rgb(&p, &made) : read_grey(&p, &made)))
        return ICC_OTHER;
    pthread_once(&encoded_once, make_encoded);
    if (is_srgb(&made))
        return ICC_SRGB;
    *out = made;
    return ICC_SIMPLE;
}

static uint8_t encode(int64_t light)
{
    light = (light + UNIT / 2) / UNIT;
    return encoded[light < 0 ? 0 : light > FULL ? FULL : light];
}

void icc_apply(const struct icc *icc, struct pixels *px)
{
    uint8_t *at = px->data, *end = at + pixels_bytes(px);
    for (; at < end; at += 3) {
        int64_t r = icc->linear[0][at[0]], g = icc->linear[1][at[1]], b = icc->linear[2][at[2]];
        for (int i = 0; i < 3; i++)
            at[i] = encode(icc->matrix[i][0] * r + icc->matrix[i][1] * g + icc->matrix[i][2] * b);
    }
}
