// SPDX-License-Identifier: Apache-2.0
// The JSON helpers: exact parsing, tolerant reading, and UTF-8.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/js.h"

static json_t *parse(const char *text)
{
    struct error err;
    json_t *value = js_parse(text, strlen(text), &err);
    if (!value)
        fail_msg("%s", err.message);
    return value;
}

static void parses_exactly_one_value(void **state)
{
    _cleanup_json_ json_t *number = parse(" 7 ");
    assert_int_equal(json_integer_value(number), 7);
    static const char *const bad[] = {
        "", "{", "{\"a\":1} x", "{\"a\":1,\"a\":2}", "[1,]", "nul", "{'a':1}", "\"\\u0000\"", "\"\xff\"", "1e999",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct error err = {0};
        json_t *value = js_parse(bad[i], strlen(bad[i]), &err);
        if (value || err.code != ERR_INVALID_JSON)
            fail_msg("%s was read", bad[i]);
    }
    struct error err;
    assert_null(js_parse("{\"a\":\n  x}", 10, &err));
    assert_non_null(strstr(err.message, "line 2"));
}

static void respects_the_length(void **state)
{
    struct error err;
    _cleanup_json_ json_t *value = js_parse("12345", 2, &err);
    assert_int_equal(json_integer_value(value), 12);
}

static void refuses_depth_without_end(void **state)
{
    struct error err = {0};
    static char deep[100000];
    memset(deep, '[', sizeof deep);
    assert_null(js_parse(deep, sizeof deep, &err));
    assert_int_equal(err.code, ERR_INVALID_JSON);
}

static void reads_members_tolerantly(void **state)
{
    _cleanup_json_ json_t *o =
        parse("{\"s\":\"text\",\"i\":42,\"r\":2.9,\"big\":1e300,\"t\":true,\"n\":null,\"o\":{},\"a\":[]}");
    assert_string_equal(js_str(o, "s", "none"), "text");
    assert_string_equal(js_str(o, "i", "none"), "none");
    assert_null(js_str(o, "missing", NULL));
    assert_int_equal(js_int(o, "i", 7), 42);
    assert_int_equal(js_int(o, "r", 7), 2);
    assert_int_equal(js_int(o, "big", 7), 7);
    assert_int_equal(js_int(o, "s", 7), 7);
    assert_true(js_num(o, "r", 0) == 2.9);
    assert_true(js_num(o, "i", 0) == 42);
    assert_true(js_num(o, "t", 0.5) == 0.5);
    assert_true(js_bool(o, "t", false));
    assert_true(js_bool(o, "i", true));
    assert_false(js_bool(o, "n", false));
    assert_non_null(js_obj(o, "o"));
    assert_null(js_obj(o, "a"));
    assert_non_null(js_arr(o, "a"));
    assert_null(js_arr(o, "o"));
    assert_null(js_obj(NULL, "o"));
    assert_int_equal(js_int(NULL, "i", 7), 7);
}

static void writes_compactly(void **state)
{
    _cleanup_json_ json_t *o = parse("{ \"a\" : [ 1, 2.5, \"x\" ], \"b\" : null }");
    _cleanup_buf_ struct buf out = BUF_INIT(1000);
    assert_int_equal(js_write(o, &out), 0);
    assert_string_equal(out.data, "{\"a\":[1,2.5,\"x\"],\"b\":null}");
    _cleanup_free_ char *text = js_dumps(o);
    assert_string_equal(text, out.data);
    _cleanup_buf_ struct buf small = BUF_INIT(5);
    assert_int_equal(js_write(o, &small), -1);
}

static void sets_members(void **state)
{
    _cleanup_json_ json_t *o = json_object();
    js_set_str(o, "a", "x");
    js_set_str(o, "b", NULL);
    js_set_time(o, "t", 1795343400123);
    js_set_time(o, "u", 0);
    _cleanup_free_ char *text = js_dumps(o);
    assert_string_equal(text, "{\"a\":\"x\",\"t\":\"2026-11-22T10:30:00.123Z\"}");
}

static void mends_utf8(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"", ""},
        {"plain", "plain"},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"a\xff"
         "b",
         "a\xef\xbf\xbd"
         "b"},
        {"\xc3", "\xef\xbf\xbd"},
        {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xe0\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf0\x80\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf5\x80\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t len = strlen(cases[i].in);
        _cleanup_free_ char *mended = js_utf8(cases[i].in, len);
        assert_string_equal(mended, cases[i].out);
        assert_true(js_utf8_valid(mended, strlen(mended)));
        assert_int_equal(js_utf8_valid(cases[i].in, len), strcmp(cases[i].in, cases[i].out) == 0);
    }
    _cleanup_free_ char *worst = js_utf8("\xff\xff\xff\xff", 4);
    assert_int_equal(strlen(worst), 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_exactly_one_value),
        cmocka_unit_test(respects_the_length),
        cmocka_unit_test(refuses_depth_without_end),
        cmocka_unit_test(reads_members_tolerantly),
        cmocka_unit_test(writes_compactly),
        cmocka_unit_test(sets_members),
        cmocka_unit_test(mends_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
