// SPDX-License-Identifier: Apache-2.0
// Reads events: the envelope (members under "data") and the flat form (members at the top), on every topic.
//
// A reader looks up each member by all the names that the documents give it. A member that is missing or null has its
// default; one of another type fails the event, and the first failure sticks, so that a payload's function reads
// straight through and is checked once. Vectors, most of an event's bytes, are cut out of the text and read by
// themselves; the JSON parser then sees an empty array in their place.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/js.h"
#include "events/event.h"
#include "events/message.h"
#include "events/number.h"
#include "events/scan.h"

enum {
    DIMENSION_MAX = 1 << 16,
    TENANT_MAX = 63,
    ATTEMPTS_MAX = 1000000,
    KEY_MAX = 256,
};
static const int64_t TIME_END = 100000000000000;   // in the year 5138
static const int64_t DURATION_MAX = 1000000000000; // 32 years
static const int64_t BACKOFF_MAX = 24 * 60 * 60 * 1000;

// Where the vector was cut out, if it was.
struct cut {
    const char *key;
    bool within_data;
    float *values;
    size_t count;
};

struct reader {
    struct arena *arena;
    json_t *top;
    json_t *body; // `data` of an envelope, else `top`
    bool envelope;
    bool failed;
    struct cut cut;
    struct error *err;
};

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void fail(struct reader *r, const char *name, const char *what)
{
    if (!r->failed)
        error_set(r->err, ERR_EVENT_INVALID, "%s %s", name, what);
    r->failed = true;
}

// ---- members ----

// The first of these members that is there and not null; *name is the one found, else the first asked for.
static json_t *find(const json_t *object, const char *const *names, const char **name)
{
    *name = names[0];
    for (; *names; names++) {
        json_t *value = json_object_get(object, *names);
        if (value && !json_is_null(value)) {
            *name = *names;
            return value;
        }
    }
    return NULL;
}

static const char *get_text(struct reader *r, const json_t *object, const char *const *names)
{
    const char *name;
    const json_t *value = find(object, names, &name);
    if (!value)
        return NULL;
    if (!json_is_string(value)) {
        fail(r, name, "must be a string");
        return NULL;
    }
    return arena_strdup(r->arena, json_string_value(value));
}

static const char *need_text(struct reader *r, const json_t *object, const char *const *names)
{
    const char *text = get_text(r, object, names);
    if (!text || !*text)
        fail(r, names[0], "is missing");
    return text;
}

static double get_number(struct reader *r, const json_t *object, const char *const *names, double least, double most)
{
    const char *name;
    const json_t *value = find(object, names, &name);
    if (!value)
        return 0;
    double number = json_is_number(value) ? json_number_value(value) : NAN;
    if (!(number >= least && number <= most)) {
        fail(r, name, isnan(number) ? "must be a number" : "is out of range");
        return 0;
    }
    return number;
}

static int64_t get_int(struct reader *r, const json_t *object, const char *const *names, int64_t most)
{
    return (int64_t)get_number(r, object, names, 0, (double)most);
}

static bool get_bool(struct reader *r, const json_t *object, const char *const *names, bool otherwise)
{
    const char *name;
    const json_t *value = find(object, names, &name);
    if (!value)
        return otherwise;
    if (!json_is_boolean(value))
        fail(r, name, "must be true or false");
    return json_is_true(value);
}

static json_t *get_object(struct reader *r, const json_t *object, const char *const *names)
{
    const char *name;
    json_t *value = find(object, names, &name);
    if (value && !json_is_object(value))
        fail(r, name, "must be an object");
    return json_is_object(value) ? value : NULL;
}

static json_t *get_array(struct reader *r, const json_t *object, const char *const *names)
{
    const char *name;
    json_t *value = find(object, names, &name);
    if (value && !json_is_array(value))
        fail(r, name, "must be an array");
    return json_is_array(value) ? value : NULL;
}

// RFC 3339, or a number: seconds since 1970, or milliseconds where seconds would be beyond TIME_END. Times outside of
// 1970 … TIME_END (an unset DateTime is written as year 1) count as not said.
static int64_t get_time(struct reader *r, const json_t *object, const char *const *names)
{
    const char *name;
    const json_t *value = find(object, names, &name);
    int64_t ms = 0;
    if (!value)
        return 0;
    if (json_is_string(value)) {
        if (clock_parse(json_string_value(value), &ms) < 0)
            fail(r, name, "is no RFC 3339 time");
    } else if (json_is_number(value)) {
        double number = json_number_value(value);
        number = number < 1e11 ? number * 1000 : number;
        ms = number > 0 && number < (double)TIME_END ? (int64_t)(number + 0.5) : 0;
    } else {
        fail(r, name, "must be a time");
    }
    return ms > 0 && ms < TIME_END ? ms : 0;
}

// ---- vectors ----

// Reads the array of numbers at `span`; false when it is anything but that.
static bool read_vector(const char *text, struct scan_span span, struct arena *arena, struct cut *out)
{
    size_t most = 1, count = 0, at = span.start + 1;
    for (size_t i = span.start; i < span.end; i++)
        most += text[i] == ',';
    if (most > DIMENSION_MAX)
        return false;
    float *values = arena_alloc(arena, most * sizeof *values);
    for (char next = ','; next == ','; at++) {
        double number;
        at = scan_space(text, span.end, at);
        size_t used = number_read(text + at, span.end - at, &number);
        if (!used || !isfinite((float)number))
            return false;
        values[count++] = (float)number;
        at = scan_space(text, span.end, at + used);
        next = text[at];
        if (next != ',' && next != ']')
            return false;
    }
    if (at != span.end)
        return false;
    out->values = values;
    out->count = count;
    return true;
}

// Finds the vector in the text and reads it; false when the JSON parser must do it.
static bool find_vector(const char *text, size_t len, struct arena *arena, struct scan_span *span, struct cut *out)
{
    static const char *const keys[] = {"featureVector", "vectors"};
    size_t top = scan_space(text, len, 0), object = top;
    struct scan_span data;
    if (scan_member(text, len, top, "data", &data) && text[data.start] == '{')
        object = data.start;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (scan_member(text, len, object, keys[i], span) && text[span->start] == '[') {
            out->key = keys[i];
            out->within_data = object != top;
            return read_vector(text, *span, arena, out);
        }
    }
    return false;
}

// Whether the vector that was cut out is the one that the payload's reader would choose.
static bool cut_fits(const struct reader *r)
{
    const char *name;
    const json_t *value = find(r->body, NAMES("featureVector", "vectors"), &name);
    return r->cut.within_data == r->envelope && strcmp(name, r->cut.key) == 0 && json_array_size(value) == 0;
}

static const float *vector_of(struct reader *r, size_t *count)
{
    const char *name;
    const json_t *value = find(r->body, NAMES("featureVector", "vectors"), &name);
    *count = r->cut.key ? r->cut.count : json_array_size(value);
    if (*count == 0 || *count > DIMENSION_MAX) {
        fail(r, name, !value ? "is missing" : *count ? "has too many numbers" : "must be an array of numbers");
        return NULL;
    }
    if (r->cut.key)
        return r->cut.values;
    float *values = arena_alloc(r->arena, *count * sizeof *values);
    for (size_t i = 0; i < *count; i++) {
        const json_t *element = json_array_get(value, i);
        values[i] = (float)json_number_value(element);
        if (!json_is_number(element) || !isfinite(values[i])) {
            fail(r, name, json_is_number(element) ? "holds a number that is out of range" : "must hold numbers only");
            return NULL;
        }
    }
    return values;
}

// ---- payloads ----

// The path that a storageProvider spells out: "minio://container/name"; the name alone is a file's.
static const char *provided_path(struct reader *r)
{
    const json_t *provider = get_object(r, r->body, NAMES("storageProvider"));
    const char *type = get_text(r, provider, NAMES("type")), *container = get_text(r, provider, NAMES("containerName")),
               *name = get_text(r, provider, NAMES("blobName"));
    if (!name || !container || !type)
        return name;
    return arena_printf(r->arena, "%s://%s/%s", type, container, name);
}

static const char *path_of(struct reader *r)
{
    static const char *const names[] = {"filePath", "imagePath", "storagePath", "preprocessedPath", "videoPath", NULL};
    const char *path = get_text(r, r->body, names);
    if (!path || !*path)
        path = provided_path(r);
    return path && *path ? path : need_text(r, r->body, names);
}

static const char *last_part(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash ? slash + 1 : path;
}

// Takes a member of the type wanted out of the metadata; what has another type is the client's and stays.
static int take_int(json_t *metadata, const char *key)
{
    double number = json_number_value(json_object_get(metadata, key));
    if (number < 1 || number > INT32_MAX || number != floor(number))
        return 0;
    json_object_del(metadata, key);
    return (int)number;
}

static const char *take_text(struct reader *r, json_t *metadata, const char *key)
{
    const char *text = arena_strdup(r->arena, json_string_value(json_object_get(metadata, key)));
    if (text)
        json_object_del(metadata, key);
    return text;
}

static void read_uploaded(struct reader *r, struct event *ev)
{
    struct event_image_uploaded *out = &ev->image_uploaded;
    out->path = path_of(r);
    out->provided = provided_path(r);
    out->file_name = get_text(r, r->body, NAMES("fileName"));
    out->size = (uint64_t)get_int(r, r->body, NAMES("fileSize", "sizeBytes"), (int64_t)1 << 53);
    out->content_type = get_text(r, r->body, NAMES("contentType", "mimeType"));
    out->uploaded_by = get_text(r, r->body, NAMES("uploadedBy"));
    out->uploaded_ms = get_time(r, r->body, NAMES("uploadedAt"));
    out->duration = get_number(r, r->body, NAMES("duration"), 0, 1e9);
    out->options = get_object(r, r->top, NAMES("processingOptions"));
    if (!out->options)
        out->options = get_object(r, r->body, NAMES("processingOptions"));
    json_t *metadata = get_object(r, r->body, NAMES("metadata"));
    out->width = take_int(metadata, "width");
    out->height = take_int(metadata, "height");
    out->format = take_text(r, metadata, "format");
    out->original_name = take_text(r, metadata, "originalFileName");
    out->metadata = json_object_size(metadata) ? metadata : NULL;
    if (!out->file_name)
        out->file_name = out->original_name ? out->original_name : last_part(out->path);
    if (!out->content_type)
        out->content_type = "application/octet-stream";
    if (!out->uploaded_ms)
        out->uploaded_ms = ev->timestamp_ms;
}

static const char *priority_of(struct reader *r)
{
    const json_t *options = get_object(r, r->top, NAMES("processingOptions"));
    return get_text(r, options, NAMES("priority"));
}

static void read_extraction(struct reader *r, struct event *ev)
{
    struct event_extraction *out = &ev->extraction;
    const json_t *params = get_object(r, r->body, NAMES("extractionParams"));
    const json_t *options = get_object(r, r->body, NAMES("extractionOptions"));
    out->path = path_of(r);
    out->model = get_text(r, r->body, NAMES("modelName", "model"));
    if (!out->model)
        out->model = get_text(r, params, NAMES("model", "modelName"));
    out->version = get_text(r, r->body, NAMES("modelVersion"));
    if (!out->version)
        out->version = get_text(r, params, NAMES("modelVersion"));
    out->dimension = (int)get_int(r, r->body, NAMES("expectedDimension", "dimensions"), DIMENSION_MAX);
    if (!out->dimension)
        out->dimension = (int)get_int(r, params, NAMES("dimensions", "expectedDimension"), DIMENSION_MAX);
    out->normalize = get_bool(r, params ? params : options, NAMES("normalize"), true);
    out->timeout_s = (int)get_int(r, params ? params : options, NAMES("timeout"), INT32_MAX);
    out->priority = priority_of(r);
    if (!ev->timestamp_ms)
        ev->timestamp_ms = get_time(r, r->body, NAMES("requestedAt"));
}

// The payload that filters match on: `metadata`, completed by what only `imageMetadata` says.
static json_t *filter_payload(struct reader *r)
{
    json_t *metadata = get_object(r, r->body, NAMES("metadata"));
    json_t *image = get_object(r, r->body, NAMES("imageMetadata")), *value;
    const char *key;
    if (!image || json_object_size(image) == 0)
        return metadata;
    if (!metadata) {
        metadata = json_object();
        json_object_set_new(r->body, "metadata", metadata);
    }
    json_object_foreach(image, key, value)
    {
        const char *name = strcmp(key, "fileSize") == 0 ? "sizeBytes" : key;
        if (!json_object_get(metadata, name))
            json_object_set(metadata, name, value);
    }
    return metadata;
}

static void read_indexing(struct reader *r, struct event *ev)
{
    struct event_indexing *out = &ev->indexing;
    const json_t *about = get_object(r, r->body, NAMES("vectorMetadata"));
    const json_t *params = get_object(r, r->body, NAMES("extractionParams"));
    out->vector = vector_of(r, &out->dimension);
    size_t said = (size_t)get_int(r, r->body, NAMES("dimensions", "expectedDimension", "dimension"), DIMENSION_MAX);
    if (said && said != out->dimension)
        fail(r, "dimensions", "differs from the number of values in the vector");
    out->model = get_text(r, r->body, NAMES("modelName", "model"));
    if (!out->model)
        out->model = get_text(r, params, NAMES("model", "modelName"));
    out->version = get_text(r, about, NAMES("modelVersion"));
    if (!out->version)
        out->version = get_text(r, r->body, NAMES("modelVersion"));
    out->extracted_ms = get_time(r, about, NAMES("extractionTime"));
    if (!out->extracted_ms)
        out->extracted_ms = get_time(r, r->body, NAMES("extractedAt"));
    out->processing_ms = get_number(r, about, NAMES("processingTimeMs"), 0, 1e15);
    out->metadata = filter_payload(r);
    out->priority = priority_of(r);
    if (!ev->timestamp_ms)
        ev->timestamp_ms = out->extracted_ms;
    if (!out->extracted_ms)
        out->extracted_ms = ev->timestamp_ms;
}

// Seconds, as the flat form has them, in milliseconds.
static int64_t get_seconds(struct reader *r, const json_t *object, const char *const *names)
{
    return (int64_t)(get_number(r, object, names, 0, (double)DURATION_MAX / 1000) * 1000 + 0.5);
}

static void read_step(struct reader *r, const json_t *item, struct event_completed_step *out)
{
    if (!json_is_object(item))
        fail(r, "processingSteps", "must hold objects only");
    out->step = need_text(r, item, NAMES("step"));
    out->status = get_text(r, item, NAMES("status"));
    out->duration_ms = get_int(r, item, NAMES("duration", "durationMs"), DURATION_MAX);
    out->model = get_text(r, item, NAMES("modelName", "model"));
    out->collection = get_text(r, item, NAMES("collectionName"));
    if (!out->status)
        out->status = "completed";
}

// The flat form's metrics: seconds a step, by name.
static void read_metrics(struct reader *r, struct event_completed *out)
{
    static const struct {
        const char *metric, *step;
    } known[] = {{"preprocessingTime", "preprocessing"},
                 {"extractionTime", "feature_extraction"},
                 {"indexingTime", "vector_indexing"}};
    const json_t *metrics = get_object(r, r->body, NAMES("metrics"));
    struct event_completed_step *steps = arena_alloc(r->arena, ARRAY_LEN(known) * sizeof *steps);
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (!json_object_get(metrics, known[i].metric))
            continue;
        int64_t ms = get_seconds(r, metrics, NAMES(known[i].metric));
        steps[out->step_count++] =
            (struct event_completed_step){.step = known[i].step, .status = "completed", .duration_ms = ms};
    }
    out->steps = steps;
}

static void read_completed(struct reader *r, struct event *ev)
{
    struct event_completed *out = &ev->completed;
    const json_t *list = get_array(r, r->body, NAMES("processingSteps"));
    const char *name;
    out->status = get_text(r, r->body, NAMES("status"));
    if (!out->status || strcmp(out->status, "completed") == 0)
        out->status = "success";
    struct event_completed_step *steps = arena_alloc(r->arena, (json_array_size(list) + 1) * sizeof *steps);
    for (size_t i = 0; i < json_array_size(list) && !r->failed; i++)
        read_step(r, json_array_get(list, i), &steps[out->step_count++]);
    out->steps = steps;
    if (!list)
        read_metrics(r, out);
    if (find(r->body, NAMES("totalProcessingTime"), &name))
        out->total_ms = get_int(r, r->body, NAMES("totalProcessingTime"), DURATION_MAX);
    else
        out->total_ms = get_seconds(r, r->body, NAMES("processingTime"));
    out->searchable_ms = get_time(r, r->body, NAMES("searchableAfter", "completedAt"));
    out->duplicate_of = get_text(r, r->body, NAMES("duplicateOf"));
    out->duplicate_score = get_number(r, r->body, NAMES("duplicateScore"), -1, 1);
    if (!ev->timestamp_ms)
        ev->timestamp_ms = out->searchable_ms;
    if (!out->searchable_ms)
        out->searchable_ms = ev->timestamp_ms;
}

static void read_failed(struct reader *r, struct event *ev)
{
    struct event_failed *out = &ev->failed;
    const char *name;
    const json_t *error = find(r->body, NAMES("error"), &name);
    if (json_is_string(error)) {
        out->message = get_text(r, r->body, NAMES("error"));
        error = NULL;
    } else {
        error = get_object(r, r->body, NAMES("error"));
    }
    const json_t *from = error ? error : r->body;
    out->code = get_text(r, from, NAMES("code", "errorCode"));
    if (!out->message)
        out->message = get_text(r, from, NAMES("message", "errorMessage"));
    if (!out->code)
        out->code = error_code_name(ERR_INTERNAL);
    if (!out->message)
        out->message = "";
    out->retryable = get_bool(r, from, NAMES("retryable"), error_code_retryable(error_code_parse(out->code)));
    out->trace = get_text(r, from, NAMES("stackTrace"));
    out->attempt = (int)get_int(r, r->body, NAMES("attemptNumber"), INT32_MAX);
    out->final = get_bool(r, r->body, NAMES("final"), !out->retryable);
    out->step = get_text(r, r->body, NAMES("step"));
    out->model = get_text(r, r->body, NAMES("modelName", "model"));
    out->failed_ms = get_time(r, r->body, NAMES("failedAt"));
    out->duplicate_of = get_text(r, r->body, NAMES("duplicateOf"));
    out->duplicate_score = get_number(r, r->body, NAMES("duplicateScore"), -1, 1);
    if (!out->attempt)
        out->attempt = ev->attempt;
    if (!ev->timestamp_ms)
        ev->timestamp_ms = out->failed_ms;
    if (!out->failed_ms)
        out->failed_ms = ev->timestamp_ms;
}

static void read_maintenance(struct reader *r, struct event *ev)
{
    struct event_maintenance *out = &ev->maintenance;
    const json_t *list = get_array(r, r->body, NAMES("actions"));
    out->type = need_text(r, r->body, NAMES("maintenanceType"));
    const char **actions = arena_alloc(r->arena, (json_array_size(list) + 1) * sizeof *actions);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        if (!json_is_string(item))
            fail(r, "actions", "must hold strings only");
        actions[out->action_count++] = arena_strdup(r->arena, json_string_value(item));
    }
    out->actions = actions;
    out->requested_ms = get_time(r, r->body, NAMES("requestedAt"));
    if (!ev->timestamp_ms)
        ev->timestamp_ms = out->requested_ms;
    if (!out->requested_ms)
        out->requested_ms = ev->timestamp_ms;
}

static void read_message(struct reader *r, struct event *ev)
{
    struct event_message *out = &ev->message;
    out->id = need_text(r, r->body, NAMES("messageId"));
    out->from_me = get_bool(r, r->body, NAMES("fromMe"), false);
    out->type = get_text(r, r->body, NAMES("messageType"));
    out->content = get_text(r, r->body, NAMES("content"));
    out->metadata = get_object(r, r->body, NAMES("metadata"));
    if (!out->type)
        out->type = "text";
}

static void (*const payloads[TOPIC_COUNT])(struct reader *, struct event *) = {
    [TOPIC_IMAGES_UPLOADED] = read_uploaded,       [TOPIC_VIDEOS_UPLOADED] = read_uploaded,
    [TOPIC_FEATURES_EXTRACTION] = read_extraction, [TOPIC_VECTORS_INDEXING] = read_indexing,
    [TOPIC_PROCESSING_COMPLETED] = read_completed, [TOPIC_PROCESSING_FAILED] = read_failed,
    [TOPIC_IMAGES_MAINTENANCE] = read_maintenance, [TOPIC_MESSAGES] = read_message,
};

// ---- what all events have ----

static const char *event_id_of(struct reader *r, const char *const *names)
{
    const char *text = get_text(r, r->top, names);
    char id[ID_MAX];
    if (!text || !*text)
        return NULL;
    if (id_parse("evt", text, id) < 0)
        id_derive("evt", text, NULL, id); // another system's: the same text gives the same id
    return arena_strdup(r->arena, id);
}

// An id says by its prefix what it names; a bare one is what the member's name says.
static const char *media_id_of(struct reader *r, enum event_topic topic)
{
    static const char *const prefixes[] = {"img", "vid", "frm"};
    bool video = topic == TOPIC_VIDEOS_UPLOADED;
    const char *const *names = video ? NAMES("mediaId", "videoId", "imageId") : NAMES("mediaId", "imageId", "videoId");
    const char *name, *text = get_text(r, r->body, names);
    find(r->body, names, &name);
    const char *prefix = strcmp(name, "videoId") == 0 || video ? "vid" : "img";
    char id[ID_MAX];
    for (size_t i = 0; text && i < ARRAY_LEN(prefixes); i++)
        if (strncmp(text, prefixes[i], 3) == 0 && text[3] == '_')
            prefix = prefixes[i];
    if (!text)
        fail(r, video ? "videoId" : "imageId", "is missing");
    else if (id_parse(prefix, text, id) < 0)
        fail(r, name, "is no id");
    return r->failed ? NULL : arena_strdup(r->arena, id);
}

static const char *chat_of(struct reader *r)
{
    const char *chat = need_text(r, r->body, NAMES("chatJid"));
    if (chat && strlen(chat) > KEY_MAX)
        fail(r, "chatJid", "is too long");
    return chat;
}

static bool tenant_valid(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return len > 0 && len <= TENANT_MAX && name[len] == 0 && !strchr("._-", name[0]);
}

static const char *tenant_of(struct reader *r)
{
    const char *name = get_text(r, r->top, NAMES("tenantId"));
    if (!name)
        name = get_text(r, r->body, NAMES("tenantId"));
    if (name && !tenant_valid(name))
        fail(r, "tenantId", "is no tenant's name");
    return name ? name : "default";
}

static void read_retry_policy(struct reader *r, struct event *ev)
{
    const json_t *policy = get_object(r, r->top, NAMES("retryPolicy"));
    ev->attempt = (int)get_int(r, policy, NAMES("currentAttempt"), ATTEMPTS_MAX);
    ev->max_attempts = (int)get_int(r, policy, NAMES("maxAttempts"), ATTEMPTS_MAX);
    ev->backoff_ms = get_int(r, policy, NAMES("backoffMs"), BACKOFF_MAX);
    if (!ev->attempt)
        ev->attempt = 1;
}

// A type that belongs to another topic would be read as something that it is not.
static void check_type(struct reader *r, enum event_topic topic)
{
    const char *type = r->envelope ? get_text(r, r->top, NAMES("eventType")) : NULL;
    for (int i = 0; type && *type && i < TOPIC_COUNT; i++)
        if (i != (int)topic && strcmp(type, event_topic_type((enum event_topic)i)) == 0)
            fail(r, "eventType", "belongs on another topic");
}

static void read_event(struct reader *r, enum event_topic topic, const char *fallback_id, struct event *ev)
{
    ev->topic = topic;
    check_type(r, topic);
    ev->id = event_id_of(r, NAMES("eventId"));
    if (!ev->id)
        ev->id = arena_strdup(r->arena, fallback_id);
    if (!ev->id)
        fail(r, "eventId", "is missing");
    ev->correlation = event_id_of(r, NAMES("correlationId"));
    ev->tenant = tenant_of(r);
    ev->timestamp_ms = get_time(r, r->top, NAMES("timestamp"));
    if (!ev->timestamp_ms && (topic == TOPIC_IMAGES_UPLOADED || topic == TOPIC_VIDEOS_UPLOADED))
        ev->timestamp_ms = get_time(r, r->body, NAMES("uploadedAt"));
    read_retry_policy(r, ev);
    ev->more = r->envelope ? r->top : NULL;
    ev->more_data = r->body;
    ev->media_id = topic == TOPIC_MESSAGES ? chat_of(r) : media_id_of(r, topic);
    if (!r->failed)
        payloads[topic](r, ev);
}

// ---- the message ----

static void open_body(struct reader *r, json_t *root)
{
    json_t *data = js_obj(root, "data");
    bool flat = json_object_get(root, "imageId") || json_object_get(root, "videoId");
    r->top = root;
    r->envelope = data && (json_object_get(root, "eventType") || !flat);
    r->body = r->envelope ? data : root;
}

// Parses the text without its vector when that could be read by itself.
static json_t *parse_without_vector(const char *text, size_t len, struct reader *r)
{
    struct scan_span span;
    if (!find_vector(text, len, r->arena, &span, &r->cut)) {
        r->cut = (struct cut){0};
        return NULL;
    }
    _cleanup_buf_ struct buf rest = BUF_INIT(MESSAGE_MAX);
    buf_append(&rest, text, span.start);
    buf_puts(&rest, "[]");
    if (buf_append(&rest, text + span.end, len - span.end) < 0)
        return NULL;
    _cleanup_json_ json_t *root = message_parse(rest.data, rest.len, NULL);
    if (root)
        open_body(r, root);
    if (!root || !cut_fits(r)) {
        r->cut = (struct cut){0};
        return NULL;
    }
    return take_ptr(root);
}

int event_decode(enum event_topic topic, const void *data, size_t len, const char *fallback_id, struct arena *arena,
                 struct event *out, json_t **root, struct error *err)
{
    if (!payloads[topic])
        return error_set(err, ERR_UNSUPPORTED, "Records of %s are the original's bytes", event_topic_name(topic));
    struct reader r = {.arena = arena, .err = err};
    struct event ev = {0};
    _cleanup_json_ json_t *parsed = NULL;
    if (topic == TOPIC_VECTORS_INDEXING && len <= MESSAGE_MAX)
        parsed = parse_without_vector(data, len, &r);
    if (!parsed)
        parsed = message_parse(data, len, err);
    if (!parsed)
        return -1;
    open_body(&r, parsed);
    read_event(&r, topic, fallback_id, &ev);
    if (r.failed)
        return -1;
    *out = ev;
    *root = take_ptr(parsed);
    return 0;
}
