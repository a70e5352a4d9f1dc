// SPDX-License-Identifier: Apache-2.0
// What of the Qdrant back end needs no server: locations, the ids and payloads of points, and filters in Qdrant's
// words.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backends/index/qdrant_int.h"

#define OWNED "owner=me\napi_key=the-secret\n"

static void refused(const char *location, const char *says)
{
    struct qdrant_config config;
    struct error err = {0};
    assert_int_equal(qdrant_config_read(location, &config, &err), -1);
    assert_int_equal(err.code, ERR_CONFIG);
    if (!strstr(err.message, says))
        fail_msg("\"%s\" does not say \"%s\"", err.message, says);
    assert_null(strstr(err.message, "the-secret"));
    qdrant_config_free(&config);
}

static void locations_are_checked(void **state)
{
    static const struct {
        const char *location, *says;
    } bad[] = {
        {OWNED, "qdrant.url"},
        {OWNED "url=127.0.0.1:6333\n", "qdrant.url"},
        {OWNED "url=http://\n", "qdrant.url"},
        {OWNED "url=ftp://a:1\n", "qdrant.url"},
        {OWNED "url=http://a b\n", "qdrant.url"},
        {OWNED "url=http://a?api-key=the-secret\n", "qdrant.url"},
        {OWNED "url=http://the-secret@a:1\n", "qdrant.api_key"},
        {OWNED "url=http://a\ntimeout_ms=0\n", "qdrant.timeout"},
        {OWNED "url=http://a\ntimeout_ms=9x\n", "qdrant.timeout"},
        {OWNED "url=http://a\nowner=a/b\n", "qdrant.owner"},
        {OWNED "url=http://a\nowner=\n", "qdrant.owner"},
        {OWNED "url=http://a\napi_key=the-secret \n", "characters"},
        {OWNED "url=http://a\nthe_secret=the-secret\n", "the_secret"},
        {OWNED "url=http://a\nthe-secret\n", "is nothing"},
        {"url=http://a\n", "qdrant.owner"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        refused(bad[i].location, bad[i].says);
    struct qdrant_config config;
    assert_int_equal(qdrant_config_read("url=https://[::1]:6333/db/\n" OWNED, &config, NULL), 0);
    assert_string_equal(config.url, "https://[::1]:6333/db");
    assert_string_equal(config.api_key, "the-secret");
    assert_int_equal(config.timeout_ms, 10000);
    qdrant_config_free(&config);
}

// Points that are there already must be found again by every later version.
static void ids_of_points_stay(void **state)
{
    static const struct {
        const char *id, *point;
    } cases[] = {
        {"img_019af0c1-2d3e-7f00-8abc-0123456789ab", "019af0c1-2d3e-7f00-8abc-0123456789ab"},
        {"frm_019af0c1-2d3e-8f00-8abc-0123456789ab", "aa91006f-884b-8207-8504-b45ba4782df3"},
        {"img_019af0c1-2d3e-8f00-8abc-0123456789ab",
         "ef20249a-d7e5-8ccb-a666-b95389bca257"}, // of the version that derived ones have
        {"img_019AF0C1-2d3e-7f00-8abc-0123456789ab", "e73d6d2a-b84d-8379-9b89-c0574d09190e"},
        {"img_123456", "ab062c19-5d0b-85fb-aa4e-5c7418f3c3de"},
        {"x", "442a4445-7137-872b-b218-c1007dc8f76a"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char point[QDRANT_UUID];
        qdrant_point_id(cases[i].id, point);
        assert_string_equal(point, cases[i].point);
    }
}

static void payloads_are_laid_flat(void **state)
{
    static const struct {
        const char *payload, *laid;
    } cases[] = {
        {"{}", "{\"id\":\"x\",\"metadata\":{}}"},
        {"{\"a\":1,\"b\":{\"c\":[true,{\"d\":\"e\"}]},\"none\":null}",
         "{\"id\":\"x\",\"metadata\":{\"a\":1,\"b.c\":true,\"b.c.d\":\"e\"}}"},
        {"{\"l\":[1,[2,\"3\"],[]],\"%\\\"\\\\\":0}", "{\"id\":\"x\",\"metadata\":{\"l\":[1,2,\"3\"],\"%25%22%5C\":0}}"},
        {"{\"t\":[\"1970-01-02\",\"soon\",\"1970-01-01T00:00:00.001Z\"]}",
         "{\"id\":\"x\",\"metadata\":{\"t\":[\"1970-01-02\",\"soon\",\"1970-01-01T00:00:00.001Z\"]},"
         "\"times\":{\"t\":[86400000,1]}}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_json_ json_t *payload = js_parse(cases[i].payload, strlen(cases[i].payload), NULL);
        _cleanup_json_ json_t *laid = qdrant_payload("x", payload);
        _cleanup_free_ char *text = js_dumps(laid);
        assert_string_equal(text, cases[i].laid);
    }
    _cleanup_json_ json_t *none = qdrant_payload("x", NULL);
    assert_int_equal(json_object_size(json_object_get(none, "metadata")), 0);
}

static void filters_are_said_in_other_words(void **state)
{
    static const struct {
        const char *filter, *said;
    } cases[] = {
        {"{}", "{\"must\":[]}"},
        {"{\"a\":\"x\"}", "{\"must\":[{\"key\":\"metadata.\\\"a\\\"\",\"match\":{\"value\":\"x\"}}]}"},
        {"{\"a.b\":true}", "{\"must\":[{\"key\":\"metadata.\\\"a.b\\\"\",\"match\":{\"value\":true}}]}"},
        {"{\"a\":[\"x\",\"y\"]}",
         "{\"must\":[{\"should\":[{\"key\":\"metadata.\\\"a\\\"\",\"match\":{\"any\":[\"x\",\"y\"]}}]}]}"},
        {"{\"a\":{\"exists\":false}}", "{\"must\":[{\"must\":[{\"is_empty\":{\"key\":\"metadata.\\\"a\\\"\"}}]}]}"},
        {"{\"a\":{\"not\":\"x\"}}",
         "{\"must\":[{\"must\":[{\"must_not\":[{\"key\":\"metadata.\\\"a\\\"\",\"match\":{\"value\":\"x\"}}]}]}]}"},
        {"{\"a\":{\"gte\":\"1970-01-02\"}}",
         "{\"must\":[{\"must\":[{\"key\":\"times.\\\"a\\\"\",\"range\":{\"gte\":86400000.0}}]}]}"},
        {"{\"or\":[{\"a\":\"x\"},{}]}", "{\"must\":[{\"should\":[{\"must\":[{\"key\":\"metadata.\\\"a\\\"\",\"match\":{"
                                        "\"value\":\"x\"}}]},{\"must\":[]}]}]}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct filter *filter;
        _cleanup_json_ json_t *json = js_parse(cases[i].filter, strlen(cases[i].filter), NULL);
        assert_int_equal(filter_parse(json, &filter, NULL), 0);
        _cleanup_json_ json_t *said = qdrant_filter(filter);
        _cleanup_free_ char *text = js_dumps(said);
        assert_string_equal(text, cases[i].said);
        filter_free(filter);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(locations_are_checked),
        cmocka_unit_test(ids_of_points_stay),
        cmocka_unit_test(payloads_are_laid_flat),
        cmocka_unit_test(filters_are_said_in_other_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
