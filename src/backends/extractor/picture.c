// SPDX-License-Identifier: Apache-2.0
// Fitting pictures to a model: see picture.h. Scaling is pixels_resize's, so the same bytes everywhere.
#include "backends/extractor/picture.h"

#include <stdlib.h>
#include <string.h>

static int scaled(int edge, int to, int of)
{
    int result = (int)(((int64_t)edge * to * 2 + of) / (2 * (int64_t)of));
    return result > 0 ? result : 1;
}

static void squash(const struct pixels *in, int width, int height, uint8_t *out)
{
    struct pixels made;
    pixels_resize(in, width, height, &made);
    memcpy(out, made.data, pixels_bytes(&made));
    pixels_free(&made);
}

// A view: the middle of `in` that becomes the crop, cut before scaling so that nothing is scaled in vain. It is copied,
// as pixels have no stride.
static void crop(const struct pixels *in, const struct model_spec *s, uint8_t *out)
{
    int shorter = in->width < in->height ? in->width : in->height;
    int width = scaled(s->width, shorter, s->resize), height = scaled(s->height, shorter, s->resize);
    struct pixels part = {.width = width < in->width ? width : in->width,
                          .height = height < in->height ? height : in->height};
    if (!(part.data = malloc(pixels_bytes(&part))))
        abort(); // pictures are bounded long before they come here (G8)
    int left = (in->width - part.width) / 2, top = (in->height - part.height) / 2;
    for (int y = 0; y < part.height; y++)
        memcpy(part.data + (size_t)y * (size_t)part.width * 3,
               in->data + ((size_t)(top + y) * (size_t)in->width + (size_t)left) * 3, (size_t)part.width * 3);
    squash(&part, s->width, s->height, out);
    pixels_free(&part);
}

static void pad(const struct pixels *in, const struct model_spec *s, uint8_t *out)
{
    bool wide = (int64_t)in->width * s->height > (int64_t)in->height * s->width;
    int width = wide ? s->width : scaled(in->width, s->height, in->height);
    int height = wide ? scaled(in->height, s->width, in->width) : s->height;
    uint8_t fill[3];
    for (int c = 0; c < 3; c++) {
        float mean = s->mean[s->bgr ? 2 - c : c] * 255 + 0.5F;
        fill[c] = (uint8_t)(mean < 0 ? 0 : mean > 255 ? 255 : mean);
    }
    for (size_t i = 0; i < (size_t)s->width * (size_t)s->height; i++)
        memcpy(out + i * 3, fill, 3);
    struct pixels made;
    pixels_resize(in, width, height, &made);
    int left = (s->width - width) / 2, top = (s->height - height) / 2;
    for (int y = 0; y < height; y++)
        memcpy(out + ((size_t)(top + y) * (size_t)s->width + (size_t)left) * 3,
               made.data + (size_t)y * (size_t)width * 3, (size_t)width * 3);
    pixels_free(&made);
}

void picture_fit(const struct pixels *in, const struct model_spec *spec, uint8_t *out)
{
    if (spec->fit == FIT_CROP)
        crop(in, spec, out);
    else if (spec->fit == FIT_PAD)
        pad(in, spec, out);
    else
        squash(in, spec->width, spec->height, out);
}

void picture_floats(const uint8_t *restrict fitted, const struct model_spec *spec, float *restrict out)
{
    size_t area = (size_t)spec->width * (size_t)spec->height;
    for (size_t c = 0; c < 3; c++) {
        const uint8_t *from = fitted + (spec->bgr ? 2 - c : c);
        const float scale = 1 / (255 * spec->std[c]), shift = -spec->mean[c] / spec->std[c];
        if (spec->nhwc)
            for (size_t i = 0; i < area; i++)
                out[i * 3 + c] = (float)from[i * 3] * scale + shift;
        else
            for (size_t i = 0; i < area; i++)
                out[c * area + i] = (float)from[i * 3] * scale + shift;
    }
}
