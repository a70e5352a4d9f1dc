// SPDX-License-Identifier: Apache-2.0
// Which model is taken when none is named.
#include <string.h>

#include "rig.h"

static const struct extractor_model builtin = {.name = "builtin", .version = "1.0", .dimension = 8, .batch_max = 8},
                                    neural = {
                                        .name = "efficientnet-lite0", .version = "1.0", .dimension = 8, .batch_max = 8};

// The flow, opened anew with `auto` and these models, as at a start of the program.
static void open_with(struct rig *rig, const struct extractor_model *first, const struct extractor_model *second)
{
    struct flow *f = &rig->flow;
    f->models[0].model = first;
    f->models[1].model = second;
    f->model_count = second ? 2 : 1;
    f->settings.model_default = "auto";
    must(flow_models_open(f, err));
}

static const char *taken(struct rig *rig, const char *tenant)
{
    const struct flow_model *model = NULL;
    must(flow_model_for(&rig->flow, tenant, NULL, &model, err));
    return model->model->name;
}

static void the_best_one_there_is_taken_and_remembered(void **state)
{
    struct rig *rig = rig_new(NULL);
    open_with(rig, &builtin, &neural);
    assert_string_equal(taken(rig, "default"), "efficientnet-lite0");
    open_with(rig, &builtin, NULL); // it went away …
    assert_string_equal(taken(rig, "default"), "builtin");
    open_with(rig, &builtin, &neural); // … and came back
    assert_string_equal(taken(rig, "default"), "efficientnet-lite0");
    rig_free(rig);
}

static void a_model_that_comes_later_hides_nothing(void **state)
{
    struct rig *rig = rig_new(NULL);
    open_with(rig, &builtin, NULL);
    open_with(rig, &builtin, &neural);
    assert_string_equal(taken(rig, "default"), "builtin");
    must(flow_model_use(&rig->flow, NULL, "efficientnet-lite0", err));
    assert_string_equal(taken(rig, "default"), "efficientnet-lite0");
    open_with(rig, &builtin, &neural);
    assert_string_equal(taken(rig, "default"), "efficientnet-lite0");
    rig_free(rig);
}

static void items_from_before_there_was_a_choice_are_builtin(void **state)
{
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX];
    rig_item(rig, 1, id);
    open_with(rig, &builtin, &neural);
    assert_string_equal(taken(rig, "default"), "builtin");
    rig_free(rig);
}

static void a_tenant_has_its_own(void **state)
{
    struct rig *rig = rig_new(NULL);
    must(admin_tenant_add(&rig->flow, "shop", err));
    must(flow_model_use(&rig->flow, "shop", "second", err));
    assert_string_equal(taken(rig, "shop"), "second");
    assert_string_equal(taken(rig, "default"), "fake");
    assert_string_equal(taken(rig, NULL), "fake");
    must_fail(ERR_MODEL_UNKNOWN, flow_model_use(&rig->flow, "shop", "third", err));
    must_fail(ERR_TENANT_UNKNOWN, flow_model_use(&rig->flow, "nobody", "second", err));
    assert_string_equal(taken(rig, "shop"), "second");
    rig_free(rig);
}

static void what_the_configuration_names_stands(void **state)
{
    struct rig *rig = rig_new(NULL);
    must_fail(ERR_CONFLICT, flow_model_use(&rig->flow, NULL, "second", err));
    assert_string_equal(taken(rig, "default"), "fake");
    rig->flow.settings.model_default = "third";
    must_fail(ERR_MODEL_UNKNOWN, flow_models_open(&rig->flow, err));
    rig_free(rig);
}

static void uploads_take_the_tenants_model(void **state)
{
    struct rig *rig = rig_new(NULL);
    _cleanup_arena_ struct arena arena = {0};
    char id[ID_MAX];
    must(flow_model_use(&rig->flow, "default", "second", err));
    rig_upload(rig, 1, NULL, id);
    const char *models[FLOW_MODELS_MAX];
    struct media media = rig_media(rig, &arena, id);
    assert_int_equal(media_models(&arena, &media, models), 1);
    assert_string_equal(models[0], "second");
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_one_there_is_taken_and_remembered),
        cmocka_unit_test(a_model_that_comes_later_hides_nothing),
        cmocka_unit_test(items_from_before_there_was_a_choice_are_builtin),
        cmocka_unit_test(a_tenant_has_its_own),
        cmocka_unit_test(what_the_configuration_names_stands),
        cmocka_unit_test(uploads_take_the_tenants_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
