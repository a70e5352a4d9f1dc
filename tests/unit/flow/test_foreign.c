// SPDX-License-Identifier: Apache-2.0
// Workers of other systems that fail and may be asked again: here nobody of ours extracts.
#include <stdio.h>
#include <string.h>

#include "base/js.h"
#include "rig.h"

static struct rig *rig_without_extractor(char id[ID_MAX])
{
    struct rig *rig = rig_new(NULL);
    rig->config.without = 1u << STEP_EXTRACT;
    rig_upload(rig, 1, NULL, id);
    rig_start(rig);
    wait_for(rig_count(rig, TOPIC_FEATURES_EXTRACTION) == 1);
    return rig;
}

// The worker's answer to the request that it got; `number` tells its events apart.
static void worker_fails(struct rig *rig, const char *id, int number)
{
    char text[512];
    snprintf(text, sizeof text,
             "{\"eventId\":\"evt_foreign-%d\",\"imageId\":\"%s\",\"tenantId\":\"default\",\"error\":"
             "{\"code\":\"GPU_LOST\",\"message\":\"gone\",\"retryable\":true},\"attemptNumber\":1}",
             number, id);
    rig_publish(rig, TOPIC_PROCESSING_FAILED, id, text);
}

static void worker_succeeds(struct rig *rig, const char *id)
{
    char text[512];
    snprintf(text, sizeof text,
             "{\"imageId\":\"%s\",\"tenantId\":\"default\",\"model\":\"fake\","
             "\"vectors\":[1,0,0,0,0,0,0,0],\"dimensions\":8}",
             id);
    rig_publish(rig, TOPIC_VECTORS_INDEXING, id, text);
    wait_for(rig_status_is(rig, id, MEDIA_COMPLETED));
    assert_int_equal(rig_vectors(rig, "tenant_default_fake_vectors"), 1);
    assert_int_equal(rig_ledger(rig).searchable, 1);
}

// That the worker got the same request so often, and no other.
static void check_requests(struct rig *rig, size_t wanted)
{
    _cleanup_arena_ struct arena arena = {0};
    size_t count;
    struct elog_record *records = rig_records(rig, &arena, TOPIC_FEATURES_EXTRACTION, &count);
    assert_int_equal(count, wanted);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(rig_header(&records[i], "ce_id"), rig_header(&records[0], "ce_id"));
        assert_string_equal(records[i].key, records[0].key);
    }
}

static void test_g2_a_foreign_failure_is_tried_again(void **state)
{
    char id[ID_MAX];
    struct rig *rig = rig_without_extractor(id);
    for (size_t failures = 1; failures <= 2; failures++) {
        worker_fails(rig, id, (int)failures);
        wait_for(rig_count(rig, TOPIC_FEATURES_EXTRACTION) == failures + 1);
        assert_true(rig_status_is(rig, id, MEDIA_PROCESSING));
    }
    check_requests(rig, 3);
    assert_int_equal(rig_retries(rig), 0);
    assert_int_equal(rig_count(rig, TOPIC_DEADLETTER), 0);
    worker_succeeds(rig, id);
    rig_free(rig);
}

static void test_g3_a_foreign_failure_told_twice_counts_once(void **state)
{
    char id[ID_MAX];
    struct rig *rig = rig_without_extractor(id);
    worker_fails(rig, id, 1);
    worker_fails(rig, id, 1);
    wait_for(rig_lag(rig, STEP_STATUS) == 0 && rig_retries(rig) == 0 && rig_lag(rig, STEP_PREPARE) == 0);
    check_requests(rig, 2);
    worker_succeeds(rig, id);
    rig_free(rig);
}

static void test_a_foreign_failure_after_the_last_attempt_is_a_dead_letter(void **state)
{
    char id[ID_MAX];
    struct rig *rig = rig_without_extractor(id);
    for (size_t failures = 1; failures <= 3; failures++) {
        wait_for(rig_count(rig, TOPIC_FEATURES_EXTRACTION) == failures);
        worker_fails(rig, id, (int)failures);
    }
    wait_for(rig_status_is(rig, id, MEDIA_FAILED));
    _cleanup_arena_ struct arena arena = {0};
    size_t count;
    struct elog_record *letters = rig_records(rig, &arena, TOPIC_DEADLETTER, &count);
    assert_int_equal(count, 1);
    assert_string_equal(rig_header(&letters[0], "__dlq.errors.topic"), "deeplens.images.uploaded");
    assert_string_equal(rig_header(&letters[0], "__dlq.errors.code"), "GPU_LOST");
    assert_string_equal(rig_header(&letters[0], "__dlq.errors.delivery.count"), "3");
    assert_string_equal(rig_media(rig, &arena, id).error_code, "GPU_LOST");
    assert_int_equal(rig_count(rig, TOPIC_PROCESSING_FAILED), 4); // theirs, and one of ours that says it is the last

    _cleanup_json_ json_t *json = NULL;
    const char *letter = arena_printf(&arena, "%d-%lld", letters[0].partition, (long long)letters[0].offset);
    must(admin_deadletter_replay(&rig->flow, letter, &json, err));
    wait_for(rig_count(rig, TOPIC_FEATURES_EXTRACTION) == 4);
    worker_fails(rig, id, 4); // attempts begin anew
    wait_for(rig_count(rig, TOPIC_FEATURES_EXTRACTION) == 5);
    worker_succeeds(rig, id);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_g2_a_foreign_failure_is_tried_again),
        cmocka_unit_test(test_g3_a_foreign_failure_told_twice_counts_once),
        cmocka_unit_test(test_a_foreign_failure_after_the_last_attempt_is_a_dead_letter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
