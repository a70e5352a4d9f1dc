// SPDX-License-Identifier: Apache-2.0
// Pre-tokenizers: a text falls into pieces that no token crosses. Each one reads the pieces that the one before left.
#include <string.h>

#include "backends/extractor/tokenizer_int.h"

enum { SPLITTERS_MAX = 16, DEPTH_MAX = 8 };

enum behavior { REMOVED, ISOLATED, WITH_PREVIOUS, WITH_NEXT, CONTIGUOUS };

struct splitter {
    size_t count;
    bool marks_first; // by where a piece stands in the text as it was
    struct cut {
        enum { BERT, WHITESPACE, WHITESPACE_ONLY, METASPACE, BYTE_LEVEL, PATTERN, PUNCTUATION, DIGITS } kind;
        struct pattern *pattern;
        enum behavior behavior;
        bool invert;
        char *mark; // METASPACE
        bool split, always, never;
        bool spaced, by_pattern; // BYTE_LEVEL: add_prefix_space, use_regex
    } at[SPLITTERS_MAX];
};

void splitter_free(struct splitter *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->count; i++) {
        pattern_free(s->at[i].pattern);
        free(s->at[i].mark);
    }
    free(s);
}

// --- Reading

static int read_behavior(const json_t *json, const char *otherwise, enum behavior *out, struct error *err)
{
    static const char *const names[] = {[REMOVED] = "Removed",
                                        [ISOLATED] = "Isolated",
                                        [WITH_PREVIOUS] = "MergedWithPrevious",
                                        [WITH_NEXT] = "MergedWithNext",
                                        [CONTIGUOUS] = "Contiguous"};
    const char *name = js_str(json, "behavior", otherwise);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (enum behavior)i;
            return 0;
        }
    return tokenizer_refuse(err, "the behavior \"%.40s\" of a pre-tokenizer is not known", name);
}

static int read_metaspace(struct cut *cut, const json_t *json, struct error *err)
{
    const char *scheme = js_str(json, "prepend_scheme", NULL);
    if (!scheme) // as older files say it
        scheme = js_bool(json, "add_prefix_space", true) ? "always" : "never";
    cut->kind = METASPACE;
    cut->mark = strdup(js_str(json, "replacement", "\xe2\x96\x81"));
    cut->split = js_bool(json, "split", true);
    cut->always = strcmp(scheme, "always") == 0;
    cut->never = strcmp(scheme, "never") == 0;
    if (!cut->always && !cut->never && strcmp(scheme, "first") != 0)
        return tokenizer_refuse(err, "the prepend_scheme \"%.40s\" is not known", scheme);
    return 0;
}

static int read_cut(struct cut *cut, const char *type, const json_t *json, struct error *err)
{
    if (strcmp(type, "Metaspace") == 0)
        return read_metaspace(cut, json, err);
    if (strcmp(type, "BertPreTokenizer") == 0) {
        cut->kind = BERT;
    } else if (strcmp(type, "Whitespace") == 0) {
        cut->kind = WHITESPACE;
    } else if (strcmp(type, "WhitespaceSplit") == 0) {
        cut->kind = WHITESPACE_ONLY;
    } else if (strcmp(type, "ByteLevel") == 0) {
        cut->kind = BYTE_LEVEL;
        cut->spaced = js_bool(json, "add_prefix_space", true);
        cut->by_pattern = js_bool(json, "use_regex", true);
    } else if (strcmp(type, "Split") == 0) {
        cut->kind = PATTERN;
        cut->invert = js_bool(json, "invert", false);
        if (read_behavior(json, "", &cut->behavior, err) < 0)
            return -1;
        return pattern_parse(json_object_get(json, "pattern"), &cut->pattern, err);
    } else if (strcmp(type, "Punctuation") == 0) {
        cut->kind = PUNCTUATION;
        return read_behavior(json, "Isolated", &cut->behavior, err);
    } else if (strcmp(type, "Digits") == 0) {
        cut->kind = DIGITS;
        cut->behavior = js_bool(json, "individual_digits", false) ? ISOLATED : CONTIGUOUS;
    } else {
        return tokenizer_refuse(err, "the pre-tokenizer \"%.60s\" is not known", type);
    }
    return 0;
}

static int read_one(struct splitter *s, const json_t *json, int depth, struct error *err)
{
    const char *type = js_str(json, "type", "");
    if (strcmp(type, "Sequence") == 0) {
        size_t i;
        json_t *part;
        if (depth == DEPTH_MAX)
            return tokenizer_refuse(err, "its pre-tokenizers are nested too deeply");
        json_array_foreach(js_arr(json, "pretokenizers"), i, part)
        {
            if (read_one(s, part, depth + 1, err) < 0)
                return -1;
        }
        return 0;
    }
    if (s->count == SPLITTERS_MAX)
        return tokenizer_refuse(err, "it has more than %d pre-tokenizers", SPLITTERS_MAX);
    struct cut *cut = &s->at[s->count++];
    if (read_cut(cut, type, json, err) < 0)
        return -1;
    bool marks_first = cut->kind == METASPACE && !cut->always && !cut->never;
    if (marks_first && s->count > 1)
        return tokenizer_refuse(err, "a Metaspace that marks the first word only must be the first pre-tokenizer");
    s->marks_first |= marks_first;
    return 0;
}

int splitter_parse(const json_t *json, struct splitter **out, struct error *err)
{
    struct splitter *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    if (json && !json_is_null(json) && read_one(s, json, 0, err) < 0) {
        splitter_free(s);
        return -1;
    }
    *out = s;
    return 0;
}

bool splitter_marks_first(const struct splitter *s)
{
    return s->marks_first;
}

// --- Splitting at what is found

struct finder {
    const struct cut *cut;
    bool (*is)(int32_t c); // a match is one such character; NULL: the pattern says
};

static bool find(const struct finder *f, const char *text, size_t len, size_t from, size_t *begin, size_t *end)
{
    if (!f->is)
        return pattern_find(f->cut->pattern, text, len, from, begin, end);
    for (size_t i = from; i < len;) {
        int32_t c;
        size_t step = uni_next(text + i, len - i, &c);
        if (f->is(c)) {
            *begin = i;
            *end = i + step;
            return true;
        }
        i += step;
    }
    return false;
}

struct gather { // puts parts together as the behavior says
    struct pieces *out;
    enum behavior behavior;
    bool first, open, open_match;
    size_t begin;
};

static void gather_close(struct gather *g)
{
    if (!g->open)
        return;
    pieces_end(g->out, g->begin, g->first);
    g->first = g->open = false;
}

static void gather_part(struct gather *g, const char *text, size_t len, bool match)
{
    bool join = (g->behavior == WITH_PREVIOUS && match && !g->open_match) ||
                (g->behavior == WITH_NEXT && !match && g->open_match) ||
                (g->behavior == CONTIGUOUS && match == g->open_match);
    if (!len)
        return;
    if (match && g->behavior == REMOVED) {
        gather_close(g);
        g->first = false;
        return;
    }
    if (!join)
        gather_close(g);
    if (!g->open)
        g->begin = g->out->text.len;
    g->open = true;
    g->open_match = match;
    buf_append(&g->out->text, text, len);
}

static void split_at(const struct finder *f, enum behavior behavior, bool invert, const char *text, size_t len,
                     bool first, struct pieces *out)
{
    struct gather g = {.out = out, .behavior = behavior, .first = first};
    size_t done = 0, begin, end;
    while (find(f, text, len, done, &begin, &end)) {
        gather_part(&g, text + done, begin - done, invert);
        gather_part(&g, text + begin, end - begin, !invert);
        done = end;
    }
    gather_part(&g, text + done, len - done, invert);
    gather_close(&g);
}

// --- The others

// Runs of what is alike; `sort` 0: left out, 1: one character a piece, others run on.
static void split_by_sort(int (*sort)(int32_t c), const char *text, size_t len, bool first, struct pieces *out)
{
    int before = 0;
    size_t begin = out->text.len;
    for (size_t i = 0; i < len;) {
        int32_t c;
        size_t step = uni_next(text + i, len - i, &c);
        int now = sort(c);
        if (now != before || now == 1) {
            pieces_end(out, begin, first);
            first = first && i == 0;
            begin = out->text.len;
        }
        if (now)
            buf_append(&out->text, text + i, step);
        before = now;
        i += step;
    }
    pieces_end(out, begin, first);
}

static int bert_sort(int32_t c)
{
    return uni_is_space(c) ? 0 : uni_is_bert_punctuation(c) ? 1 : 2;
}

static int whitespace_sort(int32_t c)
{
    return uni_is_space(c) ? 0 : uni_is_word(c) ? 2 : 3;
}

static int whitespace_only_sort(int32_t c)
{
    return uni_is_space(c) ? 0 : 2;
}

static void metaspace(const struct cut *cut, const char *text, size_t len, bool first, struct pieces *out)
{
    size_t mark = strlen(cut->mark), begin = out->text.len;
    bool there = (*text == ' ') || (len >= mark && memcmp(text, cut->mark, mark) == 0);
    if (!there && (cut->always || (!cut->never && first)))
        buf_puts(&out->text, cut->mark);
    for (size_t i = 0; i < len; i++) {
        bool marked = text[i] == ' ' || (mark && len - i >= mark && memcmp(text + i, cut->mark, mark) == 0);
        if (marked && cut->split && out->text.len > begin) {
            pieces_end(out, begin, first);
            first = false;
            begin = out->text.len;
        }
        if (text[i] == ' ')
            buf_puts(&out->text, cut->mark);
        else
            buf_append(&out->text, text + i, 1);
    }
    pieces_end(out, begin, first);
}

void byte_level_put(struct buf *out, unsigned char byte)
{
    bool shown = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    int32_t c = shown ? byte : byte < 33 ? 256 + byte : byte < 161 ? 256 + 33 + (byte - 127) : 256 + 33 + 34;
    uni_put(out, c);
}

static void put_bytes(struct pieces *out, const char *text, size_t len, bool first)
{
    size_t begin = out->text.len;
    for (size_t i = 0; i < len; i++)
        byte_level_put(&out->text, (unsigned char)text[i]);
    pieces_end(out, begin, first);
}

static void byte_level(const struct cut *cut, const char *text, size_t len, bool first, struct pieces *out)
{
    _cleanup_buf_ struct buf spaced = BUF_INIT(TOKENIZER_NORMAL_MAX);
    size_t done = 0, begin, end;
    if (cut->spaced && *text != ' ') {
        buf_puts(&spaced, " ");
        buf_append(&spaced, text, len);
        text = spaced.data;
        len = spaced.len;
    }
    while (cut->by_pattern && pattern_find(pattern_gpt2(), text, len, done, &begin, &end)) {
        put_bytes(out, text + done, begin - done, first && done == 0);
        put_bytes(out, text + begin, end - begin, first && begin == 0);
        done = end;
    }
    put_bytes(out, text + done, len - done, first && done == 0);
}

static void run_cut(const struct cut *cut, const char *text, size_t len, bool first, struct pieces *out)
{
    const struct finder at_pattern = {cut, NULL}, at_punctuation = {cut, uni_is_bert_punctuation},
                        at_digits = {cut, uni_is_number};
    switch (cut->kind) {
    case BERT:
        split_by_sort(bert_sort, text, len, first, out);
        break;
    case WHITESPACE:
        split_by_sort(whitespace_sort, text, len, first, out);
        break;
    case WHITESPACE_ONLY:
        split_by_sort(whitespace_only_sort, text, len, first, out);
        break;
    case METASPACE:
        metaspace(cut, text, len, first, out);
        break;
    case BYTE_LEVEL:
        byte_level(cut, text, len, first, out);
        break;
    case PATTERN:
        split_at(&at_pattern, cut->behavior, cut->invert, text, len, first, out);
        break;
    case PUNCTUATION:
        split_at(&at_punctuation, cut->behavior, false, text, len, first, out);
        break;
    case DIGITS:
        split_at(&at_digits, cut->behavior, false, text, len, first, out);
        break;
    }
}

int splitter_run(const struct splitter *s, struct pieces *p, struct pieces *scratch, struct error *err)
{
    for (size_t i = 0; i < s->count; i++) {
        buf_clear(&scratch->text);
        scratch->count = 0;
        for (size_t j = 0; j < p->count; j++)
            run_cut(&s->at[i], p->text.data + p->at[j].begin, p->at[j].len, p->at[j].first, scratch);
        if (scratch->text.failed)
            return error_set(err, ERR_INVALID, "The text is too long");
        struct pieces done = *scratch;
        *scratch = *p;
        *p = done;
    }
    return 0;
}
