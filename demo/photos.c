// SPDX-License-Identifier: Apache-2.0
#include "photos.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "jobs.h"

enum { EDGE_MIN = 600, JUDGED_EDGE = 256, BASE_QUALITY = 92, PIXELS_MAX = 16000000, PIXELS_MAX_PNG = 6000000 };
static const double CONTRAST_MIN = 14, DETAIL_MIN = 1.6, SAME = 0.96;

void photos_free(struct photos *p)
{
    free(p->list);
    *p = (struct photos){0};
}

static bool contains(const char *path, const char *part)
{
    return strstr(path, part) != NULL;
}

// The file's name; for /wallpapers/NAME/contents/images/5120x2880.png, where every file is called alike, the folder's.
static void name_photo(struct photo *photo)
{
    char text[PATH_LENGTH];
    g_strlcpy(text, photo->path, sizeof text);
    char *contents = strstr(text, "/contents/");
    if (contents)
        *contents = 0;
    char *name = strrchr(text, '/');
    name = name ? name + 1 : text;
    char *dot = contents ? NULL : strrchr(name, '.');
    if (dot)
        *dot = 0;
    size_t n = 0;
    for (; *name && n < PHOTO_NAME - 1; name++) {
        char c = isalnum((unsigned char)*name) ? *name : '_';
        if (c != '_' || (n && photo->name[n - 1] != '_'))
            photo->name[n++] = c;
    }
    photo->name[n] = 0;
}

static int read_paths(FILE *paths, struct photos *out, struct error *err)
{
    char line[PATH_LENGTH];
    out->list = calloc(PHOTOS_MAX, sizeof *out->list);
    if (!out->list)
        return error_set(err, ERR_NO_MEMORY, "Out of memory for the list of photos");
    while (out->count < PHOTOS_MAX && fgets(line, sizeof line, paths)) {
        line[strcspn(line, "\n")] = 0;
        if (!*line || contains(line, "/screenshot.") || contains(line, "/images_dark/"))
            continue; // small or dark doubles of wallpapers that come in their own right
        struct photo *photo = &out->list[out->count++];
        g_strlcpy(photo->path, line, sizeof photo->path);
        name_photo(photo);
    }
    return 0;
}

// Brightness by the integer weights of Rec. 601.
static int luma(const VipsPel *p)
{
    return (299 * p[0] + 587 * p[1] + 114 * p[2]) / 1000;
}

static void judge_pixels(VipsImage *small, struct photo *photo)
{
    double sum = 0, squares = 0, steps = 0;
    int w = small->Xsize, h = small->Ysize;
    for (int y = 0; y < h - 1; y++) {
        for (int x = 0; x < w - 1; x++) {
            int here = luma(VIPS_IMAGE_ADDR(small, x, y));
            sum += here;
            squares += (double)here * here;
            steps +=
                abs(here - luma(VIPS_IMAGE_ADDR(small, x + 1, y))) + abs(here - luma(VIPS_IMAGE_ADDR(small, x, y + 1)));
        }
    }
    double n = (double)(w - 1) * (h - 1), mean = sum / n;
    photo->contrast = sqrt(fmax(0, squares / n - mean * mean));
    photo->detail = steps / n / 2;
}

static void take_print(VipsImage *tiny, struct photo *photo)
{
    const int cells = PRINT_EDGE * PRINT_EDGE;
    double sum = 0, squares = 0;
    for (int i = 0; i < cells; i++) {
        photo->print[i] = luma(VIPS_IMAGE_ADDR(tiny, i % PRINT_EDGE, i / PRINT_EDGE));
        sum += photo->print[i];
    }
    for (int i = 0; i < cells; i++) {
        photo->print[i] -= sum / cells;
        squares += photo->print[i] * photo->print[i];
    }
    for (int i = 0; i < cells && squares > 0; i++)
        photo->print[i] /= sqrt(squares);
}

static int judge(struct photo *photo, VipsImage *base, struct error *err)
{
    _cleanup_picture_ VipsImage *small = NULL;
    _cleanup_picture_ VipsImage *small_memory = NULL;
    _cleanup_picture_ VipsImage *tiny = NULL;
    _cleanup_picture_ VipsImage *tiny_memory = NULL;
    if (vips_thumbnail_image(base, &small, JUDGED_EDGE, NULL) < 0 || !(small_memory = vips_image_copy_memory(small)) ||
        vips_thumbnail_image(base, &tiny, PRINT_EDGE, "height", PRINT_EDGE, "size", VIPS_SIZE_FORCE, NULL) < 0 ||
        !(tiny_memory = vips_image_copy_memory(tiny)))
        return picture_error(err, photo->path);
    judge_pixels(small_memory, photo);
    take_print(tiny_memory, photo);
    return 0;
}

// Photos come as JPEG and are opaque; the large PNGs of wallpaper packages are drawings, and slow to decode.
static bool may_be_photo(VipsImage *header)
{
    const char *loader = NULL;
    double pixels = (double)header->Xsize * header->Ysize;
    if (vips_image_get_string(header, VIPS_META_LOADER, &loader) < 0 || MIN(header->Xsize, header->Ysize) < EDGE_MIN ||
        vips_image_hasalpha(header))
        return false;
    return pixels <= (g_str_has_prefix(loader, "jpeg") ? PIXELS_MAX : PIXELS_MAX_PNG);
}

struct reading {
    struct photos *photos;
    const char *work;
};

// A file that cannot be read is only left out: width stays 0.
static int read_photo(void *context, size_t index, struct error *err)
{
    struct reading *r = context;
    struct photo *photo = &r->photos->list[index];
    _cleanup_picture_ VipsImage *header = vips_image_new_from_file(photo->path, NULL);
    if (!header || !may_be_photo(header)) {
        vips_error_clear();
        return 0;
    }
    _cleanup_picture_ VipsImage *base = NULL;
    if (picture_load(photo->path, BASE_EDGE, &base, NULL) < 0)
        return 0;
    g_snprintf(photo->base, sizeof photo->base, "%s/%zu.jpg", r->work, index);
    if (judge(photo, base, err) < 0 || picture_save_jpeg(base, photo->base, BASE_QUALITY, err) < 0)
        return -1;
    photo->width = header->Xsize;
    photo->height = header->Ysize;
    return 0;
}

static double likeness(const struct photo *a, const struct photo *b)
{
    double sum = 0;
    for (int i = 0; i < PRINT_EDGE * PRINT_EDGE; i++)
        sum += a->print[i] * b->print[i];
    return sum;
}

static bool is_double(const struct photo *a, const struct photo *b)
{
    return strcmp(a->name, b->name) == 0 || likeness(a, b) > SAME;
}

static bool is_lively(const struct photo *photo)
{
    return photo->width && photo->contrast >= CONTRAST_MIN && photo->detail >= DETAIL_MIN;
}

// Landscape before portrait (the phone's cut of the same wallpaper), then the larger, then by path.
static int best_first(const void *left, const void *right)
{
    const struct photo *a = left, *b = right;
    int wide = (b->width >= b->height) - (a->width >= a->height);
    int64_t larger = (int64_t)b->width * b->height - (int64_t)a->width * a->height;
    return wide ? wide : larger ? (larger > 0) - (larger < 0) : strcmp(a->path, b->path);
}

static int by_name(const void *left, const void *right)
{
    return strcmp(((const struct photo *)left)->name, ((const struct photo *)right)->name);
}

static void drop_dull_and_double(struct photos *p)
{
    size_t kept = 0;
    qsort(p->list, p->count, sizeof *p->list, best_first);
    for (size_t i = 0; i < p->count; i++) {
        bool wanted = is_lively(&p->list[i]);
        for (size_t k = 0; k < kept && wanted; k++)
            wanted = !is_double(&p->list[i], &p->list[k]);
        if (wanted)
            p->list[kept++] = p->list[i];
    }
    p->count = kept;
    qsort(p->list, p->count, sizeof *p->list, by_name);
}

int photos_choose(FILE *paths, const char *work, struct photos *out, struct error *err)
{
    struct photos photos = {0};
    struct reading reading = {.photos = &photos, .work = work};
    if (read_paths(paths, &photos, err) < 0)
        return -1;
    if (jobs_run(photos.count, read_photo, &reading, err) < 0) {
        photos_free(&photos);
        return -1;
    }
    drop_dull_and_double(&photos);
    *out = photos;
    return 0;
}
