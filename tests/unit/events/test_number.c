// SPDX-License-Identifier: Apache-2.0
// Numbers as text: exact both ways, as short as can be, in any locale, and strictly JSON.
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "events/number.h"

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 11 ^ *seed << 40;
}

static void shown_as(double value, const char *expected)
{
    char text[NUMBER_TEXT];
    assert_int_equal(number_write_double(value, text), strlen(expected));
    assert_string_equal(text, expected);
}

static void doubles_read_well(void **state)
{
    shown_as(0, "0.0");
    shown_as(-0.0, "-0.0");
    shown_as(1, "1.0");
    shown_as(9.99, "9.99");
    shown_as(-0.1, "-0.1");
    shown_as(0.00001234, "0.00001234");
    shown_as(0.000001234, "1.234e-6");
    shown_as(0.0001234, "0.0001234");
    shown_as(123456789012345.0, "123456789012345.0");
    shown_as(1e15, "1e15");
    shown_as(1e300, "1e300");
    shown_as(5e-324, "5e-324");
    shown_as(1.7976931348623157e308, "1.7976931348623157e308");
    shown_as(0.1 + 0.2, "0.30000000000000004");
    char text[NUMBER_TEXT];
    number_write_float(0.1f, text);
    assert_string_equal(text, "0.1");
    number_write_float(3.4028235e38f, text);
    assert_string_equal(text, "3.4028235e38");
}

static size_t significant(const char *text)
{
    size_t count = 0, zeros = 0;
    for (; *text && *text != 'e'; text++) {
        if (*text == '0')
            zeros++;
        if (*text >= '1' && *text <= '9') {
            count += count ? zeros + 1 : 1;
            zeros = 0;
        }
    }
    return count;
}

// A decimal in the middle of two floats reads as the even one; the writer leaves such close calls to no reader.
static bool lies_in_the_middle(const char *text, float value)
{
    double decimal = strtod(text, NULL);
    return decimal == ((double)value + nextafterf(value, INFINITY)) / 2 ||
           decimal == ((double)value + nextafterf(value, -INFINITY)) / 2;
}

static size_t shortest_by_trying(float value)
{
    char text[40];
    for (int precision = 1; precision < 9; precision++) {
        snprintf(text, sizeof text, "%.*e", precision - 1, (double)value);
        if (strtof(text, NULL) == value && !lies_in_the_middle(text, value))
            return (size_t)precision;
    }
    return 9;
}

static void check_float(uint32_t bits)
{
    char text[NUMBER_TEXT];
    float value, back;
    double read;
    memcpy(&value, &bits, sizeof value);
    if (!isfinite(value))
        return;
    size_t len = number_write_float(value, text);
    assert_int_equal(len, strlen(text));
    assert_true(len < NUMBER_TEXT);
    back = strtof(text, NULL);
    assert_memory_equal(&back, &value, sizeof value);
    assert_int_equal(number_read(text, len, &read), len);
    back = (float)read;
    assert_memory_equal(&back, &value, sizeof value);
    if (significant(text) > 9 || (value != 0 && significant(text) > shortest_by_trying(value)))
        fail_msg("%s is longer than need be", text);
}

static void floats_are_exact_and_short(void **state)
{
    uint64_t seed = 7;
    for (uint32_t exponent = 0; exponent < 255; exponent++) { // around each power of two
        for (uint32_t near = 0; near < 4; near++) {
            check_float((exponent << 23) + near);
            check_float((exponent << 23 | 0x7fffff) - near);
        }
    }
    for (int i = 0; i < 200000; i++)
        check_float((uint32_t)next_random(&seed));
    for (double power = 1e-40; power < 1e38; power *= 10) { // around each power of ten
        float value = (float)power;
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        for (uint32_t near = 0; near < 8; near++)
            check_float(bits + near - 4);
    }
    for (int i = 0; i <= 100000; i++) { // what people write
        float value = (float)i / 1000;
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        check_float(bits);
    }
}

static void doubles_are_exact(void **state)
{
    uint64_t seed = 11;
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = next_random(&seed);
        double value, back;
        char text[NUMBER_TEXT];
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value))
            continue;
        size_t len = number_write_double(value, text);
        assert_int_equal(number_read(text, len, &back), len);
        assert_memory_equal(&back, &value, sizeof value);
    }
}

static void reading_rounds_as_the_c_library_does(void **state)
{
    uint64_t seed = 13;
    for (int i = 0; i < 200000; i++) {
        char text[80];
        double value;
        uint64_t random = next_random(&seed);
        int exponent = (int)(next_random(&seed) % 60) - 30;
        if (i % 2)
            snprintf(text, sizeof text, "%llu.%llue%d", (unsigned long long)(random % 100000),
                     (unsigned long long)(next_random(&seed) >> (i % 60)), exponent);
        else
            snprintf(text, sizeof text, "-%llue%d", (unsigned long long)random, exponent);
        assert_int_equal(number_read(text, strlen(text), &value), strlen(text));
        assert_true(value == strtod(text, NULL));
    }
}

static void only_json_numbers_are_read(void **state)
{
    static const char *const bad[] = {"",   "-",   "+1",  ".5",       "1.",  "01", "-01", "00", "1e",    "1e+",
                                      "e5", "NaN", "nan", "Infinity", "inf", "x",  "-x",  " 1", "1e999", "-1e999"};
    static const struct {
        const char *text;
        size_t used;
        double value;
    } good[] = {
        {"0", 1, 0},      {"-0", 2, -0.0},        {"0x10", 1, 0},
        {"1,2", 1, 1},    {"1.5]", 3, 1.5},       {"1e5", 3, 1e5},
        {"1E+5", 4, 1e5}, {"1e-5", 4, 1e-5},      {"0.0000001", 9, 1e-7},
        {"1e-999", 6, 0}, {"0e999999999", 11, 0},
    };
    double value;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (number_read(bad[i], strlen(bad[i]), &value) != 0)
            fail_msg("\"%s\" was read", bad[i]);
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(number_read(good[i].text, strlen(good[i].text), &value), good[i].used);
        assert_memory_equal(&value, &good[i].value, sizeof value);
    }
    assert_int_equal(number_read("123", 2, &value), 2); // never beyond the length
    assert_true(value == 12);
    char longest[65];
    memset(longest, '1', sizeof longest);
    assert_int_equal(number_read(longest, 63, &value), 63);
    assert_int_equal(number_read(longest, 64, &value), 0);
}

static void the_locale_does_not_matter(void **state)
{
    static const char *const commas[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "fr_FR.utf8", "ps_AF"};
    bool found = false;
    for (size_t i = 0; i < ARRAY_LEN(commas) && !found; i++)
        found = setlocale(LC_NUMERIC, commas[i]) != NULL;
    if (!found) // said as skipped: this machine has no locale that writes 1,5
        skip();
    double value;
    shown_as(1.5e-30, "1.5e-30");
    shown_as(0.1 + 0.2, "0.30000000000000004");
    static const char slow[] = "1.23456789012345678901e-30";
    assert_int_equal(number_read(slow, strlen(slow), &value), strlen(slow));
    assert_true(value == 1.23456789012345678901e-30);
    setlocale(LC_NUMERIC, "C");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(doubles_read_well),          cmocka_unit_test(floats_are_exact_and_short),
        cmocka_unit_test(doubles_are_exact),          cmocka_unit_test(reading_rounds_as_the_c_library_does),
        cmocka_unit_test(only_json_numbers_are_read), cmocka_unit_test(the_locale_does_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
