// SPDX-License-Identifier: Apache-2.0
// Sketches of vectors: see sketch.h.
#include "backends/index/sketch.h"

#include <math.h>
#include <string.h>

// Random bits by their place (splitmix64).
static uint64_t bits_at(uint64_t place)
{
    uint64_t z = (place + 1) * 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

// Turns the numbers round where the bits from `place` on are set.
static void flip(float x[SKETCH_BITS], uint64_t place)
{
    for (size_t word = 0; word < SKETCH_WORDS; word++) {
        uint64_t bits = bits_at(place + word);
        for (size_t i = 0; i < 64; i++)
            x[word * 64 + i] = bits >> i & 1 ? -x[word * 64 + i] : x[word * 64 + i];
    }
}

static void hadamard(float x[SKETCH_BITS])
{
    for (size_t half = 1; half < SKETCH_BITS; half *= 2)
        for (size_t i = 0; i < SKETCH_BITS; i += 2 * half)
            for (size_t j = i; j < i + half; j++) {
                float a = x[j], b = x[j + half];
                x[j] = a + b;
                x[j + half] = a - b;
            }
}

// The numbers from `from` on. A short vector is repeated, so that each bit sees it under other signs.
static void load(const float *vector, size_t dimension, size_t from, float x[SKETCH_BITS])
{
    size_t count = dimension - from < SKETCH_BITS ? dimension - from : SKETCH_BITS;
    memcpy(x, vector + from, count * sizeof *x);
    for (size_t i = count; i < SKETCH_BITS; i++)
        x[i] = from ? 0 : x[i - count];
}

void sketch_make(const float *vector, size_t dimension, uint64_t out[SKETCH_WORDS])
{
    float sums[SKETCH_BITS] = {0}, x[SKETCH_BITS];
    for (size_t from = 0; from < dimension; from += SKETCH_BITS) {
        uint64_t place = from / SKETCH_BITS * 2 * SKETCH_WORDS;
        load(vector, dimension, from, x);
        flip(x, place);
        hadamard(x);
        flip(x, place + SKETCH_WORDS);
        for (size_t i = 0; i < SKETCH_BITS; i++)
            sums[i] += x[i];
    }
    for (size_t word = 0; word < SKETCH_WORDS; word++) {
        out[word] = 0;
        for (size_t i = 0; i < 64; i++)
            out[word] |= (uint64_t)(sums[word * 64 + i] < 0) << i;
    }
}

unsigned sketch_limit(float score, float accuracy)
{
    double share = acos(score < 1 ? (double)score : 1) / M_PI;
    double spread = sqrt(share * (1 - share) / SKETCH_BITS);
    return (unsigned)((share + (1 + 4 * (double)accuracy) * spread) * SKETCH_BITS) + 1;
}
