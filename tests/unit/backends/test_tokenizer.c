// SPDX-License-Identifier: Apache-2.0
// Tokenizers: small ones of each kind (tests/fuzz/seeds/tokenizer), with what Hugging Face's `tokenizers` gives for the
// same texts; and what is refused. tests/peers/test_tokenizers.py compares many more.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "backends/extractor/tokenizer.h"
#include "base/buf.h"

struct one {
    const char *text;
    int32_t ids[16]; // ended by -1
};

static struct tokenizer *read_seed(const char *name)
{
    char path[512];
    struct error err = {0};
    struct tokenizer *t;
    snprintf(path, sizeof path, "%s/%s.json", SEEDS, name);
    if (tokenizer_read(path, &t, &err) < 0)
        fail_msg("%s", err.message);
    return t;
}

static void check(const char *name, const struct one *cases, size_t count)
{
    _cleanup_tokenizer_ struct tokenizer *t = read_seed(name);
    for (size_t i = 0; i < count; i++) {
        int32_t ids[64];
        size_t got, wanted = 0;
        struct error err = {0};
        while (cases[i].ids[wanted] >= 0)
            wanted++;
        if (tokenizer_encode(t, cases[i].text, strlen(cases[i].text), 64, ids, &got, &err) < 0)
            fail_msg("\"%s\": %s", cases[i].text, err.message);
        if (got != wanted || memcmp(ids, cases[i].ids, wanted * sizeof *ids) != 0)
            fail_msg("\"%s\": other tokens (%zu) than %zu that begin with %d, %d", cases[i].text, got, wanted,
                     cases[i].ids[0], cases[i].ids[1]);
    }
}

static void wordpiece(void **state)
{
    (void)state;
    static const struct one cases[] = {
        {"A photo of DOGS!", {2, 4, 5, 6, 7, 8, 12, 3, -1}},
        {"Caf\u00e9 \u4f60\u597d", {2, 10, 14, 1, 3, -1}},
        {"  going\tdogs' ", {2, 16, 15, 7, 8, 13, 3, -1}},
        {"xxxxxxxxxxxx a", {2, 1, 4, 3, -1}},
        {"", {2, 3, -1}},
        {"[SEP] a", {2, 3, 4, 3, -1}},
        {"photodog", {2, 1, 3, -1}},
    };
    check("wordpiece", cases, ARRAY_LEN(cases));
}

static void byte_pairs_as_clip_has_them(void **state)
{
    (void)state;
    static const struct one cases[] = {
        {"A dog's dog", {0, 2, 7, 8, 7, 1, -1}},  {"a <|endoftext|> dog", {0, 2, 1, 7, 1, -1}},
        {"e\u0301\u00c9", {0, 11, 1, 13, 1, -1}}, {"12 a!!!", {0, 14, 15, 2, 17, 18, 1, -1}},
        {"zebra", {0, 1, 1, 1, 1, 2, 1, -1}},     {"", {0, 1, -1}},
        {"<|StartOfText|>a", {0, 0, 2, 1, -1}},
    };
    check("clip", cases, ARRAY_LEN(cases));
}

static void unigram(void **state)
{
    (void)state;
    static const struct one cases[] = {
        {"a dog", {2, 4, 1, -1}},
        {"dogs  a ", {4, 6, 2, 1, -1}},
        {"\ufb01 \u00bd dogdog", {3, 13, 3, 11, 0, 12, 4, 5, 1, -1}},
        {"zzz a\u00bf? s", {3, 0, 2, 0, 3, 6, 1, -1}},
        {"", {1, -1}},
        {"</s>  dog", {1, 4, 1, -1}},
        {"\u2460\u2461", {3, 11, 12, 1, -1}},
    };
    check("unigram", cases, ARRAY_LEN(cases));
}

static void long_texts_are_cut_and_keep_their_ends(void **state)
{
    (void)state;
    _cleanup_tokenizer_ struct tokenizer *t = read_seed("wordpiece");
    int32_t ids[5];
    size_t count;
    struct error err = {0};
    assert_int_equal(tokenizer_encode(t, "a dog a dog a dog", 17, 5, ids, &count, &err), 0);
    assert_int_equal(count, 5);
    const int32_t wanted[] = {2, 4, 7, 4, 3};
    assert_memory_equal(ids, wanted, sizeof wanted);
    assert_int_equal(tokenizer_encode(t, "a", 1, 2, ids, &count, &err), -1); // room for the ends alone
}

static void what_is_no_text_is_refused(void **state)
{
    (void)state;
    _cleanup_tokenizer_ struct tokenizer *t = read_seed("unigram");
    static char many[TOKENIZER_TEXT_MAX + 1];
    int32_t ids[8];
    size_t count;
    struct error err = {0};
    memset(many, 'a', sizeof many);
    assert_int_equal(tokenizer_encode(t, many, sizeof many, 8, ids, &count, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(tokenizer_encode(t, many, TOKENIZER_TEXT_MAX, 8, ids, &count, &err), 0);
    assert_int_equal(tokenizer_encode(t, "\xff", 1, 8, ids, &count, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
}

static void tokens_are_found_by_name(void **state)
{
    (void)state;
    _cleanup_tokenizer_ struct tokenizer *t = read_seed("clip");
    assert_int_equal(tokenizer_id(t, "<|endoftext|>"), 1);
    assert_int_equal(tokenizer_id(t, "dog</w>"), 7);
    assert_int_equal(tokenizer_id(t, "cat</w>"), -1);
}

static void what_is_not_known_is_refused_by_name(void **state)
{
    (void)state;
#define MODEL "\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"[UNK]\":0}}"
    static const struct {
        const char *json, *says;
    } cases[] = {
        {"", "no JSON object"},
        {"[]", "no JSON object"},
        {"{}", "vocabulary"},
        {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0}}}", "WordLevel"},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0}}}", "unknown"},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":-1}}}", "no number"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}", "merge 0"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}}", "merge 0"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"dropout\":0.1}}", "dropout"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0]],\"unk_id\":1}}", "unknown"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]],\"unk_id\":0}}", "entry 0"},
        {"{\"normalizer\":{\"type\":\"Nmt\"}," MODEL "}", "Nmt"},
        {"{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(a|b)\"},\"content\":\"\"}," MODEL "}",
         "(a|b)"},
        {"{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\"}," MODEL "}", "charsmap"},
        {"{\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}," MODEL "}", "UnicodeScripts"},
        {"{\"post_processor\":{\"type\":\"Odd\"}," MODEL "}", "Odd"},
        {"{\"added_tokens\":[{\"content\":\"\"}]," MODEL "}", "added token 0"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct error err = {0};
        struct tokenizer *t = NULL;
        assert_int_equal(tokenizer_parse(cases[i].json, strlen(cases[i].json), &t, &err), -1);
        assert_null(t);
        if (err.code != ERR_CONFIG || !strstr(err.message, cases[i].says))
            fail_msg("\"%s\" does not say \"%s\"", err.message, cases[i].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wordpiece),
        cmocka_unit_test(byte_pairs_as_clip_has_them),
        cmocka_unit_test(unigram),
        cmocka_unit_test(long_texts_are_cut_and_keep_their_ends),
        cmocka_unit_test(what_is_no_text_is_refused),
        cmocka_unit_test(tokens_are_found_by_name),
        cmocka_unit_test(what_is_not_known_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
