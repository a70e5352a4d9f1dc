// SPDX-License-Identifier: Apache-2.0
// Deleting: everything goes, also when it races the steps.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/blob/blob_fs.h"
#include "backends/index/index_flat.h"
#include "base/js.h"
#include "flow/receipt.h"
#include "rig.h"

static const char both[] = "{\"models\":[\"fake\",\"second\"]}";

static void nothing_is_left(struct rig *rig, const char *id)
{
    _cleanup_arena_ struct arena arena = {0};
    struct item item;
    must_fail(ERR_NOT_FOUND, item_get(&rig->flow, &arena, "default", id, &item, err));
    assert_int_equal(rig_blobs(rig), 0);
    assert_int_equal(rig_vectors(rig, "tenant_default_fake_vectors"), 0);
    assert_int_equal(rig_vectors(rig, "tenant_default_second_vectors"), 0);
    assert_int_equal(rig_ledger(rig).deleted, 1);
    assert_int_equal(rig_ledger(rig).in_flight, 0);
    assert_int_equal(rig_open_inbox(rig), 0);
    assert_int_equal(rig_count(rig, TOPIC_DEADLETTER), 0);
    json_t *receipts;
    must(receipt_list(&rig->flow, "default", id, NULL, 10, &receipts, err));
    json_t *last = json_array_get(js_arr(receipts, "receipts"), 0);
    assert_int_equal(js_int(js_obj(js_obj(last, "receipt"), "removed"), "rows", 0), 1);
    json_decref(receipts);
}

static void delete (struct rig *rig, const char *id)
{
    char canonical[ID_MAX];
    must(item_delete(&rig->flow, "default", id, canonical, err));
    assert_string_equal(canonical, id);
}

static void test_g9_deleting_removes_everything(void **state)
{
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX];
    rig_upload(rig, 1, both, id);
    rig_start(rig);
    rig_wait_idle(rig);
    assert_int_equal(rig_blobs(rig), 2); // original and thumbnail
    assert_int_equal(rig_vectors(rig, "tenant_default_fake_vectors"), 1);
    delete (rig, id);
    _cleanup_arena_ struct arena arena = {0};
    struct item item;
    must_fail(ERR_NOT_FOUND, item_get(&rig->flow, &arena, "default", id, &item, err)); // at once
    must_fail(ERR_NOT_FOUND, item_delete(&rig->flow, "default", id, (char[ID_MAX]){0}, err));
    rig_wait_idle(rig);
    nothing_is_left(rig, id);
    rig_free(rig);
}

static void test_g9_deleting_before_anything_ran(void **state)
{
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX];
    rig_upload(rig, 1, both, id);
    delete (rig, id);
    rig_start(rig);
    rig_wait_idle(rig);
    nothing_is_left(rig, id);
    assert_int_equal(rig_count(rig, TOPIC_PROCESSING_COMPLETED), 0);
    rig_free(rig);
}

static void test_g9_deleting_while_extract_is_at_work(void **state)
{
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX];
    fake_hold(&rig->fake);
    rig_start(rig);
    rig_upload(rig, 1, both, id);
    fake_wait_held(&rig->fake, 1);
    delete (rig, id);
    wait_for(rig_ledger(rig).deleted == 1); // removed while it is being looked at
    fake_release(&rig->fake);
    rig_wait_idle(rig);
    nothing_is_left(rig, id);
    rig_free(rig);
}

// Deletes the item at the moment when a chosen call of the back ends is made by a step.
static struct {
    struct rig *rig;
    const char *id;
    struct blob_ops blob;
    struct index_ops index;
    _Atomic bool armed;
} spy;

static void delete_now(void)
{
    if (!atomic_exchange(&spy.armed, false))
        return;
    char canonical[ID_MAX];
    if (item_delete(&spy.rig->flow, "default", spy.id, canonical, NULL) < 0)
        abort();
    while (rig_ledger(spy.rig).deleted == 0) // and all that was there is gone, before the call goes on
        clock_sleep_ms(1);
}

static int spy_open_read(void *state, const char *key, struct blob_reader **out, struct error *err)
{
    int rc = blob_fs.open_read(state, key, out, err);
    delete_now();
    return rc;
}

static int spy_put_commit(struct blob_put *put, const char *key, struct error *err)
{
    delete_now();
    return blob_fs.put_commit(put, key, err);
}

static int spy_upsert(void *state, const char *collection, const struct index_point *points, size_t count,
                      struct error *err)
{
    delete_now();
    return index_flat.upsert(state, collection, points, count, err);
}

static int spy_flush(void *state, const char *collection, struct error *err)
{
    int rc = index_flat.flush(state, collection, err);
    delete_now();
    return rc;
}

enum moment { READING, PUTTING_THUMBNAIL, UPSERTING, FLUSHED };

static void delete_at(enum moment moment)
{
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX];
    rig_upload(rig, 1, both, id);
    spy.rig = rig;
    spy.id = id;
    spy.blob = *rig->flow.blob.ops;
    spy.index = *rig->flow.index.ops;
    if (moment == READING)
        spy.blob.open_read = spy_open_read;
    if (moment == PUTTING_THUMBNAIL)
        spy.blob.put_commit = spy_put_commit;
    if (moment == UPSERTING)
        spy.index.upsert = spy_upsert;
    if (moment == FLUSHED)
        spy.index.flush = spy_flush;
    rig->flow.blob.ops = &spy.blob;
    rig->flow.index.ops = &spy.index;
    spy.armed = true;
    rig_start(rig);
    rig_wait_idle(rig);
    assert_false(spy.armed);
    nothing_is_left(rig, id);
    rig_free(rig);
}

static void test_g9_deleting_while_prepare_decodes(void **state)
{
    delete_at(READING);
}

static void test_g9_deleting_while_a_thumbnail_is_put(void **state)
{
    delete_at(PUTTING_THUMBNAIL);
}

static void test_g9_deleting_while_a_vector_is_upserted(void **state)
{
    delete_at(UPSERTING);
}

static void test_g9_deleting_before_a_vector_is_recorded(void **state)
{
    delete_at(FLUSHED);
}

static void test_g9_deletions_at_random_moments(void **state)
{
    enum { ITEMS = 40 };
    struct rig *rig = rig_new(NULL);
    char ids[ITEMS][ID_MAX];
    rig_start(rig);
    for (int i = 0; i < ITEMS; i++)
        rig_upload(rig, i, both, ids[i]);
    for (int i = 0; i < ITEMS; i++)
        delete (rig, ids[i]);
    rig_wait_idle(rig);
    assert_int_equal(rig_ledger(rig).deleted, ITEMS);
    assert_int_equal(rig_blobs(rig), 0);
    assert_int_equal(rig_vectors(rig, "tenant_default_fake_vectors"), 0);
    assert_int_equal(rig_vectors(rig, "tenant_default_second_vectors"), 0);
    rig_free(rig);
}

static void test_g9_deletions_go_on_after_failures(void **state)
{
    struct rig *rig = rig_new("blob.remove:IO_ERROR@1,index.remove:INJECTED_FAULT@1,meta.media_delete:UNAVAILABLE@1");
    char id[ID_MAX];
    rig_upload(rig, 1, both, id);
    rig_start(rig);
    rig_wait_idle(rig);
    delete (rig, id);
    rig_wait_idle(rig);
    nothing_is_left(rig, id);
    rig_free(rig);
}

// --- Events from elsewhere

static void maintenance(struct rig *rig, const char *id, const char *type, const char *actions)
{
    char text[512];
    snprintf(text, sizeof text,
             "{\"imageId\":\"%s\",\"tenantId\":\"default\",\"maintenanceType\":\"%s\",\"actions\":%s}", id, type,
             actions);
    rig_publish(rig, TOPIC_IMAGES_MAINTENANCE, id, text);
}

static void test_a_flat_event_deletes_as_well(void **state)
{
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX];
    rig_upload(rig, 1, NULL, id);
    rig_start(rig);
    rig_wait_idle(rig);
    maintenance(rig, id, "delete", "[\"delete_qdrant_vectors\"]");
    rig_wait_idle(rig);
    assert_int_equal(rig_vectors(rig, "tenant_default_fake_vectors"), 0);
    assert_true(rig_status_is(rig, id, MEDIA_COMPLETED)); // nobody asked for more
    maintenance(rig, id, "delete", "[]");
    maintenance(rig, id, "delete", "[]"); // once more harms nobody
    rig_wait_idle(rig);
    nothing_is_left(rig, id);
    rig_free(rig);
}

static void test_unknown_maintenance_is_told(void **state)
{
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX];
    rig_upload(rig, 1, NULL, id);
    rig_start(rig);
    maintenance(rig, id, "polish", "[]");
    maintenance(rig, id, "delete", "[\"delete_everything\"]");
    rig_wait_idle(rig);
    assert_int_equal(rig_count(rig, TOPIC_DEADLETTER), 2);
    assert_true(rig_status_is(rig, id, MEDIA_COMPLETED));
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_g9_deleting_removes_everything),
        cmocka_unit_test(test_g9_deleting_before_anything_ran),
        cmocka_unit_test(test_g9_deleting_while_extract_is_at_work),
        cmocka_unit_test(test_g9_deleting_while_prepare_decodes),
        cmocka_unit_test(test_g9_deleting_while_a_thumbnail_is_put),
        cmocka_unit_test(test_g9_deleting_while_a_vector_is_upserted),
        cmocka_unit_test(test_g9_deleting_before_a_vector_is_recorded),
        cmocka_unit_test(test_g9_deletions_at_random_moments),
        cmocka_unit_test(test_g9_deletions_go_on_after_failures),
        cmocka_unit_test(test_a_flat_event_deletes_as_well),
        cmocka_unit_test(test_unknown_maintenance_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
