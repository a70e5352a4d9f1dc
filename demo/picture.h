// SPDX-License-Identifier: Apache-2.0
// Pictures as libvips has them, always three 8-bit sRGB bands here.
#ifndef DEEPLENS_DEMO_PICTURE_H
#define DEEPLENS_DEMO_PICTURE_H

#include <vips/vips.h>

#include "base/cleanup.h"
#include "base/error.h"

DEFINE_CLEANUP(VipsImage *, picture, g_object_unref)
#define _cleanup_picture_ _cleanup_(cleanup_picture)

// The picture in `path`, fitted into a square of `edge` pixels (never enlarged), in memory.
int picture_load(const char *path, int edge, VipsImage **out, struct error *err);

// As above, but cropped to fill exactly width × height; small pictures are enlarged.
int picture_fill(const char *path, int width, int height, VipsImage **out, struct error *err);

// A JPEG that picture_save_jpeg wrote, as it is.
int picture_open(const char *path, VipsImage **out, struct error *err);

int picture_save_jpeg(VipsImage *in, const char *path, int quality, struct error *err);

// Fails with what libvips has to say, and empties its list of errors. Always returns -1.
int picture_error(struct error *err, const char *what);

#endif
