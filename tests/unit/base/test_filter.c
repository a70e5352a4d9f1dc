// SPDX-License-Identifier: Apache-2.0
// Filters: what matches what, what is refused with which words, and the limits.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>

#include "base/filter.h"
#include "base/hash.h"
#include "base/js.h"

static json_t *json(const char *text)
{
    json_error_t error;
    json_t *value = json_loads(text, JSON_DECODE_ANY, &error);
    if (!value)
        fail_msg("%s: %s", text, error.text);
    return value;
}

static struct filter *parse(const char *text)
{
    struct error err = {0};
    struct filter *filter;
    _cleanup_json_ json_t *value = json(text);
    if (filter_parse(value, &filter, &err) < 0)
        fail_msg("%s: %s", text, err.message);
    return filter;
}

static bool matches(const char *filter_text, const char *payload_text)
{
    struct term terms[TERMS_MAX];
    _cleanup_json_ json_t *payload = json(payload_text);
    struct filter *filter = parse(filter_text);
    bool result = filter_match(filter, terms, terms_make(payload, terms, TERMS_MAX));
    filter_free(filter);
    return result;
}

static const char *const shoe =
    "{\"category\": \"shoes\", \"price\": 10, \"rating\": 4.5, \"sold\": false, \"count\": 0,"
    " \"tags\": [\"red\", \"summer\", 7], \"size\": {\"width\": 3, \"unit\": {\"name\": \"cm\"}},"
    " \"taken\": \"2026-05-01T12:00:00+02:00\", \"day\": \"2026-05-02\", \"nothing\": null,"
    " \"levels\": [5, 60], \"parts\": [{\"kind\": \"sole\"}, {\"kind\": \"lace\"}],"
    " \"dotted.name\": \"d\", \"code\": \"10\", \"true\": \"true\"}";

static void expect(const char *const *filters, size_t count, bool expected)
{
    for (size_t i = 0; i < count; i++)
        if (matches(filters[i], shoe) != expected)
            fail_msg("%s should%s match", filters[i], expected ? "" : " not");
}

static void test_what_matches(void **state)
{
    const char *const filters[] = {
        "{}",
        "{\"category\": \"shoes\"}",
        "{\"price\": 10}",
        "{\"price\": 10.0}",
        "{\"rating\": 4.5}",
        "{\"sold\": false}",
        "{\"count\": -0.0}",
        "{\"category\": [\"boots\", \"shoes\"]}",
        "{\"price\": [true, \"10\", 10]}",
        "{\"tags\": \"red\"}",
        "{\"tags\": [\"blue\", \"summer\"]}",
        "{\"tags\": 7}",
        "{\"tags\": {\"all\": [\"red\", \"summer\"]}}",
        "{\"tags\": {\"all\": \"red\"}}",
        "{\"tags\": {\"not\": \"blue\"}}",
        "{\"tags\": {\"not\": [\"blue\", \"green\"]}}",
        "{\"missing\": {\"not\": \"blue\"}}",
        "{\"price\": {\"gte\": 10}}",
        "{\"price\": {\"lte\": 10}}",
        "{\"price\": {\"gt\": 9.999999, \"lt\": 10.000001}}",
        "{\"levels\": {\"lt\": 10}}",
        "{\"levels\": {\"gt\": 50}}",
        "{\"levels\": {\"gte\": 5, \"lte\": 5, \"not\": 61}}",
        "{\"taken\": {\"gte\": \"2026-05-01T10:00:00Z\", \"lte\": \"2026-05-01T10:00:00Z\"}}",
        "{\"taken\": {\"lt\": \"2026-05-02\"}}",
        "{\"taken\": \"2026-05-01T12:00:00+02:00\"}",
        "{\"day\": {\"gt\": \"2026-05-01T23:59:59.999Z\"}}",
        "{\"category\": {\"exists\": true}}",
        "{\"count\": {\"exists\": true}}",
        "{\"missing\": {\"exists\": false}}",
        "{\"nothing\": {\"exists\": false}}",
        "{\"size.width\": 3}",
        "{\"size.unit.name\": \"cm\"}",
        "{\"dotted.name\": \"d\"}",
        "{\"parts.kind\": \"lace\"}",
        "{\"and\": [{\"price\": 10}, {\"sold\": false}]}",
        "{\"or\": [{\"price\": 11}, {\"sold\": false}]}",
        "{\"not\": {\"price\": 11}}",
        "{\"not\": {\"price\": 10, \"sold\": true}}",
        "{\"not\": {\"not\": {\"price\": 10}}}",
        "{\"or\": [{\"and\": [{\"price\": 1}, {}]}, {\"not\": {\"or\": [{\"price\": 1}, {\"price\": 2}]}}]}",
        "{\"and\": [{\"or\": [{\"price\": 1}, {\"price\": 10}]}, {\"or\": [{\"sold\": false}, {\"price\": 2}]}]}",
    };
    expect(filters, ARRAY_LEN(filters), true);
}

static void test_what_does_not_match(void **state)
{
    const char *const filters[] = {
        "{\"category\": \"Shoes\"}",
        "{\"category\": \"shoe\"}",
        "{\"Category\": \"shoes\"}",
        "{\"price\": \"10\"}",
        "{\"code\": 10}",
        "{\"true\": true}",
        "{\"sold\": 0}",
        "{\"count\": false}",
        "{\"price\": 10, \"sold\": true}",
        "{\"category\": [\"boots\", \"hats\"]}",
        "{\"tags\": \"blue\"}",
        "{\"tags\": {\"all\": [\"red\", \"blue\"]}}",
        "{\"tags\": {\"not\": \"red\"}}",
        "{\"tags\": {\"not\": [\"blue\", \"red\"]}}",
        "{\"price\": {\"gt\": 10}}",
        "{\"price\": {\"lt\": 10}}",
        "{\"price\": {\"gte\": 10, \"lt\": 10}}",
        "{\"price\": {\"gt\": 5, \"gte\": 11}}",
        "{\"levels\": {\"gt\": 5, \"lt\": 60}}", // one element must lie within both
        "{\"category\": {\"gt\": 0}}",
        "{\"code\": {\"gte\": 10}}",
        "{\"taken\": {\"gt\": \"2026-05-01T10:00:00Z\"}}",
        "{\"taken\": {\"gt\": 0}}",
        "{\"price\": {\"gt\": \"1970-01-01\"}}",
        "{\"missing\": {\"gt\": 0}}",
        "{\"missing\": {\"exists\": true}}",
        "{\"nothing\": {\"exists\": true}}",
        "{\"category\": {\"exists\": false}}",
        "{\"width\": 3}",
        "{\"size.width\": 4}",
        "{\"and\": [{\"price\": 10}, {\"sold\": true}]}",
        "{\"or\": [{\"price\": 11}, {\"sold\": true}]}",
        "{\"not\": {\"price\": 10}}",
        "{\"not\": {}}",
        "{\"not\": {\"or\": [{\"price\": 1}, {\"price\": 10}]}}",
    };
    expect(filters, ARRAY_LEN(filters), false);
}

static void test_empty(void **state)
{
    struct filter *none;
    assert_int_equal(filter_parse(NULL, &none, NULL), 0);
    assert_true(filter_is_empty(none));
    assert_true(filter_match(none, NULL, 0));
    assert_true(json_is_object(filter_json(none)));
    filter_free(none);
    struct filter *empty = parse("{}");
    assert_true(filter_is_empty(empty));
    filter_free(empty);
    struct filter *some = parse("{\"not\": {}}");
    assert_false(filter_is_empty(some));
    assert_false(filter_match(some, NULL, 0));
    filter_free(some);
    filter_free(NULL);
}

static void test_keeps_its_json(void **state)
{
    struct filter *filter;
    json_t *value = json("{\"tags\": [\"a\", \"b\"]}");
    assert_int_equal(filter_parse(value, &filter, NULL), 0);
    json_object_clear(value);
    json_decref(value);
    _cleanup_json_ json_t *expected = json("{\"tags\": [\"a\", \"b\"]}");
    assert_true(json_equal(filter_json(filter), expected));
    filter_free(filter);
}

static void test_messages(void **state)
{
    const struct {
        const char *filter;
        const char *message;
    } cases[] = {
        {"[]", "filter must be an object"},
        {"\"x\"", "filter must be an object"},
        {"{\"price\": {\"gte\": true}}", "filter.price.gte must be a number or a time"},
        {"{\"price\": {\"lt\": \"cheap\"}}", "filter.price.lt must be a number or a time"},
        {"{\"price\": {\"gt\": [1]}}", "filter.price.gt must be a number or a time"},
        {"{\"price\": {\"gt\": 1, \"lt\": \"2026-01-01\"}}", "filter.price.lt must be a number, as the other end is"},
        {"{\"price\": {\"gte\": \"2026-01-01\", \"lte\": 5}}", "filter.price.lte must be a time, as the other end is"},
        {"{\"price\": {}}", "filter.price must have at least one condition"},
        {"{\"price\": {\"near\": 5}}", "filter.price.near is not a condition: there are gt, gte, lt, lte, all, not"},
        {"{\"price\": {\"gtx\": 5}}", "filter.price.gtx is not a condition"},
        {"{\"price\": null}", "filter.price must be a string, a number or a boolean (null is asked for with"},
        {"{\"tags\": []}", "filter.tags must list at least one value"},
        {"{\"tags\": [\"a\", {}]}", "filter.tags[1] must be a string, a number or a boolean"},
        {"{\"tags\": [\"a\", [1]]}", "filter.tags[1] must be a string, a number or a boolean"},
        {"{\"tags\": {\"all\": []}}", "filter.tags.all must list at least one value"},
        {"{\"tags\": {\"not\": {\"gt\": 1}}}", "filter.tags.not must be a string, a number or a boolean"},
        {"{\"tags\": {\"exists\": 1}}", "filter.tags.exists must be true or false"},
        {"{\"and\": {}}", "filter.and must be a list of at least one filter"},
        {"{\"or\": []}", "filter.or must be a list of at least one filter"},
        {"{\"not\": [{}]}", "filter.not must be an object"},
        {"{\"and\": [{}, {\"or\": [{\"price\": {\"lte\": {}}}]}]}", "filter.and[1].or[0].price.lte must be a number"},
        {"{\"and\": [{}, 5]}", "filter.and[1] must be an object"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct error err = {0};
        struct filter *untouched = (void *)&err;
        _cleanup_json_ json_t *value = json(cases[i].filter);
        assert_int_equal(filter_parse(value, &untouched, &err), -1);
        assert_ptr_equal(untouched, &err);
        assert_int_equal(err.code, ERR_INVALID_FILTER);
        if (strncmp(err.message, cases[i].message, strlen(cases[i].message)) != 0)
            fail_msg("%s: %s", cases[i].filter, err.message);
    }
}

static void test_long_names_in_messages(void **state)
{
    for (size_t len = 50; len < 3000; len += 7) {
        struct error err = {0};
        struct filter *filter;
        char *name = malloc(2 * len + 1);
        for (size_t i = 0; i < len; i++)
            memcpy(name + 2 * i, "\xc3\xa4", 2);
        name[2 * len] = 0;
        _cleanup_json_ json_t *value = json_pack("{s:[{s:{s:n}}]}", "and", name + 2 * (len % 2), name);
        free(name);
        assert_int_equal(filter_parse(value, &filter, &err), -1);
        assert_int_equal(err.code, ERR_INVALID_FILTER);
        assert_true(js_utf8_valid(err.message, strlen(err.message)));
        assert_non_null(strstr(err.message, "filter.and[0]."));
    }
}

// A filter of `count` equal conditions in an "or".
static json_t *wide(size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_pack("{s:i}", "a", (int)i));
    return json_pack("{s:o}", "or", list);
}

static json_t *deep(int levels)
{
    json_t *value = json_pack("{s:i}", "a", 1);
    for (int i = 1; i < levels; i++)
        value = json_pack("{s:o}", "not", value);
    return value;
}

static void expect_limit(json_t *value, bool accepted)
{
    struct error err = {0};
    struct filter *filter = NULL;
    assert_int_equal(filter_parse(value, &filter, &err), accepted ? 0 : -1);
    assert_int_equal(err.code, accepted ? ERR_NONE : ERR_INVALID_FILTER);
    filter_free(filter);
    json_decref(value);
}

static void test_limits(void **state)
{
    expect_limit(wide((FILTER_MAX_NODES - 2) / 2), true); // each is an object and a condition
    expect_limit(wide((FILTER_MAX_NODES - 2) / 2 + 1), false);
    expect_limit(deep(FILTER_MAX_DEPTH), true);
    expect_limit(deep(FILTER_MAX_DEPTH + 1), false);
    expect_limit(deep(1000), false);
    for (int more = 0; more < 2; more++) {
        json_t *values = json_array();
        for (int i = 0; i < FILTER_MAX_NODES + more; i++)
            json_array_append_new(values, json_integer(i));
        expect_limit(json_pack("{s:o}", "a", values), more == 0);
    }
}

static void test_terms(void **state)
{
    struct term terms[TERMS_MAX];
    _cleanup_json_ json_t *payload = json(shoe);
    size_t count = terms_make(payload, terms, TERMS_MAX);
    assert_int_equal(count, 21);
    for (size_t i = 1; i < count; i++)
        assert_true(terms[i - 1].path <= terms[i].path);
    assert_int_equal(terms_make(NULL, terms, TERMS_MAX), 0);
    assert_int_equal(terms_make(payload, terms, 0), 0);
    _cleanup_json_ json_t *list = json("[1, 2]");
    assert_int_equal(terms_make(list, terms, TERMS_MAX), 0);
    _cleanup_json_ json_t *single = json("{\"a\": {\"b\": \"text\"}}");
    assert_int_equal(terms_make(single, terms, TERMS_MAX), 1);
    assert_true(terms[0].path == hash64("a.b", 3));
    assert_true(terms[0].value == hash64("text", 4));
    assert_int_equal(terms[0].kind, TERM_STRING);
    _cleanup_json_ json_t *day = json("{\"d\": \"1970-01-02\"}");
    assert_int_equal(terms_make(day, terms, TERMS_MAX), 2);
    assert_int_equal(terms[1].kind, TERM_TIME);
    double ms;
    memcpy(&ms, &terms[1].value, sizeof ms);
    assert_true(ms == 86400000.0);
}

static void test_limits_of_terms(void **state)
{
    struct term terms[TERMS_MAX + 1];
    memset(terms, 0x5A, sizeof terms);
    _cleanup_json_ json_t *payload = json_object();
    for (int i = 0; i < 2 * TERMS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "m%d", i);
        json_object_set_new(payload, name, json_integer(i));
    }
    assert_int_equal(terms_make(payload, terms, TERMS_MAX), TERMS_MAX);
    assert_int_equal(terms[TERMS_MAX].kind, 0x5A);
    assert_int_equal(terms_make(payload, terms, 3), 3);

    char text[1026];
    memset(text, 'x', sizeof text);
    text[1025] = 0;
    _cleanup_json_ json_t *strings = json_pack("{s:s, s:s}", "long", text, "short", text + 1);
    assert_int_equal(terms_make(strings, terms, TERMS_MAX), 1);
    assert_true(terms[0].path == hash64("short", 5));

    _cleanup_json_ json_t *nested = json_pack("{s:i}", "a", 1);
    for (int i = 0; i < 500; i++)
        nested = json_pack("{s:o, s:i}", "n", nested, "b", i);
    assert_true(terms_make(nested, terms, TERMS_MAX) <= FILTER_MAX_DEPTH);
    _cleanup_json_ json_t *arrays = json_integer(1);
    for (int i = 0; i < 500; i++)
        arrays = json_pack("[o]", arrays);
    _cleanup_json_ json_t *holder = json_pack("{s:O}", "a", arrays);
    assert_int_equal(terms_make(holder, terms, TERMS_MAX), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_matches),    cmocka_unit_test(test_what_does_not_match),
        cmocka_unit_test(test_empty),           cmocka_unit_test(test_keeps_its_json),
        cmocka_unit_test(test_messages),        cmocka_unit_test(test_long_names_in_messages),
        cmocka_unit_test(test_limits),          cmocka_unit_test(test_terms),
        cmocka_unit_test(test_limits_of_terms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
