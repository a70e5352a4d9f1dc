// SPDX-License-Identifier: Apache-2.0
// Upkeep: runs that outlive their process, schedules, and the scrub.
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/js.h"
#include "flow/upkeep.h"
#include "rig.h"

enum { ITEMS = 7, FAST = 0 };

static void start(struct rig *rig)
{
    must(upkeep_start(&rig->flow, &rig->flow.upkeep, err));
}

static void stop(struct rig *rig)
{
    upkeep_stop(rig->flow.upkeep);
    rig->flow.upkeep = NULL;
}

static json_t *begin(struct rig *rig, const char *task, const struct upkeep_wish *wish)
{
    json_t *run = NULL;
    must(upkeep_begin(&rig->flow, task, wish, &run, err));
    return run;
}

static json_t *get(struct rig *rig, const char *id)
{
    json_t *run = NULL;
    must(upkeep_get(&rig->flow, id, &run, err));
    return run;
}

static bool is_state(struct rig *rig, const char *id, const char *state)
{
    _cleanup_json_ json_t *run = get(rig, id);
    return strcmp(js_str(run, "state", ""), state) == 0;
}

static int64_t count_of(struct rig *rig, const char *id, const char *what)
{
    _cleanup_json_ json_t *run = get(rig, id);
    return js_int(js_obj(run, "counts"), what, 0);
}

static void steer(struct rig *rig, const char *id, enum upkeep_steer how)
{
    _cleanup_json_ json_t *run = NULL;
    must(upkeep_steer(&rig->flow, id, how, &run, err));
}

static void id_of(const json_t *run, char out[ID_MAX])
{
    snprintf(out, ID_MAX, "%s", js_str(run, "runId", ""));
}

// Begins one and waits for its end.
static void run_whole(struct rig *rig, const char *task, const struct upkeep_wish *wish, char id[ID_MAX])
{
    _cleanup_json_ json_t *run = begin(rig, task, wish);
    id_of(run, id);
    wait_for(is_state(rig, id, "completed"));
}

static void path_of(struct rig *rig, const char *id, char path[1024])
{
    _cleanup_arena_ struct arena arena = {0};
    snprintf(path, 1024, "%s/storage/%s", rig->dir, rig_media(rig, &arena, id).blob_key);
}

// Turns one bit of a stored file.
static void rot(struct rig *rig, const char *id)
{
    char path[1024], byte;
    path_of(rig, id, path);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, 20), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, 20), 1);
    close(fd);
}

static struct rig *rig_with(int items, char ids[][ID_MAX], const char *faults)
{
    struct rig *rig = rig_new(faults);
    for (int i = 0; i < items; i++)
        rig_upload(rig, i + 1, NULL, ids[i]);
    return rig;
}

// --- Scrub

static void test_a_scrub_finds_what_rotted(void **state)
{
    char ids[ITEMS][ID_MAX], id[ID_MAX], path[1024];
    struct rig *rig = rig_with(ITEMS, ids, NULL);
    rot(rig, ids[2]);
    path_of(rig, ids[4], path);
    assert_int_equal(unlink(path), 0);
    start(rig);
    run_whole(rig, "scrub", &(struct upkeep_wish){.whole = true, .rate = FAST}, id);
    _cleanup_json_ json_t *run = get(rig, id);
    const json_t *findings = js_arr(run, "findings");
    assert_int_equal(count_of(rig, id, "read"), ITEMS);
    assert_int_equal(count_of(rig, id, "changed"), 1);
    assert_int_equal(count_of(rig, id, "missing"), 1);
    assert_int_equal(js_int(run, "findingCount", 0), 2);
    assert_string_equal(js_str(json_array_get(findings, 0), "itemId", ""), ids[4]); // the newest first
    assert_string_equal(js_str(json_array_get(findings, 0), "problem", ""), "missing");
    assert_string_equal(js_str(json_array_get(findings, 1), "itemId", ""), ids[2]);
    assert_string_equal(js_str(json_array_get(findings, 1), "problem", ""), "changed");
    stop(rig);
    rig_free(rig);
}

static void test_shares_cover_all_in_turn(void **state)
{
    char ids[ITEMS][ID_MAX], id[ID_MAX];
    struct rig *rig = rig_with(ITEMS, ids, NULL);
    int found = 0, read = 0;
    rig->flow.settings.upkeep.scrub_nights = 3;
    for (int i = 0; i < ITEMS; i++)
        rot(rig, ids[i]);
    start(rig);
    for (int night = 0; night < 3; night++) {
        run_whole(rig, "scrub", &(struct upkeep_wish){.rate = FAST}, id);
        assert_int_equal(count_of(rig, id, "read"), 3);
        read += (int)count_of(rig, id, "read");
        found += (int)count_of(rig, id, "changed");
    }
    assert_int_equal(read, 9); // 7, and the first two again
    assert_int_equal(found, 9);
    stop(rig);
    rig_free(rig);
}

static void test_items_that_go_are_no_findings(void **state)
{
    char ids[ITEMS][ID_MAX], id[ID_MAX], path[1024];
    struct rig *rig = rig_with(ITEMS, ids, NULL);
    path_of(rig, ids[3], path);
    must(item_delete(&rig->flow, "default", ids[3], (char[ID_MAX]){0}, err));
    assert_int_equal(unlink(path), 0);
    start(rig);
    run_whole(rig, "scrub", &(struct upkeep_wish){.whole = true, .rate = FAST}, id);
    assert_int_equal(count_of(rig, id, "read"), ITEMS - 1);
    assert_int_equal(count_of(rig, id, "missing"), 0);
    stop(rig);
    rig_free(rig);
}

static void test_g7_a_run_of_one_tenant_sees_no_other(void **state)
{
    char ids[ITEMS][ID_MAX], id[ID_MAX];
    struct rig *rig = rig_with(ITEMS, ids, NULL);
    must(admin_tenant_add(&rig->flow, "shop", err));
    rot(rig, ids[0]);
    start(rig);
    run_whole(rig, "scrub", &(struct upkeep_wish){.tenant = "shop", .rate = FAST}, id);
    assert_int_equal(count_of(rig, id, "read"), 0);
    run_whole(rig, "scrub", &(struct upkeep_wish){.tenant = "default", .rate = FAST}, id);
    assert_int_equal(count_of(rig, id, "read"), ITEMS);
    assert_int_equal(count_of(rig, id, "changed"), 1);
    json_t *none = NULL;
    must_fail(ERR_TENANT_UNKNOWN,
              upkeep_begin(&rig->flow, "scrub", &(struct upkeep_wish){.tenant = "nobody"}, &none, err));
    stop(rig);
    rig_free(rig);
}

// --- Runs

static void test_a_run_goes_on_with_the_next_process(void **state)
{
    char ids[ITEMS][ID_MAX], id[ID_MAX];
    struct rig *rig = rig_with(ITEMS, ids, NULL);
    start(rig);
    _cleanup_json_ json_t *run = begin(rig, "scrub", &(struct upkeep_wish){.whole = true, .rate = 1});
    id_of(run, id);
    wait_for(count_of(rig, id, "read") >= 1);
    stop(rig);
    assert_true(is_state(rig, id, "running"));
    assert_true(count_of(rig, id, "read") < ITEMS);
    rig_reopen(rig, NULL);
    start(rig);
    wait_for(is_state(rig, id, "completed"));
    assert_int_equal(count_of(rig, id, "read"), ITEMS);
    stop(rig);
    rig_free(rig);
}

static void test_pause_resume_and_cancel(void **state)
{
    char ids[ITEMS][ID_MAX], id[ID_MAX];
    struct rig *rig = rig_with(ITEMS, ids, NULL);
    json_t *none = NULL;
    start(rig);
    _cleanup_json_ json_t *run = begin(rig, "scrub", &(struct upkeep_wish){.whole = true, .rate = 1});
    id_of(run, id);
    must_fail(ERR_CONFLICT, upkeep_begin(&rig->flow, "scrub", &(struct upkeep_wish){0}, &none, err)); // one at a time
    steer(rig, id, UPKEEP_PAUSE);
    assert_true(is_state(rig, id, "paused"));
    stop(rig);
    int64_t read = count_of(rig, id, "read");
    start(rig); // it stays so with the next process
    clock_sleep_ms(50);
    assert_true(is_state(rig, id, "paused"));
    assert_int_equal(count_of(rig, id, "read"), read);
    steer(rig, id, UPKEEP_RESUME);
    wait_for(count_of(rig, id, "read") > read);
    steer(rig, id, UPKEEP_CANCEL);
    wait_for(is_state(rig, id, "cancelled"));
    assert_true(count_of(rig, id, "read") < ITEMS);
    must_fail(ERR_CONFLICT, upkeep_steer(&rig->flow, id, UPKEEP_RESUME, &none, err));
    must_fail(ERR_NOT_FOUND, upkeep_steer(&rig->flow, "run_none", UPKEEP_PAUSE, &none, err));
    run_whole(rig, "scrub", &(struct upkeep_wish){.whole = true, .rate = FAST}, id);
    stop(rig);
    rig_free(rig);
}

static void test_what_nobody_is_at_is_cancelled_at_once(void **state)
{
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX];
    _cleanup_json_ json_t *run = begin(rig, "scrub", &(struct upkeep_wish){.rate = -1});
    id_of(run, id);
    steer(rig, id, UPKEEP_CANCEL);
    assert_true(is_state(rig, id, "cancelled"));
    rig_free(rig);
}

static void test_g6_an_outage_is_waited_for(void **state)
{
    char ids[ITEMS][ID_MAX], id[ID_MAX];
    struct rig *rig = rig_with(ITEMS, ids, "blob.open_read:UNAVAILABLE@1");
    start(rig);
    run_whole(rig, "scrub", &(struct upkeep_wish){.whole = true, .rate = FAST}, id);
    assert_int_equal(count_of(rig, id, "read"), ITEMS); // each once
    _cleanup_json_ json_t *run = get(rig, id);
    assert_int_equal(js_int(run, "findingCount", 9), 0);
    stop(rig);
    rig_free(rig);
}

// What a process leaves that dies in the middle of a page: a run with its name.
static void leave_behind(struct rig *rig, const char *id);

struct leave_call {
    struct rig *rig;
    const char *id;
};

static int leave_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct leave_call *call = arg;
    _cleanup_arena_ struct arena arena = {0};
    struct meta_run row;
    if (call->rig->meta.ops->run_get(tx, &arena, call->id, &row, err) < 0)
        return -1;
    row.owner = "prc_dead";
    row.lease_ms = clock_now_ms() + 3600 * 1000;
    return call->rig->meta.ops->run_put(tx, &row, err);
}

static void leave_behind(struct rig *rig, const char *id)
{
    struct leave_call call = {rig, id};
    must(rig->meta.ops->write(rig->meta.state, META_SYNCED, leave_tx, &call, err));
}

static void test_g5_what_kills_processes_ends(void **state)
{
    char ids[ITEMS][ID_MAX], id[ID_MAX];
    struct rig *rig = rig_with(ITEMS, ids, "blob.open_read:UNAVAILABLE@1+");
    _cleanup_json_ json_t *run = begin(rig, "scrub", &(struct upkeep_wish){.whole = true, .rate = FAST});
    id_of(run, id);
    for (int death = 0; death < UPKEEP_DEATHS; death++) {
        assert_true(is_state(rig, id, "running"));
        leave_behind(rig, id);
        start(rig);
        if (death < UPKEEP_DEATHS - 1)
            clock_sleep_ms(100);
        else
            wait_for(is_state(rig, id, "failed"));
        stop(rig);
    }
    _cleanup_json_ json_t *failed = get(rig, id);
    assert_string_equal(js_str(js_obj(failed, "error"), "code", ""), "PROCESS_DIED");
    rig_free(rig);
}

static void test_a_lease_keeps_others_away(void **state)
{
    char ids[ITEMS][ID_MAX], id[ID_MAX];
    struct rig *rig = rig_with(ITEMS, ids, NULL);
    rig->flow.settings.upkeep.lease_ms = 30000; // there may be others
    _cleanup_json_ json_t *run = begin(rig, "scrub", &(struct upkeep_wish){.whole = true, .rate = FAST});
    id_of(run, id);
    leave_behind(rig, id);
    start(rig);
    clock_sleep_ms(100);
    assert_int_equal(count_of(rig, id, "read"), 0);
    stop(rig);
    rig->flow.settings.upkeep.lease_ms = 0;
    start(rig);
    wait_for(is_state(rig, id, "completed"));
    stop(rig);
    rig_free(rig);
}

// --- Schedules

static json_t *task_of(struct rig *rig, const char *name)
{
    _cleanup_json_ json_t *answer = NULL;
    size_t i;
    json_t *task, *found = NULL;
    must(upkeep_tasks(&rig->flow, &answer, err));
    json_array_foreach(js_arr(answer, "tasks"), i, task)
    {
        if (strcmp(js_str(task, "task", ""), name) == 0)
            found = json_incref(task);
    }
    assert_non_null(found);
    return found;
}

static bool has_run(struct rig *rig, const char *state)
{
    _cleanup_json_ json_t *task = task_of(rig, "scrub");
    return strcmp(js_str(js_obj(task, "lastRun"), "state", ""), state) == 0;
}

static int due_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct rig *rig = arg;
    struct upkeep_plan plan;
    if (upkeep_plan_get(&rig->flow, tx, UPKEEP_SCRUB, &plan, err) < 0)
        return -1;
    json_object_set_new(plan.setting, UPKEEP_LAST, json_integer(clock_now_ms() - 3 * 24 * 3600 * 1000));
    int rc = upkeep_plan_put(&rig->flow, tx, UPKEEP_SCRUB, &plan, err);
    upkeep_plan_free(&plan);
    return rc;
}

static size_t runs(struct rig *rig)
{
    _cleanup_json_ json_t *answer = NULL;
    must(upkeep_runs(&rig->flow, "scrub", NULL, 100, &answer, err));
    return json_array_size(js_arr(answer, "runs"));
}

static void test_what_was_missed_is_made_up_for_once(void **state)
{
    struct rig *rig = rig_new(NULL);
    rig->flow.settings.upkeep.task[UPKEEP_SCRUB].schedule = "30 2 * * *";
    start(rig);
    clock_sleep_ms(50);
    assert_int_equal(runs(rig), 0); // due for the first time tomorrow
    stop(rig);
    must(rig->meta.ops->write(rig->meta.state, META_SYNCED, due_tx, rig, err)); // three days without a process
    start(rig);
    wait_for(has_run(rig, "completed"));
    clock_sleep_ms(50);
    stop(rig);
    assert_int_equal(runs(rig), 1);
    _cleanup_json_ json_t *task = task_of(rig, "scrub");
    assert_string_equal(js_str(js_obj(task, "lastRun"), "origin", ""), "schedule");
    assert_non_null(js_str(task, "nextAt", NULL));
    rig_free(rig);
}

static void test_what_is_due_meanwhile_is_passed_over(void **state)
{
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX];
    rig->flow.settings.upkeep.task[UPKEEP_SCRUB].schedule = "30 2 * * *";
    _cleanup_json_ json_t *run = begin(rig, "scrub", &(struct upkeep_wish){.rate = -1});
    id_of(run, id);
    steer(rig, id, UPKEEP_PAUSE);
    must(rig->meta.ops->write(rig->meta.state, META_SYNCED, due_tx, rig, err));
    start(rig);
    clock_sleep_ms(50);
    stop(rig);
    assert_int_equal(runs(rig), 1);
    assert_true(is_state(rig, id, "paused"));
    rig_free(rig);
}

static void test_schedules_are_set(void **state)
{
    struct rig *rig = rig_new(NULL);
    json_t *none = NULL;
    rig->flow.settings.upkeep.task[UPKEEP_SCRUB].schedule = "30 2 * * *";
    rig->flow.settings.upkeep.rate = 50;
    _cleanup_json_ json_t *schedule = json_string("0 4 * * SUN"), *rate = json_integer(7), *bad = json_string("0 4"),
                          *null = json_null();
    _cleanup_json_ json_t *task = NULL, *back = NULL;
    must(upkeep_set(&rig->flow, "scrub", &(struct upkeep_change){schedule, rate, NULL}, &task, err));
    assert_string_equal(js_str(task, "schedule", ""), "0 4 * * SUN");
    assert_string_equal(js_str(task, "configured", ""), "30 2 * * *");
    assert_int_equal(js_int(task, "rate", 0), 7);
    assert_non_null(js_str(task, "nextAt", NULL));
    rig_reopen(rig, NULL); // durable
    _cleanup_json_ json_t *again = task_of(rig, "scrub");
    assert_string_equal(js_str(again, "schedule", ""), "0 4 * * SUN");
    must_fail(ERR_INVALID, upkeep_set(&rig->flow, "scrub", &(struct upkeep_change){bad, NULL, NULL}, &none, err));
    must_fail(ERR_INVALID, upkeep_set(&rig->flow, "scrub", &(struct upkeep_change){rate, NULL, NULL}, &none, err));
    must_fail(ERR_INVALID, upkeep_set(&rig->flow, "scrub", &(struct upkeep_change){0}, &none, err));
    must_fail(ERR_NOT_FOUND, upkeep_set(&rig->flow, "none", &(struct upkeep_change){schedule}, &none, err));
    must(upkeep_set(&rig->flow, "scrub", &(struct upkeep_change){null, null, null}, &back, err));
    assert_string_equal(js_str(back, "schedule", ""), js_str(back, "configured", "-"));
    rig_free(rig);
}

// --- Optimise

static void upsert_ten(struct rig *rig, const char *collection)
{
    const struct index *index = &rig->flow.index;
    float vector[FAKE_DIMENSION] = {1};
    char id[ID_MAX];
    for (int i = 0; i < 10; i++) {
        snprintf(id, sizeof id, "img_%d", i);
        must(index->ops->upsert(index->state, collection, &(struct index_point){id, vector, NULL}, 1, err));
    }
}

static void test_optimise_gives_back_what_garbage_takes(void **state)
{
    struct rig *rig = rig_new(NULL);
    const struct index *index = &rig->flow.index;
    const bool dry = true, wet = false;
    char id[ID_MAX];
    must(index->ops->ensure(index->state, "tenant_default_fake_vectors", FAKE_DIMENSION, err));
    for (int i = 0; i < 5; i++)
        upsert_ten(rig, "tenant_default_fake_vectors");
    start(rig);
    for (int i = 0; i < 2; i++) {
        run_whole(rig, "optimise", &(struct upkeep_wish){.dry_run = &dry}, id);
        assert_int_equal(count_of(rig, id, "collectionsCompacted"), 1); // it would, each time
        assert_int_equal(count_of(rig, id, "recordPieces"), 1);
    }
    run_whole(rig, "optimise", &(struct upkeep_wish){.dry_run = &wet}, id);
    assert_true(count_of(rig, id, "indexBytesFreed") > 0);
    assert_true(count_of(rig, id, "recordPieces") > 1);
    run_whole(rig, "optimise", &(struct upkeep_wish){.dry_run = &wet}, id);
    assert_int_equal(count_of(rig, id, "collectionsCompacted"), 0);
    assert_int_equal(rig_vectors(rig, "tenant_default_fake_vectors"), 10);
    stop(rig);
    rig_reopen(rig, NULL);
    assert_int_equal(rig_vectors(rig, "tenant_default_fake_vectors"), 10);
    rig_free(rig);
}

// --- Thumbnails

static uint64_t thumbnail_size(struct rig *rig, const char *id)
{
    _cleanup_arena_ struct arena arena = {0};
    struct blob_info info = {0};
    must(rig->flow.blob.ops->head(rig->flow.blob.state, rig_media(rig, &arena, id).thumb_key, &info, err));
    return info.size;
}

static void test_thumbnails_follow_their_recipe(void **state)
{
    char ids[ITEMS][ID_MAX], id[ID_MAX];
    struct rig *rig = rig_with(ITEMS, ids, NULL);
    const bool dry = true;
    const struct upkeep_wish real = {.dry_run = &(bool){false}, .rate = FAST}, tried = {.dry_run = &dry, .rate = FAST};
    rig_start(rig);
    rig_wait_idle(rig);
    rig_stop(rig);
    uint64_t before = thumbnail_size(rig, ids[0]);
    start(rig);
    run_whole(rig, "thumbnails", &real, id); // the first one takes them to be right
    assert_int_equal(count_of(rig, id, "made"), 0);
    stop(rig);
    rig->flow.settings.thumbnail_edge = 16;
    start(rig);
    run_whole(rig, "thumbnails", &tried, id);
    assert_int_equal(count_of(rig, id, "made"), ITEMS);
    assert_int_equal(thumbnail_size(rig, ids[0]), before);
    run_whole(rig, "thumbnails", &real, id);
    assert_int_equal(count_of(rig, id, "made"), ITEMS);
    assert_true(thumbnail_size(rig, ids[0]) < before);
    run_whole(rig, "thumbnails", &real, id); // and that is it
    assert_int_equal(count_of(rig, id, "made"), 0);
    assert_int_equal(count_of(rig, id, "items"), 0);
    stop(rig);
    rig_free(rig);
}

static void test_thumbnails_that_cannot_be_made_are_told(void **state)
{
    _cleanup_arena_ struct arena arena = {0};
    char ids[ITEMS][ID_MAX], id[ID_MAX];
    struct rig *rig = rig_with(ITEMS, ids, NULL);
    rig_start(rig);
    rig_wait_idle(rig);
    rig_stop(rig);
    must(rig->flow.blob.ops->remove(rig->flow.blob.state, rig_media(rig, &arena, ids[1]).blob_key, err));
    rig_reopen(rig, NULL); // nothing is decoded in memory any more
    start(rig);
    run_whole(rig, "thumbnails", &(struct upkeep_wish){.dry_run = &(bool){false}, .whole = true}, id);
    assert_int_equal(count_of(rig, id, "made"), ITEMS - 1);
    assert_int_equal(count_of(rig, id, "failed"), 1);
    stop(rig);
    rig_free(rig);
}

static void test_findings_have_a_limit(void **state)
{
    _cleanup_arena_ struct arena arena = {0};
    _cleanup_json_ json_t *note = json_pack("{s:{},s:[],s:i}", "counts", "findings", "findingCount", 0);
    struct upkeep_work w = {.note = note, .arena = &arena};
    for (int i = 0; i < 2 * UPKEEP_FINDINGS; i++)
        upkeep_found(&w, json_pack("{s:i}", "number", i));
    assert_int_equal(json_array_size(js_arr(note, "findings")), UPKEEP_FINDINGS);
    assert_int_equal(js_int(note, "findingCount", 0), 2 * UPKEEP_FINDINGS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_scrub_finds_what_rotted),
        cmocka_unit_test(test_shares_cover_all_in_turn),
        cmocka_unit_test(test_items_that_go_are_no_findings),
        cmocka_unit_test(test_g7_a_run_of_one_tenant_sees_no_other),
        cmocka_unit_test(test_a_run_goes_on_with_the_next_process),
        cmocka_unit_test(test_pause_resume_and_cancel),
        cmocka_unit_test(test_what_nobody_is_at_is_cancelled_at_once),
        cmocka_unit_test(test_g6_an_outage_is_waited_for),
        cmocka_unit_test(test_g5_what_kills_processes_ends),
        cmocka_unit_test(test_a_lease_keeps_others_away),
        cmocka_unit_test(test_what_was_missed_is_made_up_for_once),
        cmocka_unit_test(test_what_is_due_meanwhile_is_passed_over),
        cmocka_unit_test(test_schedules_are_set),
        cmocka_unit_test(test_optimise_gives_back_what_garbage_takes),
        cmocka_unit_test(test_thumbnails_follow_their_recipe),
        cmocka_unit_test(test_thumbnails_that_cannot_be_made_are_told),
        cmocka_unit_test(test_findings_have_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
