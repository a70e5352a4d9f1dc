// SPDX-License-Identifier: Apache-2.0
// Items whose event is lost are put back on their way, once, and no others. The log is the embedded one, made to look
// like one that removes records as it likes.
#include <stdio.h>
#include <string.h>

#include "flow/reconcile.h"
#include "rig.h"

static struct elog_ops forgetful;

static struct rig *open_rig(void)
{
    struct rig *rig = rig_new(NULL);
    forgetful = *rig->flow.log.ops;
    forgetful.caps &= ~(unsigned)ELOG_RETAINS;
    rig->flow.log.ops = &forgetful;
    rig->flow.settings.reconcile_ms = 100;
    rig->flow.settings.retry_max_ms = 1;
    rig->config.by_log = true;
    return rig;
}

static void lose(struct rig *rig, enum event_topic topic)
{
    const struct elog_topic_config config = flow_topic_config(&rig->flow, topic);
    must(rig->flow.log.ops->topic_delete(rig->flow.log.state, event_topic_name(topic), err));
    must(rig->flow.log.ops->topic_create(rig->flow.log.state, event_topic_name(topic), &config, err));
}

static uint64_t look(struct rig *rig)
{
    uint64_t items = 99;
    must(reconcile_look(&rig->flow, &items, err));
    return items;
}

static uint64_t look_later(struct rig *rig)
{
    clock_sleep_ms(rig->flow.settings.reconcile_ms + 20);
    return look(rig);
}

static void goes_on(enum event_topic topic, unsigned stop_before)
{
    struct rig *rig = open_rig();
    char id[ID_MAX];
    rig->config.without = stop_before; // so that the events stay on the topic
    rig_start(rig);
    rig_upload(rig, 1, "{\"models\":[\"fake\",\"second\"]}", id);
    wait_for(rig_count_of(rig, topic, id) > 0);
    rig_stop(rig);
    lose(rig, topic);
    rig->config.without = 0;
    rig_start(rig);
    rig_wait_idle(rig);
    assert_false(rig_status_is(rig, id, MEDIA_COMPLETED)); // nobody knows of it
    assert_int_equal(look_later(rig), 1);
    rig_wait_idle(rig);
    assert_true(rig_status_is(rig, id, MEDIA_COMPLETED));
    assert_int_equal(rig_vectors(rig, "tenant_default_fake_vectors"), 1);
    assert_int_equal(rig_vectors(rig, "tenant_default_second_vectors"), 1);
    assert_int_equal(look_later(rig), 0);
    rig_free(rig);
}

static void test_g2_a_lost_event_is_made_up_for(void **state)
{
    goes_on(TOPIC_IMAGES_UPLOADED, 1 << STEP_PREPARE);
    goes_on(TOPIC_FEATURES_EXTRACTION, 1 << STEP_EXTRACT);
    goes_on(TOPIC_VECTORS_INDEXING, 1 << STEP_INDEX);
    goes_on(TOPIC_PROCESSING_COMPLETED, 1 << STEP_STATUS);
}

static void test_g9_a_lost_deletion_is_made_up_for(void **state)
{
    struct rig *rig = open_rig();
    char id[ID_MAX], same[ID_MAX];
    rig_start(rig);
    rig_upload(rig, 1, NULL, id);
    rig_wait_idle(rig);
    rig_stop(rig);
    must(item_delete(&rig->flow, "default", id, same, err));
    lose(rig, TOPIC_IMAGES_MAINTENANCE);
    rig_start(rig);
    rig_wait_idle(rig);
    assert_int_equal(rig_blobs(rig), 2);
    assert_int_equal(look_later(rig), 1);
    rig_wait_idle(rig);
    assert_int_equal(rig_blobs(rig), 0);
    assert_int_equal(rig_ledger(rig).deleted, 1);
    rig_free(rig);
}

static void test_what_is_still_to_be_read_is_waited_for(void **state)
{
    struct rig *rig = open_rig();
    char id[ID_MAX];
    rig_start(rig);
    rig_wait_idle(rig); // all groups are there
    fake_hold(&rig->fake);
    rig_upload(rig, 1, NULL, id);
    fake_wait_held(&rig->fake, 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(look_later(rig), 0);
    fake_release(&rig->fake);
    rig_wait_idle(rig);
    assert_int_equal(rig_count_of(rig, TOPIC_IMAGES_UPLOADED, id), 1);
    rig_free(rig);
}

static void test_a_topic_that_nobody_reads_is_waited_for(void **state)
{
    struct rig *rig = open_rig();
    char id[ID_MAX];
    rig->config.without = 1 << STEP_EXTRACT; // somebody else's, who is not there yet
    rig_start(rig);
    rig_upload(rig, 1, NULL, id);
    wait_for(rig_count_of(rig, TOPIC_FEATURES_EXTRACTION, id) == 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(look_later(rig), 0);
    rig_free(rig);
}

static void test_a_log_that_keeps_its_records_is_trusted(void **state)
{
    struct rig *rig = open_rig();
    char id[ID_MAX];
    forgetful.caps |= ELOG_RETAINS;
    rig_upload(rig, 1, NULL, id);
    assert_int_equal(look_later(rig), 0);
    forgetful.caps &= ~(unsigned)ELOG_RETAINS;
    rig->flow.settings.reconcile_ms = 0;
    assert_int_equal(look_later(rig), 0);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_g2_a_lost_event_is_made_up_for),
        cmocka_unit_test(test_g9_a_lost_deletion_is_made_up_for),
        cmocka_unit_test(test_what_is_still_to_be_read_is_waited_for),
        cmocka_unit_test(test_a_topic_that_nobody_reads_is_waited_for),
        cmocka_unit_test(test_a_log_that_keeps_its_records_is_trusted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
