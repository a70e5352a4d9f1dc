// SPDX-License-Identifier: Apache-2.0
// The contract of the index port, sentence by sentence, on every back end: plain, under the tracing wrapper, and under
// the failing one.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <ftw.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/fault.h"
#include "backends/index/index_flat.h"
#include "backends/index/index_qdrant.h"
#include "backends/trace.h"
#include "base/clock.h"
#include "base/js.h"
#include "base/log.h"
#include "ports/index.h"

static const struct backend {
    const struct index_ops *ops;
    const char *server; // the variable that says where its server is; NULL: it needs none
    bool whole_batches; // searches see a batch whole or not at all
    int rounds;         // percent of the rounds that the longest tests make
} backends[] = {
    {&index_flat, NULL, true, 100},
    {&index_qdrant, "DEEPLENS_TEST_QDRANT", false, 20},
};

static const char *const RED = "tenant_red_builtin_vectors";
static const char *const BLUE = "tenant_blue_builtin_vectors";

// ---- Fixture ----

enum variant { PLAIN, TRACED, FAULTY };
static const char *const variant_names[] = {"", ", traced", ", under the failing wrapper"};

static const struct backend *present; // the back end that the group is run on

static int rounds(int most)
{
    return most * present->rounds / 100;
}
static enum variant variant;

struct fixture {
    const struct index_ops *ops; // as wrapped
    void *index;
    char folder[64];
    char location[256];
};

// Those whose server is given; without one, those that need none.
static bool wanted(const struct backend *backend)
{
    bool given = false;
    for (size_t i = 0; i < ARRAY_LEN(backends); i++)
        given |= backends[i].server && getenv(backends[i].server);
    return backend->server ? getenv(backend->server) != NULL : !given;
}

static void open_index(struct fixture *f)
{
    struct error err = {0};
    assert_int_equal(trace_setup(variant == TRACED ? "index" : "", &err), 0);
    // A rule that never comes to pass, so that the wrapper's functions are in the way.
    assert_int_equal(fault_setup(variant == FAULTY ? "index.count:IO_ERROR@1000000000" : "", &err), 0);
    if (present->ops->open(f->location, &f->index, &err) < 0)
        fail_msg("%s", err.message);
    struct index wrapped = trace_wrap_index(fault_wrap_index((struct index){.ops = present->ops, .state = f->index}));
    f->ops = wrapped.ops;
    f->index = wrapped.state;
}

static void reopen(struct fixture *f)
{
    f->ops->close(f->index);
    open_index(f);
}

// A server keeps what the test before left.
static void clear(struct fixture *f)
{
    _cleanup_arena_ struct arena arena = {0};
    const char **names;
    size_t count;
    assert_int_equal(f->ops->list(f->index, &arena, &names, &count, NULL), 0);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(f->ops->drop(f->index, names[i], NULL), 0);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    const char *tmp = getenv("TMPDIR");
    snprintf(f->folder, sizeof f->folder, "%.40s/index.XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(f->folder));
    if (present->server)
        snprintf(f->location, sizeof f->location, "url=%s\nowner=contract\n", getenv(present->server));
    else
        snprintf(f->location, sizeof f->location, "%s/index", f->folder);
    open_index(f);
    if (present->server)
        clear(f);
    *state = f;
    return 0;
}

static int delete_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    return remove(path);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    f->ops->close(f->index);
    int result = nftw(f->folder, delete_one, 8, FTW_DEPTH | FTW_PHYS);
    free(f);
    return result;
}

// ---- Vectors ----

static uint64_t seed = 88172645463325252ULL;

static uint64_t random_next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void unit_vector(float *out, size_t dimension)
{
    double square = 0;
    for (size_t i = 0; i < dimension; i++) {
        out[i] = (float)((double)(random_next() >> 11) / (double)(1ULL << 53) - 0.5);
        square += (double)out[i] * out[i];
    }
    for (size_t i = 0; i < dimension; i++)
        out[i] = (float)(out[i] / sqrt(square));
}

// A vector of known similarity with axis(dimension, 0).
static void tilted(float *out, size_t dimension, double cosine)
{
    memset(out, 0, dimension * sizeof *out);
    out[0] = (float)cosine;
    out[1] = (float)sqrt(1 - cosine * cosine);
}

static void axis(float *out, size_t dimension, size_t which)
{
    memset(out, 0, dimension * sizeof *out);
    out[which] = 1;
}

static double dot(const float *a, const float *b, size_t dimension)
{
    double sum = 0;
    for (size_t i = 0; i < dimension; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

// ---- Calls that must succeed ----

static void ensure(struct fixture *f, const char *collection, size_t dimension)
{
    struct error err = {0};
    if (f->ops->ensure(f->index, collection, dimension, &err) < 0)
        fail_msg("%s", err.message);
}

static void put(struct fixture *f, const char *collection, const char *id, const float *vector, const char *payload)
{
    struct error err = {0};
    json_t *json = payload ? json_loads(payload, 0, NULL) : NULL;
    assert_true(!payload || json);
    struct index_point point = {.id = id, .vector = vector, .payload = json};
    int result = f->ops->upsert(f->index, collection, &point, 1, &err);
    json_decref(json);
    if (result < 0)
        fail_msg("%s", err.message);
}

static size_t drop_ids(struct fixture *f, const char *collection, const char *const *ids, size_t count)
{
    size_t removed = 12345;
    assert_int_equal(f->ops->remove(f->index, collection, ids, count, &removed, NULL), 0);
    return removed;
}

static size_t count_of(struct fixture *f, const char *collection)
{
    size_t count = 12345;
    assert_int_equal(f->ops->count(f->index, collection, &count, NULL), 0);
    return count;
}

static void flush(struct fixture *f, const char *collection)
{
    struct error err = {0};
    if (f->ops->flush(f->index, collection, &err) < 0)
        fail_msg("%s", err.message);
}

struct answer {
    struct arena arena;
    struct index_hit *hits;
    size_t count;
};

static struct answer ask(struct fixture *f, const char *collection, const struct index_query *query)
{
    struct answer a = {0};
    struct error err = {0};
    if (f->ops->search(f->index, collection, query, &a.arena, &a.hits, &a.count, &err) < 0)
        fail_msg("%s", err.message);
    return a;
}

static struct answer nearest(struct fixture *f, const char *collection, const float *vector, size_t k)
{
    return ask(f, collection, &(struct index_query){.vector = vector, .k = k, .min_score = -1, .accuracy = 1});
}

// The ids that pass a filter, joined in the order found.
static void expect_filtered(struct fixture *f, const float *vector, const char *filter, const char *expected)
{
    struct error err = {0};
    struct filter *parsed;
    json_t *json = json_loads(filter, 0, NULL);
    if (filter_parse(json, &parsed, &err) < 0)
        fail_msg("%s", err.message);
    struct answer a = ask(
        f, RED, &(struct index_query){.vector = vector, .k = 100, .min_score = -1, .filter = parsed, .accuracy = 1});
    char joined[256] = "";
    for (size_t i = 0; i < a.count; i++)
        snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "%s%s", i ? " " : "", a.hits[i].id);
    assert_string_equal(joined, expected);
    arena_free(&a.arena);
    filter_free(parsed);
    json_decref(json);
}

static void expect_vector(struct fixture *f, const char *collection, const char *id, const float *expected,
                          size_t dimension)
{
    _cleanup_arena_ struct arena arena = {0};
    float *vector = NULL;
    size_t got = 0;
    assert_int_equal(f->ops->get(f->index, collection, id, &arena, &vector, &got, NULL), 0);
    assert_int_equal(got, dimension);
    for (size_t i = 0; i < dimension; i++)
        assert_float_equal(vector[i], expected[i], 1e-6);
}

static bool has(struct fixture *f, const char *collection, const char *id)
{
    _cleanup_arena_ struct arena arena = {0};
    float *vector = NULL;
    size_t dimension = 0;
    struct error err = {0};
    if (f->ops->get(f->index, collection, id, &arena, &vector, &dimension, &err) == 0)
        return true;
    assert_int_equal(err.code, ERR_NOT_FOUND);
    return false;
}

// ---- Collections ----

static void test_name(void **state)
{
    struct fixture *f = *state;
    assert_non_null(f->ops->name);
    assert_true(strlen(f->ops->name) > 0);
}

static void test_health(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(f->ops->health(f->index, NULL), 0);
}

static void test_a_query_of_another_dimension_is_refused(void **state)
{
    struct fixture *f = *state;
    static const size_t others[] = {7, 9};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        struct error err = {0};
        struct index_hit *hits;
        size_t count;
        _cleanup_arena_ struct arena arena = {0};
        float *vector = calloc(others[i], sizeof *vector); // no more than it says, so that a read behind it is seen
        vector[0] = 1;
        ensure(f, RED, 8);
        const struct index_query query = {
            .vector = vector, .dimension = others[i], .k = 1, .min_score = -1, .accuracy = 1};
        assert_int_equal(f->ops->search(f->index, RED, &query, &arena, &hits, &count, &err), -1);
        assert_int_equal(err.code, ERR_CONFLICT);
        free(vector);
    }
}

static void test_ensure(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    ensure(f, RED, 8);
    ensure(f, RED, 8);
    assert_int_equal(f->ops->ensure(f->index, RED, 9, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_int_equal(count_of(f, RED), 0);
    ensure(f, "one", 1);
    ensure(f, "most", 65536);
    assert_int_equal(f->ops->ensure(f->index, "none", 0, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(f->ops->ensure(f->index, "too_many", 65537, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
}

static void test_names_of_collections(void **state)
{
    struct fixture *f = *state;
    char longest[202];
    memset(longest, 'a', sizeof longest);
    longest[200] = 0;
    ensure(f, longest, 4);
    longest[200] = 'a';
    longest[201] = 0;
    const char *const bad[] = {"", "UPPER", "a-b", "a.b", "../a", "a/b", "a b", "\xc3\xa4", longest};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct error err = {0};
        assert_int_equal(f->ops->ensure(f->index, bad[i], 4, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
    }
}

static void test_list(void **state)
{
    struct fixture *f = *state;
    _cleanup_arena_ struct arena arena = {0};
    const char **names;
    size_t count = 12345;
    assert_int_equal(f->ops->list(f->index, &arena, &names, &count, NULL), 0);
    assert_int_equal(count, 0);
    const char *const made[] = {"b", "a_b", "a", "a1", "c"}, *const sorted[] = {"a", "a1", "a_b", "b", "c"};
    for (size_t i = 0; i < ARRAY_LEN(made); i++)
        ensure(f, made[i], 4);
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(f->ops->list(f->index, &arena, &names, &count, NULL), 0);
        assert_int_equal(count, ARRAY_LEN(sorted));
        for (size_t i = 0; i < count; i++)
            assert_string_equal(names[i], sorted[i]);
        reopen(f);
    }
}

static void test_drop(void **state)
{
    struct fixture *f = *state;
    float v[8];
    axis(v, 8, 0);
    assert_int_equal(f->ops->drop(f->index, RED, NULL), 0);
    ensure(f, RED, 8);
    ensure(f, BLUE, 8);
    put(f, RED, "x", v, NULL);
    put(f, BLUE, "y", v, NULL);
    assert_int_equal(f->ops->drop(f->index, RED, NULL), 0);
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(count_of(f, RED), 0);
        assert_false(has(f, RED, "x"));
        assert_true(has(f, BLUE, "y"));
        reopen(f);
    }
    ensure(f, RED, 16); // nothing of the old one is in the way
    assert_int_equal(count_of(f, RED), 0);
    assert_int_equal(f->ops->drop(f->index, RED, NULL), 0);
    assert_int_equal(f->ops->drop(f->index, RED, NULL), 0);
}

static void test_missing_collection(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    float v[4] = {1};
    struct index_point point = {.id = "x", .vector = v};
    assert_int_equal(f->ops->upsert(f->index, RED, &point, 1, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(drop_ids(f, RED, (const char *[]){"x"}, 1), 0);
    assert_int_equal(f->ops->remove(f->index, RED, (const char *[]){"x"}, 1, NULL, NULL), 0);
    struct answer a = nearest(f, RED, v, 3);
    assert_int_equal(a.count, 0);
    arena_free(&a.arena);
    assert_false(has(f, RED, "x"));
    assert_int_equal(count_of(f, RED), 0);
    flush(f, RED);
    flush(f, NULL);
}

static uint64_t tidy(struct fixture *f, const char *collection, bool dry_run)
{
    uint64_t freed = 12345;
    struct error err = {0};
    if (f->ops->tidy(f->index, collection, dry_run, &freed, &err) < 0)
        fail_msg("tidy: %s", err.message);
    return freed;
}

static void test_tidying_changes_no_answer(void **state)
{
    struct fixture *f = *state;
    const float v[4] = {1}, w[4] = {0, 1};
    assert_int_equal(tidy(f, RED, false), 0); // there is none
    ensure(f, RED, 4);
    for (int i = 0; i < 20; i++) {
        put(f, RED, "x", v, NULL);
        put(f, RED, "gone", v, NULL);
    }
    put(f, RED, "x", w, NULL);
    assert_int_equal(drop_ids(f, RED, (const char *[]){"gone"}, 1), 1);
    uint64_t would = tidy(f, RED, true), did = tidy(f, RED, false);
    assert_true(!would == !did);
    assert_int_equal(tidy(f, RED, false), 0);
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(count_of(f, RED), 1);
        struct answer a = nearest(f, RED, w, 3);
        assert_int_equal(a.count, 1);
        assert_true(a.hits[0].score > 0.99);
        arena_free(&a.arena);
        reopen(f);
    }
}

// ---- Writing ----

static void expect_refused(struct fixture *f, const struct index_point *points, size_t count, enum error_code code)
{
    struct error err = {0};
    assert_int_equal(f->ops->upsert(f->index, RED, points, count, &err), -1);
    assert_int_equal(err.code, code);
    assert_true(strlen(err.message) > 10);
    assert_int_equal(count_of(f, RED), 1);
    assert_false(has(f, RED, "good"));
}

static void test_invalid_vectors(void **state)
{
    struct fixture *f = *state;
    float good[8], bad[8];
    axis(good, 8, 3);
    ensure(f, RED, 8);
    put(f, RED, "there", good, NULL);
    const float components[][2] = {{NAN, 1},    {INFINITY, 0}, {-INFINITY, 0}, {0, 0},
                                   {1.001f, 0}, {0.999f, 0},   {3e38f, 3e38f}};
    for (size_t i = 0; i < ARRAY_LEN(components); i++) {
        memset(bad, 0, sizeof bad);
        bad[2] = components[i][0];
        bad[5] = components[i][1];
        struct index_point points[] = {{.id = "good", .vector = good}, {.id = "bad", .vector = bad}};
        expect_refused(f, points, 2, ERR_INVALID_VECTOR);
        struct index_point replacing = {.id = "there", .vector = bad};
        expect_refused(f, &replacing, 1, ERR_INVALID_VECTOR);
        expect_vector(f, RED, "there", good, 8);
    }
    bad[2] = 1.0004f; // |v|² is within 1e-3 of 1
    bad[5] = 0;
    put(f, RED, "nearly", bad, NULL);
    struct answer a = nearest(f, RED, bad, 1);
    assert_string_equal(a.hits[0].id, "nearly");
    assert_true(a.hits[0].score <= 1);
    arena_free(&a.arena);
}

static void test_invalid_ids(void **state)
{
    struct fixture *f = *state;
    float v[8];
    char id[65];
    axis(v, 8, 0);
    ensure(f, RED, 8);
    memset(id, 'x', sizeof id);
    id[63] = 0;
    put(f, RED, id, v, NULL);
    assert_true(has(f, RED, id));
    id[63] = 'x';
    id[64] = 0;
    struct index_point points[] = {{.id = "good", .vector = v}, {.id = id, .vector = v}};
    expect_refused(f, points, 2, ERR_INVALID_ID);
    points[1].id = "";
    expect_refused(f, points, 2, ERR_INVALID_ID);
}

static void test_invalid_queries(void **state)
{
    struct fixture *f = *state;
    float good[8], bad[8] = {0.5f};
    axis(good, 8, 0);
    ensure(f, RED, 8);
    put(f, RED, "x", good, NULL);
    const struct {
        struct index_query query;
        enum error_code code;
    } cases[] = {
        {{.vector = good, .k = 0}, ERR_INVALID},
        {{.vector = good, .k = 10001}, ERR_INVALID},
        {{.vector = bad, .k = 1}, ERR_INVALID_VECTOR},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena arena = {0};
        struct error err = {0};
        struct index_hit *hits = (void *)&err;
        size_t count = 77;
        assert_int_equal(f->ops->search(f->index, RED, &cases[i].query, &arena, &hits, &count, &err), -1);
        assert_int_equal(err.code, cases[i].code);
        assert_ptr_equal(hits, (void *)&err); // no out-parameter is touched on failure
        assert_int_equal(count, 77);
    }
    struct answer a = nearest(f, RED, good, 10000);
    assert_int_equal(a.count, 1);
    arena_free(&a.arena);
}

static void test_upsert_replaces(void **state)
{
    struct fixture *f = *state;
    float first[8], second[8];
    axis(first, 8, 0);
    axis(second, 8, 1);
    ensure(f, RED, 8);
    put(f, RED, "x", first, "{\"color\": \"red\"}");
    put(f, RED, "x", second, "{\"color\": \"blue\"}");
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(count_of(f, RED), 1);
        expect_vector(f, RED, "x", second, 8);
        struct answer a = nearest(f, RED, first, 5);
        assert_int_equal(a.count, 1);
        assert_float_equal(a.hits[0].score, 0, 1e-6);
        arena_free(&a.arena);
        expect_filtered(f, first, "{\"color\": \"red\"}", "");
        expect_filtered(f, first, "{\"color\": \"blue\"}", "x");
        reopen(f);
    }
}

static void test_last_of_a_batch_wins(void **state)
{
    struct fixture *f = *state;
    float a[8], b[8], c[8];
    axis(a, 8, 0);
    axis(b, 8, 1);
    axis(c, 8, 2);
    ensure(f, RED, 8);
    struct index_point points[] = {{.id = "x", .vector = a}, {.id = "y", .vector = b}, {.id = "x", .vector = c}};
    assert_int_equal(f->ops->upsert(f->index, RED, points, 3, NULL), 0);
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(count_of(f, RED), 2);
        expect_vector(f, RED, "x", c, 8);
        expect_vector(f, RED, "y", b, 8);
        reopen(f);
    }
    assert_int_equal(f->ops->upsert(f->index, RED, NULL, 0, NULL), 0);
    assert_int_equal(count_of(f, RED), 2);
}

static void g3_upsert_twice_is_once(void **state)
{
    struct fixture *f = *state;
    float v[3][8];
    struct index_point points[3];
    const char *const ids[] = {"a", "b", "c"};
    ensure(f, RED, 8);
    for (size_t i = 0; i < 3; i++) {
        axis(v[i], 8, i);
        points[i] = (struct index_point){.id = ids[i], .vector = v[i]};
    }
    for (int delivery = 0; delivery < 3; delivery++)
        assert_int_equal(f->ops->upsert(f->index, RED, points, 3, NULL), 0);
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(count_of(f, RED), 3);
        struct answer a = nearest(f, RED, v[0], 10);
        assert_int_equal(a.count, 3);
        for (size_t i = 0; i < 3; i++)
            assert_string_equal(a.hits[i].id, ids[i]);
        arena_free(&a.arena);
        reopen(f);
    }
    assert_int_equal(drop_ids(f, RED, ids, 3), 3);
    assert_int_equal(drop_ids(f, RED, ids, 3), 0); // and so is removing
    assert_int_equal(count_of(f, RED), 0);
}

static void test_remove(void **state)
{
    struct fixture *f = *state;
    float v[8];
    axis(v, 8, 0);
    ensure(f, RED, 8);
    put(f, RED, "a", v, NULL);
    put(f, RED, "b", v, NULL);
    put(f, RED, "c", v, NULL);
    assert_int_equal(drop_ids(f, RED, NULL, 0), 0);
    assert_int_equal(drop_ids(f, RED, (const char *[]){"b", "nothing", "b", ""}, 4), 1);
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(count_of(f, RED), 2);
        assert_false(has(f, RED, "b"));
        struct answer a = nearest(f, RED, v, 10);
        assert_int_equal(a.count, 2);
        assert_string_equal(a.hits[0].id, "a");
        assert_string_equal(a.hits[1].id, "c");
        arena_free(&a.arena);
        reopen(f);
    }
    put(f, RED, "b", v, NULL);
    assert_int_equal(count_of(f, RED), 3);
    assert_int_equal(f->ops->remove(f->index, RED, (const char *[]){"a", "b", "c"}, 3, NULL, NULL), 0);
    assert_int_equal(count_of(f, RED), 0);
}

// A long run of random writes against a model that remembers only which version of each id is there.
static void test_random_writes(void **state)
{
    enum { IDS = 200, DIMENSION = 24, ROUNDS = 3000 };
    struct fixture *f = *state;
    static float model[IDS][DIMENSION];
    bool there[IDS] = {false};
    size_t expected = 0;
    ensure(f, RED, DIMENSION);
    for (int round = 0; round < rounds(ROUNDS); round++) {
        size_t which = random_next() % IDS;
        char id[16];
        snprintf(id, sizeof id, "id%u", (unsigned)which);
        if (random_next() % 3) {
            unit_vector(model[which], DIMENSION);
            put(f, RED, id, model[which], NULL);
            expected += !there[which];
            there[which] = true;
        } else {
            assert_int_equal(drop_ids(f, RED, (const char *[]){id}, 1), there[which]);
            expected -= there[which];
            there[which] = false;
        }
        if (random_next() % 100 == 0)
            flush(f, RED);
        if (random_next() % 500 == 0)
            reopen(f);
        assert_int_equal(count_of(f, RED), expected);
    }
    for (size_t which = 0; which < IDS; which++) {
        char id[16];
        snprintf(id, sizeof id, "id%u", (unsigned)which);
        if (there[which])
            expect_vector(f, RED, id, model[which], DIMENSION);
        else
            assert_false(has(f, RED, id));
    }
}

struct listing {
    struct fixture *f;
    size_t shown, stop_at;
    bool seen[5000];
};

// Takes away every third that it is shown.
static int list_one(void *arg, const char *id)
{
    struct listing *l = arg;
    size_t which = strtoul(id + 1, NULL, 10);
    assert_true(which < ARRAY_LEN(l->seen) && !l->seen[which]);
    l->seen[which] = true;
    if (which % 3 == 0)
        assert_int_equal(drop_ids(l->f, RED, &id, 1), 1);
    return ++l->shown == l->stop_at ? 7 : 0;
}

static void test_list_ids(void **state)
{
    enum { COUNT = 2500 };
    struct fixture *f = *state;
    static float v[COUNT][4];
    static char ids[COUNT][16];
    static struct index_point points[COUNT];
    static struct listing l;
    l = (struct listing){.f = f};
    assert_int_equal(f->ops->list_ids(f->index, RED, list_one, &l, NULL), 0); // there is no such collection
    ensure(f, RED, 4);
    assert_int_equal(f->ops->list_ids(f->index, RED, list_one, &l, NULL), 0);
    assert_int_equal(l.shown, 0);
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(ids[i], sizeof ids[i], "v%05zu", i);
        axis(v[i], 4, i % 4);
        points[i] = (struct index_point){.id = ids[i], .vector = v[i]};
    }
    assert_int_equal(f->ops->upsert(f->index, RED, points, COUNT, NULL), 0);
    assert_int_equal(f->ops->upsert(f->index, RED, points, 10, NULL), 0); // once each all the same
    l.stop_at = 5;
    assert_int_equal(f->ops->list_ids(f->index, RED, list_one, &l, NULL), 7);
    assert_int_equal(l.shown, 5);
    size_t there = count_of(f, RED);
    l = (struct listing){.f = f};
    assert_int_equal(f->ops->list_ids(f->index, RED, list_one, &l, NULL), 0);
    assert_int_equal(l.shown, there);
    for (int pass = 0; pass < 2; pass++) {
        l = (struct listing){.f = f};
        assert_int_equal(f->ops->list_ids(f->index, RED, list_one, &l, NULL), 0);
        assert_int_equal(l.shown, COUNT - (COUNT + 2) / 3);
        reopen(f);
    }
}

// ---- Searching ----

struct set {
    size_t dimension, count;
    float *vectors;
    bool *gone;
};

static void set_id(char out[16], size_t i)
{
    snprintf(out, 16, "v%05u", (unsigned)i);
}

static struct set set_make(struct fixture *f, const char *collection, size_t dimension, size_t count)
{
    struct set set = {dimension, count, malloc(count * dimension * sizeof(float)), calloc(count, sizeof(bool))};
    struct index_point *points = calloc(count, sizeof *points);
    char(*ids)[16] = calloc(count, sizeof *ids);
    ensure(f, collection, dimension);
    for (size_t i = 0; i < count; i++) {
        unit_vector(set.vectors + i * dimension, dimension);
        set_id(ids[i], i);
        points[i] = (struct index_point){.id = ids[i], .vector = set.vectors + i * dimension};
    }
    assert_int_equal(f->ops->upsert(f->index, collection, points, count, NULL), 0);
    free(points);
    free(ids);
    return set;
}

static void set_free(struct set *set)
{
    free(set->vectors);
    free(set->gone);
}

// Checks an answer against a scan in doubles: order, scores, and that nothing better was left out.
static void expect_exact(struct fixture *f, const char *collection, const struct set *set, size_t k, float min_score)
{
    float query[512];
    unit_vector(query, set->dimension);
    struct answer a =
        ask(f, collection, &(struct index_query){.vector = query, .k = k, .min_score = min_score, .accuracy = 1});
    bool *hit = calloc(set->count, sizeof *hit);
    size_t reachable = 0;
    assert_true(a.count <= k);
    for (size_t i = 0; i < a.count; i++) {
        size_t which = strtoul(a.hits[i].id + 1, NULL, 10);
        assert_true(which < set->count && !hit[which] && !set->gone[which]);
        hit[which] = true;
        assert_float_equal(a.hits[i].score, dot(query, set->vectors + which * set->dimension, set->dimension), 1e-5);
        assert_true(a.hits[i].score >= min_score);
        if (i > 0)
            assert_true(a.hits[i - 1].score > a.hits[i].score ||
                        (a.hits[i - 1].score == a.hits[i].score && strcmp(a.hits[i - 1].id, a.hits[i].id) < 0));
    }
    double worst = a.count == k ? a.hits[k - 1].score : min_score;
    for (size_t i = 0; i < set->count; i++) {
        double score = dot(query, set->vectors + i * set->dimension, set->dimension);
        reachable += !set->gone[i] && (score >= min_score || min_score <= -1); // -1.0000001 is a score of -1
        if (!hit[i] && !set->gone[i])
            assert_true(score <= worst + 1e-5);
    }
    if (min_score <= -1)
        assert_int_equal(a.count, k < reachable ? k : reachable);
    free(hit);
    arena_free(&a.arena);
}

static void test_search_is_exact(void **state)
{
    struct fixture *f = *state;
    const size_t dimensions[] = {1, 2, 3, 15, 16, 17, 31, 33, 48, 100, 512};
    for (size_t d = 0; d < ARRAY_LEN(dimensions); d++) {
        char name[32];
        snprintf(name, sizeof name, "dimension_%zu", dimensions[d]);
        struct set set = set_make(f, name, dimensions[d], 700);
        const size_t ks[] = {1, 2, 10, 63, 64, 65, 699, 700, 701, 10000};
        for (size_t i = 0; i < ARRAY_LEN(ks); i++)
            expect_exact(f, name, &set, ks[i], -1);
        for (float min_score = -0.5f; min_score < 0.9f; min_score += 0.1f)
            expect_exact(f, name, &set, 50, min_score);
        for (size_t i = 0; i < set.count; i += 3) {
            char id[16];
            set_id(id, i);
            set.gone[i] = true;
            assert_int_equal(drop_ids(f, name, (const char *[]){id}, 1), 1);
        }
        expect_exact(f, name, &set, 20, -1);
        expect_exact(f, name, &set, 700, -1);
        set_free(&set);
    }
}

static void test_search_many(void **state)
{
    struct fixture *f = *state;
    struct set set = set_make(f, RED, 64, 20000); // over many chunks
    for (int i = 0; i < 20; i++)
        expect_exact(f, RED, &set, 25, -1);
    reopen(f);
    expect_exact(f, RED, &set, 10000, -1);
    set_free(&set);
}

// A vector whose cosine with `to` is `cosine`.
static void like_vector(const float *to, double cosine, float *out, size_t dimension)
{
    double along = 0, square = 0;
    unit_vector(out, dimension);
    for (size_t i = 0; i < dimension; i++)
        along += (double)out[i] * to[i];
    for (size_t i = 0; i < dimension; i++) {
        out[i] -= (float)along * to[i];
        square += (double)out[i] * out[i];
    }
    for (size_t i = 0; i < dimension; i++)
        out[i] = (float)(cosine * to[i] + sqrt((1 - cosine * cosine) / square) * out[i]);
}

// Where less than all is asked for, what is clearly above the least score is found, nearly all that is just above it,
// and nothing below it.
static void test_high_scores_are_found_with_less_accuracy(void **state)
{
    struct fixture *f = *state;
    enum { QUERIES = 40, LIKE = 10, DIMENSION_MOST = 1792 };
    static float query[DIMENSION_MOST], like[DIMENSION_MOST];
    const size_t dimensions[] = {40, 512, DIMENSION_MOST};
    for (size_t d = 0; d < ARRAY_LEN(dimensions); d++) {
        char name[32];
        size_t dimension = dimensions[d], edge = 0, edge_found = 0;
        snprintf(name, sizeof name, "like_%zu", dimension);
        struct set set = set_make(f, name, dimension, 500);
        for (size_t q = 0; q < QUERIES; q++) {
            unit_vector(query, dimension);
            for (int i = 0; i < LIKE; i++) { // 0.725, 0.755, … 0.995
                char id[16];
                snprintf(id, sizeof id, "q%02zu_%d", q, i);
                like_vector(query, 0.725 + 0.03 * i, like, dimension);
                put(f, name, id, like, NULL);
            }
            if (q == QUERIES / 2)
                reopen(f);
            struct answer a =
                ask(f, name, &(struct index_query){.vector = query, .k = 100, .min_score = 0.8F, .accuracy = 0.5F});
            size_t clear = 0;
            for (size_t i = 0; i < a.count; i++) {
                assert_true(a.hits[i].score >= 0.8F);
                clear += a.hits[i].score > 0.9F && strncmp(a.hits[i].id, "q", 1) == 0;
                edge_found += a.hits[i].score < 0.83F && strncmp(a.hits[i].id, "q", 1) == 0;
            }
            assert_int_equal(clear, 4);
            edge++;
            arena_free(&a.arena);
        }
        assert_in_range(edge_found, edge * 19 / 20, edge);
        set_free(&set);
    }
}

static void test_ties_break_by_id(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 333, DIMENSION = 37 };
    float v[DIMENSION];
    unit_vector(v, DIMENSION);
    ensure(f, RED, DIMENSION);
    for (size_t i = 0; i < COUNT; i++) { // in an order that is none
        char id[16];
        set_id(id, i * 100 % COUNT);
        put(f, RED, id, v, NULL);
    }
    for (size_t k = 1; k <= COUNT; k += 83) {
        struct answer a = nearest(f, RED, v, k);
        assert_int_equal(a.count, k);
        for (size_t i = 0; i < k; i++) {
            char id[16];
            set_id(id, i);
            assert_string_equal(a.hits[i].id, id);
            assert_true(a.hits[i].score == a.hits[0].score);
        }
        arena_free(&a.arena);
    }
    put(f, RED, "A", v, NULL); // byte order: before all of them
    put(f, RED, "\xc3\xa4", v, NULL);
    struct answer a = nearest(f, RED, v, COUNT + 2);
    assert_string_equal(a.hits[0].id, "A");
    assert_string_equal(a.hits[COUNT + 1].id, "\xc3\xa4");
    arena_free(&a.arena);
}

static void test_scores(void **state)
{
    struct fixture *f = *state;
    float v[16];
    const double cosines[] = {1, 0.75, 0.5, 0, -0.25, -1};
    ensure(f, RED, 16);
    for (size_t i = 0; i < ARRAY_LEN(cosines); i++) {
        char id[16];
        set_id(id, i);
        tilted(v, 16, cosines[i]);
        put(f, RED, id, v, NULL);
    }
    axis(v, 16, 0);
    struct answer a = nearest(f, RED, v, 10);
    assert_int_equal(a.count, ARRAY_LEN(cosines));
    for (size_t i = 0; i < a.count; i++)
        assert_float_equal(a.hits[i].score, cosines[i], 1e-6);
    arena_free(&a.arena);
    a = ask(f, RED, &(struct index_query){.vector = v, .k = 10, .min_score = 0.5f, .accuracy = 1});
    assert_int_equal(a.count, 3); // what has just the least score is a hit
    arena_free(&a.arena);
    a = ask(f, RED, &(struct index_query){.vector = v, .k = 2, .min_score = 0.5f, .accuracy = 1});
    assert_int_equal(a.count, 2);
    arena_free(&a.arena);
}

static void test_filters(void **state)
{
    struct fixture *f = *state;
    float v[8];
    ensure(f, RED, 8);
    const char *const payloads[] = {
        "{\"category\": \"shoes\", \"price\": 10, \"tags\": [\"red\", \"summer\"], \"taken\": "
        "\"2026-01-01T00:00:00Z\"}",
        "{\"category\": \"boots\", \"price\": 20, \"tags\": [\"red\"], \"size\": {\"width\": 7}}",
        "{\"category\": \"hats\", \"price\": 30.5, \"sold\": true, \"taken\": \"2026-03-01\"}",
        NULL,
    };
    for (size_t i = 0; i < ARRAY_LEN(payloads); i++) {
        tilted(v, 8, 1 - 0.1 * (double)i);
        put(f, RED, (const char *[]){"a", "b", "c", "d"}[i], v, payloads[i]);
    }
    axis(v, 8, 0);
    for (int pass = 0; pass < 2; pass++) {
        expect_filtered(f, v, "{}", "a b c d");
        expect_filtered(f, v, "{\"category\": \"shoes\"}", "a");
        expect_filtered(f, v, "{\"category\": [\"hats\", \"boots\"]}", "b c");
        expect_filtered(f, v, "{\"price\": {\"gt\": 10, \"lte\": 30.5}}", "b c");
        expect_filtered(f, v, "{\"taken\": {\"lt\": \"2026-02-01T00:00:00+01:00\"}}", "a");
        expect_filtered(f, v, "{\"tags\": {\"all\": [\"summer\", \"red\"]}}", "a");
        expect_filtered(f, v, "{\"sold\": true}", "c");
        expect_filtered(f, v, "{\"size.width\": 7}", "b");
        expect_filtered(f, v, "{\"category\": {\"not\": \"hats\"}}", "a b d");
        expect_filtered(f, v, "{\"tags\": {\"exists\": false}}", "c d");
        expect_filtered(f, v, "{\"or\": [{\"price\": 10}, {\"not\": {\"category\": {\"exists\": true}}}]}", "a d");
        expect_filtered(f, v, "{\"category\": \"none\"}", "");
        reopen(f);
    }
}

// Names, values and nestings that a back end which translates filters may stumble over.
static void test_odd_filters(void **state)
{
    struct fixture *f = *state;
    float v[8];
    ensure(f, RED, 8);
    const char *const payloads[] = {
        "{\"\": \"nameless\", \"a \\\"b\\\" \\\\ 100%\": 1, \"size.width\": 3, \"size\": {\"width\": 4}, "
        "\"gr\u00f6\u00dfe[]\": \"x\"}",
        "{\"list\": [[1, 2], [{\"in\": true}, {\"in\": \"deep\"}], null], \"n\": 9007199254740993, \"gone\": null, "
        "\"none\": []}",
        "{\"n\": 10.0, \"m\": [1, \"1\", true, \"true\"], \"day\": [\"2026-01-01\", \"soon\", "
        "\"2026-05-01T12:00:00.123Z\"]}",
        "{\"n\": -0.0, \"m\": 1, \"id\": \"own\", \"metadata\": \"own\", \"times\": [0.1, -5e300], \"%22\": \"%\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(payloads); i++) {
        tilted(v, 8, 1 - 0.1 * (double)i);
        put(f, RED, (const char *[]){"a", "b", "c", "d"}[i], v, payloads[i]);
    }
    axis(v, 8, 0);
    const struct {
        const char *filter, *expected;
    } cases[] = {
        {"{\"\": \"nameless\"}", "a"},
        {"{\"a \\\"b\\\" \\\\ 100%\": 1}", "a"},
        {"{\"size.width\": 3}", "a"},
        {"{\"size.width\": {\"all\": [3, 4]}}", "a"},
        {"{\"size\": {\"exists\": true}}", ""},
        {"{\"gr\u00f6\u00dfe[]\": \"x\"}", "a"},
        {"{\"list\": 2}", "b"},
        {"{\"list.in\": true}", "b"},
        {"{\"list.in\": [\"deep\", \"deeper\"]}", "b"},
        {"{\"n\": 9007199254740992}", "b"},
        {"{\"gone\": {\"exists\": true}}", ""},
        {"{\"none\": {\"exists\": false}}", "a b c d"},
        {"{\"n\": 10}", "c"},
        {"{\"n\": 0}", "d"},
        {"{\"m\": 1}", "c d"},
        {"{\"m\": \"1\"}", "c"},
        {"{\"m\": true}", "c"},
        {"{\"m\": false}", ""},
        {"{\"m\": {\"not\": [true, \"x\", 7]}}", "a b d"},
        {"{\"day\": {\"gte\": \"2026-05-01T12:00:00.123Z\", \"lte\": \"2026-05-01T14:00:00.123+02:00\"}}", "c"},
        {"{\"day\": {\"gt\": \"2026-01-01\", \"lt\": \"2026-05-01T12:00:00.123Z\"}}", ""},
        {"{\"day\": \"2026-01-01\"}", "c"},
        {"{\"id\": \"own\"}", "d"},
        {"{\"id\": \"d\"}", ""},
        {"{\"metadata\": \"own\"}", "d"},
        {"{\"times\": {\"lt\": -4.9e300}}", "d"},
        {"{\"times\": 0.1}", "d"},
        {"{\"%22\": \"%\"}", "d"},
        {"{\"or\": [{}]}", "a b c d"},
        {"{\"not\": {}}", ""},
        {"{\"not\": {\"not\": {\"n\": 10, \"m\": {\"exists\": true}}}}", "c"},
        {"{\"n\": {\"gt\": 10, \"lt\": 5}}", ""},
        {"{\"n\": {\"gt\": -1, \"not\": 10, \"exists\": true, \"all\": [0]}}", "d"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("%s\n", cases[i].filter);
        expect_filtered(f, v, cases[i].filter, cases[i].expected);
    }
}

// ---- Random payloads and filters, against the matcher that filters are defined by

static json_t *random_value(void)
{
    static const char *const texts[] = {"red", "blue", "2026-01-01T00:00:00Z", "2026-02-01", ""};
    switch (random_next() % 4) {
    case 0:
        return json_integer((json_int_t)(random_next() % 4));
    case 1:
        return json_real((double)(random_next() % 8) / 2);
    case 2:
        return json_boolean(random_next() % 2);
    default:
        return json_string(texts[random_next() % ARRAY_LEN(texts)]);
    }
}

static const char *random_path(void)
{
    return (const char *[]){"a", "b", "c.d", "c.e"}[random_next() % 4];
}

static json_t *random_values(size_t most)
{
    json_t *list = json_array();
    for (size_t i = random_next() % most + 1; i > 0; i--)
        json_array_append_new(list, random_value());
    return list;
}

static json_t *random_payload(void)
{
    json_t *payload = json_object(), *inner = json_object();
    for (int i = 0; i < 3; i++) {
        const char *path = random_path();
        json_t *value = random_next() % 2 ? random_value() : random_values(3);
        json_object_set_new(path[1] ? inner : payload, path[1] ? path + 2 : path, value);
    }
    json_object_set_new(payload, "c", inner);
    return payload;
}

static json_t *random_range(void)
{
    json_t *range = json_object();
    bool times = random_next() % 2;
    static const char *const ends[2][2] = {{"gt", "gte"}, {"lt", "lte"}};
    static const char *const days[] = {"2026-01-01", "2026-01-15T00:00:00Z", "2026-02-01T01:00:00+01:00"};
    for (int end = (int)(random_next() % 2); end < 2; end++)
        json_object_set_new(range, ends[end][random_next() % 2],
                            times ? json_string(days[random_next() % 3]) : json_real((double)(random_next() % 8) / 2));
    return range;
}

static json_t *random_condition(void)
{
    switch (random_next() % 6) {
    case 0:
        return random_value();
    case 1:
        return random_values(3);
    case 2:
        return random_range();
    case 3:
        return json_pack("{s:o}", "all", random_values(2));
    case 4:
        return json_pack("{s:o}", "not", random_values(3));
    default:
        return json_pack("{s:b}", "exists", (int)(random_next() % 2));
    }
}

static json_t *random_filter(int depth)
{
    json_t *filter = json_object();
    for (size_t i = random_next() % 3; i > 0; i--)
        json_object_set_new(filter, random_path(), random_condition());
    for (int which = 0; depth > 0 && which < 3; which++) {
        if (random_next() % 3)
            continue;
        if (which == 2)
            json_object_set_new(filter, "not", random_filter(depth - 1));
        else
            json_object_set_new(filter, which ? "or" : "and",
                                json_pack("[o, o]", random_filter(depth - 1), random_filter(depth - 1)));
    }
    return filter;
}

static void test_filters_pass_what_they_match(void **state)
{
    enum { ITEMS = 60, FILTERS = 250 };
    struct fixture *f = *state;
    float v[8];
    static struct term terms[ITEMS][TERMS_MAX];
    size_t term_count[ITEMS], passed = 0;
    ensure(f, RED, 8);
    for (size_t i = 0; i < ITEMS; i++) {
        char id[16];
        set_id(id, i);
        tilted(v, 8, 1 - 0.01 * (double)i);
        _cleanup_json_ json_t *payload = random_payload();
        const struct index_point point = {.id = id, .vector = v, .payload = payload};
        assert_int_equal(f->ops->upsert(f->index, RED, &point, 1, NULL), 0);
        term_count[i] = terms_make(payload, terms[i], TERMS_MAX);
    }
    axis(v, 8, 0);
    for (int round = 0; round < FILTERS; round++) {
        struct error err = {0};
        struct filter *filter;
        _cleanup_json_ json_t *json = random_filter(2);
        _cleanup_free_ char *text = json_dumps(json, 0);
        if (filter_parse(json, &filter, &err) < 0)
            fail_msg("%s: %s", text, err.message);
        struct answer a = ask(
            f, RED, &(struct index_query){.vector = v, .k = ITEMS, .min_score = -1, .filter = filter, .accuracy = 1});
        size_t at = 0;
        for (size_t i = 0; i < ITEMS; i++) {
            bool there = at < a.count && strtoul(a.hits[at].id + 1, NULL, 10) == i;
            at += there;
            if (there != filter_match(filter, terms[i], term_count[i]))
                fail_msg("%s %s v%05zu", text, there ? "passes" : "does not pass", i);
        }
        assert_int_equal(at, a.count);
        passed += at;
        arena_free(&a.arena);
        filter_free(filter);
    }
    assert_in_range(passed, ITEMS * FILTERS / 20, ITEMS * FILTERS * 19 / 20);
}

// A filter must not cost hits: what it lets through is found however few of many that is.
static void test_rare_filter(void **state)
{
    enum { COUNT = 3000, DIMENSION = 16 };
    struct fixture *f = *state;
    float v[DIMENSION];
    ensure(f, RED, DIMENSION);
    for (size_t i = 0; i < COUNT; i++) {
        char id[16];
        set_id(id, i);
        tilted(v, DIMENSION, 1 - (double)i / COUNT); // the rare ones are the farthest
        put(f, RED, id, v, i >= COUNT - 2 ? "{\"rare\": true}" : "{\"rare\": false}");
    }
    axis(v, DIMENSION, 0);
    expect_filtered(f, v, "{\"rare\": true}", "v02998 v02999");
}

static void g7_collections_are_apart(void **state)
{
    struct fixture *f = *state;
    float red[8], blue[8];
    axis(red, 8, 0);
    axis(blue, 8, 1);
    ensure(f, RED, 8);
    ensure(f, BLUE, 8);
    put(f, RED, "same", red, NULL);
    put(f, RED, "red", red, NULL);
    put(f, BLUE, "same", blue, NULL);
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(count_of(f, RED), 2);
        assert_int_equal(count_of(f, BLUE), 1);
        expect_vector(f, RED, "same", red, 8);
        expect_vector(f, BLUE, "same", blue, 8);
        assert_false(has(f, BLUE, "red"));
        struct answer a = nearest(f, BLUE, red, 10);
        assert_int_equal(a.count, 1);
        assert_float_equal(a.hits[0].score, 0, 1e-6);
        arena_free(&a.arena);
        reopen(f);
    }
    assert_int_equal(drop_ids(f, BLUE, (const char *[]){"same", "red"}, 2), 1);
    assert_int_equal(f->ops->drop(f->index, BLUE, NULL), 0);
    assert_int_equal(count_of(f, RED), 2);
}

// ---- Threads ----

enum { SWARM = 16, SWARM_DIMENSION = 128, SWARM_ROUNDS = 400 };

struct swarm {
    struct fixture *f;
    atomic_bool done;
    atomic_int mixed; // answers that showed half a write
    atomic_int asked;
};

// Each batch replaces all points with one vector: an answer with two scores has seen half a batch, which some back ends
// may show; no point that was new may be old again.
static void *swarm_write(void *arg)
{
    struct swarm *swarm = arg;
    float v[SWARM_DIMENSION];
    char ids[SWARM][16];
    struct index_point points[SWARM];
    for (size_t i = 0; i < SWARM; i++) {
        set_id(ids[i], i);
        points[i] = (struct index_point){.id = ids[i], .vector = v};
    }
    for (int round = 0; round < SWARM_ROUNDS; round++) {
        tilted(v, SWARM_DIMENSION, (double)round / SWARM_ROUNDS);
        assert_int_equal(swarm->f->ops->upsert(swarm->f->index, RED, points, SWARM, NULL), 0);
        if (round % 20 == 0)
            assert_int_equal(swarm->f->ops->flush(swarm->f->index, RED, NULL), 0);
    }
    atomic_store(&swarm->done, true);
    return NULL;
}

static void *swarm_search(void *arg)
{
    struct swarm *swarm = arg;
    const struct index_ops *ops = swarm->f->ops;
    float query[SWARM_DIMENSION];
    axis(query, SWARM_DIMENSION, 0);
    float before = -1;
    do {
        struct arena arena = {0};
        struct index_hit *hits = NULL;
        size_t count = 0;
        struct index_query q = {.vector = query, .k = 2 * SWARM, .min_score = -1, .accuracy = 1};
        bool good = ops->search(swarm->f->index, RED, &q, &arena, &hits, &count, NULL) == 0 && count == SWARM;
        for (size_t i = 1; present->whole_batches && good && i < count; i++)
            good = hits[i].score == hits[0].score;
        if (!good || hits[count - 1].score < before)
            atomic_fetch_add(&swarm->mixed, 1);
        else
            before = hits[count - 1].score;
        atomic_fetch_add(&swarm->asked, 1);
        arena_free(&arena);
    } while (!atomic_load(&swarm->done));
    return NULL;
}

static void *swarm_get(void *arg)
{
    struct swarm *swarm = arg;
    do {
        struct arena arena = {0};
        float *vector = NULL;
        size_t dimension = 0;
        if (swarm->f->ops->get(swarm->f->index, RED, "v00003", &arena, &vector, &dimension, NULL) < 0 ||
            dimension != SWARM_DIMENSION || fabs(dot(vector, vector, dimension) - 1) > 1e-3)
            atomic_fetch_add(&swarm->mixed, 1);
        arena_free(&arena);
        swarm->f->ops->flush(swarm->f->index, NULL, NULL);
    } while (!atomic_load(&swarm->done));
    return NULL;
}

static void test_searches_see_whole_writes(void **state)
{
    struct fixture *f = *state;
    struct swarm swarm = {.f = f};
    float v[SWARM_DIMENSION];
    ensure(f, RED, SWARM_DIMENSION);
    tilted(v, SWARM_DIMENSION, 0);
    struct index_point points[SWARM];
    char ids[SWARM][16];
    for (size_t i = 0; i < SWARM; i++) {
        set_id(ids[i], i);
        points[i] = (struct index_point){.id = ids[i], .vector = v};
    }
    assert_int_equal(f->ops->upsert(f->index, RED, points, SWARM, NULL), 0);
    pthread_t threads[4];
    assert_int_equal(pthread_create(&threads[0], NULL, swarm_search, &swarm), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, swarm_search, &swarm), 0);
    assert_int_equal(pthread_create(&threads[2], NULL, swarm_get, &swarm), 0);
    assert_int_equal(pthread_create(&threads[3], NULL, swarm_write, &swarm), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(swarm.mixed, 0);
    assert_true(swarm.asked >= 2);
    assert_int_equal(count_of(f, RED), SWARM);
}

struct writer {
    struct fixture *f;
    int number;
    int failed;
};

// Writers of their own ids, and of collections that come and go.
static void *write_own(void *arg)
{
    struct writer *writer = arg;
    const struct index_ops *ops = writer->f->ops;
    void *index = writer->f->index;
    char name[32];
    snprintf(name, sizeof name, "collection_%d", writer->number % 2);
    for (int round = 0; round < rounds(200); round++) {
        float v[8];
        char id[32];
        tilted(v, 8, round / 200.0);
        snprintf(id, sizeof id, "w%d_%d", writer->number, round);
        struct index_point point = {.id = id, .vector = v};
        writer->failed += ops->upsert(index, RED, &point, 1, NULL) < 0;
        writer->failed += ops->ensure(index, name, 8, NULL) < 0;
        ops->upsert(index, name, &point, 1, NULL); // another may just have dropped it
        if (round % 10 == 9) {
            writer->failed += ops->flush(index, NULL, NULL) < 0;
            writer->failed += ops->drop(index, name, NULL) < 0;
        }
        if (round % 3 == 0)
            writer->failed += ops->remove(index, RED, (const char *[]){id}, 1, NULL, NULL) < 0;
    }
    return NULL;
}

static void test_many_writers(void **state)
{
    struct fixture *f = *state;
    struct writer writers[4];
    pthread_t threads[4];
    ensure(f, RED, 8);
    for (int i = 0; i < 4; i++) {
        writers[i] = (struct writer){.f = f, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, write_own, &writers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(writers[i].failed, 0);
    }
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(count_of(f, RED), 4 * (rounds(200) - (rounds(200) + 2) / 3)); // every third was removed
        reopen(f);
    }
}

// ---- Durability ----

static void test_reopen(void **state)
{
    struct fixture *f = *state;
    struct set set = set_make(f, RED, 32, 500);
    for (int pass = 0; pass < 3; pass++) {
        reopen(f);
        assert_int_equal(count_of(f, RED), 500);
        for (size_t i = 0; i < set.count; i += 7) {
            char id[16];
            set_id(id, i);
            expect_vector(f, RED, id, set.vectors + i * 32, 32);
        }
        expect_exact(f, RED, &set, 10, -1);
    }
    struct error err = {0};
    assert_int_equal(f->ops->ensure(f->index, RED, 33, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    set_free(&set);
}

enum { KILL_BATCH = 7, KILL_DIMENSION = 96 };

// What batch `number` writes: each of its points has this vector.
static void kill_vector(float *out, uint32_t number)
{
    tilted(out, KILL_DIMENSION, (double)(number % 1000) / 1000);
}

// Writes batches and says after each flush which was the last; half of them also replace point 0 of batch 0.
static void kill_child(struct fixture *f, uint32_t number, int out)
{
    struct error err = {0};
    open_index(f);
    void *index = f->index;
    if (f->ops->ensure(index, RED, KILL_DIMENSION, &err) < 0)
        _exit(1);
    for (;; number++) {
        float v[KILL_DIMENSION];
        char ids[KILL_BATCH][32];
        struct index_point points[KILL_BATCH];
        kill_vector(v, number);
        for (int i = 0; i < KILL_BATCH; i++) {
            snprintf(ids[i], sizeof ids[i], "b%u_%d", number, i);
            points[i] = (struct index_point){.id = ids[i], .vector = v};
        }
        const char *old = "b0_0";
        struct index_point replaced = {.id = old, .vector = v};
        if (f->ops->upsert(index, RED, points, KILL_BATCH, &err) < 0 ||
            f->ops->upsert(index, RED, &replaced, 1, &err) < 0 || f->ops->flush(index, RED, &err) < 0)
            _exit(1);
        if (write(out, &number, sizeof number) != sizeof number)
            _exit(1);
    }
}

static size_t batch_there(struct fixture *f, uint32_t number)
{
    size_t found = 0;
    for (int i = 0; i < KILL_BATCH; i++) {
        char id[32];
        snprintf(id, sizeof id, "b%u_%d", number, i);
        found += has(f, RED, id);
    }
    return found;
}

// Starts a child at `number`, kills it after a while; returns behind which batch the next child begins.
static uint32_t kill_round(struct fixture *f, uint32_t number)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        kill_child(f, number, ends[1]);
    }
    close(ends[1]);
    clock_sleep_ms((int64_t)(random_next() % 60));
    kill(child, SIGKILL);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status)); // and did not fail by itself
    uint32_t reported;
    while (read(ends[0], &reported, sizeof reported) == sizeof reported)
        number = reported + 1;
    close(ends[0]);
    return number;
}

static void g4_what_was_flushed_survives_a_kill(void **state)
{
    struct fixture *f = *state;
    uint32_t number = 0;
    f->ops->close(f->index);
    for (int round = 0; round < rounds(20) || number == 0; round++) {
        number = kill_round(f, number);
        open_index(f);
        for (uint32_t batch = 0; batch < number; batch++)
            assert_int_equal(batch_there(f, batch), KILL_BATCH);
        size_t unreported = batch_there(f, number);
        assert_true(unreported == 0 || unreported == KILL_BATCH);
        for (uint32_t batch = 1; batch < number; batch += 1 + number / 50) {
            float v[KILL_DIMENSION];
            char id[32];
            kill_vector(v, batch);
            snprintf(id, sizeof id, "b%u_%d", batch, 3);
            expect_vector(f, RED, id, v, KILL_DIMENSION);
        }
        f->ops->close(f->index);
    }
    open_index(f);
}

// ----

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_name),
        CASE(test_health),
        CASE(test_a_query_of_another_dimension_is_refused),
        CASE(test_ensure),
        CASE(test_names_of_collections),
        CASE(test_list),
        CASE(test_drop),
        CASE(test_missing_collection),
        CASE(test_tidying_changes_no_answer),
        CASE(test_invalid_vectors),
        CASE(test_invalid_ids),
        CASE(test_invalid_queries),
        CASE(test_upsert_replaces),
        CASE(test_last_of_a_batch_wins),
        CASE(g3_upsert_twice_is_once),
        CASE(test_remove),
        CASE(test_random_writes),
        CASE(test_list_ids),
        CASE(test_search_is_exact),
        CASE(test_search_many),
        CASE(test_high_scores_are_found_with_less_accuracy),
        CASE(test_ties_break_by_id),
        CASE(test_scores),
        CASE(test_filters),
        CASE(test_odd_filters),
        CASE(test_filters_pass_what_they_match),
        CASE(test_rare_filter),
        CASE(g7_collections_are_apart),
        CASE(test_searches_see_whole_writes),
        CASE(test_many_writers),
        CASE(test_reopen),
        CASE(g4_what_was_flushed_survives_a_kill),
    };
    log_setup(LOG_OFF, false);
    int failed = 0;
    for (size_t i = 0; i < ARRAY_LEN(backends); i++) {
        present = &backends[i];
        for (variant = PLAIN; wanted(present) && variant <= FAULTY; variant++) {
            char name[64];
            snprintf(name, sizeof name, "index: %s%s", present->ops->name, variant_names[variant]);
            failed += cmocka_run_group_tests_name(name, tests, NULL, NULL);
        }
    }
    return failed;
}
