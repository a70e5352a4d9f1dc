// SPDX-License-Identifier: Apache-2.0
// What of models that services run needs no service: descriptions, what is sent, and answers that must be refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/extractor/extractor_http.h"
#include "backends/extractor/model_spec.h"
#include "backends/extractor/remote_wire.h"
#include "base/cleanup.h"
#include "base/js.h"
#include "cli/folders.h"
#include "media/image.h"

#define FEATURES "\"remote\": {\"protocol\": \"extract-features\", \"url\": \"http://gpu.example:8000\"}"
#define V2                                                                                                             \
    "\"input\": {\"width\": 2, \"mean\": [0, 0, 0], \"std\": [1, 1, 1]}, \"remote\": {\"protocol\": \"v2\", \"url\": " \
    "\"https://gpu.example\""

static char folder[] = "/tmp/deeplens-remote-XXXXXX";

static void describe(const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/model.json", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static struct remote_spec read_good(const char *text)
{
    struct remote_spec spec;
    struct error err = {0};
    describe(text);
    if (remote_spec_read(folder, &spec, &err) < 0)
        fail_msg("%s: %s", text, err.message);
    return spec;
}

static void descriptions_are_read(void **state)
{
    struct remote_spec s = read_good("{\"name\": \"a\", \"version\": \"v2.7\", \"dimension\": 2048, " FEATURES "}");
    assert_int_equal(s.protocol, REMOTE_FEATURES);
    assert_string_equal(s.model.version, "v2.7");
    assert_int_equal(s.model.dimension, 2048);
    assert_string_equal(s.url, "http://gpu.example:8000");
    assert_int_equal(s.edge, 512);
    s = read_good("{\"name\": \"a\", \"dimension\": 3, \"output\": \"o\", " V2 ", \"batch\": 4, \"timeout\": 2.5, "
                  "\"datatype\": \"UINT8\", \"version\": \"3\"}}");
    assert_int_equal(s.protocol, REMOTE_V2);
    assert_int_equal(s.batch, 4);
    assert_int_equal(s.timeout_ms, 2500);
    assert_true(s.uint8);
    char path[512];
    tensor_path(&s, path, sizeof path);
    assert_string_equal(path, "/v2/models/a/versions/3/infer");
}

static void descriptions_are_checked(void **state)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"{\"name\": \"a\", " FEATURES "}", "dimension"},
        {"{\"name\": \"A b\", \"dimension\": 3, " FEATURES "}", "name"},
        {"{\"name\": \"a\", \"dimension\": 3, \"files\": {}, " FEATURES "}", "files"},
        {"{\"name\": \"a\", \"dimension\": 3, \"mix\": {\"builtin\": 1}, " FEATURES "}", "mix"},
        {"{\"name\": \"a\", \"dimension\": 3, \"text\": {}, " FEATURES "}", "text"},
        {"{\"name\": \"a\", \"dimension\": 3, \"remote\": {\"url\": \"http://a\"}}", "remote.protocol"},
        {"{\"name\": \"a\", \"dimension\": 3, \"remote\": {\"protocol\": \"v2\", \"url\": \"ftp://a\"}}", "remote.url"},
        {"{\"name\": \"a\", \"dimension\": 3, \"remote\": {\"protocol\": \"v2\", \"url\": \"http://u:p@a\"}}",
         "remote.url"},
        {"{\"name\": \"a\", \"dimension\": 3, \"remote\": {\"protocol\": \"v2\", \"url\": \"http://a\"}}", "input"},
        {"{\"name\": \"a\", \"dimension\": 3, " V2 ", \"batch\": 65}}", "batch"},
        {"{\"name\": \"a\", \"dimension\": 3, " V2 ", \"streams\": 0}}", "streams"},
        {"{\"name\": \"a\", \"dimension\": 3, " V2 ", \"timeout\": -1}}", "timeout"},
        {"{\"name\": \"a\", \"dimension\": 3, " V2 ", \"datatype\": \"FP16\"}}", "datatype"},
        {"{\"name\": \"a\", \"dimension\": 3, " V2 ", \"model\": \"../x\"}}", "remote.model"},
        {"{\"name\": \"a\", \"dimension\": 3, " V2 ", \"input\": \"a\\\"b\"}}", "remote.input"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct remote_spec spec;
        struct error err = {0};
        describe(bad[i].text);
        assert_int_equal(remote_spec_read(folder, &spec, &err), -1);
        assert_int_equal(err.code, ERR_CONFIG);
        if (!strstr(err.message, bad[i].says))
            fail_msg("\"%s\" does not say \"%s\"", err.message, bad[i].says);
    }
}

// Neither kind of back end takes the other's models.
static void each_model_is_run_in_one_place(void **state)
{
    struct model_spec here;
    struct remote_spec elsewhere;
    struct error err = {0};
    describe("{\"name\": \"a\", \"dimension\": 3, " FEATURES "}");
    assert_int_equal(model_spec_read(folder, "auto", &here, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(model_spec_read_text(folder, "auto", &here, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    describe("{\"name\": \"a\", \"dimension\": 3, \"files\": {}}");
    assert_int_equal(remote_spec_read(folder, &elsewhere, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static struct pixels noise(int width, int height)
{
    struct pixels p = {.width = width, .height = height};
    uint32_t seed = 7;
    p.data = malloc(pixels_bytes(&p));
    assert_non_null(p.data);
    for (size_t i = 0; i < pixels_bytes(&p); i++)
        p.data[i] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24);
    return p;
}

static void pictures_are_sent_as_they_are(void **state)
{
    static const int sizes[][2] = {{1, 1}, {1, 500}, {500, 1}, {31, 33}, {500, 333}};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct pixels p = noise(sizes[i][0], sizes[i][1]);
        struct image_decoded read;
        struct error err = {0};
        _cleanup_buf_ struct buf png = BUF_INIT(16 << 20);
        remote_png(&p, &png);
        assert_false(png.failed);
        if (image_decode(png.data, png.len, 4096, 1 << 24, &read, &err) < 0)
            fail_msg("%s", err.message);
        assert_int_equal(read.width, p.width);
        assert_int_equal(read.height, p.height);
        assert_memory_equal(read.pixels.data, p.data, pixels_bytes(&p));
        pixels_free(&read.pixels);
        pixels_free(&p);
    }
}

static void a_tensor_holds_the_pixels(void **state)
{
    static const uint8_t fitted[2][12] = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, {255}};
    static const uint8_t planes[12] = {1, 4, 7, 10, 2, 5, 8, 11, 3, 6, 9, 12};
    struct remote_spec s = read_good("{\"name\": \"a\", \"dimension\": 3, \"output\": \"o\", " V2 "}}");
    static struct tensor_text text;
    _cleanup_buf_ struct buf body = BUF_INIT(1 << 20);
    tensor_text_make(&s, &text);
    tensor_write(&s, &text, fitted[0], 2, &body);
    _cleanup_json_ json_t *json = js_parse(body.data, body.len, NULL);
    const json_t *input = json_array_get(js_arr(json, "inputs"), 0), *data = js_arr(input, "data");
    assert_int_equal(json_array_size(data), 24);
    for (size_t i = 0; i < 12; i++)
        assert_true(fabs(json_number_value(json_array_get(data, i)) * 255 - planes[i]) < 1e-4);
    assert_true(json_number_value(json_array_get(data, 12)) == 1);
    assert_int_equal(json_integer_value(json_array_get(js_arr(input, "shape"), 0)), 2);
    assert_string_equal(js_str(input, "datatype", ""), "FP32");
    assert_string_equal(js_str(json_array_get(js_arr(json, "outputs"), 0), "name", ""), "o");
}

static void check_answer(const struct remote_spec *s, const char *text, const char *says)
{
    float vectors[6];
    struct features_said said;
    struct error err = {0};
    struct buf answer = {.data = (char *)text, .len = strlen(text)};
    int rc = s->protocol == REMOTE_V2 ? tensor_read(s, &answer, 2, vectors, &err)
                                      : features_read(s, &answer, vectors, &said, &err);
    if (!says) {
        if (rc < 0)
            fail_msg("%s: %s", text, err.message);
        return;
    }
    assert_int_equal(rc, -1);
    assert_int_equal(err.code, ERR_EXTRACTION_FAILED);
    assert_false(err.outage);
    if (!strstr(err.message, says) || !strstr(err.message, "Model a"))
        fail_msg("%s: \"%s\" does not say \"%s\"", text, err.message, says);
}

static void answers_are_checked(void **state)
{
    static const struct {
        const char *text, *says;
    } features[] = {{"{\"features\": [1, 2.5, -3e1]}", NULL},
                    {"{\"features\": [1, 2]}", "2 numbers instead of 3"},
                    {"{\"features\": [1, 2, 3, 4]}", "4 numbers instead of 3"},
                    {"{\"features\": [1, 2, null]}", "no number"},
                    {"{\"features\": [1, 2, 1e300]}", "no number"},
                    {"{\"features\": [1, 2, NaN]}", "cannot be read"},
                    {"{\"features\": [1, 2, 1e999]}", "cannot be read"},
                    {"{\"features\": {}}", "cannot be read"},
                    {"[1, 2, 3]", "cannot be read"},
                    {"", "cannot be read"}},
      tensors[] = {
          {"{\"outputs\": [{\"name\": \"x\", \"data\": []}, {\"name\": \"o\", \"data\": [1, 2, 3, 4, 5, 6]}]}", NULL},
          {"{\"outputs\": [{\"name\": \"o\", \"data\": [[1, 2, 3], [4, 5, [6]]]}]}", NULL},
          {"{\"outputs\": [{\"name\": \"o\", \"data\": [1, 2, 3, 4, 5]}]}", "5 numbers instead of 2 x 3"},
          {"{\"outputs\": [{\"name\": \"o\", \"data\": [1, 2, 3, 4, 5, 6, 7]}]}", "7 numbers"},
          {"{\"outputs\": [{\"name\": \"o\", \"data\": [1, 2, 3, 4, 5, \"6\"]}]}", "no number"},
          {"{\"outputs\": [{\"name\": \"p\", \"data\": [1, 2, 3, 4, 5, 6]}]}", "cannot be read"},
          {"{\"outputs\": {}}", "cannot be read"},
          {"{", "cannot be read"}};
    struct remote_spec s = read_good("{\"name\": \"a\", \"dimension\": 3, " FEATURES "}");
    for (size_t i = 0; i < ARRAY_LEN(features); i++)
        check_answer(&s, features[i].text, features[i].says);
    s = read_good("{\"name\": \"a\", \"dimension\": 3, \"output\": \"o\", " V2 "}}");
    for (size_t i = 0; i < ARRAY_LEN(tensors); i++)
        check_answer(&s, tensors[i].text, tensors[i].says);
}

static int begin(void **state)
{
    return mkdtemp(folder) && image_init(NULL) == 0 ? 0 : -1;
}

static int end(void **state)
{
    image_shutdown();
    return folders_remove(folder, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptions_are_read),          cmocka_unit_test(descriptions_are_checked),
        cmocka_unit_test(each_model_is_run_in_one_place), cmocka_unit_test(pictures_are_sent_as_they_are),
        cmocka_unit_test(a_tensor_holds_the_pixels),      cmocka_unit_test(answers_are_checked),
    };
    return cmocka_run_group_tests_name("remote", tests, begin, end);
}
