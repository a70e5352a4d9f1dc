// SPDX-License-Identifier: Apache-2.0
// Looks: see look.h. Of each cell STEPS × STEPS samples are read, of every row of samples the differences to the
// neighbour that would be the next pixel if the picture were SHARP_WIDTH wide: so sharpness does not depend on how
// large a picture is.
#include "media/video/look.h"

#include <libavutil/pixdesc.h>
#include <math.h>
#include <string.h>

enum { STEPS = 6, ACROSS = LOOK_SIDE * STEPS, SHARP_WIDTH = 512 };

struct plane { // where the luma samples are, eight bits of each
    const uint8_t *data;
    ptrdiff_t line;
    int step, shift;
    bool wide; // two bytes a sample, little endian
};

static int find_plane(const AVFrame *frame, struct plane *out)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(frame->format);
    const uint64_t never = AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_BITSTREAM | AV_PIX_FMT_FLAG_HWACCEL |
                           AV_PIX_FMT_FLAG_BE | AV_PIX_FMT_FLAG_BAYER | AV_PIX_FMT_FLAG_FLOAT;
    if (!d || d->flags & never || d->nb_components < 1)
        return -1;
    bool rgb = d->flags & AV_PIX_FMT_FLAG_RGB;
    const AVComponentDescriptor *c = &d->comp[rgb && d->nb_components >= 3 ? 1 : 0]; // green is most of it
    if (c->depth < 8 || c->depth > 16 || !frame->data[c->plane])
        return -1;
    *out = (struct plane){.data = frame->data[c->plane] + c->offset,
                          .line = frame->linesize[c->plane],
                          .step = c->step,
                          .shift = c->shift + c->depth - 8,
                          .wide = c->depth > 8};
    return 0;
}

static inline int sample(const struct plane *p, int x, int y)
{
    const uint8_t *at = p->data + y * p->line + (ptrdiff_t)x * p->step;
    return p->wide ? ((at[0] | at[1] << 8) >> p->shift) & 0xff : *at;
}

// What pictures in the range of television (16 … 235) are, as 0 … 255.
static int full_range(const AVFrame *frame, int value)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(frame->format);
    bool full = frame->color_range == AVCOL_RANGE_JPEG || (d && d->flags & AV_PIX_FMT_FLAG_RGB);
    if (full)
        return value;
    value = (value - 16) * 255 / 219;
    return value < 0 ? 0 : value > 255 ? 255 : value;
}

int look_take(const AVFrame *frame, struct look *out)
{
    struct plane p;
    if (frame->width < 1 || frame->height < 1 || find_plane(frame, &p) < 0)
        return -1;
    int sums[LOOK_SIZE] = {0}, total = 0, beside = (frame->width + SHARP_WIDTH - 1) / SHARP_WIDTH;
    int64_t squares = 0, steps = 0;
    for (int y = 0; y < ACROSS; y++) {
        int row = (int)((int64_t)(2 * y + 1) * frame->height / (2 * ACROSS));
        for (int x = 0; x < ACROSS; x++) {
            int col = (int)((int64_t)(2 * x + 1) * frame->width / (2 * ACROSS));
            int next = col + beside < frame->width ? col + beside : col;
            int value = sample(&p, col, row);
            sums[y / STEPS * LOOK_SIDE + x / STEPS] += value;
            total += value;
            squares += value * value;
            steps += abs(value - sample(&p, next, row));
        }
    }
    enum { COUNT = ACROSS * ACROSS };
    double mean = (double)total / COUNT, variance = (double)squares / COUNT - mean * mean;
    for (int i = 0; i < LOOK_SIZE; i++)
        out->luma[i] = (uint8_t)full_range(frame, sums[i] / (STEPS * STEPS));
    out->sharp = (float)((double)steps / COUNT / (sqrt(variance > 0 ? variance : 0) + 4));
    return 0;
}
