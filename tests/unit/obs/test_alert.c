// SPDX-License-Identifier: Apache-2.0
// Alerts: to a real HTTP listener and through real commands; told together, bounded, never in anybody's way.
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>

#include "../cli/fake_server.h"
#include "../cli/scratch.h"
#include "base/clock.h"
#include "base/js.h"
#include "base/log.h"
#include "obs/alert.h"
#include "obs/metrics.h"

enum { HOUR_MS = 3600000, TOLD_MAX = 1024 };

struct rig {
    struct fake_server *server;
    char folder[PATH_MAX], file[PATH_MAX + 16], command[3 * PATH_MAX];
    pthread_mutex_t hold; // held: requests wait
    _Atomic int status;
    _Atomic size_t count;
    json_t *told[TOLD_MAX];
    struct alerts *alerts;
};

static void take(void *ctx, const struct fake_request *request, struct fake_answer *answer)
{
    struct rig *r = ctx;
    pthread_mutex_lock(&r->hold);
    pthread_mutex_unlock(&r->hold);
    if (r->count < TOLD_MAX) {
        r->told[r->count] = strcmp(request->method, "POST") == 0 ? js_parse(request->body, request->len, NULL) : NULL;
        r->count++;
    }
    answer->status = r->status;
}

static int setup(void **state)
{
    struct rig *r = calloc(1, sizeof *r);
    r->status = 204;
    pthread_mutex_init(&r->hold, NULL);
    scratch_make(r->folder);
    snprintf(r->file, sizeof r->file, "%s/told", r->folder);
    snprintf(r->command, sizeof r->command, "cat >> %s; echo >> %s", r->file, r->file);
    r->server = fake_start(take, r);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;
    alerts_stop(r->alerts);
    fake_stop(r->server);
    for (size_t i = 0; i < r->count; i++)
        json_decref(r->told[i]);
    scratch_remove(r->folder);
    pthread_mutex_destroy(&r->hold);
    free(r);
    return 0;
}

static void start(struct rig *r, const char *webhook, const char *command, int64_t interval_ms, int64_t timeout_ms)
{
    const struct alert_config config = {.webhook = webhook,
                                        .command = command,
                                        .interval_ms = interval_ms,
                                        .repeat_ms = HOUR_MS,
                                        .timeout_ms = timeout_ms};
    struct error err = {0};
    if (alerts_start(&config, &r->alerts, &err) < 0)
        fail_msg("%s", err.message);
}

#define wait_for(expression)                                                                                           \
    do {                                                                                                               \
        int64_t until_ = clock_mono_us() + 50000000;                                                                   \
        while (!(expression)) {                                                                                        \
            if (clock_mono_us() > until_)                                                                              \
                fail_msg("waited in vain for: %s", #expression);                                                       \
            clock_sleep_ms(2);                                                                                         \
        }                                                                                                              \
    } while (0)

static void raise_one(struct rig *r, const char *subject)
{
    const struct alert_field fields[] = {{"code", "IMAGE_CORRUPT"}, {"tenantId", NULL}, {"bad", "\xff"}, {NULL}};
    alerts_raise(r->alerts, ALERT_PROCESSING_FAILED, subject, "It cannot be decoded", fields);
}

static const json_t *one_of(const json_t *message, size_t i)
{
    return json_array_get(js_arr(message, "alerts"), i);
}

static const char *subject_of(const json_t *message)
{
    return js_str(one_of(message, 0), "subject", "");
}

static size_t lines(struct rig *r, json_t **last)
{
    FILE *file = fopen(r->file, "re");
    char line[4096];
    size_t count = 0;
    while (file && fgets(line, sizeof line, file)) {
        if (!strchr(line, '\n') || line[0] != '{')
            continue;
        if (last) {
            json_decref(*last);
            *last = js_parse(line, strlen(line) - 1, NULL);
        }
        count++;
    }
    if (file)
        fclose(file);
    return count;
}

static void test_nothing_configured_is_nothing_told(void **state)
{
    struct rig *r = *state;
    start(r, "", NULL, 1, 1);
    raise_one(r, "a");
    _cleanup_json_ json_t *list = alerts_list(r->alerts), *results = alerts_test(r->alerts);
    assert_int_equal(json_array_size(js_arr(list, "channels")), 0);
    assert_int_equal(json_array_size(js_arr(list, "rules")), ALERT_KINDS);
    const json_t *one = json_array_get(js_arr(list, "alerts"), 0); // it can be asked for all the same
    assert_string_equal(js_str(one, "subject", ""), "a");
    assert_string_equal(js_str(one, "status", ""), "happened");
    assert_int_equal(json_array_size(results), 0);
}

static void test_nobody_has_alerts(void **state)
{
    alerts_raise(NULL, ALERT_PROCESSING_FAILED, "a", "b", NULL);
    alerts_look_begin(NULL, ALERT_CONSUMER_LAG);
    alerts_hold(NULL, ALERT_CONSUMER_LAG, "a", "b", NULL);
    alerts_look_end(NULL, ALERT_CONSUMER_LAG);
    _cleanup_json_ json_t *list = alerts_list(NULL), *firing = alerts_firing(NULL);
    assert_int_equal(json_array_size(js_arr(list, "alerts")), 0);
    assert_int_equal(json_array_size(firing), 0);
    alerts_stop(NULL);
}

static void test_a_webhook_gets_it_as_json(void **state)
{
    struct rig *r = *state;
    start(r, fake_url(r->server), "", HOUR_MS, 10000);
    raise_one(r, "prepare/IMAGE_CORRUPT");
    wait_for(r->count == 1);
    const json_t *message = r->told[0], *told = one_of(message, 0);
    assert_string_equal(js_str(message, "alert", ""), "processing.failed");
    assert_string_equal(js_str(message, "status", ""), "happened");
    assert_string_equal(js_str(message, "message", ""), "It cannot be decoded");
    assert_int_equal(json_array_size(js_arr(message, "alerts")), 1);
    assert_string_equal(js_str(told, "subject", ""), "prepare/IMAGE_CORRUPT");
    assert_string_equal(js_str(told, "message", ""), "It cannot be decoded");
    assert_int_equal(js_int(told, "count", 0), 1);
    assert_string_equal(js_str(js_obj(told, "details"), "code", ""), "IMAGE_CORRUPT");
    assert_string_equal(js_str(js_obj(told, "details"), "bad", ""), "\xef\xbf\xbd");
    assert_null(json_object_get(js_obj(told, "details"), "tenantId"));
    int64_t ms;
    assert_int_equal(clock_parse(js_str(message, "time", ""), &ms), 0);
}

static void test_a_command_gets_it_on_its_stdin(void **state)
{
    struct rig *r = *state;
    _cleanup_json_ json_t *told = NULL;
    start(r, NULL, r->command, HOUR_MS, 10000);
    raise_one(r, "prepare/IMAGE_CORRUPT");
    wait_for(lines(r, NULL) == 1);
    lines(r, &told);
    assert_string_equal(subject_of(told), "prepare/IMAGE_CORRUPT");
}

static void test_g8_ten_thousand_are_told_once(void **state)
{
    struct rig *r = *state;
    start(r, fake_url(r->server), r->command, HOUR_MS, 10000);
    for (int i = 0; i < 10000; i++)
        raise_one(r, "prepare/IMAGE_CORRUPT");
    wait_for(r->count == 1 && lines(r, NULL) == 1);
    raise_one(r, "last"); // comes behind whatever else there was
    wait_for(r->count == 2 && lines(r, NULL) == 2);
    assert_string_equal(subject_of(r->told[1]), "last");
}

static void test_what_follows_is_told_together(void **state)
{
    struct rig *r = *state;
    start(r, fake_url(r->server), NULL, 400, 10000);
    raise_one(r, "a");
    wait_for(r->count == 1);
    for (int i = 0; i < 99; i++)
        raise_one(r, "a");
    int64_t told = js_int(one_of(r->told[0], 0), "count", 0);
    for (size_t n = 1; told < 100; n++) {
        wait_for(r->count > n);
        told += js_int(one_of(r->told[n], 0), "count", 0);
        assert_true(n < 10);
    }
    assert_int_equal(told, 100);
}

static void test_g8_subjects_are_bounded(void **state)
{
    struct rig *r = *state;
    start(r, fake_url(r->server), NULL, HOUR_MS, 10000);
    for (int i = 0; i < 500; i++) {
        char subject[32];
        snprintf(subject, sizeof subject, "subject %d", i);
        raise_one(r, subject);
    }
    size_t seen = 0, message = 0;
    bool other = false;
    while (seen < ALERT_SUBJECTS) {
        wait_for(r->count > message);
        for (size_t i = 0; i < json_array_size(js_arr(r->told[message], "alerts")); i++, seen++)
            other |= strcmp(js_str(one_of(r->told[message], i), "subject", ""), "other") == 0;
        message++;
    }
    assert_int_equal(seen, ALERT_SUBJECTS);
    assert_true(other);
    assert_true(message < 10); // they went together
}

static void test_raising_does_not_wait_for_a_webhook_that_hangs(void **state)
{
    struct rig *r = *state;
    pthread_mutex_lock(&r->hold);
    start(r, fake_url(r->server), NULL, HOUR_MS, 60000);
    for (int i = 0; i < 10000; i++)
        raise_one(r, i % 2 ? "a" : "b");
    assert_int_equal(r->count, 0); // nothing has got through
    pthread_mutex_unlock(&r->hold);
    wait_for(r->count == 1 && json_array_size(js_arr(r->told[0], "alerts")) == 2);
}

static void test_a_webhook_that_refuses_is_tried_again_and_given_up(void **state)
{
    struct rig *r = *state;
    int64_t lost = metric_get(M_ALERTS, "lost"), sent = metric_get(M_ALERTS, "sent");
    r->status = 500;
    start(r, fake_url(r->server), NULL, HOUR_MS, 10000);
    raise_one(r, "a");
    wait_for(metric_get(M_ALERTS, "lost") == lost + 1);
    assert_int_equal(r->count, ALERT_TRIES);
    r->status = 200;
    raise_one(r, "b");
    wait_for(metric_get(M_ALERTS, "sent") == sent + 1);
}

static void test_a_command_that_hangs_is_killed(void **state)
{
    struct rig *r = *state;
    int64_t lost = metric_get(M_ALERTS, "lost");
    start(r, NULL, "sleep 1000 & wait", HOUR_MS, 100);
    raise_one(r, "a");
    wait_for(metric_get(M_ALERTS, "lost") == lost + 1);
}

static void test_stopping_waits_for_nobody(void **state)
{
    struct rig *r = *state;
    char command[2 * PATH_MAX];
    snprintf(command, sizeof command, "echo '{' > %s; exec sleep 1000", r->file);
    start(r, NULL, command, HOUR_MS, HOUR_MS);
    raise_one(r, "a");
    wait_for(lines(r, NULL) == 1); // the command runs
    alerts_stop(r->alerts);
    r->alerts = NULL;
}

static void test_a_command_has_signals_of_its_own(void **state)
{
    struct rig *r = *state;
    char command[2 * PATH_MAX];
    snprintf(command, sizeof command, "grep SigBlk /proc/self/status | sed 's/^/{/' >> %s", r->file);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL); // as `serve` does
    start(r, NULL, command, HOUR_MS, 10000);
    raise_one(r, "a");
    wait_for(lines(r, NULL) == 1);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    FILE *file = fopen(r->file, "re");
    unsigned long long blocked = 1;
    assert_int_equal(fscanf(file, "{SigBlk: %llx", &blocked), 1);
    fclose(file);
    assert_int_equal(blocked, 0);
}

static void test_what_cannot_be_is_refused(void **state)
{
    struct rig *r = *state;
    static const struct {
        struct alert_config config;
        const char *says;
    } wrong[] = {
        {{.webhook = "file:///etc/passwd"}, "alert.webhook must be"},
        {{.smtp = "http://mail"}, "alert.smtp must be"},
        {{.smtp = "smtp://mail"}, "needs alert.email_to"},
        {{.mail_to = "a@b"}, "needs alert.smtp"},
        {{.smtp = "smtp://mail", .mail_to = "a@b,nobody"}, "\"nobody\" is no e-mail address"},
        {{.smtp = "smtp://mail", .mail_to = "<a@b>"}, "is no e-mail address"},
        {{.smtp = "smtp://mail", .mail_to = "a@b", .mail_from = "x"}, "alert.email_from"},
        {{.off = "consumer.lag,nonsense"}, "there is no alert \"nonsense\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct error err = {0};
        assert_int_equal(alerts_start(&wrong[i].config, &r->alerts, &err), -1);
        assert_int_equal(err.code, ERR_CONFIG);
        if (!strstr(err.message, wrong[i].says))
            fail_msg("\"%s\" does not say \"%s\"", err.message, wrong[i].says);
    }
}

static void look(struct rig *r, const char *subject)
{
    alerts_look_begin(r->alerts, ALERT_CONSUMER_LAG);
    if (subject)
        alerts_hold(r->alerts, ALERT_CONSUMER_LAG, subject, "It lags", NULL);
    alerts_look_end(r->alerts, ALERT_CONSUMER_LAG);
}

static void test_a_condition_is_told_when_it_begins_and_when_it_is_over(void **state)
{
    struct rig *r = *state;
    start(r, fake_url(r->server), NULL, HOUR_MS, 10000);
    for (int i = 0; i < 5; i++)
        look(r, "readers");
    wait_for(r->count == 1);
    assert_string_equal(js_str(r->told[0], "status", ""), "firing");
    look(r, NULL);
    wait_for(r->count == 2);
    assert_string_equal(js_str(r->told[1], "status", ""), "resolved");
    assert_string_equal(subject_of(r->told[1]), "readers");
}

static void test_a_test_says_who_took_it(void **state)
{
    struct rig *r = *state;
    start(r, fake_url(r->server), "exit 3", HOUR_MS, 10000);
    _cleanup_json_ json_t *results = alerts_test(r->alerts);
    assert_int_equal(json_array_size(results), 2);
    assert_string_equal(js_str(json_array_get(results, 0), "channel", ""), "webhook");
    assert_true(json_is_null(json_object_get(json_array_get(results, 0), "error")));
    assert_string_equal(js_str(json_array_get(results, 1), "channel", ""), "command");
    assert_non_null(strstr(js_str(json_array_get(results, 1), "error", ""), "exit code 3"));
    assert_string_equal(js_str(r->told[0], "alert", ""), "test");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_nothing_configured_is_nothing_told),
        T(test_nobody_has_alerts),
        T(test_a_webhook_gets_it_as_json),
        T(test_a_command_gets_it_on_its_stdin),
        T(test_g8_ten_thousand_are_told_once),
        T(test_what_follows_is_told_together),
        T(test_g8_subjects_are_bounded),
        T(test_raising_does_not_wait_for_a_webhook_that_hangs),
        T(test_a_webhook_that_refuses_is_tried_again_and_given_up),
        T(test_a_command_that_hangs_is_killed),
        T(test_stopping_waits_for_nobody),
        T(test_a_command_has_signals_of_its_own),
        T(test_what_cannot_be_is_refused),
        T(test_a_condition_is_told_when_it_begins_and_when_it_is_over),
        T(test_a_test_says_who_took_it),
    };
    log_setup(LOG_OFF, false);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}
