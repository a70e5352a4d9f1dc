// SPDX-License-Identifier: Apache-2.0
// Two things deserve a word.
//
// Borders. A rotated copy comes with black or white corners, a caption with a bar, a screenshot with a frame.
// Such plain regions at the border in near-black or near-white are masked, and treated like what lies beyond the
// picture: blurs average over what is left, nothing is measured there, and the picture is brought to the size
// that gives what is left its usual area. Without this, a turn by 10° is hardly ever found.
//
// Blurs. Each is a box over the one before, which soon comes near to a Gaussian; running sums make its cost
// independent of its radius. Sums are integers; the division is one multiplication by a float reciprocal, a
// single correctly rounded operation, so that the result is the same everywhere.
#include "backends/extractor/builtin_scene.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/simd.h"

enum {
    EDGE = 100, // a picture is brought to an area of EDGE × EDGE …
    EDGE_MIN = 16,
    EDGE_MAX = 640,     // … or less, when it is very long and thin
    PLAIN_EXTREME = 14, // plain borders are this near to black or white …
    PLAIN_RANGE = 8,    // … and vary by no more than this from pixel to pixel
    PLAIN_GROWTH = 2,   // pixels around them that the edge has touched
    ACTIVITY_RADIUS = 12,
};

static const int radii[SCENE_BLURS] = {1, 2, 3, 5, 8, 13};

static int clamp(int v, int lo, int hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

// The nearest length from whose middle the points of measurement (every third pixel, two from the ends) lie alike
// to both sides: a mirrored copy is then measured at the very same points.
static int even(double length)
{
    return (clamp((int)(length + 0.5), EDGE_MIN, EDGE_MAX) - 4) / 3 * 3 + 5;
}

// Brings the picture to the area of EDGE × EDGE, divided by `share`, and into brightness and opponent colours.
static void bring(const struct pixels *in, double share, struct arena *arena, struct pixels *out)
{
    double scale = EDGE / sqrt((double)in->width * in->height * share);
    struct pixels small;
    pixels_resize(in, even(in->width * scale), even(in->height * scale), &small);
    *out = small;
    out->data = arena_alloc(arena, pixels_bytes(&small));
    for (size_t i = 0; i < pixels_bytes(&small); i += 3) {
        int red = small.data[i], green = small.data[i + 1], blue = small.data[i + 2];
        out->data[i] = (uint8_t)((red + 2 * green + blue) >> 2);
        out->data[i + 1] = (uint8_t)((red - green + 256) >> 1);
        out->data[i + 2] = (uint8_t)((2 * blue - red - green + 512) >> 2);
    }
    pixels_free(&small);
}

static bool is_plain(const struct pixels *p, int x, int y)
{
    int here = p->data[3 * (y * p->width + x)], lo = here, hi = here;
    if (here >= PLAIN_EXTREME + PLAIN_RANGE && here <= 255 - PLAIN_EXTREME - PLAIN_RANGE)
        return false;
    for (int v = y > 0 ? y - 1 : 0; v <= y + 1 && v < p->height; v++)
        for (int u = x > 0 ? x - 1 : 0; u <= x + 1 && u < p->width; u++) {
            int value = p->data[3 * (v * p->width + u)];
            lo = value < lo ? value : lo;
            hi = value > hi ? value : hi;
        }
    return hi - lo <= PLAIN_RANGE && (hi < PLAIN_EXTREME || lo > 255 - PLAIN_EXTREME);
}

static void mask_around(uint8_t *mask, int width, int height, int at)
{
    int x = at % width, y = at / width;
    for (int v = y - PLAIN_GROWTH; v <= y + PLAIN_GROWTH; v++)
        for (int u = x - PLAIN_GROWTH; u <= x + PLAIN_GROWTH; u++)
            if (u >= 0 && v >= 0 && u < width && v < height)
                mask[v * width + u] = 0;
}

// Floods the plain region inwards from the border. Returns the share of the picture that is left.
static double mask_make(const struct pixels *p, struct arena *arena, uint8_t **out)
{
    enum { BUSY, PLAIN, REACHED };
    int w = p->width, h = p->height, n = w * h, waiting = 0;
    uint8_t *mask = arena_alloc(arena, (size_t)n), *kind = arena_alloc(arena, (size_t)n);
    int *stack = arena_alloc(arena, (size_t)n * sizeof(int));
    memset(mask, 1, (size_t)n);
    for (int i = 0; i < n; i++) {
        int x = i % w, y = i / w;
        kind[i] = is_plain(p, x, y) ? PLAIN : BUSY;
        if (kind[i] == PLAIN && (x == 0 || y == 0 || x == w - 1 || y == h - 1)) {
            kind[i] = REACHED;
            stack[waiting++] = i;
        }
    }
    while (waiting > 0) {
        int i = stack[--waiting], x = i % w, y = i / w;
        mask_around(mask, w, h, i);
        const int next[4] = {x > 0 ? i - 1 : i, x < w - 1 ? i + 1 : i, y > 0 ? i - w : i, y < h - 1 ? i + w : i};
        for (int k = 0; k < 4; k++)
            if (kind[next[k]] == PLAIN) {
                kind[next[k]] = REACHED;
                stack[waiting++] = next[k];
            }
    }
    int left = 0;
    for (int i = 0; i < n; i++)
        left += mask[i];
    *out = mask;
    return (double)left / n;
}

// Running sums along one row, over the window of ±radius cut at its ends. Wide windows may cover the whole row.
static void row_sums(const int16_t *values, int w, int radius, int32_t *out)
{
    int32_t sum = 0;
    int x = 0;
    for (int i = 0; i < radius && i < w; i++)
        sum += values[i];
    for (; x <= radius && x < w; x++) {
        sum += x + radius < w ? values[x + radius] : 0;
        out[x] = sum;
    }
    for (; x + radius < w; x++)
        out[x] = sum += values[x + radius] - values[x - radius - 1];
    for (; x < w; x++)
        out[x] = sum -= values[x - radius - 1];
}

static void row_add(int32_t *restrict sums, const int32_t *restrict row, int w)
{
    for (int x = 0; x < w; x++)
        sums[x] += row[x];
}

static void row_subtract(int32_t *restrict sums, const int32_t *restrict row, int w)
{
    for (int x = 0; x < w; x++)
        sums[x] -= row[x];
}

// The same for whole rows, and so over windows of both directions.
SIMD_CLONES static void window_sums(const int16_t *values, int w, int h, int radius, int32_t *rows, int32_t *out)
{
    for (int y = 0; y < h; y++)
        row_sums(values + y * w, w, radius, rows + y * w);
    int32_t *first = out;
    memset(first, 0, (size_t)w * sizeof(int32_t));
    for (int y = 0; y <= radius && y < h; y++)
        for (int x = 0; x < w; x++)
            first[x] += rows[y * w + x];
    for (int y = 1; y < h; y++) {
        int32_t *sums = out + y * w;
        memcpy(sums, sums - w, (size_t)w * sizeof(int32_t));
        if (y + radius < h)
            row_add(sums, rows + (y + radius) * w, w);
        if (y - radius > 0)
            row_subtract(sums, rows + (y - radius - 1) * w, w);
    }
}

struct blur {
    int width, height;
    const uint8_t *mask;
    int16_t *masked;
    int32_t *rows, *sums;
    float *share; // one over the number of unmasked pixels in the window
};

SIMD_CLONES static void blur_prepare(struct blur *b, int radius)
{
    int n = b->width * b->height;
    for (int i = 0; i < n; i++)
        b->masked[i] = b->mask[i];
    window_sums(b->masked, b->width, b->height, radius, b->rows, b->sums);
    for (int i = 0; i < n; i++)
        b->share[i] = b->sums[i] > 0 ? 1.0F / (float)b->sums[i] : 0;
}

// With the radius that was prepared. A window's sum stays below 2^24, where floats hold every integer.
SIMD_CLONES static void blur_run(struct blur *b, const int16_t *in, int radius, int16_t *out)
{
    int n = b->width * b->height;
    for (int i = 0; i < n; i++)
        b->masked[i] = (int16_t)(in[i] * b->mask[i]);
    window_sums(b->masked, b->width, b->height, radius, b->rows, b->sums);
    for (int i = 0; i < n; i++)
        out[i] = (int16_t)((float)b->sums[i] * b->share[i]);
}

static void scene_blur(struct scene *s, struct arena *arena)
{
    size_t n = (size_t)s->width * (size_t)s->height;
    struct blur b = {.width = s->width, .height = s->height, .mask = s->mask};
    b.masked = arena_alloc(arena, n * sizeof(int16_t));
    b.rows = arena_alloc(arena, n * sizeof(int32_t));
    b.sums = arena_alloc(arena, n * sizeof(int32_t));
    b.share = arena_alloc(arena, n * sizeof(float));
    for (int k = 0; k < SCENE_BLURS; k++) {
        blur_prepare(&b, radii[k]);
        for (int c = 0; c < (k < SCENE_COLOUR_BLURS ? 3 : 1); c++) {
            s->plane[c][k + 1] = arena_alloc(arena, n * sizeof(int16_t));
            blur_run(&b, s->plane[c][k], radii[k], s->plane[c][k + 1]);
        }
    }
    int16_t *activity = arena_alloc(arena, n * sizeof(int16_t));
    for (size_t i = 0; i < n; i++)
        activity[i] = (int16_t)abs(s->plane[0][1][i] - s->plane[0][5][i]);
    blur_prepare(&b, ACTIVITY_RADIUS);
    blur_run(&b, activity, ACTIVITY_RADIUS, activity);
    blur_run(&b, activity, ACTIVITY_RADIUS, activity);
    s->activity = activity;
}

static void scene_statistics(struct scene *s)
{
    int n = s->width * s->height, count = 0;
    int64_t sum[3] = {0}, distance = 0;
    for (int i = 0; i < n; i++)
        if (s->mask[i]) {
            count++;
            for (int c = 0; c < 3; c++)
                sum[c] += s->plane[c][1][i];
        }
    if (!count) // nothing of the picture counts: its sums are zero as well
        count = 1;
    int64_t mean[3]; // whole numbers, the same on every machine
    for (int c = 0; c < 3; c++) {
        mean[c] = sum[c] / count;
        s->mean[c] = (float)mean[c];
    }
    for (int i = 0; i < n; i++)
        if (s->mask[i])
            distance += llabs(s->plane[0][1][i] - mean[0]);
    distance /= count;
    s->spread = (float)distance;
}

void scene_make(struct scene *s, const struct pixels *in, struct arena *arena)
{
    struct pixels p;
    uint8_t *mask;
    bring(in, 1, arena, &p);
    double left = mask_make(&p, arena, &mask);
    if (left < 0.15) { // a picture that is plain
        memset(mask, 1, (size_t)p.width * (size_t)p.height);
    } else if (left < 0.97) {
        bring(in, left, arena, &p);
        if (mask_make(&p, arena, &mask) < 0.15)
            memset(mask, 1, (size_t)p.width * (size_t)p.height);
    }
    *s = (struct scene){.width = p.width, .height = p.height, .mask = mask};
    size_t n = (size_t)p.width * (size_t)p.height;
    for (int c = 0; c < 3; c++) {
        int16_t *plane = s->plane[c][0] = arena_alloc(arena, n * sizeof(int16_t));
        for (size_t i = 0; i < n; i++)
            plane[i] = (int16_t)((p.data[3 * i + (size_t)c] - (c > 0 ? 128 : 0)) * SCENE_LEVEL);
    }
    scene_blur(s, arena);
    scene_statistics(s);
}
