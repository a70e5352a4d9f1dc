// SPDX-License-Identifier: Apache-2.0
// Fuzzes the probing of videos (libFuzzer): what kind it is, then container, decoder, looks and small pictures, as the
// process in the cage does it, but without the cage.
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "media/video/kind.h"
#include "media/video/look.h"
#include "media/video/shrink.h"
#include "media/video/source.h"

enum { FRAMES = 4, EDGE = 64 };

static const struct video_limits limits = {.max_pixels = 1 << 18, .max_edge = 2048, .frame_edge = EDGE, .threads = 1};

static void decode(struct source *s, const struct video_info *info)
{
    struct shrink shrink = {NULL};
    struct error err;
    AVFrame *frame = av_frame_alloc();
    int64_t ms, before = 0;
    if (!frame)
        abort();
    for (int i = 0; i < FRAMES && source_next(s, frame, &ms, &err) == 1; i++) {
        struct look look;
        struct pixels px;
        if (ms < before || ms > VIDEO_MS_MAX)
            abort();
        before = ms;
        look_take(frame, &look);
        if (shrink_frame(&shrink, frame, s->sar_num, s->sar_den, info->rotation, EDGE, &px, &err) == 0) {
            if (px.width < 1 || px.width > EDGE || px.height < 1 || px.height > EDGE)
                abort();
            pixels_free(&px);
        }
        av_frame_unref(frame);
    }
    shrink_end(&shrink);
    av_frame_free(&frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const struct video_kind *kind;
    struct video_info info = {0};
    struct error err = {0};
    struct source source;
    size_t head = len < VIDEO_KIND_BYTES ? len : VIDEO_KIND_BYTES;
    if (video_kind_find(data, head, &kind, &err) < 0)
        return 0;
    int fd = memfd_create("fuzz", 0);
    if (fd < 0 || write(fd, data, len) != (ssize_t)len)
        abort();
    if (source_open(&source, fd, (int64_t)len, &limits, &info, &err) == 0) {
        source_skip_to_keys(&source, 2000);
        source_seek(&source, 500);
        decode(&source, &info);
    } else if (!err.code) {
        abort();
    }
    source_close(&source);
    close(fd);
    return 0;
}
