// SPDX-License-Identifier: Apache-2.0
// Resizing pictures, exactly: each output value is the true weighted mean of the input values that it covers,
// rounded half up, so that every machine makes the same bytes.
//
// The two axes are independent. For each axis, an output position is a run of input positions with integer weights
// of a common total: when shrinking n → m, the input is cut into n × m equal parts, of which an output position
// covers n and an input position m; when enlarging, the two neighbours of the sampled point share 2 m parts.
// Rows are summed first, as that vectorises over the whole row; only the few sums are then weighted across.
#include "base/pixels.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/simd.h"

struct axis {
    int *start;        // one an output position: its first input position
    int *count;        // and how many it covers
    uint32_t *weights; // `stride` an output position
    size_t stride;
    uint32_t total; // of each position's weights
};

static void *must_alloc(size_t count, size_t size)
{
    void *p = calloc(count, size);
    if (!p)
        abort(); // pictures are bounded long before they come here (G8)
    return p;
}

static void axis_free(struct axis *a)
{
    free(a->start);
    free(a->count);
    free(a->weights);
}
#define _cleanup_axis_ _cleanup_(axis_free)

static void axis_shrink(struct axis *a, int64_t from, int64_t to)
{
    a->total = (uint32_t)from;
    for (int64_t i = 0; i < to; i++) {
        int64_t begin = i * from, end = begin + from; // in parts
        int64_t first = begin / to, last = (end - 1) / to;
        uint32_t *w = a->weights + (size_t)i * a->stride;
        for (int64_t p = first; p <= last; p++) {
            int64_t left = p * to > begin ? p * to : begin;
            int64_t right = (p + 1) * to < end ? (p + 1) * to : end;
            *w++ = (uint32_t)(right - left);
        }
        a->start[i] = (int)first;
        a->count[i] = (int)(last - first + 1);
    }
}

static void axis_enlarge(struct axis *a, int64_t from, int64_t to)
{
    a->total = (uint32_t)(2 * to);
    for (int64_t i = 0; i < to; i++) {
        int64_t at = (2 * i + 1) * from - to; // the sampled point, in parts from the first input position's centre
        if (at < 0)
            at = 0;
        if (at > 2 * to * (from - 1))
            at = 2 * to * (from - 1);
        int64_t first = at / (2 * to), part = at % (2 * to);
        uint32_t *w = a->weights + (size_t)i * a->stride;
        w[0] = (uint32_t)(2 * to - part);
        w[1] = (uint32_t)part;
        a->start[i] = (int)first;
        a->count[i] = part > 0 ? 2 : 1;
    }
}

static void axis_make(struct axis *a, int from, int to)
{
    a->stride = from > to ? (size_t)(from / to) + 2 : 2;
    a->start = must_alloc((size_t)to, sizeof(int));
    a->count = must_alloc((size_t)to, sizeof(int));
    a->weights = must_alloc((size_t)to * a->stride, sizeof(uint32_t));
    if (to <= from)
        axis_shrink(a, from, to);
    else
        axis_enlarge(a, from, to);
}

SIMD_CLONES static void row_add(uint32_t *restrict sums, const uint8_t *restrict row, size_t n, uint32_t weight)
{
    if (weight <= 257) { // the product fits 16 bits, for which every vector unit has a multiplication
        for (size_t i = 0; i < n; i++)
            sums[i] += (uint16_t)(row[i] * (uint16_t)weight);
    } else {
        for (size_t i = 0; i < n; i++)
            sums[i] += row[i] * weight;
    }
}

// (n + 0.5) / total stays at least 0.5 / total away from every integer, far more than a double's error for totals
// below 2^40: truncating gives the exact quotient.
static uint8_t divide(uint64_t n, double inverse)
{
    return (uint8_t)(((double)n + 0.5) * inverse);
}

static void row_finish_long(const uint32_t *sums, const struct axis *x, int width, uint64_t total, uint8_t *out)
{
    double inverse = 1.0 / (double)total;
    for (int i = 0; i < width; i++) {
        const uint32_t *at = sums + (size_t)x->start[i] * 3, *w = x->weights + (size_t)i * x->stride;
        uint64_t r = total / 2, g = total / 2, b = total / 2;
        for (int k = 0; k < x->count[i]; k++, at += 3) {
            r += (uint64_t)at[0] * w[k];
            g += (uint64_t)at[1] * w[k];
            b += (uint64_t)at[2] * w[k];
        }
        *out++ = divide(r, inverse);
        *out++ = divide(g, inverse);
        *out++ = divide(b, inverse);
    }
}

typedef uint32_t v4 __attribute__((vector_size(16)));

static v4 load(const uint32_t *from)
{
    v4 v;
    memcpy(&v, from, sizeof v);
    return v;
}

// A pixel and one number more at a time, always `stride` weights: those that are not needed are 0.
static inline __attribute__((always_inline)) void weigh(const uint32_t *sums, const struct axis *x, int width,
                                                        size_t stride, uint32_t half, int32_t *whole)
{
    const uint32_t *w = x->weights;
    for (int i = 0; i < width; i++, w += stride) {
        const uint32_t *at = sums + (size_t)x->start[i] * 3;
        v4 sum = {half, half, half};
        for (size_t k = 0; k < stride; k++)
            sum += load(at + 3 * k) * w[k];
        memcpy(whole + (size_t)i * 3, &sum, sizeof sum);
    }
}

// The same as row_finish_long where every sum fits 31 bits, the quotients in a loop by themselves. Reads `sums` and
// writes `whole` a little past their ends.
SIMD_CLONES static void row_finish(const uint32_t *sums, const struct axis *x, int width, uint32_t total,
                                   int32_t *restrict whole, uint8_t *restrict out)
{
    if (x->stride == 3) // what is shrunk a little: most of all pictures
        weigh(sums, x, width, 3, total / 2, whole);
    else
        weigh(sums, x, width, x->stride, total / 2, whole);
    double inverse = 1.0 / (double)total;
    for (int i = 0; i < 3 * width; i++)
        out[i] = (uint8_t)(int32_t)(((double)whole[i] + 0.5) * inverse);
}

void pixels_resize(const struct pixels *in, int width, int height, struct pixels *out)
{
    struct pixels made = {.width = width, .height = height};
    made.data = must_alloc(pixels_bytes(&made), 1);
    if (width == in->width && height == in->height) {
        memcpy(made.data, in->data, pixels_bytes(in));
        *out = made;
        return;
    }
    _cleanup_axis_ struct axis x = {0}, y = {0};
    axis_make(&x, in->width, width);
    axis_make(&y, in->height, height);
    size_t n = (size_t)in->width * 3;
    _cleanup_free_ uint32_t *sums = must_alloc(n + 3 * x.stride + 4, sizeof(uint32_t));
    _cleanup_free_ int32_t *whole = must_alloc((size_t)width * 3 + 4, sizeof(int32_t));
    uint64_t total = (uint64_t)x.total * y.total;
    for (int i = 0; i < height; i++) {
        memset(sums, 0, n * sizeof(uint32_t));
        for (int k = 0; k < y.count[i]; k++)
            row_add(sums, in->data + (size_t)(y.start[i] + k) * n, n, y.weights[(size_t)i * y.stride + (size_t)k]);
        uint8_t *row = made.data + (size_t)i * (size_t)width * 3;
        if (total < INT32_MAX / 256)
            row_finish(sums, &x, width, (uint32_t)total, whole, row);
        else
            row_finish_long(sums, &x, width, total, row);
    }
    *out = made;
}

void pixels_free(struct pixels *p)
{
    free(p->data);
    *p = (struct pixels){0};
}
