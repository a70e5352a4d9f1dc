// SPDX-License-Identifier: Apache-2.0
// The reader: every example of the documents, the names and forms that they use side by side, and what is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/js.h"
#include "events/event.h"
#include "examples.h"

static const char fallback[] = "evt_00000000-0000-8000-8000-000000000001";

struct decoded {
    struct arena arena;
    struct event ev;
    json_t *root;
    struct error err;
};

static void decoded_free(struct decoded *d)
{
    json_decref(d->root);
    arena_free(&d->arena);
}
#define _cleanup_decoded_ _cleanup_(decoded_free)

static int read_bytes(struct decoded *d, enum event_topic topic, const void *data, size_t len)
{
    return event_decode(topic, data, len, fallback, &d->arena, &d->ev, &d->root, &d->err);
}

static void read_ok(struct decoded *d, enum event_topic topic, const char *json)
{
    if (read_bytes(d, topic, json, strlen(json)) < 0)
        fail_msg("%s: %s", d->err.message, json);
}

// Refused with this text in the message; nothing is touched.
static void read_bad(enum event_topic topic, const char *json, const char *says)
{
    _cleanup_decoded_ struct decoded d = {.ev = {.tenant = "untouched"}};
    assert_int_equal(read_bytes(&d, topic, json, strlen(json)), -1);
    assert_int_equal(d.err.code, ERR_EVENT_INVALID);
    if (!strstr(d.err.message, says))
        fail_msg("\"%s\" does not say \"%s\"", d.err.message, says);
    assert_null(d.root);
    assert_string_equal(d.ev.tenant, "untouched");
}

static int64_t at(const char *time)
{
    int64_t ms;
    assert_int_equal(clock_parse(time, &ms), 0);
    return ms;
}

static const char *example(enum event_topic topic, bool flat)
{
    for (size_t i = 0; i < ARRAY_LEN(examples); i++)
        if (examples[i].topic == topic && examples[i].flat == flat)
            return examples[i].json;
    fail();
    return NULL;
}

// ---- the documents' examples ----

static void uploaded_envelope(void **state)
{
    _cleanup_decoded_ struct decoded d = {0};
    read_ok(&d, TOPIC_IMAGES_UPLOADED, example(TOPIC_IMAGES_UPLOADED, false));
    const struct event_image_uploaded *up = &d.ev.image_uploaded;
    assert_string_equal(d.ev.id, "evt_12345678-1234-1234-1234-123456789abc");
    assert_string_equal(d.ev.tenant, "acme-corp");
    assert_null(d.ev.correlation);
    assert_string_equal(d.ev.media_id, "img_98765432-4321-4321-4321-210987654321");
    assert_int_equal(d.ev.timestamp_ms, at("2025-11-28T10:30:00Z"));
    assert_int_equal(d.ev.attempt, 1);
    assert_int_equal(d.ev.max_attempts, 0);
    assert_string_equal(up->file_name, "product-image-001.jpg");
    assert_string_equal(up->path, "/storage/tenant-acme-corp/images/2025/11/28/img_98765432.jpg");
    assert_int_equal(up->size, 2048576);
    assert_string_equal(up->content_type, "image/jpeg");
    assert_string_equal(up->uploaded_by, "user_john_doe");
    assert_int_equal(up->uploaded_ms, d.ev.timestamp_ms);
    assert_string_equal(up->format, "JPEG");
    assert_int_equal(up->width, 1920);
    assert_int_equal(up->height, 1080);
    assert_string_equal(up->original_name, "product-shot.jpg");
    assert_int_equal(json_object_size(up->metadata), 1);
    assert_string_equal(js_str(up->metadata, "colorProfile", ""), "sRGB");
    assert_string_equal(js_str(up->options, "priority", ""), "normal");
    assert_int_equal(json_array_size(js_arr(up->options, "models")), 1);
}

static void uploaded_flat(void **state)
{
    _cleanup_decoded_ struct decoded d = {0};
    read_ok(&d, TOPIC_IMAGES_UPLOADED, example(TOPIC_IMAGES_UPLOADED, true));
    const struct event_image_uploaded *up = &d.ev.image_uploaded;
    assert_string_equal(d.ev.id, fallback);
    assert_string_equal(d.ev.media_id, "img_123456");
    assert_string_equal(up->path, "minio://tenant-abc/images/photo.jpg");
    assert_string_equal(up->content_type, "image/jpeg");
    assert_int_equal(up->size, 2048576);
    assert_int_equal(up->uploaded_ms, at("2026-01-14T10:30:00Z"));
    assert_int_equal(d.ev.timestamp_ms, up->uploaded_ms);
    assert_int_equal(up->width, 1920);
    assert_null(up->metadata);
    assert_null(up->options);
    assert_null(up->uploaded_by);
}

static void video_flat(void **state)
{
    _cleanup_decoded_ struct decoded d = {0};
    read_ok(&d, TOPIC_VIDEOS_UPLOADED, example(TOPIC_VIDEOS_UPLOADED, true));
    assert_string_equal(d.ev.media_id, "vid_789012");
    assert_true(d.ev.image_uploaded.duration == 120.5);
    assert_int_equal(js_int(d.ev.image_uploaded.metadata, "fps", 0), 30);
    assert_string_equal(js_str(d.ev.image_uploaded.metadata, "codec", ""), "h264");
}

static void extraction_both(void **state)
{
    _cleanup_decoded_ struct decoded d = {0}, f = {0};
    read_ok(&d, TOPIC_FEATURES_EXTRACTION, example(TOPIC_FEATURES_EXTRACTION, false));
    assert_string_equal(d.ev.correlation, "evt_12345678-1234-1234-1234-123456789abc");
    assert_string_equal(d.ev.extraction.path, "/storage/tenant-acme-corp/images/2025/11/28/img_98765432.jpg");
    assert_string_equal(d.ev.extraction.model, "resnet50");
    assert_string_equal(d.ev.extraction.version, "v2.7");
    assert_int_equal(d.ev.extraction.dimension, 2048);
    assert_true(d.ev.extraction.normalize);
    assert_int_equal(d.ev.extraction.timeout_s, 30);
    assert_int_equal(d.ev.max_attempts, 3);
    assert_int_equal(d.ev.backoff_ms, 1000);
    assert_int_equal(d.ev.attempt, 1);
    read_ok(&f, TOPIC_FEATURES_EXTRACTION, example(TOPIC_FEATURES_EXTRACTION, true));
    assert_string_equal(f.ev.extraction.path, "minio://tenant-abc/processed/img_123456.jpg");
    assert_string_equal(f.ev.extraction.model, "clip-vit-base");
    assert_int_equal(f.ev.extraction.dimension, 512);
    assert_null(f.ev.extraction.version);
    assert_null(f.ev.extraction.priority);
    assert_int_equal(f.ev.timestamp_ms, at("2026-01-14T10:30:05Z"));
}

static void indexing_both(void **state)
{
    _cleanup_decoded_ struct decoded d = {0}, f = {0};
    read_ok(&d, TOPIC_VECTORS_INDEXING, example(TOPIC_VECTORS_INDEXING, false));
    const struct event_indexing *ix = &d.ev.indexing;
    assert_string_equal(ix->model, "resnet50");
    assert_string_equal(ix->version, "v2.7");
    assert_int_equal(ix->dimension, 3);
    assert_true(ix->vector[0] == 0.123f && ix->vector[1] == -0.456f && ix->vector[2] == 0.789f);
    assert_int_equal(ix->extracted_ms, at("2025-11-28T10:30:03Z"));
    assert_true(ix->processing_ms == 2150);
    assert_int_equal(js_int(ix->metadata, "width", 0), 1920);
    assert_int_equal(js_int(ix->metadata, "sizeBytes", 0), 2048576);
    read_ok(&f, TOPIC_VECTORS_INDEXING, example(TOPIC_VECTORS_INDEXING, true));
    assert_int_equal(f.ev.indexing.dimension, 3);
    assert_true(f.ev.indexing.vector[1] == -0.456f);
    assert_null(f.ev.indexing.model);
    assert_int_equal(f.ev.indexing.extracted_ms, at("2026-01-14T10:30:10Z"));
    assert_string_equal(js_str(f.ev.indexing.metadata, "fileName", ""), "photo.jpg");
    assert_int_equal(json_array_size(js_arr(f.ev.indexing.metadata, "tags")), 2);
}

static void completed_both(void **state)
{
    _cleanup_decoded_ struct decoded d = {0}, f = {0};
    read_ok(&d, TOPIC_PROCESSING_COMPLETED, example(TOPIC_PROCESSING_COMPLETED, false));
    const struct event_completed *done = &d.ev.completed;
    assert_string_equal(done->status, "success");
    assert_int_equal(done->step_count, 2);
    assert_string_equal(done->steps[0].step, "feature_extraction");
    assert_string_equal(done->steps[0].model, "resnet50");
    assert_int_equal(done->steps[0].duration_ms, 2150);
    assert_null(done->steps[0].collection);
    assert_string_equal(done->steps[1].collection, "tenant_acmecorp_resnet50_vectors");
    assert_int_equal(done->total_ms, 2600);
    assert_int_equal(done->searchable_ms, at("2025-11-28T10:30:05Z"));
    read_ok(&f, TOPIC_PROCESSING_COMPLETED, example(TOPIC_PROCESSING_COMPLETED, true));
    done = &f.ev.completed;
    assert_string_equal(done->status, "success");
    assert_int_equal(done->total_ms, 15200);
    assert_int_equal(done->step_count, 3);
    assert_string_equal(done->steps[1].step, "feature_extraction");
    assert_int_equal(done->steps[1].duration_ms, 10500);
    assert_int_equal(done->searchable_ms, at("2026-01-14T10:30:15Z"));
}

static void failed_flat(void **state)
{
    _cleanup_decoded_ struct decoded d = {0};
    read_ok(&d, TOPIC_PROCESSING_FAILED, example(TOPIC_PROCESSING_FAILED, true));
    assert_string_equal(d.ev.failed.code, "EXTRACTION_TIMEOUT");
    assert_string_equal(d.ev.failed.message, "Feature extraction timed out after 60 seconds");
    assert_true(d.ev.failed.retryable);
    assert_false(d.ev.failed.final);
    assert_int_equal(d.ev.failed.attempt, 2);
    assert_int_equal(d.ev.failed.failed_ms, at("2026-01-14T10:31:00Z"));
    assert_null(d.ev.failed.step);
}

static void maintenance_flat(void **state)
{
    _cleanup_decoded_ struct decoded d = {0};
    read_ok(&d, TOPIC_IMAGES_MAINTENANCE, example(TOPIC_IMAGES_MAINTENANCE, true));
    assert_string_equal(d.ev.maintenance.type, "delete");
    assert_int_equal(d.ev.maintenance.action_count, 3);
    assert_string_equal(d.ev.maintenance.actions[1], "delete_qdrant_vectors");
    assert_int_equal(d.ev.maintenance.requested_ms, at("2026-01-14T11:00:00Z"));
}

static void message_flat(void **state)
{
    _cleanup_decoded_ struct decoded d = {0};
    read_ok(&d, TOPIC_MESSAGES, example(TOPIC_MESSAGES, true));
    assert_string_equal(d.ev.media_id, "1234567890@s.whatsapp.net");
    assert_string_equal(d.ev.tenant, "default");
    assert_string_equal(d.ev.message.id, "msg_abc123");
    assert_string_equal(d.ev.message.content, "Hello, world!");
    assert_int_equal(d.ev.timestamp_ms, 1705234567000);
    assert_string_equal(js_str(d.ev.message.metadata, "senderName", ""), "John Doe");
}

// ---- tolerance ----

static void ids_with_and_without_prefix(void **state)
{
    _cleanup_decoded_ struct decoded d = {0}, f = {0}, v = {0};
    read_ok(&d, TOPIC_FEATURES_EXTRACTION,
            "{\"eventId\":\"12345678-1234-1234-1234-123456789ABC\",\"eventType\":\"x\",\"correlationId\":null,"
            "\"data\":{\"imageId\":\"98765432-4321-4321-4321-210987654321\",\"imagePath\":\"/p\"}}");
    assert_string_equal(d.ev.id, "evt_12345678-1234-1234-1234-123456789abc");
    assert_string_equal(d.ev.media_id, "img_98765432-4321-4321-4321-210987654321");
    assert_null(d.ev.correlation);
    read_ok(&f, TOPIC_PROCESSING_COMPLETED, "{\"imageId\":\"frm_98765432-4321-4321-4321-210987654321\"}");
    assert_string_equal(f.ev.media_id, "frm_98765432-4321-4321-4321-210987654321");
    read_ok(&v, TOPIC_PROCESSING_COMPLETED, "{\"videoId\":\"98765432-4321-4321-4321-210987654321\"}");
    assert_string_equal(v.ev.media_id, "vid_98765432-4321-4321-4321-210987654321");
}

static void foreign_event_ids_are_stable(void **state)
{
    static const char json[] = "{\"eventId\":\"order:17/a\",\"imageId\":\"img_1\"}";
    _cleanup_decoded_ struct decoded a = {0}, b = {0};
    read_ok(&a, TOPIC_PROCESSING_COMPLETED, json);
    read_ok(&b, TOPIC_PROCESSING_COMPLETED, json);
    assert_string_equal(a.ev.id, b.ev.id);
    assert_string_not_equal(a.ev.id, fallback);
    assert_int_equal(strncmp(a.ev.id, "evt_", 4), 0);
}

static void names_of_either_document(void **state)
{
    _cleanup_decoded_ struct decoded d = {0}, f = {0};
    read_ok(&d, TOPIC_IMAGES_UPLOADED,
            "{\"imageId\":\"img_1\",\"filePath\":\"/a/b.png\",\"fileSize\":7,\"contentType\":\"image/png\"}");
    assert_string_equal(d.ev.image_uploaded.path, "/a/b.png");
    assert_string_equal(d.ev.image_uploaded.file_name, "b.png");
    assert_int_equal(d.ev.image_uploaded.size, 7);
    assert_string_equal(d.ev.tenant, "default");
    read_ok(&f, TOPIC_VECTORS_INDEXING,
            "{\"eventType\":\"vector.indexing.requested\",\"data\":{\"imageId\":\"img_1\",\"vectors\":[1,2e0]}}");
    assert_true(f.ev.indexing.vector[0] == 1 && f.ev.indexing.vector[1] == 2);
}

static void times(void **state)
{
    static const struct {
        const char *json;
        int64_t ms;
    } cases[] = {
        {"1705234567", 1705234567000},
        {"1705234567.25", 1705234567250},
        {"1705234567250", 1705234567250},
        {"\"2024-01-14T12:16:07.25+00:00\"", 1705234567250},
        {"\"2024-01-14T12:16:07.2512345Z\"", 1705234567251},
        {"\"0001-01-01T00:00:00\"", 0},
        {"null", 0},
        {"-5", 0},
        {"1e300", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char json[200];
        _cleanup_decoded_ struct decoded d = {0};
        snprintf(json, sizeof json, "{\"imageId\":\"img_1\",\"timestamp\":%s}", cases[i].json);
        read_ok(&d, TOPIC_PROCESSING_COMPLETED, json);
        assert_int_equal(d.ev.timestamp_ms, cases[i].ms);
    }
    read_bad(TOPIC_PROCESSING_COMPLETED, "{\"imageId\":\"img_1\",\"timestamp\":\"yesterday\"}", "timestamp");
    read_bad(TOPIC_PROCESSING_COMPLETED, "{\"imageId\":\"img_1\",\"timestamp\":{}}", "timestamp");
}

static void errors_in_either_form(void **state)
{
    _cleanup_decoded_ struct decoded a = {0}, b = {0};
    read_ok(&a, TOPIC_PROCESSING_FAILED,
            "{\"imageId\":\"img_1\",\"errorCode\":\"IMAGE_CORRUPT\",\"errorMessage\":\"No.\",\"retryable\":false}");
    assert_string_equal(a.ev.failed.code, "IMAGE_CORRUPT");
    assert_string_equal(a.ev.failed.message, "No.");
    assert_true(a.ev.failed.final);
    read_ok(&b, TOPIC_PROCESSING_FAILED, "{\"imageId\":\"img_1\",\"error\":\"Out of luck\"}");
    assert_string_equal(b.ev.failed.code, "INTERNAL");
    assert_string_equal(b.ev.failed.message, "Out of luck");
}

static void filter_payload_is_whole(void **state)
{
    _cleanup_decoded_ struct decoded d = {0};
    read_ok(&d, TOPIC_VECTORS_INDEXING,
            "{\"eventType\":\"vector.indexing.requested\",\"data\":{\"imageId\":\"img_1\",\"featureVector\":[1],"
            "\"imageMetadata\":{\"width\":5,\"fileSize\":9},\"metadata\":{\"width\":\"wide\",\"deep\":{\"a\":[1]}}}}");
    assert_string_equal(js_str(d.ev.indexing.metadata, "width", ""), "wide");
    assert_int_equal(js_int(d.ev.indexing.metadata, "sizeBytes", 0), 9);
    assert_non_null(js_obj(d.ev.indexing.metadata, "deep"));
}

static void integers_beyond_64_bits_are_no_trouble(void **state)
{
    _cleanup_decoded_ struct decoded d = {0};
    read_ok(&d, TOPIC_IMAGES_UPLOADED,
            "{\"imageId\":\"img_1\",\"filePath\":\"/p\",\"sequence\":18446744073709551615,\"fileSize\":7,"
            "\"metadata\":{\"width\":5}}");
    assert_int_equal(d.ev.image_uploaded.size, 7);
    assert_int_equal(d.ev.image_uploaded.width, 5);
}

static void a_store_container_and_name_are_a_path(void **state)
{
    static const struct {
        const char *provider, *path;
    } given[] = {
        {"{\"type\":\"minio\",\"containerName\":\"acme\",\"blobName\":\"2025/a.jpg\"}", "minio://acme/2025/a.jpg"},
        {"{\"type\":\"filesystem\",\"blobName\":\"/storage/a.jpg\"}", "/storage/a.jpg"},
    };
    for (size_t i = 0; i < ARRAY_LEN(given); i++) {
        _cleanup_decoded_ struct decoded d = {0};
        char text[256];
        snprintf(text, sizeof text, "{\"imageId\":\"img_1\",\"storageProvider\":%s}", given[i].provider);
        read_ok(&d, TOPIC_IMAGES_UPLOADED, text);
        assert_string_equal(d.ev.image_uploaded.path, given[i].path);
    }
    read_bad(TOPIC_IMAGES_UPLOADED, "{\"imageId\":\"img_1\",\"storageProvider\":{\"type\":\"minio\"}}",
             "filePath is missing");
    read_bad(TOPIC_IMAGES_UPLOADED, "{\"imageId\":\"img_1\",\"storageProvider\":7}",
             "storageProvider must be an object");
}

// ---- refusals ----

static void what_is_missing_is_named(void **state)
{
    read_bad(TOPIC_IMAGES_UPLOADED, "{\"filePath\":\"/p\"}", "imageId is missing");
    read_bad(TOPIC_IMAGES_UPLOADED, "{\"imageId\":null,\"filePath\":\"/p\"}", "imageId is missing");
    read_bad(TOPIC_IMAGES_UPLOADED, "{\"imageId\":\"img_1\"}", "filePath is missing");
    read_bad(TOPIC_IMAGES_UPLOADED, "{\"imageId\":\"img_1\",\"filePath\":\"\"}", "filePath is missing");
    read_bad(TOPIC_VIDEOS_UPLOADED, "{\"filePath\":\"/p\"}", "videoId is missing");
    read_bad(TOPIC_FEATURES_EXTRACTION, "{\"imageId\":\"img_1\"}", "is missing");
    read_bad(TOPIC_VECTORS_INDEXING, "{\"imageId\":\"img_1\"}", "featureVector is missing");
    read_bad(TOPIC_IMAGES_MAINTENANCE, "{\"imageId\":\"img_1\"}", "maintenanceType is missing");
    read_bad(TOPIC_MESSAGES, "{\"messageId\":\"m\"}", "chatJid is missing");
    read_bad(TOPIC_MESSAGES, "{\"chatJid\":\"c\"}", "messageId is missing");
}

static void wrong_types_are_named(void **state)
{
    static const struct {
        enum event_topic topic;
        const char *members, *name;
    } cases[] = {
        {TOPIC_IMAGES_UPLOADED, "\"filePath\":5", "filePath"},
        {TOPIC_IMAGES_UPLOADED, "\"filePath\":\"/p\",\"fileSize\":\"big\"", "fileSize"},
        {TOPIC_IMAGES_UPLOADED, "\"filePath\":\"/p\",\"fileSize\":-1", "fileSize"},
        {TOPIC_IMAGES_UPLOADED, "\"filePath\":\"/p\",\"sizeBytes\":1e300", "sizeBytes"},
        {TOPIC_IMAGES_UPLOADED, "\"filePath\":\"/p\",\"metadata\":[]", "metadata"},
        {TOPIC_IMAGES_UPLOADED, "\"filePath\":\"/p\",\"processingOptions\":\"fast\"", "processingOptions"},
        {TOPIC_IMAGES_UPLOADED, "\"filePath\":\"/p\",\"mimeType\":{}", "mimeType"},
        {TOPIC_FEATURES_EXTRACTION, "\"imagePath\":\"/p\",\"modelName\":1", "modelName"},
        {TOPIC_FEATURES_EXTRACTION, "\"imagePath\":\"/p\",\"expectedDimension\":\"512\"", "expectedDimension"},
        {TOPIC_FEATURES_EXTRACTION, "\"imagePath\":\"/p\",\"extractionParams\":{\"normalize\":1}", "normalize"},
        {TOPIC_FEATURES_EXTRACTION, "\"imagePath\":\"/p\",\"retryPolicy\":{\"maxAttempts\":1000001}", "maxAttempts"},
        {TOPIC_FEATURES_EXTRACTION, "\"imagePath\":\"/p\",\"retryPolicy\":3", "retryPolicy"},
        {TOPIC_PROCESSING_COMPLETED, "\"processingSteps\":{}", "processingSteps"},
        {TOPIC_PROCESSING_COMPLETED, "\"processingSteps\":[7]", "processingSteps"},
        {TOPIC_PROCESSING_COMPLETED, "\"processingSteps\":[{\"duration\":3}]", "step"},
        {TOPIC_PROCESSING_COMPLETED, "\"processingTime\":\"15\"", "processingTime"},
        {TOPIC_PROCESSING_FAILED, "\"error\":[]", "error"},
        {TOPIC_PROCESSING_FAILED, "\"error\":{\"retryable\":\"yes\"}", "retryable"},
        {TOPIC_IMAGES_MAINTENANCE, "\"maintenanceType\":\"delete\",\"actions\":[1]", "actions"},
        {TOPIC_PROCESSING_COMPLETED, "\"eventId\":12", "eventId"},
        {TOPIC_PROCESSING_COMPLETED, "\"tenantId\":12", "tenantId"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char json[300];
        snprintf(json, sizeof json, "{\"imageId\":\"img_1\",%s}", cases[i].members);
        read_bad(cases[i].topic, json, cases[i].name);
    }
}

static void bad_vectors(void **state)
{
    static const struct {
        const char *vector, *says;
    } cases[] = {
        {"[]", "featureVector"},
        {"{}", "featureVector"},
        {"\"1,2\"", "featureVector"},
        {"[1,\"2\"]", "numbers only"},
        {"[1,null]", "numbers only"},
        {"[1,[2]]", "numbers only"},
        {"[1e39]", "out of range"},
        {"[-3.5e38]", "out of range"},
        {"[1e999]", "overflow"},
        {"[NaN]", "JSON"},
        {"[Infinity]", "JSON"},
        {"[01]", "JSON"},
        {"[1.]", "JSON"},
        {"[.5]", "JSON"},
        {"[+1]", "JSON"},
        {"[1,]", "JSON"},
        {"[1 2]", "JSON"},
        {"[1}", "JSON"},
        {"[0x10]", "JSON"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char json[300];
        snprintf(json, sizeof json, "{\"eventType\":\"\",\"data\":{\"imageId\":\"img_1\",\"featureVector\":%s}}",
                 cases[i].vector);
        read_bad(TOPIC_VECTORS_INDEXING, json, cases[i].says);
    }
    read_bad(TOPIC_VECTORS_INDEXING, "{\"imageId\":\"img_1\",\"vectors\":[1,2],\"dimensions\":3}", "dimensions");
}

static void vector_in_odd_places(void **state)
{
    // Both names, another object's member of that name, an escaped name, a huge literal: the answer is the same.
    static const char *const messages[] = {
        "{\"imageId\":\"img_1\",\"vectors\":[9],\"featureVector\":[1,2]}",
        "{\"imageId\":\"img_1\",\"featureVector\":[1,2],\"vectors\":[9]}",
        "{\"imageId\":\"img_1\",\"data\":{\"featureVector\":[9]},\"vectors\":[1,2]}",
        "{\"metadata\":{\"vectors\":[9]},\"imageId\":\"img_1\",\"vectors\":[1,2]}",
        "{\"imageId\":\"img_1\",\"vec\\u0074ors\":[1,2]}",
        "{\"a\":\"]}\\\"{[\",\"imageId\":\"img_1\",\"vectors\" : [ 1 ,\n2.0e0 ] }",
        "{\"imageId\":\"img_1\",\"vectors\":[1.0000000000000000000000000000000000000000000000000000000000000000001,2]}",
        "{\"imageId\":\"img_1\",\"featureVector\":null,\"vectors\":[1,2]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
        _cleanup_decoded_ struct decoded d = {0};
        read_ok(&d, TOPIC_VECTORS_INDEXING, messages[i]);
        assert_int_equal(d.ev.indexing.dimension, 2);
        assert_true(d.ev.indexing.vector[0] == 1 && d.ev.indexing.vector[1] == 2);
    }
    read_bad(TOPIC_VECTORS_INDEXING, "{\"imageId\":\"img_1\",\"vectors\":[1],\"vectors\":[2]}", "duplicate");
    read_bad(TOPIC_VECTORS_INDEXING, "{\"imageId\":\"img_1\",\"vectors\":[1]", "JSON");
    read_bad(TOPIC_VECTORS_INDEXING, "{\"imageId\":\"img_1\",\"vectors\":[1]}x", "JSON");
}

static void tenants(void **state)
{
    static const char *const bad[] = {"", ".a", "-a", "_a", "a/b", "a b", "../x", "\\u00e9", "a\\nb", "a\\\"b", "a%00"};
    char json[300], name[70];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(json, sizeof json, "{\"imageId\":\"img_1\",\"tenantId\":\"%s\"}", bad[i]);
        read_bad(TOPIC_PROCESSING_COMPLETED, json, "tenantId");
    }
    for (size_t len = 1; len <= 64; len++) {
        memset(name, 'a', len);
        name[len] = 0;
        snprintf(json, sizeof json, "{\"imageId\":\"img_1\",\"tenantId\":\"%s\"}", name);
        _cleanup_decoded_ struct decoded d = {0};
        if (len == 64)
            read_bad(TOPIC_PROCESSING_COMPLETED, json, "tenantId");
        else
            read_ok(&d, TOPIC_PROCESSING_COMPLETED, json);
    }
}

static void bad_ids(void **state)
{
    read_bad(TOPIC_PROCESSING_COMPLETED, "{\"imageId\":\"\"}", "imageId");
    read_bad(TOPIC_PROCESSING_COMPLETED, "{\"imageId\":\"../../etc\"}", "imageId");
    read_bad(TOPIC_PROCESSING_COMPLETED, "{\"imageId\":\"img_a/b\"}", "imageId");
    read_bad(TOPIC_PROCESSING_COMPLETED, "{\"imageId\":17}", "imageId");
}

static void type_of_another_topic(void **state)
{
    read_bad(TOPIC_PROCESSING_COMPLETED, "{\"eventType\":\"processing.failed\",\"data\":{\"imageId\":\"img_1\"}}",
             "eventType");
}

static void no_json(void **state)
{
    static const char *const bad[] = {
        "",     " ",     "{",  "[]",         "null",        "7",          "\"x\"",
        "{}{}", "{\"a}", "{a", "{\"a\":1,}", "{\"a\":tru}", "\xff\xfe{}", "{\"a\":\"\xc3\x28\"}"};
    for (int topic = 0; topic < TOPIC_DEADLETTER; topic++)
        for (size_t i = 0; i < ARRAY_LEN(bad); i++)
            read_bad((enum event_topic)topic, bad[i], "JSON");
    read_bad(TOPIC_PROCESSING_COMPLETED, "{\"imageId\":\"img_1\",\"imageId\":\"img_2\"}", "duplicate");
    read_bad(TOPIC_PROCESSING_COMPLETED, "{\"imageId\":\"img_1\\u0000\"}", "\\u0000");
}

static void nul_bytes(void **state)
{
    static const char json[] = "{\"imageId\":\"img_1\0\"}";
    _cleanup_decoded_ struct decoded d = {0};
    assert_int_equal(read_bytes(&d, TOPIC_PROCESSING_COMPLETED, json, sizeof json - 1), -1);
    assert_int_equal(d.err.code, ERR_EVENT_INVALID);
}

static void truncated_anywhere(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        size_t len = strlen(examples[i].json);
        for (size_t cut = 0; cut < len; cut++) {
            _cleanup_decoded_ struct decoded d = {0};
            _cleanup_free_ char *exact = malloc(cut + 1); // so that a sanitizer sees a step beyond the end
            memcpy(exact + 1, examples[i].json, cut);
            assert_int_equal(read_bytes(&d, examples[i].topic, exact + 1, cut), -1);
            assert_int_equal(d.err.code, ERR_EVENT_INVALID);
        }
    }
}

static void deep_nesting(void **state)
{
    enum { DEPTH = 100000 };
    _cleanup_buf_ struct buf b = BUF_INIT(DEPTH * 2 + 100);
    buf_puts(&b, "{\"imageId\":\"img_1\",\"vectors\":");
    for (int i = 0; i < DEPTH; i++)
        buf_puts(&b, "[");
    for (int i = 0; i < DEPTH; i++)
        buf_puts(&b, "]");
    buf_puts(&b, "}");
    read_bad(TOPIC_VECTORS_INDEXING, b.data, "depth");
    read_bad(TOPIC_PROCESSING_COMPLETED, b.data, "depth");
}

static void too_large(void **state)
{
    enum { SIZE = 17 << 20 };
    _cleanup_free_ char *big = malloc(SIZE);
    memset(big, ' ', SIZE);
    _cleanup_decoded_ struct decoded d = {0};
    assert_int_equal(read_bytes(&d, TOPIC_PROCESSING_COMPLETED, big, SIZE), -1);
    assert_int_equal(d.err.code, ERR_EVENT_INVALID);
}

static void too_many_values(void **state)
{
    _cleanup_buf_ struct buf b = BUF_INIT(16 << 20);
    buf_puts(&b, "{\"imageId\":\"img_1\",\"vectors\":[0");
    while (b.len < (15 << 20))
        buf_puts(&b, ",0");
    buf_puts(&b, "]}");
    read_bad(TOPIC_VECTORS_INDEXING, b.data, "values");
    read_bad(TOPIC_PROCESSING_COMPLETED, b.data, "values");
}

static void dead_letters_are_not_read(void **state)
{
    _cleanup_decoded_ struct decoded d = {0};
    assert_int_equal(read_bytes(&d, TOPIC_DEADLETTER, "{}", 2), -1);
    assert_int_equal(d.err.code, ERR_UNSUPPORTED);
}

static void without_fallback(void **state)
{
    static const char json[] = "{\"imageId\":\"img_1\"}";
    _cleanup_decoded_ struct decoded d = {0};
    assert_int_equal(
        event_decode(TOPIC_PROCESSING_COMPLETED, json, strlen(json), NULL, &d.arena, &d.ev, &d.root, &d.err), -1);
    assert_non_null(strstr(d.err.message, "eventId"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uploaded_envelope),
        cmocka_unit_test(uploaded_flat),
        cmocka_unit_test(video_flat),
        cmocka_unit_test(extraction_both),
        cmocka_unit_test(indexing_both),
        cmocka_unit_test(completed_both),
        cmocka_unit_test(failed_flat),
        cmocka_unit_test(maintenance_flat),
        cmocka_unit_test(message_flat),
        cmocka_unit_test(ids_with_and_without_prefix),
        cmocka_unit_test(foreign_event_ids_are_stable),
        cmocka_unit_test(names_of_either_document),
        cmocka_unit_test(times),
        cmocka_unit_test(errors_in_either_form),
        cmocka_unit_test(filter_payload_is_whole),
        cmocka_unit_test(integers_beyond_64_bits_are_no_trouble),
        cmocka_unit_test(a_store_container_and_name_are_a_path),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(wrong_types_are_named),
        cmocka_unit_test(bad_vectors),
        cmocka_unit_test(vector_in_odd_places),
        cmocka_unit_test(tenants),
        cmocka_unit_test(bad_ids),
        cmocka_unit_test(type_of_another_topic),
        cmocka_unit_test(no_json),
        cmocka_unit_test(nul_bytes),
        cmocka_unit_test(truncated_anywhere),
        cmocka_unit_test(deep_nesting),
        cmocka_unit_test(too_large),
        cmocka_unit_test(too_many_values),
        cmocka_unit_test(dead_letters_are_not_read),
        cmocka_unit_test(without_fallback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
