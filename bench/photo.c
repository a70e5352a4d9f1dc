// SPDX-License-Identifier: Apache-2.0
#include "photo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <vips/vips.h>

#include "bench.h"
#include "media/image.h"

enum { OBJECTS = 14, QUALITY = 85, QUALITY_MOST = 98 };

static uint32_t next_random(uint64_t *state) // splitmix64's upper half
{
    uint64_t z = *state += 0x9E3779B97F4A7C15U;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}

static int between(uint64_t *state, int least, int most)
{
    return least + (int)(next_random(state) % (uint32_t)(most - least + 1));
}

// Adds one octave: random values on a grid of `cell` pixels, interpolated, -strength … strength.
static void add_octave(int16_t *plane, int width, int height, int cell, int strength, uint64_t *seed)
{
    int across = width / cell + 2, down = height / cell + 2;
    int *grid = malloc((size_t)across * (size_t)down * sizeof *grid);
    if (!grid)
        bench_fail("no memory for a photo");
    for (int i = 0; i < across * down; i++)
        grid[i] = between(seed, -strength * 16, strength * 16);
    for (int y = 0; y < height; y++) {
        const int *upper = grid + (size_t)(y / cell) * (size_t)across, *lower = upper + across;
        int fy = y % cell;
        for (int x = 0; x < width; x++) {
            int i = x / cell, fx = x % cell;
            int left = upper[i] * (cell - fy) + lower[i] * fy;
            int right = upper[i + 1] * (cell - fy) + lower[i + 1] * fy;
            int64_t sum = (int64_t)left * (cell - fx) + (int64_t)right * fx;
            plane[(size_t)y * (size_t)width + (size_t)x] += (int16_t)(sum / cell / cell / 16);
        }
    }
    free(grid);
}

static void paint_object(int16_t *planes[3], int width, int height, uint64_t *seed)
{
    int cx = between(seed, 0, width - 1), cy = between(seed, 0, height - 1);
    int rx = between(seed, width / 40 + 1, width / 6 + 1), ry = between(seed, height / 40 + 1, height / 6 + 1);
    bool round = next_random(seed) & 1;
    int colour[3] = {between(seed, -70, 70), between(seed, -40, 40), between(seed, -40, 40)};
    for (int y = cy - ry < 0 ? 0 : cy - ry; y < height && y < cy + ry; y++)
        for (int x = cx - rx < 0 ? 0 : cx - rx; x < width && x < cx + rx; x++) {
            double dx = (double)(x - cx) / rx, dy = (double)(y - cy) / ry;
            if (round && dx * dx + dy * dy > 1)
                continue;
            for (int p = 0; p < 3; p++) {
                int16_t *at = &planes[p][(size_t)y * (size_t)width + (size_t)x];
                *at = (int16_t)(*at / 2 + colour[p]);
            }
        }
}

static unsigned char clamp(int v)
{
    return (unsigned char)(v < 0 ? 0 : v > 255 ? 255 : v);
}

// Light and two colour differences, then RGB with grain.
static unsigned char *paint(int width, int height, uint64_t seed)
{
    size_t count = (size_t)width * (size_t)height;
    int16_t *planes[3];
    for (int p = 0; p < 3; p++) {
        planes[p] = calloc(count, sizeof *planes[p]);
        if (!planes[p])
            bench_fail("no memory for a photo");
        int finest = p ? 32 : 4, strength = p ? 24 : 60; // colours vary more slowly than light
        for (int cell = width / 3; cell >= finest; cell /= 2, strength = strength * 5 / 8)
            add_octave(planes[p], width, height, cell, strength, &seed);
    }
    for (int i = 0; i < OBJECTS; i++)
        paint_object(planes, width, height, &seed);
    unsigned char *rgb = malloc(count * 3);
    if (!rgb)
        bench_fail("no memory for a photo");
    for (size_t i = 0; i < count; i++) {
        uint32_t grain = next_random(&seed);
        int light = 128 + planes[0][i] + (int)(grain & 7) + (int)(grain >> 3 & 7) - 7;
        rgb[3 * i] = clamp(light + planes[1][i]);
        rgb[3 * i + 1] = clamp(light - (planes[1][i] + planes[2][i]) / 3);
        rgb[3 * i + 2] = clamp(light + planes[2][i]);
    }
    for (int p = 0; p < 3; p++)
        free(planes[p]);
    return rgb;
}

static void compress(const unsigned char *rgb, int width, int height, int quality, struct photo *out)
{
    size_t len = (size_t)width * (size_t)height * 3;
    VipsImage *image = vips_image_new_from_memory(rgb, len, width, height, 3, VIPS_FORMAT_UCHAR), *srgb = NULL;
    void *data = NULL;
    if (!image || vips_copy(image, &srgb, "interpretation", VIPS_INTERPRETATION_sRGB, NULL) < 0 ||
        vips_jpegsave_buffer(srgb, &data, &out->len, "Q", quality, "strip", TRUE, NULL) < 0)
        bench_fail("a photo cannot be made: %s", vips_error_buffer());
    out->data = malloc(out->len);
    if (!out->data)
        bench_fail("no memory for a photo");
    memcpy(out->data, data, out->len);
    g_free(data);
    g_object_unref(srgb);
    g_object_unref(image);
}

// The best quality up to `*most` whose file has at most `bytes`, filled up to them; `*most` becomes that quality.
static void compress_to(const unsigned char *rgb, int width, int height, size_t bytes, int *most, struct photo *out)
{
    int least = 1;
    for (int quality = *most; least < *most; quality = (least + *most + 1) / 2) {
        compress(rgb, width, height, quality, out);
        free(out->data);
        if (out->len <= bytes)
            least = quality;
        else
            *most = quality - 1;
    }
    compress(rgb, width, height, *most, out);
    if (out->len > bytes)
        bench_fail("no %d × %d photo fits in %zu bytes", width, height, bytes);
    out->data = realloc(out->data, bytes);
    if (!out->data)
        bench_fail("no memory for a photo");
    memset(out->data + out->len, 0, bytes - out->len);
    out->len = bytes;
}

void photos_make(int width, int height, size_t bytes, struct photo *out, size_t count)
{
    struct error err = {0};
    bench_check(image_init(&err), &err);
    int quality = QUALITY_MOST;
    for (size_t i = 0; i < count; i++) {
        unsigned char *rgb = paint(width, height, i + 1);
        if (bytes)
            compress_to(rgb, width, height, bytes, &quality, &out[i]);
        else
            compress(rgb, width, height, QUALITY, &out[i]);
        free(rgb);
    }
}

void photos_free(struct photo *photos, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(photos[i].data);
}

void photo_tail(char out[TAIL_LEN + 1])
{
    static _Atomic uint32_t number;
    static uint64_t run;
    if (!run)
        run = (uint64_t)time(NULL) << 20 | ((uint64_t)getpid() & 0xfffff);
    snprintf(out, TAIL_LEN + 1, "%016llx%08x", (unsigned long long)run, (unsigned)number++);
}
