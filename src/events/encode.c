// SPDX-License-Identifier: Apache-2.0
// Writes events: the envelope as in the first document, or the flat form as in the second, member by member in the
// documents' order. What a form has no place for follows as additional members.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/js.h"
#include "events/event.h"
#include "events/message.h"
#include "events/writer.h"

struct encoder {
    struct writer w;
    const struct event *ev;
    bool flat;
    bool bare_ids;
};

// ---- ids ----

static bool is_prefixed(const char *id, const char *prefix)
{
    size_t len = strlen(prefix);
    return strncmp(id, prefix, len) == 0 && id[len] == '_';
}

// Only a UUID goes without its prefix: nothing else could be read again.
static const char *shown_id(const struct encoder *e, const char *prefix, const char *id)
{
    char canonical[ID_MAX];
    if (!id || !e->bare_ids || !is_prefixed(id, prefix))
        return id;
    return id_parse(prefix, id_bare(id), canonical) == 0 ? id_bare(id) : id;
}

// A bare id loses what its prefix said; where the member's name does not say the same, `mediaId` does.
static void put_media_id(struct encoder *e)
{
    const char *id = e->ev->media_id;
    bool video = is_prefixed(id, "vid");
    const char *prefix = is_prefixed(id, "frm") ? "frm" : video ? "vid" : "img";
    const char *shown = shown_id(e, prefix, id);
    writer_text(&e->w, video ? "videoId" : "imageId", shown);
    if (shown != id && strcmp(prefix, "frm") == 0)
        writer_text(&e->w, "mediaId", id);
}

// ---- parts ----

static void put_copy(struct encoder *e, const char *key, const json_t *object, const char *member)
{
    writer_json(&e->w, key, json_object_get(object, member));
}

// The client's members, but for those that ours replace.
static void put_client_metadata(struct encoder *e, const struct event_image_uploaded *up)
{
    _cleanup_json_ json_t *rest = up->metadata ? json_copy(up->metadata) : NULL;
    const char *key;
    json_t *value;
    if (up->width > 0)
        json_object_del(rest, "width");
    if (up->height > 0)
        json_object_del(rest, "height");
    if (up->format)
        json_object_del(rest, "format");
    if (up->original_name)
        json_object_del(rest, "originalFileName");
    json_object_foreach(rest, key, value) writer_member(&e->w, key, value);
}

static void put_upload_metadata(struct encoder *e, const struct event_image_uploaded *up)
{
    writer_object(&e->w, "metadata");
    if (up->width > 0)
        writer_int(&e->w, "width", up->width);
    if (up->height > 0)
        writer_int(&e->w, "height", up->height);
    writer_text(&e->w, "format", up->format);
    put_client_metadata(e, up);
    writer_text(&e->w, "originalFileName", up->original_name);
    writer_object_end(&e->w);
}

// "minio://bucket/key" names its store; a plain path is a file.
static void put_storage_provider(struct encoder *e, const char *path)
{
    char type[32], container[128];
    int used = 0;
    writer_object(&e->w, "storageProvider");
    if (sscanf(path, "%31[a-z0-9_]://%127[^/]/%n", type, container, &used) == 2 && used > 0) {
        writer_text(&e->w, "type", type);
        writer_text(&e->w, "containerName", container);
        writer_text(&e->w, "blobName", path + used);
    } else {
        writer_text(&e->w, "type", "filesystem");
        writer_text(&e->w, "blobName", path);
    }
    writer_object_end(&e->w);
}

static void put_priority(struct encoder *e, const char *priority)
{
    if (!priority)
        return;
    writer_object(&e->w, "processingOptions");
    writer_text(&e->w, "priority", priority);
    writer_object_end(&e->w);
}

static void put_retry_policy(struct encoder *e)
{
    const struct event *ev = e->ev;
    if (ev->max_attempts <= 0 && ev->attempt <= 1 && ev->backoff_ms <= 0)
        return;
    writer_object(&e->w, "retryPolicy");
    if (ev->max_attempts > 0)
        writer_int(&e->w, "maxAttempts", ev->max_attempts);
    if (ev->backoff_ms > 0)
        writer_int(&e->w, "backoffMs", ev->backoff_ms);
    writer_int(&e->w, "currentAttempt", ev->attempt > 0 ? ev->attempt : 1);
    writer_object_end(&e->w);
}

// A time of the payload that the envelope's own timestamp says already is left out there.
static void put_own_time(struct encoder *e, const char *key, int64_t ms)
{
    if (e->flat || ms != e->ev->timestamp_ms)
        writer_time(&e->w, key, ms ? ms : e->ev->timestamp_ms);
}

// ---- image.uploaded, video.uploaded ----

static void put_uploaded(struct encoder *e)
{
    const struct event_image_uploaded *up = &e->ev->image_uploaded;
    writer_text(&e->w, "fileName", up->file_name);
    writer_text(&e->w, e->flat ? "storagePath" : "filePath", up->path);
    if (e->flat)
        writer_text(&e->w, "mimeType", up->content_type);
    writer_int(&e->w, e->flat ? "sizeBytes" : "fileSize", (int64_t)up->size);
    if (!e->flat)
        writer_text(&e->w, "contentType", up->content_type);
    if (up->duration > 0)
        writer_real(&e->w, "duration", up->duration);
    writer_text(&e->w, "uploadedBy", up->uploaded_by);
    put_own_time(e, "uploadedAt", up->uploaded_ms);
    put_upload_metadata(e, up);
    if (!e->flat && up->path)
        put_storage_provider(e, up->path);
}

static void put_uploaded_top(struct encoder *e)
{
    writer_json(&e->w, "processingOptions", e->ev->image_uploaded.options);
}

// ---- feature.extraction.requested ----

static void put_extraction_flat(struct encoder *e, const struct event_extraction *ex)
{
    writer_text(&e->w, "preprocessedPath", ex->path);
    writer_object(&e->w, "extractionParams");
    writer_text(&e->w, "model", ex->model);
    if (ex->dimension > 0)
        writer_int(&e->w, "dimensions", ex->dimension);
    writer_bool(&e->w, "normalize", ex->normalize);
    writer_text(&e->w, "modelVersion", ex->version);
    if (ex->timeout_s > 0)
        writer_int(&e->w, "timeout", ex->timeout_s);
    writer_object_end(&e->w);
    writer_time(&e->w, "requestedAt", e->ev->timestamp_ms);
}

static void put_extraction(struct encoder *e)
{
    const struct event_extraction *ex = &e->ev->extraction;
    if (e->flat) {
        put_extraction_flat(e, ex);
        return;
    }
    writer_text(&e->w, "imagePath", ex->path);
    writer_text(&e->w, "modelName", ex->model);
    writer_text(&e->w, "modelVersion", ex->version);
    if (ex->dimension > 0)
        writer_int(&e->w, "expectedDimension", ex->dimension);
    writer_object(&e->w, "extractionOptions");
    writer_bool(&e->w, "normalize", ex->normalize);
    writer_bool(&e->w, "returnMetadata", true);
    if (ex->timeout_s > 0)
        writer_int(&e->w, "timeout", ex->timeout_s);
    writer_object_end(&e->w);
}

static void put_extraction_top(struct encoder *e)
{
    put_priority(e, e->ev->extraction.priority);
}

// ---- vector.indexing.requested ----

static void put_vector_metadata(struct encoder *e, const struct event_indexing *ix)
{
    writer_object(&e->w, "vectorMetadata");
    if (!e->flat)
        writer_time(&e->w, "extractionTime", ix->extracted_ms);
    if (ix->processing_ms > 0)
        writer_real(&e->w, "processingTimeMs", ix->processing_ms);
    writer_text(&e->w, "modelVersion", ix->version);
    writer_object_end(&e->w);
}

static void put_image_metadata(struct encoder *e, const json_t *metadata)
{
    if (!json_object_get(metadata, "width") && !json_object_get(metadata, "height"))
        return;
    writer_object(&e->w, "imageMetadata");
    put_copy(e, "width", metadata, "width");
    put_copy(e, "height", metadata, "height");
    put_copy(e, "format", metadata, "format");
    put_copy(e, "fileSize", metadata, "sizeBytes");
    writer_object_end(&e->w);
}

static void put_indexing(struct encoder *e)
{
    const struct event_indexing *ix = &e->ev->indexing;
    if (e->flat) {
        writer_floats(&e->w, "vectors", ix->vector, ix->dimension);
        writer_int(&e->w, "dimensions", (int64_t)ix->dimension);
        writer_json(&e->w, "metadata", ix->metadata);
        writer_time(&e->w, "extractedAt", ix->extracted_ms ? ix->extracted_ms : e->ev->timestamp_ms);
        writer_text(&e->w, "modelName", ix->model);
        if (ix->version || ix->processing_ms > 0)
            put_vector_metadata(e, ix);
        return;
    }
    writer_text(&e->w, "modelName", ix->model);
    writer_floats(&e->w, "featureVector", ix->vector, ix->dimension);
    put_vector_metadata(e, ix);
    put_image_metadata(e, ix->metadata);
    writer_json(&e->w, "metadata", ix->metadata);
}

static void put_indexing_top(struct encoder *e)
{
    put_priority(e, e->ev->indexing.priority);
}

// What an item is a near-duplicate of.
static void put_duplicate(struct encoder *e, const char *of, double score)
{
    if (!of)
        return;
    writer_text(&e->w, "duplicateOf", of);
    writer_real(&e->w, "duplicateScore", score);
}

// ---- processing.completed ----

static void put_steps(struct encoder *e, const struct event_completed *done)
{
    writer_array(&e->w, "processingSteps");
    for (size_t i = 0; i < done->step_count; i++) {
        const struct event_completed_step *step = &done->steps[i];
        writer_object(&e->w, NULL);
        writer_text(&e->w, "step", step->step);
        writer_text(&e->w, "status", step->status);
        writer_int(&e->w, "duration", step->duration_ms);
        writer_text(&e->w, "modelName", step->model);
        writer_text(&e->w, "collectionName", step->collection);
        writer_object_end(&e->w);
    }
    writer_array_end(&e->w);
}

// Seconds spent in all steps of a name; nothing when there was none.
static void put_metric(struct encoder *e, const struct event_completed *done, const char *step, const char *metric)
{
    bool any = false;
    int64_t ms = 0;
    for (size_t i = 0; i < done->step_count; i++) {
        if (strcmp(done->steps[i].step, step) != 0)
            continue;
        any = true;
        ms += done->steps[i].duration_ms;
    }
    if (any)
        writer_real(&e->w, metric, (double)ms / 1000);
}

static void put_completed_flat(struct encoder *e, const struct event_completed *done)
{
    bool success = !done->status || strcmp(done->status, "success") == 0;
    writer_text(&e->w, "status", success ? "completed" : done->status);
    writer_real(&e->w, "processingTime", (double)done->total_ms / 1000);
    writer_object(&e->w, "metrics");
    put_metric(e, done, "preprocessing", "preprocessingTime");
    put_metric(e, done, "feature_extraction", "extractionTime");
    put_metric(e, done, "vector_indexing", "indexingTime");
    writer_object_end(&e->w);
    writer_time(&e->w, "completedAt", done->searchable_ms ? done->searchable_ms : e->ev->timestamp_ms);
    put_steps(e, done);
    put_duplicate(e, done->duplicate_of, done->duplicate_score);
}

static void put_completed(struct encoder *e)
{
    const struct event_completed *done = &e->ev->completed;
    if (e->flat) {
        put_completed_flat(e, done);
        return;
    }
    writer_text(&e->w, "status", done->status ? done->status : "success");
    put_steps(e, done);
    writer_int(&e->w, "totalProcessingTime", done->total_ms);
    writer_time(&e->w, "searchableAfter", done->searchable_ms);
    put_duplicate(e, done->duplicate_of, done->duplicate_score);
}

// ---- processing.failed: the same members in both forms ----

static void put_failed(struct encoder *e)
{
    const struct event_failed *failed = &e->ev->failed;
    writer_text(&e->w, "status", "failed");
    writer_object(&e->w, "error");
    writer_text(&e->w, "code", failed->code ? failed->code : error_code_name(ERR_INTERNAL));
    writer_text(&e->w, "message", failed->message ? failed->message : "");
    writer_text(&e->w, "stackTrace", failed->trace);
    writer_bool(&e->w, "retryable", failed->retryable);
    writer_object_end(&e->w);
    writer_time(&e->w, "failedAt", failed->failed_ms ? failed->failed_ms : e->ev->timestamp_ms);
    writer_int(&e->w, "attemptNumber", failed->attempt > 0 ? failed->attempt : 1);
    writer_bool(&e->w, "final", failed->final);
    writer_text(&e->w, "step", failed->step);
    writer_text(&e->w, "modelName", failed->model);
    put_duplicate(e, failed->duplicate_of, failed->duplicate_score);
}

// ---- image.maintenance.requested ----

static void put_maintenance(struct encoder *e)
{
    const struct event_maintenance *care = &e->ev->maintenance;
    writer_array(&e->w, "actions");
    for (size_t i = 0; i < care->action_count; i++)
        writer_text(&e->w, NULL, care->actions[i]);
    writer_array_end(&e->w);
    writer_time(&e->w, "requestedAt", care->requested_ms ? care->requested_ms : e->ev->timestamp_ms);
}

// ---- whatsapp-ready-messages ----

static void put_message(struct encoder *e)
{
    const struct event_message *message = &e->ev->message;
    writer_text(&e->w, "messageId", message->id);
    writer_text(&e->w, "chatJid", e->ev->media_id);
    writer_bool(&e->w, "fromMe", message->from_me);
    writer_text(&e->w, "messageType", message->type);
    writer_text(&e->w, "content", message->content);
    if (e->ev->timestamp_ms % 1000)
        writer_real(&e->w, "timestamp", (double)e->ev->timestamp_ms / 1000);
    else
        writer_int(&e->w, "timestamp", e->ev->timestamp_ms / 1000);
    writer_json(&e->w, "metadata", message->metadata);
}

// ---- what is not ours ----

// Every member that an event or its `data` may have in either form, sorted.
static const char *const known[] = {
    "actions",
    "attemptNumber",
    "backoffMs",
    "chatJid",
    "code",
    "completedAt",
    "content",
    "contentType",
    "correlationId",
    "data",
    "dimension",
    "dimensions",
    "duration",
    "error",
    "errorCode",
    "errorMessage",
    "eventId",
    "eventType",
    "eventVersion",
    "expectedDimension",
    "extractedAt",
    "extractionOptions",
    "extractionParams",
    "failedAt",
    "featureVector",
    "fileName",
    "filePath",
    "fileSize",
    "final",
    "fromMe",
    "imageId",
    "imageMetadata",
    "imagePath",
    "maintenanceType",
    "mediaId",
    "message",
    "messageId",
    "messageType",
    "metadata",
    "metrics",
    "mimeType",
    "model",
    "modelName",
    "modelVersion",
    "preprocessedPath",
    "processingOptions",
    "processingSteps",
    "processingTime",
    "requestedAt",
    "retryPolicy",
    "retryable",
    "searchableAfter",
    "sizeBytes",
    "stackTrace",
    "status",
    "step",
    "storagePath",
    "storageProvider",
    "tenantId",
    "timestamp",
    "totalProcessingTime",
    "uploadedAt",
    "uploadedBy",
    "vectorMetadata",
    "vectors",
    "videoId",
    "videoPath",
};

static int compare_names(const void *key, const void *element)
{
    return strcmp(key, *(const char *const *)element);
}

// Writes the unknown members of `from`, but for those that `besides` has as well.
static void put_more(struct encoder *e, const json_t *from, const json_t *besides)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)from, key, value)
    {
        if (!bsearch(key, known, ARRAY_LEN(known), sizeof known[0], compare_names) && !json_object_get(besides, key))
            writer_member(&e->w, key, value);
    }
}

// ---- the whole ----

static const struct {
    void (*data)(struct encoder *);
    void (*top)(struct encoder *); // what stands beside `data` in an envelope
} payloads[TOPIC_COUNT] = {
    [TOPIC_IMAGES_UPLOADED] = {put_uploaded, put_uploaded_top},
    [TOPIC_VIDEOS_UPLOADED] = {put_uploaded, put_uploaded_top},
    [TOPIC_FEATURES_EXTRACTION] = {put_extraction, put_extraction_top},
    [TOPIC_VECTORS_INDEXING] = {put_indexing, put_indexing_top},
    [TOPIC_PROCESSING_COMPLETED] = {put_completed, NULL},
    [TOPIC_PROCESSING_FAILED] = {put_failed, NULL},
    [TOPIC_IMAGES_MAINTENANCE] = {put_maintenance, NULL},
    [TOPIC_MESSAGES] = {put_message, NULL},
};

static void put_top(struct encoder *e)
{
    if (payloads[e->ev->topic].top)
        payloads[e->ev->topic].top(e);
    put_retry_policy(e);
}

static void put_envelope(struct encoder *e)
{
    const struct event *ev = e->ev;
    writer_text(&e->w, "eventId", shown_id(e, "evt", ev->id));
    writer_text(&e->w, "eventType", event_topic_type(ev->topic));
    writer_text(&e->w, "eventVersion", "1.0");
    writer_time(&e->w, "timestamp", ev->timestamp_ms);
    writer_text(&e->w, "tenantId", ev->tenant);
    writer_text(&e->w, "correlationId", shown_id(e, "evt", ev->correlation));
    writer_object(&e->w, "data");
    if (ev->topic == TOPIC_IMAGES_MAINTENANCE)
        writer_text(&e->w, "maintenanceType", ev->maintenance.type);
    put_media_id(e);
    payloads[ev->topic].data(e);
    put_more(e, ev->more_data, NULL);
    writer_object_end(&e->w);
    put_top(e);
    put_more(e, ev->more, NULL);
}

static void put_flat(struct encoder *e)
{
    const struct event *ev = e->ev;
    if (ev->topic == TOPIC_IMAGES_MAINTENANCE)
        writer_text(&e->w, "maintenanceType", ev->maintenance.type);
    put_media_id(e);
    writer_text(&e->w, "tenantId", ev->tenant);
    payloads[ev->topic].data(e);
    put_top(e);
    writer_text(&e->w, "eventId", shown_id(e, "evt", ev->id));
    writer_text(&e->w, "correlationId", shown_id(e, "evt", ev->correlation));
    writer_time(&e->w, "timestamp", ev->timestamp_ms);
    put_more(e, ev->more_data, NULL);
    put_more(e, ev->more, ev->more_data);
}

// A message has its tenant and its id only where it was given them: the document's form knows neither.
static void put_message_form(struct encoder *e)
{
    put_message(e);
    if (strcmp(e->ev->tenant, "default") != 0)
        writer_text(&e->w, "tenantId", e->ev->tenant);
    put_retry_policy(e);
    writer_text(&e->w, "eventId", shown_id(e, "evt", e->ev->id));
    writer_text(&e->w, "correlationId", shown_id(e, "evt", e->ev->correlation));
    put_more(e, e->ev->more_data, NULL);
}

static int check(const struct event *ev, struct error *err)
{
    if (!payloads[ev->topic].data)
        return error_set(err, ERR_UNSUPPORTED, "Records of %s are the original's bytes", event_topic_name(ev->topic));
    if (!ev->id || !ev->tenant || !ev->media_id)
        return error_set(err, ERR_EVENT_INVALID, "An event needs its id, its tenant and what it is about");
    if (ev->topic != TOPIC_VECTORS_INDEXING)
        return 0;
    for (size_t i = 0; i < ev->indexing.dimension; i++)
        if (!isfinite(ev->indexing.vector[i]))
            return error_set(err, ERR_EVENT_INVALID, "Value %zu of the vector is no finite number", i);
    return 0;
}

int event_encode(const struct event *event, struct event_format format, struct buf *out, struct error *err)
{
    if (check(event, err) < 0)
        return -1;
    struct event ev = *event;
    if (!ev.timestamp_ms)
        ev.timestamp_ms = clock_now_ms();
    size_t start = out->len;
    struct encoder e = {.w = {.out = out}, .ev = &ev, .flat = format.flat, .bare_ids = format.bare_ids};
    writer_object(&e.w, NULL);
    if (ev.topic == TOPIC_MESSAGES)
        put_message_form(&e);
    else if (format.flat)
        put_flat(&e);
    else
        put_envelope(&e);
    writer_object_end(&e.w);
    if (!out->failed && out->len - start <= MESSAGE_MAX)
        return 0;
    out->len = start;
    return error_set(err, ERR_EVENT_INVALID, "The event is larger than %zu bytes",
                     out->max < MESSAGE_MAX ? out->max : (size_t)MESSAGE_MAX);
}
