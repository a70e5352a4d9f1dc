// SPDX-License-Identifier: Apache-2.0
// Going on: a worker takes an item through its steps at once. What is told is the same as when each event came by the
// log.
#include <stdlib.h>
#include <string.h>

#include "rig.h"

static size_t at_work(struct rig *rig)
{
    pthread_mutex_lock(&rig->fake.lock);
    size_t calls = rig->fake.calls;
    pthread_mutex_unlock(&rig->fake.lock);
    return calls;
}

// Handled once, though each event stands on its topic and every group comes to its end.
static void test_g3_what_went_on_is_not_done_again(void **state)
{
    enum { ITEMS = 40 };
    struct rig *rig = rig_new(NULL);
    char ids[ITEMS][ID_MAX];
    for (int i = 0; i < ITEMS; i++)
        rig_upload(rig, i, NULL, ids[i]);
    rig_start(rig);
    rig_wait_idle(rig); // no lag in any group: offsets are committed behind what never was a task
    assert_int_equal(rig->fake.count, ITEMS);
    for (int i = 0; i < ITEMS; i++) {
        assert_int_equal(rig_count_of(rig, TOPIC_FEATURES_EXTRACTION, ids[i]), 1);
        assert_int_equal(rig_count_of(rig, TOPIC_VECTORS_INDEXING, ids[i]), 1);
        assert_int_equal(rig_count_of(rig, TOPIC_PROCESSING_COMPLETED, ids[i]), 1);
    }
    rig_reopen(rig, NULL); // a new process remembers nothing but what is stored
    rig_start(rig);
    rig_wait_idle(rig);
    assert_int_equal(rig->fake.count, ITEMS);
    assert_int_equal(rig_ledger(rig).searchable, ITEMS);
    rig_free(rig);
}

static enum error_code fails_once(struct fake *fake, size_t call, const char *model, int code)
{
    return call == 1 ? ERR_EXTRACTION_FAILED : ERR_NONE;
}

static enum error_code always_corrupt(struct fake *fake, size_t call, const char *model, int code)
{
    return ERR_IMAGE_CORRUPT;
}

// A failure on the way is an attempt like any other: told, put off, done again; the step before stays done.
static void test_g2_a_failure_on_the_way_is_one_attempt(void **state)
{
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX];
    rig->fake.script = fails_once;
    rig_upload(rig, 1, NULL, id);
    rig_start(rig);
    rig_wait_idle(rig);
    assert_true(rig_status_is(rig, id, MEDIA_COMPLETED));
    assert_int_equal(at_work(rig), 2);
    assert_int_equal(rig_count_of(rig, TOPIC_PROCESSING_FAILED, id), 1);
    assert_int_equal(rig_count_of(rig, TOPIC_FEATURES_EXTRACTION, id), 2);
    assert_int_equal(rig_count_of(rig, TOPIC_VECTORS_INDEXING, id), 1);
    rig_free(rig);
}

// The last failure says where its event stands in the log, though it never came from there.
static void test_g5_a_last_failure_on_the_way_names_its_place(void **state)
{
    struct rig *rig = rig_new(NULL);
    _cleanup_arena_ struct arena arena = {0};
    char id[ID_MAX], place[32];
    size_t count;
    rig->fake.script = always_corrupt;
    rig_upload(rig, 1, NULL, id);
    rig_start(rig);
    rig_wait_idle(rig);
    assert_true(rig_status_is(rig, id, MEDIA_FAILED));
    assert_int_equal(at_work(rig), 1);
    const struct elog_record *event = rig_records(rig, &arena, TOPIC_FEATURES_EXTRACTION, &count);
    assert_int_equal(count, 1);
    const struct elog_record *letter = rig_records(rig, &arena, TOPIC_DEADLETTER, &count);
    assert_int_equal(count, 1);
    assert_int_equal(letter->value_len, event->value_len);
    assert_memory_equal(letter->value, event->value, event->value_len);
    assert_string_equal(rig_header(letter, "ce_id"), rig_header(event, "ce_id"));
    assert_string_equal(rig_header(letter, "__dlq.errors.topic"), event->topic);
    snprintf(place, sizeof place, "%d", event->partition);
    assert_string_equal(rig_header(letter, "__dlq.errors.partition"), place);
    snprintf(place, sizeof place, "%lld", (long long)event->offset);
    assert_string_equal(rig_header(letter, "__dlq.errors.offset"), place);
    rig_free(rig);
}

// What the store refuses for a later step takes nothing from the earlier one: that is settled by itself, and the rest
// comes by the log.
static void test_g3_a_later_step_that_cannot_be_settled(void **state)
{
    static const char *const plans[] = {
        "meta.step_list:INJECTED_FAULT@1",
        "eventlog.publish_tx:INJECTED_FAULT@3", // 1: the upload's, 2: prepare's, 3: extract's
        "meta.inbox_end:INJECTED_FAULT@2",      "index.upsert:UNAVAILABLE@1", "index.flush:UNAVAILABLE@1",
    };
    for (size_t i = 0; i < ARRAY_LEN(plans); i++) {
        struct rig *rig = rig_new(plans[i]);
        char id[ID_MAX];
        rig_upload(rig, 1, NULL, id);
        rig_start(rig);
        rig_wait_idle(rig);
        assert_true(rig_status_is(rig, id, MEDIA_COMPLETED));
        assert_int_equal(rig_count_of(rig, TOPIC_FEATURES_EXTRACTION, id), 1);
        assert_int_equal(rig_count_of(rig, TOPIC_PROCESSING_COMPLETED, id), 1);
        assert_int_equal(rig_count(rig, TOPIC_DEADLETTER), 0);
        assert_int_equal(rig_vectors(rig, "tenant_default_fake_vectors"), 1);
        rig_free(rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_g3_what_went_on_is_not_done_again),
        cmocka_unit_test(test_g2_a_failure_on_the_way_is_one_attempt),
        cmocka_unit_test(test_g5_a_last_failure_on_the_way_names_its_place),
        cmocka_unit_test(test_g3_a_later_step_that_cannot_be_settled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
