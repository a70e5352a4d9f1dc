// SPDX-License-Identifier: Apache-2.0
// The kernel for AArch64, where NEON is always there: four sums of four.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "backends/index/kernel_int.h"

static bool supported(void)
{
    return true;
}

static inline float32x4_t step(float32x4_t sum, const float *a, const float *b)
{
    return vfmaq_f32(sum, vld1q_f32(a), vld1q_f32(b));
}

static float dot(const float *a, const float *b, size_t length)
{
    float32x4_t s0 = vdupq_n_f32(0), s1 = s0, s2 = s0, s3 = s0;
    for (size_t i = 0; i < length; i += 16) {
        s0 = step(s0, a + i, b + i);
        s1 = step(s1, a + i + 4, b + i + 4);
        s2 = step(s2, a + i + 8, b + i + 8);
        s3 = step(s3, a + i + 12, b + i + 12);
    }
    return vaddvq_f32(vaddq_f32(vaddq_f32(s0, s1), vaddq_f32(s2, s3)));
}

static void dots(const float *query, const float *rows, size_t length, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++) {
        kernel_prefetch(rows + i * length, length);
        out[i] = dot(query, rows + i * length, length);
    }
}

static void bits(const uint64_t *query, const uint64_t (*sketches)[SKETCH_WORDS], size_t count, unsigned *out)
{
    kernel_count_bits(query, sketches, count, out);
}

const struct kernel kernel_neon = {.name = "neon", .supported = supported, .dots = dots, .bits = bits};
#else
typedef int kernel_neon_is_for_aarch64;
#endif
