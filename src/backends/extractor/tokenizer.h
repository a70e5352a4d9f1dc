// SPDX-License-Identifier: Apache-2.0
// Text → the numbers of tokens that a language network takes, as Hugging Face's `tokenizer.json` describes it. What
// comes out is, token for token, what their `tokenizers` gives (tests/peers/tokenizers_peer.py compares).
//
//   text ─ added tokens taken out ─ normalizer ─ pre-tokenizer ─ model ─ special tokens around it, cut to length
//
//   tokenizer.c            reads the file's frame, added tokens, special tokens
//   tokenizer_normalize.c  Unicode forms, case, accents, replacements; tokenizer_charsmap.c: SentencePiece's own table
//   tokenizer_split.c      pieces that tokens never cross; tokenizer_pattern.c: the regular expressions in such files
//   tokenizer_bpe.c, tokenizer_wordpiece.c, tokenizer_unigram.c   the three models; tokenizer_vocab.c: their tables
//
// Read are the models BPE (CLIP, Gemma), WordPiece (BERT) and Unigram (SigLIP, XLM-R and others of SentencePiece), and
// the normalizers and pre-tokenizers that such files use. What a file asks for beyond that is refused by its name:
// a tokenizer that is nearly right gives vectors that are quietly wrong. Unicode's properties are libutf8proc's.
//
// A tokenizer does not change once it is read: any number of threads may use it at once.
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_TOKENIZER_H
#define DEEPLENS_BACKENDS_EXTRACTOR_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"

enum {
    TOKENIZER_FILE_MAX = 64 << 20,   // bytes of a tokenizer.json
    TOKENIZER_VOCAB_MAX = 2 << 20,   // tokens
    TOKENIZER_TOKEN_MAX = 1024,      // bytes of one token
    TOKENIZER_TEXT_MAX = 4096,       // bytes of a text
    TOKENIZER_NORMAL_MAX = 64 << 10, // bytes of a text after a normalizer or pre-tokenizer
    TOKENIZER_TOKENS_MAX = 1024      // tokens that are asked for
};

struct tokenizer;

// Reads a tokenizer.json. ERR_CONFIG says what is wrong with it, or what in it is not known here.
int tokenizer_parse(const char *json, size_t len, struct tokenizer **out, struct error *err);
int tokenizer_read(const char *path, struct tokenizer **out, struct error *err);
void tokenizer_free(struct tokenizer *t); // takes NULL

// Writes the text's tokens, the special ones around it among them, at most `max` (1 … TOKENIZER_TOKENS_MAX): what is
// too much is cut off the text's end. ERR_INVALID: the text is too long, or no UTF-8.
int tokenizer_encode(const struct tokenizer *t, const char *text, size_t len, size_t max, int32_t *ids, size_t *count,
                     struct error *err);

// The number of a token; -1 when there is none.
int32_t tokenizer_id(const struct tokenizer *t, const char *token);

DEFINE_CLEANUP(struct tokenizer *, tokenizer, tokenizer_free)
#define _cleanup_tokenizer_ _cleanup_(cleanup_tokenizer)

#endif
