// SPDX-License-Identifier: Apache-2.0
// Shrinking: see shrink.h. libswscale brings every pixel format to RGB at its new size in one go; matrices and ranges
// are those that the picture names, and where it names none, those that its size suggests.
#include "media/video/shrink.h"

#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <stdlib.h>

#include "media/fit.h"

static void set_colours(struct SwsContext *scaler, const AVFrame *frame)
{
    int matrix = SWS_CS_DEFAULT;
    switch (frame->colorspace) {
    case AVCOL_SPC_BT709:
        matrix = SWS_CS_ITU709;
        break;
    case AVCOL_SPC_BT2020_NCL:
    case AVCOL_SPC_BT2020_CL:
        matrix = SWS_CS_BT2020;
        break;
    case AVCOL_SPC_UNSPECIFIED:
        matrix = frame->height >= 720 ? SWS_CS_ITU709 : SWS_CS_ITU601;
        break;
    default:
        break;
    }
    sws_setColorspaceDetails(scaler, sws_getCoefficients(matrix), frame->color_range == AVCOL_RANGE_JPEG,
                             sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, 1 << 16, 1 << 16);
}

int shrink_frame(struct shrink *s, const AVFrame *frame, int sar_num, int sar_den, int rotation, int max_edge,
                 struct pixels *out, struct error *err)
{
    int shown = (int)((int64_t)frame->width * sar_num / sar_den), height = frame->height;
    if (shown < 1 || height < 1)
        return error_set(err, ERR_VIDEO_CORRUPT, "A picture of the video has no size");
    int longer = shown > height ? shown : height;
    struct pixels px = {.width = fit_edge(shown, longer, max_edge), .height = fit_edge(height, longer, max_edge)};
    s->scaler = sws_getCachedContext(s->scaler, frame->width, frame->height, frame->format, px.width, px.height,
                                     AV_PIX_FMT_RGB24, SWS_AREA | SWS_ACCURATE_RND, NULL, NULL, NULL);
    px.data = malloc(pixels_bytes(&px) + 64); // libswscale may write a little further
    if (!s->scaler || !px.data) {
        pixels_free(&px);
        return error_set(err, ERR_UNSUPPORTED_MEDIA, "Pictures of this kind cannot be shown");
    }
    set_colours(s->scaler, frame);
    uint8_t *const planes[4] = {px.data};
    const int lines[4] = {px.width * 3};
    if (sws_scale(s->scaler, (const uint8_t *const *)frame->data, frame->linesize, 0, height, planes, lines) < 0) {
        pixels_free(&px);
        return error_set(err, ERR_VIDEO_CORRUPT, "A picture of the video cannot be shown");
    }
    static const int orientations[4] = {1, 6, 3, 8};
    orient(&px, orientations[rotation / 90 % 4]);
    *out = px;
    return 0;
}

void shrink_end(struct shrink *s)
{
    sws_freeContext(s->scaler);
    s->scaler = NULL;
}
