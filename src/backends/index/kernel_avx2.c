// SPDX-License-Identifier: Apache-2.0
// The kernel for x86-64 with AVX2 and FMA: four sums of eight, enough to hide the latency of the additions.
#if defined(__x86_64__)
#include <immintrin.h>

#include "backends/index/kernel_int.h"

#define TARGET __attribute__((target("avx2,fma")))

static bool supported(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

TARGET static inline __m256 step(__m256 sum, const float *a, const float *b)
{
    return _mm256_fmadd_ps(_mm256_load_ps(a), _mm256_load_ps(b), sum);
}

TARGET static inline float total(__m256 sums)
{
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

TARGET static float dot(const float *a, const float *b, size_t length)
{
    __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 32 <= length; i += 32) {
        s0 = step(s0, a + i, b + i);
        s1 = step(s1, a + i + 8, b + i + 8);
        s2 = step(s2, a + i + 16, b + i + 16);
        s3 = step(s3, a + i + 24, b + i + 24);
    }
    if (i < length) {
        s0 = step(s0, a + i, b + i);
        s1 = step(s1, a + i + 8, b + i + 8);
    }
    return total(_mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3)));
}

TARGET static void dots(const float *query, const float *rows, size_t length, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++) {
        kernel_prefetch(rows + i * length, length);
        out[i] = dot(query, rows + i * length, length);
    }
}

__attribute__((target("popcnt"))) static void bits(const uint64_t *query, const uint64_t (*sketches)[SKETCH_WORDS],
                                                   size_t count, unsigned *out)
{
    kernel_count_bits(query, sketches, count, out);
}

const struct kernel kernel_avx2 = {.name = "avx2", .supported = supported, .dots = dots, .bits = bits};
#else
typedef int kernel_avx2_is_for_x86_64;
#endif
