// SPDX-License-Identifier: Apache-2.0
// The bounded buffer: growth, its maximum, and failures that stick.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

static void grows(void **state)
{
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 20);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(buf_printf(&b, "%04d,", i), 0);
    assert_int_equal(b.len, 50000);
    assert_int_equal(strlen(b.data), 50000);
    assert_memory_equal(b.data + 5 * 1234, "1234,", 5);
    assert_memory_equal(b.data + 49995, "9999,", 5);
}

static void keeps_nul_bytes(void **state)
{
    _cleanup_buf_ struct buf b = BUF_INIT(10);
    assert_int_equal(buf_append(&b, "a\0b", 3), 0);
    assert_int_equal(buf_append(&b, NULL, 0), 0);
    assert_int_equal(b.len, 3);
    assert_memory_equal(b.data, "a\0b", 4);
}

static void g8_ends_at_its_maximum(void **state)
{
    _cleanup_buf_ struct buf b = BUF_INIT(8);
    assert_int_equal(buf_puts(&b, "12345678"), 0);
    assert_int_equal(buf_puts(&b, ""), 0);
    assert_int_equal(buf_puts(&b, "9"), -1);
    assert_true(b.failed);
    assert_string_equal(b.data, "12345678");
    assert_null(buf_steal(&b));
}

static void a_failure_stays_until_cleared(void **state)
{
    _cleanup_buf_ struct buf b = BUF_INIT(4);
    assert_int_equal(buf_puts(&b, "12"), 0);
    assert_int_equal(buf_printf(&b, "%s", "345"), -1);
    assert_int_equal(buf_puts(&b, "3"), -1); // would fit
    assert_string_equal(b.data, "12");
    buf_clear(&b);
    assert_int_equal(b.len, 0);
    assert_string_equal(b.data, "");
    assert_int_equal(buf_puts(&b, "3456"), 0);
    assert_string_equal(b.data, "3456");
}

static void refuses_sizes_that_overflow(void **state)
{
    _cleanup_buf_ struct buf b = BUF_INIT(100);
    assert_int_equal(buf_puts(&b, "x"), 0);
    assert_int_equal(buf_reserve(&b, SIZE_MAX), -1);
    buf_clear(&b);
    assert_int_equal(buf_reserve(&b, SIZE_MAX - 1), -1);
    buf_clear(&b);
    assert_int_equal(buf_reserve(&b, 100), 0);
    assert_true(b.cap >= 101);
}

static void hands_its_memory_over(void **state)
{
    struct buf b = BUF_INIT(100);
    char *empty = buf_steal(&b);
    assert_string_equal(empty, "");
    free(empty);
    buf_puts(&b, "text");
    char *text = buf_steal(&b);
    assert_string_equal(text, "text");
    free(text);
    assert_null(b.data);
    assert_int_equal(b.max, 100);
    assert_int_equal(buf_puts(&b, "again"), 0);
    buf_free(&b);
    assert_int_equal(b.len, 0);
    buf_free(&b);
    buf_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows),
        cmocka_unit_test(keeps_nul_bytes),
        cmocka_unit_test(g8_ends_at_its_maximum),
        cmocka_unit_test(a_failure_stays_until_cleared),
        cmocka_unit_test(refuses_sizes_that_overflow),
        cmocka_unit_test(hands_its_memory_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
