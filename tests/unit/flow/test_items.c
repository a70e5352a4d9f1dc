// SPDX-License-Identifier: Apache-2.0
// Items: status, list, files, delete.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/js.h"
#include "flow/frame.h"
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

static void test_ids_are_read_in_any_form(void **state)
{
    struct rig *rig = *state;
    _cleanup_arena_ struct arena arena = {0};
    char id[ID_MAX], upper[ID_MAX];
    struct item item;
    rig_item(rig, 1, id);
    must(item_get(&rig->flow, &arena, "default", id_bare(id), &item, err));
    assert_string_equal(item.media.id, id);
    assert_int_equal(item.step_count, 0);
    strcpy(upper, id_bare(id));
    for (char *p = upper; *p; p++)
        *p = (char)(*p >= 'a' && *p <= 'f' ? *p - 32 : *p);
    must(item_get(&rig->flow, &arena, "default", upper, &item, err));
    assert_string_equal(item.media.id, id);
    must_fail(ERR_INVALID_ID, item_get(&rig->flow, &arena, "default", "../x", &item, err));
    must_fail(ERR_INVALID_ID, item_get(&rig->flow, &arena, "default", "", &item, err));
    must_fail(ERR_NOT_FOUND, item_get(&rig->flow, &arena, "default", "img_1", &item, err));
}

static void test_lists_page_and_filter(void **state)
{
    enum { ITEMS = 23 };
    struct rig *rig = *state;
    _cleanup_arena_ struct arena arena = {0};
    char ids[ITEMS][ID_MAX], gone[ID_MAX];
    for (int i = 0; i < ITEMS; i++)
        rig_item(rig, i, ids[i]);
    must(item_delete(&rig->flow, "default", ids[7], gone, err));
    struct media_query query = {.tenant = "default", .limit = 5};
    struct media *rows;
    size_t count, seen = 0;
    char last[ID_MAX] = "";
    do {
        must(item_list(&rig->flow, &arena, &query, &rows, &count, err));
        for (size_t i = 0; i < count; i++, seen++) {
            assert_string_not_equal(rows[i].id, ids[7]);
            assert_true(!*last || strcmp(rows[i].id, last) < 0); // newest first, each once
            strcpy(last, rows[i].id);
            query.before_ms = rows[i].uploaded_ms;
            query.before_id = rows[i].id;
        }
    } while (count == 5);
    assert_int_equal(seen, ITEMS - 1);
    query = (struct media_query){.tenant = "default", .limit = 50, .file_name = "ITEM-1"};
    must(item_list(&rig->flow, &arena, &query, &rows, &count, err));
    assert_int_equal(count, 11); // 1, 10 … 19
    query = (struct media_query){.tenant = "default", .limit = 50, .by_status = true, .status = MEDIA_COMPLETED};
    must(item_list(&rig->flow, &arena, &query, &rows, &count, err));
    assert_int_equal(count, 0);
    query.tenant = "nobody";
    must_fail(ERR_TENANT_UNKNOWN, item_list(&rig->flow, &arena, &query, &rows, &count, err));
}

static void test_g7_another_tenants_items_do_not_exist(void **state)
{
    struct rig *rig = *state;
    _cleanup_arena_ struct arena arena = {0};
    char id[ID_MAX], canonical[ID_MAX];
    struct item item;
    struct media media;
    struct blob_reader *reader;
    rig_upload(rig, 1, NULL, id);
    must(admin_tenant_add(&rig->flow, "other", err));
    must_fail(ERR_NOT_FOUND, item_get(&rig->flow, &arena, "other", id, &item, err));
    must_fail(ERR_NOT_FOUND, item_delete(&rig->flow, "other", id, canonical, err));
    must_fail(ERR_NOT_FOUND, item_open(&rig->flow, &arena, "other", id, false, &media, &reader, err));
    assert_true(rig_status_is(rig, id, MEDIA_UPLOADED));
    assert_int_equal(rig_count(rig, TOPIC_IMAGES_MAINTENANCE), 0);
}

static void test_the_original_comes_back_as_it_was(void **state)
{
    struct rig *rig = *state;
    _cleanup_arena_ struct arena arena = {0};
    char id[ID_MAX];
    size_t len;
    _cleanup_free_ char *picture = rig_picture(4, &len);
    struct media media;
    struct blob_reader *reader;
    rig_upload(rig, 4, NULL, id);
    must(item_open(&rig->flow, &arena, "default", id, false, &media, &reader, err));
    assert_int_equal(rig->flow.blob.ops->reader_size(reader), len);
    _cleanup_free_ char *got = malloc(len);
    must(rig->flow.blob.ops->read(reader, 0, got, len, err));
    assert_memory_equal(got, picture, len);
    rig->flow.blob.ops->reader_close(reader);
    must_fail(ERR_NOT_READY, item_open(&rig->flow, &arena, "default", id, true, &media, &reader, err));
}

static void test_g9_deleting_is_asked_for_once(void **state)
{
    struct rig *rig = *state;
    _cleanup_arena_ struct arena arena = {0};
    char id[ID_MAX], canonical[ID_MAX];
    rig_upload(rig, 1, NULL, id);
    must(item_delete(&rig->flow, "default", id_bare(id), canonical, err));
    assert_string_equal(canonical, id);
    must_fail(ERR_NOT_FOUND, item_delete(&rig->flow, "default", id, canonical, err));
    must_fail(ERR_INVALID_ID, item_delete(&rig->flow, "default", "x y", canonical, err));
    size_t count;
    struct elog_record *record = rig_records(rig, &arena, TOPIC_IMAGES_MAINTENANCE, &count);
    assert_int_equal(count, 1);
    assert_string_equal(record->key, id);
    _cleanup_json_ json_t *root = js_parse(record->value, record->value_len, NULL);
    assert_string_equal(js_str(root, "eventType", ""), "image.maintenance.requested");
    assert_string_equal(js_str(js_obj(root, "data"), "maintenanceType", ""), "delete");
    assert_int_equal(json_array_size(js_arr(js_obj(root, "data"), "actions")), 3);
}

static void test_a_deletion_that_fails_changes_nothing(void **state)
{
    struct rig *rig = rig_new("eventlog.publish_tx:IO_ERROR@2"); // the first is the upload's
    char id[ID_MAX], canonical[ID_MAX];
    rig_upload(rig, 1, NULL, id);
    must_fail(ERR_IO, item_delete(&rig->flow, "default", id, canonical, err));
    assert_true(rig_status_is(rig, id, MEDIA_UPLOADED));
    must(item_delete(&rig->flow, "default", id, canonical, err));
    rig_free(rig);
}

static void test_time_remaining(void **state)
{
    struct rig *rig = *state;
    rig->flow.item_us = 500000;
    rig->flow.backlog = 9;
    rig->flow.cpu_workers = 2;
    struct media media = {.status = MEDIA_UPLOADED};
    assert_true(item_time_remaining(&rig->flow, &media) == 2.5);
    media.status = MEDIA_PROCESSING;
    assert_true(item_time_remaining(&rig->flow, &media) == 0.25);
    media.status = MEDIA_FAILED;
    assert_true(item_time_remaining(&rig->flow, &media) == 0);
    media = (struct media){.status = MEDIA_COMPLETED, .completed_ms = 1};
    assert_true(item_time_remaining(&rig->flow, &media) == 0);
    rig->flow.item_us = 0; // nothing known
    media = (struct media){.status = MEDIA_UPLOADED};
    assert_true(item_time_remaining(&rig->flow, &media) > 0);
}

static void test_time_remaining_of_a_video(void **state)
{
    (void)state;
    struct media_step shown[] = {{.step = "frame_extraction", .model = "", .status = "running", .started_ms = 100000}};
    struct item item = {.media = {.kind = "video",
                                  .status = MEDIA_PROCESSING,
                                  .video = "{\"duration\":100}",
                                  .progress = "{\"atMs\":60000,\"fromMs\":40000,\"done\":false}"},
                        .steps = shown,
                        .step_count = 1};
    // 20 seconds of the video in 5 of ours: the 40 that are left take 10.
    assert_true(fabs(video_time_remaining(&item, 105000) - 10) < 1e-9);
    item.media.progress = "{\"atMs\":60000,\"fromMs\":60000}"; // it has just begun anew
    assert_true(video_time_remaining(&item, 105000) < 0);
    item.media.progress = NULL;
    assert_true(video_time_remaining(&item, 105000) < 0);
    item.media.progress = "{\"atMs\":60000}";
    item.media.video = NULL; // how long it is, is not known
    assert_true(video_time_remaining(&item, 105000) < 0);
    item.media.video = "{\"duration\":100}";
    shown[0].status = "retrying";
    assert_true(video_time_remaining(&item, 105000) < 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_ids_are_read_in_any_form),
        T(test_lists_page_and_filter),
        T(test_g7_another_tenants_items_do_not_exist),
        T(test_the_original_comes_back_as_it_was),
        T(test_g9_deleting_is_asked_for_once),
        cmocka_unit_test(test_a_deletion_that_fails_changes_nothing),
        T(test_time_remaining),
        cmocka_unit_test(test_time_remaining_of_a_video),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
