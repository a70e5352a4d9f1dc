// SPDX-License-Identifier: Apache-2.0
// Makes the pictures that Python's standard library cannot: `pictures FOLDER` writes one of each kind into FOLDER and
// prints the names of those that this machine's libvips can write. Every picture shows the same gradients and stripes,
// EDGE_X x EDGE_Y pixels.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vips/vips.h>

enum { EDGE_X = 160, EDGE_Y = 120, FRAMES = 3 };

// `bands` bands of 8 bits, `frames` below each other.
static VipsImage *paint(int bands, int frames, VipsInterpretation meaning)
{
    size_t len = (size_t)EDGE_X * EDGE_Y * frames * bands;
    unsigned char *pixels = malloc(len);
    if (!pixels)
        abort();
    for (size_t i = 0; i < len; i++) {
        size_t band = i % bands, x = i / bands % EDGE_X, y = i / bands / EDGE_X;
        pixels[i] = (unsigned char)(band == 0   ? x * 255 / EDGE_X
                                    : band == 1 ? y * 2
                                                : (x / 20 + y / 20 + band) % 2 * 200);
    }
    VipsImage *image = vips_image_new_from_memory_copy(pixels, len, EDGE_X, EDGE_Y * frames, bands, VIPS_FORMAT_UCHAR);
    free(pixels);
    VipsImage *copy;
    if (!image || vips_copy(image, &copy, "interpretation", meaning, NULL) < 0)
        vips_error_exit("cannot paint");
    g_object_unref(image);
    return copy;
}

// Saves under `name`, whose ending says the format, and prints the name when that worked. Takes the image.
static void save(const char *folder, const char *name, VipsImage *image)
{
    char *path = g_build_filename(folder, name, NULL);
    if (vips_image_write_to_file(image, path, NULL) == 0) {
        printf("%s\n", name);
    } else {
        fprintf(stderr, "%s: %s\n", name, vips_error_buffer());
        vips_error_clear();
        remove(path);
    }
    g_free(path);
    g_object_unref(image);
}

static VipsImage *rgb(void)
{
    return paint(3, 1, VIPS_INTERPRETATION_sRGB);
}

static VipsImage *animated(void)
{
    VipsImage *image = paint(3, FRAMES, VIPS_INTERPRETATION_sRGB);
    vips_image_set_int(image, VIPS_META_PAGE_HEIGHT, EDGE_Y);
    return image;
}

static VipsImage *rotated(void)
{
    VipsImage *image = rgb();
    vips_image_set_int(image, VIPS_META_ORIENTATION, 6); // to be shown turned by a quarter
    return image;
}

static VipsImage *deep(void)
{
    VipsImage *image = rgb(), *wide, *out;
    if (vips_linear1(image, &wide, 257, 0, NULL) < 0 || vips_cast_ushort(wide, &out, NULL) < 0)
        vips_error_exit("cannot deepen");
    g_object_unref(image);
    g_object_unref(wide);
    VipsImage *copy;
    if (vips_copy(out, &copy, "interpretation", VIPS_INTERPRETATION_RGB16, NULL) < 0)
        vips_error_exit("cannot deepen");
    g_object_unref(out);
    return copy;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "pictures FOLDER\n");
        return 2;
    }
    if (VIPS_INIT(argv[0]))
        vips_error_exit("cannot start");
    const char *folder = argv[1];
    save(folder, "plain.jpg", rgb());
    save(folder, "plain.png", rgb());
    save(folder, "plain.gif", rgb());
    save(folder, "plain.webp", rgb());
    save(folder, "plain.avif", rgb());
    save(folder, "plain.heic", rgb());
    save(folder, "cmyk.jpg", paint(4, 1, VIPS_INTERPRETATION_CMYK));
    save(folder, "grey.jpg", paint(1, 1, VIPS_INTERPRETATION_B_W));
    save(folder, "alpha.png", paint(4, 1, VIPS_INTERPRETATION_sRGB));
    save(folder, "deep.png", deep());
    save(folder, "rotated.jpg", rotated());
    save(folder, "animated.gif", animated());
    save(folder, "animated.webp", animated());
    vips_shutdown();
    return 0;
}
