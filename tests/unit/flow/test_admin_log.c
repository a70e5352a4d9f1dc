// SPDX-License-Identifier: Apache-2.0
// Administration of the log: topics made and changed, records found and published, groups put elsewhere, lag, purging.
// All of it on a flow that has nothing but the log, as commands without a server have.
#include <stdio.h>
#include <string.h>

#include "base/js.h"
#include "rig.h"

static const struct topic_change keep = {ADMIN_KEEP, ADMIN_KEEP, ADMIN_KEEP, ADMIN_KEEP};

struct bare {
    struct rig *rig;
    struct flow flow; // the log alone
};

static int setup(void **state)
{
    struct bare *b = calloc(1, sizeof *b);
    b->rig = rig_new(NULL);
    b->flow.log = b->rig->flow.log;
    b->flow.settings = b->rig->flow.settings;
    flow_open_log(&b->flow);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bare *b = *state;
    flow_close(&b->flow);
    rig_free(b->rig);
    free(b);
    return 0;
}

// --- Topics

static void test_a_topic_is_made_changed_and_deleted(void **state)
{
    struct bare *b = *state;
    json_t *json = NULL;
    struct topic_change change = keep;
    change.partitions = 2;
    must(admin_topic_create(&b->flow, "my", &change, &json, err));
    assert_int_equal(json_array_size(js_arr(json, "partitions")), 2);
    assert_int_equal(js_int(json, "retentionMs", 0), 7LL * 24 * 3600 * 1000);
    assert_int_equal(js_int(json, "replication", 0), 1);
    json_decref(json);
    must_fail(ERR_EXISTS, admin_topic_create(&b->flow, "my", &keep, &json, err));
    must_fail(ERR_INVALID, admin_topic_create(&b->flow, "a b", &keep, &json, err));
    change = keep;
    change.retention_ms = -1;
    must(admin_topic_alter(&b->flow, "my", &change, &json, err));
    assert_int_equal(js_int(json, "retentionMs", 0), -1);
    assert_int_equal(json_array_size(js_arr(json, "partitions")), 2); // what is not said stays
    json_decref(json);
    change.partitions = 1;
    must_fail(ERR_INVALID, admin_topic_alter(&b->flow, "my", &change, &json, err));
    change.partitions = 0;
    must_fail(ERR_INVALID, admin_topic_alter(&b->flow, "my", &change, &json, err));
    change = keep;
    change.replication = 3; // the embedded log keeps one
    must_fail(ERR_INVALID, admin_topic_alter(&b->flow, "my", &change, &json, err));
    must_fail(ERR_NOT_FOUND, admin_topic_alter(&b->flow, "none", &keep, &json, err));
    must(admin_topic_delete(&b->flow, "my", &json, err));
    assert_string_equal(js_str(json, "name", ""), "my");
    json_decref(json);
    must_fail(ERR_NOT_FOUND, admin_topic_delete(&b->flow, "my", &json, err));
}

static const char *state_of(const json_t *report, const char *name, size_t *differences)
{
    size_t i;
    json_t *topic;
    json_array_foreach(js_arr(report, "topics"), i, topic)
    {
        if (strcmp(js_str(topic, "name", ""), name) != 0)
            continue;
        *differences = json_array_size(js_arr(topic, "differences"));
        return js_str(topic, "state", "");
    }
    return "not told";
}

static void test_what_is_missing_is_made_and_what_differs_is_left(void **state)
{
    struct bare *b = *state;
    static const char missing[] = "deeplens.videos.uploaded", other[] = "deeplens.vectors.indexing";
    json_t *json = NULL;
    size_t differences = 0;
    must(admin_topic_delete(&b->flow, missing, &json, err));
    json_decref(json);
    struct topic_change change = keep;
    change.partitions = 6;
    change.retention_ms = 1000;
    must(admin_topic_alter(&b->flow, other, &change, &json, err));
    json_decref(json);
    for (int round = 0; round < 3; round++) {
        must(admin_topics_ensure(&b->flow, round == 0, &json, err));
        assert_int_equal(json_array_size(js_arr(json, "topics")), TOPIC_COUNT);
        assert_string_equal(state_of(json, missing, &differences), round == 0 ? "missing" : round == 1 ? "made" : "ok");
        assert_string_equal(state_of(json, other, &differences), "differs");
        assert_int_equal(differences, 2);
        assert_string_equal(state_of(json, "deeplens.images.uploaded", &differences), "ok");
        assert_int_equal(differences, 0);
        json_decref(json);
    }
}

static void test_recreating_needs_the_records_where_items_are(void **state)
{
    struct bare *b = *state;
    json_t *json = NULL;
    must_fail(ERR_UNAVAILABLE, admin_topic_recreate(&b->flow, "deeplens.images.uploaded", true, &json, err));
    must_fail(ERR_UNAVAILABLE, admin_topic_recreate(&b->flow, "whatsapp-ready-messages", false, &json, err));
    must(admin_topic_recreate(&b->flow, "deeplens.processing.deadletter", false, &json, err));
    json_decref(json);
}

// --- Records

static void publish(struct bare *b, const char *key, const char *tenant, int number, int64_t ms)
{
    char text[96];
    snprintf(text, sizeof text, "{\"tenantId\":\"%s\",\"n\":%d}", tenant, number);
    const struct elog_record record = {
        .topic = "whatsapp-ready-messages", .timestamp_ms = ms, .key = key, .value = text, .value_len = strlen(text)};
    must(b->flow.log.ops->publish(b->flow.log.state, &record, 1, err));
}

// "3 4 9": the numbers found; the cursor goes to `cursor`.
static const char *find(struct bare *b, struct records_query query, char cursor[128])
{
    static char text[512];
    json_t *json = NULL, *record;
    size_t i;
    int len = 0;
    query.limit = query.limit ? query.limit : 1000;
    must(admin_records(&b->flow, "whatsapp-ready-messages", &query, &json, err));
    text[0] = 0;
    json_array_foreach(js_arr(json, "records"), i, record)
    {
        int n = (int)js_int(js_obj(record, "value"), "n", -1);
        len += snprintf(text + len, sizeof text - (size_t)len, "%s%d", i ? " " : "", n);
    }
    if (cursor)
        snprintf(cursor, 128, "%s", js_str(json, "cursor", ""));
    json_decref(json);
    return text;
}

static void fill(struct bare *b)
{
    const struct elog_record odd = {
        .topic = "whatsapp-ready-messages", .value = "{", .value_len = 1, .timestamp_ms = 1};
    must(b->flow.log.ops->publish(b->flow.log.state, &odd, 1, err));
    for (int i = 0; i < 12; i++) {
        char key[16];
        snprintf(key, sizeof key, "key-%d", i % 4);
        publish(b, key, i % 3 ? "acme" : "other", i, 1000 + i);
    }
}

static void test_records_are_found_by_tenant_key_and_time(void **state)
{
    struct bare *b = *state;
    const struct records_query all = {.partition = -1, .offset = -2};
    struct records_query q = all;
    fill(b);
    q.tenant = "other";
    assert_string_equal(find(b, q, NULL), "0 3 6 9");
    q.limit = 2;
    assert_string_equal(find(b, q, NULL), "0 3"); // the first ones
    q.offset = -1;
    assert_string_equal(find(b, q, NULL), "6 9"); // the last ones
    q = all;
    q.key = "key-2";
    assert_string_equal(find(b, q, NULL), "2 6 10");
    q.tenant = "other";
    assert_string_equal(find(b, q, NULL), "6");
    q = all;
    q.from_ms = 1008;
    assert_string_equal(find(b, q, NULL), "8 9 10 11");
    q.tenant = "acme";
    assert_string_equal(find(b, q, NULL), "8 10 11");
    q.from_ms = 2000;
    assert_string_equal(find(b, q, NULL), "");
    q.tenant = "nobody";
    assert_string_equal(find(b, q, NULL), "");
}

// Page by page, and then what comes: each record once.
static void test_a_cursor_goes_on_where_it_was(void **state)
{
    struct bare *b = *state;
    char cursor[128] = "";
    bool seen[20] = {false};
    struct records_query q = {.partition = -1, .offset = -2, .limit = 5, .tenant = "acme"};
    assert_string_equal(find(b, (struct records_query){.partition = -1, .offset = -1}, cursor), "");
    fill(b);
    q.cursor = cursor;
    for (int round = 0; round < 4; round++) {
        if (round == 2)
            publish(b, "key-9", "acme", 13, 5); // older than what was seen
        char *at = (char *)find(b, q, cursor);
        for (char *word = strtok_r(at, " ", &at); word; word = strtok_r(NULL, " ", &at)) {
            long n = strtol(word, NULL, 10);
            assert_false(seen[n]);
            seen[n] = true;
        }
    }
    for (int i = 0; i < 12; i++)
        assert_int_equal(seen[i], i % 3 != 0);
    assert_true(seen[13]);
}

// More than a chunk lies between the end and what is looked for.
static void test_the_last_ones_are_found_far_from_the_end(void **state)
{
    struct bare *b = *state;
    publish(b, "k", "rare", 1, 1);
    publish(b, "k", "rare", 2, 2);
    for (int i = 0; i < 1200; i++)
        publish(b, "k", "usual", 3, 3);
    const struct records_query q = {.partition = -1, .offset = -1, .tenant = "rare"};
    assert_string_equal(find(b, q, NULL), "1 2");
    const struct records_query last = {.partition = -1, .offset = -1, .tenant = "usual", .limit = 3};
    assert_string_equal(find(b, last, NULL), "3 3 3");
}

static void test_a_record_is_published_as_it_is(void **state)
{
    struct bare *b = *state;
    _cleanup_arena_ struct arena arena = {0};
    _cleanup_json_ json_t *headers = json_pack("{s:s,s:s}", "a", "1", "b", ""), *bad = json_pack("{s:i}", "a", 1);
    size_t count;
    struct produce record = {.key = "k", .headers = headers, .value = "\0x", .value_len = 2};
    must(admin_produce(&b->flow, "whatsapp-ready-messages", &record, err));
    struct elog_record *all = rig_records(b->rig, &arena, TOPIC_MESSAGES, &count);
    assert_int_equal(count, 1);
    assert_int_equal(all->value_len, 2);
    assert_memory_equal(all->value, "\0x", 2);
    assert_string_equal(rig_header(all, "a"), "1");
    must_fail(ERR_NOT_FOUND, admin_produce(&b->flow, "none", &record, err));
    record.headers = bad;
    must_fail(ERR_INVALID, admin_produce(&b->flow, "whatsapp-ready-messages", &record, err));
    record.headers = NULL;
    record.value_len = PRODUCE_MAX + 1;
    must_fail(ERR_BODY_TOO_LARGE, admin_produce(&b->flow, "whatsapp-ready-messages", &record, err));
}

// --- Groups

static int64_t reset(struct bare *b, struct group_reset r)
{
    json_t *json = NULL;
    int64_t to = 0;
    size_t i;
    json_t *p;
    must(admin_group_reset(&b->flow, "readers", &r, &json, err));
    json_array_foreach(js_arr(json, "partitions"), i, p)
    {
        to += js_int(p, "to", 0);
    }
    json_decref(json);
    return to;
}

static int64_t committed(struct bare *b)
{
    json_t *json = NULL, *p;
    int64_t sum = 0;
    size_t i;
    must(admin_group(&b->flow, "readers", &json, err));
    json_array_foreach(js_arr(json, "partitions"), i, p)
    {
        sum += js_int(p, "committed", 0);
    }
    json_decref(json);
    return sum;
}

static void test_a_group_is_put_elsewhere(void **state)
{
    struct bare *b = *state;
    struct group_reset r = {.to = RESET_LATEST, .partition = -1, .dry_run = true};
    json_t *json = NULL;
    fill(b);
    must_fail(ERR_NOT_FOUND, admin_group_reset(&b->flow, "readers", &r, &json, err)); // on which topic?
    r.topic = "whatsapp-ready-messages";
    assert_int_equal(reset(b, r), 13);
    must_fail(ERR_NOT_FOUND, admin_group(&b->flow, "readers", &json, err)); // a dry run
    r.dry_run = false;
    assert_int_equal(reset(b, r), 13);
    assert_int_equal(committed(b), 13);
    r.topic = NULL; // the group has read by now
    r.to = RESET_EARLIEST;
    assert_int_equal(reset(b, r), 0);
    assert_int_equal(committed(b), 0);
    r.to = RESET_SHIFT;
    r.value = 1;
    assert_int_equal(reset(b, r), 3);
    r.value = INT64_MAX; // as far as there is
    assert_int_equal(reset(b, r), 13);
    r.value = INT64_MIN;
    assert_int_equal(reset(b, r), 0);
    r.to = RESET_OFFSET;
    r.value = 1000000;
    assert_int_equal(reset(b, r), 13);
    r.to = RESET_TIME;
    r.value = 1000000;
    assert_int_equal(reset(b, r), 13);
    r.value = 1;
    assert_int_equal(reset(b, r), 0);
    r.partition = 0; // this one alone
    r.to = RESET_LATEST;
    reset(b, r);
    assert_true(committed(b) > 0 && committed(b) < 13);
    r.partition = 3;
    must_fail(ERR_NOT_FOUND, admin_group_reset(&b->flow, "readers", &r, &json, err));
    must(admin_group_delete(&b->flow, "readers", err));
    must_fail(ERR_NOT_FOUND, admin_group_delete(&b->flow, "readers", err));
}

static void test_not_while_it_has_members(void **state)
{
    struct bare *b = *state;
    struct group_reset r = {.to = RESET_EARLIEST, .partition = -1};
    json_t *json = NULL;
    rig_start(b->rig);
    must_fail(ERR_CONFLICT, admin_group_reset(&b->flow, "deeplens-status", &r, &json, err));
    must_fail(ERR_CONFLICT, admin_group_delete(&b->flow, "deeplens-status", err));
    r.dry_run = true;
    must(admin_group_reset(&b->flow, "deeplens-status", &r, &json, err));
    assert_int_equal(js_int(json, "members", 0), 1);
    json_decref(json);
}

static void test_lag_is_told_with_its_state_and_the_limit(void **state)
{
    struct bare *b = *state;
    struct group_reset r = {.to = RESET_EARLIEST, .partition = -1, .topic = "whatsapp-ready-messages"};
    json_t *json = NULL;
    fill(b);
    reset(b, r);
    for (int64_t limit = 12; limit <= 13; limit++) {
        b->flow.settings.lag_limit = limit;
        must(admin_lag(&b->flow, &json, err));
        const json_t *group = json_array_get(js_arr(json, "groups"), 0);
        assert_int_equal(js_int(group, "lag", 0), 13);
        assert_int_equal(js_bool(group, "aboveLimit", false), limit == 12);
        assert_int_equal(js_bool(json, "alarming", false), limit == 12);
        assert_true(js_int(group, "lagMs", 0) > 1000); // the records are of 1970
        assert_string_equal(js_str(group, "state", ""), "unknown");
        json_decref(json);
    }
    for (int i = 0; i < 10; i++) { // settings.lag_interval_ms is 0: each look counts
        must(admin_lag(&b->flow, &json, err));
        if (i < 9)
            json_decref(json);
    }
    assert_string_equal(js_str(json_array_get(js_arr(json, "groups"), 0), "state", ""), "stalled");
    assert_true(js_bool(json, "alarming", false));
    json_decref(json);
}

static void test_groups_of_others_are_nothing_to_be_alarmed_by(void **state)
{
    struct bare *b = *state;
    json_t *json = NULL;
    must(admin_topic_create(&b->flow, "others", &keep, &json, err));
    json_decref(json);
    const struct produce record = {.value = "x", .value_len = 1};
    must(admin_produce(&b->flow, "others", &record, err));
    must(admin_produce(&b->flow, "others", &record, err));
    reset(b, (struct group_reset){.to = RESET_EARLIEST, .partition = -1, .topic = "others"});
    b->flow.settings.lag_limit = 1;
    for (int i = 0; i < 10; i++) {
        must(admin_lag(&b->flow, &json, err));
        if (i < 9)
            json_decref(json);
    }
    const json_t *group = json_array_get(js_arr(json, "groups"), 0);
    assert_string_equal(js_str(group, "state", ""), "stalled"); // it is shown
    assert_false(js_bool(group, "alarming", true));
    assert_false(js_bool(json, "alarming", true));
    json_decref(json);
}

// --- Dead letters

static void put_letter(struct bare *b, const char *key, const char *code, int64_t ms)
{
    const struct elog_header headers[] = {{"__dlq.errors.topic", "deeplens.images.uploaded"},
                                          {"__dlq.errors.code", code}};
    const struct elog_record record = {.topic = "deeplens.processing.deadletter",
                                       .timestamp_ms = ms,
                                       .key = key,
                                       .value = "{\"tenantId\":\"acme\"}",
                                       .value_len = 19,
                                       .headers = headers,
                                       .header_count = 2};
    must(b->flow.log.ops->publish(b->flow.log.state, &record, 1, err));
}

static void fill_letters(struct bare *b)
{
    for (int i = 0; i < 20; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        put_letter(b, key, i % 2 ? "ODD" : "EVEN", 1000 + i);
    }
}

static size_t count_letters(struct bare *b, struct deadletter_query q)
{
    json_t *json = NULL;
    q.limit = q.limit ? q.limit : 1000;
    must(admin_deadletters(&b->flow, &q, &json, err));
    size_t count = json_array_size(js_arr(json, "items"));
    json_decref(json);
    return count;
}

static void test_letters_are_found_by_time_and_tenant(void **state)
{
    struct bare *b = *state;
    fill_letters(b);
    assert_int_equal(count_letters(b, (struct deadletter_query){.from_ms = 1015}), 5);
    assert_int_equal(count_letters(b, (struct deadletter_query){.to_ms = 1015}), 15);
    assert_int_equal(count_letters(b, (struct deadletter_query){.from_ms = 1010, .to_ms = 1012}), 2);
    assert_int_equal(count_letters(b, (struct deadletter_query){.code = "ODD", .from_ms = 1010}), 5);
    assert_int_equal(count_letters(b, (struct deadletter_query){.tenant = "acme"}), 20); // though they are no events
    assert_int_equal(count_letters(b, (struct deadletter_query){.tenant = "other"}), 0);
}

static void test_letters_are_paged(void **state)
{
    struct bare *b = *state;
    char cursor[32] = "";
    size_t total = 0, pages = 0;
    fill_letters(b);
    do {
        json_t *json = NULL;
        const struct deadletter_query q = {.code = "ODD", .cursor = *cursor ? cursor : NULL, .limit = 3};
        must(admin_deadletters(&b->flow, &q, &json, err));
        total += json_array_size(js_arr(json, "items"));
        snprintf(cursor, sizeof cursor, "%s", js_str(json, "nextCursor", ""));
        json_decref(json);
        assert_true(++pages < 10);
    } while (*cursor);
    assert_int_equal(total, 10);
    json_t *json = NULL;
    const struct deadletter_query wrong = {.cursor = "x", .limit = 3};
    must_fail(ERR_INVALID_ID, admin_deadletters(&b->flow, &wrong, &json, err));
}

static void test_letters_are_purged_by_time(void **state)
{
    struct bare *b = *state;
    json_t *json = NULL;
    fill_letters(b);
    must(admin_deadletters_purge(&b->flow, 1015, true, &json, err));
    assert_int_equal(js_int(json, "removed", 0), 15);
    assert_int_equal(js_int(json, "left", 0), 5);
    json_decref(json);
    assert_int_equal(count_letters(b, (struct deadletter_query){0}), 20);
    must(admin_deadletters_purge(&b->flow, 1015, false, &json, err));
    assert_int_equal(js_int(json, "removed", 0), 15);
    json_decref(json);
    assert_int_equal(count_letters(b, (struct deadletter_query){0}), 5);
    must(admin_deadletters_purge(&b->flow, 0, false, &json, err));
    assert_int_equal(js_int(json, "removed", 0), 5);
    assert_int_equal(js_int(json, "left", -1), 0);
    json_decref(json);
    assert_int_equal(count_letters(b, (struct deadletter_query){0}), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_a_topic_is_made_changed_and_deleted),
        T(test_what_is_missing_is_made_and_what_differs_is_left),
        T(test_recreating_needs_the_records_where_items_are),
        T(test_records_are_found_by_tenant_key_and_time),
        T(test_a_cursor_goes_on_where_it_was),
        T(test_the_last_ones_are_found_far_from_the_end),
        T(test_a_record_is_published_as_it_is),
        T(test_a_group_is_put_elsewhere),
        T(test_not_while_it_has_members),
        T(test_lag_is_told_with_its_state_and_the_limit),
        T(test_groups_of_others_are_nothing_to_be_alarmed_by),
        T(test_letters_are_found_by_time_and_tenant),
        T(test_letters_are_paged),
        T(test_letters_are_purged_by_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
