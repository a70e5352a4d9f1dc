// SPDX-License-Identifier: Apache-2.0
// The runner: order by key, priority, bounds, batches, offsets, outages, care after a crash, drain.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/js.h"
#include "rig.h"

static enum error_code dawdle(struct fake *fake, size_t call, const char *model, int code)
{
    clock_sleep_ms((int64_t)randombytes_uniform(3));
    return ERR_NONE;
}

// --- Order

enum { KEYS = 50, EACH = 20 };

// Which of an item's requests an event of the next topic came from, from 1; its requests are called "evt_KEY-N".
static int request_of(const struct event *event)
{
    int number = 0;
    assert_int_equal(sscanf(event->correlation, "evt_%*d-%d", &number), 1);
    return number;
}

static void test_g4_events_of_one_key_keep_their_order(void **state)
{
    struct rig *rig = rig_new(NULL);
    char ids[KEYS][ID_MAX], event[ID_MAX];
    rig->fake.script = dawdle;
    for (int k = 0; k < KEYS; k++)
        rig_item(rig, k, ids[k]);
    for (int n = 1; n <= EACH; n++)
        for (int k = 0; k < KEYS; k++) {
            snprintf(event, sizeof event, "evt_%d-%d", k, n);
            rig_request(rig, &(struct rig_event){.id = event, .media = ids[k]});
        }
    rig_start(rig);
    rig_wait_idle(rig);
    assert_false(rig->fake.overlapped); // never two of one key at once
    assert_int_equal(rig->fake.count, KEYS * EACH);

    _cleanup_arena_ struct arena arena = {0};
    size_t count;
    struct elog_record *records = rig_records(rig, &arena, TOPIC_VECTORS_INDEXING, &count);
    assert_int_equal(count, KEYS * EACH);
    int last[KEYS] = {0};
    for (size_t i = 0; i < count; i++) {
        json_t *root;
        struct event next = rig_decode(&arena, TOPIC_VECTORS_INDEXING, &records[i], &root);
        int key = 0;
        while (strcmp(ids[key], next.media_id) != 0)
            key++;
        assert_int_equal(request_of(&next), last[key] + 1);
        last[key]++;
        json_decref(root);
    }
    rig_free(rig);
}

// --- Priority

// One worker, busy with item 0 until released.
static void occupy(struct rig *rig)
{
    char id[ID_MAX];
    rig->config.cpu_workers = 1;
    fake_hold(&rig->fake);
    rig_item(rig, 0, id);
    rig_start(rig);
    rig_request(rig, &(struct rig_event){.media = id});
    fake_wait_held(&rig->fake, 1);
}

static void request(struct rig *rig, int code, const char *priority)
{
    char id[ID_MAX];
    rig_item(rig, code, id);
    rig_request(rig, &(struct rig_event){.media = id, .priority = priority});
}

static void test_high_comes_before_normal_before_low(void **state)
{
    struct rig *rig = rig_new(NULL);
    occupy(rig);
    for (int i = 0; i < 4; i++) {
        request(rig, 300 + i, "low");
        request(rig, 200 + i, i % 2 ? "normal" : NULL); // nothing said, or nonsense: normal
        request(rig, 100 + i, "high");
    }
    request(rig, 204, "whatever");
    wait_for(rig_held(rig, STEP_EXTRACT) == 14);
    fake_release(&rig->fake);
    rig_wait_idle(rig);
    assert_int_equal(rig->fake.count, 14);
    for (int i = 1; i < 14; i++)
        assert_int_equal(rig->fake.codes[i] / 100, i <= 4 ? 1 : i <= 9 ? 2 : 3);
    rig_free(rig);
}

static void test_low_does_not_starve(void **state)
{
    enum { HIGHS = 450 };
    struct rig *rig = rig_new(NULL);
    occupy(rig);
    request(rig, 3000, "low");
    for (int i = 0; i < HIGHS; i++)
        request(rig, 1 + i, "high");
    wait_for(rig_held(rig, STEP_EXTRACT) == HIGHS + 2);
    fake_release(&rig->fake);
    rig_wait_idle(rig);
    size_t place = 0;
    while (rig->fake.codes[place] != 3000)
        place++;
    assert_true(place > 8);             // the high ones went first
    assert_true(place < HIGHS * 2 / 3); // and did not have it all for themselves
    rig_free(rig);
}

// --- Bounds

static void test_g8_a_step_holds_no_more_than_it_may(void **state)
{
    enum { EVENTS = 300, HOLD = 16 };
    struct rig *rig = rig_new(NULL);
    rig->config.queue_events = HOLD;
    fake_hold(&rig->fake);
    for (int i = 0; i < EVENTS; i++)
        request(rig, i, NULL);
    rig_start(rig);
    wait_for(rig_held(rig, STEP_EXTRACT) == HOLD);
    fake_release(&rig->fake);
    size_t most = 0;
    while (!rig_idle(rig))
        for (int s = 0; s < STEP_COUNT; s++) {
            size_t held = rig_held(rig, s);
            most = held > most ? held : most;
        }
    assert_true(most <= HOLD);
    assert_int_equal(rig->fake.count, EVENTS);
    rig_free(rig);
}

static void test_g8_large_events_count_by_their_bytes(void **state)
{
    enum { EVENTS = 40 };
    struct rig *rig = rig_new(NULL);
    rig->config.queue_bytes = 1024; // two or three requests
    fake_hold(&rig->fake);
    for (int i = 0; i < EVENTS; i++)
        request(rig, i, NULL);
    rig_start(rig);
    fake_wait_held(&rig->fake, 1);
    clock_sleep_ms(50); // room for more to come, if more came
    assert_true(rig_held(rig, STEP_EXTRACT) < 8);
    fake_release(&rig->fake);
    rig_wait_idle(rig);
    assert_int_equal(rig->fake.count, EVENTS);
    rig_free(rig);
}

static void test_pictures_go_through_the_model_in_batches(void **state)
{
    struct rig *rig = rig_new(NULL);
    occupy(rig);
    for (int i = 1; i <= 32; i++)
        request(rig, i, NULL);
    char id[ID_MAX];
    rig_item(rig, 99, id);
    rig_request(rig, &(struct rig_event){.media = id, .model = "second"}); // another model, in a call of its own
    wait_for(rig_held(rig, STEP_EXTRACT) == 34);
    fake_release(&rig->fake);
    rig_wait_idle(rig);
    assert_int_equal(rig->fake.largest_batch, 8);
    assert_int_equal(rig->fake.count, 34);
    assert_true(rig->fake.calls <= 1 + 5 + 1);
    assert_int_equal(rig_count(rig, TOPIC_VECTORS_INDEXING), 34);
    rig_free(rig);
}

// --- Offsets

// Item 7 hangs until the other calls are done.
static enum error_code hang_on_seven(struct fake *fake, size_t call, const char *model, int code)
{
    _Atomic bool *go_on = fake->arg;
    while (code == 7 && !*go_on)
        clock_sleep_ms(1);
    return ERR_NONE;
}

// An id whose key falls into partition 0.
static void item_in_partition_0(struct rig *rig, int code, char id[ID_MAX])
{
    do
        rig_item(rig, code, id);
    while (elog_partition(id, event_topic_partitions(TOPIC_FEATURES_EXTRACTION)) != 0);
}

static int64_t committed_in_partition_0(struct rig *rig)
{
    json_t *json = NULL;
    must(admin_group(&rig->flow, steps[STEP_EXTRACT].group, &json, err));
    int64_t committed = -2;
    size_t i;
    json_t *p;
    json_array_foreach(js_arr(json, "partitions"), i, p)
    {
        if (js_int(p, "partition", -1) == 0)
            committed = js_int(p, "committed", -2);
    }
    json_decref(json);
    return committed;
}

static void test_g4_the_offset_waits_for_the_slowest(void **state)
{
    enum { BEFORE = 5, BEHIND = 30 };
    struct rig *rig = rig_new(NULL);
    _Atomic bool go_on = false;
    rig->fake.script = hang_on_seven;
    rig->fake.arg = (void *)&go_on;
    char id[ID_MAX];
    for (int i = 0; i < BEFORE; i++) {
        item_in_partition_0(rig, 100 + i, id);
        rig_request(rig, &(struct rig_event){.media = id, .model = "second"});
    }
    rig_start(rig);
    wait_for(committed_in_partition_0(rig) == BEFORE);
    item_in_partition_0(rig, 7, id);
    rig_request(rig, &(struct rig_event){.media = id, .model = "second"});
    wait_for(rig_held(rig, STEP_EXTRACT) == 1);
    for (int i = 0; i < BEHIND; i++) {
        item_in_partition_0(rig, 200 + i, id);
        rig_request(rig, &(struct rig_event){.media = id, .model = "second"});
    }
    wait_for(rig_count(rig, TOPIC_VECTORS_INDEXING) == BEFORE + BEHIND);
    wait_for(rig_held(rig, STEP_EXTRACT) == 1);
    assert_int_equal(committed_in_partition_0(rig), BEFORE);
    assert_int_equal(rig_lag(rig, STEP_EXTRACT), BEHIND + 1);
    go_on = true;
    rig_wait_idle(rig);
    assert_int_equal(committed_in_partition_0(rig), BEFORE + BEHIND + 1);
    assert_int_equal(rig->fake.count, BEFORE + BEHIND + 1); // each once
    rig_free(rig);
}

// --- Outages

struct outage {
    _Atomic bool down;
    _Atomic int refused;
};

static enum error_code down(struct fake *fake, size_t call, const char *model, int code)
{
    struct outage *outage = fake->arg;
    if (!outage->down)
        return ERR_NONE;
    outage->refused++;
    return ERR_UNAVAILABLE;
}

// A step that runs elsewhere: its events stand on their topic, what comes back goes on, and nothing of it is done here.
static void test_a_step_may_run_elsewhere(void **state)
{
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX], text[512];
    rig->config.without = 1 << STEP_EXTRACT;
    rig_start(rig);
    rig_upload(rig, 1, NULL, id);
    wait_for(rig_count_of(rig, TOPIC_FEATURES_EXTRACTION, id) == 1);
    struct runner_step_health health[STEP_COUNT];
    runner_health(rig->runner, health);
    assert_null(health[STEP_EXTRACT].name);
    assert_string_equal(health[STEP_INDEX].name, "index");
    snprintf(text, sizeof text,
             "{\"imageId\":\"%s\",\"tenantId\":\"default\",\"model\":\"fake\",\"vectors\":[1,0,0,0,0,0,0,0]}", id);
    rig_publish(rig, TOPIC_VECTORS_INDEXING, id, text);
    wait_for(rig_status_is(rig, id, MEDIA_COMPLETED));
    assert_int_equal(rig->fake.calls, 0);
    assert_int_equal(rig_count_of(rig, TOPIC_FEATURES_EXTRACTION, id), 1);
    rig_free(rig);
}

static void test_an_outage_pauses_and_spends_no_attempt(void **state)
{
    enum { EVENTS = 20 };
    struct rig *rig = rig_new(NULL);
    struct outage outage = {.down = true};
    rig->fake.script = down;
    rig->fake.arg = &outage;
    char id[ID_MAX];
    for (int i = 0; i < EVENTS; i++) {
        rig_item(rig, i, id);
        rig_request(rig, &(struct rig_event){.media = id, .max_attempts = 1});
    }
    rig_start(rig);
    wait_for(rig_paused(rig, STEP_EXTRACT));
    struct runner_step_health health[STEP_COUNT];
    wait_for((runner_health(rig->runner, health), health[STEP_EXTRACT].paused));
    assert_non_null(strstr(health[STEP_EXTRACT].reason, "The script says so"));
    assert_false(health[STEP_PREPARE].paused);
    wait_for(outage.refused >= 4);
    outage.down = false;
    rig_wait_idle(rig);
    assert_false(rig_paused(rig, STEP_EXTRACT));
    assert_int_equal(rig_count(rig, TOPIC_VECTORS_INDEXING), EVENTS);
    assert_int_equal(rig_count(rig, TOPIC_DEADLETTER), 0);
    assert_int_equal(rig_count(rig, TOPIC_PROCESSING_FAILED), 0);
    assert_int_equal(rig_ledger(rig).searchable, EVENTS);
    rig_free(rig);
}

// What waits out an outage was not begun: stopping and starting the process spends nothing either.
static void test_an_outage_over_restarts_spends_no_attempt(void **state)
{
    struct rig *rig = rig_new(NULL);
    struct outage outage = {.down = true};
    rig->fake.script = down;
    rig->fake.arg = &outage;
    char id[ID_MAX];
    rig_item(rig, 1, id);
    rig_request(rig, &(struct rig_event){.media = id, .max_attempts = 2});
    for (int i = 0; i < 4; i++) {
        rig_start(rig);
        wait_for(rig_paused(rig, STEP_EXTRACT));
        rig_stop(rig);
        assert_int_equal(rig_open_inbox(rig), 0);
    }
    outage.down = false;
    rig_start(rig);
    rig_wait_idle(rig);
    assert_int_equal(rig_ledger(rig).searchable, 1);
    rig_free(rig);
}

// --- Stop

static void test_stop_drains_what_is_at_work(void **state)
{
    enum { EVENTS = 60 };
    struct rig *rig = rig_new(NULL);
    rig->fake.script = dawdle;
    for (int i = 0; i < EVENTS; i++)
        request(rig, i, NULL);
    for (int round = 0; round < 5; round++) {
        rig_start(rig);
        clock_sleep_ms((int64_t)randombytes_uniform(12));
        rig_stop(rig);
        assert_int_equal(rig_open_inbox(rig), 0); // nothing was begun and left
    }
    rig_start(rig);
    rig_wait_idle(rig);
    assert_int_equal(rig->fake.count, EVENTS); // nothing was done twice
    assert_int_equal(rig_ledger(rig).searchable, EVENTS);
    rig_free(rig);
    runner_stop(NULL);
}

static void test_a_runner_that_cannot_start_leaves_nothing(void **state)
{
    for (int call = 1; call <= STEP_COUNT; call++) {
        char plan[64];
        snprintf(plan, sizeof plan, "eventlog.subscribe:IO_ERROR@%d", call);
        struct rig *rig = rig_new(plan);
        struct runner *runner;
        must_fail(ERR_IO, runner_start(&rig->flow, &rig->config, &runner, err));
        rig_start(rig); // the groups were left: nobody stands in the way
        request(rig, 1, NULL);
        rig_wait_idle(rig);
        rig_free(rig);
    }
    struct rig *rig = rig_new("meta.inbox_open:IO_ERROR@1");
    struct runner *runner;
    must_fail(ERR_IO, runner_start(&rig->flow, &rig->config, &runner, err));
    rig_free(rig);
}

// --- After a crash

struct begin_call {
    struct rig *rig;
    char (*events)[ID_MAX];
    size_t count;
};

static int begin_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct begin_call *call = arg;
    for (size_t i = 0; i < call->count; i++) {
        enum inbox_state inbox;
        int begun;
        if (call->rig->meta.ops->inbox_begin(tx, steps[STEP_EXTRACT].group, call->events[i], 1, &inbox, &begun, err) <
            0)
            return -1;
    }
    return 0;
}

static void leave_begun(struct rig *rig, char (*events)[ID_MAX], size_t count)
{
    struct begin_call call = {rig, events, count};
    must(rig->meta.ops->write(rig->meta.state, META_RELAXED, begin_tx, &call, err));
}

struct watch {
    struct rig *rig;
    _Atomic size_t alone;
};

// While suspects are about, there is one call at a time with one picture.
static enum error_code watch_alone(struct fake *fake, size_t call, const char *model, int code)
{
    struct watch *watch = fake->arg;
    clock_sleep_ms(2);
    if (watch->alone < 3) { // the suspects are the first three of their keys
        pthread_mutex_lock(&fake->lock);
        if (fake->at_once != 1 || fake->largest_batch != 1)
            fake->overlapped = true;
        pthread_mutex_unlock(&fake->lock);
    }
    if (code < 3)
        watch->alone++;
    return ERR_NONE;
}

static void test_g5_after_a_crash_one_thing_at_a_time(void **state)
{
    enum { EVENTS = 60, SUSPECTS = 3 };
    struct rig *rig = rig_new(NULL);
    struct watch watch = {rig, 0};
    rig->fake.script = watch_alone;
    rig->fake.arg = &watch;
    rig->config.cpu_workers = 4;
    char events[EVENTS][ID_MAX], id[ID_MAX];
    for (int i = 0; i < EVENTS; i++) {
        id_new("evt", events[i]);
        rig_item(rig, i, id);
        rig_request(rig, &(struct rig_event){.id = events[i], .media = id});
    }
    leave_begun(rig, events, SUSPECTS);
    assert_int_equal(rig_open_inbox(rig), SUSPECTS);
    rig_start(rig);
    rig_wait_idle(rig);
    assert_false(rig->fake.overlapped);
    assert_int_equal(rig->fake.count, EVENTS);
    assert_int_equal(rig_open_inbox(rig), 0);
    assert_int_equal(rig_ledger(rig).searchable, EVENTS);
    rig_free(rig);
}

// Beginnings whose events are gone (retention, a topic deleted) must not hold the runner back for ever.
static void test_g5_care_ends_when_the_suspects_are_gone(void **state)
{
    struct rig *rig = rig_new(NULL);
    char events[1][ID_MAX] = {"evt_of-long-ago"};
    leave_begun(rig, events, 1);
    fake_hold(&rig->fake);
    rig->config.cpu_workers = 2;
    rig_start(rig);
    clock_sleep_ms(1200); // every step has looked, and found nothing
    request(rig, 1, NULL);
    fake_wait_held(&rig->fake, 1);
    request(rig, 2, NULL);
    fake_wait_held(&rig->fake, 2); // beside the first one
    fake_release(&rig->fake);
    rig_wait_idle(rig);
    rig_free(rig);
}

// One picture kills the process. It ends as a dead letter, and everything else becomes searchable.
static enum error_code die(struct fake *fake, size_t call, const char *model, int code)
{
    if (code == 13)
        _exit(42);
    return ERR_NONE;
}

static bool child_done(struct rig *rig)
{
    struct meta_ledger ledger;
    struct error err;
    if (admin_ledger(&rig->flow, NULL, &ledger, &err) < 0)
        _exit(3);
    return ledger.in_flight == 0;
}

// A life of the server: in a process of its own, without asserts.
static void live(struct rig *rig, char (*ids)[ID_MAX], int count)
{
    struct error err;
    if (rig_open(rig, NULL, &err) < 0)
        _exit(1);
    for (int i = 0; i < count; i++) { // decoded pictures do not outlive a process
        struct pixels p = {.width = 1, .height = 1, .data = malloc(3)};
        memcpy(p.data, (uint8_t[]){0, (uint8_t)i, 7}, 3);
        pixel_cache_put(rig->flow.cache, "default", ids[i], &p, 100);
    }
    rig->fake.script = die;
    if (runner_start(&rig->flow, &rig->config, &rig->runner, &err) < 0)
        _exit(2);
    while (!child_done(rig))
        clock_sleep_ms(5);
    rig_close(rig);
    _exit(0);
}

static void test_g5_work_that_kills_ends_as_a_dead_letter(void **state)
{
    enum { EVENTS = 30 };
    struct rig *rig = rig_new(NULL);
    char ids[EVENTS][ID_MAX];
    for (int i = 0; i < EVENTS; i++) {
        rig_item_of(rig, "default", i, "{\"models\":[\"second\"]}", ids[i]);
        rig_request(rig, &(struct rig_event){.media = ids[i], .model = "second", .max_attempts = 3});
    }
    rig_close(rig);
    int deaths = 0;
    for (int status = -1; status != 0; deaths++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            live(rig, ids, EVENTS);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 42);
        assert_true(deaths < 10);
    }
    assert_int_equal(deaths - 1, 3);
    must(rig_open(rig, NULL, err));
    assert_int_equal(rig_ledger(rig).searchable, EVENTS - 1);
    assert_int_equal(rig_ledger(rig).failed, 1);
    _cleanup_arena_ struct arena arena = {0};
    struct media media = rig_media(rig, &arena, ids[13]);
    assert_string_equal(media.error_code, "PROCESS_DIED");
    assert_non_null(strstr(media.error_message, "3 times"));
    assert_int_equal(rig_count(rig, TOPIC_DEADLETTER), 1);
    assert_int_equal(rig_open_inbox(rig), 0);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_g5_work_that_kills_ends_as_a_dead_letter), // forks: first, before threads were about
        cmocka_unit_test(test_g4_events_of_one_key_keep_their_order),
        cmocka_unit_test(test_high_comes_before_normal_before_low),
        cmocka_unit_test(test_low_does_not_starve),
        cmocka_unit_test(test_g8_a_step_holds_no_more_than_it_may),
        cmocka_unit_test(test_g8_large_events_count_by_their_bytes),
        cmocka_unit_test(test_pictures_go_through_the_model_in_batches),
        cmocka_unit_test(test_g4_the_offset_waits_for_the_slowest),
        cmocka_unit_test(test_a_step_may_run_elsewhere),
        cmocka_unit_test(test_an_outage_pauses_and_spends_no_attempt),
        cmocka_unit_test(test_an_outage_over_restarts_spends_no_attempt),
        cmocka_unit_test(test_stop_drains_what_is_at_work),
        cmocka_unit_test(test_a_runner_that_cannot_start_leaves_nothing),
        cmocka_unit_test(test_g5_after_a_crash_one_thing_at_a_time),
        cmocka_unit_test(test_g5_care_ends_when_the_suspects_are_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
