// SPDX-License-Identifier: Apache-2.0
// SIMD_CLONES before a function's definition: it is compiled for wider vectors as well, and the program chooses at
// start. For loops that the compiler vectorises. All clones compute the same numbers: sums of floats keep their order.
#ifndef DEEPLENS_BASE_SIMD_H
#define DEEPLENS_BASE_SIMD_H

// The choice is made before a sanitizer is ready for it.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SIMD_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SIMD_SANITIZED 1
#endif

#if defined(__x86_64__) && !defined(SIMD_SANITIZED)
#define SIMD_CLONES __attribute__((target_clones("avx2", "default")))
// For a function that counts bits, where the processor has __builtin_cpu_supports("avx512vpopcntdq") and "avx512bw":
// not one of the clones, as the program cannot choose by these by itself.
#define SIMD_POPCOUNT __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq")))
#else
#define SIMD_CLONES
#endif

#endif
