// SPDX-License-Identifier: Apache-2.0
// Uploads: what a client may say, what is refused and leaves nothing behind, duplicates, and the event.
#include <stdlib.h>
#include <string.h>

#include "base/js.h"
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

// Uploads picture `number` with these fields.
static int upload(struct rig *rig, int number, const struct upload_fields *fields, struct arena *arena,
                  struct upload_result *out, struct error *err)
{
    size_t len;
    _cleanup_free_ void *picture = rig_picture(number, &len);
    struct upload *u;
    if (upload_begin(&rig->flow, len, &u, err) < 0)
        return -1;
    if (upload_write(u, picture, len, err) < 0) {
        upload_abort(u);
        return -1;
    }
    return upload_finish(u, fields, arena, out, err);
}

static void nothing_is_there(struct rig *rig)
{
    assert_int_equal(rig_blobs(rig), 0);
    assert_int_equal(rig_ledger(rig).accepted, 0);
    assert_int_equal(rig_count(rig, TOPIC_IMAGES_UPLOADED), 0);
}

static void refused(struct rig *rig, enum error_code code, const struct upload_fields *fields)
{
    _cleanup_arena_ struct arena arena = {0};
    struct upload_result result;
    struct upload_fields f = *fields;
    f.tenant = f.tenant ? f.tenant : "default";
    must_fail(code, upload(rig, 1, &f, &arena, &result, err));
    nothing_is_there(rig);
}

// --- Fields

static void test_metadata_must_be_an_object(void **state)
{
    refused(*state, ERR_INVALID, &(struct upload_fields){.metadata = "[1]"});
    refused(*state, ERR_INVALID, &(struct upload_fields){.metadata = "\"text\""});
    refused(*state, ERR_INVALID, &(struct upload_fields){.metadata = "null"});
    refused(*state, ERR_INVALID_JSON, &(struct upload_fields){.metadata = "{\"a\":"});
    refused(*state, ERR_INVALID_JSON, &(struct upload_fields){.metadata = "{} {}"});
}

static void test_fields_are_bounded(void **state)
{
    enum { LARGE = FLOW_METADATA_MAX + 16 };
    _cleanup_free_ char *text = malloc(LARGE + 1);
    memset(text, 'x', LARGE);
    memcpy(text, "{\"a\":\"", 6);
    strcpy(text + LARGE - 2, "\"}");
    refused(*state, ERR_INVALID, &(struct upload_fields){.metadata = text});
    refused(*state, ERR_INVALID, &(struct upload_fields){.options = text});
    char by[300];
    memset(by, 'u', sizeof by);
    by[256] = 0;
    refused(*state, ERR_INVALID, &(struct upload_fields){.uploaded_by = by});
    refused(*state, ERR_INVALID, &(struct upload_fields){.uploaded_by = "\xff\xfe"});
}

static void test_tags_must_be_texts(void **state)
{
    char many[600] = "", long_one[300];
    for (int i = 0; i <= FLOW_TAGS_MAX; i++)
        sprintf(many + strlen(many), "t%d,", i);
    memset(long_one, 't', sizeof long_one);
    long_one[256] = 0;
    refused(*state, ERR_INVALID, &(struct upload_fields){.tags = "[1]"});
    refused(*state, ERR_INVALID, &(struct upload_fields){.tags = "[[\"a\"]]"});
    refused(*state, ERR_INVALID_JSON, &(struct upload_fields){.tags = "[\"a\""});
    refused(*state, ERR_INVALID, &(struct upload_fields){.tags = "good,\xc3"});
    refused(*state, ERR_INVALID, &(struct upload_fields){.tags = many});
    refused(*state, ERR_INVALID, &(struct upload_fields){.tags = long_one});
}

static void test_options_are_checked(void **state)
{
    static const char *const wrong[] = {
        "{\"priority\":\"urgent\"}",
        "{\"priority\":1}",
        "{\"priority\":null}",
        "{\"skipDuplicateCheck\":\"x\"}",
        "{\"models\":\"fake\"}",
        "{\"generateThumbnail\":1}",
        "{\"models\":[1]}",
        "{\"models\":{}}",
        "[]",
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        refused(*state, ERR_INVALID, &(struct upload_fields){.options = wrong[i]});
}

static void test_an_unknown_model_is_told_with_the_known_ones(void **state)
{
    struct rig *rig = *state;
    _cleanup_arena_ struct arena arena = {0};
    struct upload_result result;
    struct error why = {0};
    const struct upload_fields fields = {.tenant = "default", .options = "{\"models\":[\"fake\",\"resnet50\"]}"};
    assert_int_equal(upload(rig, 1, &fields, &arena, &result, &why), -1);
    assert_int_equal(why.code, ERR_MODEL_UNKNOWN);
    assert_non_null(strstr(why.message, "resnet50"));
    assert_non_null(strstr(why.message, "fake, second"));
    nothing_is_there(rig);
}

static struct media accepted(struct rig *rig, struct arena *arena, int number, struct upload_fields fields)
{
    struct upload_result result;
    fields.tenant = fields.tenant ? fields.tenant : "default";
    must(upload(rig, number, &fields, arena, &result, err));
    struct item item;
    must(item_get(&rig->flow, arena, fields.tenant, result.id, &item, err));
    return item.media;
}

static void test_tags_are_words_or_json(void **state)
{
    _cleanup_arena_ struct arena arena = {0};
    struct media m = accepted(*state, &arena, 1, (struct upload_fields){.tags = " red ,, dark blue,"});
    assert_string_equal(m.tags, "[\"red\",\"dark blue\"]");
    m = accepted(*state, &arena, 2, (struct upload_fields){.tags = "[\"a,b\",\" c \",\"\"]"});
    assert_string_equal(m.tags, "[\"a,b\",\"c\"]");
    m = accepted(*state, &arena, 3, (struct upload_fields){.tags = ""});
    assert_string_equal(m.tags, "[]");
}

static void test_options_are_completed(void **state)
{
    _cleanup_arena_ struct arena arena = {0};
    struct media m = accepted(*state, &arena, 1, (struct upload_fields){0});
    _cleanup_json_ json_t *options = js_parse(m.options, strlen(m.options), NULL);
    assert_string_equal(js_str(options, "priority", ""), "normal");
    assert_false(js_bool(options, "skipDuplicateCheck", true));
    assert_true(js_bool(options, "generateThumbnail", false));
    assert_int_equal(json_array_size(js_arr(options, "models")), 1);
    m = accepted(*state, &arena, 2,
                 (struct upload_fields){
                     .options = "{\"models\":[\"second\",\"\",\"second\"],\"priority\":\"high\",\"other\":{\"x\":1}}"});
    _cleanup_json_ json_t *more = js_parse(m.options, strlen(m.options), NULL);
    assert_int_equal(m.priority, PRIORITY_HIGH);
    assert_int_equal(json_array_size(js_arr(more, "models")), 2); // "" is the default
    assert_non_null(js_obj(more, "other"));
    m = accepted(*state, &arena, 3, (struct upload_fields){.options = "{\"models\":[]}"});
    _cleanup_json_ json_t *none = js_parse(m.options, strlen(m.options), NULL);
    assert_string_equal(json_string_value(json_array_get(js_arr(none, "models"), 0)), "fake");
}

static void test_names_are_cleaned(void **state)
{
    static const struct {
        const char *given, *kept;
    } names[] = {
        {"../../etc/passwd", "passwd"},
        {"C:\\photos\\cat.webp", "cat.webp"},
        {"..", "image.webp"},
        {".\x01.", "image.webp"},
        {"a\x01\x1f\x7f"
         "b.webp",
         "ab.webp"},
        {"", "image.webp"},
        {"dir/", "image.webp"},
        {NULL, "image.webp"},
        {"caf\xc3\xa9.webp", "caf\xc3\xa9.webp"},
        {"bad\xff.webp", "bad\xef\xbf\xbd.webp"},
    };
    _cleanup_arena_ struct arena arena = {0};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct media m = accepted(*state, &arena, (int)i, (struct upload_fields){.file_name = names[i].given});
        assert_string_equal(m.file_name, names[i].kept);
        assert_null(strstr(m.blob_key, ".."));
    }
}

static void test_a_long_name_is_cut_at_a_character(void **state)
{
    char name[4097] = "";
    for (int i = 0; i < 1365; i++)
        strcpy(name + i * 3, "\xe2\x82\xac"); // €
    _cleanup_arena_ struct arena arena = {0};
    struct media m = accepted(*state, &arena, 1, (struct upload_fields){.file_name = name});
    assert_int_equal(strlen(m.file_name), 255);
    assert_true(js_utf8_valid(m.file_name, strlen(m.file_name)));
    name[0] = 'x'; // one byte off
    name[1] = 'y';
    name[2] = 'z';
    memmove(name + 1, name + 3, strlen(name + 3) + 1);
    m = accepted(*state, &arena, 2, (struct upload_fields){.file_name = name});
    assert_int_equal(strlen(m.file_name), 253);
    assert_true(js_utf8_valid(m.file_name, strlen(m.file_name)));
}

// --- Bytes

static int send_bytes(struct rig *rig, const void *data, size_t len, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct upload *u;
    struct upload_result result;
    if (upload_begin(&rig->flow, len, &u, err) < 0)
        return -1;
    if (upload_write(u, data, len, err) < 0) {
        upload_abort(u);
        return -1;
    }
    return upload_finish(u, &(struct upload_fields){.tenant = "default"}, &arena, &result, err);
}

static void test_bad_bytes_leave_nothing(void **state)
{
    struct rig *rig = *state;
    size_t len;
    _cleanup_free_ char *picture = rig_picture(1, &len);
    must_fail(ERR_EMPTY_FILE, send_bytes(rig, "", 0, err));
    must_fail(ERR_UNSUPPORTED_MEDIA, send_bytes(rig, "hello, I am text named .jpg", 27, err));
    must_fail(ERR_IMAGE_TRUNCATED, send_bytes(rig, picture, len - 9, err));
    nothing_is_there(rig);
}

static void test_too_many_bytes_are_refused_early(void **state)
{
    struct rig *rig = *state;
    struct upload *u;
    size_t len;
    _cleanup_free_ void *picture = rig_picture(1, &len);
    must_fail(ERR_BODY_TOO_LARGE, upload_begin(&rig->flow, 1ULL << 40, &u, err));
    must(upload_begin(&rig->flow, 0, &u, err));
    must(upload_write(u, picture, len, err));
    _cleanup_free_ void *more = calloc(1, rig->flow.settings.upload_max_bytes);
    must_fail(ERR_BODY_TOO_LARGE, upload_write(u, more, rig->flow.settings.upload_max_bytes, err));
    upload_abort(u);
    upload_abort(NULL);
    nothing_is_there(rig);
}

static void test_a_full_disk_is_told_before_the_bytes(void **state)
{
    struct rig *rig = *state;
    struct upload *u;
    rig->flow.settings.disk_reserve = UINT64_MAX / 2;
    must_fail(ERR_DISK_FULL, upload_begin(&rig->flow, 10, &u, err));
}

// --- Tenants

static void test_g7_unknown_tenants_are_refused(void **state)
{
    struct rig *rig = *state;
    refused(rig, ERR_TENANT_UNKNOWN, &(struct upload_fields){.tenant = "nobody"});
    refused(rig, ERR_INVALID_TENANT, &(struct upload_fields){.tenant = "../x"});
    refused(rig, ERR_INVALID_TENANT, &(struct upload_fields){.tenant = ""});
    json_t *tenants = NULL;
    must(admin_tenants(&rig->flow, &tenants, err));
    assert_int_equal(json_array_size(js_arr(tenants, "tenants")), 1);
    json_decref(tenants);
}

static void test_tenants_are_made_when_wanted(void **state)
{
    struct rig *rig = *state;
    _cleanup_arena_ struct arena arena = {0};
    rig->flow.settings.tenants_auto_create = true;
    accepted(rig, &arena, 1, (struct upload_fields){.tenant = "acme-corp"});
    struct meta_tenant row;
    must(flow_tenant(&rig->flow, &arena, "acme-corp", &row, err));
    assert_string_equal(row.slug, "acmecorp");
    struct upload_result result;
    const struct upload_fields wrong = {.tenant = "other", .metadata = "[]"};
    must_fail(ERR_INVALID, upload(rig, 2, &wrong, &arena, &result, err));
    must_fail(ERR_TENANT_UNKNOWN, flow_tenant(&rig->flow, &arena, "other", &row, err)); // a refusal makes none
}

static void test_no_tenant_is_the_default_one(void **state)
{
    struct rig *rig = *state;
    _cleanup_arena_ struct arena arena = {0};
    struct upload_result result;
    must(upload(rig, 1, &(struct upload_fields){0}, &arena, &result, err));
    assert_string_equal(rig_media(rig, &arena, result.id).tenant, "default");
}

// --- Duplicates

static void test_the_same_bytes_answer_with_the_first(void **state)
{
    struct rig *rig = *state;
    _cleanup_arena_ struct arena arena = {0};
    const struct upload_fields fields = {.tenant = "default"};
    struct upload_result first, second;
    must(upload(rig, 1, &fields, &arena, &first, err));
    must(upload(rig, 1, &fields, &arena, &second, err));
    assert_false(first.duplicate);
    assert_true(second.duplicate);
    assert_string_equal(first.id, second.id);
    assert_int_equal(rig_blobs(rig), 1);
    assert_int_equal(rig_count(rig, TOPIC_IMAGES_UPLOADED), 1);
    assert_int_equal(rig_ledger(rig).accepted, 1);
    assert_int_equal(rig_ledger(rig).duplicates, 1);
}

static void test_the_check_can_be_skipped(void **state)
{
    struct rig *rig = *state;
    char first[ID_MAX], second[ID_MAX];
    rig_upload(rig, 1, NULL, first);
    rig_upload(rig, 1, "{\"skipDuplicateCheck\":true}", second);
    assert_string_not_equal(first, second);
    assert_int_equal(rig_blobs(rig), 2);
}

static void test_g7_another_tenants_bytes_are_no_duplicate(void **state)
{
    struct rig *rig = *state;
    _cleanup_arena_ struct arena arena = {0};
    must(admin_tenant_add(&rig->flow, "other", err));
    char id[ID_MAX];
    rig_upload(rig, 1, NULL, id);
    struct upload_result result;
    must(upload(rig, 1, &(struct upload_fields){.tenant = "other"}, &arena, &result, err));
    assert_false(result.duplicate);
    struct item item;
    must_fail(ERR_NOT_FOUND, item_get(&rig->flow, &arena, "other", id, &item, err));
}

struct set_status {
    struct rig *rig;
    const char *id;
    enum media_status status;
};

static int set_status_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct set_status *call = arg;
    const struct media_patch patch = {.set_status = true, .status = call->status, .error_code = "X"};
    return call->rig->meta.ops->media_update(tx, "default", call->id, &patch, err);
}

static void test_what_failed_or_goes_away_is_no_duplicate(void **state)
{
    struct rig *rig = *state;
    char id[ID_MAX], again[ID_MAX];
    rig_upload(rig, 1, NULL, id);
    struct set_status call = {rig, id, MEDIA_FAILED};
    must(rig->meta.ops->write(rig->meta.state, META_RELAXED, set_status_tx, &call, err));
    rig_upload(rig, 1, NULL, again);
    char gone[ID_MAX], third[ID_MAX];
    must(item_delete(&rig->flow, "default", again, gone, err));
    rig_upload(rig, 1, NULL, third);
    assert_int_equal(rig_ledger(rig).accepted, 3);
    assert_int_equal(rig_ledger(rig).duplicates, 0);
}

enum { RACERS = 8 };

struct racer {
    struct rig *rig;
    pthread_barrier_t *start;
    int rc;
    struct error err;
    struct arena arena;
    struct upload_result result;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    size_t len;
    _cleanup_free_ void *picture = rig_picture(1, &len);
    struct upload *u = NULL;
    r->rc = upload_begin(&r->rig->flow, len, &u, &r->err);
    if (r->rc == 0)
        r->rc = upload_write(u, picture, len, &r->err);
    pthread_barrier_wait(r->start);
    const struct upload_fields fields = {.tenant = "default"};
    if (r->rc == 0)
        r->rc = upload_finish(u, &fields, &r->arena, &r->result, &r->err);
    return NULL;
}

static void test_g3_racing_uploads_of_the_same_bytes_make_one_item(void **state)
{
    struct rig *rig = *state;
    struct racer racers[RACERS] = {0};
    pthread_t threads[RACERS];
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, RACERS);
    for (int i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){.rig = rig, .start = &start};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    int fresh = 0;
    for (int i = 0; i < RACERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(racers[i].rc, 0);
        fresh += !racers[i].result.duplicate;
    }
    for (int i = 0; i < RACERS; i++) {
        assert_string_equal(racers[i].result.id, racers[0].result.id);
        if (i)
            arena_free(&racers[i].arena);
    }
    arena_free(&racers[0].arena);
    pthread_barrier_destroy(&start);
    assert_int_equal(fresh, 1);
    assert_int_equal(rig_blobs(rig), 1);
    assert_int_equal(rig_count(rig, TOPIC_IMAGES_UPLOADED), 1);
    assert_int_equal(rig_ledger(rig).accepted, 1);
    assert_int_equal(rig_ledger(rig).duplicates, RACERS - 1);
}

// --- The event

static void test_the_event_is_shaped_as_the_spec_says(void **state)
{
    struct rig *rig = *state;
    _cleanup_arena_ struct arena arena = {0};
    struct media m = accepted(rig, &arena, 1,
                              (struct upload_fields){.file_name = "a.webp",
                                                     .uploaded_by = "john",
                                                     .tags = "red",
                                                     .metadata = "{\"shop\":{\"sku\":7}}",
                                                     .options = "{\"priority\":\"low\"}"});
    size_t count;
    struct elog_record *record = rig_records(rig, &arena, TOPIC_IMAGES_UPLOADED, &count);
    assert_int_equal(count, 1);
    assert_string_equal(record->key, m.id);
    assert_string_equal(rig_header(record, "ce_type"), "image.uploaded");
    assert_string_equal(rig_header(record, "ce_id"), m.event_id);
    assert_string_equal(rig_header(record, "deeplens-priority"), "low");
    assert_non_null(rig_header(record, "ce_time"));
    _cleanup_json_ json_t *root = js_parse(record->value, record->value_len, NULL);
    assert_string_equal(js_str(root, "eventId", ""), m.event_id);
    assert_string_equal(js_str(root, "eventType", ""), "image.uploaded");
    assert_string_equal(js_str(root, "eventVersion", ""), "1.0");
    assert_string_equal(js_str(root, "tenantId", ""), "default");
    const json_t *data = js_obj(root, "data"), *metadata = js_obj(data, "metadata");
    assert_string_equal(js_str(data, "imageId", ""), m.id);
    assert_string_equal(js_str(data, "fileName", ""), "a.webp");
    assert_string_equal(js_str(data, "filePath", ""), arena_printf(&arena, "/storage/%s", m.blob_key));
    assert_int_equal(js_int(data, "fileSize", 0), m.size);
    assert_string_equal(js_str(data, "contentType", ""), "image/webp");
    assert_string_equal(js_str(data, "uploadedBy", ""), "john");
    assert_int_equal(js_int(metadata, "width", 0), 32);
    assert_int_equal(js_int(metadata, "height", 0), 24);
    assert_int_equal(js_int(js_obj(metadata, "shop"), "sku", 0), 7);
    assert_int_equal(json_array_size(js_arr(metadata, "tags")), 1);
    assert_string_equal(js_str(js_obj(root, "processingOptions"), "priority", ""), "low");
}

// --- Failures behind the scenes

static void failing(const char *faults, enum error_code code)
{
    struct rig *rig = rig_new(faults);
    _cleanup_arena_ struct arena arena = {0};
    struct upload_result result;
    const struct upload_fields fields = {.tenant = "default"};
    must_fail(code, upload(rig, 1, &fields, &arena, &result, err));
    nothing_is_there(rig);
    must(upload(rig, 1, &fields, &arena, &result, err)); // and the next one is as if nothing had been
    assert_false(result.duplicate);
    assert_int_equal(rig_blobs(rig), 1);
    rig_free(rig);
}

static void test_g1_a_failure_at_any_point_leaves_nothing(void **state)
{
    failing("blob.put_begin:IO_ERROR@1", ERR_IO);
    failing("blob.put_write:DISK_FULL@1", ERR_DISK_FULL);
    failing("blob.put_commit:IO_ERROR@1", ERR_IO);
    failing("meta.read:UNAVAILABLE@1", ERR_UNAVAILABLE);
    failing("meta.read:UNAVAILABLE@2", ERR_UNAVAILABLE);
    failing("meta.write:IO_ERROR@1", ERR_IO);
    failing("meta.media_find_hash:IO_ERROR@2", ERR_IO);
    failing("meta.media_insert:IO_ERROR@1", ERR_IO);
    failing("eventlog.publish_tx:UNAVAILABLE@1", ERR_UNAVAILABLE);
}

// The database goes away while it commits: the client is told nothing good, and the row may be there.
static void test_g1_bytes_stay_when_nobody_knows_of_the_row(void **state)
{
    (void)state;
    struct rig *rig = rig_new("meta.write:after:UNAVAILABLE@1");
    _cleanup_arena_ struct arena arena = {0};
    struct upload_result result;
    const struct upload_fields fields = {.tenant = "default"};
    must_fail(ERR_UNAVAILABLE, upload(rig, 1, &fields, &arena, &result, err));
    assert_int_equal(rig_ledger(rig).accepted, 1);
    assert_int_equal(rig_blobs(rig), 1);
    must(upload(rig, 1, &fields, &arena, &result, err)); // the client's next try
    assert_true(result.duplicate);
    assert_int_equal(rig_blobs(rig), 1);
    rig_free(rig);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_metadata_must_be_an_object),
        T(test_fields_are_bounded),
        T(test_tags_must_be_texts),
        T(test_options_are_checked),
        T(test_an_unknown_model_is_told_with_the_known_ones),
        T(test_tags_are_words_or_json),
        T(test_options_are_completed),
        T(test_names_are_cleaned),
        T(test_a_long_name_is_cut_at_a_character),
        T(test_bad_bytes_leave_nothing),
        T(test_too_many_bytes_are_refused_early),
        T(test_a_full_disk_is_told_before_the_bytes),
        T(test_g7_unknown_tenants_are_refused),
        T(test_tenants_are_made_when_wanted),
        T(test_no_tenant_is_the_default_one),
        T(test_the_same_bytes_answer_with_the_first),
        T(test_the_check_can_be_skipped),
        T(test_g7_another_tenants_bytes_are_no_duplicate),
        T(test_what_failed_or_goes_away_is_no_duplicate),
        T(test_g3_racing_uploads_of_the_same_bytes_make_one_item),
        T(test_the_event_is_shaped_as_the_spec_says),
        cmocka_unit_test(test_g1_a_failure_at_any_point_leaves_nothing),
        cmocka_unit_test(test_g1_bytes_stay_when_nobody_knows_of_the_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
