// SPDX-License-Identifier: Apache-2.0
// Administration: tenants, models, topics, records, groups, dead letters and their replay.
#include <stdio.h>
#include <stdlib.h>
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

static void test_tenants(void **state)
{
    struct rig *rig = *state;
    must(admin_tenant_add(&rig->flow, "acme-corp", err));
    must(admin_tenant_add(&rig->flow, "acme-corp", err));
    must_fail(ERR_INVALID_TENANT, admin_tenant_add(&rig->flow, "../x", err));
    _cleanup_json_ json_t *json = NULL;
    must(admin_tenants(&rig->flow, &json, err));
    const json_t *list = js_arr(json, "tenants");
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(js_str(json_array_get(list, 0), "name", ""), "acme-corp");
    assert_true(strlen(js_str(json_array_get(list, 0), "createdAt", "")) > 0);
    struct meta_ledger ledger;
    must(admin_ledger(&rig->flow, "acme-corp", &ledger, err));
    assert_true(admin_ledger_closes(&ledger));
    must_fail(ERR_TENANT_UNKNOWN, admin_ledger(&rig->flow, "nobody", &ledger, err));
    ledger.accepted++;
    assert_false(admin_ledger_closes(&ledger));
}

static void test_models(void **state)
{
    struct rig *rig = *state;
    _cleanup_json_ json_t *json = NULL;
    must(admin_models(&rig->flow, NULL, &json, err));
    const json_t *list = js_arr(json, "models");
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(js_str(json_array_get(list, 1), "name", ""), "second");
    assert_int_equal(js_int(json_array_get(list, 1), "dimension", 0), FAKE_DIMENSION);
    assert_true(js_bool(json_array_get(list, 0), "default", false));
    assert_false(js_bool(json_array_get(list, 1), "default", true));
}

// --- Topics and records

static void test_topics(void **state)
{
    struct rig *rig = *state;
    _cleanup_json_ json_t *all = NULL, *one = NULL;
    char id[ID_MAX];
    rig_upload(rig, 1, NULL, id);
    must(admin_topics(&rig->flow, &all, err));
    assert_int_equal(json_array_size(js_arr(all, "topics")), TOPIC_COUNT);
    must(admin_topic(&rig->flow, "deeplens.images.uploaded", &one, err));
    assert_string_equal(js_str(one, "type", ""), "image.uploaded");
    assert_int_equal(js_int(one, "records", 0), 1);
    assert_int_equal(js_int(one, "retentionMs", 0), 7LL * 24 * 3600 * 1000);
    const json_t *partitions = js_arr(one, "partitions");
    assert_int_equal(json_array_size(partitions), 3);
    int64_t ends = 0;
    for (size_t i = 0; i < 3; i++)
        ends += js_int(json_array_get(partitions, i), "end", 0);
    assert_int_equal(ends, 1);
    must_fail(ERR_NOT_FOUND, admin_topic(&rig->flow, "no.such.topic", &one, err));
}

static void publish_numbers(struct rig *rig, int count)
{
    for (int i = 0; i < count; i++) {
        char key[16], text[32];
        snprintf(key, sizeof key, "key-%d", i);
        snprintf(text, sizeof text, "{\"number\":%d}", i);
        const struct elog_record record = {.topic = "whatsapp-ready-messages",
                                           .timestamp_ms = 1000000 + i,
                                           .key = key,
                                           .value = text,
                                           .value_len = strlen(text)};
        must(rig->flow.log.ops->publish(rig->flow.log.state, &record, 1, err));
    }
}

static json_t *records(struct rig *rig, int partition, int64_t offset, size_t limit)
{
    json_t *json = NULL;
    const struct records_query query = {.partition = partition, .offset = offset, .limit = limit};
    must(admin_records(&rig->flow, "whatsapp-ready-messages", &query, &json, err));
    json_t *list = json_incref(js_arr(json, "records"));
    json_decref(json);
    return list;
}

static int64_t number(const json_t *list, size_t i)
{
    return js_int(js_obj(json_array_get(list, i), "value"), "number", -1);
}

static void test_records_are_merged_by_time(void **state)
{
    struct rig *rig = *state;
    publish_numbers(rig, 30);
    _cleanup_json_ json_t *oldest = records(rig, -1, -2, 10), *newest = records(rig, -1, -1, 10),
                          *all = records(rig, -1, -2, 1000), *more = records(rig, -1, -1, 100000);
    assert_int_equal(json_array_size(all), 30);
    assert_int_equal(json_array_size(more), 30);
    assert_int_equal(json_array_size(oldest), 10);
    assert_int_equal(json_array_size(newest), 10);
    for (int i = 0; i < 30; i++)
        assert_int_equal(number(all, (size_t)i), i);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(number(oldest, (size_t)i), i);
        assert_int_equal(number(newest, (size_t)i), 20 + i);
    }
    _cleanup_json_ json_t *none = records(rig, -1, -1, 0);
    assert_int_equal(json_array_size(none), 0);
}

static void test_records_of_one_partition(void **state)
{
    struct rig *rig = *state;
    publish_numbers(rig, 30);
    size_t total = 0;
    for (int p = 0; p < 3; p++) {
        _cleanup_json_ json_t *whole = records(rig, p, -2, 100), *from_2 = records(rig, p, 2, 3);
        total += json_array_size(whole);
        for (size_t i = 0; i < json_array_size(from_2); i++) {
            assert_int_equal(js_int(json_array_get(from_2, i), "offset", -1), 2 + i);
            assert_int_equal(js_int(json_array_get(from_2, i), "partition", -1), p);
        }
        _cleanup_json_ json_t *beyond = records(rig, p, 1000, 3);
        assert_int_equal(json_array_size(beyond), 0);
    }
    assert_int_equal(total, 30);
    json_t *json = NULL;
    struct records_query query = {.partition = 3, .offset = -2, .limit = 1};
    must_fail(ERR_NOT_FOUND, admin_records(&rig->flow, "whatsapp-ready-messages", &query, &json, err));
    query.partition = -1;
    must_fail(ERR_NOT_FOUND, admin_records(&rig->flow, "no.such", &query, &json, err));
    query.cursor = "0:x";
    must_fail(ERR_INVALID_CURSOR, admin_records(&rig->flow, "whatsapp-ready-messages", &query, &json, err));
}

static void test_any_bytes_can_be_shown(void **state)
{
    struct rig *rig = *state;
    rig_publish_bytes(rig, TOPIC_MESSAGES, "caf\xff", "\x00\x01\xfe", 3);
    _cleanup_json_ json_t *list = records(rig, -1, -2, 10);
    const json_t *one = json_array_get(list, 0);
    assert_string_equal(js_str(one, "valueBase64", ""), "AAH+");
    assert_string_equal(js_str(one, "key", ""), "caf\xef\xbf\xbd");
}

static void test_groups(void **state)
{
    struct rig *rig = *state;
    char id[ID_MAX];
    rig_start(rig);
    rig_upload(rig, 1, NULL, id);
    rig_wait_idle(rig);
    _cleanup_json_ json_t *all = NULL, *one = NULL;
    must(admin_groups(&rig->flow, &all, err));
    assert_int_equal(json_array_size(js_arr(all, "groups")), STEP_COUNT);
    must(admin_group(&rig->flow, "deeplens-image-processing", &one, err));
    assert_int_equal(js_int(one, "members", 0), 1);
    assert_int_equal(js_int(one, "lag", -1), 0);
    assert_int_equal(json_array_size(js_arr(one, "partitions")), 3);
    json_t *none = NULL;
    must_fail(ERR_NOT_FOUND, admin_group(&rig->flow, "nobody", &none, err));
}

// --- Dead letters

static enum error_code fail_while(struct fake *fake, size_t call, const char *model, int code)
{
    return *(_Atomic bool *)fake->arg ? ERR_EXTRACTION_FAILED : ERR_NONE;
}

static json_t *letters(struct rig *rig, struct deadletter_query query)
{
    json_t *json = NULL;
    query.limit = query.limit ? query.limit : 100;
    must(admin_deadletters(&rig->flow, &query, &json, err));
    json_t *list = json_incref(js_arr(json, "items"));
    json_decref(json);
    return list;
}

static size_t count_letters(struct rig *rig, struct deadletter_query query)
{
    _cleanup_json_ json_t *list = letters(rig, query);
    return json_array_size(list);
}

static void test_dead_letters_are_listed_by_what_they_are(void **state)
{
    struct rig *rig = *state;
    _Atomic bool failing = true;
    rig->fake.script = fail_while;
    rig->fake.arg = (void *)&failing;
    char ids[3][ID_MAX];
    rig_start(rig);
    for (int i = 0; i < 3; i++) {
        rig_item(rig, i, ids[i]);
        rig_request(rig, &(struct rig_event){.media = ids[i], .max_attempts = 1});
    }
    rig_publish_bytes(rig, TOPIC_VECTORS_INDEXING, "k\xff", "{\x00", 2);
    rig_wait_idle(rig);
    assert_int_equal(count_letters(rig, (struct deadletter_query){0}), 4);
    assert_int_equal(count_letters(rig, (struct deadletter_query){.limit = 2}), 2);
    assert_int_equal(count_letters(rig, (struct deadletter_query){.code = "EXTRACTION_FAILED"}), 3);
    assert_int_equal(count_letters(rig, (struct deadletter_query){.stage = "index"}), 1);
    assert_int_equal(count_letters(rig, (struct deadletter_query){.topic = "deeplens.features.extraction"}), 3);
    assert_int_equal(count_letters(rig, (struct deadletter_query){.tenant = "default"}), 3);
    assert_int_equal(count_letters(rig, (struct deadletter_query){.tenant = "other"}), 0);
    _cleanup_json_ json_t *list = letters(rig, (struct deadletter_query){.stage = "index"});
    const char *id = js_str(json_array_get(list, 0), "id", "");
    _cleanup_json_ json_t *letter = NULL;
    must(admin_deadletter(&rig->flow, id, &letter, err));
    assert_string_equal(js_str(letter, "valueBase64", ""), "ewA=");
    assert_string_equal(js_str(letter, "key", ""), "k\xef\xbf\xbd");
    assert_string_equal(js_str(letter, "code", ""), "EVENT_INVALID");
    assert_int_equal(js_int(letter, "offset", -1), 0);
    assert_non_null(js_obj(letter, "headers"));
}

static void test_ids_of_dead_letters(void **state)
{
    struct rig *rig = *state;
    static const char *const wrong[] = {"", "x", "1", "1-", "1-2x", "-1-2", "0--1"};
    json_t *json = NULL;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        must_fail(ERR_INVALID_ID, admin_deadletter(&rig->flow, wrong[i], &json, err));
        must_fail(ERR_INVALID_ID, admin_deadletter_replay(&rig->flow, wrong[i], &json, err));
    }
    must_fail(ERR_NOT_FOUND, admin_deadletter(&rig->flow, "0-0", &json, err));
    must_fail(ERR_NOT_FOUND, admin_deadletter(&rig->flow, "99-0", &json, err));
    must_fail(ERR_NOT_FOUND, admin_deadletter_replay(&rig->flow, "0-99", &json, err));
}

static void replay(struct rig *rig, const char *id)
{
    json_t *json = NULL;
    must(admin_deadletter_replay(&rig->flow, id, &json, err));
    json_decref(json);
}

static void test_g2_a_replay_takes_the_item_up_again(void **state)
{
    struct rig *rig = *state;
    _Atomic bool failing = true;
    rig->fake.script = fail_while;
    rig->fake.arg = (void *)&failing;
    char id[ID_MAX];
    rig_item(rig, 1, id);
    rig_start(rig);
    rig_request(rig, &(struct rig_event){.media = id, .max_attempts = 2, .priority = "high"});
    rig_wait_idle(rig);
    assert_int_equal(rig->fake.calls, 2);
    assert_true(rig_status_is(rig, id, MEDIA_FAILED));
    _cleanup_json_ json_t *list = letters(rig, (struct deadletter_query){0});
    const char *letter = js_str(json_array_get(list, 0), "id", "");
    failing = false;
    replay(rig, letter);
    replay(rig, letter); // twice is harmless
    rig_wait_idle(rig);
    replay(rig, letter); // and so is once more
    rig_wait_idle(rig);
    assert_int_equal(rig->fake.calls, 3);
    assert_true(rig_status_is(rig, id, MEDIA_COMPLETED));
    assert_int_equal(rig_count(rig, TOPIC_VECTORS_INDEXING), 1);
    assert_int_equal(rig_count(rig, TOPIC_DEADLETTER), 1);
    assert_int_equal(rig_ledger(rig).failed, 0);
}

static void test_a_replay_that_fails_again_is_a_dead_letter_again(void **state)
{
    struct rig *rig = *state;
    _Atomic bool failing = true;
    rig->fake.script = fail_while;
    rig->fake.arg = (void *)&failing;
    char id[ID_MAX];
    rig_item(rig, 1, id);
    rig_start(rig);
    rig_request(rig, &(struct rig_event){.media = id, .max_attempts = 1, .backoff_ms = 1});
    rig_wait_idle(rig);
    _cleanup_json_ json_t *list = letters(rig, (struct deadletter_query){0});
    replay(rig, js_str(json_array_get(list, 0), "id", ""));
    rig_wait_idle(rig);
    assert_int_equal(rig->fake.calls, 1 + 3); // as many attempts as configured
    assert_int_equal(rig_count(rig, TOPIC_DEADLETTER), 2);
    assert_true(rig_status_is(rig, id, MEDIA_FAILED));
    assert_int_equal(rig_open_inbox(rig), 0);
}

static void test_unreadable_messages_are_replayed_as_they_are(void **state)
{
    struct rig *rig = *state;
    rig_start(rig);
    rig_publish(rig, TOPIC_FEATURES_EXTRACTION, "k", "not JSON");
    rig_wait_idle(rig);
    _cleanup_json_ json_t *list = letters(rig, (struct deadletter_query){0});
    replay(rig, js_str(json_array_get(list, 0), "id", ""));
    rig_wait_idle(rig);
    _cleanup_arena_ struct arena arena = {0};
    size_t count;
    struct elog_record *all = rig_records(rig, &arena, TOPIC_DEADLETTER, &count);
    assert_int_equal(count, 2);
    for (size_t i = 0; i < count; i++)
        assert_memory_equal(all[i].value, "not JSON", 8);
}

static void test_the_replay_of_a_deleted_item_is_harmless(void **state)
{
    struct rig *rig = *state;
    _Atomic bool failing = true;
    rig->fake.script = fail_while;
    rig->fake.arg = (void *)&failing;
    char id[ID_MAX], gone[ID_MAX];
    rig_upload(rig, 1, NULL, id);
    rig_start(rig);
    rig_wait_idle(rig);
    _cleanup_json_ json_t *list = letters(rig, (struct deadletter_query){0});
    assert_int_equal(json_array_size(list), 1);
    failing = false;
    must(item_delete(&rig->flow, "default", id, gone, err));
    rig_wait_idle(rig);
    replay(rig, js_str(json_array_get(list, 0), "id", ""));
    rig_wait_idle(rig);
    assert_int_equal(rig_count(rig, TOPIC_DEADLETTER), 1);
    assert_int_equal(rig_blobs(rig), 0);
    assert_int_equal(rig_vectors(rig, "tenant_default_fake_vectors"), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_tenants),
        T(test_models),
        T(test_topics),
        T(test_records_are_merged_by_time),
        T(test_records_of_one_partition),
        T(test_any_bytes_can_be_shown),
        T(test_groups),
        T(test_dead_letters_are_listed_by_what_they_are),
        T(test_ids_of_dead_letters),
        T(test_g2_a_replay_takes_the_item_up_again),
        T(test_a_replay_that_fails_again_is_a_dead_letter_again),
        T(test_unreadable_messages_are_replayed_as_they_are),
        T(test_the_replay_of_a_deleted_item_is_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
