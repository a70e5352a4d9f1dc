// SPDX-License-Identifier: Apache-2.0
// Unigram (SentencePiece): of all ways to cut a piece into tokens the one whose scores add up to most, found from left
// to right. What no token covers costs ten more than the rarest one, and stretches of it are one unknown token.
#include <math.h>
#include <string.h>

#include "backends/extractor/tokenizer_int.h"

#define UNKNOWN_PENALTY 10.0

struct unigram {
    double *scores;
    double unknown;
    bool byte_fallback;
    int32_t bytes[256];
};

static int read_entry(struct token_model *m, struct unigram *u, size_t i, const json_t *entry, struct error *err)
{
    const json_t *token = json_array_get(entry, 0), *score = json_array_get(entry, 1);
    size_t len = json_string_length(token);
    if (!json_is_string(token) || !json_is_number(score) || len > TOKENIZER_TOKEN_MAX ||
        !isfinite(json_number_value(score)))
        return tokenizer_refuse(err, "entry %zu of its vocabulary is no token with a score", i);
    u->scores[i] = json_number_value(score);
    u->unknown = fmin(u->unknown, u->scores[i]);
    if (len)
        vocab_add(&m->vocab, json_string_value(token), len, (int32_t)i);
    return 0;
}

static int unigram_parse(struct token_model *m, const json_t *json, struct error *err)
{
    const json_t *list = js_arr(json, "vocab");
    size_t count = json_array_size(list), i;
    json_t *entry;
    struct unigram *u = m->own = calloc(1, sizeof *u);
    if (!u)
        abort();
    if (!count || count > TOKENIZER_VOCAB_MAX)
        return tokenizer_refuse(err, "its vocabulary is empty or too large");
    u->scores = calloc(count, sizeof *u->scores);
    if (!u->scores)
        abort();
    vocab_init(&m->vocab, count);
    json_array_foreach(list, i, entry)
    {
        if (read_entry(m, u, i, entry, err) < 0)
            return -1;
    }
    u->unknown -= UNKNOWN_PENALTY;
    int64_t unk = js_int(json, "unk_id", -1);
    if (unk < 0 || (size_t)unk >= count)
        return tokenizer_refuse(err, "it has no token for what is unknown");
    m->unk = (int32_t)unk;
    u->byte_fallback = js_bool(json, "byte_fallback", false) && token_bytes_find(m, u->bytes);
    return 0;
}

static void unigram_free(struct token_model *m)
{
    struct unigram *u = m->own;
    if (u)
        free(u->scores);
    free(u);
}

struct node { // the best way to end here
    double score;
    size_t from;
    int32_t id; // -1: nothing ends here
};

static void offer(struct node *node, double score, size_t from, int32_t id)
{
    if (node->id < 0 || score > node->score)
        *node = (struct node){score, from, id};
}

static void extend(const struct token_model *m, const char *piece, size_t len, size_t at, struct node *nodes)
{
    const struct unigram *u = m->own;
    int32_t c;
    size_t one = uni_next(piece + at, len - at, &c);
    bool whole = false; // a token covers exactly this character
    uint64_t hash = VOCAB_HASH_START;
    for (size_t n = 1; n <= m->vocab.longest && at + n <= len; n++) {
        hash = vocab_hash(hash, (unsigned char)piece[at + n - 1]);
        if (at + n < len && ((unsigned char)piece[at + n] & 0xc0) == 0x80)
            continue;
        int32_t id = vocab_find_hashed(&m->vocab, piece + at, n, hash);
        if (id < 0)
            continue;
        offer(&nodes[at + n], nodes[at].score + u->scores[id], at, id);
        whole |= n == one;
    }
    if (!whole)
        offer(&nodes[at + one], nodes[at].score + u->unknown, at, m->unk);
}

static void put_unknown(const struct token_model *m, const char *text, size_t len, struct token_list *out)
{
    const struct unigram *u = m->own;
    int32_t found = vocab_find(&m->vocab, text, len); // a stretch may be a token that was too costly
    if (found >= 0 || !u->byte_fallback) {
        token_add(out, found >= 0 ? found : m->unk);
        return;
    }
    for (size_t i = 0; i < len; i++)
        token_add(out, u->bytes[(unsigned char)text[i]]);
}

static void unigram_encode(const struct token_model *m, const char *piece, size_t len, struct token_list *out)
{
    _cleanup_free_ struct node *nodes = malloc((len + 1) * sizeof *nodes);
    _cleanup_free_ size_t *next = calloc(len + 1, sizeof *next);
    if (!nodes || !next)
        abort(); // bounded by TOKENIZER_NORMAL_MAX
    for (size_t i = 0; i <= len; i++)
        nodes[i] = (struct node){.id = -1};
    for (size_t at = 0; at < len;) {
        int32_t c;
        extend(m, piece, len, at, nodes);
        at += uni_next(piece + at, len - at, &c);
    }
    for (size_t at = len; at > 0; at = nodes[at].from)
        next[nodes[at].from] = at;
    for (size_t at = 0; at < len;) {
        size_t end = next[at];
        if (nodes[end].id == m->unk) {
            while (end < len && nodes[next[end]].id == m->unk)
                end = next[end];
            put_unknown(m, piece + at, end - at, out);
        } else {
            token_add(out, nodes[end].id);
        }
        at = end;
    }
}

const struct token_model_ops token_model_unigram = {
    .type = "Unigram", .parse = unigram_parse, .free = unigram_free, .encode = unigram_encode};
