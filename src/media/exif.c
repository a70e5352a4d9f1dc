// SPDX-License-Identifier: Apache-2.0
// EXIF's orientation: tag 0x0112 in the first directory of the TIFF structure behind "Exif\0\0".
#include "media/exif.h"

#include <stdbool.h>
#include <string.h>

enum { PREFIX = 6, ENTRY = 12, ORIENTATION = 0x0112, SHORT = 3 };

struct tiff {
    const uint8_t *data;
    size_t len;
    bool big_endian;
};

// Reading behind the end gives 0, which is no tag, no type and no count.
static uint32_t get(const struct tiff *t, size_t at, size_t bytes)
{
    uint32_t value = 0;
    if (at > t->len || t->len - at < bytes)
        return 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | t->data[at + (t->big_endian ? i : bytes - 1 - i)];
    return value;
}

int exif_orientation(const uint8_t *segment, size_t len)
{
    if (len < PREFIX + 8 || memcmp(segment, "Exif\0", 5) != 0)
        return 0;
    struct tiff t = {segment + PREFIX, len - PREFIX, segment[PREFIX] == 'M'};
    if (get(&t, 2, 2) != 42)
        return 0;
    size_t directory = get(&t, 4, 4);
    uint32_t entries = get(&t, directory, 2);
    for (size_t i = 0; i < entries; i++) {
        size_t at = directory + 2 + i * ENTRY;
        if (get(&t, at, 2) != ORIENTATION || get(&t, at + 2, 2) != SHORT)
            continue;
        uint32_t value = get(&t, at + 8, 2);
        return value >= 1 && value <= 8 ? (int)value : 0;
    }
    return 0;
}
