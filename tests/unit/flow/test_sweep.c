// SPDX-License-Identifier: Apache-2.0
// The sweep: files and vectors without an item go, all others stay.
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/id.h"
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

// One walk from its beginning to its end.
static void sweep(struct rig *rig)
{
    struct sweep *sweep;
    int64_t before = metric_get(M_SWEEPS, NULL);
    must(sweep_start(&rig->flow, HOUR_MS, &sweep, err));
    wait_for(metric_get(M_SWEEPS, NULL) > before);
    sweep_stop(sweep);
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

// An outage removes nothing, and another walk makes good.
static void test_removes_nothing_while_records_cannot_be_read(void **state)
{
    _cleanup_arena_ struct arena arena = {0};
    struct rig *rig = rig_new("meta.media_get:IO_ERROR@1");
    const char *orphan = file_of(&arena, "images");
    struct sweep *sweep;
    int64_t before = metric_get(M_SWEEPS, NULL);
    put_old(rig, orphan);
    must(sweep_start(&rig->flow, 50, &sweep, err));
    wait_for(metric_get(M_SWEEPS, NULL) > before); // the walk after the one that failed
    sweep_stop(sweep);
    assert_false(is_there(rig, orphan));
    rig_free(rig);
}

static void test_stops_at_once(void **state)
{
    _cleanup_arena_ struct arena arena = {0};
    struct rig *rig = rig_new(NULL);
    struct sweep *sweep;
    for (int i = 0; i < MANY; i++)
        put_old(rig, file_of(&arena, "images"));
    must(sweep_start(&rig->flow, HOUR_MS, &sweep, err));
    sweep_stop(sweep);
    sweep_stop(NULL);
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
        cmocka_unit_test(test_stops_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
