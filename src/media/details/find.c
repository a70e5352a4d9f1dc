// SPDX-License-Identifier: Apache-2.0
// Finds the places: blobs and corners, by the determinant of the Hessian, at scales half an octave apart (as SURF does;
// Bay et al. 2006), the strongest of each part of the picture.
//
// The picture becomes grey and is reduced by a whole number until its longer edge is at most EDGE: what is smaller does
// not outlive the edits that copies go through, and the rest costs a quarter. Two planes an octave: the second is the
// first, blurred by half an octave; each second pixel of it, blurred a little, is the first of the next octave.
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/simd.h"
#include "media/details/details_int.h"

enum {
    EDGE = 288,
    PLANES = 10,
    LEAST_EDGE = 20, // of a plane: a patch must fit into it
    BORDER = 3,
    GRID = 5, // the picture is so many parts wide and high; each has its share of the details
    CELL_SPOTS = 40,
    RADIUS = 3,
    SUM_ROWS = 256, // whose bytes' sum fits into 16 bits
};

static const float sizes[2] = {1.2f, 1.7f};        // sigma of the planes of an octave, in their pixels
static const float blurs[3] = {1.1f, 1.2f, 0.85f}; // picture → first, first → second, second → next octave's first
static const float STEP = 1.1f;                    // of a patch, as a multiple of sigma / 1.2
#define LEAST_STRENGTH 1.0f                        // of grey levels squared: below it is noise
static const float SADDLE = 0.25f;                 // what a saddle counts against a blob

struct spot {
    float strength, x, y;
    int plane, kind;
};

struct cell {
    size_t count;
    struct spot spots[CELL_SPOTS]; // the strongest first
};

struct finding {
    float *memory; // of all below
    float *row;
    uint16_t *sums; // a row of the picture's bytes
    uint8_t *marks; // a row of a plane: 1 where a peak is
    struct plane planes[PLANES];
    float *strengths[PLANES];
    int count;
    struct cell cells[GRID * GRID];
};

// --- Planes

SIMD_CLONES static void add_bytes(const uint8_t *restrict bytes, uint16_t *restrict sums, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sums[i] = (uint16_t)(sums[i] + bytes[i]);
}

// Takes means of `by` × `by` pixels, as ITU-R BT.601 weighs their colours.
static void reduce(struct finding *f, const struct pixels *in, int by, struct plane *out)
{
    size_t bytes = (size_t)in->width * 3;
    int rows = by < SUM_ROWS ? by : SUM_ROWS;
    float share = 1 / (256.0f * (float)by * (float)rows);
    for (int y = 0; y < out->height; y++) {
        memset(f->sums, 0, bytes * sizeof *f->sums);
        for (int j = 0; j < rows; j++)
            add_bytes(in->data + (size_t)(y * by + j) * bytes, f->sums, bytes);
        const uint16_t *sum = f->sums;
        for (int x = 0; x < out->width; x++) {
            uint32_t red = 0, green = 0, blue = 0;
            for (int i = 0; i < by; i++, sum += 3)
                red += sum[0], green += sum[1], blue += sum[2];
            out->value[y * out->width + x] = (float)(77 * red + 150 * green + 29 * blue) * share;
        }
    }
}

SIMD_CLONES static void add_rows(const float *const *rows, const float *taps, float *restrict out, int width)
{
    for (int x = 0; x < width; x++)
        out[x] = taps[0] * rows[RADIUS][x] + taps[1] * (rows[RADIUS - 1][x] + rows[RADIUS + 1][x]) +
                 taps[2] * (rows[RADIUS - 2][x] + rows[RADIUS + 2][x]) +
                 taps[3] * (rows[RADIUS - 3][x] + rows[RADIUS + 3][x]);
}

SIMD_CLONES static void add_columns(const float *restrict in, const float *taps, float *restrict out, int width)
{
    for (int x = 0; x < width; x++)
        out[x] = taps[0] * in[x] + taps[1] * (in[x - 1] + in[x + 1]) + taps[2] * (in[x - 2] + in[x + 2]) +
                 taps[3] * (in[x - 3] + in[x + 3]);
}

static void make_taps(float sigma, float *taps)
{
    float sum = 0;
    for (int i = 0; i <= RADIUS; i++) {
        taps[i] = expf(-(float)(i * i) / (2 * sigma * sigma));
        sum += i ? 2 * taps[i] : taps[i];
    }
    for (int i = 0; i <= RADIUS; i++)
        taps[i] /= sum;
}

// `in` and `out` are of one size, and not the same.
static void blur(struct finding *f, const struct plane *in, float sigma, struct plane *out)
{
    float taps[RADIUS + 1], *row = f->row + RADIUS;
    make_taps(sigma, taps);
    for (int y = 0; y < in->height; y++) {
        const float *rows[2 * RADIUS + 1];
        for (int k = -RADIUS; k <= RADIUS; k++) {
            int at = y + k < 0 ? 0 : y + k >= in->height ? in->height - 1 : y + k;
            rows[k + RADIUS] = in->value + (size_t)at * (size_t)in->width;
        }
        add_rows(rows, taps, row, in->width);
        for (int k = 1; k <= RADIUS; k++) {
            row[-k] = row[0];
            row[in->width - 1 + k] = row[in->width - 1];
        }
        add_columns(row, taps, out->value + (size_t)y * (size_t)in->width, in->width);
    }
}

static void halve(const struct plane *in, struct plane *out)
{
    for (int y = 0; y < out->height; y++)
        for (int x = 0; x < out->width; x++)
            out->value[y * out->width + x] = in->value[2 * y * in->width + 2 * x];
}

// Takes two planes' worth of memory for each plane of two octaves' halves: values and strengths.
static int get_planes(struct finding *f, const struct pixels *picture, int by, struct error *err)
{
    int width = picture->width / by, height = picture->height / by;
    size_t row = (size_t)width, total = 2 * row + 2 * RADIUS + 3 * (size_t)picture->width;
    float pixel = 1;
    for (f->count = 0; f->count < PLANES && (width < height ? width : height) >= LEAST_EDGE; f->count += 2) {
        for (int k = 0; k < 2; k++)
            f->planes[f->count + k] = (struct plane){.width = width, .height = height, .pixel = pixel};
        total += 4 * (size_t)width * (size_t)height;
        width = (width + 1) / 2;
        height = (height + 1) / 2;
        pixel *= 2;
    }
    float *at = f->memory = malloc(total * sizeof *at);
    if (!at)
        return error_set(err, ERR_NO_MEMORY, "No memory to look for the details of a picture");
    for (int i = 0; i < f->count; i++) {
        size_t n = (size_t)f->planes[i].width * (size_t)f->planes[i].height;
        f->planes[i].value = at;
        f->strengths[i] = at + n;
        at += 2 * n;
    }
    f->row = at;
    f->sums = (uint16_t *)(at + row + 2 * RADIUS);
    f->marks = (uint8_t *)(f->sums + 3 * (size_t)picture->width);
    return 0;
}

// Each plane's strengths hold, until they are made, what the plane is made from.
static void fill_planes(struct finding *f, const struct pixels *picture, int by)
{
    if (!f->count)
        return;
    struct plane raw = f->planes[0];
    raw.value = f->strengths[0];
    reduce(f, picture, by, &raw);
    blur(f, &raw, blurs[0], &f->planes[0]);
    for (int i = 1; i < f->count; i++) {
        if (i % 2) {
            blur(f, &f->planes[i - 1], blurs[1], &f->planes[i]);
            continue;
        }
        raw = f->planes[i];
        raw.value = f->strengths[i];
        halve(&f->planes[i - 1], &raw);
        blur(f, &raw, blurs[2], &f->planes[i]);
    }
}

// --- Strengths

SIMD_CLONES static void measure_row(const float *restrict above, const float *restrict row, const float *restrict below,
                                    float scale, float *restrict out, int width)
{
    for (int x = 1; x < width - 1; x++) {
        float twice = 2 * row[x];
        float xx = row[x - 1] - twice + row[x + 1], yy = above[x] - twice + below[x];
        float xy = 0.25f * (above[x - 1] - above[x + 1] - below[x - 1] + below[x + 1]);
        float d = (xx * yy - xy * xy) * scale;
        float saddle = -SADDLE * d;
        out[x] = d > saddle ? d : saddle;
    }
}

static void measure(const struct plane *p, float sigma, float *out)
{
    size_t w = (size_t)p->width;
    float scale = sigma * sigma * sigma * sigma;
    memset(out, 0, w * sizeof *out);
    for (int y = 1; y < p->height - 1; y++) {
        const float *row = p->value + (size_t)y * w;
        float *strengths = out + (size_t)y * w;
        strengths[0] = strengths[w - 1] = 0;
        measure_row(row - w, row, row + w, scale, strengths, p->width);
    }
    memset(out + (size_t)(p->height - 1) * w, 0, w * sizeof *out);
}

// --- Spots

// Is it the strongest among those around (x, y), in pixels of plane `from`, on plane `on`?
static bool strongest_on(const struct finding *f, int from, int x, int y, int on, float strength)
{
    if (on < 0 || on >= f->count)
        return true;
    const struct plane *p = &f->planes[on];
    float ratio = f->planes[from].pixel / p->pixel;
    int cx = (int)((float)x * ratio + 0.5f), cy = (int)((float)y * ratio + 0.5f);
    for (int j = cy - 1; j <= cy + 1; j++)
        for (int i = cx - 1; i <= cx + 1; i++)
            if (i >= 0 && j >= 0 && i < p->width && j < p->height && f->strengths[on][j * p->width + i] > strength)
                return false;
    return true;
}

static float peak(float before, float at, float after) // of the parabola through three strengths, from the middle one
{
    float bend = before - 2 * at + after;
    return bend < 0 ? 0.5f * (before - after) / bend : 0;
}

static int kind_at(const struct plane *p, int x, int y)
{
    const float *at = p->value + (size_t)y * (size_t)p->width + x;
    float xx = at[-1] - 2 * at[0] + at[1], yy = at[-p->width] - 2 * at[0] + at[p->width];
    float xy = 0.25f * (at[-p->width - 1] - at[-p->width + 1] - at[p->width - 1] + at[p->width + 1]);
    return xx * yy <= xy * xy ? 2 : xx + yy > 0; // a saddle, or a pit, or a peak
}

static void add_spot(struct finding *f, int plane, int x, int y)
{
    const struct plane *p = &f->planes[plane];
    const float *s = f->strengths[plane] + (size_t)y * (size_t)p->width + x;
    struct cell *cell = &f->cells[y * GRID / p->height * GRID + x * GRID / p->width];
    if (cell->count == CELL_SPOTS && cell->spots[CELL_SPOTS - 1].strength >= s[0])
        return;
    if (!strongest_on(f, plane, x, y, plane - 1, s[0]) || !strongest_on(f, plane, x, y, plane + 1, s[0]))
        return;
    size_t at = cell->count < CELL_SPOTS ? cell->count++ : CELL_SPOTS - 1;
    for (; at > 0 && cell->spots[at - 1].strength < s[0]; at--)
        cell->spots[at] = cell->spots[at - 1];
    cell->spots[at] = (struct spot){.strength = s[0],
                                    .plane = plane,
                                    .kind = kind_at(p, x, y),
                                    .x = (float)x + peak(s[-1], s[0], s[1]),
                                    .y = (float)y + peak(s[-p->width], s[0], s[p->width])};
}

SIMD_CLONES static void mark_peaks(const float *restrict above, const float *restrict row, const float *restrict below,
                                   uint8_t *restrict out, int width)
{
    for (int x = BORDER; x < width - BORDER; x++) {
        float s = row[x];
        out[x] = (s >= LEAST_STRENGTH) & (s > row[x - 1]) & (s >= row[x + 1]) & (s > above[x - 1]) & (s > above[x]) &
                 (s > above[x + 1]) & (s >= below[x - 1]) & (s >= below[x]) & (s >= below[x + 1]);
    }
}

static void find_peaks(struct finding *f, int plane)
{
    const struct plane *p = &f->planes[plane];
    size_t width = (size_t)p->width;
    for (int y = BORDER; y < p->height - BORDER; y++) {
        const float *row = f->strengths[plane] + (size_t)y * width;
        const uint8_t *end = f->marks + width - BORDER, *at = f->marks + BORDER;
        mark_peaks(row - width, row, row + width, f->marks, p->width);
        for (; (at = memchr(at, 1, (size_t)(end - at))); at++)
            add_spot(f, plane, (int)(at - f->marks), y);
    }
}

static void find_spots(struct finding *f)
{
    for (int i = 0; i < f->count; i++)
        measure(&f->planes[i], sizes[i % 2], f->strengths[i]);
    for (int i = 0; i < f->count; i++)
        find_peaks(f, i);
}

// --- Details

static void add_detail(const struct finding *f, const struct spot *spot, struct details *out)
{
    const struct plane *p = &f->planes[spot->plane];
    float step = STEP * sizes[spot->plane % 2] / sizes[0];
    uint64_t bits[DETAIL_WORDS];
    float angle = detail_describe(p, spot->x, spot->y, step, bits);
    for (int w = 0; w < DETAIL_WORDS; w++)
        out->bits[w][out->count] = bits[w];
    out->of[out->count++] =
        (struct detail){.x = spot->x * p->pixel, .y = spot->y * p->pixel, .size = step * p->pixel, .angle = angle};
}

// The strongest of each cell, then the second of each, and so on.
static size_t choose(const struct finding *f, size_t most, const struct spot **out)
{
    size_t count = 0;
    for (size_t rank = 0; rank < CELL_SPOTS; rank++)
        for (size_t c = 0; c < GRID * GRID && count < most; c++)
            if (rank < f->cells[c].count)
                out[count++] = &f->cells[c].spots[rank];
    return count;
}

static void describe(const struct finding *f, size_t most, struct details *out)
{
    const struct spot *chosen[DETAILS_ASKED];
    size_t count = choose(f, most, chosen);
    out->count = 0;
    for (int kind = 0; kind < DETAIL_KINDS; kind++) {
        for (size_t i = 0; i < count; i++)
            if (chosen[i]->kind == kind)
                add_detail(f, chosen[i], out);
        out->ends[kind] = out->count;
    }
}

int details_find(const struct pixels *picture, size_t most, struct details *out, struct error *err)
{
    _cleanup_free_ struct finding *f = calloc(1, sizeof *f);
    int longer = picture->width > picture->height ? picture->width : picture->height, by = (longer + EDGE - 1) / EDGE;
    if (!f)
        return error_set(err, ERR_NO_MEMORY, "No memory to look for the details of a picture");
    if (get_planes(f, picture, by, err) < 0)
        return -1;
    fill_planes(f, picture, by);
    find_spots(f);
    describe(f, most, out);
    free(f->memory);
    return 0;
}
