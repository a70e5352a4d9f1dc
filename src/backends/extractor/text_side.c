// SPDX-License-Identifier: Apache-2.0
// Text → tokens → vector: see text_side.h.
#include "backends/extractor/text_side.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

#include "backends/extractor/batcher.h"
#include "backends/extractor/model_spec_int.h"
#include "backends/extractor/tokenizer.h"
#include "backends/extractor/worker.h"
#include "base/buf.h"
#include "base/cleanup.h"

struct text_side {
    struct model_spec spec;
    struct tokenizer *tokenizer;
    struct worker *worker;
    struct batcher *queue;
    int streams;
};

DEFINE_CLEANUP(struct text_side *, side, text_side_free)

static int read_tokenizer(struct text_side *t, struct error *err)
{
    struct model_spec *s = &t->spec;
    if (spec_verify_file(s, s->tokenizer, s->tokenizer_sha256, err) < 0)
        return -1;
    if (tokenizer_read(s->tokenizer, &t->tokenizer, err) < 0)
        return error_prefix(err, "Model %s", s->name);
    if (s->filling < 0)
        s->filling = tokenizer_id(t->tokenizer, s->filling_token);
    return s->filling < 0 ? spec_refuse(s, err, "its tokenizer has no token to fill up with") : 0;
}

int text_side_begin(const char *folder, const struct openvino_config *config, struct text_side **out, struct error *err)
{
    _cleanup_(cleanup_side) struct text_side *t = calloc(1, sizeof *t);
    if (!t)
        return error_set(err, ERR_NO_MEMORY, "No memory for a model");
    const struct net_config net = openvino_net_config(config);
    t->streams = net.streams;
    if (model_spec_read_text(folder, config->precision, &t->spec, err) < 0 || read_tokenizer(t, err) < 0 ||
        worker_start(&t->spec, &net, config->program, &t->worker, err) < 0)
        return -1;
    *out = take_ptr(t);
    return 0;
}

static uint8_t *texts_of(void *side, int stream)
{
    return worker_pictures(((struct text_side *)side)->worker, stream);
}

static int run_of(void *side, int stream, size_t count, struct error *err)
{
    return worker_run(((struct text_side *)side)->worker, stream, count, err);
}

static const float *vectors_of(void *side, int stream)
{
    return worker_vectors(((struct text_side *)side)->worker, stream);
}

static size_t text_numbers(const struct text_side *t)
{
    return 1 + (size_t)t->spec.tokens;
}

int text_side_ready(struct text_side *t, struct error *err)
{
    if (worker_ready(t->worker, err) < 0)
        return -1;
    const struct batcher_config queue = {.streams = t->streams,
                                         .batch_max = OPENVINO_BATCH_MAX,
                                         .picture = text_numbers(t) * sizeof(int32_t),
                                         .dimension = worker_dimension(t->worker),
                                         .model = t,
                                         .pictures = texts_of,
                                         .run = run_of,
                                         .vectors = vectors_of};
    t->queue = batcher_new(&queue);
    return 0;
}

void text_side_free(struct text_side *t)
{
    if (!t)
        return;
    batcher_free(t->queue);
    worker_stop(t->worker);
    tokenizer_free(t->tokenizer);
    free(t);
}

const struct model_spec *text_side_spec(const struct text_side *t)
{
    return &t->spec;
}

size_t text_side_dimension(const struct text_side *t)
{
    return worker_dimension(t->worker);
}

// As SigLIP was trained: small ASCII letters, no ASCII punctuation, single blanks.
static void make_plain(const char *text, struct buf *out)
{
    for (; *text; text++) {
        char c = isspace((unsigned char)*text) ? ' ' : (char)tolower((unsigned char)*text);
        bool again = c == ' ' && (!out->len || out->data[out->len - 1] == ' ');
        if (!ispunct((unsigned char)c) && !again)
            buf_append(out, &c, 1);
    }
    while (out->len && out->data[out->len - 1] == ' ')
        out->len--;
}

// How many tokens, then the tokens.
static int to_tokens(const struct text_side *t, const char *text, int32_t *out, struct error *err)
{
    _cleanup_buf_ struct buf plain = BUF_INIT(TOKENIZER_TEXT_MAX);
    size_t count, len = strlen(text);
    if (len > TOKENIZER_TEXT_MAX)
        return error_set(err, ERR_INVALID, "A text may have at most %d bytes", TOKENIZER_TEXT_MAX);
    if (t->spec.plain) {
        make_plain(text, &plain);
        text = plain.len ? plain.data : "";
        len = plain.len;
    }
    if (tokenizer_encode(t->tokenizer, text, len, (size_t)t->spec.tokens, out + 1, &count, err) < 0)
        return -1;
    if (count == 0)
        return error_set(err, ERR_INVALID, "The text has no words");
    out[0] = (int32_t)count;
    return 0;
}

static int normalise(const struct text_side *t, float *vector, struct error *err)
{
    size_t dimension = text_side_dimension(t);
    double sum = 0;
    for (size_t i = 0; i < dimension; i++)
        sum += (double)vector[i] * vector[i];
    if (!isfinite(sum) || sum < 1e-12)
        return error_set(err, ERR_EXTRACTION_FAILED, "Model %s gave a vector for a text that cannot be used",
                         t->spec.name);
    for (size_t i = 0; i < dimension; i++)
        vector[i] = (float)(vector[i] / sqrt(sum));
    return 0;
}

static int embed_batch(struct text_side *t, const char *const *texts, size_t count, float *vectors, struct error *err)
{
    _cleanup_free_ int32_t *tokens = calloc(count * text_numbers(t), sizeof *tokens);
    if (!tokens)
        return error_set(err, ERR_NO_MEMORY, "No memory for %zu texts", count);
    for (size_t i = 0; i < count; i++)
        if (to_tokens(t, texts[i], tokens + i * text_numbers(t), err) < 0)
            return -1;
    if (batcher_run(t->queue, (const uint8_t *)tokens, count, vectors, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (normalise(t, vectors + i * text_side_dimension(t), err) < 0)
            return -1;
    return 0;
}

int text_side_embed(struct text_side *t, const char *const *texts, size_t count, float *vectors, struct error *err)
{
    for (size_t done = 0; done < count; done += OPENVINO_BATCH_MAX) {
        size_t step = count - done < OPENVINO_BATCH_MAX ? count - done : OPENVINO_BATCH_MAX;
        if (embed_batch(t, texts + done, step, vectors + done * text_side_dimension(t), err) < 0)
            return -1;
    }
    return 0;
}
