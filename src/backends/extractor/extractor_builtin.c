// SPDX-License-Identifier: Apache-2.0
// The built-in extractor: 512 numbers that find copies of a photo (cropped, scaled, recompressed, turned, mirrored,
// recoloured, blurred, captioned), made by hand from published work, with no weights to fetch.
//
// 1. The picture is brought to 10,000 pixels, in brightness and opponent colours (van de Sande et al., "Evaluating
//    Color Descriptors", 2010); plain borders are masked; six blurs are made. See builtin_scene.c.
// 2. At a thousand points, differential invariants are measured: what is the same however a copy was turned or
//    mirrored (Koenderink & van Doorn 1987, Schmid & Mohr 1997). See builtin_measure.c. Four kinds of measurement
//    give four blocks of 128 numbers, each with its own strength: shape, tint, colour, layout. The last has the
//    part of MPEG-7's colour layout (Kasutani & Yamada 2001) and GIST (Oliva & Torralba 2001): what is where.
// 3. Each measurement is embedded by random Fourier features (Rahimi & Recht 2007), and the mean over all points
//    taken: the inner product of two such means is a match kernel between the sets of points (Bo & Sminchisescu
//    2009). No detector, no codebook. See builtin_embed.c.
// 4. Per block: what is usual is subtracted, and the few directions in which copies differ most from their
//    originals are damped to the level of the rest, after Mikolajczyk & Matas ("Improving Descriptors for Fast Tree
//    Matching by Optimal Linear Projection", 2007) and Jégou & Chum (2012). That is all that is learnt: the table
//    builtin_usual.h, made by bench/quality/learn from photos that Debian packages.
// 5. The blocks are brought to length 1, weighted, joined, and brought to length 1 again.
//
// Every step is in integers, or in single IEEE operations (+ - × ÷ √) in a fixed order, so that the same picture
// gives the same vector on every machine. It is no neural network: it does not know a cat from a dog.
#include "backends/extractor/extractor_builtin.h"

#include <math.h>
#include <stdlib.h>

#include "backends/extractor/builtin_measure.h"
#include "backends/extractor/builtin_usual.h"

struct builtin {
    struct measure measure;
};

static const struct extractor_model the_model = {.name = "builtin",
                                                 .version = "1.0",
                                                 .dimension = MEASURE_DIMENSION,
                                                 .input_edge = 256,
                                                 .batch_max = 64,
                                                 .duplicate_score = 0.8};

static const float block_weights[MEASURE_BLOCKS] = {
    [MEASURE_SHAPE] = 1.2F, [MEASURE_TINT] = 1.0F, [MEASURE_COLOUR] = 0.7F, [MEASURE_LAYOUT] = 0.7F};

static int builtin_open(const char *location, void **state, struct error *err)
{
    struct builtin *b = calloc(1, sizeof(*b));
    if (!b)
        return error_set(err, ERR_NO_MEMORY, "No memory for the built-in extractor");
    measure_init(&b->measure);
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

static float dot(const float *a, const float *b, int n)
{
    float sum = 0;
    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static void scale_to(float *v, int n, float length)
{
    float now = sqrtf(dot(v, v, n));
    if (now > 0)
        for (int i = 0; i < n; i++)
            v[i] = v[i] / now * length;
}

// The directions are orthogonal, so each may be taken away from the rest of the others.
static void damp(float *v, const int8_t (*directions)[MEASURE_FEATURES], const uint8_t *amounts)
{
    for (int k = 0; k < USUAL_DIRECTIONS; k++) {
        float u[MEASURE_FEATURES];
        for (int i = 0; i < MEASURE_FEATURES; i++)
            u[i] = (float)directions[k][i] / USUAL_UNIT;
        float part = dot(u, v, MEASURE_FEATURES) * (float)amounts[k] / 255;
        for (int i = 0; i < MEASURE_FEATURES; i++)
            v[i] -= part * u[i];
    }
}

static void extract_one(const struct builtin *b, const struct pixels *in, float *out)
{
    measure_picture(&b->measure, in, out);
    for (int k = 0; k < MEASURE_BLOCKS; k++) {
        float *v = out + (ptrdiff_t)k * MEASURE_FEATURES;
        for (int i = 0; i < MEASURE_FEATURES; i++)
            v[i] -= (float)usual_mean[k][i] / USUAL_MEAN_UNIT;
        damp(v, usual_directions[k], usual_amounts[k]);
        scale_to(v, MEASURE_FEATURES, block_weights[k]);
    }
    scale_to(out, MEASURE_DIMENSION, 1);
}

static int builtin_extract(void *state, const struct extractor_model *model, const struct pixels *pictures,
                           size_t count, float *vectors, struct extractor_labels *labels, struct error *err)
{
    (void)labels;
    if (model != &the_model || count > the_model.batch_max)
        return error_set(err, ERR_EXTRACTION_FAILED, "The built-in extractor was asked for what it does not offer");
    for (size_t i = 0; i < count; i++)
        if (!pictures[i].data || pictures[i].width < 1 || pictures[i].height < 1)
            return error_set(err, ERR_EXTRACTION_FAILED, "Picture %zu of the batch has no pixels", i);
    for (size_t i = 0; i < count; i++)
        extract_one(state, &pictures[i], vectors + i * MEASURE_DIMENSION);
    return 0;
}

const struct extractor_ops extractor_builtin = {
    .name = "builtin",
    .open = builtin_open,
    .close = builtin_close,
    .models = builtin_models,
    .extract = builtin_extract,
};
