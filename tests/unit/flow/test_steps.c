// SPDX-License-Identifier: Apache-2.0
// The steps: from an upload to a searchable item; several models; events from elsewhere.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/js.h"
#include "rig.h"

static const struct media_step *find_step(const struct item *item, const char *name, const char *model)
{
    for (size_t i = 0; i < item->step_count; i++)
        if (strcmp(item->steps[i].step, name) == 0 && strcmp(item->steps[i].model, model) == 0)
            return &item->steps[i];
    fail_msg("no step %s of model \"%s\"", name, model);
    return NULL;
}

static void test_an_upload_becomes_searchable(void **state)
{
    struct rig *rig = rig_new(NULL);
    _cleanup_arena_ struct arena arena = {0};
    char id[ID_MAX];
    rig_upload(rig, 1, "{\"priority\":\"high\"}", id);
    assert_true(rig_status_is(rig, id, MEDIA_UPLOADED));
    rig_start(rig);
    rig_wait_idle(rig);
    struct item item;
    must(item_get(&rig->flow, &arena, "default", id, &item, err));
    assert_int_equal(item.media.status, MEDIA_COMPLETED);
    assert_int_equal(item.media.width, 32);
    assert_int_equal(item.media.height, 24);
    assert_true(item.media.completed_ms > 0);
    assert_non_null(item.media.thumb_key);
    assert_string_equal(find_step(&item, "preprocessing", "")->status, "completed");
    assert_string_equal(find_step(&item, "feature_extraction", "fake")->status, "completed");
    assert_string_equal(find_step(&item, "vector_indexing", "fake")->status, "completed");
    assert_string_equal(find_step(&item, "vector_indexing", "fake")->collection, "tenant_default_fake_vectors");

    static const enum event_topic path[] = {TOPIC_IMAGES_UPLOADED, TOPIC_FEATURES_EXTRACTION, TOPIC_VECTORS_INDEXING,
                                            TOPIC_PROCESSING_COMPLETED};
    for (size_t i = 0; i < ARRAY_LEN(path); i++) {
        size_t count;
        struct elog_record *record = rig_records(rig, &arena, path[i], &count);
        assert_int_equal(count, 1);
        assert_string_equal(record->key, id);
        assert_string_equal(rig_header(record, "deeplens-priority"), "high");
        assert_string_equal(rig_header(record, "ce_type"), event_topic_type(path[i]));
        _cleanup_json_ json_t *root = js_parse(record->value, record->value_len, NULL);
        assert_string_equal(js_str(root, "tenantId", ""), "default");
        if (i)
            assert_string_equal(js_str(root, "correlationId", ""), item.media.event_id);
    }
    rig_free(rig);
}

static void test_g3_several_models_complete_once(void **state)
{
    enum { ITEMS = 15 };
    struct rig *rig = rig_new(NULL);
    char ids[ITEMS][ID_MAX];
    rig_start(rig);
    for (int i = 0; i < ITEMS; i++)
        rig_upload(rig, i, "{\"models\":[\"second\",\"fake\"]}", ids[i]);
    rig_wait_idle(rig);
    assert_int_equal(rig_vectors(rig, "tenant_default_fake_vectors"), ITEMS);
    assert_int_equal(rig_vectors(rig, "tenant_default_second_vectors"), ITEMS);
    for (int i = 0; i < ITEMS; i++) {
        assert_int_equal(rig_count_of(rig, TOPIC_PROCESSING_COMPLETED, ids[i]), 1);
        assert_int_equal(rig_count_of(rig, TOPIC_FEATURES_EXTRACTION, ids[i]), 2);
        assert_true(rig_status_is(rig, ids[i], MEDIA_COMPLETED));
    }
    _cleanup_arena_ struct arena arena = {0};
    size_t count;
    struct elog_record *record = rig_records(rig, &arena, TOPIC_PROCESSING_COMPLETED, &count);
    json_t *root;
    struct event event = rig_decode(&arena, TOPIC_PROCESSING_COMPLETED, record, &root);
    assert_int_equal(event.completed.step_count, 5); // one of prepare, two of extract, two of index
    json_decref(root);
    rig_free(rig);
}

static enum error_code second_fails(struct fake *fake, size_t call, const char *model, int code)
{
    return strcmp(model, "second") == 0 ? ERR_EXTRACTION_FAILED : ERR_NONE;
}

static void test_one_model_of_two_failing_fails_the_item(void **state)
{
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX];
    rig->fake.script = second_fails;
    rig_start(rig);
    rig_upload(rig, 1, "{\"models\":[\"second\",\"fake\"]}", id);
    rig_wait_idle(rig);
    _cleanup_arena_ struct arena arena = {0};
    struct item item;
    must(item_get(&rig->flow, &arena, "default", id, &item, err));
    assert_int_equal(item.media.status, MEDIA_FAILED);
    assert_string_equal(item.media.error_code, "EXTRACTION_FAILED");
    assert_string_equal(find_step(&item, "feature_extraction", "second")->status, "failed");
    assert_string_equal(find_step(&item, "vector_indexing", "fake")->status, "completed");
    assert_int_equal(rig_count(rig, TOPIC_PROCESSING_COMPLETED), 0);
    rig_free(rig);
}

static void test_no_thumbnail_when_none_is_wanted(void **state)
{
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX];
    rig_upload(rig, 1, "{\"generateThumbnail\":false}", id);
    rig_start(rig);
    rig_wait_idle(rig);
    assert_int_equal(rig_blobs(rig), 1);
    _cleanup_arena_ struct arena arena = {0};
    struct media media;
    struct blob_reader *reader;
    must_fail(ERR_NOT_READY, item_open(&rig->flow, &arena, "default", id, true, &media, &reader, err));
    must(item_open(&rig->flow, &arena, "default", id, false, &media, &reader, err));
    assert_int_equal(rig->flow.blob.ops->reader_size(reader), media.size);
    rig->flow.blob.ops->reader_close(reader);
    rig_free(rig);
}

static void test_without_a_cache_pictures_are_decoded_again(void **state)
{
    struct rig *rig = rig_new(NULL);
    pixel_cache_free(rig->flow.cache);
    rig->flow.cache = pixel_cache_new(0);
    char id[ID_MAX];
    rig_upload(rig, 1, "{\"models\":[\"second\",\"fake\"]}", id);
    rig_start(rig);
    rig_wait_idle(rig);
    assert_true(rig_status_is(rig, id, MEDIA_COMPLETED));
    rig_free(rig);
}

static void test_a_lost_original_ends_as_a_failure(void **state)
{
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX];
    _cleanup_arena_ struct arena arena = {0};
    rig_upload(rig, 1, NULL, id);
    must(rig->flow.blob.ops->remove(rig->flow.blob.state, rig_media(rig, &arena, id).blob_key, err));
    rig_start(rig);
    rig_wait_idle(rig);
    assert_true(rig_status_is(rig, id, MEDIA_FAILED));
    assert_int_equal(rig_count(rig, TOPIC_DEADLETTER), 1);
    rig_free(rig);
}

// --- Events from elsewhere

static void test_an_upload_that_nobody_made_is_told(void **state)
{
    struct rig *rig = rig_new(NULL);
    rig_start(rig);
    rig_publish(rig, TOPIC_IMAGES_UPLOADED, "img_123456",
                "{\"imageId\":\"img_123456\",\"tenantId\":\"default\",\"fileName\":\"a.jpg\",\"fileSize\":5,"
                "\"storagePath\":\"/storage/tenant-default/images/a.jpg\",\"contentType\":\"image/jpeg\"}");
    rig_wait_idle(rig);
    _cleanup_arena_ struct arena arena = {0};
    size_t count;
    struct elog_record *letter = rig_records(rig, &arena, TOPIC_DEADLETTER, &count);
    assert_int_equal(count, 1);
    assert_string_equal(rig_header(letter, "__dlq.errors.code"), "NOT_FOUND");
    assert_string_equal(rig_header(letter, "__dlq.errors.stage"), "prepare");
    assert_int_equal(rig_count(rig, TOPIC_PROCESSING_FAILED), 1);
    assert_int_equal(rig_count(rig, TOPIC_FEATURES_EXTRACTION), 0);
    rig_free(rig);
}

// A vector from another extractor, for an item of ours, in the flat form.
static void test_a_vector_from_elsewhere_is_indexed(void **state)
{
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX], text[512];
    rig_item(rig, 1, id);
    rig_start(rig);
    snprintf(text, sizeof text,
             "{\"imageId\":\"%s\",\"tenantId\":\"default\",\"model\":\"fake\","
             "\"vectors\":[1,0,0,0,0,0,0,0],\"dimensions\":8}",
             id);
    rig_publish(rig, TOPIC_VECTORS_INDEXING, id, text);
    rig_wait_idle(rig);
    assert_true(rig_status_is(rig, id, MEDIA_COMPLETED));
    assert_int_equal(rig_vectors(rig, "tenant_default_fake_vectors"), 1);
    rig_free(rig);
}

static void test_vectors_that_do_not_fit_are_told(void **state)
{
    static const char *const wrong[] = {"[1,0,0]", "[0,0,0,0,0,0,0,0]", "[9,0,0,0,0,0,0,0]"};
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX], good[ID_MAX], text[512];
    rig_item(rig, 1, id);
    rig_item(rig, 2, good);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        snprintf(text, sizeof text, "{\"imageId\":\"%s\",\"tenantId\":\"default\",\"model\":\"fake\",\"vectors\":%s}",
                 id, wrong[i]);
        rig_publish(rig, TOPIC_VECTORS_INDEXING, id, text);
    }
    snprintf(text, sizeof text,
             "{\"imageId\":\"%s\",\"tenantId\":\"default\",\"model\":\"fake\",\"vectors\":[1,0,0,0,0,0,0,0]}", good);
    rig_publish(rig, TOPIC_VECTORS_INDEXING, good, text);
    rig_start(rig);
    rig_wait_idle(rig);
    assert_int_equal(rig_count(rig, TOPIC_DEADLETTER), ARRAY_LEN(wrong));
    assert_true(rig_status_is(rig, good, MEDIA_COMPLETED)); // its neighbours did not take it along
    assert_true(rig_status_is(rig, id, MEDIA_FAILED));
    rig_free(rig);
}

static void test_g7_events_reach_only_their_tenant(void **state)
{
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX];
    must(admin_tenant_add(&rig->flow, "other", err));
    rig_item(rig, 1, id);
    rig_start(rig);
    rig_request(rig, &(struct rig_event){.media = id, .tenant = "other"});
    rig_wait_idle(rig);
    assert_int_equal(rig->fake.calls, 0);
    assert_int_equal(rig_vectors(rig, "tenant_other_fake_vectors"), 0);
    assert_true(rig_status_is(rig, id, MEDIA_UPLOADED));
    rig_free(rig);
}

// --- The status only moves forward

static void test_late_news_change_nothing(void **state)
{
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX], text[512];
    rig_upload(rig, 1, NULL, id);
    rig_start(rig);
    rig_wait_idle(rig);
    snprintf(
        text, sizeof text,
        "{\"imageId\":\"%s\",\"tenantId\":\"default\",\"error\":\"late\",\"errorCode\":\"IO_ERROR\",\"final\":true}",
        id);
    rig_publish(rig, TOPIC_PROCESSING_FAILED, id, text);
    rig_wait_idle(rig);
    _cleanup_arena_ struct arena arena = {0};
    struct media media = rig_media(rig, &arena, id);
    assert_int_equal(media.status, MEDIA_COMPLETED);
    assert_null(media.error_code);
    rig_free(rig);
}

static void test_a_failure_from_elsewhere_is_shown(void **state)
{
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX], text[512];
    rig_item(rig, 1, id);
    rig_start(rig);
    snprintf(text, sizeof text,
             "{\"imageId\":\"%s\",\"tenantId\":\"default\",\"error\":{\"code\":\"GPU_LOST\",\"message\":\"gone\","
             "\"retryable\":false}}",
             id);
    rig_publish(rig, TOPIC_PROCESSING_FAILED, id, text);
    rig_wait_idle(rig);
    _cleanup_arena_ struct arena arena = {0};
    struct media media = rig_media(rig, &arena, id);
    assert_int_equal(media.status, MEDIA_FAILED);
    assert_string_equal(media.error_code, "GPU_LOST");
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_upload_becomes_searchable),
        cmocka_unit_test(test_g3_several_models_complete_once),
        cmocka_unit_test(test_one_model_of_two_failing_fails_the_item),
        cmocka_unit_test(test_no_thumbnail_when_none_is_wanted),
        cmocka_unit_test(test_without_a_cache_pictures_are_decoded_again),
        cmocka_unit_test(test_a_lost_original_ends_as_a_failure),
        cmocka_unit_test(test_an_upload_that_nobody_made_is_told),
        cmocka_unit_test(test_a_vector_from_elsewhere_is_indexed),
        cmocka_unit_test(test_vectors_that_do_not_fit_are_told),
        cmocka_unit_test(test_g7_events_reach_only_their_tenant),
        cmocka_unit_test(test_late_news_change_nothing),
        cmocka_unit_test(test_a_failure_from_elsewhere_is_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
