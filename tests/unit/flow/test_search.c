// SPDX-License-Identifier: Apache-2.0
// Search: by image, item and vector; pages, least scores, filters, items that go away.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/js.h"
#include "media/details/details.h"
#include "rig.h"

enum { ITEMS = 60 };

struct world {
    struct rig *rig;
    char ids[ITEMS][ID_MAX];
};

// Item i lies at an angle of i degrees from the first axis.
static void vector_of(int i, float out[FAKE_DIMENSION])
{
    memset(out, 0, FAKE_DIMENSION * sizeof *out);
    out[0] = cosf((float)i * 0.0174533f);
    out[1] = sinf((float)i * 0.0174533f);
}

static void index_item(struct rig *rig, const char *collection, const char *id, int i)
{
    float vector[FAKE_DIMENSION];
    vector_of(i, vector);
    json_t *payload = json_pack("{s:i,s:s}", "number", i, "kind", i % 2 ? "odd" : "even");
    const struct index_point point = {.id = id, .vector = vector, .payload = payload};
    must(rig->flow.index.ops->ensure(rig->flow.index.state, collection, FAKE_DIMENSION, err));
    must(rig->flow.index.ops->upsert(rig->flow.index.state, collection, &point, 1, err));
    json_decref(payload);
}

static int setup(void **state)
{
    struct world *w = test_calloc(1, sizeof *w);
    w->rig = rig_new(NULL);
    for (int i = 0; i < ITEMS; i++) {
        rig_item(w->rig, i, w->ids[i]);
        index_item(w->rig, "tenant_default_fake_vectors", w->ids[i], i);
    }
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    rig_free(w->rig);
    test_free(w);
    return 0;
}

static struct search_result run(struct rig *rig, struct arena *arena, struct search_query query)
{
    struct search_result result;
    query.tenant = query.tenant ? query.tenant : "default";
    query.min_score = query.min_score != 0 ? query.min_score : -1;
    must(search_run(&rig->flow, &query, arena, &result, err));
    return result;
}

static void test_by_vector(void **state)
{
    struct world *w = *state;
    _cleanup_arena_ struct arena arena = {0};
    float vector[FAKE_DIMENSION];
    vector_of(0, vector);
    for (int i = 0; i < FAKE_DIMENSION; i++)
        vector[i] *= 40; // normalised by us
    struct search_result r = run(w->rig, &arena, (struct search_query){.vector = vector, .vector_len = 8, .k = 5});
    assert_int_equal(r.count, 5);
    assert_true(r.more);
    assert_string_equal(r.model, "fake");
    for (int i = 0; i < 5; i++)
        assert_string_equal(r.hits[i].media.id, w->ids[i]);
    assert_true(fabsf(r.hits[0].score - 1) < 1e-5f);
    r = run(w->rig, &arena, (struct search_query){.vector = vector, .vector_len = 8});
    assert_int_equal(r.count, 10); // as configured
}

static void test_by_item_leaves_it_out(void **state)
{
    struct world *w = *state;
    _cleanup_arena_ struct arena arena = {0};
    struct search_result r = run(w->rig, &arena, (struct search_query){.id = id_bare(w->ids[0]), .k = ITEMS});
    assert_int_equal(r.count, ITEMS - 1);
    assert_false(r.more);
    for (int i = 0; i < ITEMS - 1; i++)
        assert_string_equal(r.hits[i].media.id, w->ids[i + 1]);
}

static void test_by_image(void **state)
{
    struct world *w = *state;
    _cleanup_arena_ struct arena arena = {0};
    char ids[3][ID_MAX];
    for (int i = 0; i < 3; i++)
        rig_upload(w->rig, i * 2, "{\"models\":[\"second\"]}", ids[i]);
    rig_start(w->rig);
    rig_wait_idle(w->rig);
    size_t len;
    _cleanup_free_ void *picture = rig_picture(2, &len);
    struct search_result r =
        run(w->rig, &arena, (struct search_query){.image = picture, .image_len = len, .model = "second", .k = 2});
    assert_int_equal(r.count, 2);
    assert_true(r.more);
    assert_string_equal(r.hits[0].media.id, ids[1]); // the same bytes: the item itself
    assert_true(r.hits[0].score > 0.9999f);
}

static void test_pages_join_without_overlap_or_gap(void **state)
{
    struct world *w = *state;
    _cleanup_arena_ struct arena arena = {0};
    for (size_t k = 1; k <= 13; k += 3) {
        bool more = true;
        size_t seen = 0;
        for (size_t offset = 0; more; offset += k) {
            struct search_result r =
                run(w->rig, &arena, (struct search_query){.id = w->ids[0], .k = k, .offset = offset});
            for (size_t i = 0; i < r.count; i++)
                assert_string_equal(r.hits[i].media.id, w->ids[++seen]);
            assert_true(r.count == k || !r.more);
            more = r.more;
        }
        assert_int_equal(seen, ITEMS - 1);
    }
    struct search_result r = run(w->rig, &arena, (struct search_query){.id = w->ids[0], .k = 5, .offset = 9000});
    assert_int_equal(r.count, 0);
    assert_false(r.more);
}

static void test_least_score_and_filter(void **state)
{
    struct world *w = *state;
    _cleanup_arena_ struct arena arena = {0};
    struct search_query query = {.id = w->ids[0], .k = 100, .min_score = 0.98481f}; // above the cosine of 10 degrees
    struct search_result r = run(w->rig, &arena, query);
    assert_int_equal(r.count, 9);
    _cleanup_json_ json_t *json = json_pack("{s:s}", "kind", "odd");
    struct filter *filter;
    must(filter_parse(json, &filter, err));
    query.filter = filter;
    query.min_score = -1;
    r = run(w->rig, &arena, query);
    assert_int_equal(r.count, ITEMS / 2);
    for (size_t i = 0; i < r.count; i++)
        assert_string_equal(r.hits[i].media.id, w->ids[2 * i + 1]);
    filter_free(filter);
}

// Items that are being deleted, and vectors whose rows are gone, leave no hole in a page.
static void test_g9_pages_are_full_though_items_go_away(void **state)
{
    struct world *w = *state;
    _cleanup_arena_ struct arena arena = {0};
    char canonical[ID_MAX], name[ID_MAX];
    for (int i = 1; i <= 30; i++)
        must(item_delete(&w->rig->flow, "default", w->ids[i], canonical, err)); // marked: no runner runs
    for (int i = 0; i < 20; i++) {
        id_new("img", name);
        index_item(w->rig, "tenant_default_fake_vectors", name, 0); // a vector without an item
    }
    struct search_result r = run(w->rig, &arena, (struct search_query){.id = w->ids[0], .k = 10});
    assert_int_equal(r.count, 10);
    assert_true(r.more);
    for (int i = 0; i < 10; i++)
        assert_string_equal(r.hits[i].media.id, w->ids[31 + i]);
    r = run(w->rig, &arena, (struct search_query){.id = w->ids[0], .k = 100});
    assert_int_equal(r.count, ITEMS - 31);
    assert_false(r.more);
}

static void test_g7_another_tenants_items_do_not_exist(void **state)
{
    struct world *w = *state;
    _cleanup_arena_ struct arena arena = {0};
    must(admin_tenant_add(&w->rig->flow, "other", err));
    float vector[FAKE_DIMENSION];
    vector_of(0, vector);
    struct search_result r =
        run(w->rig, &arena, (struct search_query){.tenant = "other", .vector = vector, .vector_len = 8});
    assert_int_equal(r.count, 0);
    index_item(w->rig, "tenant_other_fake_vectors", w->ids[3], 0); // even if its vector were there
    r = run(w->rig, &arena, (struct search_query){.tenant = "other", .vector = vector, .vector_len = 8});
    assert_int_equal(r.count, 0);
    struct search_result none;
    struct search_query query = {.tenant = "other", .id = w->ids[0], .min_score = -1};
    must_fail(ERR_NOT_FOUND, search_run(&w->rig->flow, &query, &arena, &none, err));
}

static void refuse(struct world *w, enum error_code code, struct search_query query)
{
    _cleanup_arena_ struct arena arena = {0};
    struct search_result result;
    query.tenant = query.tenant ? query.tenant : "default";
    must_fail(code, search_run(&w->rig->flow, &query, &arena, &result, err));
}

// --- A closer look

static void details_of(uint64_t seed, struct details *out) // as of a picture, each its own
{
    *out = (struct details){.count = 60, .ends = {20, 40, 60}};
    for (size_t i = 0; i < out->count; i++) {
        out->of[i] = (struct detail){.x = (float)(i * 37 % 250), .y = (float)(i * 53 % 180), .size = 1.5f, .angle = 1};
        for (int w = 0; w < DETAIL_WORDS; w++) {
            seed = seed * 6364136223846793005U + 1442695040888963407U;
            out->bits[w][i] = hash64(&seed, sizeof seed);
        }
    }
}

struct keep_call {
    struct rig *rig;
    const char *id;
    const void *bytes;
    size_t len;
};

static int keep_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    const struct keep_call *c = arg;
    return c->rig->meta.ops->details_put(tx, "default", c->id, c->bytes, c->len, err);
}

static void keep(struct rig *rig, const char *id, const void *bytes, size_t len)
{
    struct keep_call call = {rig, id, bytes, len};
    must(rig->meta.ops->write(rig->meta.state, META_RELAXED, keep_tx, &call, err));
}

static void keep_details(struct rig *rig, const char *id, uint64_t seed)
{
    static struct details details;
    uint8_t bytes[DETAILS_PACKED_MAX];
    details_of(seed, &details);
    keep(rig, id, bytes, details_pack(&details, bytes));
}

// Among the items from 20 degrees on, the one at 45 has the details of what is asked for.
static void test_what_shares_details_comes_first(void **state)
{
    struct world *w = *state;
    _cleanup_arena_ struct arena arena = {0};
    _cleanup_json_ json_t *json = json_pack("{s:{s:i}}", "number", "gte", 20);
    struct filter *far;
    must(filter_parse(json, &far, err));
    struct search_query query = {.id = w->ids[0], .k = 4, .filter = far};
    assert_string_equal(run(w->rig, &arena, query).hits[0].media.id, w->ids[20]);
    for (int i = 0; i < ITEMS; i++)
        keep_details(w->rig, w->ids[i], i % 45 ? 100 + (uint64_t)i : 7);
    struct search_result r = run(w->rig, &arena, query);
    assert_string_equal(r.hits[0].media.id, w->ids[45]);
    assert_true(r.hits[0].score > 0.95f); // its vector alone gives 0.71
    for (int i = 1; i < 4; i++)
        assert_string_equal(r.hits[i].media.id, w->ids[20 + i - 1]);
    query.min_score = 0.95f; // is asked of what came out
    assert_int_equal(run(w->rig, &arena, query).count, 1);
    query.min_score = 0;
    const struct search_term terms[] = {{.id = w->ids[1], .weight = 0.001f}}; // a mixture is no picture
    query.terms = terms;
    query.term_count = 1;
    assert_string_equal(run(w->rig, &arena, query).hits[0].media.id, w->ids[20]);
    query.term_count = 0;
    w->rig->flow.settings.search_closer = 20; // it is not among so many
    assert_string_equal(run(w->rig, &arena, query).hits[0].media.id, w->ids[20]);
    w->rig->flow.settings.search_closer = 0;
    assert_string_equal(run(w->rig, &arena, query).hits[0].media.id, w->ids[20]);
    filter_free(far);
}

static void test_pages_with_a_closer_look_join(void **state)
{
    struct world *w = *state;
    _cleanup_arena_ struct arena arena = {0};
    bool seen[ITEMS] = {false};
    for (int i = 0; i < ITEMS; i++)
        keep_details(w->rig, w->ids[i], i % 7 ? 100 + (uint64_t)i : 7);
    w->rig->flow.settings.search_closer = 10; // pages go beyond it
    size_t found = 0;
    for (size_t offset = 0; offset < ITEMS; offset += 7) {
        struct search_result r = run(w->rig, &arena, (struct search_query){.id = w->ids[0], .k = 7, .offset = offset});
        for (size_t i = 0; i < r.count; i++, found++)
            for (int k = 0; k < ITEMS; k++)
                if (strcmp(r.hits[i].media.id, w->ids[k]) == 0) {
                    assert_false(seen[k]);
                    seen[k] = true;
                }
    }
    assert_int_equal(found, ITEMS - 1);
}

static void test_details_that_rotted_are_an_error_that_names_the_item(void **state)
{
    struct world *w = *state;
    _cleanup_arena_ struct arena arena = {0};
    struct search_result r;
    struct error err = {0};
    keep_details(w->rig, w->ids[0], 7);
    keep(w->rig, w->ids[3], "rot", 3);
    const struct search_query query = {.tenant = "default", .id = w->ids[0], .k = 2, .min_score = -1};
    assert_int_equal(search_run(&w->rig->flow, &query, &arena, &r, &err), -1);
    assert_int_equal(err.code, ERR_DATA_CORRUPT);
    assert_non_null(strstr(err.message, w->ids[3]));
}

static void test_bad_queries_are_refused(void **state)
{
    struct world *w = *state;
    const float zero[8] = {0}, bad[8] = {1, NAN}, good[8] = {1};
    char waiting[ID_MAX];
    rig_item(w->rig, 99, waiting);
    refuse(w, ERR_INVALID, (struct search_query){0});
    const struct search_term away[] = {{.id = w->ids[0], .weight = -1}}, many[SEARCH_TERMS_MAX] = {0};
    refuse(w, ERR_INVALID, (struct search_query){.id = w->ids[0], .terms = away, .term_count = 1}); // nothing is left
    refuse(w, ERR_INVALID, (struct search_query){.id = w->ids[0], .terms = many, .term_count = SEARCH_TERMS_MAX - 3});
    refuse(w, ERR_MODEL_UNKNOWN, (struct search_query){.text = "a dog"}); // there is no model of texts
    refuse(w, ERR_INVALID, (struct search_query){.text = "a dog", .model = "second"});
    refuse(w, ERR_INVALID_VECTOR, (struct search_query){.id = w->ids[0], .vector = good, .vector_len = 7});
    refuse(w, ERR_INVALID, (struct search_query){.id = w->ids[0], .k = 1001});
    refuse(w, ERR_INVALID_CURSOR, (struct search_query){.id = w->ids[0], .k = 10, .offset = 9990});
    refuse(w, ERR_INVALID_CURSOR, (struct search_query){.id = w->ids[0], .k = 10, .offset = SIZE_MAX - 5});
    refuse(w, ERR_INVALID_VECTOR, (struct search_query){.vector = zero, .vector_len = 8});
    refuse(w, ERR_INVALID_VECTOR, (struct search_query){.vector = bad, .vector_len = 8});
    refuse(w, ERR_INVALID_VECTOR, (struct search_query){.vector = good, .vector_len = 7});
    refuse(w, ERR_MODEL_UNKNOWN, (struct search_query){.id = w->ids[0], .model = "clip"});
    refuse(w, ERR_TENANT_UNKNOWN, (struct search_query){.tenant = "nobody", .id = w->ids[0]});
    refuse(w, ERR_INVALID_ID, (struct search_query){.id = "not an id"});
    refuse(w, ERR_NOT_FOUND, (struct search_query){.id = "img_123456"});
    refuse(w, ERR_NOT_READY, (struct search_query){.id = waiting});
    refuse(w, ERR_UNSUPPORTED_MEDIA, (struct search_query){.image = "plain text, no picture", .image_len = 22});
}

static void test_the_deepest_page(void **state)
{
    struct world *w = *state;
    _cleanup_arena_ struct arena arena = {0};
    struct search_result r = run(w->rig, &arena, (struct search_query){.id = w->ids[0], .offset = 9999});
    assert_int_equal(r.count, 0);
    r = run(w->rig, &arena, (struct search_query){.id = w->ids[0], .k = 1000, .offset = 8999});
    assert_int_equal(r.count, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_by_vector),
        T(test_by_item_leaves_it_out),
        T(test_by_image),
        T(test_pages_join_without_overlap_or_gap),
        T(test_least_score_and_filter),
        T(test_g9_pages_are_full_though_items_go_away),
        T(test_g7_another_tenants_items_do_not_exist),
        T(test_what_shares_details_comes_first),
        T(test_pages_with_a_closer_look_join),
        T(test_details_that_rotted_are_an_error_that_names_the_item),
        T(test_bad_queries_are_refused),
        T(test_the_deepest_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
