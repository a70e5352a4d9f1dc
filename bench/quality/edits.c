// SPDX-License-Identifier: Apache-2.0
#include "edits.h"

#include <math.h>
#include <stdlib.h>
#include <vips/vips.h>

#include "corpus.h"

const struct edit_info edit_infos[EDIT_COUNT] = {
#define EDIT(symbol, name, goal, heavy) {name, goal, heavy},
#include "edits.def"
#undef EDIT
};

uint32_t random_next(uint64_t *seed)
{
    uint64_t z = *seed += 0x9E3779B97F4A7C15U;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}

double random_between(uint64_t *seed, double lo, double hi)
{
    return lo + (hi - lo) * random_next(seed) / 4294967296.0;
}

// Keeps `share` of the area, at a random place.
static int crop(VipsImage *in, VipsImage **out, double share, uint64_t *seed)
{
    int w = (int)(in->Xsize * sqrt(share)), h = (int)(in->Ysize * sqrt(share));
    w = w < 1 ? 1 : w;
    h = h < 1 ? 1 : h;
    int x = (int)random_between(seed, 0, in->Xsize - w + 1), y = (int)random_between(seed, 0, in->Ysize - h + 1);
    return vips_extract_area(in, out, x, y, w, h, NULL);
}

static int rotate10(VipsImage *in, VipsImage **out, uint64_t *seed)
{
    return vips_similarity(in, out, "angle", random_next(seed) % 2 ? 10.0 : -10.0, NULL);
}

static int scale25(VipsImage *in, VipsImage **out)
{
    double edge = in->Xsize > in->Ysize ? in->Xsize : in->Ysize;
    return vips_resize(in, out, fmin(0.25 * EDGE_EXTRACT / edge, 1.0), NULL); // a quarter of what the original gives
}

static int recompress(VipsImage *in, VipsImage **out, int quality)
{
    void *data = NULL;
    size_t size = 0;
    if (vips_jpegsave_buffer(in, &data, &size, "Q", quality, NULL))
        return -1;
    VipsImage *back = vips_image_new_from_buffer(data, size, "", NULL);
    *out = back ? vips_image_copy_memory(back) : NULL;
    if (back)
        g_object_unref(back);
    g_free(data);
    return *out ? 0 : -1;
}

static int blur(VipsImage *in, VipsImage **out)
{
    return vips_gaussblur(in, out, fmax(in->Xsize, in->Ysize) / 200.0, NULL);
}

// A dark band over the foot of the picture with light "letters": random 3 × 5 patterns, as no font is needed.
static int caption(VipsImage *in, VipsImage **out, uint64_t *seed)
{
    VipsImage *copy = vips_image_copy_memory(in);
    if (!copy)
        return -1;
    int w = copy->Xsize, h = copy->Ysize, band = h * 15 / 100, dot = band / 9 > 0 ? band / 9 : 1;
    uint8_t *pixels = (uint8_t *)VIPS_IMAGE_ADDR(copy, 0, 0);
    for (int y = h - band; y < h; y++)
        for (int x = 0; x < w * 3; x++)
            pixels[(size_t)y * (size_t)w * 3 + (size_t)x] = 16;
    for (int left = dot * 2; left + 3 * dot < w - dot; left += 4 * dot) {
        uint32_t pattern = random_next(seed);
        for (int y = 0; y < 5 * dot; y++)
            for (int x = 0; x < 3 * dot; x++)
                if (pattern >> (y / dot * 3 + x / dot) & 1)
                    memset(&pixels[((size_t)(h - band + 2 * dot + y) * (size_t)w + (size_t)(left + x)) * 3], 240, 3);
    }
    *out = copy;
    return 0;
}

static int gain(VipsImage *in, VipsImage **out, const double *a, const double *b)
{
    VipsImage *wide = NULL;
    int rc = vips_linear(in, &wide, a, b, 3, NULL) || vips_cast(wide, out, VIPS_FORMAT_UCHAR, NULL);
    if (wide)
        g_object_unref(wide);
    return rc ? -1 : 0;
}

static int cast(VipsImage *in, VipsImage **out, uint64_t *seed)
{
    double a[3], b[3] = {0, 0, 0};
    for (int i = 0; i < 3; i++)
        a[i] = random_between(seed, 0.75, 1.25);
    return gain(in, out, a, b);
}

static int contrast(VipsImage *in, VipsImage **out, uint64_t *seed)
{
    double slope = random_between(seed, 0.7, 1.4), shift = random_between(seed, -30, 30) + 128 * (1 - slope);
    return gain(in, out, (double[]){slope, slope, slope}, (double[]){shift, shift, shift});
}

static int grey(VipsImage *in, VipsImage **out)
{
    VipsImage *one = NULL, *three[3];
    if (vips_colourspace(in, &one, VIPS_INTERPRETATION_B_W, NULL))
        return -1;
    three[0] = three[1] = three[2] = one;
    VipsImage *joined = NULL;
    int rc = vips_bandjoin(three, &joined, 3, NULL) ||
             vips_copy(joined, out, "interpretation", VIPS_INTERPRETATION_sRGB, NULL);
    g_object_unref(one);
    if (joined)
        g_object_unref(joined);
    return rc ? -1 : 0;
}

static VipsImage *wrap(const struct pixels *p)
{
    VipsImage *view = vips_image_new_from_memory(p->data, pixels_bytes(p), p->width, p->height, 3, VIPS_FORMAT_UCHAR);
    VipsImage *out = NULL;
    if (view && vips_copy(view, &out, "interpretation", VIPS_INTERPRETATION_sRGB, NULL))
        out = NULL;
    if (view)
        g_object_unref(view);
    return out;
}

// The picture and another, side by side, at the same height.
static int collage(VipsImage *in, VipsImage **out, const struct pixels *other, uint64_t *seed)
{
    VipsImage *neighbour = wrap(other), *fitted = NULL;
    if (!neighbour)
        return -1;
    double by = (double)in->Ysize / neighbour->Ysize;
    int rc = vips_resize(neighbour, &fitted, by, "vscale", by, NULL);
    if (rc == 0) {
        bool first = random_next(seed) % 2;
        rc = vips_join(first ? in : fitted, first ? fitted : in, out, VIPS_DIRECTION_HORIZONTAL, "expand", TRUE, NULL);
    }
    g_object_unref(neighbour);
    if (fitted)
        g_object_unref(fitted);
    return rc;
}

static int one(enum edit edit, VipsImage *in, VipsImage **out, const struct pixels *other, uint64_t *seed)
{
    switch (edit) {
    case EDIT_CROP80:
        return crop(in, out, 0.8, seed);
    case EDIT_CROP50:
        return crop(in, out, 0.5, seed);
    case EDIT_ROTATE90:
        return vips_rot(in, out, random_next(seed) % 2 ? VIPS_ANGLE_D90 : VIPS_ANGLE_D270, NULL);
    case EDIT_ROTATE180:
        return vips_rot(in, out, VIPS_ANGLE_D180, NULL);
    case EDIT_ROTATE10:
        return rotate10(in, out, seed);
    case EDIT_FLIP:
        return vips_flip(in, out, VIPS_DIRECTION_HORIZONTAL, NULL);
    case EDIT_SCALE25:
        return scale25(in, out);
    case EDIT_JPEG20:
        return recompress(in, out, 20);
    case EDIT_BLUR:
        return blur(in, out);
    case EDIT_CAPTION:
        return caption(in, out, seed);
    case EDIT_CAST:
        return cast(in, out, seed);
    case EDIT_CONTRAST:
        return contrast(in, out, seed);
    case EDIT_GREY:
        return grey(in, out);
    case EDIT_COLLAGE:
        return collage(in, out, other, seed);
    default:
        return vips_copy(in, out, NULL);
    }
}

// Three different edits, in a random order.
static int heavy(VipsImage *in, VipsImage **out, const struct pixels *other, uint64_t *seed)
{
    bool used[EDIT_COUNT] = {false};
    VipsImage *now = g_object_ref(in);
    for (int done = 0; done < 3;) {
        enum edit edit = random_next(seed) % EDIT_COUNT;
        if (used[edit] || !edit_infos[edit].heavy)
            continue;
        used[edit] = true;
        VipsImage *next = NULL;
        int rc = one(edit, now, &next, other, seed);
        g_object_unref(now);
        if (rc)
            return -1;
        now = next;
        done++;
    }
    *out = now;
    return 0;
}

int edit_apply(enum edit edit, const struct pixels *in, const struct pixels *other, uint64_t seed, struct pixels *out)
{
    VipsImage *source = wrap(in), *edited = NULL, *stored = NULL;
    if (!source)
        return -1;
    int rc = edit == EDIT_HEAVY ? heavy(source, &edited, other, &seed) : one(edit, source, &edited, other, &seed);
    rc = rc || recompress(edited, &stored, 90) ? -1 : 0;
    if (rc == 0) {
        size_t size = 0;
        struct pixels view = {.width = stored->Xsize, .height = stored->Ysize};
        view.data = vips_image_write_to_memory(stored, &size);
        shrink_to(&view, EDGE_EXTRACT, out);
        g_free(view.data);
    }
    g_object_unref(source);
    if (edited)
        g_object_unref(edited);
    if (stored)
        g_object_unref(stored);
    return rc;
}
