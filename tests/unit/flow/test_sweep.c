// SPDX-License-Identifier: Apache-2.0
// The sweep: files and vectors without an item go, all others stay; items without what they should have are told.
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/id.h"
#include "base/js.h"
#include "flow/upkeep.h"
#include "obs/metrics.h"
#include "rig.h"

enum { HOUR_MS = 3600 * 1000, MANY = 200 };

static void put(struct rig *rig, const char *key)
{
    const struct blob_ops *ops = rig->flow.blob.ops;
    struct blob_put *p;
    must(ops->put_begin(rig->flow.blob.state, 0, &p, err));
    must(ops->put_write(p, "bytes", 5, err));
    must(ops->put_commit(p, key, err));
}

static bool is_there(struct rig *rig, const char *key)
{
    struct blob_info info;
    return rig->flow.blob.ops->head(rig->flow.blob.state, key, &info, NULL) == 0;
}

static void set_age(struct rig *rig, const char *key, int64_t ms)
{
    char path[1024];
    int64_t at = clock_now_ms() - ms;
    const struct timespec time = {.tv_sec = at / 1000, .tv_nsec = at % 1000 * 1000000};
    snprintf(path, sizeof path, "%s/storage/%s", rig->dir, key);
    assert_int_equal(utimensat(AT_FDCWD, path, (const struct timespec[]){time, time}, 0), 0);
}

static const char *file_of(struct arena *arena, const char *kind)
{
    char id[ID_MAX];
    id_new("img", id);
    return arena_printf(arena, "tenant-default/%s/2026/11/25/%s.webp", kind, id);
}

static void put_old(struct rig *rig, const char *key)
{
    put(rig, key);
    set_age(rig, key, HOUR_MS);
}

static json_t *get(struct rig *rig, const char *id)
{
    json_t *run = NULL;
    must(upkeep_get(&rig->flow, id, &run, err));
    return run;
}

static bool has_ended(struct rig *rig, const char *id)
{
    _cleanup_json_ json_t *run = get(rig, id);
    return js_str(run, "endedAt", NULL) != NULL;
}

// One run from its beginning to its end.
static json_t *sweep_as(struct rig *rig, bool dry_run, const char *tenant)
{
    const struct upkeep_wish wish = {.dry_run = &dry_run, .tenant = tenant};
    _cleanup_json_ json_t *begun = NULL;
    must(upkeep_start(&rig->flow, &rig->flow.upkeep, err));
    must(upkeep_begin(&rig->flow, "sweep", &wish, &begun, err));
    wait_for(has_ended(rig, js_str(begun, "runId", "")));
    upkeep_stop(rig->flow.upkeep);
    rig->flow.upkeep = NULL;
    json_t *run = get(rig, js_str(begun, "runId", ""));
    assert_string_equal(js_str(run, "state", ""), "completed");
    return run;
}

static void sweep(struct rig *rig)
{
    json_decref(sweep_as(rig, false, NULL));
}

static int64_t count_of(const json_t *run, const char *what)
{
    return js_int(js_obj(run, "counts"), what, 0);
}

static void test_removes_what_has_no_item(void **state)
{
    _cleanup_arena_ struct arena arena = {0};
    struct rig *rig = rig_new(NULL);
    const char *original = file_of(&arena, "images"), *thumbnail = file_of(&arena, "thumbnails");
    int64_t before = metric_get(M_ORPHANS_REMOVED, NULL);
    put_old(rig, original);
    put_old(rig, thumbnail);
    sweep(rig);
    assert_false(is_there(rig, original));
    assert_false(is_there(rig, thumbnail));
    assert_int_equal(metric_get(M_ORPHANS_REMOVED, NULL) - before, 2);
    rig_free(rig);
}

static void test_leaves_items_alone(void **state)
{
    _cleanup_arena_ struct arena arena = {0};
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX], deleting[ID_MAX];
    rig_upload(rig, 1, NULL, id);
    rig_upload(rig, 2, NULL, deleting);
    rig_start(rig);
    rig_wait_idle(rig);
    rig_stop(rig);
    const char *ids[] = {id, deleting};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        const struct media media = rig_media(rig, &arena, ids[i]);
        set_age(rig, media.blob_key, HOUR_MS);
        set_age(rig, media.thumb_key, HOUR_MS);
    }
    must(item_delete(&rig->flow, "default", deleting, (char[ID_MAX]){0}, err)); // nobody is there to do it
    sweep(rig);
    assert_int_equal(rig_blobs(rig), 4);
    rig_free(rig);
}

static const char COLLECTION[] = "tenant_default_fake_vectors";

static size_t vectors(struct rig *rig)
{
    size_t count;
    must(rig->flow.index.ops->count(rig->flow.index.state, COLLECTION, &count, err));
    return count;
}

static void put_vector(struct rig *rig, const char *id)
{
    const struct index *index = &rig->flow.index;
    size_t dimension = rig->flow.models[0].model->dimension;
    float *vector = calloc(dimension, sizeof *vector);
    vector[0] = 1;
    const struct index_point point = {.id = id, .vector = vector};
    must(index->ops->ensure(index->state, COLLECTION, dimension, err));
    must(index->ops->upsert(index->state, COLLECTION, &point, 1, err));
    free(vector);
}

static void test_g9_removes_vectors_that_have_no_item(void **state)
{
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX], orphan[ID_MAX];
    rig_upload(rig, 1, NULL, id);
    rig_start(rig);
    rig_wait_idle(rig);
    rig_stop(rig);
    assert_int_equal(vectors(rig), 1);
    for (int i = 0; i < MANY; i++) {
        id_new(i % 2 ? "img" : "frm", orphan);
        put_vector(rig, orphan);
    }
    int64_t before = metric_get(M_ORPHANS_REMOVED, NULL);
    sweep(rig);
    assert_int_equal(vectors(rig), 1);
    assert_int_equal(metric_get(M_ORPHANS_REMOVED, NULL) - before, MANY);
    sweep(rig);
    assert_int_equal(vectors(rig), 1);
    rig_free(rig);
}

static void test_g7_an_item_of_another_tenant_does_not_count(void **state)
{
    _cleanup_arena_ struct arena arena = {0};
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX];
    rig_upload(rig, 1, NULL, id);
    const char *theirs = arena_printf(&arena, "tenant-other/images/2026/11/25/%s.webp", id);
    put_old(rig, theirs);
    sweep(rig);
    assert_false(is_there(rig, theirs));
    assert_int_equal(rig_blobs(rig), 1);
    rig_free(rig);
}

static void test_leaves_what_is_young(void **state)
{
    _cleanup_arena_ struct arena arena = {0};
    struct rig *rig = rig_new(NULL);
    const char *young = file_of(&arena, "images"), *from_the_future = file_of(&arena, "images");
    put(rig, young);
    put(rig, from_the_future);
    set_age(rig, from_the_future, -HOUR_MS);
    sweep(rig);
    assert_true(is_there(rig, young));
    assert_true(is_there(rig, from_the_future));
    rig_free(rig);
}

static void test_leaves_what_it_does_not_know(void **state)
{
    static const char *const keys[] = {
        "tenant-default/images/readme.txt",
        "tenant-default/images/2026/11/25/0193647a-0000-7000-8000-000000000001.jpg", // an id without its prefix
        "tenant-default/models/img_0193647a-0000-7000-8000-000000000001.onnx",
        "images/img_0193647a-0000-7000-8000-000000000001.jpg",
        "tenant-x.jpg",
    };
    struct rig *rig = rig_new(NULL);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        put_old(rig, keys[i]);
    sweep(rig);
    assert_int_equal(rig_blobs(rig), ARRAY_LEN(keys));
    rig_free(rig);
}

static void test_goes_through_many_pages(void **state)
{
    _cleanup_arena_ struct arena arena = {0};
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX];
    for (int i = 0; i < MANY; i++)
        put_old(rig, file_of(&arena, "images"));
    rig_upload(rig, 1, NULL, id);
    sweep(rig);
    assert_int_equal(rig_blobs(rig), 1);
    rig_free(rig);
}

// An outage removes nothing, and the page is done again.
static void test_removes_nothing_while_records_cannot_be_read(void **state)
{
    _cleanup_arena_ struct arena arena = {0};
    struct rig *rig = rig_new("meta.media_get:IO_ERROR@1");
    const char *orphan = file_of(&arena, "images");
    put_old(rig, orphan);
    sweep(rig);
    assert_false(is_there(rig, orphan));
    rig_free(rig);
}

static void test_a_dry_run_removes_nothing(void **state)
{
    _cleanup_arena_ struct arena arena = {0};
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX];
    const char *file = file_of(&arena, "images");
    put_old(rig, file);
    id_new("img", id);
    put_vector(rig, id);
    for (int i = 0; i < 2; i++) { // each time the same
        _cleanup_json_ json_t *run = sweep_as(rig, true, NULL);
        assert_int_equal(count_of(run, "filesWithoutItem"), 1);
        assert_int_equal(count_of(run, "vectorsWithoutItem"), 1);
        assert_int_equal(count_of(run, "filesRemoved") + count_of(run, "vectorsRemoved"), 0);
        assert_int_equal(js_int(run, "findingCount", 0), 2);
        assert_string_equal(js_str(json_array_get(js_arr(run, "findings"), 0), "file", ""), file);
    }
    assert_true(is_there(rig, file));
    assert_int_equal(vectors(rig), 1);
    _cleanup_json_ json_t *run = sweep_as(rig, false, NULL);
    assert_int_equal(count_of(run, "filesRemoved"), 1);
    assert_int_equal(count_of(run, "vectorsRemoved"), 1);
    rig_free(rig);
}

static void test_the_grace_period_holds(void **state)
{
    _cleanup_arena_ struct arena arena = {0};
    struct rig *rig = rig_new(NULL);
    const char *file = file_of(&arena, "images");
    put_old(rig, file);
    rig->flow.settings.upkeep.sweep_grace_ms = 2 * HOUR_MS;
    sweep(rig);
    assert_true(is_there(rig, file));
    rig->flow.settings.upkeep.sweep_grace_ms = HOUR_MS / 2;
    sweep(rig);
    assert_false(is_there(rig, file));
    rig_free(rig);
}

static void test_a_sweep_of_one_tenant_leaves_others_alone(void **state)
{
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX];
    _cleanup_arena_ struct arena arena = {0};
    must(admin_tenant_add(&rig->flow, "shop", err));
    id_new("img", id);
    const char *theirs = arena_printf(&arena, "tenant-shop/images/2026/11/25/%s.webp", id);
    const char *ours = file_of(&arena, "images");
    put_old(rig, theirs);
    put_old(rig, ours);
    put_vector(rig, id);
    json_decref(sweep_as(rig, false, "shop"));
    assert_false(is_there(rig, theirs));
    assert_true(is_there(rig, ours));
    assert_int_equal(vectors(rig), 1);
    rig_free(rig);
}

static int choose_gone(struct meta_tx *tx, void *arg, struct error *err)
{
    struct rig *rig = arg;
    return rig->flow.meta.ops->setting_put(tx, "model.default.default", "gone", err);
}

// A tenant whose model was taken away stops nobody's sweep.
static void test_a_model_that_is_away_is_no_end(void **state)
{
    _cleanup_arena_ struct arena arena = {0};
    struct rig *rig = rig_new(NULL);
    char lost[ID_MAX];
    rig_upload(rig, 1, NULL, lost);
    rig_start(rig);
    rig_wait_idle(rig);
    rig_stop(rig);
    must(rig->flow.blob.ops->remove(rig->flow.blob.state, rig_media(rig, &arena, lost).blob_key, err));
    must(rig->flow.meta.ops->write(rig->flow.meta.state, META_RELAXED, choose_gone, rig, err));
    _cleanup_json_ json_t *run = sweep_as(rig, true, NULL);
    assert_int_equal(count_of(run, "itemsWithoutOriginal"), 1);
    rig_free(rig);
}

// The other direction: an original that is gone is told, a vector is made again.
static void test_tells_what_items_lack_and_makes_vectors_again(void **state)
{
    _cleanup_arena_ struct arena arena = {0};
    struct rig *rig = rig_new(NULL);
    const struct index *index = &rig->flow.index;
    char lost[ID_MAX], whole[ID_MAX], unseen[ID_MAX];
    const char *ids[1];
    rig_upload(rig, 1, NULL, lost);
    rig_upload(rig, 2, NULL, whole);
    rig_upload(rig, 3, NULL, unseen);
    rig_start(rig);
    rig_wait_idle(rig);
    rig_stop(rig);
    must(rig->flow.blob.ops->remove(rig->flow.blob.state, rig_media(rig, &arena, lost).blob_key, err));
    ids[0] = unseen;
    must(index->ops->remove(index->state, COLLECTION, ids, 1, NULL, err));
    {
        _cleanup_json_ json_t *run = sweep_as(rig, true, NULL);
        assert_int_equal(count_of(run, "items"), 3);
        assert_int_equal(count_of(run, "itemsWithoutOriginal"), 1);
        assert_int_equal(count_of(run, "itemsWithoutVector"), 1);
        assert_int_equal(count_of(run, "vectorsAskedFor"), 0);
    }
    _cleanup_json_ json_t *run = sweep_as(rig, false, NULL);
    assert_int_equal(count_of(run, "itemsWithoutOriginal"), 1);
    assert_int_equal(count_of(run, "vectorsAskedFor"), 1);
    _cleanup_json_ json_t *again = sweep_as(rig, false, NULL); // it is on its way
    assert_int_equal(count_of(again, "vectorsAskedFor"), 0);
    assert_int_equal(vectors(rig), 2);
    rig_start(rig);
    rig_wait_idle(rig);
    rig_stop(rig);
    assert_int_equal(vectors(rig), 3);
    rig_free(rig);
}

// Stopped in the middle of the files, it goes on behind the last page: nothing is counted twice.
static void test_goes_on_behind_the_last_page(void **state)
{
    _cleanup_arena_ struct arena arena = {0};
    struct rig *rig = rig_new(NULL);
    _cleanup_json_ json_t *begun = NULL;
    enum { FILES = 12, RATE = 4 };
    const bool dry_run = true;
    for (int i = 0; i < FILES; i++)
        put_old(rig, file_of(&arena, "images"));
    must(upkeep_begin(&rig->flow, "sweep", &(struct upkeep_wish){.dry_run = &dry_run, .rate = RATE}, &begun, err));
    const char *id = js_str(begun, "runId", "");
    for (int64_t seen = 0; !has_ended(rig, id);) {
        must(upkeep_start(&rig->flow, &rig->flow.upkeep, err));
        for (bool moved = false; !moved;) {
            _cleanup_json_ json_t *run = get(rig, id);
            moved = count_of(run, "files") > seen || js_str(run, "endedAt", NULL);
            if (moved)
                seen = count_of(run, "files");
            clock_sleep_ms(5);
        }
        upkeep_stop(rig->flow.upkeep);
        rig->flow.upkeep = NULL;
    }
    _cleanup_json_ json_t *run = get(rig, id);
    assert_int_equal(count_of(run, "files"), FILES);
    assert_int_equal(js_int(run, "findingCount", 0), FILES);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_removes_what_has_no_item),
        cmocka_unit_test(test_leaves_items_alone),
        cmocka_unit_test(test_g9_removes_vectors_that_have_no_item),
        cmocka_unit_test(test_g7_an_item_of_another_tenant_does_not_count),
        cmocka_unit_test(test_leaves_what_is_young),
        cmocka_unit_test(test_leaves_what_it_does_not_know),
        cmocka_unit_test(test_goes_through_many_pages),
        cmocka_unit_test(test_removes_nothing_while_records_cannot_be_read),
        cmocka_unit_test(test_a_dry_run_removes_nothing),
        cmocka_unit_test(test_the_grace_period_holds),
        cmocka_unit_test(test_a_sweep_of_one_tenant_leaves_others_alone),
        cmocka_unit_test(test_a_model_that_is_away_is_no_end),
        cmocka_unit_test(test_tells_what_items_lack_and_makes_vectors_again),
        cmocka_unit_test(test_goes_on_behind_the_last_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
