// SPDX-License-Identifier: Apache-2.0
// The topics of the documents, as they say them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "events/event.h"

static void names_parse_to_themselves(void **state)
{
    for (int i = 0; i < TOPIC_COUNT; i++) {
        enum event_topic topic = TOPIC_COUNT;
        assert_int_equal(event_topic_parse(event_topic_name((enum event_topic)i), &topic), 0);
        assert_int_equal(topic, i);
        assert_int_equal(event_topic_partitions(topic), 3);
    }
}

static void others_are_none_of_ours(void **state)
{
    static const char *const others[] = {"", "deeplens.images", "deeplens.images.uploaded2",
                                         "Deeplens.images.uploaded"};
    enum event_topic topic = TOPIC_MESSAGES;
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_int_equal(event_topic_parse(others[i], &topic), -1);
    assert_int_equal(event_topic_parse(NULL, &topic), -1);
    assert_int_equal(topic, TOPIC_MESSAGES);
}

static void retention_and_types(void **state)
{
    const int64_t day = 24 * 60 * 60 * 1000;
    assert_int_equal(event_topic_retention_ms(TOPIC_IMAGES_UPLOADED), 7 * day);
    assert_int_equal(event_topic_retention_ms(TOPIC_PROCESSING_COMPLETED), 30 * day);
    assert_int_equal(event_topic_retention_ms(TOPIC_PROCESSING_FAILED), 30 * day);
    assert_string_equal(event_topic_type(TOPIC_VECTORS_INDEXING), "vector.indexing.requested");
    assert_string_equal(event_topic_type(TOPIC_DEADLETTER), "");
}

static void a_topic_gets_another_name(void **state)
{
    static const char *const wrong[] = {"", ".", "..", "a b", "a/b", "deeplens.images.uploaded"};
    enum event_topic topic = TOPIC_COUNT;
    struct error err;
    char longest[251];
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(event_topic_rename(TOPIC_MESSAGES, wrong[i], &err), -1);
        assert_int_equal(err.code, ERR_CONFIG);
        assert_string_equal(event_topic_name(TOPIC_MESSAGES), "whatsapp-ready-messages");
    }
    memset(longest, 'x', 250);
    longest[250] = 0;
    assert_int_equal(event_topic_rename(TOPIC_MESSAGES, longest, &err), -1);
    longest[249] = 0;
    assert_int_equal(event_topic_rename(TOPIC_MESSAGES, longest, &err), 0);
    assert_int_equal(event_topic_rename(TOPIC_MESSAGES, "bridge.messages_2-b", &err), 0);
    assert_string_equal(event_topic_name(TOPIC_MESSAGES), "bridge.messages_2-b");
    assert_string_equal(event_topic_catalogued(TOPIC_MESSAGES), "whatsapp-ready-messages");
    assert_int_equal(event_topic_parse("bridge.messages_2-b", &topic), 0);
    assert_int_equal(topic, TOPIC_MESSAGES);
    topic = TOPIC_COUNT;
    assert_int_equal(event_topic_parse("whatsapp-ready-messages", &topic), 0); // what was kept before
    assert_int_equal(topic, TOPIC_MESSAGES);
    assert_int_equal(event_topic_parse(longest, &topic), -1);
    assert_int_equal(event_topic_rename(TOPIC_MESSAGES, "whatsapp-ready-messages", &err), 0);
    assert_string_equal(event_topic_name(TOPIC_MESSAGES), "whatsapp-ready-messages");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_parse_to_themselves),
        cmocka_unit_test(others_are_none_of_ours),
        cmocka_unit_test(retention_and_types),
        cmocka_unit_test(a_topic_gets_another_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
