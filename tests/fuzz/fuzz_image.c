// SPDX-License-Identifier: Apache-2.0
// Fuzzes decoding (libFuzzer): the probe before it, the colour profile's reader and libvips' decoders behind it. What
// comes out must keep to what was asked for. Pictures are small so that rounds are many.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "media/image.h"

enum { MAX_EDGE = 32, MAX_PIXELS = 65536 };

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    if (image_init(NULL))
        abort();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct image_decoded out;
    struct error err = {0};
    if (image_decode(data, len, MAX_EDGE, MAX_PIXELS, &out, &err)) {
        if (err.code == ERR_NONE || !err.message[0])
            abort();
        return 0;
    }
    if (out.pixels.width < 1 || out.pixels.width > MAX_EDGE || out.pixels.height < 1 || out.pixels.height > MAX_EDGE ||
        (uint64_t)out.width * (uint64_t)out.height > MAX_PIXELS)
        abort();
    uint8_t *copy = malloc(pixels_bytes(&out.pixels)); // every byte is there
    if (!copy)
        abort();
    memcpy(copy, out.pixels.data, pixels_bytes(&out.pixels));
    free(copy);
    pixels_free(&out.pixels);
    return 0;
}
