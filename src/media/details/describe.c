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
enum { STEPS = PATCH / PARTS };                              // samples a part
enum { WIDTH = 2 * AROUND + 1, ROW = 16, SAMPLES_ROW = 24 }; // rows are filled up to whole vectors

typedef float half_turns __attribute__((vector_size(TURNS / 2 * sizeof(float))));
typedef int32_t half_turns_mask __attribute__((vector_size(TURNS / 2 * sizeof(float))));
typedef float ways __attribute__((vector_size(WAYS * sizeof(float))));
typedef int32_t ways_mask __attribute__((vector_size(WAYS * sizeof(float))));

static const half_turns turn_cosines = {1, 0.92387953f,  0.70710678f,  0.38268343f,
                                        0, -0.38268343f, -0.70710678f, -0.92387953f};
static const half_turns turn_sines = {0, 0.38268343f, 0.70710678f, 0.92387953f,
                                      1, 0.92387953f, 0.70710678f, 0.38268343f};
static const ways ways_zero;
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

// What is around a place, row by row; beyond the plane's edge, nothing.
struct around {
    float gx[WIDTH][ROW], gy[WIDTH][ROW]; // gradients
    float weight[WIDTH][ROW];             // less far from the middle, and so that the fourth power counts as the first
};

static void take_gradients(const struct plane *plane, int cx, int cy, struct around *out)
{
    for (int j = 0; j < WIDTH; j++)
        for (int i = 0; i < WIDTH; i++) {
            int x = cx + i - AROUND, y = cy + j - AROUND;
            bool on = x >= 1 && y >= 1 && x < plane->width - 1 && y < plane->height - 1;
            const float *at = plane->value + (on ? (size_t)y * (size_t)plane->width + (size_t)x : 0);
            out->gx[j][i] = on ? at[1] - at[-1] : 0;
            out->gy[j][i] = on ? at[plane->width] - at[-plane->width] : 0;
        }
}

SIMD_CLONES static void take_gradients_inside(const struct plane *plane, int cx, int cy, struct around *out)
{
    for (int j = 0; j < WIDTH; j++) {
        const float *at = plane->value + (size_t)(cy + j - AROUND) * (size_t)plane->width + (cx - AROUND);
        const float *above = at - plane->width, *below = at + plane->width;
        for (int i = 0; i < WIDTH; i++) {
            out->gx[j][i] = at[i + 1] - at[i - 1];
            out->gy[j][i] = below[i] - above[i];
        }
    }
}

// How much what is so far from the middle counts, by the square of the distance.
#define TENT(y, x)                                                                                                     \
    ((y) * (y) + (x) * (x) > AROUND * AROUND ? 0 : 1 - (float)((y) * (y) + (x) * (x)) / (AROUND * AROUND + 1))
#define TENT_ROW(y)                                                                                                    \
    {                                                                                                                  \
        TENT(y, 6), TENT(y, 5), TENT(y, 4), TENT(y, 3), TENT(y, 2), TENT(y, 1), TENT(y, 0), TENT(y, 1), TENT(y, 2),    \
            TENT(y, 3), TENT(y, 4), TENT(y, 5), TENT(y, 6)                                                             \
    }
static const float tent[WIDTH][ROW] = {TENT_ROW(6), TENT_ROW(5), TENT_ROW(4), TENT_ROW(3), TENT_ROW(2),
                                       TENT_ROW(1), TENT_ROW(0), TENT_ROW(1), TENT_ROW(2), TENT_ROW(3),
                                       TENT_ROW(4), TENT_ROW(5), TENT_ROW(6)};

SIMD_CLONES static void weigh(struct around *a)
{
    for (int j = 0; j < WIDTH; j++)
        for (int i = 0; i < ROW; i++) {
            float whole = length(a->gx[j][i], a->gy[j][i]);
            a->weight[j][i] = tent[j][i] / (whole * whole * whole);
        }
}

// Where most gradients around it point: those that point elsewhere count little, by the fourth power of the cosine.
// Each counts for one of two opposite directions.
SIMD_CLONES static void gather_turns(const struct around *a, float *out)
{
    half_turns there = {0}, back = {0};
    for (int j = 0; j < WIDTH; j++)
        for (int i = 0; i < WIDTH; i++) {
            half_turns p = a->gx[j][i] * turn_cosines + a->gy[j][i] * turn_sines, square = p * p;
            half_turns share = square * square * a->weight[j][i];
            half_turns ahead = (half_turns)((half_turns_mask)share & (p > 0));
            there += ahead;
            back += share - ahead;
        }
    memcpy(out, &there, sizeof there);
    memcpy(out + TURNS / 2, &back, sizeof back);
}

static float direction(const struct plane *plane, int x, int y)
{
    float sums[TURNS];
    struct around around = {0};
    int best = 0, most = AROUND + 1;
    bool inside = x >= most && y >= most && x < plane->width - most && y < plane->height - most;
    (inside ? take_gradients_inside : take_gradients)(plane, x, y, &around);
    weigh(&around);
    gather_turns(&around, sums);
    for (int k = 1; k < TURNS; k++)
        if (sums[k] > sums[best])
            best = k;
    float before = sums[(best + TURNS - 1) % TURNS], after = sums[(best + 1) % TURNS];
    float bend = before - 2 * sums[best] + after;
    return ((float)best + (bend < 0 ? 0.5f * (before - after) / bend : 0)) * (2 * DETAILS_PI / TURNS);
}

// --- What is gathered

// The patch's points in the plane: the place left above each in the plane's memory, and how far beyond it the point is.
struct points {
    int32_t at[SAMPLES][SAMPLES_ROW];
    float fx[SAMPLES][SAMPLES_ROW], fy[SAMPLES][SAMPLES_ROW];
};

static inline void keep_within(ways *v, float most)
{
    ways_mask beyond = *v > most, at_least_0 = (ways_mask)*v & (*v > 0);
    *v = (ways)((at_least_0 & ~beyond) | ((ways_mask)(ways_zero + most) & beyond));
}

SIMD_CLONES static void place(const struct plane *p, float x, float y, float c, float s, struct points *out)
{
    static const ways counted = {0, 1, 2, 3, 4, 5, 6, 7};
    float right = (float)(p->width - 1) - 0.01f, low = (float)(p->height - 1) - 0.01f, middle = (SAMPLES - 1) / 2.0f;
    for (int j = 0; j < SAMPLES; j++)
        for (int i = 0; i < SAMPLES_ROW; i += WAYS) {
            ways u = counted + ((float)i - middle);
            float v = (float)j - middle;
            ways px = x + c * u - s * v, py = y + s * u + c * v;
            keep_within(&px, right);
            keep_within(&py, low);
            ways_mask ix = __builtin_convertvector(px, ways_mask), iy = __builtin_convertvector(py, ways_mask);
            ways fx = px - __builtin_convertvector(ix, ways), fy = py - __builtin_convertvector(iy, ways);
            ways_mask at = iy * p->width + ix;
            memcpy(&out->at[j][i], &at, sizeof at);
            memcpy(&out->fx[j][i], &fx, sizeof fx);
            memcpy(&out->fy[j][i], &fy, sizeof fy);
        }
}

SIMD_CLONES static void sample(const struct plane *p, const struct points *points, float patch[SAMPLES][SAMPLES])
{
    const float *upper = p->value, *lower = p->value + p->width;
    for (int j = 0; j < SAMPLES; j++)
        for (int i = 0; i < SAMPLES; i++) {
            int32_t at = points->at[j][i];
            float fx = points->fx[j][i];
            float above = upper[at] + fx * (upper[at + 1] - upper[at]);
            float below = lower[at] + fx * (lower[at + 1] - lower[at]);
            patch[j][i] = above + points->fy[j][i] * (below - above);
        }
}

static void take_patch(const struct plane *plane, float x, float y, float step, float angle,
                       float patch[SAMPLES][SAMPLES])
{
    struct points points;
    place(plane, x, y, cosf(angle) * step, sinf(angle) * step, &points);
    sample(plane, &points, patch);
}

struct gradients {
    float gx[PATCH][PATCH], gy[PATCH][PATCH], share[PATCH][PATCH]; // share: one by the length
};

SIMD_CLONES static void take_patch_gradients(float patch[SAMPLES][SAMPLES], struct gradients *out)
{
    for (int j = 0; j < PATCH; j++)
        for (int i = 0; i < PATCH; i++) {
            float gx = patch[j + 1][i + 2] - patch[j + 1][i], gy = patch[j + 2][i + 1] - patch[j][i + 1];
            out->gx[j][i] = gx;
            out->gy[j][i] = gy;
            out->share[j][i] = 1 / length(gx, gy);
        }
}

// A sample counts for the two parts that it lies between, by tents as wide as two parts. Part k is at k + 1 of the
// sums: before the first and after the last is one that nobody wants.
#define PART_BEFORE(i) (((i) + STEPS / 2) / STEPS)
#define FOR_NEXT(i) (((float)(((i) + STEPS / 2) % STEPS) + 0.5f) / STEPS)

SIMD_CLONES static void gather_all(const struct gradients *g, float out[PARTS + 2][PARTS + 2][WAYS])
{
    ways sums[PARTS + 2][PARTS + 2] = {{{0}}};
    for (int j = 0; j < PATCH; j++) {
        ways row[PARTS + 2] = {{0}};
        for (int i = 0; i < PATCH; i++) {
            ways p = g->gx[j][i] * way_cosines + g->gy[j][i] * way_sines;
            p = (ways)((ways_mask)p & (p > 0));
            p *= p * g->share[j][i];
            row[PART_BEFORE(i)] += (1 - FOR_NEXT(i)) * p;
            row[PART_BEFORE(i) + 1] += FOR_NEXT(i) * p;
        }
        for (int part = 1; part <= PARTS; part++) {
            sums[PART_BEFORE(j)][part] += (1 - FOR_NEXT(j)) * row[part];
            sums[PART_BEFORE(j) + 1][part] += FOR_NEXT(j) * row[part];
        }
    }
    memcpy(out, sums, sizeof sums);
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

static void to_bits(float in[PARTS + 2][PARTS + 2][WAYS], uint64_t *bits)
{
    memset(bits, 0, DETAIL_WORDS * sizeof *bits);
    for (int part = 0; part < PARTS * PARTS; part++) {
        const float *of = in[part / PARTS + 1][part % PARTS + 1];
        for (int k = 0; k < WAYS; k++)
            set_bit(bits, part * WAYS + k, of[k] > of[(k + ASIDE) % WAYS]);
    }
}

float detail_describe(const struct plane *plane, float x, float y, float step, uint64_t bits[DETAIL_WORDS])
{
    struct gradients gradients;
    float patch[SAMPLES][SAMPLES], gathered[PARTS + 2][PARTS + 2][WAYS];
    float angle = direction(plane, (int)(x + 0.5f), (int)(y + 0.5f));
    take_patch(plane, x, y, step, angle, patch);
    take_patch_gradients(patch, &gradients);
    gather_all(&gradients, gathered);
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
