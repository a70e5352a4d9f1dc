// SPDX-License-Identifier: Apache-2.0
// The partition of a key, against the hashes that the tests of Kafka's Java client name; and names of states.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ports/eventlog.h"

static void keys_go_where_kafka_puts_them(void **state)
{
    static const struct {
        const char *key;
        int32_t hash;
    } known[] = {
        {"21", -973932308},
        {"foobar", -790332482},
        {"a-little-bit-long-string", -985981536},
        {"a-little-bit-longer-string", -1486304829},
        {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
        {"abc", 479470107},
    };
    static const int32_t partitions[] = {1, 2, 3, 7, 100, 1024};
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        for (size_t n = 0; n < ARRAY_LEN(partitions); n++)
            assert_int_equal(elog_partition(known[i].key, partitions[n]), (known[i].hash & 0x7fffffff) % partitions[n]);
}

static void no_key_goes_to_the_first_partition(void **state)
{
    assert_int_equal(elog_partition(NULL, 1024), 0);
    assert_in_range(elog_partition("", 1024), 0, 1023);
}

static void names_of_states_are_read_back(void **state)
{
    for (int i = MEDIA_UPLOADED; i <= MEDIA_DELETING; i++) {
        enum media_status status;
        assert_int_equal(media_status_parse(media_status_name((enum media_status)i), &status), 0);
        assert_int_equal(status, i);
    }
    enum media_status untouched = MEDIA_FAILED;
    assert_int_equal(media_status_parse("Uploaded", &untouched), -1);
    assert_int_equal(media_status_parse(NULL, &untouched), -1);
    assert_int_equal(untouched, MEDIA_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_go_where_kafka_puts_them),
        cmocka_unit_test(no_key_goes_to_the_first_partition),
        cmocka_unit_test(names_of_states_are_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
