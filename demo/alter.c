// SPDX-License-Identifier: Apache-2.0
// Every function takes a three-band 8-bit picture and gives one. What it makes on the way belongs to `scope`, so that
// one unref at the end frees all of it.
#include "alter.h"

#include <math.h>

#include "picture.h"

#define SCOPE(n)                                                                                                       \
    _cleanup_picture_ VipsImage *scope = vips_image_new();                                                             \
    VipsImage **t = (VipsImage **)vips_object_local_array(VIPS_OBJECT(scope), (n))

// The part of each side that stays; off the centre, so that nothing lines up.
static int crop(VipsImage *in, double part, VipsImage **out)
{
    int width = (int)(in->Xsize * part), height = (int)(in->Ysize * part);
    return vips_extract_area(in, out, (int)((in->Xsize - width) * 0.35), (int)((in->Ysize - height) * 0.6), width,
                             height, NULL);
}

static int scale(VipsImage *in, double factor, VipsImage **out)
{
    return vips_resize(in, out, factor, NULL);
}

static int keep(VipsImage *in, double unused, VipsImage **out)
{
    return vips_copy(in, out, NULL);
}

static int quarter_turns(VipsImage *in, double turns, VipsImage **out)
{
    return vips_rot(in, out, (VipsAngle)(int)turns, NULL);
}

// Turned, then cropped to the largest part of the same shape without empty corners, as photo programs do it.
static int straighten(VipsImage *in, double degrees, VipsImage **out)
{
    SCOPE(1);
    double angle = fabs(degrees) * M_PI / 180, long_side = MAX(in->Xsize, in->Ysize),
           short_side = MIN(in->Xsize, in->Ysize);
    double part = 0.99 / (cos(angle) + long_side / short_side * sin(angle));
    int width = (int)(in->Xsize * part), height = (int)(in->Ysize * part);
    if (vips_rotate(in, &t[0], degrees, NULL) < 0)
        return -1;
    return vips_extract_area(t[0], out, (t[0]->Xsize - width) / 2, (t[0]->Ysize - height) / 2, width, height, NULL);
}

static int mirror(VipsImage *in, double direction, VipsImage **out)
{
    return vips_flip(in, out, (VipsDirection)(int)direction, NULL);
}

static int blur(VipsImage *in, double sigma, VipsImage **out)
{
    return vips_gaussblur(in, out, sigma, NULL);
}

static int gains(VipsImage *in, double red, double green, double blue, VipsImage **out)
{
    double factors[] = {red, green, blue}, offsets[] = {0, 0, 0};
    return vips_linear(in, out, factors, offsets, 3, "uchar", TRUE, NULL);
}

static int warm(VipsImage *in, double amount, VipsImage **out)
{
    return gains(in, 1 + amount, 1, 1 - amount, out);
}

static int light(VipsImage *in, double factor, VipsImage **out)
{
    return gains(in, factor, factor, factor, out);
}

static int saturate(VipsImage *in, double factor, VipsImage **out)
{
    SCOPE(2);
    double factors[] = {1, factor, 1}, offsets[] = {0, 0, 0};
    return vips_colourspace(in, &t[0], VIPS_INTERPRETATION_LCH, NULL) < 0 ||
                   vips_linear(t[0], &t[1], factors, offsets, 3, NULL) < 0 ||
                   vips_colourspace(t[1], out, VIPS_INTERPRETATION_sRGB, NULL) < 0
               ? -1
               : 0;
}

static int grey(VipsImage *in, double unused, VipsImage **out)
{
    SCOPE(1);
    return vips_colourspace(in, &t[0], VIPS_INTERPRETATION_B_W, NULL) < 0 ||
                   vips_colourspace(t[0], out, VIPS_INTERPRETATION_sRGB, NULL) < 0
               ? -1
               : 0;
}

// Grey, then the tone of old prints.
static int sepia(VipsImage *in, double unused, VipsImage **out)
{
    SCOPE(1);
    return grey(in, 0, &t[0]) < 0 || gains(t[0], 1.12, 0.94, 0.70, out) < 0 ? -1 : 0;
}

// White words on a dark strip over the lower edge, so high a part of the picture.
static int caption(VipsImage *in, double part, VipsImage **out)
{
    SCOPE(4);
    int width = in->Xsize, height = (int)(in->Ysize * part);
    char font[32];
    g_snprintf(font, sizeof font, "sans bold %d", MAX(8, height * 2 / 5));
    if (vips_text(&t[0], "Wish you were here", "font", font, "dpi", 72, NULL) < 0 ||
        vips_gravity(t[0], &t[1], VIPS_COMPASS_DIRECTION_CENTRE, width, height, NULL) < 0 ||
        vips_linear1(t[1], &t[2], 0.85, 24, "uchar", TRUE, NULL) < 0 ||
        vips_colourspace(t[2], &t[3], VIPS_INTERPRETATION_sRGB, NULL) < 0)
        return -1;
    return vips_insert(in, t[3], out, 0, in->Ysize - height, NULL);
}

// A frame in the colour of paper around the whole picture.
static int frame(VipsImage *in, double part, VipsImage **out)
{
    int edge = (int)(MIN(in->Xsize, in->Ysize) * part);
    double paper[] = {244, 241, 234};
    VipsArrayDouble *background = vips_array_double_new(paper, 3);
    int rc = vips_embed(in, out, edge, edge, in->Xsize + 2 * edge, in->Ysize + 2 * edge, "extend",
                        VIPS_EXTEND_BACKGROUND, "background", background, NULL);
    vips_area_unref(VIPS_AREA(background));
    return rc;
}

static int crop_and_grey(VipsImage *in, double part, VipsImage **out)
{
    SCOPE(1);
    return crop(in, part, &t[0]) < 0 ? -1 : grey(t[0], 0, out);
}

static int crop_and_mirror(VipsImage *in, double part, VipsImage **out)
{
    SCOPE(1);
    return crop(in, part, &t[0]) < 0 ? -1 : mirror(t[0], VIPS_DIRECTION_HORIZONTAL, out);
}

static int small_and_blurred(VipsImage *in, double factor, VipsImage **out)
{
    SCOPE(1);
    return scale(in, factor, &t[0]) < 0 ? -1 : blur(t[0], 1.2, out);
}

static int warm_turned_caption(VipsImage *in, double degrees, VipsImage **out)
{
    SCOPE(2);
    return warm(in, 0.18, &t[0]) < 0 || straighten(t[0], degrees, &t[1]) < 0 ? -1 : caption(t[1], 0.14, out);
}

// A part of a three by three grid: 0 … 8.
static int tile(VipsImage *in, double which, VipsImage **out)
{
    int width = in->Xsize / 3, height = in->Ysize / 3, n = (int)which;
    return vips_extract_area(in, out, n % 3 * width, n / 3 * height, width, height, NULL);
}

const struct alteration alter_copies[] = {
    {"small", "copy, 40 % of the size", scale, 0.4, 85},
    {"dim", "copy, a little darker", light, 0.85, 85},
    {"trim", "copy, trimmed to 90 %", crop, 0.9, 85},
    {"tile2", "part: upper right", tile, 2, 85},
    {"tile3", "part: left", tile, 3, 85},
    {"tile4", "part: the middle", tile, 4, 85},
    {"tile7", "part: below", tile, 7, 85},
    {0},
};

const struct alteration alter_queries[QUERY_KINDS][QUERIES_A_KIND] = {
    {{"Cropped", "cropped to 80 %", crop, 0.8, 85},
     {"Cropped", "cropped to 70 %", crop, 0.7, 85},
     {"Cropped", "cropped to 60 %", crop, 0.6, 85},
     {"Cropped", "cropped to 50 %", crop, 0.5, 85}},
    {{"Made small", "scaled to 12 %", scale, 0.12, 85},
     {"Made small", "scaled to 25 %", scale, 0.25, 85},
     {"Made small", "scaled to 60 %", scale, 0.6, 85},
     {"Made small", "scaled to 8 %", scale, 0.08, 85}},
    {{"Recompressed", "recompressed to quality 20", keep, 0, 20},
     {"Recompressed", "recompressed to quality 15", keep, 0, 15},
     {"Recompressed", "recompressed to quality 10", keep, 0, 10},
     {"Recompressed", "recompressed to quality 5", keep, 0, 5}},
    {{"Tilted", "rotated by 10°", straighten, 10, 85},
     {"Tilted", "rotated by -10°", straighten, -10, 85},
     {"Tilted", "rotated by 5°", straighten, 5, 85},
     {"Tilted", "rotated by 15°", straighten, 15, 85}},
    {{"Turned", "rotated by 90°", quarter_turns, VIPS_ANGLE_D90, 85},
     {"Turned", "rotated by 270°", quarter_turns, VIPS_ANGLE_D270, 85},
     {"Turned", "rotated by 180°", quarter_turns, VIPS_ANGLE_D180, 85},
     {"Turned", "rotated by 90°", quarter_turns, VIPS_ANGLE_D90, 85}},
    {{"Mirrored", "left and right swapped", mirror, VIPS_DIRECTION_HORIZONTAL, 85},
     {"Mirrored", "left and right swapped", mirror, VIPS_DIRECTION_HORIZONTAL, 85},
     {"Mirrored", "left and right swapped", mirror, VIPS_DIRECTION_HORIZONTAL, 85},
     {"Mirrored", "upside down", mirror, VIPS_DIRECTION_VERTICAL, 85}},
    {{"Blurred", "blurred, σ 8 pixels", blur, 8, 85},
     {"Blurred", "blurred, σ 2 pixels", blur, 2, 85},
     {"Blurred", "blurred, σ 4 pixels", blur, 4, 85},
     {"Blurred", "blurred, σ 12 pixels", blur, 12, 85}},
    {{"Colours shifted", "warmer", warm, 0.25, 85},
     {"Colours shifted", "colder", warm, -0.25, 85},
     {"Colours shifted", "paler", saturate, 0.35, 85},
     {"Colours shifted", "gaudier", saturate, 1.6, 85}},
    {{"Without colour", "greyscale", grey, 0, 85},
     {"Without colour", "sepia", sepia, 0, 85},
     {"Without colour", "greyscale", grey, 0, 85},
     {"Without colour", "sepia", sepia, 0, 85}},
    {{"Other light", "half as bright", light, 0.5, 85},
     {"Other light", "brighter by half", light, 1.5, 85},
     {"Other light", "a third as bright", light, 0.33, 85},
     {"Other light", "brighter by 30 %", light, 1.3, 85}},
    {{"Written on", "with a caption", caption, 0.16, 85},
     {"Written on", "with a small caption", caption, 0.1, 85},
     {"Written on", "with a large caption", caption, 0.24, 85},
     {"Written on", "in a frame", frame, 0.05, 85}},
    {{"All at once", "warmer, rotated by 4°, with a caption", warm_turned_caption, 4, 60},
     {"All at once", "cropped to 75 %, greyscale", crop_and_grey, 0.75, 60},
     {"All at once", "cropped to 75 %, mirrored", crop_and_mirror, 0.75, 60},
     {"All at once", "scaled to 15 %, blurred", small_and_blurred, 0.15, 40}},
};

int alter_make(const struct alteration *how, VipsImage *in, VipsImage **out, struct error *err)
{
    return how->make(in, how->amount, out) < 0 ? picture_error(err, how->label) : 0;
}
