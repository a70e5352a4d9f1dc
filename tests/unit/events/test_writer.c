// SPDX-License-Identifier: Apache-2.0
// The JSON writer, held against jansson's reader.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/js.h"
#include "events/writer.h"

static void members_stand_in_order(void **state)
{
    static const float floats[] = {1.0f, -0.5f};
    _cleanup_buf_ struct buf out = BUF_INIT(1000);
    struct writer w = {.out = &out};
    writer_object(&w, NULL);
    writer_text(&w, "text", "a\"b");
    writer_text(&w, "none", NULL);
    writer_int(&w, "int", -7);
    writer_real(&w, "real", 0.1);
    writer_bool(&w, "bool", true);
    writer_time(&w, "time", 1705234567250);
    writer_time(&w, "unset", 0);
    writer_array(&w, "empty");
    writer_array_end(&w);
    writer_object(&w, "object");
    writer_object_end(&w);
    writer_floats(&w, "floats", floats, ARRAY_LEN(floats));
    writer_floats(&w, "no floats", NULL, 0);
    writer_object_end(&w);
    assert_string_equal(out.data, "{\"text\":\"a\\\"b\",\"int\":-7,\"real\":0.1,\"bool\":true,"
                                  "\"time\":\"2024-01-14T12:16:07.250Z\",\"empty\":[],\"object\":{},"
                                  "\"floats\":[1.0,-0.5],\"no floats\":[]}");
}

static void any_json_is_copied(void **state)
{
    static const char *const texts[] = {
        "{}",
        "[]",
        "null",
        "{\"a\":[1,-2,3.5,true,false,null,{\"b\":{}}]}",
        "{\"\\\"k\\\\\\n\":\"\\u0001\\u001f\\t\\r\\n\xc3\xa9\xf0\x9f\x98\x80\"}",
        "[9223372036854775807,-9223372036854775808,1e308,-1e-308,0.1]",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        _cleanup_json_ json_t *value = js_parse(texts[i], strlen(texts[i]), NULL), *back = NULL;
        _cleanup_buf_ struct buf out = BUF_INIT(1000);
        struct writer w = {.out = &out};
        assert_non_null(value);
        writer_json(&w, NULL, value);
        back = js_parse(out.data, out.len, NULL);
        assert_true(json_equal(value, back));
    }
}

static void every_byte_makes_valid_json(void **state)
{
    for (int c = 1; c < 256; c++) {
        char text[] = {'<', (char)c, '>', 0};
        _cleanup_buf_ struct buf out = BUF_INIT(100);
        struct writer w = {.out = &out};
        writer_text(&w, NULL, text);
        _cleanup_json_ json_t *back = js_parse(out.data, out.len, NULL);
        assert_string_equal(json_string_value(back), c < 0x80 ? text : "<\xef\xbf\xbd>");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_stand_in_order),
        cmocka_unit_test(any_json_is_copied),
        cmocka_unit_test(every_byte_makes_valid_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
