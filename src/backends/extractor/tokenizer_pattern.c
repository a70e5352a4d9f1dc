// SPDX-License-Identifier: Apache-2.0
// The regular expressions that stand in files of tokenizers. Two of them, by which CLIP and GPT-2 split, are known by
// heart. Others may be a sequence of simple ones, joined by "|": a character, \s or a [set], followed by +, {n,} or
// nothing. Anything else is refused.
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "backends/extractor/tokenizer_int.h"

enum { ATOMS_MAX = 64, RANGES_MAX = 64, REPEAT_MAX = 1000 };

enum pattern_kind { PATTERN_STRING, PATTERN_SIMPLE, PATTERN_CLIP, PATTERN_GPT2 };

struct atom {
    bool negated;
    bool space; // \s is in it
    size_t range_count;
    struct {
        int32_t from, to;
    } ranges[RANGES_MAX];
    size_t least;
    bool more;        // as many as there are
    bool alternative; // begins another one
};

struct pattern {
    enum pattern_kind kind;
    char *string;
    size_t len;
    size_t atom_count;
    struct atom atoms[];
};

static const char clip_text[] = "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";
static const char gpt2_text[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

// --- Reading

struct reader {
    const char *at;
};

static int add_range(struct atom *a, int32_t from, int32_t to)
{
    if (a->range_count == RANGES_MAX || from > to)
        return -1;
    a->ranges[a->range_count].from = from;
    a->ranges[a->range_count++].to = to;
    return 0;
}

// One character, perhaps escaped. `*space`: it was \s.
static int read_char(struct reader *r, int32_t *c, bool *space)
{
    *space = false;
    if (!*r->at)
        return -1;
    if (*r->at != '\\') {
        r->at += uni_next(r->at, strlen(r->at), c);
        return 0;
    }
    char escaped = r->at[1];
    r->at += 2;
    *space = escaped == 's';
    *c = escaped == 'n' ? '\n' : escaped == 'r' ? '\r' : escaped == 't' ? '\t' : escaped;
    return escaped && (strchr("snrt", escaped) || ispunct((unsigned char)escaped)) ? 0 : -1;
}

static int read_set(struct reader *r, struct atom *a)
{
    r->at++;
    a->negated = *r->at == '^';
    r->at += a->negated;
    while (*r->at && *r->at != ']') {
        int32_t from, to;
        bool space, ignored;
        if (*r->at == '[' || read_char(r, &from, &space) < 0) // a set in a set
            return -1;
        to = from;
        if (space) {
            a->space = true;
            continue;
        }
        if (r->at[0] == '-' && r->at[1] && r->at[1] != ']') {
            r->at++;
            if (read_char(r, &to, &ignored) < 0 || ignored)
                return -1;
        }
        if (add_range(a, from, to) < 0)
            return -1;
    }
    return *r->at++ == ']' ? 0 : -1;
}

static int read_repeat(struct reader *r, struct atom *a)
{
    a->least = 1;
    if (*r->at == '+') {
        a->more = true;
        r->at++;
    } else if (*r->at == '{') {
        int used = 0;
        if (sscanf(r->at, "{%4zu,}%n", &a->least, &used) != 1 || !used || !a->least || a->least > REPEAT_MAX)
            return -1;
        a->more = true;
        r->at += used;
    }
    return 0;
}

static int read_atom(struct reader *r, struct atom *a)
{
    int32_t c;
    if (*r->at == '[') {
        if (read_set(r, a) < 0)
            return -1;
    } else if (strchr("^$.()*?{}+]", *r->at) || read_char(r, &c, &a->space) < 0 ||
               (!a->space && add_range(a, c, c) < 0)) {
        return -1;
    }
    return read_repeat(r, a);
}

static int read_simple(struct pattern *p, const char *text)
{
    struct reader r = {.at = text};
    bool alternative = true;
    while (*r.at) {
        if (*r.at == '|') {
            if (alternative) // an empty one
                return -1;
            alternative = true;
            r.at++;
            continue;
        }
        if (p->atom_count == ATOMS_MAX)
            return -1;
        struct atom *a = &p->atoms[p->atom_count++];
        a->alternative = alternative;
        alternative = false;
        if (read_atom(&r, a) < 0)
            return -1;
    }
    return p->atom_count && !alternative ? 0 : -1;
}

static struct pattern *pattern_new(size_t atoms)
{
    struct pattern *p = calloc(1, sizeof *p + atoms * sizeof *p->atoms);
    if (!p)
        abort();
    return p;
}

void pattern_free(struct pattern *p)
{
    if (!p)
        return;
    free(p->string);
    free(p);
}

int pattern_parse(const json_t *json, struct pattern **out, struct error *err)
{
    const json_t *string = json_object_get(json, "String"), *regex = json_object_get(json, "Regex");
    const json_t *either = string ? string : regex;
    if (!json_is_string(either) || !json_string_length(either))
        return tokenizer_refuse(err, "a pattern is neither a string nor a regular expression");
    const char *text = json_string_value(either);
    struct pattern *p = pattern_new(regex && !string ? ATOMS_MAX : 0);
    p->string = strdup(text);
    p->len = strlen(text);
    if (string)
        p->kind = PATTERN_STRING;
    else if (strcmp(text, clip_text) == 0)
        p->kind = PATTERN_CLIP;
    else if (strcmp(text, gpt2_text) == 0)
        p->kind = PATTERN_GPT2;
    else if (read_simple(p, text) == 0)
        p->kind = PATTERN_SIMPLE;
    else {
        pattern_free(p);
        return tokenizer_refuse(err, "the pattern \"%.100s\" is not known", text);
    }
    *out = p;
    return 0;
}

const struct pattern *pattern_gpt2(void)
{
    static const struct pattern gpt2 = {.kind = PATTERN_GPT2};
    return &gpt2;
}

// --- Finding

static bool atom_takes(const struct atom *a, int32_t c)
{
    bool in = a->space && uni_is_space(c);
    for (size_t i = 0; i < a->range_count && !in; i++)
        in = a->ranges[i].from <= c && c <= a->ranges[i].to;
    return in != a->negated;
}

// Bytes that the alternative takes which begins with atom `first`; 0: none.
static size_t simple_takes(const struct pattern *p, size_t first, const char *text, size_t len)
{
    size_t used = 0;
    for (size_t i = first; i < p->atom_count && (i == first || !p->atoms[i].alternative); i++) {
        const struct atom *a = &p->atoms[i];
        size_t taken = 0;
        int32_t c;
        while (used < len && (taken < a->least || a->more)) {
            size_t step = uni_next(text + used, len - used, &c);
            if (!atom_takes(a, c))
                break;
            used += step;
            taken++;
        }
        if (taken < a->least)
            return 0;
    }
    return used;
}

static size_t contraction(const char *text, size_t len)
{
    static const char *const known[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        size_t n = strlen(known[i]);
        if (len >= n && memcmp(text, known[i], n) == 0)
            return n;
    }
    return 0;
}

enum sort { SORT_SPACE, SORT_LETTER, SORT_NUMBER, SORT_OTHER };

static enum sort sort_of(int32_t c)
{
    return uni_is_space(c) ? SORT_SPACE : uni_is_letter(c) ? SORT_LETTER : uni_is_number(c) ? SORT_NUMBER : SORT_OTHER;
}

static size_t run_of(const char *text, size_t len, enum sort sort)
{
    size_t used = 0;
    int32_t c;
    while (used < len) {
        size_t step = uni_next(text + used, len - used, &c);
        if (sort_of(c) != sort)
            break;
        used += step;
    }
    return used;
}

static size_t clip_takes(const char *text, size_t len)
{
    int32_t c;
    size_t used = contraction(text, len), one = uni_next(text, len, &c);
    if (used)
        return used;
    enum sort sort = sort_of(c);
    return sort == SORT_SPACE ? 0 : sort == SORT_NUMBER ? one : run_of(text, len, sort);
}

static size_t gpt2_takes(const char *text, size_t len)
{
    int32_t c;
    size_t used = contraction(text, len);
    if (used)
        return used;
    size_t space = *text == ' ' && len > 1;
    uni_next(text + space, len - space, &c);
    if (sort_of(c) != SORT_SPACE)
        return space + run_of(text + space, len - space, sort_of(c));
    size_t spaces = run_of(text, len, SORT_SPACE);
    if (spaces == len)
        return spaces;
    size_t last = spaces; // \s+(?!\S): all but the last one, when a word follows
    do
        last--;
    while (last && ((unsigned char)text[last] & 0xc0) == 0x80);
    return last ? last : spaces;
}

static size_t takes(const struct pattern *p, const char *text, size_t len)
{
    if (p->kind == PATTERN_STRING)
        return len >= p->len && memcmp(text, p->string, p->len) == 0 ? p->len : 0;
    if (p->kind == PATTERN_CLIP)
        return clip_takes(text, len);
    if (p->kind == PATTERN_GPT2)
        return gpt2_takes(text, len);
    for (size_t i = 0; i < p->atom_count; i++) {
        size_t used = p->atoms[i].alternative ? simple_takes(p, i, text, len) : 0;
        if (used)
            return used;
    }
    return 0;
}

bool pattern_find(const struct pattern *p, const char *text, size_t len, size_t from, size_t *begin, size_t *end)
{
    int32_t c;
    for (size_t i = from; i < len; i += uni_next(text + i, len - i, &c)) {
        size_t used = takes(p, text + i, len - i);
        if (used) {
            *begin = i;
            *end = i + used;
            return true;
        }
    }
    return false;
}
