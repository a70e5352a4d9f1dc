// SPDX-License-Identifier: Apache-2.0
// The writer: what it writes reads back to the same event in every form, and stands exactly where the documents put it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/js.h"
#include "events/event.h"
#include "examples.h"
#include "fixtures.h"
#include "same.h"

static const char fallback[] = "evt_00000000-0000-8000-8000-000000000001";
static const struct event_format forms[] = {{false, false}, {false, true}, {true, false}, {true, true}};
static const struct event_format envelope = {false, false}, flat = {true, false}, bare = {false, true};

static json_t *parse(const struct buf *b)
{
    struct error err;
    json_t *root = js_parse(b->data, b->len, &err);
    if (!root)
        fail_msg("%s", err.message);
    return root;
}

static json_t *written(const struct event *ev, struct event_format form)
{
    _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
    struct error err;
    if (event_encode(ev, form, &out, &err) < 0)
        fail_msg("%s", err.message);
    return parse(&out);
}

// Writes and reads; fails naming what differs.
static void comes_back(const struct event *ev, struct event_format form)
{
    _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
    _cleanup_arena_ struct arena arena = {0};
    _cleanup_json_ json_t *root = NULL;
    struct error err;
    struct event back;
    assert_int_equal(event_encode(ev, form, &out, &err), 0);
    if (event_decode(ev->topic, out.data, out.len, fallback, &arena, &back, &root, &err) < 0)
        fail_msg("%s: %s", err.message, out.data);
    const char *member = event_differs(ev, &back);
    if (member)
        fail_msg("%s of %s (flat %d, bare %d) does not come back: %s", member, event_topic_name(ev->topic), form.flat,
                 form.bare_ids, out.data);
}

static void every_event_in_every_form(void **state)
{
    for (int topic = 0; topic < TOPIC_DEADLETTER; topic++) {
        for (size_t form = 0; form < ARRAY_LEN(forms); form++) {
            struct event ev;
            fixture_full((enum event_topic)topic, &ev);
            comes_back(&ev, forms[form]);
            fixture_free(&ev);
            fixture_bare((enum event_topic)topic, &ev);
            comes_back(&ev, forms[form]);
            fixture_free(&ev);
        }
    }
}

static void every_example_in_every_form(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        for (size_t form = 0; form < ARRAY_LEN(forms); form++) {
            _cleanup_arena_ struct arena arena = {0};
            _cleanup_json_ json_t *root = NULL;
            struct event ev;
            assert_int_equal(event_decode(examples[i].topic, examples[i].json, strlen(examples[i].json), fallback,
                                          &arena, &ev, &root, NULL),
                             0);
            comes_back(&ev, forms[form]);
        }
    }
}

// Every member of `expected` stands in `actual` with the same value, at every depth.
static void holds(const json_t *actual, const json_t *expected, const char *where)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)expected, key, value)
    {
        const json_t *there = json_object_get(actual, key);
        if (json_is_object(value) && json_is_object(there))
            holds(there, value, key);
        else if (!json_equal(value, there))
            fail_msg("%s.%s is not written as in the document", where, key);
    }
}

// A document's example, read and written in its own form, has every member of the original again, but for what the
// event does not keep: another system's storage provider, its stack traces and its confidence.
static void examples_keep_their_shape(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        _cleanup_arena_ struct arena arena = {0};
        _cleanup_json_ json_t *root = NULL, *expected = json_loads(examples[i].json, 0, NULL);
        struct event ev;
        assert_int_equal(event_decode(examples[i].topic, examples[i].json, strlen(examples[i].json), fallback, &arena,
                                      &ev, &root, NULL),
                         0);
        _cleanup_json_ json_t *actual = written(&ev, examples[i].flat ? flat : envelope);
        json_object_del(js_obj(expected, "data"), "storageProvider");
        json_object_del(js_obj(expected, "error"), "stackTrace");
        json_object_del(js_obj(js_obj(expected, "data"), "vectorMetadata"), "confidence");
        json_t *about = js_obj(js_obj(expected, "data"), "vectorMetadata");
        if (about) // 2150 and 2150.0 are the same number
            json_object_set_new(about, "processingTimeMs", json_real(js_num(about, "processingTimeMs", 0)));
        for (const char *const *key =
                 (const char *const[]){"timestamp", "uploadedAt", "requestedAt", "extractedAt", "completedAt",
                                       "failedAt", "searchableAfter", "extractionTime", NULL};
             *key; key++) { // times are written with milliseconds
            json_t *const objects[] = {expected, js_obj(expected, "data"), about};
            for (size_t o = 0; o < ARRAY_LEN(objects); o++) {
                const char *text = js_str(objects[o], *key, NULL);
                if (text && strlen(text) == 20)
                    json_object_set_new(objects[o], *key, json_sprintf("%.19s.000Z", text));
            }
        }
        holds(actual, expected, event_topic_name(examples[i].topic));
    }
}

static void envelope_nesting(void **state)
{
    struct event ev;
    fixture_full(TOPIC_IMAGES_UPLOADED, &ev);
    _cleanup_json_ json_t *root = written(&ev, envelope);
    assert_string_equal(js_str(root, "eventType", ""), "image.uploaded");
    assert_string_equal(js_str(root, "eventVersion", ""), "1.0");
    assert_non_null(js_obj(root, "processingOptions"));
    assert_non_null(js_obj(root, "retryPolicy"));
    json_t *data = js_obj(root, "data"), *metadata = js_obj(data, "metadata");
    assert_null(json_object_get(data, "processingOptions"));
    assert_string_equal(js_str(metadata, "category", ""), "shoes");
    assert_int_equal(js_int(metadata, "width", 0), 1920);
    assert_int_equal(json_array_size(js_arr(metadata, "tags")), 2);
    json_t *provider = js_obj(data, "storageProvider");
    assert_string_equal(js_str(provider, "type", ""), "minio");
    assert_string_equal(js_str(provider, "containerName", ""), "tenant-abc");
    assert_string_equal(js_str(provider, "blobName", ""), "images/2025/photo.jpg");
    fixture_free(&ev);
}

static void ours_win_over_the_clients(void **state)
{
    struct event ev;
    fixture_full(TOPIC_IMAGES_UPLOADED, &ev);
    json_object_set_new(ev.image_uploaded.metadata, "width", json_string("wide"));
    _cleanup_json_ json_t *root = written(&ev, envelope);
    assert_int_equal(js_int(js_obj(js_obj(root, "data"), "metadata"), "width", 0), 1920);
    assert_string_equal(js_str(ev.image_uploaded.metadata, "width", ""), "wide"); // the caller's is as it was
    fixture_free(&ev);
}

static void ids_lose_their_prefix_only_when_bare(void **state)
{
    struct event ev;
    fixture_full(TOPIC_PROCESSING_COMPLETED, &ev);
    _cleanup_json_ json_t *full = written(&ev, envelope), *plain = written(&ev, bare);
    assert_string_equal(js_str(full, "eventId", ""), ev.id);
    assert_string_equal(js_str(js_obj(full, "data"), "imageId", ""), ev.media_id);
    assert_string_equal(js_str(plain, "eventId", ""), ev.id + 4);
    assert_string_equal(js_str(plain, "correlationId", ""), ev.correlation + 4);
    assert_string_equal(js_str(js_obj(plain, "data"), "imageId", ""), ev.media_id + 4);
    ev.media_id = "img_123456";
    _cleanup_json_ json_t *foreign = written(&ev, bare);
    assert_string_equal(js_str(js_obj(foreign, "data"), "imageId", ""), "img_123456");
}

// What another system's message has besides goes into what follows from it, at its place or where the form has one.
static void unknown_members_go_along(void **state)
{
    static const char enveloped[] =
        "{\"eventId\":\"evt_1\",\"eventType\":\"image.uploaded\",\"traceId\":\"t\",\"deep\":{\"a\":[1.5,null]},"
        "\"data\":{\"imageId\":\"img_1\",\"filePath\":\"/a\",\"campaign\":7,\"traceId\":\"inner\"}}";
    static const char flatly[] = "{\"imageId\":\"img_1\",\"storagePath\":\"/a\",\"campaign\":7,\"mimeType\":\"x\"}";
    static const struct {
        const char *message;
        bool flat;
        const char *top, *data;
    } cases[] = {
        {enveloped, false, "{\"traceId\":\"t\",\"deep\":{\"a\":[1.5,null]}}", "{\"campaign\":7,\"traceId\":\"inner\"}"},
        {enveloped, true, "{\"campaign\":7,\"traceId\":\"inner\",\"deep\":{\"a\":[1.5,null]}}", NULL},
        {flatly, false, NULL, "{\"campaign\":7}"},
        {flatly, true, "{\"campaign\":7}", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena arena = {0};
        _cleanup_json_ json_t *root = NULL, *plain_top = NULL, *plain_data = NULL;
        struct event from, next, bare_next;
        struct error err;
        if (event_decode(TOPIC_IMAGES_UPLOADED, cases[i].message, strlen(cases[i].message), fallback, &arena, &from,
                         &root, &err) < 0)
            fail_msg("%s", err.message);
        fixture_full(TOPIC_FEATURES_EXTRACTION, &next);
        bare_next = next;
        next.more = from.more;
        next.more_data = from.more_data;
        const struct event_format form = {.flat = cases[i].flat};
        _cleanup_json_ json_t *out = written(&next, form), *without = written(&bare_next, form);
        json_t *data = js_obj(out, "data");
        plain_top = cases[i].top ? js_parse(cases[i].top, strlen(cases[i].top), NULL) : json_object();
        plain_data = cases[i].data ? js_parse(cases[i].data, strlen(cases[i].data), NULL) : json_object();
        json_object_update_recursive(without, plain_top);
        if (data)
            json_object_update(js_obj(without, "data"), plain_data);
        assert_true(json_equal(out, without));
        comes_back(&next, form);
    }
}

static void frames_and_videos_come_back_bare(void **state)
{
    struct event ev;
    fixture_full(TOPIC_PROCESSING_COMPLETED, &ev);
    for (size_t form = 0; form < ARRAY_LEN(forms); form++) {
        ev.media_id = "frm_98765432-4321-4321-4321-210987654321";
        comes_back(&ev, forms[form]);
        ev.media_id = "vid_98765432-4321-4321-4321-210987654321";
        comes_back(&ev, forms[form]);
    }
    _cleanup_json_ json_t *root = written(&ev, envelope);
    assert_null(json_object_get(js_obj(root, "data"), "imageId"));
    assert_string_equal(js_str(js_obj(root, "data"), "videoId", ""), ev.media_id);
}

static void without_a_time_it_is_now(void **state)
{
    struct event ev;
    fixture_bare(TOPIC_PROCESSING_COMPLETED, &ev);
    ev.timestamp_ms = 0;
    _cleanup_json_ json_t *root = written(&ev, envelope);
    assert_int_equal(strlen(js_str(root, "timestamp", "")), 24);
}

static void messages_count_in_seconds(void **state)
{
    struct event ev;
    fixture_bare(TOPIC_MESSAGES, &ev);
    ev.timestamp_ms = 1705234567000;
    _cleanup_json_ json_t *whole = written(&ev, envelope);
    assert_true(json_is_integer(json_object_get(whole, "timestamp")));
    assert_int_equal(js_int(whole, "timestamp", 0), 1705234567);
    assert_null(json_object_get(whole, "data"));
}

static void bad_utf8_is_mended(void **state)
{
    struct event ev;
    fixture_bare(TOPIC_IMAGES_UPLOADED, &ev);
    ev.image_uploaded.file_name = "a\xff.jpg";
    _cleanup_json_ json_t *root = written(&ev, envelope);
    assert_string_equal(js_str(js_obj(root, "data"), "fileName", ""), "a\xef\xbf\xbd.jpg");
}

static void refused(const struct event *ev, enum error_code code)
{
    _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
    struct error err;
    buf_puts(&out, "before");
    assert_int_equal(event_encode(ev, envelope, &out, &err), -1);
    assert_int_equal(err.code, code);
    assert_string_equal(out.data, "before");
}

static void what_cannot_be_written(void **state)
{
    static const float bad[3][1] = {{__builtin_nanf("")}, {__builtin_inff()}, {-__builtin_inff()}};
    struct event ev;
    fixture_bare(TOPIC_VECTORS_INDEXING, &ev);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ev.indexing.vector = bad[i];
        refused(&ev, ERR_EVENT_INVALID);
    }
    fixture_bare(TOPIC_PROCESSING_COMPLETED, &ev);
    ev.media_id = NULL;
    refused(&ev, ERR_EVENT_INVALID);
    ev.topic = TOPIC_DEADLETTER;
    refused(&ev, ERR_UNSUPPORTED);
}

static void a_full_buffer_stays_as_it_was(void **state)
{
    struct event ev;
    fixture_full(TOPIC_VECTORS_INDEXING, &ev);
    _cleanup_buf_ struct buf whole = BUF_INIT(1 << 20);
    assert_int_equal(event_encode(&ev, envelope, &whole, NULL), 0);
    for (size_t max = 0; max < whole.len; max++) {
        _cleanup_buf_ struct buf out = BUF_INIT(max);
        struct error err;
        assert_int_equal(event_encode(&ev, envelope, &out, &err), -1);
        assert_int_equal(err.code, ERR_EVENT_INVALID);
        assert_int_equal(out.len, 0);
    }
    fixture_free(&ev);
}

// Random bit patterns: every finite float must come back as it went.
static void vectors_are_bit_exact(void **state)
{
    enum { DIMENSION = 20000 };
    _cleanup_free_ float *vector = malloc(DIMENSION * sizeof *vector);
    uint64_t seed = 0x9e3779b97f4a7c15;
    for (size_t i = 0; i < DIMENSION; i++) {
        uint32_t bits;
        do {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            bits = (uint32_t)(seed >> 32);
            if (i % 2) // every other one in [0.0078, 2): what vectors are made of
                bits = (bits & 0x83ffffff) | 0x3c000000;
        } while ((bits & 0x7f800000) == 0x7f800000);
        memcpy(&vector[i], &bits, sizeof bits);
    }
    struct event ev;
    fixture_bare(TOPIC_VECTORS_INDEXING, &ev);
    ev.indexing.vector = vector;
    ev.indexing.dimension = DIMENSION;
    comes_back(&ev, envelope);
    comes_back(&ev, flat);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_event_in_every_form),
        cmocka_unit_test(every_example_in_every_form),
        cmocka_unit_test(examples_keep_their_shape),
        cmocka_unit_test(envelope_nesting),
        cmocka_unit_test(ours_win_over_the_clients),
        cmocka_unit_test(ids_lose_their_prefix_only_when_bare),
        cmocka_unit_test(unknown_members_go_along),
        cmocka_unit_test(frames_and_videos_come_back_bare),
        cmocka_unit_test(without_a_time_it_is_now),
        cmocka_unit_test(messages_count_in_seconds),
        cmocka_unit_test(bad_utf8_is_mended),
        cmocka_unit_test(what_cannot_be_written),
        cmocka_unit_test(a_full_buffer_stays_as_it_was),
        cmocka_unit_test(vectors_are_bit_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
