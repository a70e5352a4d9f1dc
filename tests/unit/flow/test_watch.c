// SPDX-License-Identifier: Apache-2.0
// Who is told of what: failures for good, lag above the limit, groups that stall. Through a real command.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/js.h"
#include "flow/alerts.h"
#include "flow/watch.h"
#include "obs/alert.h"
#include "rig.h"

struct told {
    struct rig *rig;
    char file[600], command[1300];
};

static void start(struct told *t, struct rig *rig)
{
    struct alert_config config = {
        .command = t->command, .interval_ms = 3600000, .repeat_ms = 3600000, .timeout_ms = 10000};
    t->rig = rig;
    snprintf(t->file, sizeof t->file, "%s/told", rig->dir);
    snprintf(t->command, sizeof t->command, "cat >> %s; echo >> %s", t->file, t->file);
    must(alerts_start(&config, &rig->flow.alerts, err));
}

static void stop(struct told *t)
{
    rig_stop(t->rig);
    alerts_stop(t->rig->flow.alerts);
    t->rig->flow.alerts = NULL;
    rig_free(t->rig);
}

// The first of this kind that was told, and how it stood; NULL while there is none.
static json_t *find(struct told *t, const char *kind)
{
    FILE *file = fopen(t->file, "re");
    char line[4096];
    json_t *found = NULL;
    while (file && !found && fgets(line, sizeof line, file)) {
        json_t *alert = js_parse(line, strlen(line), NULL);
        if (strcmp(js_str(alert, "alert", ""), kind) == 0)
            found = json_incref(json_array_get(js_arr(alert, "alerts"), 0));
        json_decref(alert);
    }
    if (file)
        fclose(file);
    return found;
}

static json_t *wait_told(struct told *t, const char *kind)
{
    json_t *alert = NULL;
    wait_for((alert = find(t, kind)));
    return alert;
}

static enum error_code corrupt(struct fake *fake, size_t call, const char *model, int code)
{
    return ERR_IMAGE_CORRUPT;
}

static void test_a_failure_for_good_is_told(void **state)
{
    struct told t;
    char id[ID_MAX];
    start(&t, rig_new(NULL));
    t.rig->fake.script = corrupt;
    rig_upload(t.rig, 1, NULL, id);
    rig_start(t.rig);
    _cleanup_json_ json_t *alert = wait_told(&t, "processing.failed");
    const json_t *details = js_obj(alert, "details");
    assert_string_equal(js_str(alert, "subject", ""), "extract/IMAGE_CORRUPT");
    assert_string_equal(js_str(details, "mediaId", ""), id);
    assert_string_equal(js_str(details, "tenantId", ""), "default");
    assert_string_equal(js_str(details, "attemptNumber", ""), "1");
    assert_string_equal(js_str(details, "topic", ""), "deeplens.features.extraction");
    rig_wait_idle(t.rig);
    stop(&t);
}

static enum error_code away(struct fake *fake, size_t call, const char *model, int code)
{
    return ERR_UNAVAILABLE;
}

static enum error_code twice(struct fake *fake, size_t call, const char *model, int code)
{
    return call < 2 ? ERR_EXTRACTION_FAILED : ERR_NONE;
}

static void test_what_will_be_tried_again_is_not_told(void **state)
{
    struct told t;
    char id[ID_MAX];
    start(&t, rig_new(NULL));
    t.rig->fake.script = twice;
    rig_upload(t.rig, 1, NULL, id);
    rig_start(t.rig);
    wait_for(rig_status_is(t.rig, id, MEDIA_COMPLETED));
    alerts_raise(t.rig->flow.alerts, ALERT_WEBHOOK_DEAD, "last", "", NULL); // behind whatever there was
    json_decref(wait_told(&t, "webhook.dead"));
    assert_null(find(&t, "processing.failed"));
    stop(&t);
}

static void test_what_cannot_be_read_is_told(void **state)
{
    struct told t;
    start(&t, rig_new(NULL));
    rig_publish(t.rig, TOPIC_IMAGES_UPLOADED, "k", "garbage");
    rig_start(t.rig);
    _cleanup_json_ json_t *alert = wait_told(&t, "processing.failed");
    assert_string_equal(js_str(alert, "subject", ""), "prepare/EVENT_INVALID");
    assert_null(json_object_get(js_obj(alert, "details"), "mediaId"));
    stop(&t);
}

static void test_another_systems_failure_is_told(void **state)
{
    struct told t;
    char id[ID_MAX], text[512];
    start(&t, rig_new(NULL));
    rig_item(t.rig, 1, id);
    snprintf(text, sizeof text,
             "{\"imageId\":\"%s\",\"tenantId\":\"default\",\"status\":\"failed\",\"error\":{\"code\":\"OUT_OF_LUCK\","
             "\"message\":\"No\",\"retryable\":false},\"attemptNumber\":3}",
             id);
    rig_publish(t.rig, TOPIC_PROCESSING_FAILED, id, text);
    rig_start(t.rig);
    _cleanup_json_ json_t *alert = wait_told(&t, "processing.failed");
    assert_string_equal(js_str(js_obj(alert, "details"), "code", ""), "OUT_OF_LUCK");
    assert_string_equal(js_str(js_obj(alert, "details"), "attemptNumber", ""), "3");
    assert_true(rig_status_is(t.rig, id, MEDIA_FAILED));
    stop(&t);
}

static void seek_to_begin(struct rig *rig)
{
    for (int p = 0; p < 3; p++)
        must(rig->flow.log.ops->group_seek(rig->flow.log.state, "readers", "deeplens.images.uploaded", p, 0, err));
}

static void test_lag_above_the_limit_is_told(void **state)
{
    struct told t;
    char id[ID_MAX];
    start(&t, rig_new(NULL));
    t.rig->flow.settings.lag_limit = 4;
    seek_to_begin(t.rig);
    for (int i = 0; i < 4; i++)
        rig_upload(t.rig, i, NULL, id);
    watch_look(&t.rig->flow, NULL);
    assert_null(find(&t, "consumer.lag"));
    rig_upload(t.rig, 4, NULL, id);
    watch_look(&t.rig->flow, NULL);
    _cleanup_json_ json_t *alert = wait_told(&t, "consumer.lag");
    assert_string_equal(js_str(alert, "subject", ""), "readers");
    assert_string_equal(js_str(js_obj(alert, "details"), "lag", ""), "5");
    stop(&t);
}

static void test_a_group_that_stalls_is_told(void **state)
{
    struct told t;
    char id[ID_MAX];
    start(&t, rig_new(NULL));
    seek_to_begin(t.rig);
    rig_upload(t.rig, 1, NULL, id);
    for (int i = 0; i < 9; i++) // settings.lag_interval_ms is 0: each look counts
        watch_look(&t.rig->flow, NULL);
    assert_null(find(&t, "consumer.stalled"));
    watch_look(&t.rig->flow, NULL);
    _cleanup_json_ json_t *alert = wait_told(&t, "consumer.stalled");
    assert_string_equal(js_str(js_obj(alert, "details"), "group", ""), "readers");
    assert_string_equal(js_str(js_obj(alert, "details"), "committed", ""), "0");
    stop(&t);
}

static void test_the_watch_looks_by_itself(void **state)
{
    struct told t;
    char id[ID_MAX];
    struct watch *watch = NULL;
    start(&t, rig_new(NULL));
    t.rig->flow.settings.lag_interval_ms = 1;
    seek_to_begin(t.rig);
    rig_upload(t.rig, 1, NULL, id);
    must(watch_start(&t.rig->flow, NULL, &watch, err));
    json_decref(wait_told(&t, "consumer.stalled"));
    watch_stop(watch);
    stop(&t);
}

static void test_an_event_that_waits_for_too_long_is_told(void **state)
{
    struct told t;
    char id[ID_MAX];
    start(&t, rig_new(NULL));
    t.rig->flow.settings.age_limit_ms = 3600000;
    seek_to_begin(t.rig);
    rig_upload(t.rig, 1, NULL, id);
    watch_look(&t.rig->flow, NULL);
    assert_null(find(&t, "consumer.age"));
    t.rig->flow.settings.age_limit_ms = 1;
    clock_sleep_ms(5);
    watch_look(&t.rig->flow, NULL);
    _cleanup_json_ json_t *alert = wait_told(&t, "consumer.age");
    assert_string_equal(js_str(alert, "subject", ""), "readers");
    assert_string_equal(js_str(js_obj(alert, "details"), "limitMs", ""), "1");
    stop(&t);
}

static void test_a_check_that_fails_twice_is_told_and_its_end(void **state)
{
    struct told t;
    start(&t, rig_new(NULL));
    t.rig->flow.settings.disk_reserve = UINT64_MAX;
    watch_look(&t.rig->flow, NULL);
    assert_null(find(&t, "check.failing"));
    watch_look(&t.rig->flow, NULL);
    _cleanup_json_ json_t *alert = wait_told(&t, "check.failing");
    assert_string_equal(js_str(alert, "subject", ""), "disk");
    assert_string_equal(js_str(alert, "status", ""), "firing");
    t.rig->flow.settings.disk_reserve = 0;
    assert_int_equal(truncate(t.file, 0), 0);
    watch_look(&t.rig->flow, NULL);
    _cleanup_json_ json_t *over = wait_told(&t, "check.failing");
    assert_string_equal(js_str(over, "status", ""), "resolved");
    stop(&t);
}

static void test_a_step_that_pauses_is_told(void **state)
{
    struct told t;
    char id[ID_MAX];
    start(&t, rig_new(NULL));
    t.rig->fake.script = away;
    rig_upload(t.rig, 1, NULL, id);
    rig_start(t.rig);
    struct runner_step_health health[STEP_COUNT];
    wait_for((runner_health(t.rig->runner, health), health[STEP_EXTRACT].paused));
    watch_look(&t.rig->flow, t.rig->runner);
    watch_look(&t.rig->flow, t.rig->runner);
    _cleanup_json_ json_t *alert = wait_told(&t, "check.failing");
    assert_string_equal(js_str(alert, "subject", ""), "extract");
    stop(&t);
}

static void test_a_disk_that_gets_full_is_told(void **state)
{
    struct told t;
    start(&t, rig_new(NULL));
    t.rig->flow.settings.disk_low = UINT64_MAX;
    watch_look(&t.rig->flow, NULL);
    _cleanup_json_ json_t *alert = wait_told(&t, "disk.low");
    assert_string_equal(js_str(alert, "subject", ""), "blobs");
    assert_non_null(json_object_get(js_obj(alert, "details"), "freeBytes"));
    stop(&t);
}

// As a new process: the alerts, too, begin anew.
static void restart(struct told *t)
{
    alerts_stop(t->rig->flow.alerts);
    rig_reopen(t->rig, NULL);
    start(t, t->rig);
    must(flow_alerts_open(&t->rig->flow, err));
}

static void test_a_restart_remembers_what_was_told(void **state)
{
    struct told t;
    start(&t, rig_new(NULL));
    t.rig->flow.settings.disk_low = UINT64_MAX;
    watch_look(&t.rig->flow, NULL);
    json_decref(wait_told(&t, "disk.low"));
    watch_look(&t.rig->flow, NULL); // keeps that it was told
    restart(&t);
    assert_int_equal(truncate(t.file, 0), 0);
    t.rig->flow.settings.disk_low = 0;
    watch_look(&t.rig->flow, NULL);
    _cleanup_json_ json_t *over = wait_told(&t, "disk.low");
    assert_string_equal(js_str(over, "status", ""), "resolved");
    watch_look(&t.rig->flow, NULL);
    restart(&t);
    _cleanup_json_ json_t *firing = alerts_firing(t.rig->flow.alerts);
    assert_int_equal(json_array_size(firing), 0);
    stop(&t);
}

struct setting_call {
    struct flow *flow;
    struct arena *arena;
    const char *value;
};

static int kept_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct setting_call *call = arg;
    return call->flow->meta.ops->setting_get(tx, call->arena, "alerts.firing", &call->value, err);
}

static const char *kept(struct told *t, struct arena *arena)
{
    struct setting_call call = {.flow = &t->rig->flow, .arena = arena};
    must(t->rig->flow.meta.ops->read(t->rig->flow.meta.state, kept_tx, &call, err));
    return call.value;
}

static void test_what_lasts_is_not_written_down_anew_at_each_look(void **state)
{
    struct told t;
    char id[ID_MAX];
    _cleanup_arena_ struct arena arena = {0};
    start(&t, rig_new(NULL));
    t.rig->flow.settings.lag_limit = 1;
    seek_to_begin(t.rig);
    for (int i = 0; i < 2; i++)
        rig_upload(t.rig, i, NULL, id);
    watch_look(&t.rig->flow, NULL);
    json_decref(wait_told(&t, "consumer.lag"));
    watch_look(&t.rig->flow, NULL);
    const char *first = kept(&t, &arena);
    assert_non_null(strstr(first, "lags by 2 events"));
    rig_upload(t.rig, 2, NULL, id);
    watch_look(&t.rig->flow, NULL);
    assert_string_equal(kept(&t, &arena), first);
    stop(&t);
}

static void silence(struct told *t, const char *alert, const char *subject, int64_t ms, char id[ID_MAX])
{
    const struct silence_wish wish = {.alert = alert, .subject = subject, .comment = "why", .duration_ms = ms};
    json_t *answer = NULL;
    must(flow_alerts_silence(&t->rig->flow, &wish, &answer, err));
    snprintf(id, ID_MAX, "%s", js_str(answer, "id", ""));
    json_decref(answer);
}

static size_t silences(struct told *t)
{
    json_t *answer = NULL;
    must(flow_alerts_list(&t->rig->flow, &answer, err));
    size_t count = json_array_size(js_arr(answer, "silences"));
    json_decref(answer);
    return count;
}

static void test_silences_outlive_a_restart_until_they_end(void **state)
{
    struct told t;
    char id[ID_MAX], other[ID_MAX];
    start(&t, rig_new(NULL));
    silence(&t, "disk.low", NULL, 3600000, id);
    silence(&t, NULL, "nothing", 1, other);
    clock_sleep_ms(5);
    assert_int_equal(silences(&t), 1); // the other is over
    restart(&t);
    assert_int_equal(silences(&t), 1);
    t.rig->flow.settings.disk_low = t.rig->flow.settings.disk_reserve = UINT64_MAX;
    watch_look(&t.rig->flow, NULL);
    watch_look(&t.rig->flow, NULL);
    json_decref(wait_told(&t, "check.failing"));
    assert_null(find(&t, "disk.low"));
    must(flow_alerts_unsilence(&t.rig->flow, id, err));
    json_decref(wait_told(&t, "disk.low"));
    must_fail(ERR_NOT_FOUND, flow_alerts_unsilence(&t.rig->flow, id, err));
    assert_int_equal(silences(&t), 0);
    stop(&t);
}

static void test_silences_that_cannot_be_are_refused(void **state)
{
    struct told t;
    char id[ID_MAX], text[ALERT_NAME_MAX + 1];
    json_t *answer = NULL;
    start(&t, rig_new(NULL));
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    const struct silence_wish wrong[] = {{.alert = "gone", .duration_ms = 1},
                                         {.duration_ms = 0},
                                         {.duration_ms = -1},
                                         {.duration_ms = INT64_MAX},
                                         {.subject = text, .duration_ms = 1},
                                         {.comment = text, .duration_ms = 1}};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        must_fail(ERR_INVALID, flow_alerts_silence(&t.rig->flow, &wrong[i], &answer, err));
    for (int i = 0; i < ALERT_SILENCES; i++)
        silence(&t, NULL, "x", 3600000, id);
    const struct silence_wish more = {.duration_ms = 1};
    must_fail(ERR_CONFLICT, flow_alerts_silence(&t.rig->flow, &more, &answer, err));
    assert_int_equal(silences(&t), ALERT_SILENCES);
    stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_failure_for_good_is_told),
        cmocka_unit_test(test_what_will_be_tried_again_is_not_told),
        cmocka_unit_test(test_what_cannot_be_read_is_told),
        cmocka_unit_test(test_another_systems_failure_is_told),
        cmocka_unit_test(test_lag_above_the_limit_is_told),
        cmocka_unit_test(test_a_group_that_stalls_is_told),
        cmocka_unit_test(test_the_watch_looks_by_itself),
        cmocka_unit_test(test_an_event_that_waits_for_too_long_is_told),
        cmocka_unit_test(test_a_check_that_fails_twice_is_told_and_its_end),
        cmocka_unit_test(test_a_step_that_pauses_is_told),
        cmocka_unit_test(test_a_disk_that_gets_full_is_told),
        cmocka_unit_test(test_a_restart_remembers_what_was_told),
        cmocka_unit_test(test_what_lasts_is_not_written_down_anew_at_each_look),
        cmocka_unit_test(test_silences_outlive_a_restart_until_they_end),
        cmocka_unit_test(test_silences_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
