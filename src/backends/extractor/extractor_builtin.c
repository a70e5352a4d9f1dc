// SPDX-License-Identifier: Apache-2.0
#include "backends/extractor/extractor_builtin.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backends/extractor/builtin_embed.h"
#include "base/cleanup.h"

enum { DIMENSION = 512, GRID = 32, COLOUR_FEATURES = 192, LAYOUT_FEATURES = 320 };

struct builtin {
    struct embed colour, layout;
};

static const struct extractor_model the_model = {
    .name = "builtin", .version = "1.0", .dimension = DIMENSION, .input_edge = 256, .batch_max = 64};

static int builtin_open(const char *location, void **state, struct error *err)
{
    struct builtin *b = calloc(1, sizeof(*b));
    if (!b)
        return error_set(err, ERR_NO_MEMORY, "No memory for the built-in extractor");
    embed_init(&b->colour, 3, COLOUR_FEATURES, 2.0, 1);
    embed_init(&b->layout, 5, LAYOUT_FEATURES, 2.0, 2);
    *state = b;
    return 0;
}

static void builtin_close(void *state)
{
    free(state);
}

static const struct extractor_model *builtin_models(void *state, size_t *count)
{
    *count = 1;
    return &the_model;
}

static void extract_one(const struct builtin *b, const struct pixels *in, float *out)
{
    struct pixels g;
    int32_t sums[2][EMBED_FEATURES] = {{0}};
    pixels_resize(in, GRID, GRID, &g);
    for (int i = 0; i < GRID * GRID; i++) {
        int red = g.data[3 * i], green = g.data[3 * i + 1], blue = g.data[3 * i + 2];
        int dx = abs(2 * (i % GRID) + 1 - GRID), dy = abs(2 * (i / GRID) + 1 - GRID);
        int16_t x[5] = {(int16_t)(red + 2 * green + blue), (int16_t)((red - green) * 2),
                        (int16_t)(2 * blue - red - green), (int16_t)((dx > dy ? dx : dy) * 8),
                        (int16_t)((dx > dy ? dy : dx) * 8)};
        embed_add(&b->colour, x, 64, sums[0]);
        embed_add(&b->layout, x, 64, sums[1]);
    }
    pixels_free(&g);
    double length = 0;
    for (int i = 0; i < DIMENSION; i++) {
        double v = i < COLOUR_FEATURES ? sums[0][i] : sums[1][i - COLOUR_FEATURES];
        out[i] = (float)v;
        length += v * v;
    }
    for (int i = 0; i < DIMENSION; i++)
        out[i] = (float)(out[i] / sqrt(length));
}

static int builtin_extract(void *state, const struct extractor_model *model, const struct pixels *pictures,
                           size_t count, float *vectors, struct error *err)
{
    if (model != &the_model || count > the_model.batch_max)
        return error_set(err, ERR_EXTRACTION_FAILED, "The built-in extractor was asked for what it does not offer");
    for (size_t i = 0; i < count; i++)
        extract_one(state, &pictures[i], vectors + i * DIMENSION);
    return 0;
}

const struct extractor_ops extractor_builtin = {
    .name = "builtin",
    .open = builtin_open,
    .close = builtin_close,
    .models = builtin_models,
    .extract = builtin_extract,
};
