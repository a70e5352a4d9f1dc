// SPDX-License-Identifier: Apache-2.0
// The contact sheet: one canvas in memory that everything is drawn on. A row for the first query of each kind, whether
// it was found or not; the left cell is the query, the others are its hits.
#include <math.h>
#include <string.h>

#include "report.h"

enum {
    WIDTH = 1200,
    MARGIN = 36,
    GAP = 10,
    GUTTER = 38, // between the query and its hits
    CELL_W = 174,
    CELL_H = 114,
    WORDS_H = 44, // two lines under each cell
    ROW_GAP = 14,
    HEADER_H = 138,
    RADIUS = 8,
    EDGE = 3,
};

struct ink {
    double rgb[3];
};

static const struct ink paper = {{250, 249, 246}}, black = {{28, 27, 26}}, soft = {{112, 108, 101}},
                        good = {{11, 122, 117}}, bad = {{179, 67, 43}};

static int put_words(VipsImage *canvas, const char *text, const char *font, const struct ink *ink, int x, int y,
                     int width, struct error *err)
{
    _cleanup_picture_ VipsImage *mask = NULL;
    _cleanup_picture_ VipsImage *memory = NULL;
    char *escaped = g_markup_escape_text(text, -1); // vips_text reads markup
    int rc = vips_text(&mask, escaped, "font", font, "width", width, "dpi", 72, NULL);
    g_free(escaped);
    if (rc < 0 || !(memory = vips_image_copy_memory(mask)) ||
        vips_draw_mask(canvas, (double *)ink->rgb, 3, memory, x + mask->Xoffset, y + mask->Yoffset, NULL) < 0)
        return picture_error(err, text);
    return 0;
}

// How far (x, y) is inside the rounded rectangle of a cell; negative outside.
static double depth(double x, double y)
{
    double dx = fabs(x - CELL_W / 2.0) - (CELL_W / 2.0 - RADIUS), dy = fabs(y - CELL_H / 2.0) - (CELL_H / 2.0 - RADIUS);
    double outside = hypot(fmax(dx, 0), fmax(dy, 0)), inside = fmin(fmax(dx, dy), 0);
    return RADIUS - outside - inside;
}

static void blend(VipsPel *pel, const struct ink *ink, double part)
{
    for (int b = 0; b < 3; b++)
        pel[b] = (VipsPel)lround(pel[b] * (1 - part) + ink->rgb[b] * part);
}

// Paints what is outside of the rounded corners with paper and, unless `edge` is NULL, an edge inside of them.
static void round_corners(VipsImage *cell, const struct ink *edge)
{
    for (int y = 0; y < CELL_H; y++) {
        for (int x = 0; x < CELL_W; x++) {
            double d = depth(x + 0.5, y + 0.5);
            if (edge)
                blend(VIPS_IMAGE_ADDR(cell, x, y), edge, CLAMP(EDGE + 0.5 - d, 0, 1));
            blend(VIPS_IMAGE_ADDR(cell, x, y), &paper, CLAMP(0.5 - d, 0, 1));
        }
    }
}

// Queries are shown whole, hits fill their cells.
static int fit_cell(VipsImage *thumb, bool whole, VipsImage **out)
{
    _cleanup_picture_ VipsImage *scaled = NULL;
    _cleanup_picture_ VipsImage *placed = NULL;
    double back[] = {228, 226, 220};
    VipsArrayDouble *background = vips_array_double_new(back, 3);
    int rc =
        whole ? vips_thumbnail_image(thumb, &scaled, CELL_W, "height", CELL_H, NULL)
              : vips_thumbnail_image(thumb, &scaled, CELL_W, "height", CELL_H, "crop", VIPS_INTERESTING_CENTRE, NULL);
    if (rc == 0)
        rc = vips_gravity(scaled, &placed, VIPS_COMPASS_DIRECTION_CENTRE, CELL_W, CELL_H, "extend",
                          VIPS_EXTEND_BACKGROUND, "background", background, NULL);
    vips_area_unref(VIPS_AREA(background));
    if (rc < 0 || !(*out = vips_image_copy_memory(placed)))
        return -1;
    return 0;
}

static int put_cell(VipsImage *canvas, VipsImage *thumb, bool whole, const struct ink *edge, int x, int y,
                    struct error *err)
{
    _cleanup_picture_ VipsImage *cell = NULL;
    if (fit_cell(thumb, whole, &cell) < 0)
        return picture_error(err, "A cell of the contact sheet");
    round_corners(cell, edge);
    return vips_draw_image(canvas, cell, x, y, NULL) < 0 ? picture_error(err, "The contact sheet") : 0;
}

static int put_hit(VipsImage *canvas, const struct hit *hit, int x, int y, struct error *err)
{
    char score[32];
    g_snprintf(score, sizeof score, "%s%.3f", hit->right ? "✓ " : "", hit->score);
    return put_cell(canvas, hit->thumb, false, hit->right ? &good : NULL, x, y, err) < 0 ||
                   put_words(canvas, score, "sans bold 13", hit->right ? &good : &soft, x, y + CELL_H + 5, CELL_W,
                             err) < 0 ||
                   put_words(canvas, hit->right ? hit->form : hit->title, "sans 12", &soft, x, y + CELL_H + 23,
                             CELL_W * 2, err) < 0
               ? -1
               : 0;
}

static int put_answer(VipsImage *canvas, const struct answer *a, int y, struct error *err)
{
    bool found = answer_found(a);
    if (put_cell(canvas, a->thumb, true, NULL, MARGIN, y, err) < 0 ||
        put_words(canvas, a->label, "sans bold 13", found ? &black : &bad, MARGIN, y + CELL_H + 5, CELL_W + GUTTER - 8,
                  err) < 0)
        return -1;
    if (put_words(canvas, "›", "sans bold 26", &soft, MARGIN + CELL_W + GUTTER / 2 - 5, y + CELL_H / 2 - 8, 30, err) <
        0)
        return -1;
    for (size_t i = 0; i < a->hit_count; i++) {
        int x = MARGIN + CELL_W + GUTTER + (int)i * (CELL_W + GAP);
        if (put_hit(canvas, &a->hits[i], x, y, err) < 0)
            return -1;
    }
    return 0;
}

static int put_header(VipsImage *canvas, const struct answers *a, struct error *err)
{
    char line[256];
    g_snprintf(
        line, sizeof line,
        "%zu pictures that were not uploaded, searched for among %zu items: %zu found first, in %.0f ms a search.",
        a->count, a->items, a->found, a->ms);
    return put_words(canvas, "DeepLens finds what looks alike", "sans bold 30", &black, MARGIN, 34, WIDTH, err) < 0 ||
                   put_words(canvas, line, "sans 16", &black, MARGIN, 76, WIDTH, err) < 0 ||
                   put_words(canvas,
                             "Left: what was searched with. Right: the five best hits, green when it is that photo, "
                             "a copy or a part of it.",
                             "sans 14", &soft, MARGIN, 102, WIDTH, err) < 0
               ? -1
               : 0;
}

static VipsImage *new_canvas(int height)
{
    _cleanup_picture_ VipsImage *blank = NULL;
    _cleanup_picture_ VipsImage *filled = NULL;
    _cleanup_picture_ VipsImage *coloured = NULL;
    double ones[] = {1, 1, 1};
    if (vips_black(&blank, WIDTH, height, "bands", 3, NULL) < 0 ||
        vips_linear(blank, &filled, ones, (double *)paper.rgb, 3, "uchar", TRUE, NULL) < 0 ||
        vips_copy(filled, &coloured, "interpretation", VIPS_INTERPRETATION_sRGB, NULL) < 0)
        return NULL;
    return vips_image_copy_memory(coloured);
}

static bool is_first_of_kind(const struct answers *a, size_t i)
{
    return i == 0 || strcmp(a->list[i].kind, a->list[i - 1].kind) != 0;
}

int sheet_write(const struct answers *a, const char *path, struct error *err)
{
    int rows = 0, row = 0;
    for (size_t i = 0; i < a->count; i++)
        rows += is_first_of_kind(a, i);
    const int pitch = CELL_H + WORDS_H + ROW_GAP;
    _cleanup_picture_ VipsImage *canvas = new_canvas(HEADER_H + rows * pitch + MARGIN / 2);
    if (!canvas)
        return picture_error(err, "The contact sheet");
    if (put_header(canvas, a, err) < 0)
        return -1;
    for (size_t i = 0; i < a->count; i++)
        if (is_first_of_kind(a, i) && put_answer(canvas, &a->list[i], HEADER_H + row++ * pitch, err) < 0)
            return -1;
    return vips_pngsave(canvas, path, "strip", TRUE, "compression", 9, NULL) < 0 ? picture_error(err, path) : 0;
}
