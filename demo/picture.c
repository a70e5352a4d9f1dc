// SPDX-License-Identifier: Apache-2.0
#include "picture.h"

#include <string.h>

int picture_error(struct error *err, const char *what)
{
    error_set(err, ERR_INTERNAL, "%.150s: %.*s", what, (int)strcspn(vips_error_buffer(), "\n"), vips_error_buffer());
    vips_error_clear();
    return -1;
}

// Three bands, 8 bits, sRGB, alpha over white, in memory.
static int normalise(VipsImage *in, VipsImage **out)
{
    _cleanup_picture_ VipsImage *scope = vips_image_new();
    VipsImage **t = (VipsImage **)vips_object_local_array(VIPS_OBJECT(scope), 3);
    VipsArrayDouble *white = vips_array_double_newv(1, 255.0);
    int rc = vips_colourspace(in, &t[0], VIPS_INTERPRETATION_sRGB, NULL);
    if (rc == 0 && vips_image_hasalpha(t[0]))
        rc = vips_flatten(t[0], &t[1], "background", white, NULL);
    else if (rc == 0)
        rc = vips_copy(t[0], &t[1], NULL);
    vips_area_unref(VIPS_AREA(white));
    if (rc < 0 || vips_cast_uchar(t[1], &t[2], NULL) < 0)
        return -1;
    *out = vips_image_copy_memory(t[2]);
    return *out ? 0 : -1;
}

int picture_load(const char *path, int edge, VipsImage **out, struct error *err)
{
    _cleanup_picture_ VipsImage *small = NULL;
    if (vips_thumbnail(path, &small, edge, "height", edge, "size", VIPS_SIZE_DOWN, "export_profile", "srgb", NULL) <
            0 ||
        normalise(small, out) < 0)
        return picture_error(err, path);
    return 0;
}

int picture_fill(const char *path, int width, int height, VipsImage **out, struct error *err)
{
    _cleanup_picture_ VipsImage *small = NULL;
    if (vips_thumbnail(path, &small, width, "height", height, "crop", VIPS_INTERESTING_CENTRE, "export_profile", "srgb",
                       NULL) < 0 ||
        normalise(small, out) < 0)
        return picture_error(err, path);
    return 0;
}

int picture_open(const char *path, VipsImage **out, struct error *err)
{
    _cleanup_picture_ VipsImage *file = vips_image_new_from_file(path, NULL);
    VipsImage *memory = file ? vips_image_copy_memory(file) : NULL;
    if (!memory)
        return picture_error(err, path);
    *out = memory;
    return 0;
}

int picture_save_jpeg(VipsImage *in, const char *path, int quality, struct error *err)
{
    return vips_jpegsave(in, path, "Q", quality, "strip", TRUE, NULL) < 0 ? picture_error(err, path) : 0;
}
