// SPDX-License-Identifier: Apache-2.0
// At points on a regular grid, this measures differential invariants: numbers that do not change when the picture
// is turned or mirrored (Koenderink & van Doorn 1987; Schmid & Mohr 1997). They are differences between blurs (how
// bright is this against what surrounds it, on five scales), lengths of the gradient on four scales, and scalar
// products of gradients on neighbouring scales. Divided by the local activity, they do not change with contrast
// either, and what else stands in the picture has no say: so crops and collages keep much of them.
//
// A measurement is squashed into -256 … 256 and embedded (builtin_embed.h); the mean over the points describes the
// picture as a whole, whatever its size and wherever its parts went.
#include "backends/extractor/builtin_measure.h"

#include <math.h>
#include <string.h>

#include "backends/extractor/builtin_scene.h"
#include "base/cleanup.h"

enum {
    STEP = 3,   // from point to point
    MARGIN = 2, // the farthest pixel that a gradient looks at
    BANDS = SCENE_BLURS - 1,
    GRADIENTS = 4,
    SHAPES = BANDS + GRADIENTS + GRADIENTS - 1,
    TINTS = 6,
};

struct point {
    float shape[SHAPES]; // bands, gradients' lengths, gradients' products
    float tint[TINTS];
};

void measure_init(struct measure *m)
{
    embed_init(&m->embeds[MEASURE_SHAPE], SHAPES, 2.4, 1);
    embed_init(&m->embeds[MEASURE_TINT], SHAPES + TINTS, 2.2, 2);
    embed_init(&m->embeds[MEASURE_COLOUR], 7, 3.0, 3);
    embed_init(&m->embeds[MEASURE_LAYOUT], 6, 3.0, 4);
}

static float squash(float v) // -1 … 1
{
    return v / sqrtf(1 + v * v);
}

static int16_t whole(float v, int limit)
{
    return (int16_t)(v > (float)limit ? limit : v < (float)-limit ? -limit : v);
}

static void point_shape(const struct scene *s, int at, float *shape)
{
    static const int blur[GRADIENTS] = {1, 2, 4, 5}, reach[GRADIENTS] = {1, 1, 2, 2};
    const float unit = 1.0F / ((float)s->activity[at] + 24); // a little more, so that noise in flat parts stays small
    float gx[GRADIENTS], gy[GRADIENTS], length[GRADIENTS];
    for (int b = 0; b < BANDS; b++)
        shape[b] = (float)(s->plane[0][b + 1][at] - s->plane[0][b + 2][at]) * unit;
    for (int g = 0; g < GRADIENTS; g++) {
        const int16_t *p = s->plane[0][blur[g]] + at;
        int r = reach[g], down = reach[g] * s->width;
        gx[g] = (float)(p[r] - p[-r]) * unit;
        gy[g] = (float)(p[down] - p[-down]) * unit;
        length[g] = sqrtf(gx[g] * gx[g] + gy[g] * gy[g]);
        shape[BANDS + g] = length[g];
    }
    for (int g = 0; g + 1 < GRADIENTS; g++)
        shape[BANDS + GRADIENTS + g] =
            (gx[g] * gx[g + 1] + gy[g] * gy[g + 1]) / (sqrtf(length[g] * length[g + 1]) + 0.2F);
    for (int k = 0; k < SHAPES; k++)
        shape[k] = squash(shape[k]);
}

static void point_tint(const struct scene *s, int at, float *tint)
{
    const float unit = 1.0F / (24 * SCENE_LEVEL);
    for (int c = 1; c < 3; c++) {
        int16_t *const *p = s->plane[c];
        *tint++ = squash((float)(p[1][at] - p[3][at]) * unit * 2);
        *tint++ = squash((float)(p[3][at] - p[5][at]) * unit);
        *tint++ = squash(((float)p[5][at] - s->mean[c]) * unit);
    }
}

static void add_shape_and_tint(const struct measure *m, const struct point *p, int32_t (*sums)[MEASURE_FEATURES])
{
    int16_t x[SHAPES + TINTS];
    for (int k = 0; k < SHAPES; k++)
        x[k] = whole(p->shape[k] * EMBED_UNIT, EMBED_UNIT);
    for (int k = 0; k < TINTS; k++)
        x[SHAPES + k] = whole(p->tint[k] * EMBED_UNIT, EMBED_UNIT);
    embed_add(&m->embeds[MEASURE_SHAPE], x, sums[MEASURE_SHAPE]);
    embed_add(&m->embeds[MEASURE_TINT], x, sums[MEASURE_TINT]);
}

// Colours are taken as they are: the other blocks are there for copies that were recoloured.
static void add_colour(const struct measure *m, const struct scene *s, int at, const struct point *p,
                       int32_t (*sums)[MEASURE_FEATURES])
{
    const float light = 100 / (s->spread + 24), colour = 4.0F / SCENE_LEVEL;
    int16_t x[7] = {
        whole(((float)s->plane[0][1][at] - s->mean[0]) * light, 512),
        whole((float)s->plane[1][1][at] * colour, 1024),
        whole((float)s->plane[2][1][at] * colour, 1024),
        whole(p->shape[2] * 200, 200),
        whole(p->shape[4] * 200, 200),
        whole(p->shape[BANDS] * 200, 200),
        whole(p->shape[BANDS + 2] * 200, 200),
    };
    embed_add(&m->embeds[MEASURE_COLOUR], x, sums[MEASURE_COLOUR]);
}

// Where a point is, is told by its distances from the two middle lines, the larger one first: the same in all eight
// ways of turning by 90° and mirroring.
static void add_layout(const struct measure *m, const struct scene *s, int at, const struct point *p,
                       int32_t (*sums)[MEASURE_FEATURES])
{
    const float light = 100 / (s->spread + 24), colour = 3.0F / SCENE_LEVEL;
    int dx = abs(2 * (at % s->width) - s->width) * 384 / s->width;
    int dy = abs(2 * (at / s->width) - s->height) * 384 / s->height;
    int16_t x[6] = {
        whole(((float)s->plane[0][3][at] - s->mean[0]) * light, 512),
        whole(((float)s->plane[1][3][at] - s->mean[1]) * colour, 1024),
        whole(((float)s->plane[2][3][at] - s->mean[2]) * colour, 1024),
        (int16_t)(dx > dy ? dx : dy),
        (int16_t)(dx > dy ? dy : dx),
        whole(p->shape[4] * 200, 200),
    };
    embed_add(&m->embeds[MEASURE_LAYOUT], x, sums[MEASURE_LAYOUT]);
}

static int measure_points(const struct measure *m, const struct scene *s, int32_t (*sums)[MEASURE_FEATURES])
{
    int count = 0;
    for (int y = MARGIN; y < s->height - MARGIN; y += STEP)
        for (int x = MARGIN; x < s->width - MARGIN; x += STEP) {
            int at = y * s->width + x;
            if (!s->mask[at])
                continue;
            struct point p;
            point_shape(s, at, p.shape);
            point_tint(s, at, p.tint);
            add_shape_and_tint(m, &p, sums);
            add_colour(m, s, at, &p, sums);
            add_layout(m, s, at, &p, sums);
            count++;
        }
    return count;
}

void measure_picture(const struct measure *m, const struct pixels *in, float out[MEASURE_DIMENSION])
{
    _cleanup_arena_ struct arena arena = {0};
    struct scene scene;
    int32_t sums[MEASURE_BLOCKS][MEASURE_FEATURES] = {{0}};
    scene_make(&scene, in, &arena);
    int count = measure_points(m, &scene, sums);
    float unit = 1.0F / ((float)EMBED_PEAK * (float)(count > 0 ? count : 1));
    for (int b = 0; b < MEASURE_BLOCKS; b++)
        for (int j = 0; j < MEASURE_FEATURES; j++)
            out[b * MEASURE_FEATURES + j] = (float)sums[b][j] * unit;
}
