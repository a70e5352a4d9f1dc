// SPDX-License-Identifier: Apache-2.0
// What the files of the tokenizer share: see tokenizer.h.
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_TOKENIZER_INT_H
#define DEEPLENS_BACKENDS_EXTRACTOR_TOKENIZER_INT_H

#include <jansson.h>
#include <stdbool.h>

#include "backends/extractor/tokenizer.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/js.h"

// --- Unicode (tokenizer_unicode.c)

// Reads the character at `text` (valid UTF-8, len > 0): its bytes.
size_t uni_next(const char *text, size_t len, int32_t *c);
size_t uni_len(const char *text, size_t len); // characters
void uni_put(struct buf *out, int32_t c);
bool uni_is_space(int32_t c);  // White_Space
bool uni_is_letter(int32_t c); // L*
bool uni_is_number(int32_t c); // N*
bool uni_is_mark(int32_t c);   // M*
bool uni_is_mark_nonspacing(int32_t c);
bool uni_is_punctuation(int32_t c); // P*
bool uni_is_word(int32_t c);        // \w
bool uni_is_other(int32_t c);       // controls and the like: Cc, Cf, Co
bool uni_is_bert_punctuation(int32_t c);

// --- Tables (tokenizer_vocab.c)

struct vocab { // from bytes to numbers
    struct arena arena;
    struct vocab_entry {
        const char *bytes; // NULL: free
        uint32_t len;
        int32_t id;
    } * entries;
    size_t mask, count, longest; // longest: bytes
};

#define VOCAB_HASH_START 0xcbf29ce484222325u
static inline uint64_t vocab_hash(uint64_t hash, unsigned char byte)
{
    return (hash ^ byte) * 0x100000001b3u;
}

void vocab_init(struct vocab *v, size_t count); // for at most `count` tokens
void vocab_free(struct vocab *v);
void vocab_add(struct vocab *v, const char *bytes, size_t len, int32_t id); // the last number of a token stays
int32_t vocab_find(const struct vocab *v, const char *bytes, size_t len);   // -1: not there
int32_t vocab_find_hashed(const struct vocab *v, const char *bytes, size_t len, uint64_t hash);

struct pairs { // from two tokens to their rank and what they become
    struct pair_entry {
        int32_t left, right; // left -1: free
        int32_t rank, merged;
    } * entries;
    size_t mask;
};

void pairs_init(struct pairs *p, size_t count);
void pairs_free(struct pairs *p);
void pairs_add(struct pairs *p, int32_t left, int32_t right, int32_t rank, int32_t merged); // the last one stays
const struct pair_entry *pairs_find(const struct pairs *p, int32_t left, int32_t right);    // NULL: none

// --- Texts under way: pieces of a buffer

struct pieces {
    struct buf text; // UTF-8
    struct piece {
        size_t begin, len;
        bool first; // begins where the whole text begins
    } * at;
    size_t count, cap;
};

void pieces_init(struct pieces *p);
void pieces_free(struct pieces *p);
// Ends a piece that was appended to the text from `begin` on; an empty one is left out.
void pieces_end(struct pieces *p, size_t begin, bool first);

// --- Patterns (tokenizer_pattern.c)

struct pattern;

// `{"String": …}` or `{"Regex": …}`.
int pattern_parse(const json_t *json, struct pattern **out, struct error *err);
void pattern_free(struct pattern *p);
// The next place in text[from …] where it holds: false when there is none. Never an empty one.
bool pattern_find(const struct pattern *p, const char *text, size_t len, size_t from, size_t *begin, size_t *end);
// The pattern by which GPT-2 and ByteLevel split.
const struct pattern *pattern_gpt2(void);

// --- Normalizers (tokenizer_normalize.c, tokenizer_charsmap.c)

struct normalizer; // a list of them

int normalizer_parse(const json_t *json, struct normalizer **out, struct error *err); // null: gives none
void normalizer_free(struct normalizer *n);
bool normalizer_is_none(const struct normalizer *n);
// Works on `text` in place; `scratch` is a second buffer.
int normalizer_run(const struct normalizer *n, struct buf *text, struct buf *scratch, struct error *err);

struct charsmap;
int charsmap_parse(const char *base64, struct charsmap **out, struct error *err);
void charsmap_free(struct charsmap *m);
void charsmap_run(const struct charsmap *m, const char *text, size_t len, struct buf *out);

// --- Pre-tokenizers (tokenizer_split.c)

struct splitter; // a list of them

int splitter_parse(const json_t *json, struct splitter **out, struct error *err);
void splitter_free(struct splitter *s);
bool splitter_marks_first(const struct splitter *s); // treats what begins the text, before any normalizer, by itself
// Splits the pieces in `*p`; `scratch` is a second one, and the two may be exchanged.
int splitter_run(const struct splitter *s, struct pieces *p, struct pieces *scratch, struct error *err);
void byte_level_put(struct buf *out, unsigned char byte); // the letter that stands for a byte

// --- Models

struct token_list {
    int32_t *ids;
    size_t count, max;
};

// Drops what is beyond max: it would be cut off anyway.
static inline void token_add(struct token_list *list, int32_t id)
{
    if (list->count < list->max)
        list->ids[list->count++] = id;
}

struct token_model {
    const struct token_model_ops {
        const char *type; // "BPE"
        int (*parse)(struct token_model *m, const json_t *json, struct error *err);
        void (*free)(struct token_model *m);
        void (*encode)(const struct token_model *m, const char *piece, size_t len, struct token_list *out);
    } * ops;
    struct vocab vocab;
    int32_t unk; // -1: none
    void *own;
};

extern const struct token_model_ops token_model_bpe, token_model_wordpiece, token_model_unigram;

// Reads `vocab` as an object of token → number.
int token_vocab_parse(struct token_model *m, const json_t *json, struct error *err);
// The numbers of <0x00> … <0xFF>: false when one is not there.
bool token_bytes_find(const struct token_model *m, int32_t out[256]);

__attribute__((format(printf, 2, 3))) int tokenizer_refuse(struct error *err, const char *fmt, ...);

#endif
