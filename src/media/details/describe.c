// SPDX-License-Identifier: Apache-2.0
// What a place looks like, in bits: gradients around it, turned so that the strongest direction comes first, gathered
// in 4 × 4 parts by 8 directions (as SIFT does; Lowe 2004). A bit says whether a part has more of a direction than
// of the one at a right angle to it, so that neither light nor contrast matters, and places are compared by counting
// bits.
//
// A gradient counts for each direction by the square of its cosine with it, those behind it not at all: no angles need
// to be computed, and all eight directions are one vector. In a mirror image the parts change places and the
// directions their signs: its bits are those of the picture, in another order.
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/simd.h"
#include "media/details/details_int.h"

enum { PATCH = 16, PARTS = 4, WAYS = 8, SAMPLES = PATCH + 2, AROUND = 6, TURNS = 16 };

typedef float turns __attribute__((vector_size(TURNS * sizeof(float))));
typedef int32_t turns_mask __attribute__((vector_size(TURNS * sizeof(float))));
typedef float ways __attribute__((vector_size(WAYS * sizeof(float))));
typedef int32_t ways_mask __attribute__((vector_size(WAYS * sizeof(float))));

static const turns turn_cosines = {
    1,  0.92387953f,  0.70710678f,  0.38268343f,  0, -0.38268343f, -0.70710678f, -0.92387953f,
    -1, -0.92387953f, -0.70710678f, -0.38268343f, 0, 0.38268343f,  0.70710678f,  0.92387953f};
static const turns turn_sines = {
    0, 0.38268343f,  0.70710678f,  0.92387953f,  1,  0.92387953f,  0.70710678f,  0.38268343f,
    0, -0.38268343f, -0.70710678f, -0.92387953f, -1, -0.92387953f, -0.70710678f, -0.38268343f};
static const ways way_cosines = {1, 0.70710678f, 0, -0.70710678f, -1, -0.70710678f, 0, 0.70710678f};
static const ways way_sines = {0, 0.70710678f, 1, 0.70710678f, 0, -0.70710678f, -1, -0.70710678f};

// About as long as the gradient, to a few per cent, without a root; never 0.
static inline float length(float x, float y)
{
    x = x < 0 ? -x : x;
    y = y < 0 ? -y : y;
    return (x > y ? x + 0.41f * y : y + 0.41f * x) + 1e-3f;
}

// --- Its direction

// Where most gradients around it point: those that point elsewhere count little, by the fourth power of the cosine.
SIMD_CLONES static void gather_turns(const struct plane *plane, int cx, int cy, float *out)
{
    turns sums = {0};
    for (int j = -AROUND; j <= AROUND; j++)
        for (int i = -AROUND; i <= AROUND; i++) {
            int x = cx + i, y = cy + j, square = i * i + j * j;
            if (square > AROUND * AROUND || x < 1 || y < 1 || x >= plane->width - 1 || y >= plane->height - 1)
                continue;
            const float *at = plane->value + (size_t)y * (size_t)plane->width + x;
            float gx = at[1] - at[-1], gy = at[plane->width] - at[-plane->width], whole = length(gx, gy);
            turns p = gx * turn_cosines + gy * turn_sines;
            p = (turns)((turns_mask)p & (p > 0));
            p *= p;
            sums += p * p * ((1 - (float)square / (AROUND * AROUND + 1)) / (whole * whole * whole));
        }
    memcpy(out, &sums, sizeof sums);
}

static float direction(const struct plane *plane, int x, int y)
{
    float sums[TURNS];
    int best = 0;
    gather_turns(plane, x, y, sums);
    for (int k = 1; k < TURNS; k++)
        if (sums[k] > sums[best])
            best = k;
    float before = sums[(best + TURNS - 1) % TURNS], after = sums[(best + 1) % TURNS];
    float bend = before - 2 * sums[best] + after;
    return ((float)best + (bend < 0 ? 0.5f * (before - after) / bend : 0)) * (2 * DETAILS_PI / TURNS);
}

// --- What is gathered

static inline float sample(const struct plane *p, float x, float y)
{
    float right = (float)(p->width - 1) - 0.01f, low = (float)(p->height - 1) - 0.01f;
    x = x < 0 ? 0 : x > right ? right : x;
    y = y < 0 ? 0 : y > low ? low : y;
    int ix = (int)x, iy = (int)y;
    float fx = x - (float)ix, fy = y - (float)iy;
    const float *at = p->value + (size_t)iy * (size_t)p->width + ix;
    float above = at[0] + fx * (at[1] - at[0]), below = at[p->width] + fx * (at[p->width + 1] - at[p->width]);
    return above + fy * (below - above);
}

static void take_patch(const struct plane *plane, float x, float y, float step, float angle,
                       float patch[SAMPLES][SAMPLES])
{
    float c = cosf(angle) * step, s = sinf(angle) * step, middle = (SAMPLES - 1) / 2.0f;
    for (int j = 0; j < SAMPLES; j++)
        for (int i = 0; i < SAMPLES; i++) {
            float u = (float)i - middle, v = (float)j - middle;
            patch[j][i] = sample(plane, x + c * u - s * v, y + s * u + c * v);
        }
}

// How much the sample at `i` of PATCH counts for `part`: a tent as wide as two parts.
static float part_weight(int i, int part)
{
    float width = PATCH / (float)PARTS, at = ((float)i + 0.5f) / width - 0.5f, off = fabsf(at - (float)part);
    return off < 1 ? 1 - off : 0;
}

SIMD_CLONES static void gather_all(float patch[SAMPLES][SAMPLES], const float weights[PATCH][PARTS],
                                   float out[PARTS][PARTS][WAYS])
{
    ways sums[PARTS][PARTS] = {{{0}}};
    for (int j = 0; j < PATCH; j++) {
        ways row[PARTS] = {{0}};
        for (int i = 0; i < PATCH; i++) {
            float gx = patch[j + 1][i + 2] - patch[j + 1][i], gy = patch[j + 2][i + 1] - patch[j][i + 1];
            ways p = gx * way_cosines + gy * way_sines;
            p = (ways)((ways_mask)p & (p > 0));
            p *= p * (1 / length(gx, gy));
            for (int part = 0; part < PARTS; part++)
                row[part] += weights[i][part] * p;
        }
        for (int high = 0; high < PARTS; high++)
            for (int part = 0; part < PARTS; part++)
                sums[high][part] += weights[j][high] * row[part];
    }
    memcpy(out, sums, sizeof sums);
}

static void gather(float patch[SAMPLES][SAMPLES], float out[PARTS][PARTS][WAYS])
{
    float weights[PATCH][PARTS];
    for (int i = 0; i < PATCH; i++)
        for (int part = 0; part < PARTS; part++)
            weights[i][part] = part_weight(i, part);
    gather_all(patch, weights, out);
}

// --- Bits

enum { ASIDE = 2 }; // each way is compared with the one at a right angle to it

static void set_bit(uint64_t *bits, int i, bool value)
{
    bits[i / 64] |= (uint64_t)value << (i % 64);
}

static bool get_bit(const uint64_t *bits, int i)
{
    return bits[i / 64] >> (i % 64) & 1;
}

static void to_bits(float in[PARTS][PARTS][WAYS], uint64_t *bits)
{
    memset(bits, 0, DETAIL_WORDS * sizeof *bits);
    for (int part = 0; part < PARTS * PARTS; part++) {
        const float *of = in[part / PARTS][part % PARTS];
        for (int k = 0; k < WAYS; k++)
            set_bit(bits, part * WAYS + k, of[k] > of[(k + ASIDE) % WAYS]);
    }
}

float detail_describe(const struct plane *plane, float x, float y, float step, uint64_t bits[DETAIL_WORDS])
{
    float patch[SAMPLES][SAMPLES], gathered[PARTS][PARTS][WAYS];
    float angle = direction(plane, (int)(x + 0.5f), (int)(y + 0.5f));
    take_patch(plane, x, y, step, angle, patch);
    gather(patch, gathered);
    to_bits(gathered, bits);
    return angle;
}

// The parts of the upper half change places with those of the lower one, and each way across becomes its opposite. Of
// two ways of which the first had more, so the second has.
static void mirror_bits(const uint64_t *in, uint64_t *out)
{
    memset(out, 0, DETAIL_WORDS * sizeof *out);
    for (int part = 0; part < PARTS * PARTS; part++) {
        int from = (PARTS - 1 - part / PARTS) * PARTS + part % PARTS;
        for (int k = 0; k < WAYS; k++)
            set_bit(out, part * WAYS + k, !get_bit(in, from * WAYS + (2 * WAYS - k - ASIDE) % WAYS));
    }
}

void details_mirror(const struct details *in, struct details *out)
{
    *out = *in;
    for (size_t i = 0; i < in->count; i++) {
        out->of[i].x = -in->of[i].x;
        out->of[i].angle = DETAILS_PI - in->of[i].angle;
        uint64_t bits[DETAIL_WORDS], mirrored[DETAIL_WORDS];
        for (int w = 0; w < DETAIL_WORDS; w++)
            bits[w] = in->bits[w][i];
        mirror_bits(bits, mirrored);
        for (int w = 0; w < DETAIL_WORDS; w++)
            out->bits[w][i] = mirrored[w];
    }
}
