// SPDX-License-Identifier: Apache-2.0
// Content hashes against a published value, and table hashes that may never change.
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"

static void is_blake2b_256(void **state)
{
    struct hash_state h;
    char hex[HASH_HEX];
    hash_init(&h);
    hash_update(&h, "abc", 3);
    hash_final(&h, hex);
    assert_string_equal(hex, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
    hash_init(&h);
    hash_final(&h, hex);
    assert_string_equal(hex, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
}

static void does_not_care_how_bytes_arrive(void **state)
{
    char whole[HASH_HEX], parts[HASH_HEX];
    static unsigned char data[10000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * 31);
    struct hash_state h;
    hash_init(&h);
    hash_update(&h, data, sizeof data);
    hash_final(&h, whole);
    hash_init(&h);
    for (size_t at = 0, step = 0; at < sizeof data; at += step) {
        step = (at % 129) + 1 < sizeof data - at ? (at % 129) + 1 : sizeof data - at;
        hash_update(&h, data + at, step);
    }
    hash_final(&h, parts);
    assert_string_equal(whole, parts);
}

// These values are stored (terms of filters): another result would make stored data unreadable.
static void hash64_stays_what_it_is(void **state)
{
    assert_true(hash64("", 0) == 0xb3afc1d287d8d1e4);
    assert_true(hash64("category", 8) == 0x50ba2943333e2120);
    assert_true(hash64("category", 7) != hash64("category", 8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_blake2b_256),
        cmocka_unit_test(does_not_care_how_bytes_arrive),
        cmocka_unit_test(hash64_stays_what_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
