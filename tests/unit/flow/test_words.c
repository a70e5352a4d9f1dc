// SPDX-License-Identifier: Apache-2.0
// Words: labels become places among sentences, automatic tags and hits of texts. The model of texts here gives each
// text the axis of its last letter ("…a": the first), and the model of pictures sees what the test says.
#include <math.h>
#include <string.h>

#include "base/js.h"
#include "flow/words.h"
#include "rig.h"

enum { AXES = 8 };

static struct {
    struct extractor_labels labels; // what is seen in every picture
    size_t embedded;                // texts so far
    bool broken;
} fake_words;

static int embed(void *state, const struct extractor_model *model, const char *const *texts, size_t count,
                 float *vectors, struct error *err)
{
    (void)state, (void)model;
    if (fake_words.broken)
        return error_set(err, ERR_EXTRACTION_FAILED, "The model of texts is broken");
    memset(vectors, 0, count * AXES * sizeof *vectors);
    for (size_t i = 0; i < count; i++)
        vectors[i * AXES + (size_t)(texts[i][strlen(texts[i]) - 1] - 'a') % AXES] = 1;
    fake_words.embedded += count;
    return 0;
}

static int extract(void *state, const struct extractor_model *model, const struct pixels *pictures, size_t count,
                   float *vectors, struct extractor_labels *labels, struct error *err)
{
    (void)state, (void)model, (void)pictures, (void)err;
    memset(vectors, 0, count * FAKE_DIMENSION * sizeof *vectors);
    for (size_t i = 0; i < count; i++) {
        vectors[i * FAKE_DIMENSION] = 1;
        if (labels)
            labels[i] = fake_words.labels;
    }
    return 0;
}

static const struct extractor_ops ops = {.name = "fake", .extract = extract, .embed = embed};
static const struct extractor fakes = {.ops = &ops};
static const struct extractor_model seeing = {.name = "seeing",
                                              .version = "1.0",
                                              .dimension = FAKE_DIMENSION,
                                              .input_edge = 16,
                                              .batch_max = 8,
                                              .labels = true},
                                    sentences = {.name = "words",
                                                 .version = "1.0",
                                                 .dimension = AXES,
                                                 .batch_max = 8,
                                                 .texts = true,
                                                 .only_texts = true};

static void see(size_t count, const struct extractor_label *labels)
{
    fake_words.labels.count = count;
    memcpy(fake_words.labels.at, labels, count * sizeof *labels);
}

static int setup(void **state)
{
    struct rig *rig = rig_new(NULL);
    memset(&fake_words, 0, sizeof fake_words);
    rig->flow.models[0] = (struct flow_model){&fakes, &seeing};
    rig->flow.models[1] = (struct flow_model){&fakes, &sentences};
    rig->flow.settings.model_default = "seeing";
    words_open(&rig->flow);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    rig_free(*state);
    return 0;
}

static void near(float got, double wanted)
{
    if (fabs(got - wanted) > 1e-6)
        fail_msg("%.8f instead of %.8f", got, wanted);
}

// --- The arithmetic

static void labels_draw_with_the_roots_of_their_shares(void **state)
{
    struct rig *rig = *state;
    float v[AXES];
    const struct extractor_label labels[] = {{"banana", 0.64f}, {"b", 0.09f}, {"sofa", 0.01f}}; // axes 0, 1, 0
    must(words_of_labels(&rig->flow, labels, 3, v, err));
    near(v[0], 0.9 / sqrt(0.9)); // (0.8 + 0.1, 0.3) has the length √0.9
    near(v[1], 0.3 / sqrt(0.9));
    for (int i = 2; i < AXES; i++)
        near(v[i], 0);
}

static void sentences_of_labels_are_embedded_once(void **state)
{
    struct rig *rig = *state;
    float v[AXES], again[AXES];
    const struct extractor_label labels[] = {{"banana", 0.5f}, {"b", 0.25f}};
    must(words_of_labels(&rig->flow, labels, 2, v, err));
    must(words_of_labels(&rig->flow, labels, 2, again, err));
    assert_int_equal(fake_words.embedded, 2);
    assert_memory_equal(v, again, sizeof v);
}

static void labels_from_elsewhere_are_read_with_care(void **state)
{
    (void)state;
    struct extractor_labels labels;
    static const char text[] =
        "[{\"name\":\"a\",\"score\":0.5},{\"name\":\"\",\"score\":1},{\"name\":\"b\",\"score\":0},"
        "{\"name\":\"c\",\"score\":2},{\"score\":1},7,{\"name\":\"d\",\"score\":\"1\"},{\"name\":\"e\",\"score\":0.05}"
        "]";
    _cleanup_json_ json_t *array = js_parse(text, sizeof text - 1, NULL);
    labels_read(array, &labels);
    assert_int_equal(labels.count, 2);
    assert_string_equal(labels.at[1].name, "e");
    _cleanup_json_ json_t *shown = labels_shown(&labels);
    assert_int_equal(json_array_size(shown), 1); // e is too unsure
    labels_read(NULL, &labels);
    assert_int_equal(labels.count, 0);
    assert_null(labels_shown(&labels));
}

// --- The way through the steps

static struct search_result search(struct rig *rig, struct arena *arena, struct search_query query)
{
    struct search_result result = {0};
    query.tenant = "default";
    query.min_score = query.min_score ? query.min_score : -1;
    must(search_run(&rig->flow, &query, arena, &result, err));
    return result;
}

static void upload_seen(struct rig *rig, int number, const char *name, float share, char id[ID_MAX])
{
    const struct extractor_label labels[] = {{name, share}, {"h", 1e-6f}};
    see(2, labels);
    rig_upload(rig, number, NULL, id);
    rig_start(rig);
    struct item item;
    _cleanup_arena_ struct arena arena = {0};
    wait_for(item_get(&rig->flow, &arena, "default", id, &item, NULL) == 0 && item.media.status == MEDIA_COMPLETED);
    rig_stop(rig);
}

static void pictures_are_found_by_what_they_show(void **state)
{
    struct rig *rig = *state;
    _cleanup_arena_ struct arena arena = {0};
    char first[ID_MAX], second[ID_MAX];
    upload_seen(rig, 1, "banana", 0.9f, first);
    upload_seen(rig, 2, "cab", 0.05f, second);
    struct search_result r = search(rig, &arena, (struct search_query){.text = "a sofa"});
    assert_string_equal(r.model, "words");
    assert_int_equal(r.count, 2);
    assert_string_equal(r.hits[0].media.id, first);
    near(r.hits[0].score, sqrt(0.9) / sqrt(0.9 + 1e-6));
    r = search(rig, &arena, (struct search_query){.text = "a cab"});
    assert_string_equal(r.hits[0].media.id, second);

    struct item item;
    must(item_get(&rig->flow, &arena, "default", first, &item, err));
    _cleanup_json_ json_t *tags = js_parse(item.media.auto_tags, strlen(item.media.auto_tags), NULL);
    assert_int_equal(json_array_size(tags), 1);
    assert_string_equal(js_str(json_array_get(tags, 0), "name", ""), "banana");
    near((float)js_num(json_array_get(tags, 0), "score", 0), 0.9f);
    must(item_get(&rig->flow, &arena, "default", second, &item, err));
    assert_null(item.media.auto_tags); // nothing in it was sure enough
}

static void automatic_tags_filter(void **state)
{
    struct rig *rig = *state;
    _cleanup_arena_ struct arena arena = {0};
    char first[ID_MAX], second[ID_MAX];
    upload_seen(rig, 1, "banana", 0.9f, first);
    upload_seen(rig, 2, "cab", 0.4f, second);
    static const struct {
        const char *filter;
        size_t hits;
    } cases[] = {{"{\"autoTags\": \"banana\"}", 1},
                 {"{\"autoTags\": [\"banana\", \"cab\"]}", 2},
                 {"{\"autoTagScores.cab\": {\"gte\": 0.3}}", 1},
                 {"{\"autoTagScores.cab\": {\"gte\": 0.5}}", 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (int by_text = 0; by_text < 2; by_text++) { // in either collection
            _cleanup_json_ json_t *json = js_parse(cases[i].filter, strlen(cases[i].filter), NULL);
            const float axis[FAKE_DIMENSION] = {1};
            struct filter *filter;
            must(filter_parse(json, &filter, err));
            struct search_result r =
                by_text
                    ? search(rig, &arena, (struct search_query){.text = "a", .filter = filter})
                    : search(rig, &arena, (struct search_query){.vector = axis, .vector_len = AXES, .filter = filter});
            assert_int_equal(r.count, cases[i].hits);
            filter_free(filter);
        }
}

static void texts_items_and_weights_add_up(void **state)
{
    struct rig *rig = *state;
    _cleanup_arena_ struct arena arena = {0};
    char first[ID_MAX], second[ID_MAX];
    upload_seen(rig, 1, "banana", 0.9f, first);
    upload_seen(rig, 2, "cab", 0.9f, second);
    const struct search_term away[] = {{.text = "banana", .weight = -2}};
    struct search_result r =
        search(rig, &arena, (struct search_query){.text = "a cab", .terms = away, .term_count = 1});
    near(r.hits[0].score, 1 / sqrt(5)); // (-2, 1), and the second lies on the second axis
    assert_string_equal(r.hits[0].media.id, second);
    near(r.hits[1].score, -2 / sqrt(5));

    const struct search_term parts[] = {{.text = "banana", .weight = 0.5f}, {.id = second, .weight = 1}};
    r = search(rig, &arena, (struct search_query){.terms = parts, .term_count = 2});
    assert_int_equal(r.count, 1); // the item of the query is left out
    assert_string_equal(r.hits[0].media.id, first);
    near(r.hits[0].score, 0.5 / sqrt(1.25));

    struct search_query gone = {.tenant = "default",
                                .text = "cab",
                                .terms = (struct search_term[]){{.text = "b", .weight = -1}},
                                .term_count = 1};
    struct search_result none;
    must_fail(ERR_INVALID, search_run(&rig->flow, &gone, &arena, &none, err));
}

static void g9_deleting_takes_the_place_among_words_along(void **state)
{
    struct rig *rig = *state;
    char id[ID_MAX], canonical[ID_MAX];
    size_t count;
    upload_seen(rig, 1, "banana", 0.9f, id);
    must(rig->flow.index.ops->count(rig->flow.index.state, "tenant_default_words_vectors", &count, err));
    assert_int_equal(count, 1);
    must(item_delete(&rig->flow, "default", id, canonical, err));
    rig_start(rig);
    wait_for(rig_lag(rig, STEP_MAINTAIN) == 0);
    rig_stop(rig);
    must(rig->flow.index.ops->count(rig->flow.index.state, "tenant_default_words_vectors", &count, err));
    assert_int_equal(count, 0);
}

static void models_of_texts_take_no_pictures(void **state)
{
    struct rig *rig = *state;
    const struct flow_model *model;
    must_fail(ERR_MODEL_UNKNOWN, flow_picture_model(&rig->flow, "words", &model, err));
    must_fail(ERR_MODEL_UNKNOWN, flow_model_use(&rig->flow, NULL, "words", err));
    must_fail(ERR_INVALID, words_model_for(&rig->flow, "default", "seeing", &model, err));
    must(words_model_for(&rig->flow, "default", NULL, &model, err));
    assert_string_equal(model->model->name, "words");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(labels_draw_with_the_roots_of_their_shares),
        T(sentences_of_labels_are_embedded_once),
        cmocka_unit_test(labels_from_elsewhere_are_read_with_care),
        T(pictures_are_found_by_what_they_show),
        T(automatic_tags_filter),
        T(texts_items_and_weights_add_up),
        T(g9_deleting_takes_the_place_among_words_along),
        T(models_of_texts_take_no_pictures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
