// SPDX-License-Identifier: Apache-2.0
// The kernel for x86-64 with AVX-512: four sums of sixteen.
#if defined(__x86_64__)
#include <immintrin.h>

#include "backends/index/kernel_int.h"

#define TARGET __attribute__((target("avx512f")))

static bool supported(void)
{
    return __builtin_cpu_supports("avx512f");
}

TARGET static inline __m512 step(__m512 sum, const float *a, const float *b)
{
    return _mm512_fmadd_ps(_mm512_load_ps(a), _mm512_load_ps(b), sum);
}

TARGET static float dot(const float *a, const float *b, size_t length)
{
    __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 64 <= length; i += 64) {
        s0 = step(s0, a + i, b + i);
        s1 = step(s1, a + i + 16, b + i + 16);
        s2 = step(s2, a + i + 32, b + i + 32);
        s3 = step(s3, a + i + 48, b + i + 48);
    }
    for (; i < length; i += 16)
        s0 = step(s0, a + i, b + i);
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3)));
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

const struct kernel kernel_avx512 = {.name = "avx512", .supported = supported, .dots = dots, .bits = bits};
#else
typedef int kernel_avx512_is_for_x86_64;
#endif
