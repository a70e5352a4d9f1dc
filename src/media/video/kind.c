// SPDX-License-Identifier: Apache-2.0
// Kinds of video: see kind.h. What is not known to be a video is named by the table of what images are not (magic.c).
#include "media/video/kind.h"

#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"
#include "media/magic.h"

static const struct video_kind mp4 = {"MP4", "video/mp4", "mp4"}, mov = {"MOV", "video/quicktime", "mov"},
                               three = {"3GP", "video/3gpp", "3gp"}, webm = {"WEBM", "video/webm", "webm"},
                               mkv = {"MKV", "video/x-matroska", "mkv"}, avi = {"AVI", "video/x-msvideo", "avi"},
                               ts = {"MPEG-TS", "video/mp2t", "ts"}, ps = {"MPEG-PS", "video/mpeg", "mpg"};

static bool has(const uint8_t *data, size_t len, size_t at, const char *bytes, size_t count)
{
    return len >= at + count && memcmp(data + at, bytes, count) == 0;
}
#define HAS(at, text) has(data, len, (at), (text), sizeof(text) - 1)

static const struct video_kind *find_bmff(const uint8_t *data, size_t len)
{
    static const char *const boxes[] = {"moov", "mdat", "wide", "free", "skip", "pnot"};
    static const char *const others[] = {"M4A ", "M4B ", "crx ", "jp2 ", "jpx ", "j2ki"};
    for (size_t i = 0; i < ARRAY_LEN(boxes); i++)
        if (has(data, len, 4, boxes[i], 4))
            return &mov; // from before there was `ftyp`
    if (!HAS(4, "ftyp") || len < 12 || magic_find(data, len))
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (has(data, len, 8, others[i], 4))
            return NULL;
    if (HAS(8, "qt  "))
        return &mov;
    return HAS(8, "3gp") || HAS(8, "3g2") ? &three : &mp4;
}

// The document's type stands in the header, in front of all else.
static const struct video_kind *find_matroska(const uint8_t *data, size_t len)
{
    static const char doc_type[] = {0x42, (char)0x82, (char)0x84, 'w', 'e', 'b', 'm'};
    size_t most = len < 128 ? len : 128;
    if (!HAS(0, "\x1a\x45\xdf\xa3"))
        return NULL;
    return memmem(data, most, doc_type, sizeof doc_type) ? &webm : &mkv;
}

// A packet every 188 bytes, or 192 with a time in front.
static bool is_transport(const uint8_t *data, size_t len)
{
    for (size_t size = 188, at = 0; size <= 192; size += 4, at += 4)
        if (len > at + 3 * size && data[at] == 0x47 && data[at + size] == 0x47 && data[at + 2 * size] == 0x47 &&
            data[at + 3 * size] == 0x47)
            return true;
    return false;
}

int video_kind_find(const uint8_t *data, size_t len, const struct video_kind **out, struct error *err)
{
    const struct video_kind *found = find_bmff(data, len);
    if (!found)
        found = find_matroska(data, len);
    if (!found && HAS(0, "RIFF") && HAS(8, "AVI "))
        found = &avi;
    if (!found && HAS(0, "\0\0\1\xba"))
        found = &ps;
    if (!found && is_transport(data, len))
        found = &ts;
    if (found) {
        *out = found;
        return 0;
    }
    if (!len)
        return error_set(err, ERR_EMPTY_FILE, "The file is empty");
    const struct media_kind *image = magic_find(data, len);
    if (image)
        return error_set(err, ERR_UNSUPPORTED_MEDIA,
                         "This is an image (%s); images go to /api/v1/images/upload, videos are MP4, MOV, 3GP, WebM, "
                         "Matroska, AVI and MPEG",
                         image->name);
    const char *what = magic_name(data, len);
    return error_set(err, ERR_UNSUPPORTED_MEDIA,
                     "This is %s; DeepLens takes MP4, MOV, 3GP, WebM, Matroska, AVI and MPEG videos",
                     what ? what : "not a file of a known kind");
}
