// SPDX-License-Identifier: Apache-2.0
// WordPiece (BERT): the longest token that a word begins with, then the longest that goes on with "##", and so on.
#include <string.h>

#include "backends/extractor/tokenizer_int.h"

struct wordpiece {
    char *prefix;
    size_t most; // characters of a word; longer ones are unknown
};

static int wordpiece_parse(struct token_model *m, const json_t *json, struct error *err)
{
    struct wordpiece *w = m->own = calloc(1, sizeof *w);
    int64_t most = js_int(json, "max_input_chars_per_word", 100);
    if (!w)
        abort();
    w->prefix = strdup(js_str(json, "continuing_subword_prefix", "##"));
    w->most = most > 0 && most < TOKENIZER_TOKEN_MAX ? (size_t)most : TOKENIZER_TOKEN_MAX;
    if (strlen(w->prefix) >= 32)
        return tokenizer_refuse(err, "`continuing_subword_prefix` is too long");
    if (token_vocab_parse(m, json, err) < 0)
        return -1;
    const char *unk = js_str(json, "unk_token", "[UNK]");
    m->unk = vocab_find(&m->vocab, unk, strlen(unk));
    return m->unk < 0 ? tokenizer_refuse(err, "its token for what is unknown is not in the vocabulary") : 0;
}

static void wordpiece_free(struct token_model *m)
{
    struct wordpiece *w = m->own;
    if (w)
        free(w->prefix);
    free(w);
}

// The longest token at the start of text: its bytes there; 0: none.
static size_t longest(const struct token_model *m, const char *prefix, const char *text, size_t len, int32_t *id)
{
    uint64_t hash = VOCAB_HASH_START;
    char whole[TOKENIZER_TOKEN_MAX + 32];
    size_t head = strlen(prefix), best = 0;
    memcpy(whole, prefix, head);
    for (size_t i = 0; i < head; i++)
        hash = vocab_hash(hash, (unsigned char)prefix[i]);
    for (size_t i = 0; i < len && head + i < m->vocab.longest; i++) {
        whole[head + i] = text[i];
        hash = vocab_hash(hash, (unsigned char)text[i]);
        if (i + 1 < len && ((unsigned char)text[i + 1] & 0xc0) == 0x80)
            continue;
        int32_t found = vocab_find_hashed(&m->vocab, whole, head + i + 1, hash);
        if (found >= 0) {
            *id = found;
            best = i + 1;
        }
    }
    return best;
}

static void wordpiece_encode(const struct token_model *m, const char *piece, size_t len, struct token_list *out)
{
    const struct wordpiece *w = m->own;
    size_t before = out->count;
    bool known = uni_len(piece, len) <= w->most;
    for (size_t at = 0; at < len && known;) {
        int32_t id;
        size_t used = longest(m, at ? w->prefix : "", piece + at, len - at, &id);
        known = used > 0;
        at += used;
        if (known)
            token_add(out, id);
    }
    if (known)
        return;
    out->count = before;
    token_add(out, m->unk);
}

const struct token_model_ops token_model_wordpiece = {
    .type = "WordPiece", .parse = wordpiece_parse, .free = wordpiece_free, .encode = wordpiece_encode};
