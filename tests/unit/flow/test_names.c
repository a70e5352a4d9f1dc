// SPDX-License-Identifier: Apache-2.0
// Names: tenants, models, collections, paths.
#include <string.h>

#include "backends/blob/blob_fs.h"
#include "rig.h"

static void test_tenants(void **state)
{
    char longest[65];
    memset(longest, 'a', 64);
    longest[64] = 0;
    assert_false(flow_tenant_valid(longest));
    longest[63] = 0;
    assert_true(flow_tenant_valid(longest));
    static const char *const good[] = {"a", "7", "Acme-Corp", "a.b_c-d", "0x"};
    static const char *const bad[] = {"", ".a", "-a", "_a", "a b", "a/b", "..", "a\xc3\xa9", "a\n"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(flow_tenant_valid(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(flow_tenant_valid(bad[i]));
}

static void test_models(void **state)
{
    struct rig *rig = rig_new(NULL);
    const struct flow_model *model;
    must(flow_model(&rig->flow, NULL, &model, err));
    assert_string_equal(model->model->name, "fake");
    must(flow_model(&rig->flow, "", &model, err));
    assert_string_equal(model->model->name, "fake");
    must(flow_model(&rig->flow, "second", &model, err));
    assert_string_equal(model->model->name, "second");
    must_fail(ERR_MODEL_UNKNOWN, flow_model(&rig->flow, "Fake", &model, err));
    rig->flow.model_count = 0;
    must_fail(ERR_MODEL_UNKNOWN, flow_model(&rig->flow, "fake", &model, err));
    rig_free(rig);
}

static void test_collections(void **state)
{
    _cleanup_arena_ struct arena arena = {0};
    assert_string_equal(flow_collection(&arena, "acmecorp", "resnet50"), "tenant_acmecorp_resnet50_vectors");
    assert_string_equal(flow_collection(&arena, "x", "EfficientNet-Lite0"), "tenant_x_efficientnetlite0_vectors");
}

static void test_paths(void **state)
{
    _cleanup_arena_ struct arena arena = {0};
    struct flow f = {.blob.ops = &blob_fs};
    assert_string_equal(flow_path(&f, &arena, "tenant-a/images/x.jpg"), "/storage/tenant-a/images/x.jpg");
    assert_string_equal(flow_path_key(&f, &arena, "/storage/tenant-a/images/x.jpg"), "tenant-a/images/x.jpg");
    static const char *const elsewhere[] = {"minio://bucket/x.jpg", "/storag", "/storage/", "/storage/../x", "", NULL};
    for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++)
        assert_null(flow_path_key(&f, &arena, elsewhere[i]));
    const char *one = flow_thumb_key(&arena, "a.b", "img_1"), *other = flow_thumb_key(&arena, "a.b", "img_2");
    assert_int_equal(strncmp(one, "tenant-a.b/thumbnails/", 22), 0);
    assert_string_equal(strrchr(one, '/'), "/img_1.webp");
    assert_string_not_equal(one, other);
    assert_string_equal(one, flow_thumb_key(&arena, "a.b", "img_1"));
}

static void test_models_of_an_item(void **state)
{
    _cleanup_arena_ struct arena arena = {0};
    const char *models[FLOW_MODELS_MAX];
    struct media media = {.options = "{\"models\":[\"a\",1,\"b\"]}"};
    assert_int_equal(media_models(&arena, &media, models), 2);
    assert_string_equal(models[0], "a");
    assert_string_equal(models[1], "b");
    media.options = "{\"models\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\",\"13\","
                    "\"14\",\"15\",\"16\",\"17\"]}";
    assert_int_equal(media_models(&arena, &media, models), FLOW_MODELS_MAX);
    media.options = "no JSON";
    assert_int_equal(media_models(&arena, &media, models), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tenants),           cmocka_unit_test(test_models),
        cmocka_unit_test(test_collections),       cmocka_unit_test(test_paths),
        cmocka_unit_test(test_models_of_an_item),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
