// SPDX-License-Identifier: Apache-2.0
// The table of kernels.
#include "backends/index/kernel.h"

#include "backends/index/kernel_int.h"

const struct kernel *const kernels[] = {
#if defined(__x86_64__)
    &kernel_avx512,
    &kernel_avx2,
#elif defined(__aarch64__)
    &kernel_neon,
#endif
    &kernel_plain,
    NULL,
};

const struct kernel *kernel_best(void)
{
    const struct kernel *const *kernel = kernels;
    while (!(*kernel)->supported())
        kernel++;
    return *kernel;
}
