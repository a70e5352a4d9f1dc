// SPDX-License-Identifier: Apache-2.0
// Fuzzing of stored details: any bytes are read as details and compared; what is read is written as it was.
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "media/details/details.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct details read, mirrored;
    uint8_t again[DETAILS_PACKED_MAX];
    struct error err = {0};
    if (details_unpack(data, size, &read, &err) < 0) {
        if (err.code != ERR_DATA_CORRUPT)
            abort();
        return 0;
    }
    if (details_pack(&read, again) != size)
        abort();
    float same = details_compare(&read, &read);
    details_mirror(&read, &mirrored);
    float other = details_compare(&mirrored, &read);
    if (!(same >= 0 && same < 1 && other >= 0 && other < 1))
        abort();
    return 0;
}
