// SPDX-License-Identifier: Apache-2.0
// Fuzzes the probe (libFuzzer). Whole, byte by byte and in odd steps, the same bytes must give the same answer.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "media/probe.h"

static int probe(const uint8_t *data, size_t len, size_t step, struct media_info *info, struct error *err)
{
    static const struct probe_limits limits = {.max_pixels = 100000000, .max_edge = 65535};
    struct probe *p = probe_new(&limits);
    for (size_t at = 0; at < len; at += step) {
        // A copy of exactly this size lets AddressSanitizer see a read beyond the piece.
        size_t n = len - at < step ? len - at : step;
        uint8_t *copy = malloc(n);
        if (!copy)
            abort();
        memcpy(copy, data + at, n);
        probe_feed(p, copy, n, NULL);
        free(copy);
    }
    int rc = probe_end(p, info, err);
    probe_free(p);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const size_t steps[] = {1, 7, 600};
    struct media_info whole = {0};
    struct error why = {0};
    int rc = probe(data, len, len ? len : 1, &whole, &why);
    if (rc == 0 && (whole.width < 0 || whole.height < 0 || (uint64_t)whole.width * (uint64_t)whole.height > 100000000))
        abort();
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct media_info info = {0};
        struct error err = {0};
        if (probe(data, len, steps[i], &info, &err) != rc || info.width != whole.width || info.height != whole.height ||
            info.format != whole.format || strcmp(err.message, why.message) != 0)
            abort();
    }
    return 0;
}
