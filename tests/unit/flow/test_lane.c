// SPDX-License-Identifier: Apache-2.0
// A lane by itself: order by key, priority, offsets, pauses. Under no lock, as no other thread is about.
#include <stdlib.h>
#include <string.h>

#include "flow/runner_int.h"
#include "rig.h"

static struct runner *runner_of_one_lane(void)
{
    struct runner *r = test_calloc(1, sizeof *r);
    r->config = (struct runner_config){.queue_events = 8, .queue_bytes = 1000};
    for (int pool = 0; pool < POOL_COUNT; pool++)
        pthread_cond_init(&r->work[pool], NULL);
    lane_init(&r->lanes[0], r, &steps[STEP_EXTRACT]);
    return r;
}

static void runner_end(struct runner *r)
{
    lane_clear(&r->lanes[0]);
    for (int pool = 0; pool < POOL_COUNT; pool++)
        pthread_cond_destroy(&r->work[pool]);
    test_free(r);
}

static const struct elog_header priorities[] = {{"deeplens-priority", "high"}, {"deeplens-priority", "low"}};

static void add(struct lane *lane, int64_t offset, int32_t epoch, const char *key, const char *value,
                const struct elog_header *header)
{
    struct elog_record *record = malloc(sizeof *record);
    assert_non_null(record);
    *record = (struct elog_record){.topic = "deeplens.features.extraction",
                                   .offset = offset,
                                   .epoch = epoch,
                                   .key = key,
                                   .value = value,
                                   .value_len = strlen(value),
                                   .headers = header,
                                   .header_count = header != NULL};
    lane_add(lane, record);
}

static struct task *take(struct lane *lane, enum media_priority priority)
{
    struct task *task;
    return lane_take(lane, priority, 1, &task) ? task : NULL;
}

static void test_only_the_first_of_a_key_is_ready(void **state)
{
    struct runner *r = runner_of_one_lane();
    struct lane *lane = &r->lanes[0];
    add(lane, 0, 1, "a", "1", NULL);
    add(lane, 1, 1, "b", "2", NULL);
    add(lane, 2, 1, "a", "3", &priorities[0]); // urgent, but behind the first of its key
    add(lane, 3, 1, "a", "4", NULL);
    struct task *a = take(lane, PRIORITY_NORMAL), *b = take(lane, PRIORITY_NORMAL);
    assert_int_equal(a->record->offset, 0);
    assert_int_equal(b->record->offset, 1);
    assert_null(take(lane, PRIORITY_NORMAL));
    assert_null(take(lane, PRIORITY_HIGH));
    lane_put_back(lane, a); // an outage: it stays the first of its key
    assert_ptr_equal(take(lane, PRIORITY_NORMAL), a);
    lane_done(lane, a);
    struct task *next = take(lane, PRIORITY_HIGH);
    assert_int_equal(next->record->offset, 2);
    assert_null(take(lane, PRIORITY_NORMAL));
    lane_done(lane, b);
    lane_done(lane, next);
    next = take(lane, PRIORITY_NORMAL);
    assert_int_equal(next->record->offset, 3);
    lane_done(lane, next);
    assert_int_equal(lane->held_events, 0);
    assert_int_equal(lane->held_bytes, 0);
    runner_end(r);
}

static void test_each_priority_has_its_queue(void **state)
{
    struct runner *r = runner_of_one_lane();
    struct lane *lane = &r->lanes[0];
    struct task *tasks[4];
    add(lane, 0, 1, "a", "", &priorities[1]);
    add(lane, 1, 1, "b", "", &priorities[0]);
    add(lane, 2, 1, "c", "", NULL);
    add(lane, 3, 1, "d", "", &priorities[0]);
    assert_int_equal(lane_take(lane, PRIORITY_HIGH, 4, tasks), 2);
    assert_int_equal(tasks[0]->record->offset, 1);
    lane_put_back(lane, tasks[1]);
    lane_put_back(lane, tasks[0]);
    assert_int_equal(lane_take(lane, PRIORITY_HIGH, 1, tasks), 1);
    assert_int_equal(tasks[0]->record->offset, 1); // put back in front
    lane_put_back(lane, tasks[0]);
    assert_int_equal(lane->ready_count[PRIORITY_LOW], 1);
    assert_int_equal(lane->ready_count[PRIORITY_NORMAL], 1);
    runner_end(r);
}

static void test_g3_without_a_key_the_item_gives_the_order(void **state)
{
    static const char *const same[] = {"{\"imageId\":\"img_1\",\"x\":[1,2]}",
                                       "{\"eventId\":\"e\",\"data\":{\"a\":{},\"imageId\":\"img_1\"}}",
                                       " { \"videoId\" : 5, \"imageId\" : \"img_1\" }"};
    static const char *const apart[] = {"{\"imageId\":\"img_2\"}", "not JSON", "", "{\"imageId\":7}",
                                        "{\"data\":\"x\"}"};
    struct runner *r = runner_of_one_lane();
    struct lane *lane = &r->lanes[0];
    int64_t offset = 0;
    for (size_t i = 0; i < ARRAY_LEN(same); i++)
        add(lane, offset++, 1, NULL, same[i], NULL);
    add(lane, offset++, 1, "img_1", "", NULL); // and so does a key
    assert_int_equal(lane->ready_count[PRIORITY_NORMAL], 1);
    for (size_t i = 0; i < ARRAY_LEN(apart); i++)
        add(lane, offset++, 1, NULL, apart[i], NULL);
    assert_int_equal(lane->ready_count[PRIORITY_NORMAL], 1 + ARRAY_LEN(apart));
    runner_end(r);
}

static void test_g4_the_lowest_open_offset_holds_the_commit(void **state)
{
    struct runner *r = runner_of_one_lane();
    struct lane *lane = &r->lanes[0];
    static const char *const keys[] = {"a", "b", "c", "d"};
    struct task *tasks[4];
    for (int i = 0; i < 4; i++)
        add(lane, 10 + i * 2, 1, keys[i], "", NULL); // with gaps, as retention leaves them
    assert_int_equal(lane_take(lane, PRIORITY_NORMAL, 4, tasks), 4);
    tasks[1]->slot->done = true;
    assert_int_equal(lane_commit_offset(tasks[1]), -1);
    tasks[0]->slot->done = true;
    assert_int_equal(lane_commit_offset(tasks[0]), 13);
    tasks[2]->slot->done = true;
    assert_int_equal(lane_commit_offset(tasks[2]), 15);
    lane_done(lane, tasks[0]); // told first of one commit: the others' places stay theirs
    tasks[1]->slot->done = false;
    assert_int_equal(lane_commit_offset(tasks[2]), -1);
    tasks[1]->slot->done = true;
    assert_int_equal(lane_commit_offset(tasks[1]), 15);
    lane_done(lane, tasks[2]);
    lane_done(lane, tasks[1]);
    tasks[3]->slot->done = true;
    assert_int_equal(lane_commit_offset(tasks[3]), 17);
    lane_done(lane, tasks[3]);
    runner_end(r);
}

static void test_g4_another_assignment_counts_by_itself(void **state)
{
    struct runner *r = runner_of_one_lane();
    struct lane *lane = &r->lanes[0];
    struct task *tasks[2];
    add(lane, 5, 1, "a", "", NULL);
    add(lane, 5, 2, "b", "", NULL); // the same record, delivered again after a rebalance
    assert_int_equal(lane_take(lane, PRIORITY_NORMAL, 2, tasks), 2);
    assert_ptr_not_equal(tasks[0]->part, tasks[1]->part);
    tasks[1]->slot->done = true;
    assert_int_equal(lane_commit_offset(tasks[1]), 6);
    assert_int_equal(lane_commit_offset(tasks[0]), -1);
    lane_done(lane, tasks[0]);
    lane_done(lane, tasks[1]);
    runner_end(r);
}

static void test_g3_an_item_that_waits_is_not_overtaken(void **state)
{
    struct runner *r = runner_of_one_lane();
    struct lane *lane = &r->lanes[0];
    struct error why;
    add(lane, 0, 1, "a", "", NULL);
    struct task *onward = calloc(1, sizeof *onward);
    assert_non_null(onward);
    onward->lane = lane;
    assert_false(lane_enter(lane, onward, "a"));
    assert_true(lane_enter(lane, onward, "b"));
    add(lane, 1, 1, "b", "", NULL);
    struct task *a = take(lane, PRIORITY_NORMAL);
    assert_string_equal(a->record->key, "a");
    assert_null(take(lane, PRIORITY_NORMAL)); // b is at work
    lane_drop(onward);
    struct task *b = take(lane, PRIORITY_NORMAL);
    assert_string_equal(b->record->key, "b");
    lane_done(lane, a);
    lane_done(lane, b);
    error_set(&why, ERR_UNAVAILABLE, "It is down");
    lane_pause(lane, &why);
    onward = calloc(1, sizeof *onward);
    assert_non_null(onward);
    onward->lane = lane;
    assert_false(lane_enter(lane, onward, "c"));
    task_free(onward);
    runner_end(r);
}

static void test_g4_what_was_settled_before_moves_the_offset(void **state)
{
    static const struct elog_header ours[] = {{"ce_id", "evt_1"}, {"ce_id", "evt_2"}};
    struct runner *r = runner_of_one_lane();
    struct lane *lane = &r->lanes[0];
    recent_add(lane->expected, "evt_1");
    recent_add(lane->expected, "evt_2");
    add(lane, 4, 1, "a", "", &ours[0]);
    assert_int_equal(lane->held_events, 0);
    assert_int_equal(lane->parts->over_to, 5);
    add(lane, 5, 1, "b", "", NULL);
    add(lane, 6, 1, "c", "", &ours[1]);
    assert_int_equal(lane->parts->over_to, 5); // 5 is still to be done
    add(lane, 7, 1, "a", "", &ours[0]);        // the same once more, for whatever reason: the inbox will tell
    assert_int_equal(lane->held_events, 2);
    struct task *b = take(lane, PRIORITY_NORMAL);
    b->slot->done = true;
    assert_int_equal(lane_commit_offset(b), 7);
    lane_done(lane, b);
    assert_int_equal(lane->parts->over_to, 7);
    runner_end(r);
}

static void test_one_outage_is_one_pause(void **state)
{
    struct runner *r = runner_of_one_lane();
    struct lane *lane = &r->lanes[0];
    struct error why;
    error_set(&why, ERR_UNAVAILABLE, "It is down");
    assert_true(lane_pause(lane, &why));
    int64_t first = lane->pause_us;
    for (int i = 0; i < 64; i++)
        assert_false(lane_pause(lane, &why)); // all that were at work tell the same
    assert_int_equal(lane->pause_us, first);
    assert_string_equal(lane->pause_reason, "It is down");
    lane->paused_until_us = 0; // it ended, and nothing is better
    assert_true(lane_pause(lane, &why));
    assert_int_equal(lane->pause_us, first * 2);
    for (int i = 0; i < 20; i++) {
        lane->paused_until_us = 0;
        lane_pause(lane, &why);
    }
    assert_true(lane->pause_us <= 30000000);
    add(lane, 0, 1, "a", "", NULL);
    lane_done(lane, take(lane, PRIORITY_NORMAL));
    lane->paused_until_us = 0;
    assert_true(lane_pause(lane, &why)); // it went well in between
    assert_int_equal(lane->pause_us, first);
    runner_end(r);
}

static void test_g8_room(void **state)
{
    struct runner *r = runner_of_one_lane();
    struct lane *lane = &r->lanes[0];
    char large[1001];
    memset(large, 'x', 1000);
    large[1000] = 0;
    for (int i = 0; i < 8; i++) {
        assert_true(lane_has_room(lane));
        add(lane, i, 1, "a", "", NULL);
    }
    assert_false(lane_has_room(lane));
    lane_done(lane, take(lane, PRIORITY_NORMAL));
    assert_true(lane_has_room(lane));
    add(lane, 8, 1, "b", large, NULL);
    lane_done(lane, take(lane, PRIORITY_NORMAL));
    assert_false(lane_has_room(lane)); // by bytes
    runner_end(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_first_of_a_key_is_ready),
        cmocka_unit_test(test_each_priority_has_its_queue),
        cmocka_unit_test(test_g3_without_a_key_the_item_gives_the_order),
        cmocka_unit_test(test_g4_the_lowest_open_offset_holds_the_commit),
        cmocka_unit_test(test_g4_another_assignment_counts_by_itself),
        cmocka_unit_test(test_g3_an_item_that_waits_is_not_overtaken),
        cmocka_unit_test(test_g4_what_was_settled_before_moves_the_offset),
        cmocka_unit_test(test_one_outage_is_one_pause),
        cmocka_unit_test(test_g8_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
