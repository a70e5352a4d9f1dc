// SPDX-License-Identifier: Apache-2.0
// The frame of a tokenizer.json: added tokens, special tokens, and the way through the parts. See tokenizer.h.
#include "backends/extractor/tokenizer.h"

#include <stdio.h>
#include <string.h>

#include "backends/extractor/tokenizer_int.h"
#include "base/js.h"

enum { ADDED_MAX = 4096, AROUND_MAX = 16 };

DEFINE_CLEANUP(FILE *, file, fclose)

struct added { // a token that is found in the text as it is written
    char *text;
    size_t len;
    int32_t id;
    bool normalized; // looked for after the normalizer
    bool word, left, right;
};

struct tokenizer {
    struct normalizer *normalizer;
    struct splitter *splitter;
    struct token_model model;
    struct added *added;
    size_t added_count;
    int32_t before[AROUND_MAX], after[AROUND_MAX];
    size_t before_count, after_count;
};

int tokenizer_refuse(struct error *err, const char *fmt, ...)
{
    char what[300];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return error_set(err, ERR_CONFIG, "The tokenizer cannot be used: %s", what);
}

// --- Vocabularies

int token_vocab_parse(struct token_model *m, const json_t *json, struct error *err)
{
    json_t *object = js_obj(json, "vocab"), *id;
    const char *token;
    size_t count = json_object_size(object);
    if (!count || count > TOKENIZER_VOCAB_MAX)
        return tokenizer_refuse(err, "its vocabulary is empty or too large");
    vocab_init(&m->vocab, count);
    json_object_foreach(object, token, id)
    {
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX ||
            strlen(token) > TOKENIZER_TOKEN_MAX)
            return tokenizer_refuse(err, "a token of its vocabulary has no number, or is too long");
        if (*token)
            vocab_add(&m->vocab, token, strlen(token), (int32_t)json_integer_value(id));
    }
    return 0;
}

bool token_bytes_find(const struct token_model *m, int32_t out[256])
{
    for (unsigned i = 0; i < 256; i++) {
        char name[8];
        int len = snprintf(name, sizeof name, "<0x%02X>", i);
        out[i] = vocab_find(&m->vocab, name, (size_t)len);
        if (out[i] < 0)
            return false;
    }
    return true;
}

static int read_model(struct tokenizer *t, const json_t *json, struct error *err)
{
    static const struct token_model_ops *const models[] = {&token_model_bpe, &token_model_wordpiece,
                                                           &token_model_unigram};
    const char *type = js_str(json, "type", NULL);
    if (!type) // files from before the type was written down
        type = js_arr(json, "merges") ? "BPE" : js_arr(json, "vocab") ? "Unigram" : "WordPiece";
    t->model.unk = -1;
    for (size_t i = 0; i < ARRAY_LEN(models); i++)
        if (strcmp(type, models[i]->type) == 0) {
            t->model.ops = models[i];
            return models[i]->parse(&t->model, json, err);
        }
    return tokenizer_refuse(err, "its model \"%.40s\" is none of BPE, WordPiece and Unigram", type);
}

// --- Added tokens

static int read_added(struct tokenizer *t, const json_t *list, struct error *err)
{
    size_t count = json_array_size(list), i;
    json_t *entry;
    if (count > ADDED_MAX)
        return tokenizer_refuse(err, "it has more than %d added tokens", ADDED_MAX);
    t->added = calloc(count + 1, sizeof *t->added);
    if (!t->added)
        abort();
    _cleanup_buf_ struct buf text = BUF_INIT(TOKENIZER_NORMAL_MAX), scratch = BUF_INIT(TOKENIZER_NORMAL_MAX);
    json_array_foreach(list, i, entry)
    {
        const char *content = js_str(entry, "content", "");
        int64_t id = js_int(entry, "id", -1);
        bool normalized = js_bool(entry, "normalized", !js_bool(entry, "special", false));
        if (!*content || strlen(content) > TOKENIZER_TOKEN_MAX || id < 0 || id > INT32_MAX)
            return tokenizer_refuse(err, "added token %zu has no content or no number", i);
        buf_clear(&text);
        buf_puts(&text, content);
        if (normalized && normalizer_run(t->normalizer, &text, &scratch, err) < 0)
            return -1;
        if (!text.len)
            continue;
        t->added[t->added_count++] = (struct added){.text = strdup(text.data),
                                                    .len = text.len,
                                                    .id = (int32_t)id,
                                                    .normalized = normalized,
                                                    .word = js_bool(entry, "single_word", false),
                                                    .left = js_bool(entry, "lstrip", false),
                                                    .right = js_bool(entry, "rstrip", false)};
    }
    return 0;
}

int32_t tokenizer_id(const struct tokenizer *t, const char *token)
{
    for (size_t i = 0; i < t->added_count; i++)
        if (strcmp(t->added[i].text, token) == 0)
            return t->added[i].id;
    return vocab_find(&t->model.vocab, token, strlen(token));
}

// --- Special tokens around the text

static int put_around(struct tokenizer *t, bool before, int32_t id, struct error *err)
{
    int32_t *list = before ? t->before : t->after;
    size_t *count = before ? &t->before_count : &t->after_count;
    if (id < 0 || *count == AROUND_MAX)
        return tokenizer_refuse(err, "its special tokens are too many, or have no numbers");
    list[(*count)++] = id;
    return 0;
}

// ["[SEP]", 102]
static int put_named(struct tokenizer *t, bool before, const json_t *pair, struct error *err)
{
    const json_t *id = json_array_get(pair, 1);
    return put_around(t, before, json_is_integer(id) ? (int32_t)json_integer_value(id) : -1, err);
}

static int put_template_token(struct tokenizer *t, bool before, const json_t *json, const char *name, struct error *err)
{
    size_t i;
    json_t *id, *ids = js_arr(js_obj(js_obj(json, "special_tokens"), name), "ids");
    if (!json_array_size(ids))
        return tokenizer_refuse(err, "its special token \"%.40s\" has no number", name);
    json_array_foreach(ids, i, id)
    {
        if (put_around(t, before, json_is_integer(id) ? (int32_t)json_integer_value(id) : -1, err) < 0)
            return -1;
    }
    return 0;
}

static int read_template(struct tokenizer *t, const json_t *json, struct error *err)
{
    size_t i;
    json_t *part;
    int seen = 0;
    json_array_foreach(js_arr(json, "single"), i, part)
    {
        const json_t *token = js_obj(part, "SpecialToken");
        seen += !token;
        if (token && put_template_token(t, !seen, json, js_str(token, "id", ""), err) < 0)
            return -1;
    }
    return seen == 1 ? 0 : tokenizer_refuse(err, "its template does not hold the text once");
}

static int read_around(struct tokenizer *t, const json_t *json, bool nested, struct error *err)
{
    const char *type = js_str(json, "type", "");
    if (!json || json_is_null(json) || strcmp(type, "ByteLevel") == 0) // ByteLevel concerns offsets alone
        return 0;
    if (strcmp(type, "TemplateProcessing") == 0)
        return read_template(t, json, err);
    if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0)
        return put_named(t, true, js_arr(json, "cls"), err) < 0 ? -1 : put_named(t, false, js_arr(json, "sep"), err);
    if (strcmp(type, "Sequence") == 0 && !nested) {
        size_t i;
        json_t *part;
        json_array_foreach(js_arr(json, "processors"), i, part)
        {
            if (read_around(t, part, true, err) < 0)
                return -1;
        }
        return 0;
    }
    return tokenizer_refuse(err, "the post-processor \"%.60s\" is not known", type);
}

// --- Reading and freeing

int tokenizer_parse(const char *json, size_t len, struct tokenizer **out, struct error *err)
{
    if (len > TOKENIZER_FILE_MAX)
        return tokenizer_refuse(err, "its file is larger than %d MiB", TOKENIZER_FILE_MAX >> 20);
    struct error why = {0};
    _cleanup_json_ json_t *root = json_loadb(json, len, JSON_ALLOW_NUL, NULL);
    if (!json_is_object(root))
        return tokenizer_refuse(err, "its file is no JSON object");
    _cleanup_tokenizer_ struct tokenizer *t = calloc(1, sizeof *t);
    if (!t)
        abort();
    if (normalizer_parse(json_object_get(root, "normalizer"), &t->normalizer, &why) < 0 ||
        splitter_parse(json_object_get(root, "pre_tokenizer"), &t->splitter, &why) < 0 ||
        read_model(t, js_obj(root, "model"), &why) < 0 || read_added(t, js_arr(root, "added_tokens"), &why) < 0 ||
        read_around(t, json_object_get(root, "post_processor"), false, &why) < 0) {
        why.code = ERR_CONFIG;
        return error_copy(err, &why);
    }
    if (splitter_marks_first(t->splitter) && !normalizer_is_none(t->normalizer))
        return tokenizer_refuse(err, "a Metaspace that marks the first word only works without a normalizer");
    *out = take_ptr(t);
    return 0;
}

void tokenizer_free(struct tokenizer *t)
{
    if (!t)
        return;
    normalizer_free(t->normalizer);
    splitter_free(t->splitter);
    if (t->model.ops)
        t->model.ops->free(&t->model);
    vocab_free(&t->model.vocab);
    for (size_t i = 0; i < t->added_count; i++)
        free(t->added[i].text);
    free(t->added);
    free(t);
}

// --- Encoding

struct encoding {
    const struct tokenizer *t;
    struct token_list out;
    struct buf normal, scratch;
    struct pieces pieces, spare;
};

static bool is_word_at(const char *text, size_t len, size_t at)
{
    int32_t c;
    if (at >= len)
        return false;
    uni_next(text + at, len - at, &c);
    return uni_is_word(c);
}

static size_t char_before(const char *text, size_t at)
{
    do
        at--;
    while (at && ((unsigned char)text[at] & 0xc0) == 0x80);
    return at;
}

static bool stands_alone(const char *text, size_t len, size_t begin, size_t end)
{
    bool before = begin && is_word_at(text, len, char_before(text, begin));
    return !before && !is_word_at(text, len, end);
}

static bool is_space_at(const char *text, size_t len, size_t at, size_t *step)
{
    int32_t c;
    *step = uni_next(text + at, len - at, &c);
    return uni_is_space(c);
}

// The first added token from `from` on, the longest of those that begin there; NULL: none. A token that should stand
// alone and does not hides what begins within it.
static const struct added *find_added(const struct tokenizer *t, bool normalized, const char *text, size_t len,
                                      size_t from, size_t *begin, size_t *end)
{
    for (size_t at = from; at < len; at++) {
        const struct added *best = NULL;
        for (size_t i = 0; i < t->added_count; i++) {
            const struct added *a = &t->added[i];
            if (a->normalized == normalized && a->len <= len - at && (!best || a->len > best->len) &&
                memcmp(text + at, a->text, a->len) == 0)
                best = a;
        }
        if (!best)
            continue;
        *begin = at;
        *end = at + best->len;
        if (!best->word || stands_alone(text, len, *begin, *end))
            return best;
        at = *end - 1;
    }
    return NULL;
}

static void widen(const struct added *a, const char *text, size_t len, size_t from, size_t *begin, size_t *end)
{
    size_t step;
    while (a->left && *begin > from && is_space_at(text, len, char_before(text, *begin), &step))
        *begin = char_before(text, *begin);
    while (a->right && *end < len && is_space_at(text, len, *end, &step))
        *end += step;
}

static int encode_plain(struct encoding *e, const char *text, size_t len, bool first, struct error *err)
{
    if (!len)
        return 0;
    buf_clear(&e->pieces.text);
    e->pieces.count = 0;
    buf_append(&e->pieces.text, text, len);
    pieces_end(&e->pieces, 0, first);
    if (splitter_run(e->t->splitter, &e->pieces, &e->spare, err) < 0)
        return -1;
    for (size_t i = 0; i < e->pieces.count; i++)
        e->t->model.ops->encode(&e->t->model, e->pieces.text.data + e->pieces.at[i].begin, e->pieces.at[i].len,
                                &e->out);
    return 0;
}

// What stands between added tokens goes through `inner`.
static int between_added(struct encoding *e, bool normalized, const char *text, size_t len, bool first,
                         int (*inner)(struct encoding *e, const char *text, size_t len, bool first, struct error *err),
                         struct error *err)
{
    size_t done = 0, begin, end;
    const struct added *a;
    while ((a = find_added(e->t, normalized, text, len, done, &begin, &end))) {
        widen(a, text, len, done, &begin, &end);
        if (inner(e, text + done, begin - done, first && done == 0, err) < 0)
            return -1;
        token_add(&e->out, a->id);
        done = end;
    }
    return inner(e, text + done, len - done, first && done == 0, err);
}

static int encode_raw(struct encoding *e, const char *text, size_t len, bool first, struct error *err)
{
    if (!len)
        return 0;
    buf_clear(&e->normal);
    if (buf_append(&e->normal, text, len) < 0 || normalizer_run(e->t->normalizer, &e->normal, &e->scratch, err) < 0)
        return -1;
    if (!e->normal.len)
        return 0;
    return between_added(e, true, e->normal.data, e->normal.len, first, encode_plain, err);
}

int tokenizer_encode(const struct tokenizer *t, const char *text, size_t len, size_t max, int32_t *ids, size_t *count,
                     struct error *err)
{
    if (len > TOKENIZER_TEXT_MAX)
        return error_set(err, ERR_INVALID, "A text may have at most %d bytes", TOKENIZER_TEXT_MAX);
    if (!js_utf8_valid(text, len))
        return error_set(err, ERR_INVALID, "The text is no UTF-8");
    size_t around = t->before_count + t->after_count;
    if (max > TOKENIZER_TOKENS_MAX || max <= around)
        return error_set(err, ERR_INVALID, "A text is cut to %zu tokens, which cannot be", max);
    struct encoding e = {.t = t,
                         .out = {.ids = ids + t->before_count, .max = max - around},
                         .normal = BUF_INIT(TOKENIZER_NORMAL_MAX),
                         .scratch = BUF_INIT(TOKENIZER_NORMAL_MAX)};
    pieces_init(&e.pieces);
    pieces_init(&e.spare);
    int rc = between_added(&e, false, text, len, true, encode_raw, err);
    pieces_free(&e.pieces);
    pieces_free(&e.spare);
    buf_free(&e.normal);
    buf_free(&e.scratch);
    if (rc < 0)
        return -1;
    memcpy(ids, t->before, t->before_count * sizeof *ids);
    memcpy(ids + t->before_count + e.out.count, t->after, t->after_count * sizeof *ids);
    *count = around + e.out.count;
    return 0;
}

int tokenizer_read(const char *path, struct tokenizer **out, struct error *err)
{
    _cleanup_(cleanup_file) FILE *file = fopen(path, "re");
    if (!file)
        return error_set(err, ERR_CONFIG, "%.200s cannot be read", path);
    _cleanup_buf_ struct buf text = BUF_INIT(TOKENIZER_FILE_MAX);
    char piece[65536];
    size_t got;
    while ((got = fread(piece, 1, sizeof piece, file)) > 0)
        if (buf_append(&text, piece, got) < 0)
            return tokenizer_refuse(err, "its file is larger than %d MiB", TOKENIZER_FILE_MAX >> 20);
    return tokenizer_parse(text.data ? text.data : "", text.len, out, err) < 0 ? error_prefix(err, "%.150s", path) : 0;
}
