// SPDX-License-Identifier: Apache-2.0
// The mean of cos(w·x + b), over random frequencies w and phases b, approximates a Gaussian kernel between single
// measurements (Rahimi & Recht, "Random Features for Large-Scale Kernel Machines", 2007), and summed over the
// measurements of a picture, a match kernel between sets (Bo & Sminchisescu, "Efficient Match Kernel", 2009).
//
// Phases are 16-bit numbers that wrap around as angles do, so a projection is nothing but 16-bit multiplications
// and additions, eight or more at once on any vector unit and the same everywhere. The cosine is a parabola: two
// arcs that are within 6 % of the sine. Any wave with that period gives a kernel as good.
#include "backends/extractor/builtin_embed.h"

#include <string.h>

#include "base/simd.h"

static uint32_t random_next(uint64_t *state) // splitmix64's upper half
{
    uint64_t z = *state += 0x9E3779B97F4A7C15U;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}

// Near enough to a normal distribution: twelve uniform numbers, whose sum has a standard deviation of 65536.
static int32_t random_normal(uint64_t *state)
{
    int32_t sum = -6 * 65536;
    for (int i = 0; i < 12; i++)
        sum += (int32_t)(random_next(state) >> 16);
    return sum;
}

void embed_init(struct embed *e, int inputs, double radians, uint64_t seed)
{
    const double turn = 6.283185307179586;
    const int64_t scale = (int64_t)(radians / turn / EMBED_UNIT * 65536 * 256); // 24.8 fixed point
    e->inputs = inputs;
    for (int j = 0; j < EMBED_FEATURES; j++) {
        for (int i = 0; i < inputs; i++)
            e->frequency[i][j] = (uint16_t)(random_normal(&seed) * scale / (65536 * 256));
        e->phase[j] = (uint16_t)random_next(&seed);
    }
}

SIMD_CLONES static void add(const struct embed *e, const int16_t *measured, int32_t sums[EMBED_FEATURES])
{
    uint16_t phase[EMBED_FEATURES];
    memcpy(phase, e->phase, sizeof(phase));
    for (int i = 0; i < e->inputs; i++) {
        const uint16_t x = (uint16_t)measured[i];
        const uint16_t *frequency = e->frequency[i];
        for (int j = 0; j < EMBED_FEATURES; j++)
            phase[j] = (uint16_t)(phase[j] + (uint16_t)((uint32_t)x * frequency[j]));
    }
    for (int j = 0; j < EMBED_FEATURES; j++) { // at · (32768 - |at|) / 32768: an arc from -8192 to 8192
        int32_t at = (int16_t)phase[j], size = at < 0 ? -at : at;
        sums[j] += (at * (32768 - size)) >> 15;
    }
}

void embed_add(const struct embed *e, const int16_t *measured, int32_t sums[EMBED_FEATURES])
{
    add(e, measured, sums);
}
