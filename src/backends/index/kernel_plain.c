// SPDX-License-Identifier: Apache-2.0
// The kernel in plain C: sixteen sums side by side, which compilers turn into whatever vectors there are.
#include "backends/index/kernel_int.h"

static bool supported(void)
{
    return true;
}

static float dot(const float *a, const float *b, size_t length)
{
    float sums[KERNEL_STEP] = {0};
    for (size_t i = 0; i < length; i += KERNEL_STEP)
        for (size_t j = 0; j < KERNEL_STEP; j++)
            sums[j] += a[i + j] * b[i + j];
    for (size_t width = KERNEL_STEP / 2; width > 0; width /= 2)
        for (size_t j = 0; j < width; j++)
            sums[j] += sums[j + width];
    return sums[0];
}

static void dots(const float *query, const float *rows, size_t length, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = dot(query, rows + i * length, length);
}

static void bits(const uint64_t *query, const uint64_t (*sketches)[SKETCH_WORDS], size_t count, unsigned *out)
{
    kernel_count_bits(query, sketches, count, out);
}

const struct kernel kernel_plain = {.name = "plain", .supported = supported, .dots = dots, .bits = bits};
