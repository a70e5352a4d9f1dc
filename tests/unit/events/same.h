// SPDX-License-Identifier: Apache-2.0
// Whether two events say the same; names the first member that differs.
#ifndef DEEPLENS_TESTS_EVENTS_SAME_H
#define DEEPLENS_TESTS_EVENTS_SAME_H

#include <stdbool.h>
#include <string.h>

#include "events/event.h"

static inline bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static inline bool same_json(const json_t *a, const json_t *b)
{
    return a && b ? json_equal(a, b) : a == b;
}

#define SAME_IF(condition, member)                                                                                     \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            return #member;                                                                                            \
    } while (0)
#define SAME(member) SAME_IF(a->member == b->member, member)
#define SAME_TEXT(member) SAME_IF(same_text(a->member, b->member), member)
#define SAME_JSON(member) SAME_IF(same_json(a->member, b->member), member)

static inline const char *differs_uploaded(const struct event_image_uploaded *a, const struct event_image_uploaded *b)
{
    SAME_TEXT(file_name);
    SAME_TEXT(path);
    SAME(size);
    SAME_TEXT(content_type);
    SAME_TEXT(uploaded_by);
    SAME(uploaded_ms);
    SAME_TEXT(format);
    SAME(width);
    SAME(height);
    SAME_TEXT(original_name);
    SAME_JSON(metadata);
    SAME_JSON(options);
    SAME(duration);
    return NULL;
}

static inline const char *differs_extraction(const struct event_extraction *a, const struct event_extraction *b)
{
    SAME_TEXT(path);
    SAME_TEXT(model);
    SAME_TEXT(version);
    SAME(dimension);
    SAME(normalize);
    SAME(timeout_s);
    SAME_TEXT(priority);
    return NULL;
}

static inline const char *differs_indexing(const struct event_indexing *a, const struct event_indexing *b)
{
    SAME_TEXT(model);
    SAME_TEXT(version);
    SAME(dimension);
    SAME(extracted_ms);
    SAME(processing_ms);
    SAME_JSON(metadata);
    SAME_TEXT(priority);
    return memcmp(a->vector, b->vector, a->dimension * sizeof *a->vector) == 0 ? NULL : "vector";
}

static inline const char *differs_step(const struct event_completed_step *a, const struct event_completed_step *b)
{
    SAME_TEXT(step);
    SAME_TEXT(status);
    SAME(duration_ms);
    SAME_TEXT(model);
    SAME_TEXT(collection);
    return NULL;
}

static inline const char *differs_completed(const struct event_completed *a, const struct event_completed *b)
{
    SAME_TEXT(status);
    SAME(step_count);
    SAME(total_ms);
    SAME(searchable_ms);
    SAME_TEXT(duplicate_of);
    SAME(duplicate_score);
    const char *member = NULL;
    for (size_t i = 0; i < a->step_count && !member; i++)
        member = differs_step(&a->steps[i], &b->steps[i]);
    return member;
}

static inline const char *differs_failed(const struct event_failed *a, const struct event_failed *b)
{
    SAME_TEXT(code);
    SAME_TEXT(message);
    SAME(retryable);
    SAME(attempt);
    SAME(final);
    SAME_TEXT(step);
    SAME_TEXT(model);
    SAME_TEXT(trace);
    SAME(failed_ms);
    SAME_TEXT(duplicate_of);
    SAME(duplicate_score);
    return NULL;
}

static inline const char *differs_maintenance(const struct event_maintenance *a, const struct event_maintenance *b)
{
    SAME_TEXT(type);
    SAME(action_count);
    SAME(requested_ms);
    for (size_t i = 0; i < a->action_count; i++)
        SAME_TEXT(actions[i]);
    return NULL;
}

static inline const char *differs_message(const struct event_message *a, const struct event_message *b)
{
    SAME_TEXT(id);
    SAME(from_me);
    SAME_TEXT(type);
    SAME_TEXT(content);
    SAME_JSON(metadata);
    return NULL;
}

// NULL when they are the same.
static inline const char *event_differs(const struct event *a, const struct event *b)
{
    SAME(topic);
    SAME_TEXT(id);
    SAME_TEXT(tenant);
    SAME_TEXT(correlation);
    SAME_TEXT(media_id);
    SAME(timestamp_ms);
    SAME(attempt);
    SAME(max_attempts);
    SAME(backoff_ms);
    switch (a->topic) {
    case TOPIC_IMAGES_UPLOADED:
    case TOPIC_VIDEOS_UPLOADED:
        return differs_uploaded(&a->image_uploaded, &b->image_uploaded);
    case TOPIC_FEATURES_EXTRACTION:
        return differs_extraction(&a->extraction, &b->extraction);
    case TOPIC_VECTORS_INDEXING:
        return differs_indexing(&a->indexing, &b->indexing);
    case TOPIC_PROCESSING_COMPLETED:
        return differs_completed(&a->completed, &b->completed);
    case TOPIC_PROCESSING_FAILED:
        return differs_failed(&a->failed, &b->failed);
    case TOPIC_IMAGES_MAINTENANCE:
        return differs_maintenance(&a->maintenance, &b->maintenance);
    case TOPIC_MESSAGES:
        return differs_message(&a->message, &b->message);
    default:
        return "topic";
    }
}

#endif
