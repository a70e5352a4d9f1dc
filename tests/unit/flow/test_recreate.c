// SPDX-License-Identifier: Apache-2.0
// A topic made anew: whatever stood on it, and however far an item was, everything ends, and nothing is done twice.
#include <stdio.h>
#include <string.h>

#include "base/js.h"
#include "rig.h"

static int setup(void **state)
{
    *state = rig_new(NULL);
    return 0;
}

static int teardown(void **state)
{
    rig_free(*state);
    return 0;
}

static json_t *recreate(struct rig *rig, enum event_topic topic, bool dry_run)
{
    json_t *json = NULL;
    must(admin_topic_recreate(&rig->flow, event_topic_name(topic), dry_run, &json, err));
    return json;
}

static void assert_recreates(struct rig *rig, enum event_topic topic, int64_t items)
{
    _cleanup_json_ json_t *json = recreate(rig, topic, false);
    assert_int_equal(js_int(json, "itemsPutBack", -1), items);
}

static void upload_some(struct rig *rig, int count, char ids[][ID_MAX])
{
    for (int i = 0; i < count; i++)
        rig_upload(rig, i, NULL, ids[i]);
}

// Runs until all is done; the items are completed, once.
static void assert_all_end(struct rig *rig, int count, char ids[][ID_MAX])
{
    rig_start(rig);
    rig_wait_idle(rig);
    for (int i = 0; i < count; i++) {
        assert_true(rig_status_is(rig, ids[i], MEDIA_COMPLETED));
        assert_int_equal(rig_count_of(rig, TOPIC_PROCESSING_COMPLETED, ids[i]), 1);
    }
    assert_int_equal(rig_vectors(rig, "tenant_default_fake_vectors"), count);
    assert_int_equal(rig_ledger(rig).searchable, count);
    rig_stop(rig);
}

static void test_g2_uploads_that_nobody_has_read(void **state)
{
    struct rig *rig = *state;
    char ids[130][ID_MAX]; // more than a page
    upload_some(rig, 130, ids);
    _cleanup_json_ json_t *plan = recreate(rig, TOPIC_IMAGES_UPLOADED, true);
    assert_int_equal(js_int(plan, "recordsRemoved", 0), 130);
    assert_int_equal(js_int(plan, "itemsPutBack", 0), 130);
    assert_int_equal(rig_count(rig, TOPIC_IMAGES_UPLOADED), 130); // nothing was done
    assert_recreates(rig, TOPIC_IMAGES_UPLOADED, 130);
    assert_int_equal(rig_count(rig, TOPIC_IMAGES_UPLOADED), 130);
    assert_all_end(rig, 130, ids);
    assert_int_equal(rig->fake.count, 130);
    assert_recreates(rig, TOPIC_IMAGES_UPLOADED, 0); // what is completed stays out of it
}

static void test_an_upload_comes_back_as_it_was(void **state)
{
    struct rig *rig = *state;
    _cleanup_arena_ struct arena arena = {0};
    char id[ID_MAX];
    size_t count;
    rig_upload(rig, 1, "{\"priority\":\"high\",\"generateThumbnail\":false}", id);
    struct elog_record *before = rig_records(rig, &arena, TOPIC_IMAGES_UPLOADED, &count);
    assert_recreates(rig, TOPIC_IMAGES_UPLOADED, 1);
    struct elog_record *after = rig_records(rig, &arena, TOPIC_IMAGES_UPLOADED, &count);
    assert_int_equal(count, 1);
    assert_int_equal(after->value_len, before->value_len);
    assert_memory_equal(after->value, before->value, before->value_len);
    assert_string_equal(rig_header(after, "ce_id"), rig_header(before, "ce_id"));
    assert_string_equal(rig_header(after, "deeplens-priority"), "high");
}

// Items that wait before the index, which is out: prepared and extracted.
static struct rig *stuck_before_index(int count, char ids[][ID_MAX])
{
    struct rig *rig = rig_new("index.upsert:UNAVAILABLE@1+");
    rig->config.by_log = true;
    upload_some(rig, count, ids);
    rig_start(rig);
    wait_for(rig_count(rig, TOPIC_VECTORS_INDEXING) == (size_t)count && rig_paused(rig, STEP_INDEX));
    wait_for(rig_lag(rig, STEP_EXTRACT) == 0);
    rig_stop(rig);
    rig_reopen(rig, NULL);
    return rig;
}

static void test_g3_what_was_prepared_is_not_prepared_again(void **state)
{
    char ids[3][ID_MAX];
    struct rig *rig = stuck_before_index(3, ids);
    assert_recreates(rig, TOPIC_IMAGES_UPLOADED, 3);
    assert_all_end(rig, 3, ids);
    assert_int_equal(rig_count(rig, TOPIC_FEATURES_EXTRACTION), 3); // prepare has passed them over
    assert_int_equal(rig->fake.count, 3);
    rig_free(rig);
}

static void test_g3_what_was_extracted_is_not_extracted_again(void **state)
{
    char ids[3][ID_MAX];
    struct rig *rig = stuck_before_index(3, ids);
    assert_recreates(rig, TOPIC_FEATURES_EXTRACTION, 3);
    assert_all_end(rig, 3, ids);
    assert_int_equal(rig->fake.count, 3);
    rig_free(rig);
}

static enum error_code out(struct fake *fake, size_t call, const char *model, int code)
{
    return ERR_UNAVAILABLE;
}

static void test_g2_extractions_that_were_lost_come_again(void **state)
{
    struct rig *rig = *state;
    char ids[3][ID_MAX];
    rig->fake.script = out;
    upload_some(rig, 3, ids);
    rig_start(rig);
    wait_for(rig_count(rig, TOPIC_FEATURES_EXTRACTION) == 3 && rig_paused(rig, STEP_EXTRACT));
    rig_stop(rig);
    rig->fake.script = NULL;
    assert_recreates(rig, TOPIC_FEATURES_EXTRACTION, 3);
    assert_int_equal(rig_count(rig, TOPIC_FEATURES_EXTRACTION), 0);
    assert_all_end(rig, 3, ids);
    assert_int_equal(rig_count(rig, TOPIC_FEATURES_EXTRACTION), 3);
}

static void test_g2_vectors_that_were_lost_are_made_again(void **state)
{
    char ids[3][ID_MAX];
    struct rig *rig = stuck_before_index(3, ids);
    assert_recreates(rig, TOPIC_VECTORS_INDEXING, 3);
    assert_int_equal(rig_count(rig, TOPIC_VECTORS_INDEXING), 0);
    assert_all_end(rig, 3, ids);
    assert_int_equal(rig->fake.count, 6);
    rig_free(rig);
}

static void test_g2_completions_that_were_lost_come_again(void **state)
{
    char ids[1][ID_MAX];
    struct rig *rig = rig_new("meta.media_update:UNAVAILABLE@2+"); // the first is prepare's
    rig->config.by_log = true;
    upload_some(rig, 1, ids);
    rig_start(rig);
    wait_for(rig_count(rig, TOPIC_PROCESSING_COMPLETED) == 1 && rig_paused(rig, STEP_STATUS));
    rig_stop(rig);
    rig_reopen(rig, NULL);
    assert_true(rig_status_is(rig, ids[0], MEDIA_PROCESSING));
    assert_recreates(rig, TOPIC_PROCESSING_COMPLETED, 1);
    assert_int_equal(rig_count(rig, TOPIC_PROCESSING_COMPLETED), 0);
    assert_all_end(rig, 1, ids);
    rig_free(rig);
}

static enum error_code corrupt(struct fake *fake, size_t call, const char *model, int code)
{
    return ERR_IMAGE_CORRUPT;
}

static void test_g2_failures_that_were_lost_come_again(void **state)
{
    char id[ID_MAX];
    struct rig *rig = rig_new("meta.media_update:UNAVAILABLE@2+");
    rig->config.by_log = true;
    rig->fake.script = corrupt;
    rig_upload(rig, 1, NULL, id);
    rig_start(rig);
    wait_for(rig_count(rig, TOPIC_PROCESSING_FAILED) == 1 && rig_paused(rig, STEP_STATUS));
    rig_stop(rig);
    rig_reopen(rig, NULL);
    assert_recreates(rig, TOPIC_PROCESSING_FAILED, 1);
    rig_start(rig);
    wait_for(rig_status_is(rig, id, MEDIA_FAILED));
    rig_wait_idle(rig);
    assert_int_equal(rig_ledger(rig).failed, 1);
    rig_free(rig);
}

struct attempt {
    struct rig *rig;
    const char *event_id;
};

static int spend_attempt(struct meta_tx *tx, void *arg, struct error *err)
{
    const struct attempt *attempt = arg;
    const char *group = steps[STEP_PREPARE].group;
    return attempt->rig->meta.ops->inbox_end(tx, group, attempt->event_id, 1, false, err);
}

// An attempt has ended and the event of the next one stood on the topic: without being forgotten, the first could
// never begin again.
static void test_g2_a_retry_that_was_lost_begins_anew(void **state)
{
    struct rig *rig = *state;
    _cleanup_arena_ struct arena arena = {0};
    char ids[1][ID_MAX];
    upload_some(rig, 1, ids);
    struct attempt attempt = {rig, rig_media(rig, &arena, ids[0]).event_id};
    must(rig->meta.ops->write(rig->meta.state, META_SYNCED, spend_attempt, &attempt, err));
    assert_recreates(rig, TOPIC_IMAGES_UPLOADED, 1);
    assert_all_end(rig, 1, ids);
}

static void test_g9_deletions_are_put_back(void **state)
{
    struct rig *rig = *state;
    char ids[2][ID_MAX], canonical[ID_MAX];
    upload_some(rig, 2, ids);
    must(item_delete(&rig->flow, "default", ids[0], canonical, err));
    assert_recreates(rig, TOPIC_IMAGES_MAINTENANCE, 1);
    assert_int_equal(rig_count(rig, TOPIC_IMAGES_MAINTENANCE), 1);
    rig_start(rig);
    rig_wait_idle(rig);
    assert_int_equal(rig_ledger(rig).deleted, 1);
    assert_int_equal(rig_ledger(rig).searchable, 1);
}

static void test_not_while_somebody_reads(void **state)
{
    struct rig *rig = *state;
    json_t *json = NULL;
    struct error why = {0};
    rig_start(rig);
    assert_int_equal(admin_topic_recreate(&rig->flow, "deeplens.images.uploaded", false, &json, &why), -1);
    assert_int_equal(why.code, ERR_CONFLICT);
    assert_non_null(strstr(why.message, "deeplens-image-processing"));
    must_fail(ERR_CONFLICT, admin_topic_delete(&rig->flow, "deeplens.images.uploaded", &json, err));
    must_fail(ERR_NOT_FOUND, admin_topic_recreate(&rig->flow, "no.such", false, &json, err));
    json_decref(recreate(rig, TOPIC_IMAGES_UPLOADED, true));
    rig_stop(rig);
    json_decref(recreate(rig, TOPIC_IMAGES_UPLOADED, false));
}

static void test_another_topic_is_made_as_it_was(void **state)
{
    struct rig *rig = *state;
    json_t *json = NULL;
    const struct topic_change change = {
        .partitions = 5, .replication = ADMIN_KEEP, .retention_ms = 3600000, .retention_bytes = -1};
    must(admin_topic_create(&rig->flow, "other", &change, &json, err));
    json_decref(json);
    const struct produce record = {.value = "x", .value_len = 1};
    must(admin_produce(&rig->flow, "other", &record, err));
    must(admin_topic_recreate(&rig->flow, "other", false, &json, err));
    assert_int_equal(js_int(json, "recordsRemoved", 0), 1);
    json_decref(json);
    must(admin_topic(&rig->flow, "other", &json, err));
    assert_int_equal(json_array_size(js_arr(json, "partitions")), 5);
    assert_int_equal(js_int(json, "retentionMs", 0), 3600000);
    assert_int_equal(js_int(json, "records", -1), 0);
    json_decref(json);
}

// Cut off at any point, the next process ends it.
static void test_g2_it_is_ended_after_it_was_cut_off(void **state)
{
    static const char *const faults[] = {
        "eventlog.topic_delete:IO_ERROR@1", "eventlog.topic_create:IO_ERROR@10", // behind the catalogue's
        "eventlog.publish_tx:IO_ERROR@5",   "meta.setting_put:IO_ERROR@2",       "meta.setting_put:IO_ERROR@3",
    };
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        struct rig *rig = rig_new(faults[i]);
        char ids[3][ID_MAX];
        json_t *json = NULL;
        upload_some(rig, 3, ids);
        must_fail(ERR_IO, admin_topic_recreate(&rig->flow, "deeplens.images.uploaded", false, &json, err));
        rig_reopen(rig, NULL);
        must(admin_recreate_resume(&rig->flow, err));
        assert_all_end(rig, 3, ids);
        size_t records = rig_count(rig, TOPIC_IMAGES_UPLOADED);
        must(admin_recreate_resume(&rig->flow, err)); // nothing is left to be done
        assert_int_equal(rig_count(rig, TOPIC_IMAGES_UPLOADED), records);
        rig_free(rig);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_g2_uploads_that_nobody_has_read),
        T(test_an_upload_comes_back_as_it_was),
        cmocka_unit_test(test_g3_what_was_prepared_is_not_prepared_again),
        cmocka_unit_test(test_g3_what_was_extracted_is_not_extracted_again),
        T(test_g2_extractions_that_were_lost_come_again),
        cmocka_unit_test(test_g2_vectors_that_were_lost_are_made_again),
        cmocka_unit_test(test_g2_completions_that_were_lost_come_again),
        cmocka_unit_test(test_g2_failures_that_were_lost_come_again),
        T(test_g2_a_retry_that_was_lost_begins_anew),
        T(test_g9_deletions_are_put_back),
        T(test_not_while_somebody_reads),
        T(test_another_topic_is_made_as_it_was),
        cmocka_unit_test(test_g2_it_is_ended_after_it_was_cut_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
