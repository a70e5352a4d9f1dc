// SPDX-License-Identifier: Apache-2.0
// The scanner: it finds members of one object, and stops where the text is no JSON.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "events/scan.h"

static void finds(const char *text, const char *key, const char *value)
{
    struct scan_span span;
    assert_true(scan_member(text, strlen(text), 0, key, &span));
    assert_int_equal(span.end - span.start, strlen(value));
    assert_memory_equal(text + span.start, value, strlen(value));
}

static void members_are_found(void **state)
{
    finds("{\"a\":1}", "a", "1");
    finds("{ \"a\" : 1 , \"b\" : true\n}", "b", "true");
    finds("{\"a\":{\"b\":2},\"b\":3}", "b", "3");
    finds("{\"a\":[{\"b\":2},[]],\"b\":[[1],2]}", "b", "[[1],2]");
    finds("{\"a\":\"\\\"b\\\":4}\",\"b\":\"x\\\\\"}", "b", "\"x\\\\\"");
    finds("{\"a\":\"]}\",\"b\":{\"c\":\"}\"}}", "b", "{\"c\":\"}\"}");
}

static void what_is_not_there_is_not_found(void **state)
{
    static const char *const texts[] = {
        "",
        "{",
        "{}",
        "[\"b\",1]",
        "{\"a\":1}",
        "{\"b\"}",
        "{\"b\":}",
        "{\"b\":\"x",
        "{\"b\":[1",
        "{\"b\" 1}",
        "{b:1}",
        "{\"ab\":1}",
        "{\"bb\":1}",
        "{\"\\u0062\":1}",
        "{\"a\":1;",
        "{\"a\":1 \"b\":2}",
        "{\"a\":{\"b\":2}}",
        "{\"a\\",
        "\"b\":1}",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        size_t len = strlen(texts[i]);
        _cleanup_free_ char *exact = malloc(len + 1); // so that a sanitizer sees a step beyond the end
        struct scan_span span = {7, 7};
        memcpy(exact + 1, texts[i], len);
        assert_false(scan_member(exact + 1, len, 0, "b", &span));
        assert_int_equal(span.start, 7);
    }
}

static void values_are_counted_outside_of_strings(void **state)
{
    static const char text[] = "{\"a,[{\":[1,2,{}],\"b\":\"\\\",,,\"}";
    assert_int_equal(scan_values(text, strlen(text)), 1 + 3 + 3);
    assert_int_equal(scan_values("\"", 1), 1);
    assert_int_equal(scan_values("", 0), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_found),
        cmocka_unit_test(what_is_not_there_is_not_found),
        cmocka_unit_test(values_are_counted_outside_of_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
