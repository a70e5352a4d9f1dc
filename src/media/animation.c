// SPDX-License-Identifier: Apache-2.0
// Animated WebP, by libwebpmux: see animation.h.
#include "media/animation.h"

#include <stdlib.h>
#include <webp/encode.h>
#include <webp/mux.h>

enum { EFFORT = 4 }; // 0 … 6

struct animation {
    WebPAnimEncoder *encoder;
    WebPConfig config;
    int width, height;
};

int animation_begin(int width, int height, int quality, struct animation **out, struct error *err)
{
    WebPAnimEncoderOptions options;
    struct animation *a = calloc(1, sizeof *a);
    if (!a)
        return error_set(err, ERR_NO_MEMORY, "No memory for an animation");
    a->width = width;
    a->height = height;
    if (WebPConfigPreset(&a->config, WEBP_PRESET_DEFAULT, (float)quality) && WebPAnimEncoderOptionsInit(&options)) {
        a->config.method = EFFORT;
        options.anim_params.loop_count = 0;
        a->encoder = WebPAnimEncoderNew(width, height, &options);
    }
    if (!a->encoder) {
        free(a);
        return error_set(err, ERR_INTERNAL, "An animation of %d x %d pixels cannot be begun", width, height);
    }
    *out = a;
    return 0;
}

static int add(struct animation *a, const struct pixels *px, int64_t at_ms)
{
    WebPPicture picture;
    if (!WebPPictureInit(&picture))
        return 0;
    picture.use_argb = 1;
    picture.width = px->width;
    picture.height = px->height;
    int done = WebPPictureImportRGB(&picture, px->data, px->width * 3) &&
               WebPAnimEncoderAdd(a->encoder, &picture, (int)at_ms, &a->config);
    WebPPictureFree(&picture);
    return done;
}

int animation_add(struct animation *a, const struct pixels *px, int64_t at_ms, struct error *err)
{
    struct pixels same = {0};
    if (px->width != a->width || px->height != a->height)
        pixels_resize(px, a->width, a->height, &same);
    int done = add(a, same.data ? &same : px, at_ms);
    pixels_free(&same);
    return done ? 0
                : error_set(err, ERR_INTERNAL, "A picture of an animation cannot be encoded: %s",
                            WebPAnimEncoderGetError(a->encoder));
}

int animation_end(struct animation *a, int64_t end_ms, struct buf *out, struct error *err)
{
    WebPData data;
    WebPDataInit(&data);
    int done = WebPAnimEncoderAdd(a->encoder, NULL, (int)end_ms, NULL) && WebPAnimEncoderAssemble(a->encoder, &data) &&
               buf_append(out, data.bytes, data.size) == 0;
    WebPDataClear(&data);
    return done ? 0
                : error_set(err, ERR_INTERNAL, "An animation cannot be put together: %s",
                            WebPAnimEncoderGetError(a->encoder));
}

void animation_free(struct animation *a)
{
    if (!a)
        return;
    WebPAnimEncoderDelete(a->encoder);
    free(a);
}
