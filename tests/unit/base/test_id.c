// SPDX-License-Identifier: Apache-2.0
// Identifiers: their form, their order, and which spellings are read.
#include <ctype.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/id.h"

static void is_a_uuidv7_behind_its_prefix(void **state)
{
    char id[ID_MAX], digits[13] = "";
    int64_t before = clock_now_ms();
    id_new("img", id);
    int64_t after = clock_now_ms();
    assert_int_equal(strlen(id), 40);
    assert_memory_equal(id, "img_", 4);
    for (const char *p = id + 4; *p; p++)
        assert_true(*p == '-' || isdigit((unsigned char)*p) || (*p >= 'a' && *p <= 'f'));
    assert_int_equal(id[4 + 14], '7');
    assert_non_null(strchr("89ab", id[4 + 19]));
    memcpy(digits, id + 4, 8);
    memcpy(digits + 8, id + 13, 4);
    int64_t ms = strtoll(digits, NULL, 16);
    assert_in_range(ms, before, after + 1000); // the counter may run ahead of the clock
}

enum { EACH = 20000, THREADS = 4 };

static void *make_ids(void *arg)
{
    char(*ids)[ID_MAX] = arg;
    for (int i = 0; i < EACH; i++)
        id_new("img", ids[i]);
    return NULL;
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void only_ever_grows(void **state)
{
    char(*ids)[ID_MAX] = calloc(EACH * THREADS, ID_MAX);
    pthread_t threads[THREADS];
    assert_non_null(ids);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, make_ids, ids + i * EACH), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++)
        for (int j = 1; j < EACH; j++)
            assert_true(strcmp(ids[i * EACH + j - 1], ids[i * EACH + j]) < 0);
    qsort(ids, EACH * THREADS, ID_MAX, compare);
    for (int i = 1; i < EACH * THREADS; i++)
        assert_true(strcmp(ids[i - 1], ids[i]) != 0);
    free(ids);
}

static void g3_derived_ids_are_the_same_everywhere(void **state)
{
    char one[ID_MAX], two[ID_MAX];
    id_derive("vec", "img_1/builtin", NULL, one);
    id_derive("vec", "img_1/builtin", NULL, two);
    assert_string_equal(one, two);
    assert_string_equal(one, "vec_92b9550a-1f34-89a9-902c-6e1a9eb0e46e");
    id_derive("vec", "img_2/builtin", NULL, two);
    assert_string_not_equal(one, two);
    assert_int_equal(one[4 + 14], '8');
    id_derive("evt", "img_2/builtin", "evt_0193f2a0-1b2c-7d3e-8f40-112233445566", one);
    assert_memory_equal(one, "evt_0193f2a0-1b2c-8", 19);
    assert_string_equal(one + 19, two + 19);
    id_derive("vec", "img_2/builtin", "evt_1", one); // another system's form
    assert_string_equal(one, two);
    assert_int_equal(id_parse("vec", one, two), 0);
    assert_string_equal(one, two);
}

static void reads_both_spellings(void **state)
{
    static const struct {
        const char *text, *id;
    } good[] = {
        {"img_0193f2a0-1b2c-7d3e-8f40-112233445566", "img_0193f2a0-1b2c-7d3e-8f40-112233445566"},
        {"0193f2a0-1b2c-7d3e-8f40-112233445566", "img_0193f2a0-1b2c-7d3e-8f40-112233445566"},
        {"0193F2A0-1B2C-7D3E-8F40-112233445566", "img_0193f2a0-1b2c-7d3e-8f40-112233445566"},
        {"img_123456", "img_123456"},
        {"img_A-b", "img_A-b"},
        {"img_123456789012345678901234567890123456789012345678",
         "img_123456789012345678901234567890123456789012345678"},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        char out[ID_MAX];
        if (id_parse("img", good[i].text, out) < 0)
            fail_msg("%s was refused", good[i].text);
        assert_string_equal(out, good[i].id);
    }
}

static void refuses_what_is_no_id(void **state)
{
    static const char *const bad[] = {
        "",
        "img_",
        "img",
        "123456",
        "vid_123",
        "img_a/b",
        "img_..",
        "img_a b",
        "img_\xc3\xa4",
        "img_a_b",
        "vid_0193f2a0-1b2c-7d3e-8f40-112233445566",
        "0193f2a0-1b2c-7d3e-8f40-11223344556",
        "0193f2a0-1b2c-7d3e-8f40-1122334455667",
        "img_1234567890123456789012345678901234567890123456789",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char out[ID_MAX] = "untouched";
        if (id_parse("img", bad[i], out) == 0)
            fail_msg("\"%s\" was read", bad[i]);
        assert_string_equal(out, "untouched");
    }
    char out[ID_MAX];
    assert_int_equal(id_parse("img", NULL, out), -1);
}

static void takes_the_prefix_off(void **state)
{
    assert_string_equal(id_bare("img_abc"), "abc");
    assert_string_equal(id_bare("abc"), "abc");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_a_uuidv7_behind_its_prefix),
        cmocka_unit_test(only_ever_grows),
        cmocka_unit_test(g3_derived_ids_are_the_same_everywhere),
        cmocka_unit_test(reads_both_spellings),
        cmocka_unit_test(refuses_what_is_no_id),
        cmocka_unit_test(takes_the_prefix_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
