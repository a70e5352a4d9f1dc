// SPDX-License-Identifier: Apache-2.0
// Videos in still pictures: see motion.h. A JPEG that has one says so, in its XMP or at its end (where names are all
// that is believed: the numbers beside them differ from maker to maker); then the video is where an MP4 begins in the
// middle of the file. A HEIC has it in a box of its own. So of files that have none, little is read.
#include "media/motion.h"

#include <string.h>

#include "base/cleanup.h"
#include "media/video/kind.h"

enum { HEAD = 8, FTYP_MAX = 256, FRONT = 256 * 1024, BACK = 64 * 1024 };

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

// `ftyp` with a brand of video, and behind it another box that such a file begins with.
static bool begins_video(const uint8_t *data, size_t len)
{
    static const char *const follow[] = {"moov", "mdat", "free", "skip", "wide", "moof", "uuid", "styp"};
    const struct video_kind *kind;
    uint32_t size = len > HEAD ? be32(data) : 0;
    if (size < 2 * HEAD || size > FTYP_MAX || size + HEAD > len || video_kind_find(data, len, &kind, NULL) < 0)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(follow); i++)
        if (memcmp(data + size + 4, follow[i], 4) == 0)
            return true;
    return false;
}

static bool names_motion(const uint8_t *data, size_t len)
{
    return memmem(data, len, "MotionPhoto", 11) || memmem(data, len, "MicroVideo", 10);
}

static bool find_in_jpeg(const uint8_t *data, size_t len, struct motion *out)
{
    size_t front = len < FRONT ? len : FRONT, back = len < BACK ? len : BACK;
    if (!names_motion(data, front) && !names_motion(data + len - back, back))
        return false;
    const uint8_t *from = data + HEAD, *end = data + len, *found;
    while (from < end && (found = memmem(from, (size_t)(end - from), "ftyp", 4))) {
        size_t at = (size_t)(found - data) - 4;
        if (begins_video(data + at, len - at)) {
            *out = (struct motion){at, len - at};
            return true;
        }
        from = found + 4;
    }
    return false;
}

static bool find_in_heic(const uint8_t *data, size_t len, struct motion *out)
{
    for (size_t at = 0; len - at > HEAD;) {
        uint32_t size = be32(data + at);
        size_t box = size ? size : len - at; // 0: to the file's end
        if (box <= HEAD || box > len - at)
            return false;
        if (memcmp(data + at + 4, "mpvd", 4) == 0 && begins_video(data + at + HEAD, box - HEAD)) {
            *out = (struct motion){at + HEAD, box - HEAD};
            return true;
        }
        at += box;
    }
    return false;
}

bool motion_find(const uint8_t *data, size_t len, struct motion *out)
{
    if (len <= HEAD)
        return false;
    if (data[0] == 0xff && data[1] == 0xd8)
        return find_in_jpeg(data, len, out);
    return memcmp(data + 4, "ftyp", 4) == 0 && find_in_heic(data, len, out);
}
