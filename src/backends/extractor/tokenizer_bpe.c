// SPDX-License-Identifier: Apache-2.0
// Byte-pair encoding (CLIP, Gemma): a piece begins as its characters; of all neighbours the pair that was learnt first
// is joined, the leftmost one first, until none is left that was learnt.
#include <string.h>

#include "backends/extractor/tokenizer_int.h"

enum { AFFIX_MAX = 32 };

struct bpe {
    struct pairs pairs;
    char *prefix, *suffix; // of what goes on with a word; of what ends it
    bool fuse_unk, ignore_merges, byte_fallback;
    int32_t bytes[256];
};

// --- Reading

// A merge is ["a", "b"], or "a b" in older files.
static bool split_merge(const json_t *merge, const char **left, size_t *left_len, const char **right)
{
    if (json_is_string(merge)) {
        *left = json_string_value(merge);
        const char *space = strchr(*left, ' ');
        if (!space || strchr(space + 1, ' '))
            return false;
        *left_len = (size_t)(space - *left);
        *right = space + 1;
        return true;
    }
    *left = json_string_value(json_array_get(merge, 0));
    *right = json_string_value(json_array_get(merge, 1));
    *left_len = *left ? strlen(*left) : 0;
    return *left && *right;
}

static int read_merge(struct token_model *m, size_t rank, const json_t *merge, struct error *err)
{
    struct bpe *b = m->own;
    const char *left, *right;
    size_t left_len, prefix = strlen(b->prefix);
    char joined[2 * TOKENIZER_TOKEN_MAX];
    if (!split_merge(merge, &left, &left_len, &right) || left_len > TOKENIZER_TOKEN_MAX || strlen(right) < prefix ||
        strlen(right) >= TOKENIZER_TOKEN_MAX)
        return tokenizer_refuse(err, "merge %zu is no pair of tokens", rank);
    memcpy(joined, left, left_len);
    memcpy(joined + left_len, right + prefix, strlen(right) - prefix);
    int32_t a = vocab_find(&m->vocab, left, left_len), c = vocab_find(&m->vocab, right, strlen(right)),
            whole = vocab_find(&m->vocab, joined, left_len + strlen(right) - prefix);
    if (a < 0 || c < 0 || whole < 0)
        return tokenizer_refuse(err, "merge %zu is of tokens that are not in the vocabulary", rank);
    pairs_add(&b->pairs, a, c, (int32_t)rank, whole);
    return 0;
}

static int read_merges(struct token_model *m, const json_t *json, struct error *err)
{
    struct bpe *b = m->own;
    const json_t *merges = js_arr(json, "merges");
    size_t count = json_array_size(merges), i;
    json_t *merge;
    if (count > TOKENIZER_VOCAB_MAX)
        return tokenizer_refuse(err, "it has too many merges");
    pairs_init(&b->pairs, count);
    json_array_foreach(merges, i, merge)
    {
        if (read_merge(m, i, merge, err) < 0)
            return -1;
    }
    return 0;
}

static int bpe_parse(struct token_model *m, const json_t *json, struct error *err)
{
    struct bpe *b = m->own = calloc(1, sizeof *b);
    const char *unk = js_str(json, "unk_token", NULL);
    if (!b)
        abort();
    b->prefix = strdup(js_str(json, "continuing_subword_prefix", ""));
    b->suffix = strdup(js_str(json, "end_of_word_suffix", ""));
    b->fuse_unk = js_bool(json, "fuse_unk", false);
    b->ignore_merges = js_bool(json, "ignore_merges", false);
    if (strlen(b->prefix) >= AFFIX_MAX || strlen(b->suffix) >= AFFIX_MAX)
        return tokenizer_refuse(err, "its prefix or suffix is too long");
    if (js_num(json, "dropout", 0) > 0)
        return tokenizer_refuse(err, "it draws lots (dropout)");
    if (token_vocab_parse(m, json, err) < 0 || read_merges(m, json, err) < 0)
        return -1;
    m->unk = unk ? vocab_find(&m->vocab, unk, strlen(unk)) : -1;
    b->byte_fallback = js_bool(json, "byte_fallback", false) && token_bytes_find(m, b->bytes);
    return 0;
}

static void bpe_free(struct token_model *m)
{
    struct bpe *b = m->own;
    if (!b)
        return;
    pairs_free(&b->pairs);
    free(b->prefix);
    free(b->suffix);
    free(b);
}

// --- Joining

struct symbols { // a list in an array: removing one costs nothing
    struct symbol {
        int32_t id;
        size_t next, before;
    } * at;
    size_t count;
};

static void add_symbol(struct symbols *s, int32_t id)
{
    s->at[s->count] = (struct symbol){id, s->count + 1, s->count ? s->count - 1 : SIZE_MAX};
    s->count++;
}

// A piece's characters as tokens; what is none is unknown, or its bytes.
static void begin(const struct token_model *m, const char *piece, size_t len, struct symbols *s)
{
    const struct bpe *b = m->own;
    bool after_unknown = false;
    for (size_t at = 0; at < len;) {
        int32_t c;
        char name[2 * AFFIX_MAX + 8];
        size_t step = uni_next(piece + at, len - at, &c), n = 0;
        n += at ? strlen(memcpy(name, b->prefix, strlen(b->prefix) + 1)) : 0;
        memcpy(name + n, piece + at, step);
        n += step;
        if (at + step == len) {
            memcpy(name + n, b->suffix, strlen(b->suffix));
            n += strlen(b->suffix);
        }
        int32_t id = vocab_find(&m->vocab, name, n);
        if (id >= 0) {
            add_symbol(s, id);
        } else if (b->byte_fallback) {
            for (size_t i = 0; i < n; i++)
                add_symbol(s, b->bytes[(unsigned char)name[i]]);
        } else if (m->unk >= 0 && !(b->fuse_unk && after_unknown)) {
            add_symbol(s, m->unk);
        }
        after_unknown = id < 0 && !b->byte_fallback;
        at += step;
    }
}

// Pairs that may be joined wait in a heap, the first learnt on top, of equals the leftmost. One whose symbols have
// changed meanwhile is passed over.
struct waiting {
    struct wait {
        int32_t rank, merged, left, right;
        size_t at;
    } * heap;
    size_t count;
};

static bool before(const struct wait *a, const struct wait *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void push(struct waiting *w, struct wait wait)
{
    size_t i = w->count++;
    for (; i && before(&wait, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = wait;
}

static struct wait pop(struct waiting *w)
{
    struct wait top = w->heap[0], last = w->heap[--w->count];
    size_t i = 0;
    while (2 * i + 1 < w->count) {
        size_t child = 2 * i + 1;
        child += child + 1 < w->count && before(&w->heap[child + 1], &w->heap[child]);
        if (!before(&w->heap[child], &last))
            break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return top;
}

static void consider(const struct bpe *b, const struct symbols *s, size_t at, struct waiting *w)
{
    if (at >= s->count || s->at[at].next >= s->count)
        return;
    int32_t left = s->at[at].id, right = s->at[s->at[at].next].id;
    const struct pair_entry *pair = pairs_find(&b->pairs, left, right);
    if (pair)
        push(w, (struct wait){pair->rank, pair->merged, left, right, at});
}

static void join(const struct bpe *b, struct symbols *s, struct waiting *w)
{
    for (size_t i = 0; i + 1 < s->count; i++)
        consider(b, s, i, w);
    while (w->count) {
        struct wait top = pop(w);
        struct symbol *left = &s->at[top.at];
        if (left->id != top.left || left->next >= s->count || s->at[left->next].id != top.right)
            continue;
        s->at[left->next].id = -1; // gone
        left->id = top.merged;
        left->next = s->at[left->next].next;
        if (left->next < s->count)
            s->at[left->next].before = top.at;
        consider(b, s, left->before, w);
        consider(b, s, top.at, w);
    }
}

static void bpe_encode(const struct token_model *m, const char *piece, size_t len, struct token_list *out)
{
    const struct bpe *b = m->own;
    int32_t whole = b->ignore_merges ? vocab_find(&m->vocab, piece, len) : -1;
    if (whole >= 0) {
        token_add(out, whole);
        return;
    }
    size_t most = len + AFFIX_MAX * 2 + (b->byte_fallback ? len * AFFIX_MAX : 0);
    struct symbols s = {.at = malloc(most * sizeof *s.at)};
    struct waiting w = {.heap = malloc(most * 3 * sizeof *w.heap)}; // each symbol's pair, and two more for each join
    if (!s.at || !w.heap)
        abort(); // bounded by TOKENIZER_NORMAL_MAX
    begin(m, piece, len, &s);
    join(b, &s, &w);
    for (size_t i = 0; i < s.count; i = s.at[i].next)
        token_add(out, s.at[i].id);
    free(s.at);
    free(w.heap);
}

const struct token_model_ops token_model_bpe = {
    .type = "BPE", .parse = bpe_parse, .free = bpe_free, .encode = bpe_encode};
