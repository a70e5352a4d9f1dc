// SPDX-License-Identifier: Apache-2.0
#include "corpus.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <vips/vips.h>

#include "base/hash.h"

enum {
    MAX_FILES = 4096,
    THUMB = 12,         // photos are compared at THUMB × THUMB to find the same one in another size or shade
    TILES_ACROSS = 12,  // a tile's edge is this part of its photo's longer edge …
    TILE_MIN = 160,     // … but not less pixels than this
    FLAT_DEVIATION = 8, // tiles whose brightness deviates less than this hold nothing to recognise
};

struct photo {
    struct pixels full;
    bool held_out;
    bool flat;
    uint64_t work;
    float thumb[THUMB * THUMB];
};

static char *found[MAX_FILES];
static size_t found_count;

static int visit(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    const char *dot = strrchr(path, '.');
    if (kind != FTW_F || !dot || st->st_size < 20000)
        return 0;
    if (strcasecmp(dot, ".jpg") && strcasecmp(dot, ".jpeg") && strcasecmp(dot, ".png") && strcasecmp(dot, ".webp"))
        return 0;
    if (found_count < MAX_FILES)
        found[found_count++] = strdup(path);
    return 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void shrink_to(const struct pixels *in, int edge, struct pixels *out)
{
    int longer = in->width > in->height ? in->width : in->height;
    int w = in->width, h = in->height;
    if (longer > edge) {
        w = (int)(((int64_t)w * edge + longer / 2) / longer);
        h = (int)(((int64_t)h * edge + longer / 2) / longer);
    }
    pixels_resize(in, w > 0 ? w : 1, h > 0 ? h : 1, out);
}

static int load_file(const char *path, struct pixels *out)
{
    VipsImage *image = vips_image_new_from_file(path, "access", VIPS_ACCESS_SEQUENTIAL, NULL);
    if (!image)
        return -1;
    VipsImage *srgb = NULL, *flat = NULL;
    double white[] = {255, 255, 255};
    VipsArrayDouble *background = vips_array_double_new(white, 3);
    size_t size = 0;
    void *data = NULL;
    if (vips_colourspace(image, &srgb, VIPS_INTERPRETATION_sRGB, NULL) == 0) {
        if (!vips_image_hasalpha(srgb))
            flat = g_object_ref(srgb);
        else if (vips_flatten(srgb, &flat, "background", background, NULL))
            flat = NULL;
        if (flat && flat->Bands == 3)
            data = vips_image_write_to_memory(flat, &size);
    }
    if (data) {
        *out = (struct pixels){.width = flat->Xsize, .height = flat->Ysize, .data = malloc(size)};
        memcpy(out->data, data, size);
    }
    g_free(data);
    vips_area_unref(VIPS_AREA(background));
    if (flat)
        g_object_unref(flat);
    if (srgb)
        g_object_unref(srgb);
    g_object_unref(image);
    return data ? 0 : -1;
}

// A small picture of brightness with mean 0 and length 1.
static void thumb_make(const struct pixels *in, float out[THUMB * THUMB])
{
    struct pixels small;
    pixels_resize(in, THUMB, THUMB, &small);
    float mean = 0, length = 1e-6F;
    for (int i = 0; i < THUMB * THUMB; i++)
        mean += out[i] = (float)(small.data[3 * i] + 2 * small.data[3 * i + 1] + small.data[3 * i + 2]);
    for (int i = 0; i < THUMB * THUMB; i++) {
        out[i] -= mean / (THUMB * THUMB);
        length += out[i] * out[i];
    }
    for (int i = 0; i < THUMB * THUMB; i++)
        out[i] /= __builtin_sqrtf(length);
    pixels_free(&small);
}

static bool seen_before(const struct photo *photos, size_t count, const float *thumb)
{
    for (size_t p = 0; p < count; p++) {
        float dot = 0;
        for (int i = 0; i < THUMB * THUMB; i++)
            dot += photos[p].thumb[i] * thumb[i];
        if (dot > 0.97F)
            return true;
    }
    return false;
}

static void cut(const struct pixels *in, int left, int top, int edge, struct pixels *out)
{
    *out = (struct pixels){.width = edge, .height = edge};
    out->data = malloc(pixels_bytes(out));
    for (int y = 0; y < edge; y++)
        memcpy(out->data + (size_t)y * (size_t)edge * 3,
               in->data + ((size_t)(top + y) * (size_t)in->width + (size_t)left) * 3, (size_t)edge * 3);
}

static bool is_flat(const struct pixels *p)
{
    struct pixels small;
    pixels_resize(p, 32, 32, &small);
    double sum = 0, squares = 0;
    for (int i = 0; i < 32 * 32; i++) {
        double v = (small.data[3 * i] + 2 * small.data[3 * i + 1] + small.data[3 * i + 2]) / 4.0;
        sum += v;
        squares += v * v;
    }
    pixels_free(&small);
    double mean = sum / 1024;
    return squares / 1024 - mean * mean < FLAT_DEVIATION * FLAT_DEVIATION;
}

// Half of all photos, by their names: which half one is in does not depend on what else is in the folders.
static bool is_held_out(const char *path)
{
    return hash64(path, strlen(path)) >> 32 & 1;
}

// Plasma's packages keep versions of one work (sizes, shades, crops) in one folder: NAME/contents/…
static uint64_t work_of(const char *path)
{
    const char *contents = strstr(path, "/contents/");
    return hash64(path, contents ? (size_t)(contents - path) : strlen(path));
}

static void add(struct corpus *c, int photo, const struct photo *from, bool tile, const struct pixels *picture)
{
    struct sample *it = &c->items[c->count++];
    *it = (struct sample){
        .photo = photo, .tile = tile, .held_out = from->held_out, .flat = from->flat, .work = from->work};
    shrink_to(picture, EDGE_SOURCE, &it->source);
}

static void add_tiles(struct corpus *c, int photo, const struct photo *from, size_t want)
{
    const struct pixels *full = &from->full;
    int longer = full->width > full->height ? full->width : full->height;
    int edge = longer / TILES_ACROSS > TILE_MIN ? longer / TILES_ACROSS : TILE_MIN;
    for (int y = 0; y + edge <= full->height; y += edge)
        for (int x = 0; x + edge <= full->width && c->count < want; x += edge) {
            struct pixels tile;
            cut(full, x, y, edge, &tile);
            if (is_flat(&tile)) {
                c->flat_tiles++;
            } else {
                add(c, photo, from, true, &tile);
                c->tiles++;
            }
            pixels_free(&tile);
        }
}

int corpus_load(struct corpus *c, char *const *folders, size_t folder_count, size_t want)
{
    *c = (struct corpus){.items = calloc(want + MAX_FILES, sizeof(struct sample))};
    for (size_t i = 0; i < folder_count; i++)
        nftw(folders[i], visit, 16, FTW_PHYS);
    qsort(found, found_count, sizeof(found[0]), by_text);
    c->files = found_count;
    struct photo *photos = calloc(found_count + 1, sizeof(*photos));
    for (size_t i = 0; i < found_count; i++) {
        struct photo *p = &photos[c->photos];
        if (load_file(found[i], &p->full)) {
            c->unreadable++;
        } else {
            thumb_make(&p->full, p->thumb);
            p->held_out = is_held_out(found[i]);
            p->flat = is_flat(&p->full);
            p->work = work_of(found[i]);
            if (seen_before(photos, c->photos, p->thumb)) {
                c->repeated++;
                pixels_free(&p->full);
            } else {
                add(c, (int)c->photos, p, false, &p->full);
                c->photos++;
            }
        }
        free(found[i]);
    }
    found_count = 0;
    for (size_t p = 0; p < c->photos; p++) {
        add_tiles(c, (int)p, &photos[p], want);
        pixels_free(&photos[p].full);
    }
    free(photos);
    return c->photos > 0 ? 0 : -1;
}

void corpus_free(struct corpus *c)
{
    for (size_t i = 0; i < c->count; i++)
        pixels_free(&c->items[i].source);
    free(c->items);
}
