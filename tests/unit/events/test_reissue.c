// SPDX-License-Identifier: Apache-2.0
// Another attempt: everything else stays, byte for byte.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/js.h"
#include "events/event.h"
#include "examples.h"

static void becomes(const char *message, const char *expected)
{
    _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
    struct error err;
    if (event_reissue(message, strlen(message), "evt_1", 2, 3, &out, &err) < 0)
        fail_msg("%s", err.message);
    assert_string_equal(out.data, expected);
}

static void policy_is_replaced_in_place(void **state)
{
    becomes(
        "{ \"eventId\": \"x\", \"a\": 1.10e2, \"retryPolicy\": {\"maxAttempts\": 9, \"backoffMs\": 5, \"own\": 0.1},"
        "\"z\": 18446744073709551615 }",
        "{ \"eventId\": \"x\", \"a\": 1.10e2, \"retryPolicy\": "
        "{\"maxAttempts\":3,\"backoffMs\":5,\"own\":0.1,\"currentAttempt\":2},\"z\": 18446744073709551615 }");
}

static void what_is_missing_is_put_in_front(void **state)
{
    becomes("{\"imageId\":\"img_1\"}",
            "{\"eventId\":\"evt_1\",\"retryPolicy\":{\"maxAttempts\":3,\"currentAttempt\":2},\"imageId\":\"img_1\"}");
    becomes("{\"eventId\":\"x\"}", "{\"retryPolicy\":{\"maxAttempts\":3,\"currentAttempt\":2},\"eventId\":\"x\"}");
    becomes(" {} ", "{\"eventId\":\"evt_1\",\"retryPolicy\":{\"maxAttempts\":3,\"currentAttempt\":2}} ");
}

static void null_and_odd_values_are_replaced(void **state)
{
    becomes("{\"retryPolicy\":null,\"eventId\":null}",
            "{\"retryPolicy\":{\"maxAttempts\":3,\"currentAttempt\":2},\"eventId\":\"evt_1\"}");
    becomes("{\"retryPolicy\":[{}],\"eventId\":\"\",\"b\":2}",
            "{\"retryPolicy\":{\"maxAttempts\":3,\"currentAttempt\":2},\"eventId\":\"evt_1\",\"b\":2}");
}

static void escaped_names_are_seen(void **state)
{
    becomes("{\"retry\\u0050olicy\":{\"backoffMs\":7},\"eventId\":\"x\"}",
            "{\"retryPolicy\":{\"backoffMs\":7,\"maxAttempts\":3,\"currentAttempt\":2},\"eventId\":\"x\"}");
}

static void names_within_other_values_are_left_alone(void **state)
{
    becomes("{\"s\":\"\\\"retryPolicy\\\":{\",\"data\":{\"retryPolicy\":1,\"eventId\":\"y\"},\"eventId\":\"x\"}",
            "{\"retryPolicy\":{\"maxAttempts\":3,\"currentAttempt\":2},\"s\":\"\\\"retryPolicy\\\":{\",\"data\":"
            "{\"retryPolicy\":1,\"eventId\":\"y\"},\"eventId\":\"x\"}");
}

// Read again, the event says its new attempt and is the same otherwise; a second reissue changes only the count.
static void every_example_can_be_reissued(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        _cleanup_buf_ struct buf once = BUF_INIT(1 << 20), twice = BUF_INIT(1 << 20);
        _cleanup_arena_ struct arena arena = {0};
        _cleanup_json_ json_t *root = NULL, *before = json_loads(examples[i].json, 0, NULL), *after = NULL;
        struct event ev;
        static const char id[] = "evt_00000000-0000-8000-8000-000000000001";
        assert_int_equal(event_reissue(examples[i].json, strlen(examples[i].json), id, 2, 4, &once, NULL), 0);
        assert_int_equal(event_reissue(once.data, once.len, "evt_other", 3, 4, &twice, NULL), 0);
        after = js_parse(twice.data, twice.len, NULL);
        assert_int_equal(event_decode(examples[i].topic, twice.data, twice.len, "evt_none", &arena, &ev, &root, NULL),
                         0);
        assert_int_equal(ev.attempt, 3);
        assert_int_equal(ev.max_attempts, 4);
        if (examples[i].flat) {
            assert_string_equal(ev.id, id);
            json_object_del(after, "eventId");
        }
        json_object_del(before, "retryPolicy");
        json_object_del(after, "retryPolicy");
        assert_true(json_equal(before, after));
    }
}

static void what_is_no_object_is_refused(void **state)
{
    static const char *const bad[] = {"", "[]", "7", "null", "{", "{}{}", "{\"a\":1,\"a\":2}", "\xff"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
        struct error err;
        buf_puts(&out, "before");
        assert_int_equal(event_reissue(bad[i], strlen(bad[i]), "evt_1", 2, 3, &out, &err), -1);
        assert_int_equal(err.code, ERR_EVENT_INVALID);
        assert_string_equal(out.data, "before");
    }
}

static void a_full_buffer_stays_as_it_was(void **state)
{
    static const char message[] = "{\"imageId\":\"img_1\"}";
    for (size_t max = 0; max < 87; max++) {
        _cleanup_buf_ struct buf out = BUF_INIT(max);
        struct error err;
        assert_int_equal(event_reissue(message, strlen(message), "evt_1", 2, 3, &out, &err), -1);
        assert_int_equal(out.len, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(policy_is_replaced_in_place),
        cmocka_unit_test(what_is_missing_is_put_in_front),
        cmocka_unit_test(null_and_odd_values_are_replaced),
        cmocka_unit_test(escaped_names_are_seen),
        cmocka_unit_test(names_within_other_values_are_left_alone),
        cmocka_unit_test(every_example_can_be_reissued),
        cmocka_unit_test(what_is_no_object_is_refused),
        cmocka_unit_test(a_full_buffer_stays_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
