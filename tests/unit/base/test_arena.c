// SPDX-License-Identifier: Apache-2.0
// The arena: memory that is zeroed, aligned, distinct, and gone at once.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"

static void gives_zeroed_aligned_memory(void **state)
{
    _cleanup_arena_ struct arena a = {0};
    static const char zero[20000];
    for (size_t size = 0; size < 20000; size = size * 2 + 1) {
        char *p = arena_alloc(&a, size);
        assert_int_equal((uintptr_t)p % 16, 0);
        assert_memory_equal(p, zero, size);
        memset(p, 0xff, size);
    }
}

static void pieces_do_not_overlap(void **state)
{
    enum { PIECES = 2000 };
    _cleanup_arena_ struct arena a = {0};
    unsigned char *pieces[PIECES];
    for (size_t i = 0; i < PIECES; i++) {
        pieces[i] = arena_alloc(&a, i * 7 % 3000 + 1);
        memset(pieces[i], (int)(i % 251), i * 7 % 3000 + 1);
    }
    for (size_t i = 0; i < PIECES; i++)
        for (size_t j = 0; j < i * 7 % 3000 + 1; j++)
            assert_int_equal(pieces[i][j], i % 251);
}

static void copies_text(void **state)
{
    _cleanup_arena_ struct arena a = {0};
    char original[] = "text";
    char *copy = arena_strdup(&a, original);
    original[0] = 'n';
    assert_string_equal(copy, "text");
    assert_null(arena_strdup(&a, NULL));
    assert_memory_equal(arena_memdup(&a, "a\0b", 3), "a\0b", 4);
    assert_string_equal(arena_memdup(&a, NULL, 0), "");
    assert_string_equal(arena_printf(&a, "%s-%d", "x", 42), "x-42");
    char *wide = arena_printf(&a, "%5000d", 7);
    assert_int_equal(strlen(wide), 5000);
    assert_int_equal(wide[4999], '7');
}

static void may_be_used_again(void **state)
{
    struct arena a = {0};
    arena_free(&a);
    arena_free(NULL);
    arena_alloc(&a, 10);
    arena_alloc(&a, 100000); // a block of its own, behind the half-filled one
    char *p = arena_alloc(&a, 10);
    arena_free(&a);
    p = arena_alloc(&a, 10);
    assert_int_equal(p[9], 0);
    arena_free(&a);
    assert_null(a.head);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_zeroed_aligned_memory),
        cmocka_unit_test(pieces_do_not_overlap),
        cmocka_unit_test(copies_text),
        cmocka_unit_test(may_be_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
