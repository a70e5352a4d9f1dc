// SPDX-License-Identifier: Apache-2.0
// One event of each topic to write: full (every member said) or bare (only what it cannot do without).
#ifndef DEEPLENS_TESTS_EVENTS_FIXTURES_H
#define DEEPLENS_TESTS_EVENTS_FIXTURES_H

#include <jansson.h>

#include "base/cleanup.h"
#include "events/event.h"

enum { FIXTURE_TIME_BASE = 1700000000 };
static const int64_t fixture_ms = (int64_t)FIXTURE_TIME_BASE * 1000 + 123;

static inline void fixture_uploaded(struct event_image_uploaded *up, bool video)
{
    *up = (struct event_image_uploaded){
        .file_name = "sunset \"one\" \\ \xc3\xa9\t\x01.jpg",
        .path = "minio://tenant-abc/images/2025/photo.jpg",
        .size = 2048576,
        .content_type = video ? "video/mp4" : "image/jpeg",
        .uploaded_by = "user_john_doe",
        .uploaded_ms = fixture_ms - 500,
        .format = video ? "MP4" : "JPEG",
        .width = 1920,
        .height = 1080,
        .original_name = "product-shot.jpg",
        .metadata = json_pack("{s:s, s:f, s:[s,s], s:{s:n,s:b}}", "category", "shoes", "price", 9.99, "tags", "red",
                              "summer", "nested", "nothing", "on", 1),
        .options = json_pack("{s:[s,s], s:s, s:b, s:b}", "models", "builtin", "other", "priority", "high",
                             "skipDuplicateCheck", 1, "generateThumbnail", 0),
        .duration = video ? 120.5 : 0,
    };
}

static inline void fixture_indexing(struct event_indexing *ix)
{
    static const float vector[] = {0.123f, -0.456f, 0.789f, 0.0f, -0.0f, 1.0f, 1e-30f, 3.4e38f, 1.17549e-38f, 1e-45f};
    *ix = (struct event_indexing){
        .model = "builtin",
        .version = "v2.7",
        .vector = vector,
        .dimension = ARRAY_LEN(vector),
        .extracted_ms = fixture_ms - 40,
        .processing_ms = 21.5,
        .metadata = json_pack("{s:s, s:[s], s:i, s:i, s:s, s:i, s:f}", "fileName", "photo.jpg", "tags", "red", "width",
                              1920, "height", 1080, "format", "JPEG", "sizeBytes", 2048576, "price", 9.99),
        .priority = "low",
    };
}

static const struct event_completed_step fixture_steps[] = {
    {.step = "preprocessing", .status = "completed", .duration_ms = 12},
    {.step = "feature_extraction", .status = "completed", .duration_ms = 2150, .model = "resnet50"},
    {.step = "vector_indexing",
     .status = "completed",
     .duration_ms = 450,
     .model = "resnet50",
     .collection = "tenant_acmecorp_resnet50_vectors"},
};
static const char *const fixture_actions[] = {"delete_minio_files", "delete_qdrant_vectors", "cleanup_database"};

static inline void fixture_full(enum event_topic topic, struct event *ev)
{
    *ev = (struct event){
        .topic = topic,
        .id = "evt_12345678-1234-1234-1234-123456789abc",
        .tenant = "acme-corp",
        .correlation = "evt_00000000-1234-1234-1234-123456789abc",
        .media_id = topic == TOPIC_MESSAGES          ? "1234567890@s.whatsapp.net"
                    : topic == TOPIC_VIDEOS_UPLOADED ? "vid_98765432-4321-4321-4321-210987654321"
                                                     : "img_98765432-4321-4321-4321-210987654321",
        .timestamp_ms = fixture_ms,
        .attempt = 2,
        .max_attempts = 5,
        .backoff_ms = 1000,
    };
    if (topic == TOPIC_IMAGES_UPLOADED || topic == TOPIC_VIDEOS_UPLOADED)
        fixture_uploaded(&ev->image_uploaded, topic == TOPIC_VIDEOS_UPLOADED);
    if (topic == TOPIC_FEATURES_EXTRACTION)
        ev->extraction = (struct event_extraction){.path = "/storage/a.jpg",
                                                   .model = "resnet50",
                                                   .version = "v2.7",
                                                   .dimension = 2048,
                                                   .normalize = false,
                                                   .timeout_s = 30,
                                                   .priority = "high"};
    if (topic == TOPIC_VECTORS_INDEXING)
        fixture_indexing(&ev->indexing);
    if (topic == TOPIC_PROCESSING_COMPLETED)
        ev->completed = (struct event_completed){.status = "success",
                                                 .steps = fixture_steps,
                                                 .step_count = ARRAY_LEN(fixture_steps),
                                                 .total_ms = 2612,
                                                 .searchable_ms = fixture_ms - 1,
                                                 .duplicate_of = "img_98765432-4321-4321-4321-210987654321",
                                                 .duplicate_score = 0.9375};
    if (topic == TOPIC_PROCESSING_FAILED)
        ev->failed = (struct event_failed){.code = "EXTRACTION_TIMEOUT",
                                           .message = "It timed out after 60 seconds",
                                           .retryable = true,
                                           .attempt = 2,
                                           .final = true,
                                           .step = "feature_extraction",
                                           .model = "resnet50",
                                           .trace = "extract: timed out",
                                           .duplicate_of = "img_98765432-4321-4321-4321-210987654321",
                                           .duplicate_score = 0.9375,
                                           .failed_ms = fixture_ms - 2};
    if (topic == TOPIC_IMAGES_MAINTENANCE)
        ev->maintenance = (struct event_maintenance){.type = "delete",
                                                     .actions = fixture_actions,
                                                     .action_count = ARRAY_LEN(fixture_actions),
                                                     .requested_ms = fixture_ms - 3};
    if (topic == TOPIC_MESSAGES) {
        ev->message = (struct event_message){.id = "msg_abc123",
                                             .from_me = true,
                                             .type = "text",
                                             .content = "Hello, world!",
                                             .metadata = json_pack("{s:b}", "isGroup", 0)};
    }
}

static inline void fixture_bare(enum event_topic topic, struct event *ev)
{
    static const float one[] = {1.0f};
    struct event full;
    fixture_full(topic, &full);
    *ev = (struct event){.topic = topic,
                         .id = full.id,
                         .tenant = "default",
                         .media_id = full.media_id,
                         .timestamp_ms = full.timestamp_ms,
                         .attempt = 1};
    if (topic == TOPIC_IMAGES_UPLOADED || topic == TOPIC_VIDEOS_UPLOADED) {
        ev->image_uploaded = (struct event_image_uploaded){
            .file_name = "a", .path = "/a", .content_type = "image/png", .uploaded_ms = full.timestamp_ms};
        json_decref(full.image_uploaded.metadata);
        json_decref(full.image_uploaded.options);
    }
    if (topic == TOPIC_FEATURES_EXTRACTION)
        ev->extraction = (struct event_extraction){.path = "/a", .normalize = true};
    if (topic == TOPIC_VECTORS_INDEXING) {
        ev->indexing = (struct event_indexing){.vector = one, .dimension = 1, .extracted_ms = full.timestamp_ms};
        json_decref(full.indexing.metadata);
    }
    if (topic == TOPIC_PROCESSING_COMPLETED)
        ev->completed = (struct event_completed){.status = "success", .searchable_ms = full.timestamp_ms};
    if (topic == TOPIC_PROCESSING_FAILED)
        ev->failed = (struct event_failed){
            .code = "INTERNAL", .message = "", .attempt = 1, .final = true, .failed_ms = full.timestamp_ms};
    if (topic == TOPIC_IMAGES_MAINTENANCE)
        ev->maintenance = (struct event_maintenance){.type = "sweep", .requested_ms = full.timestamp_ms};
    if (topic == TOPIC_MESSAGES) {
        ev->message = (struct event_message){.id = "m", .type = "text"};
        json_decref(full.message.metadata);
    }
}

static inline void fixture_free(struct event *ev)
{
    if (ev->topic == TOPIC_IMAGES_UPLOADED || ev->topic == TOPIC_VIDEOS_UPLOADED) {
        json_decref(ev->image_uploaded.metadata);
        json_decref(ev->image_uploaded.options);
    }
    if (ev->topic == TOPIC_VECTORS_INDEXING)
        json_decref(ev->indexing.metadata);
    if (ev->topic == TOPIC_MESSAGES)
        json_decref(ev->message.metadata);
}

#endif
