// SPDX-License-Identifier: Apache-2.0
// What is told when: looks, repeats, the end of a condition, silences, what is kept over a restart.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "obs/alert_book.h"

enum { HOUR_MS = 3600000, SOON_MS = 40 };

static int setup(void **state)
{
    struct book *b = calloc(1, sizeof *b);
    b->interval_ms = b->repeat_ms = HOUR_MS;
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    book_free(*state);
    free(*state);
    return 0;
}

// A look that finds these subjects (one string, each ends with a blank; "": none).
static void look(struct book *b, enum alert_kind kind, const char *subjects)
{
    book_look_begin(b, kind);
    for (const char *p = subjects; *p; p += strcspn(p, " ") + 1) {
        char subject[64];
        snprintf(subject, sizeof subject, "%.*s", (int)strcspn(p, " "), p);
        book_hold(b, kind, subject, "It is so", NULL);
    }
    book_look_end(b, kind);
}

// The next message, as "STATUS alert: STATUS subject …"; "" when none comes within an hour.
static const char *take(struct book *b)
{
    static char text[2048];
    int64_t look_us;
    size_t i;
    json_t *one, *message;
    text[0] = 0;
    while (!(message = book_take(b, &look_us))) {
        int64_t wait_us = look_us == INT64_MAX ? INT64_MAX : look_us - clock_mono_us();
        if (wait_us > INT64_C(60000000))
            return text;
        if (wait_us > 0)
            clock_sleep_ms(wait_us / 1000 + 1);
    }
    size_t len =
        (size_t)snprintf(text, sizeof text, "%s %s:", js_str(message, "status", ""), js_str(message, "alert", ""));
    json_array_foreach(js_arr(message, "alerts"), i, one)
    {
        len += (size_t)snprintf(text + len, sizeof text - len, " %s %s", js_str(one, "status", ""),
                                js_str(one, "subject", ""));
    }
    json_decref(message);
    return text;
}

static const char *status(const struct book *b, const char *subject)
{
    static char text[64];
    size_t i;
    json_t *one;
    _cleanup_json_ json_t *list = book_list(b);
    text[0] = 0;
    json_array_foreach(list, i, one)
    {
        if (strcmp(js_str(one, "subject", ""), subject) == 0)
            snprintf(text, sizeof text, "%s%s", js_str(one, "status", ""),
                     js_bool(one, "silenced", false) ? ", silenced" : "");
    }
    return text;
}

static void silence(struct book *b, int kind, const char *subject, int64_t for_ms)
{
    struct alert_silence *s = &b->silences[b->silence_count++];
    *s = (struct alert_silence){.kind = kind, .until_ms = clock_now_ms() + for_ms};
    snprintf(s->subject, sizeof s->subject, "%s", subject);
}

static void test_a_condition_is_told_once_and_its_end(void **state)
{
    struct book *b = *state;
    for (int i = 0; i < 3; i++)
        look(b, ALERT_CONSUMER_LAG, "a ");
    assert_string_equal(take(b), "firing consumer.lag: firing a");
    look(b, ALERT_CONSUMER_LAG, "a ");
    assert_string_equal(take(b), "");
    assert_string_equal(status(b, "a"), "firing");
    look(b, ALERT_CONSUMER_LAG, "");
    assert_string_equal(take(b), "resolved consumer.lag: resolved a");
    look(b, ALERT_CONSUMER_LAG, "");
    assert_string_equal(take(b), "");
}

static void test_it_must_hold_for_as_many_looks_as_its_kind_asks_for(void **state)
{
    struct book *b = *state;
    look(b, ALERT_CHECK_FAILING, "disk ");
    look(b, ALERT_CHECK_FAILING, "");
    look(b, ALERT_CHECK_FAILING, "disk ");
    assert_string_equal(take(b), "");
    assert_string_equal(status(b, "disk"), "pending");
    look(b, ALERT_CHECK_FAILING, "disk ");
    assert_string_equal(take(b), "firing check.failing: firing disk");
}

static void test_what_lasts_is_told_again(void **state)
{
    struct book *b = *state;
    b->repeat_ms = SOON_MS;
    look(b, ALERT_DISK_LOW, "blobs ");
    for (int i = 0; i < 3; i++)
        assert_string_equal(take(b), "firing disk.low: firing blobs");
}

static void test_what_comes_and_goes_is_told_once_an_interval(void **state)
{
    struct book *b = *state;
    for (int i = 0; i < 10; i++) {
        look(b, ALERT_DISK_LOW, "blobs ");
        if (i == 0)
            assert_string_equal(take(b), "firing disk.low: firing blobs");
        look(b, ALERT_DISK_LOW, "");
        if (i == 0)
            assert_string_equal(take(b), "resolved disk.low: resolved blobs");
    }
    assert_string_equal(take(b), "");
}

static void test_what_begins_together_is_told_together(void **state)
{
    struct book *b = *state;
    look(b, ALERT_CONSUMER_LAG, "a b c ");
    look(b, ALERT_DISK_LOW, "blobs ");
    assert_string_equal(take(b), "firing consumer.lag: firing a firing b firing c");
    assert_string_equal(take(b), "firing disk.low: firing blobs");
    look(b, ALERT_CONSUMER_LAG, "a d ");
    assert_string_equal(take(b), "firing consumer.lag: resolved b resolved c firing d");
}

static void test_a_silence_holds_back_what_it_covers_alone(void **state)
{
    struct book *b = *state;
    silence(b, ALERT_CONSUMER_LAG, "a", HOUR_MS);
    look(b, ALERT_CONSUMER_LAG, "a b ");
    assert_string_equal(take(b), "firing consumer.lag: firing b");
    assert_string_equal(status(b, "a"), "firing, silenced");
    look(b, ALERT_CONSUMER_LAG, "");
    assert_string_equal(take(b), "resolved consumer.lag: resolved b"); // of `a` nobody was told
}

static void test_a_condition_that_outlasts_a_silence_is_told(void **state)
{
    struct book *b = *state;
    silence(b, -1, "", SOON_MS);
    look(b, ALERT_CONSUMER_LAG, "a ");
    assert_string_equal(take(b), "firing consumer.lag: firing a");
}

static void test_the_end_of_what_was_told_is_told_in_a_silence(void **state)
{
    struct book *b = *state;
    look(b, ALERT_CONSUMER_LAG, "a ");
    assert_string_equal(take(b), "firing consumer.lag: firing a");
    silence(b, -1, "", HOUR_MS);
    look(b, ALERT_CONSUMER_LAG, "");
    assert_string_equal(take(b), "resolved consumer.lag: resolved a");
}

static void test_what_happens_in_a_silence_is_not_told(void **state)
{
    struct book *b = *state;
    silence(b, ALERT_PROCESSING_FAILED, "", SOON_MS);
    book_raise(b, ALERT_PROCESSING_FAILED, "a", "It failed", NULL);
    book_raise(b, ALERT_WEBHOOK_DEAD, "w", "It is dead", NULL);
    assert_string_equal(take(b), "happened webhook.dead: happened w");
    assert_string_equal(take(b), "");
}

static void test_what_is_off_is_nothing(void **state)
{
    struct book *b = *state;
    b->off[ALERT_CONSUMER_LAG] = b->off[ALERT_PROCESSING_FAILED] = true;
    look(b, ALERT_CONSUMER_LAG, "a ");
    book_raise(b, ALERT_PROCESSING_FAILED, "a", "It failed", NULL);
    assert_string_equal(take(b), "");
    assert_string_equal(status(b, "a"), "");
}

static void test_after_a_restart_what_was_told_is_not_told_anew(void **state)
{
    struct book *b = *state, next = {.interval_ms = HOUR_MS, .repeat_ms = HOUR_MS};
    look(b, ALERT_CONSUMER_LAG, "a b ");
    take(b);
    _cleanup_json_ json_t *firing = book_firing(b);
    book_restore(&next, firing);
    look(&next, ALERT_CONSUMER_LAG, "a ");
    assert_string_equal(take(&next), "resolved consumer.lag: resolved b");
    assert_string_equal(take(&next), "");
    assert_string_equal(status(&next, "a"), "firing");
    book_free(&next);
}

static void test_what_cannot_be_restored_is_skipped(void **state)
{
    static const char *const texts[] = {"[{}]", "[1,null,[]]", "[{\"alert\":\"gone\",\"subject\":\"a\"}]",
                                        "[{\"alert\":\"processing.failed\",\"subject\":\"a\"}]",
                                        "[{\"alert\":\"consumer.lag\"}]"};
    struct book *b = *state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        _cleanup_json_ json_t *json = js_parse(texts[i], strlen(texts[i]), NULL);
        book_restore(b, json);
    }
    book_restore(b, NULL);
    assert_string_equal(take(b), "");
}

static void test_g8_conditions_beyond_the_places_are_told_as_others(void **state)
{
    struct book *b = *state;
    book_look_begin(b, ALERT_LEDGER_OPEN);
    for (int i = 0; i < 10 * ALERT_SUBJECTS; i++) {
        char subject[32];
        snprintf(subject, sizeof subject, "tenant%d", i);
        book_hold(b, ALERT_LEDGER_OPEN, subject, "It does not close", NULL);
    }
    book_look_end(b, ALERT_LEDGER_OPEN);
    assert_string_equal(take(b), "happened other: happened other");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_a_condition_is_told_once_and_its_end),
        T(test_it_must_hold_for_as_many_looks_as_its_kind_asks_for),
        T(test_what_lasts_is_told_again),
        T(test_what_comes_and_goes_is_told_once_an_interval),
        T(test_what_begins_together_is_told_together),
        T(test_a_silence_holds_back_what_it_covers_alone),
        T(test_a_condition_that_outlasts_a_silence_is_told),
        T(test_the_end_of_what_was_told_is_told_in_a_silence),
        T(test_what_happens_in_a_silence_is_not_told),
        T(test_what_is_off_is_nothing),
        T(test_after_a_restart_what_was_told_is_not_told_anew),
        T(test_what_cannot_be_restored_is_skipped),
        T(test_g8_conditions_beyond_the_places_are_told_as_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
