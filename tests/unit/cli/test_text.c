// SPDX-License-Identifier: Apache-2.0
// Width of text, numbers for people, tables, progress lines.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/progress.h"
#include "cli/table.h"
#include "cli/text.h"

static void width_counts_columns(void **state)
{
    assert_int_equal(text_width(""), 0);
    assert_int_equal(text_width("photo.jpg"), 9);
    assert_int_equal(text_width("ä€"), 2);
    assert_int_equal(text_width("日本"), 4);
    assert_int_equal(text_width("e\xcc\x81"), 1);        // a combining accent
    assert_int_equal(text_width("\xf0\x9f\x98\x80"), 2); // an emoji
    assert_int_equal(text_width("\xff\xfe"), 2);         // no UTF-8: two replacement characters
    assert_int_equal(text_width("\xe2\x82"), 1);         // a torn character
}

static void check_fit(const char *text, size_t width, const char *want)
{
    _cleanup_buf_ struct buf out = BUF_INIT(4096);
    size_t columns = text_fit(&out, text, width);
    assert_string_equal(out.data ? out.data : "", want);
    assert_int_equal(columns, text_width(want));
}

static void fit_cuts_and_cleans(void **state)
{
    check_fit("short", 0, "short");
    check_fit("short", 5, "short");
    check_fit("longer text", 6, "longe…");
    check_fit("日本語", 4, "日…"); // no half character
    check_fit("日本語", 5, "日本…");
    check_fit("a\x1b[31mb", 0, "a\xef\xbf\xbd[31mb"); // no escape sequence reaches the terminal
    check_fit("a\nb", 0,
              "a\xef\xbf\xbd"
              "b");
    check_fit("x\xe2\x80\xaegpj", 0, "x\xef\xbf\xbdgpj"); // nor a change of direction
    check_fit("\xc0\xaf", 0, "\xef\xbf\xbd\xef\xbf\xbd"); // overlong
}

static void numbers_are_readable(void **state)
{
    char out[TEXT_SHORT];
    assert_string_equal(text_bytes(0, out), "0 B");
    assert_string_equal(text_bytes(999, out), "999 B");
    assert_string_equal(text_bytes(1500, out), "1.5 kB");
    assert_string_equal(text_bytes(999999, out), "1.0 MB");
    assert_string_equal(text_bytes(123456789, out), "123 MB");
    assert_string_equal(text_bytes(UINT64_MAX, out), "18 EB");
    assert_string_equal(text_duration(0, out), "0.0 s");
    assert_string_equal(text_duration(-5, out), "0.0 s");
    assert_string_equal(text_duration(8.26, out), "8.3 s");
    assert_string_equal(text_duration(59.4, out), "59 s");
    assert_string_equal(text_duration(125, out), "2 min 05 s");
    assert_string_equal(text_duration(11520, out), "3 h 12 min");
    assert_string_equal(text_count(0, out), "0");
    assert_string_equal(text_count(999, out), "999");
    assert_string_equal(text_count(1000, out), "1,000");
    assert_string_equal(text_count(12345678, out), "12,345,678");
    assert_string_equal(text_count(UINT64_MAX, out), "18,446,744,073,709,551,615");
}

static const struct table_column columns[] = {{"NAME", .shrink = true}, {"SIZE", .right = true}, {"ID"}, {NULL}};

static void tables_align(void **state)
{
    _cleanup_table_ struct table t;
    _cleanup_buf_ struct buf out = BUF_INIT(4096);
    table_init(&t, columns);
    table_add(&t, "日本.jpg", "1 kB", "img_1");
    table_add(&t, "a", "120 kB", NULL);
    table_text(&t, 0, &out);
    assert_string_equal(out.data, "NAME        SIZE  ID\n"
                                  "日本.jpg    1 kB  img_1\n"
                                  "a         120 kB  -\n");
}

static void tables_shrink_what_may(void **state)
{
    _cleanup_table_ struct table t;
    _cleanup_buf_ struct buf out = BUF_INIT(4096);
    table_init(&t, columns);
    table_add(&t, "a-rather-long-name-of-a-file.jpg", "1 kB", "img_123456");
    table_text(&t, 34, &out);
    assert_string_equal(out.data, "NAME              SIZE  ID\n"
                                  "a-rather-long-n…  1 kB  img_123456\n");
    buf_clear(&out);
    table_text(&t, 10, &out); // too narrow for anything: no column falls below its least
    assert_string_equal(out.data, "NAME      SIZE  ID\na-rathe…  1 kB  img_123456\n");
}

static void tables_without_titles(void **state)
{
    _cleanup_table_ struct table t;
    _cleanup_buf_ struct buf out = BUF_INIT(4096);
    table_init(&t, columns);
    t.headless = true;
    table_add(&t, "a", "b", "c");
    table_text(&t, 0, &out);
    assert_string_equal(out.data, "a        b  c\n");
}

static void progress_says_rate_and_time_left(void **state)
{
    struct progress p = {.label = "Uploading", .total = 1000, .total_bytes = 4000000};
    _cleanup_buf_ struct buf out = BUF_INIT(4096);
    progress_line(&p, 250, 1000000, 10, 0, &out);
    assert_string_equal(out.data, "Uploading   25 %  250 of 1,000  25/s  100 kB/s  30 s left");
    buf_clear(&out);
    progress_line(&p, 250, 1000000, 10, 100, &out);
    assert_non_null(strstr(out.data, "[██████████░"));
    assert_non_null(strstr(out.data, "30 s left"));
    assert_true(text_width(out.data) <= 100);
}

static void progress_fits_a_narrow_terminal(void **state)
{
    struct progress p = {.label = "Uploading", .total = 1000, .total_bytes = 4000000};
    for (unsigned width = 20; width < 120; width++) {
        _cleanup_buf_ struct buf out = BUF_INIT(4096);
        progress_line(&p, 250, 1000000, 10, width, &out);
        assert_true(text_width(out.data) <= width);
    }
}

static void progress_at_its_ends(void **state)
{
    struct progress p = {.label = "Processing", .total = 3};
    _cleanup_buf_ struct buf out = BUF_INIT(4096);
    progress_line(&p, 0, 0, 0, 0, &out);
    assert_string_equal(out.data, "Processing    0 %  0 of 3");
    buf_clear(&out);
    progress_line(&p, 3, 0, 2, 0, &out);
    assert_string_equal(out.data, "Processing  100 %  3 of 3  1.5/s");
    buf_clear(&out);
    struct progress none = {.label = "Uploading"};
    progress_line(&none, 0, 0, 0, 0, &out);
    assert_string_equal(out.data, "Uploading  100 %  0 of 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(width_counts_columns),
        cmocka_unit_test(fit_cuts_and_cleans),
        cmocka_unit_test(numbers_are_readable),
        cmocka_unit_test(tables_align),
        cmocka_unit_test(tables_shrink_what_may),
        cmocka_unit_test(tables_without_titles),
        cmocka_unit_test(progress_says_rate_and_time_left),
        cmocka_unit_test(progress_fits_a_narrow_terminal),
        cmocka_unit_test(progress_at_its_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
