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
    for (size_t i = 0; kernels[i]; i++)
        if (kernels[i]->supported())
            return kernels[i];
    return &kernel_plain;
}
