// SPDX-License-Identifier: Apache-2.0
// Items of other systems: their files are found, copied and become items once, whatever way their events come.
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/blob/blob_folder.h"
#include "base/js.h"
#include "rig.h"

struct shop { // a rig, and folders of another system
    struct rig *rig;
    struct blob_mount mounts[2];
    char folder[600];
};

static void open_shop(struct shop *shop)
{
    static const char *const prefixes[] = {"minio://photos", "/storage"};
    char path[700];
    shop->rig = rig_new(NULL);
    snprintf(shop->folder, sizeof shop->folder, "%s/theirs", shop->rig->dir);
    mkdir(shop->folder, 0700);
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        snprintf(path, sizeof path, "%s/%zu", shop->folder, i);
        mkdir(path, 0700);
        shop->mounts[i] = (struct blob_mount){.prefix = prefixes[i], .blob.ops = &blob_folder};
        must(blob_folder.open(path, &shop->mounts[i].blob.state, err));
    }
    shop->rig->flow.mounts = shop->mounts;
    shop->rig->flow.mount_count = ARRAY_LEN(prefixes);
}

static void close_shop(struct shop *shop)
{
    for (size_t i = 0; i < ARRAY_LEN(shop->mounts); i++)
        blob_folder.close(shop->mounts[i].blob.state);
    rig_free(shop->rig);
}

static void put_bytes(const struct shop *shop, const char *name, const void *data, size_t len)
{
    char path[700];
    snprintf(path, sizeof path, "%s/%s", shop->folder, name);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(data, 1, len, out), len);
    fclose(out);
}

static void put_picture(const struct shop *shop, const char *name, int number)
{
    size_t len;
    _cleanup_free_ void *picture = rig_picture(number, &len);
    put_bytes(shop, name, picture, len);
}

static void tell(const struct shop *shop, const char *id, const char *path, const char *more)
{
    char text[1024];
    snprintf(text, sizeof text, "{\"imageId\":\"%s\",\"tenantId\":\"default\",\"storagePath\":\"%s\"%s}", id, path,
             more);
    rig_publish(shop->rig, TOPIC_IMAGES_UPLOADED, id, text);
}

static void assert_dead(struct rig *rig, const char *code)
{
    _cleanup_arena_ struct arena arena = {0};
    size_t count;
    const struct elog_record *letters = rig_records(rig, &arena, TOPIC_DEADLETTER, &count);
    assert_int_equal(count, 1);
    assert_string_equal(rig_header(letters, "__dlq.errors.code"), code);
    assert_string_equal(rig_header(letters, "__dlq.errors.stage"), "prepare");
}

static void test_a_file_of_theirs_becomes_an_item(void **state)
{
    struct shop shop = {0};
    _cleanup_arena_ struct arena arena = {0};
    open_shop(&shop);
    put_picture(&shop, "0/a b.webp", 1);
    rig_start(shop.rig);
    tell(&shop, "img_123456", "minio://photos/a b.webp",
         ",\"fileName\":\"a b.webp\",\"uploadedAt\":\"2026-01-14T10:30:00Z\",\"uploadedBy\":\"somebody\","
         "\"metadata\":{\"width\":1,\"brand\":\"x\",\"tags\":[\"red\",\"old\"]},\"processingOptions\":{\"priority\":"
         "\"low\"}");
    rig_wait_idle(shop.rig);
    struct media media = rig_media(shop.rig, &arena, "img_123456");
    assert_int_equal(media.status, MEDIA_COMPLETED);
    assert_int_equal(media.width, 32);
    assert_int_equal(media.uploaded_ms, 1768386600000);
    assert_int_equal(media.priority, PRIORITY_LOW);
    assert_string_equal(media.file_name, "a b.webp");
    assert_string_equal(media.uploaded_by, "somebody");
    assert_string_equal(media.metadata, "{\"brand\":\"x\"}");
    assert_string_equal(media.tags, "[\"red\",\"old\"]");
    assert_string_equal(media.blob_key, "tenant-default/images/2026/01/14/img_123456.webp");
    assert_int_equal(rig_vectors(shop.rig, "tenant_default_fake_vectors"), 1);
    assert_int_equal(rig_blobs(shop.rig), 2); // a copy, and the thumbnail
    struct meta_ledger ledger;
    must(admin_ledger(&shop.rig->flow, "default", &ledger, err));
    assert_int_equal(ledger.accepted, 1);
    assert_int_equal(ledger.searchable, 1);
    close_shop(&shop);
}

// The path leads nowhere that is known here; the storageProvider beside it does.
static void test_the_store_may_say_where(void **state)
{
    struct shop shop = {0};
    open_shop(&shop);
    put_picture(&shop, "0/b.webp", 2);
    rig_start(shop.rig);
    tell(&shop, "img_2", "https://cdn/b.webp",
         ",\"storageProvider\":{\"type\":\"minio\",\"containerName\":\"photos\",\"blobName\":\"b.webp\"}");
    rig_wait_idle(shop.rig);
    assert_true(rig_status_is(shop.rig, "img_2", MEDIA_COMPLETED));
    close_shop(&shop);
}

static void test_g3_the_same_twice_is_one_item(void **state)
{
    struct shop shop = {0};
    open_shop(&shop);
    put_picture(&shop, "0/a.webp", 1);
    for (int i = 0; i < 3; i++)
        tell(&shop, "img_1", "minio://photos/a.webp", "");
    tell(&shop, "img_other", "minio://photos/a.webp", ""); // their ids are given away: no duplicate of img_1
    rig_start(shop.rig);
    rig_wait_idle(shop.rig);
    assert_true(rig_status_is(shop.rig, "img_1", MEDIA_COMPLETED));
    assert_true(rig_status_is(shop.rig, "img_other", MEDIA_COMPLETED));
    assert_int_equal(rig_vectors(shop.rig, "tenant_default_fake_vectors"), 2);
    assert_int_equal(rig_blobs(shop.rig), 4);
    assert_int_equal(rig_count(shop.rig, TOPIC_DEADLETTER), 0);
    close_shop(&shop);
}

static void test_g9_what_was_deleted_is_not_made_again(void **state)
{
    struct shop shop = {0};
    char id[ID_MAX];
    open_shop(&shop);
    put_picture(&shop, "0/a.webp", 1);
    rig_start(shop.rig);
    tell(&shop, "img_1", "minio://photos/a.webp", "");
    rig_wait_idle(shop.rig);
    must(item_delete(&shop.rig->flow, "default", "img_1", id, err));
    rig_wait_idle(shop.rig);
    assert_int_equal(rig_blobs(shop.rig), 0);
    tell(&shop, "img_1", "minio://photos/a.webp", "");
    // Nor what is asked to be deleted before its upload was heard of.
    rig_publish(shop.rig, TOPIC_IMAGES_MAINTENANCE, "img_2",
                "{\"maintenanceType\":\"delete\",\"imageId\":\"img_2\",\"tenantId\":\"default\"}");
    rig_wait_idle(shop.rig);
    tell(&shop, "img_2", "minio://photos/a.webp", "");
    rig_wait_idle(shop.rig);
    assert_int_equal(rig_blobs(shop.rig), 0);
    assert_int_equal(rig_vectors(shop.rig, "tenant_default_fake_vectors"), 0);
    assert_int_equal(rig_count(shop.rig, TOPIC_DEADLETTER), 0);
    assert_int_equal(rig_open_inbox(shop.rig), 0);
    struct meta_ledger ledger;
    must(admin_ledger(&shop.rig->flow, "default", &ledger, err));
    assert_int_equal(ledger.accepted, 1);
    assert_int_equal(ledger.deleted, 1);
    close_shop(&shop);
}

static void test_a_file_that_comes_late_is_waited_for(void **state)
{
    struct shop shop = {0};
    open_shop(&shop);
    shop.rig->flow.settings.retry_attempts = 1000;
    rig_start(shop.rig);
    tell(&shop, "img_1", "minio://photos/late.webp", "");
    wait_for(rig_count(shop.rig, TOPIC_PROCESSING_FAILED) > 1);
    put_picture(&shop, "0/late.webp", 1);
    wait_for(rig_vectors(shop.rig, "tenant_default_fake_vectors") == 1);
    rig_wait_idle(shop.rig);
    assert_true(rig_status_is(shop.rig, "img_1", MEDIA_COMPLETED));
    close_shop(&shop);
}

static void test_g6_a_folder_that_is_away_is_an_outage(void **state)
{
    struct shop shop = {0};
    char folder[700], aside[700];
    open_shop(&shop);
    put_picture(&shop, "0/a.webp", 1);
    snprintf(folder, sizeof folder, "%s/0", shop.folder);
    snprintf(aside, sizeof aside, "%s/aside", shop.folder);
    assert_int_equal(rename(folder, aside), 0);
    rig_start(shop.rig);
    tell(&shop, "img_1", "minio://photos/a.webp", "");
    wait_for(rig_paused(shop.rig, STEP_PREPARE));
    assert_int_equal(rename(aside, folder), 0);
    wait_for(rig_vectors(shop.rig, "tenant_default_fake_vectors") == 1);
    rig_wait_idle(shop.rig);
    assert_int_equal(rig_count(shop.rig, TOPIC_PROCESSING_FAILED), 0);
    close_shop(&shop);
}

static void refuse(const char *path, const char *more, const char *code)
{
    struct shop shop = {0};
    open_shop(&shop);
    put_picture(&shop, "0/a.webp", 1);
    put_bytes(&shop, "0/text", "no picture", 10);
    put_bytes(&shop, "0/empty", "", 0);
    put_picture(&shop, "secret.webp", 3);
    char link[700];
    snprintf(link, sizeof link, "%s/0/link", shop.folder);
    assert_int_equal(symlink("../secret.webp", link), 0);
    snprintf(link, sizeof link, "%s/0/up", shop.folder);
    assert_int_equal(symlink("..", link), 0);
    rig_start(shop.rig);
    tell(&shop, "img_1", path, more);
    rig_wait_idle(shop.rig);
    assert_dead(shop.rig, code);
    assert_int_equal(rig_blobs(shop.rig), 0);
    struct meta_ledger ledger;
    must(admin_ledger(&shop.rig->flow, "default", &ledger, err));
    assert_int_equal(ledger.accepted, 0);
    close_shop(&shop);
}

static void test_g7_nothing_outside_is_reached(void **state)
{
    refuse("minio://photos/../secret.webp", "", "INVALID_REQUEST");
    refuse("minio://photos/./a.webp", "", "INVALID_REQUEST");
    refuse("minio://photos//a.webp", "", "INVALID_REQUEST");
    refuse("minio://photos/", "", "INVALID_REQUEST");
    refuse("minio://photos/link", "", "NOT_FOUND");
    refuse("minio://photos/up/secret.webp", "", "NOT_FOUND");
    refuse("minio://photosx/a.webp", "", "NOT_FOUND");
    refuse("s3://photos/a.webp", "", "NOT_FOUND");
    refuse("/storage/tenant-other/a.webp", "", "NOT_FOUND");
    refuse("/etc/passwd", "", "NOT_FOUND");
}

static void test_what_no_upload_may_be_is_refused(void **state)
{
    refuse("minio://photos/none.webp", "", "NOT_FOUND");
    refuse("minio://photos/text", "", "UNSUPPORTED_MEDIA");
    refuse("minio://photos/empty", "", "EMPTY_FILE");
    refuse("minio://photos/a.webp", ",\"processingOptions\":{\"models\":[\"resnet50\"]}", "MODEL_UNKNOWN");
    refuse("minio://photos/a.webp", ",\"metadata\":{\"tags\":[7]}", "INVALID_REQUEST");
}

// A file of the tenant's in our own store, and one of another's.
static void test_our_own_store_is_looked_through_too(void **state)
{
    struct shop shop = {0};
    _cleanup_arena_ struct arena arena = {0};
    char id[ID_MAX], path[ID_MAX + 256];
    open_shop(&shop);
    shop.rig->flow.mount_count = 1; // without "/storage"
    must(admin_tenant_add(&shop.rig->flow, "other", err));
    rig_start(shop.rig);
    rig_upload(shop.rig, 5, NULL, id);
    rig_wait_idle(shop.rig);
    snprintf(path, sizeof path, "/storage/%s", rig_media(shop.rig, &arena, id).blob_key);
    tell(&shop, "img_mine", path, "");
    rig_wait_idle(shop.rig);
    assert_true(rig_status_is(shop.rig, "img_mine", MEDIA_COMPLETED));
    char text[512];
    snprintf(text, sizeof text, "{\"imageId\":\"img_theirs\",\"tenantId\":\"other\",\"storagePath\":\"%s\"}", path);
    rig_publish(shop.rig, TOPIC_IMAGES_UPLOADED, "img_theirs", text);
    rig_wait_idle(shop.rig);
    assert_dead(shop.rig, "NOT_FOUND");
    close_shop(&shop);
}

static void test_unknown_tenants_end_on_every_topic(void **state)
{
    static const struct {
        enum event_topic topic;
        const char *text;
    } events[] = {
        {TOPIC_IMAGES_UPLOADED, "\"storagePath\":\"minio://photos/a.webp\""},
        {TOPIC_FEATURES_EXTRACTION, "\"preprocessedPath\":\"x\",\"extractionParams\":{\"model\":\"fake\"}"},
        {TOPIC_VECTORS_INDEXING, "\"vectors\":[1,0,0,0,0,0,0,0],\"model\":\"fake\""},
        {TOPIC_PROCESSING_COMPLETED, "\"status\":\"completed\""},
        {TOPIC_IMAGES_MAINTENANCE, "\"maintenanceType\":\"delete\""},
    };
    struct shop shop = {0};
    _cleanup_arena_ struct arena arena = {0};
    size_t count;
    char text[512];
    open_shop(&shop);
    put_picture(&shop, "0/a.webp", 1);
    rig_start(shop.rig);
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        snprintf(text, sizeof text, "{\"imageId\":\"img_%zu\",\"tenantId\":\"nobody\",%s}", i, events[i].text);
        rig_publish(shop.rig, events[i].topic, "k", text);
    }
    rig_wait_idle(shop.rig);
    const struct elog_record *letters = rig_records(shop.rig, &arena, TOPIC_DEADLETTER, &count);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(rig_header(&letters[i], "__dlq.errors.code"), "TENANT_UNKNOWN");
    assert_true(count >= ARRAY_LEN(events));
    close_shop(&shop);
}

static void test_a_tenant_is_made_where_uploads_make_them(void **state)
{
    struct shop shop = {0};
    open_shop(&shop);
    shop.rig->flow.settings.tenants_auto_create = true;
    put_picture(&shop, "0/a.webp", 1);
    rig_start(shop.rig);
    rig_publish(shop.rig, TOPIC_IMAGES_UPLOADED, "img_1",
                "{\"imageId\":\"img_1\",\"tenantId\":\"newcomer\",\"storagePath\":\"minio://photos/a.webp\"}");
    rig_wait_idle(shop.rig);
    assert_int_equal(rig_vectors(shop.rig, "tenant_newcomer_fake_vectors"), 1);
    close_shop(&shop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_of_theirs_becomes_an_item),
        cmocka_unit_test(test_the_store_may_say_where),
        cmocka_unit_test(test_g3_the_same_twice_is_one_item),
        cmocka_unit_test(test_g9_what_was_deleted_is_not_made_again),
        cmocka_unit_test(test_a_file_that_comes_late_is_waited_for),
        cmocka_unit_test(test_g6_a_folder_that_is_away_is_an_outage),
        cmocka_unit_test(test_g7_nothing_outside_is_reached),
        cmocka_unit_test(test_what_no_upload_may_be_is_refused),
        cmocka_unit_test(test_our_own_store_is_looked_through_too),
        cmocka_unit_test(test_unknown_tenants_end_on_every_topic),
        cmocka_unit_test(test_a_tenant_is_made_where_uploads_make_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
