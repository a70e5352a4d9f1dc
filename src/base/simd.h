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
#else
#define SIMD_CLONES
#endif

#endif
