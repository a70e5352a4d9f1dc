// SPDX-License-Identifier: Apache-2.0
// What becomes of events: effects once, retries, dead letters, and transactions that fail.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/js.h"
#include "rig.h"

// --- Effects happen once

static void test_g3_redelivered_events_have_effects_once(void **state)
{
    enum { EVENTS = 20 };
    struct rig *rig = rig_new(NULL);
    char ids[EVENTS][ID_MAX], events[EVENTS][ID_MAX];
    for (int i = 0; i < EVENTS; i++) {
        rig_item(rig, i, ids[i]);
        id_new("evt", events[i]);
    }
    rig_start(rig);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < EVENTS; i++) // the same bytes at other offsets
            rig_request(rig, &(struct rig_event){.id = events[i], .media = ids[i]});
    rig_wait_idle(rig);
    assert_int_equal(rig->fake.count, EVENTS);
    assert_int_equal(rig_count(rig, TOPIC_VECTORS_INDEXING), EVENTS);
    assert_int_equal(rig_count(rig, TOPIC_PROCESSING_COMPLETED), EVENTS);
    rig_stop(rig);
    rig_reopen(rig, NULL); // nor does a restart forget
    rig_start(rig);
    rig_request(rig, &(struct rig_event){.id = events[3], .media = ids[3]});
    rig_wait_idle(rig);
    assert_int_equal(rig_count(rig, TOPIC_VECTORS_INDEXING), EVENTS);
    assert_int_equal(rig_vectors(rig, "tenant_default_fake_vectors"), EVENTS);
    rig_free(rig);
}

// Producers elsewhere may give no key. Their events of one item are kept apart all the same.
static void test_g3_redelivery_without_keys(void **state)
{
    enum { TIMES = 8 };
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX], text[512];
    rig_item(rig, 5, id);
    snprintf(text, sizeof text,
             "{\"eventId\":\"evt_keyless\",\"imageId\":\"%s\",\"tenantId\":\"default\",\"imagePath\":\"/storage/x\","
             "\"modelName\":\"fake\"}",
             id);
    for (int i = 0; i < TIMES; i++)
        rig_publish(rig, TOPIC_FEATURES_EXTRACTION, NULL, text);
    fake_hold(&rig->fake);
    rig_start(rig);
    fake_wait_held(&rig->fake, 1);
    wait_for(rig_held(rig, STEP_EXTRACT) == TIMES);
    fake_release(&rig->fake);
    rig_wait_idle(rig);
    assert_false(rig->fake.overlapped);
    assert_int_equal(rig->fake.count, 1);
    assert_int_equal(rig_count(rig, TOPIC_DEADLETTER), 0);
    assert_true(rig_status_is(rig, id, MEDIA_COMPLETED));
    rig_free(rig);
}

// --- Retries

static enum error_code fail_often(struct fake *fake, size_t call, const char *model, int code)
{
    size_t *failures = fake->arg;
    return call <= *failures ? ERR_EXTRACTION_FAILED : ERR_NONE;
}

static void test_g2_what_fails_is_tried_again(void **state)
{
    struct rig *rig = rig_new(NULL);
    size_t failures = 2;
    rig->fake.script = fail_often;
    rig->fake.arg = &failures;
    char id[ID_MAX];
    rig_item(rig, 1, id);
    rig_start(rig);
    rig_request(rig, &(struct rig_event){.media = id, .priority = "high", .backoff_ms = 1});
    rig_wait_idle(rig);
    assert_int_equal(rig->fake.calls, 3);
    assert_true(rig_status_is(rig, id, MEDIA_COMPLETED));
    assert_int_equal(rig_count(rig, TOPIC_DEADLETTER), 0);

    _cleanup_arena_ struct arena arena = {0};
    size_t count;
    struct elog_record *records = rig_records(rig, &arena, TOPIC_FEATURES_EXTRACTION, &count);
    assert_int_equal(count, 3);
    json_t *root;
    struct event first = rig_decode(&arena, TOPIC_FEATURES_EXTRACTION, &records[0], &root);
    json_decref(root);
    for (size_t i = 0; i < count; i++) {
        struct event event = rig_decode(&arena, TOPIC_FEATURES_EXTRACTION, &records[i], &root);
        assert_int_equal(event.attempt, i + 1);
        assert_string_equal(event.id, first.id);
        assert_string_equal(records[i].key, id);
        if (i) {
            assert_string_equal(rig_header(&records[i], "ce_id"), first.id);
            assert_string_equal(rig_header(&records[i], "ce_type"), "feature.extraction.requested");
        }
        json_decref(root);
    }
    records = rig_records(rig, &arena, TOPIC_PROCESSING_FAILED, &count);
    assert_int_equal(count, 2);
    for (size_t i = 0; i < count; i++) {
        struct event event = rig_decode(&arena, TOPIC_PROCESSING_FAILED, &records[i], &root);
        assert_string_equal(event.failed.code, "EXTRACTION_FAILED");
        assert_int_equal(event.failed.attempt, i + 1);
        assert_false(event.failed.final);
        json_decref(root);
    }
    rig_free(rig);
}

// A retry is as urgent as what it repeats.
static void test_retries_keep_their_priority(void **state)
{
    struct rig *rig = rig_new(NULL);
    size_t failures = 1;
    rig->fake.script = fail_often;
    rig->fake.arg = &failures;
    char id[ID_MAX], text[512];
    rig_item(rig, 1, id);
    rig_start(rig);
    snprintf(text, sizeof text,
             "{\"eventId\":\"evt_hasty\",\"eventType\":\"feature.extraction.requested\",\"tenantId\":\"default\","
             "\"data\":{\"imageId\":\"%s\",\"imagePath\":\"/storage/x\",\"modelName\":\"fake\"},"
             "\"processingOptions\":{\"priority\":\"high\"}}",
             id);
    rig_publish(rig, TOPIC_FEATURES_EXTRACTION, id, text);
    rig_wait_idle(rig);
    assert_int_equal(rig->fake.calls, 2);
    _cleanup_arena_ struct arena arena = {0};
    size_t count;
    struct elog_record *records = rig_records(rig, &arena, TOPIC_FEATURES_EXTRACTION, &count);
    assert_int_equal(count, 2);
    assert_string_equal(rig_header(&records[1], "deeplens-priority"), "high");
    records = rig_records(rig, &arena, TOPIC_VECTORS_INDEXING, &count);
    assert_int_equal(count, 1);
    assert_string_equal(rig_header(&records[0], "deeplens-priority"), "high");
    rig_free(rig);
}

static enum error_code always_fail(struct fake *fake, size_t call, const char *model, int code)
{
    return ERR_EXTRACTION_TIMEOUT;
}

static void ends_after(int max_attempts, size_t expected)
{
    struct rig *rig = rig_new(NULL);
    rig->fake.script = always_fail;
    char id[ID_MAX];
    rig_item(rig, 1, id);
    rig_start(rig);
    rig_request(rig, &(struct rig_event){.media = id, .max_attempts = max_attempts, .backoff_ms = 1});
    rig_wait_idle(rig);
    assert_int_equal(rig->fake.calls, expected);
    assert_int_equal(rig_count(rig, TOPIC_PROCESSING_FAILED), expected);
    assert_int_equal(rig_count(rig, TOPIC_DEADLETTER), 1);
    _cleanup_arena_ struct arena arena = {0};
    struct media media = rig_media(rig, &arena, id);
    assert_int_equal(media.status, MEDIA_FAILED);
    assert_string_equal(media.error_code, "EXTRACTION_TIMEOUT");
    assert_int_equal(rig_ledger(rig).failed, 1);
    assert_int_equal(rig_open_inbox(rig), 0);
    size_t count;
    struct elog_record *letter = rig_records(rig, &arena, TOPIC_DEADLETTER, &count);
    char text[16];
    snprintf(text, sizeof text, "%zu", expected);
    assert_string_equal(rig_header(letter, "__dlq.errors.delivery.count"), text);
    assert_string_equal(rig_header(letter, "__dlq.errors.stage"), "extract");
    assert_string_equal(rig_header(letter, "__dlq.errors.code"), "EXTRACTION_TIMEOUT");
    assert_string_equal(rig_header(letter, "__dlq.errors.group"), "deeplens-feature-extraction");
    rig_free(rig);
}

static void test_g2_attempts_end_as_the_event_says(void **state)
{
    ends_after(0, 3); // as configured
    ends_after(1, 1);
    ends_after(5, 5);
}

static void test_what_cannot_be_healed_is_not_tried_again(void **state)
{
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX];
    rig_item(rig, 1, id);
    rig_start(rig);
    rig_request(rig, &(struct rig_event){.media = id, .model = "resnet50"});
    rig_wait_idle(rig);
    assert_int_equal(rig_count(rig, TOPIC_DEADLETTER), 1);
    assert_int_equal(rig_count(rig, TOPIC_PROCESSING_FAILED), 1);
    _cleanup_arena_ struct arena arena = {0};
    assert_string_equal(rig_media(rig, &arena, id).error_code, "MODEL_UNKNOWN");
    rig_free(rig);
}

static void test_an_event_beyond_its_attempts_is_not_begun(void **state)
{
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX];
    rig_item(rig, 1, id);
    rig_start(rig);
    rig_request(rig, &(struct rig_event){.media = id, .attempt = 4, .max_attempts = 3});
    rig_wait_idle(rig);
    assert_int_equal(rig->fake.calls, 0);
    _cleanup_arena_ struct arena arena = {0};
    struct media media = rig_media(rig, &arena, id);
    assert_string_equal(media.error_code, "EVENT_INVALID"); // nothing died
    assert_non_null(strstr(media.error_message, "attempt 4 of at most 3"));
    rig_free(rig);
}

static void test_a_vector_that_cannot_be_indexed_is_a_failure(void **state)
{
    struct rig *rig = rig_new(NULL);
    rig->fake.bad_vector = true;
    char id[ID_MAX];
    rig_item(rig, 1, id);
    rig_start(rig);
    rig_request(rig, &(struct rig_event){.media = id, .backoff_ms = 1});
    rig_wait_idle(rig);
    _cleanup_arena_ struct arena arena = {0};
    assert_string_equal(rig_media(rig, &arena, id).error_code, "EXTRACTION_FAILED");
    assert_int_equal(rig_vectors(rig, "tenant_default_fake_vectors"), 0);
    rig_free(rig);
}

// --- Messages that cannot be read

static void test_g5_unreadable_messages_do_not_stall(void **state)
{
    static const char raw[] = "\xff\x00 no JSON \x01";
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX];
    rig_item(rig, 1, id);
    rig_start(rig);
    rig_publish_bytes(rig, TOPIC_FEATURES_EXTRACTION, id, raw, sizeof raw);
    rig_publish_bytes(rig, TOPIC_FEATURES_EXTRACTION, id, "", 0);
    rig_publish(rig, TOPIC_FEATURES_EXTRACTION, id, "{\"imageId\":\"../../etc\"}");
    rig_publish(rig, TOPIC_IMAGES_UPLOADED, NULL, "[]");
    rig_publish(rig, TOPIC_PROCESSING_FAILED, NULL, "{}");
    rig_request(rig, &(struct rig_event){.media = id});
    rig_wait_idle(rig);
    assert_true(rig_status_is(rig, id, MEDIA_COMPLETED));

    _cleanup_arena_ struct arena arena = {0};
    size_t count, found = 0;
    struct elog_record *letters = rig_records(rig, &arena, TOPIC_DEADLETTER, &count);
    assert_int_equal(count, 5);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(rig_header(&letters[i], "__dlq.errors.code"), "EVENT_INVALID");
        assert_true(strlen(rig_header(&letters[i], "__dlq.errors.message")) > 0);
        if (letters[i].value_len == sizeof raw && memcmp(letters[i].value, raw, sizeof raw) == 0) {
            found++;
            assert_string_equal(letters[i].key, id);
            assert_string_equal(rig_header(&letters[i], "__dlq.errors.topic"), "deeplens.features.extraction");
            assert_string_equal(rig_header(&letters[i], "__dlq.errors.offset"), "0");
        }
    }
    assert_int_equal(found, 1);
    rig_free(rig);
}

// Texts from outside end up in reasons, cut where it suits nobody.
static void test_reasons_with_cut_characters_are_told(void **state)
{
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX], model[200] = "x";
    for (int i = 0; i < 60; i++)
        strcat(model, "\xc3\xa9"); // "%.60s" cuts one in two
    rig_item(rig, 1, id);
    rig_start(rig);
    rig_request(rig, &(struct rig_event){.media = id, .model = model});
    rig_wait_idle(rig);
    _cleanup_arena_ struct arena arena = {0};
    struct media media = rig_media(rig, &arena, id);
    assert_int_equal(media.status, MEDIA_FAILED);
    assert_true(js_utf8_valid(media.error_message, strlen(media.error_message)));
    json_t *letters = NULL;
    must(admin_deadletters(&rig->flow, &(struct deadletter_query){.limit = 10}, &letters, err));
    const json_t *letter = json_array_get(js_arr(letters, "items"), 0);
    assert_string_equal(js_str(letter, "code", ""), "MODEL_UNKNOWN");
    assert_true(strlen(js_str(letter, "message", "")) > 0);
    json_decref(letters);
    rig_free(rig);
}

// --- Transactions that fail

enum { ITEMS = 12 };

// Uploads go through with these faults about, and everything ends as if they had not been.
static void survive(const char *faults)
{
    struct rig *rig = rig_new(faults);
    char ids[ITEMS][ID_MAX];
    for (int i = 0; i < ITEMS; i++)
        rig_upload(rig, i, "{\"models\":[\"fake\",\"second\"]}", ids[i]);
    rig_start(rig);
    rig_wait_idle(rig);
    for (int i = 0; i < ITEMS; i++) {
        if (!rig_status_is(rig, ids[i], MEDIA_COMPLETED))
            fail_msg("%s: item %d is not completed", faults, i);
        assert_int_equal(rig_count_of(rig, TOPIC_PROCESSING_COMPLETED, ids[i]), 1);
    }
    assert_int_equal(rig_vectors(rig, "tenant_default_fake_vectors"), ITEMS);
    assert_int_equal(rig_vectors(rig, "tenant_default_second_vectors"), ITEMS);
    assert_int_equal(rig_count(rig, TOPIC_FEATURES_EXTRACTION), 2 * ITEMS);
    assert_int_equal(rig_count(rig, TOPIC_VECTORS_INDEXING), 2 * ITEMS);
    assert_int_equal(rig_count(rig, TOPIC_DEADLETTER), 0);
    assert_int_equal(rig_count(rig, TOPIC_PROCESSING_FAILED), 0);
    assert_int_equal(rig_open_inbox(rig), 0);
    rig_free(rig);
}

static void test_g3_claims_that_fail_are_made_again(void **state)
{
    survive("meta.inbox_begin:IO_ERROR@2,meta.inbox_begin:DISK_FULL@9");
    survive("meta.step_put:UNAVAILABLE@3");
}

static void test_g3_settling_that_fails_is_done_again(void **state)
{
    survive("meta.write_async:IO_ERROR@3,meta.write_async:DISK_FULL@10");
    survive("meta.inbox_end:UNAVAILABLE@2,meta.inbox_end:IO_ERROR@5");
    survive("eventlog.publish_tx:INJECTED_FAULT@15,eventlog.commit_tx:IO_ERROR@4");
    survive("meta.write_async:after:IO_ERROR@5"); // it was done, and nobody said so
}

// Everything the steps do, failing once.
static void test_g2_failing_effects_are_tried_again(void **state)
{
    static const char *const calls[] = {"blob.open_read", "blob.read", "index.ensure", "index.upsert", "index.flush"};
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        char plan[64];
        snprintf(plan, sizeof plan, "%s:INJECTED_FAULT@2", calls[i]);
        struct rig *rig = rig_new(plan);
        char ids[ITEMS][ID_MAX];
        for (int n = 0; n < ITEMS; n++)
            rig_upload(rig, n, NULL, ids[n]);
        rig_start(rig);
        rig_wait_idle(rig);
        assert_int_equal(rig_ledger(rig).searchable, ITEMS);
        assert_int_equal(rig_vectors(rig, "tenant_default_fake_vectors"), ITEMS);
        assert_int_equal(rig_count(rig, TOPIC_DEADLETTER), 0);
        rig_free(rig);
    }
}

// The store refuses what apply asks for, each time: a failure of the event, and it ends.
static void test_g2_effects_that_cannot_be_had_end(void **state)
{
    struct rig *rig = rig_new("meta.step_list:INVALID_REQUEST");
    char id[ID_MAX];
    rig_upload(rig, 1, NULL, id);
    rig_start(rig);
    wait_for(rig_count(rig, TOPIC_DEADLETTER) == 1);
    wait_for(rig_idle(rig));
    assert_int_equal(rig_ledger(rig).failed, 1);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_g3_redelivered_events_have_effects_once),
        cmocka_unit_test(test_g3_redelivery_without_keys),
        cmocka_unit_test(test_g2_what_fails_is_tried_again),
        cmocka_unit_test(test_retries_keep_their_priority),
        cmocka_unit_test(test_g2_attempts_end_as_the_event_says),
        cmocka_unit_test(test_what_cannot_be_healed_is_not_tried_again),
        cmocka_unit_test(test_an_event_beyond_its_attempts_is_not_begun),
        cmocka_unit_test(test_a_vector_that_cannot_be_indexed_is_a_failure),
        cmocka_unit_test(test_g5_unreadable_messages_do_not_stall),
        cmocka_unit_test(test_reasons_with_cut_characters_are_told),
        cmocka_unit_test(test_g3_claims_that_fail_are_made_again),
        cmocka_unit_test(test_g3_settling_that_fails_is_done_again),
        cmocka_unit_test(test_g2_failing_effects_are_tried_again),
        cmocka_unit_test(test_g2_effects_that_cannot_be_had_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
