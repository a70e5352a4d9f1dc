// SPDX-License-Identifier: Apache-2.0
// Another model for what is there, and the same vectors once more, without a pause.
#include <string.h>

#include "base/js.h"
#include "flow/rebuild.h"
#include "rig.h"

#define OLD "tenant_default_fake_vectors"
#define NEW "tenant_default_second_vectors"

static struct rebuilder *rebuild_with(struct rig *rig)
{
    struct rebuilder *r;
    must(rebuilder_start(&rig->flow, 0, &r, err));
    rig->flow.rebuilder = r;
    return r;
}

static void end(struct rig *rig)
{
    rebuilder_stop(take_ptr(rig->flow.rebuilder));
}

static void use(struct rig *rig, const char *tenant, const char *model)
{
    const struct rebuild_wish wish = {.tenant = tenant, .model = model};
    must(rebuild_use(&rig->flow, &wish, err));
}

static const char *taken(struct rig *rig, const char *tenant)
{
    const struct flow_model *model = NULL;
    must(flow_model_for(&rig->flow, tenant, NULL, &model, err));
    return model->model->name;
}

static bool takes(struct rig *rig, const char *tenant, const char *model)
{
    return strcmp(taken(rig, tenant), model) == 0;
}

// The rebuild of a scope, as it is shown; `member` of it.
static bool shows(struct rig *rig, const char *scope, const char *state)
{
    _cleanup_json_ json_t *list = NULL;
    size_t i;
    json_t *one;
    must(rebuild_list(&rig->flow, NULL, &list, err));
    json_array_foreach(list, i, one)
    {
        if (strcmp(js_str(one, "tenantId", ""), scope ? scope : "") == 0)
            return strcmp(js_str(one, "state", ""), state) == 0;
    }
    return false;
}

static int64_t number(struct rig *rig, const char *member)
{
    _cleanup_json_ json_t *list = NULL;
    must(rebuild_list(&rig->flow, "default", &list, err));
    return js_int(json_array_get(list, json_array_size(list) - 1), member, -1);
}

static void upload_many(struct rig *rig, int from, int count)
{
    char id[ID_MAX];
    for (int i = 0; i < count; i++)
        rig_upload(rig, from + i, NULL, id);
}

static void what_is_there_comes_under_the_new_model_before_it_is_taken(void **state)
{
    struct rig *rig = rig_new(NULL);
    rig_start(rig);
    upload_many(rig, 0, 40);
    rig_wait_idle(rig);
    use(rig, "default", "second");
    assert_string_equal(taken(rig, "default"), "fake"); // nothing is there yet
    rebuild_with(rig);
    wait_for(takes(rig, "default", "second"));
    assert_int_equal(rig_vectors(rig, NEW), 40);
    assert_int_equal(rig_vectors(rig, OLD), 40); // until it is dropped
    rig_wait_idle(rig);
    assert_int_equal(rig_count(rig, TOPIC_PROCESSING_COMPLETED), 40); // nobody is told twice
    assert_int_equal(rig_count(rig, TOPIC_FEATURES_EXTRACTION), 80);
    assert_int_equal(number(rig, "built"), 40);
    assert_int_equal(number(rig, "failed"), 0);
    assert_true(shows(rig, "default", "done"));
    end(rig);
    rig_free(rig);
}

static void nothing_to_build_switches_at_once(void **state)
{
    struct rig *rig = rig_new(NULL);
    use(rig, "default", "second");
    assert_string_equal(taken(rig, "default"), "second");
    must(admin_tenant_add(&rig->flow, "shop", err));
    assert_string_equal(taken(rig, "shop"), "fake");
    use(rig, "shop", "fake"); // its own choice from now on, the same one
    assert_string_equal(taken(rig, "shop"), "fake");
    const struct rebuild_wish unknown = {.model = "third"}, nobody = {.tenant = "nobody", .model = "second"};
    must_fail(ERR_MODEL_UNKNOWN, rebuild_use(&rig->flow, &unknown, err));
    must_fail(ERR_TENANT_UNKNOWN, rebuild_use(&rig->flow, &nobody, err));
    rig_free(rig);
}

static enum error_code hold_second(struct fake *fake, size_t call, const char *model, int code)
{
    _Atomic bool *held = fake->arg;
    while (strcmp(model, "second") == 0 && *held)
        clock_sleep_ms(2);
    return ERR_NONE;
}

static void what_comes_in_meanwhile_is_there_after_the_switch(void **state)
{
    struct rig *rig = rig_new(NULL);
    _Atomic bool held = true;
    rig->fake.script = hold_second;
    rig->fake.arg = (void *)&held;
    rig->config.cpu_workers = 12; // more than the first page holds up
    rig_start(rig);
    upload_many(rig, 0, 8);
    rig_wait_idle(rig);
    use(rig, "default", "second");
    rebuild_with(rig);
    wait_for(rig_count(rig, TOPIC_FEATURES_EXTRACTION) == 16);
    char id[ID_MAX];
    rig_upload(rig, 100, NULL, id);
    wait_for(rig_status_is(rig, id, MEDIA_COMPLETED)); // does not wait for the new model
    assert_string_equal(taken(rig, "default"), "fake");
    held = false;
    upload_many(rig, 101, 20);
    wait_for(takes(rig, "default", "second"));
    upload_many(rig, 121, 5);
    rig_wait_idle(rig);
    assert_int_equal(rig_vectors(rig, NEW), 34);
    assert_int_equal(rig_ledger(rig).searchable, 34);
    assert_int_equal(rig_count(rig, TOPIC_PROCESSING_COMPLETED), 34);
    end(rig);
    rig_free(rig);
}

static enum error_code fail_second(struct fake *fake, size_t call, const char *model, int code)
{
    const _Atomic bool *failing = fake->arg;
    return strcmp(model, "second") == 0 && *failing ? ERR_EVENT_INVALID : ERR_NONE;
}

static void pictures_that_fail_block_the_switch(void **state)
{
    struct rig *rig = rig_new(NULL);
    _Atomic bool failing = true;
    rig->fake.script = fail_second;
    rig->fake.arg = (void *)&failing;
    rig_start(rig);
    upload_many(rig, 0, 12);
    rig_wait_idle(rig);
    rebuild_with(rig);
    use(rig, "default", "second");
    wait_for(shows(rig, "default", "blocked"));
    assert_int_equal(number(rig, "failed"), 12);
    assert_string_equal(taken(rig, "default"), "fake");
    assert_int_equal(rig_ledger(rig).searchable, 12); // they are still found under the old one
    assert_int_equal(rig_count(rig, TOPIC_DEADLETTER), 12);
    char id[ID_MAX];
    rig_upload(rig, 50, NULL, id); // and so are new ones
    wait_for(rig_status_is(rig, id, MEDIA_COMPLETED));
    failing = false;
    use(rig, "default", "second");
    wait_for(takes(rig, "default", "second"));
    assert_int_equal(rig_vectors(rig, NEW), 13);
    end(rig);
    rig_free(rig);
}

static void the_switch_can_do_without_what_fails(void **state)
{
    struct rig *rig = rig_new(NULL);
    _Atomic bool failing = true;
    rig->fake.script = fail_second;
    rig->fake.arg = (void *)&failing;
    rig_start(rig);
    upload_many(rig, 0, 3);
    rig_wait_idle(rig);
    rebuild_with(rig);
    const struct rebuild_wish wish = {.tenant = "default", .model = "second", .skip_failed = true};
    must(rebuild_use(&rig->flow, &wish, err));
    wait_for(takes(rig, "default", "second"));
    assert_int_equal(number(rig, "failed"), 3);
    end(rig);
    rig_free(rig);
}

static void it_can_wait_for_the_word(void **state)
{
    struct rig *rig = rig_new(NULL);
    rig_start(rig);
    upload_many(rig, 0, 10);
    rig_wait_idle(rig);
    rebuild_with(rig);
    const struct rebuild_wish wish = {.tenant = "default", .model = "second", .hold = true};
    must(rebuild_use(&rig->flow, &wish, err));
    wait_for(shows(rig, "default", "ready"));
    assert_string_equal(taken(rig, "default"), "fake");
    upload_many(rig, 10, 5); // goes under both while it waits
    rig_wait_idle(rig);
    json_t *report = NULL;
    must(rebuild_compare(&rig->flow, "default", "fake", "second", 100, &report, err));
    assert_int_equal(js_int(report, "samples", 0), 15);
    assert_true(js_num(report, "overlapAt10", 0) == 1); // the two are one model by two names
    json_decref(report);
    use(rig, "default", "second");
    wait_for(takes(rig, "default", "second"));
    rig_wait_idle(rig);
    assert_int_equal(rig_vectors(rig, NEW), 15);
    end(rig);
    rig_free(rig);
}

static void it_can_be_cancelled(void **state)
{
    struct rig *rig = rig_new(NULL);
    rig_start(rig);
    upload_many(rig, 0, 4);
    rig_wait_idle(rig);
    use(rig, "default", "second"); // nobody carries it out yet
    const struct rebuild_wish reindex = {.tenant = "default"};
    must_fail(ERR_CONFLICT, rebuild_reindex(&rig->flow, &reindex, err));
    use(rig, "default", "fake"); // as it is
    assert_true(shows(rig, "default", "cancelled"));
    use(rig, "default", "second");
    must(rebuild_cancel(&rig->flow, "default", err));
    must_fail(ERR_NOT_FOUND, rebuild_cancel(&rig->flow, "default", err));
    use(rig, "default", "second");
    must(flow_model_use(&rig->flow, "default", "second", err)); // at once
    assert_true(shows(rig, "default", "cancelled"));
    assert_string_equal(taken(rig, "default"), "second");
    rebuild_with(rig);
    upload_many(rig, 10, 4);
    rig_wait_idle(rig);
    assert_int_equal(rig_vectors(rig, OLD), 4);
    assert_int_equal(rig_vectors(rig, NEW), 4);
    end(rig);
    rig_free(rig);
}

static void g7_everybody_but_who_chose_otherwise(void **state)
{
    struct rig *rig = rig_new(NULL);
    char id[ID_MAX];
    rig->flow.settings.model_fixed = false; // as with `auto`
    rig_start(rig);
    must(admin_tenant_add(&rig->flow, "own", err));
    must(flow_model_use(&rig->flow, "own", "fake", err));
    const char *const tenants[] = {"default", "a", "a-", "b", "own", "z"};
    for (size_t i = 0; i < ARRAY_LEN(tenants); i++)
        for (int n = 0; n < 9; n++) {
            rig_item_of(rig, tenants[i], (int)i * 10 + n, NULL, id);
            rig_request(rig, &(struct rig_event){.tenant = tenants[i], .media = id});
        }
    rig_wait_idle(rig);
    rebuild_with(rig);
    use(rig, NULL, "second");
    wait_for(takes(rig, NULL, "second"));
    assert_string_equal(taken(rig, "z"), "second");
    assert_string_equal(taken(rig, "own"), "fake");
    rig_wait_idle(rig);
    assert_int_equal(rig_vectors(rig, NEW), 9);
    assert_int_equal(rig_vectors(rig, "tenant_a_second_vectors"), 9);
    assert_int_equal(rig_vectors(rig, "tenant_b_second_vectors"), 9);
    assert_int_equal(rig_vectors(rig, "tenant_z_second_vectors"), 9);
    assert_int_equal(rig_vectors(rig, "tenant_own_second_vectors"), 0);
    end(rig);
    rig_free(rig);
}

static void g9_what_is_deleted_meanwhile_leaves_nothing(void **state)
{
    struct rig *rig = rig_new(NULL);
    char ids[30][ID_MAX], out[ID_MAX];
    rig_start(rig);
    for (int i = 0; i < 30; i++)
        rig_upload(rig, i, NULL, ids[i]);
    rig_wait_idle(rig);
    rebuild_with(rig);
    use(rig, "default", "second");
    for (int i = 0; i < 30; i += 2)
        must(item_delete(&rig->flow, "default", ids[i], out, err));
    wait_for(takes(rig, "default", "second"));
    rig_wait_idle(rig);
    assert_int_equal(rig_vectors(rig, OLD), 15);
    assert_int_equal(rig_vectors(rig, NEW), 15);
    end(rig);
    rig_free(rig);
}

static void what_comes_late_is_not_completed_without_the_new_model(void **state)
{
    struct rig *rig = rig_new(NULL);
    char early[ID_MAX], late[ID_MAX];
    rig_start(rig);
    rig_item(rig, 1, early);
    rig_item(rig, 2, late); // accepted, but not worked on yet
    rig_request(rig, &(struct rig_event){.media = early});
    wait_for(rig_status_is(rig, early, MEDIA_COMPLETED));
    rebuild_with(rig);
    use(rig, "default", "second");
    wait_for(takes(rig, "default", "second"));
    assert_int_equal(rig_vectors(rig, NEW), 1);
    rig_request(rig, &(struct rig_event){.media = late});
    wait_for(rig_status_is(rig, late, MEDIA_COMPLETED));
    assert_int_equal(rig_vectors(rig, NEW), 2);
    // Change again, and what comes late follows both changes.
    char latest[ID_MAX];
    rig_item(rig, 3, latest);
    use(rig, "default", "fake");
    wait_for(takes(rig, "default", "fake"));
    rig_request(rig, &(struct rig_event){.media = latest, .model = "second"});
    wait_for(rig_vectors(rig, OLD) == 3);
    rig_wait_idle(rig);
    end(rig);
    rig_free(rig);
}

static void dropped_vectors_are_made_anew(void **state)
{
    struct rig *rig = rig_new(NULL);
    size_t dropped;
    rig_start(rig);
    upload_many(rig, 0, 10);
    rig_wait_idle(rig);
    rebuild_with(rig);
    must_fail(ERR_CONFLICT, flow_model_drop(&rig->flow, "default", "fake", &dropped, err)); // in use
    use(rig, "default", "second");
    wait_for(takes(rig, "default", "second"));
    must(flow_model_drop(&rig->flow, NULL, "no-such-model", &dropped, err));
    assert_int_equal(dropped, 0);
    must_fail(ERR_MODEL_UNKNOWN, flow_model_drop(&rig->flow, NULL, "../x", &dropped, err));
    must(flow_model_drop(&rig->flow, "default", "fake", &dropped, err));
    assert_int_equal(dropped, 10);
    assert_int_equal(rig_vectors(rig, OLD), 0);
    const struct rebuild_wish back = {.tenant = "default", .model = "fake", .hold = true};
    must(rebuild_use(&rig->flow, &back, err));
    wait_for(shows(rig, "default", "ready"));
    must_fail(ERR_CONFLICT, flow_model_drop(&rig->flow, "default", "fake", &dropped, err)); // being built
    assert_int_equal(rig_vectors(rig, OLD), 10);
    end(rig);
    rig_free(rig);
}

static void a_reindex_makes_every_vector_again(void **state)
{
    struct rig *rig = rig_new(NULL);
    rig_start(rig);
    upload_many(rig, 0, 100);
    rig_wait_idle(rig);
    must(rig->flow.index.ops->drop(rig->flow.index.state, OLD, err)); // lost
    rebuild_with(rig);
    const struct rebuild_wish wish = {.tenant = "default"};
    must(rebuild_reindex(&rig->flow, &wish, err));
    wait_for(shows(rig, "default", "done"));
    assert_int_equal(rig_vectors(rig, OLD), 100);
    assert_int_equal(number(rig, "built"), 100);
    rig_wait_idle(rig);
    assert_int_equal(rig_count(rig, TOPIC_PROCESSING_COMPLETED), 100);
    end(rig);
    rig_free(rig);
}

static void g3_stopped_anywhere_it_goes_on(void **state)
{
    struct rig *rig = rig_new(NULL);
    rig_start(rig);
    upload_many(rig, 0, 60);
    rig_wait_idle(rig);
    use(rig, "default", "second");
    for (int i = 0; i < 12 && takes(rig, "default", "fake"); i++) {
        rebuild_with(rig);
        clock_sleep_ms(i * 3);
        end(rig);
        rig_reopen(rig, NULL);
        rig_start(rig);
    }
    rebuild_with(rig);
    wait_for(takes(rig, "default", "second"));
    rig_wait_idle(rig);
    assert_int_equal(rig_vectors(rig, NEW), 60);
    assert_int_equal(number(rig, "seen"), 60);
    end(rig);
    rig_free(rig);
}

static void slow_searches_slow_it_down_and_never_stop_it(void **state)
{
    struct rig *rig = rig_new(NULL);
    struct rebuilder *r;
    rig_start(rig);
    upload_many(rig, 0, 20);
    rig_wait_idle(rig);
    use(rig, "default", "second");
    must(rebuilder_start(&rig->flow, 1000, &r, err));
    while (!takes(rig, "default", "second"))
        rebuild_saw_search(&rig->flow, 5000);
    rebuilder_stop(r);
    assert_int_equal(rig_vectors(rig, NEW), 20);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_there_comes_under_the_new_model_before_it_is_taken),
        cmocka_unit_test(nothing_to_build_switches_at_once),
        cmocka_unit_test(what_comes_in_meanwhile_is_there_after_the_switch),
        cmocka_unit_test(pictures_that_fail_block_the_switch),
        cmocka_unit_test(the_switch_can_do_without_what_fails),
        cmocka_unit_test(it_can_wait_for_the_word),
        cmocka_unit_test(it_can_be_cancelled),
        cmocka_unit_test(g7_everybody_but_who_chose_otherwise),
        cmocka_unit_test(g9_what_is_deleted_meanwhile_leaves_nothing),
        cmocka_unit_test(what_comes_late_is_not_completed_without_the_new_model),
        cmocka_unit_test(dropped_vectors_are_made_anew),
        cmocka_unit_test(a_reindex_makes_every_vector_again),
        cmocka_unit_test(g3_stopped_anywhere_it_goes_on),
        cmocka_unit_test(slow_searches_slow_it_down_and_never_stop_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
