// SPDX-License-Identifier: Apache-2.0
// The router and percent-decoding, without a server.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "http/http_int.h"

static void never(struct http_request *req, void *ctx, void *sink)
{
    fail();
}

static const struct http_route routes[] = {
    {.method = "GET", .pattern = "/", .handle = never},
    {.method = "GET", .pattern = "/a/{x}", .handle = never},
    {.method = "POST", .pattern = "/a/{other}", .handle = never},
    {.method = "GET", .pattern = "/a/new", .handle = never},
    {.method = "GET", .pattern = "/a/new/{y}/end", .handle = never},
    {.method = "DELETE", .pattern = "/a/{x}/b/{y}", .handle = never},
    {0},
};

static int match(const char *method, const char *path, struct http_match *m, struct arena *arena)
{
    struct http_router *router;
    struct error err;
    static char allow[128];
    assert_int_equal(router_new(routes, &router, &err), 0);
    int rc = router_match(router, method, path, arena, m, &err);
    if (rc == 0 && m->allow) {
        strncpy(allow, m->allow, sizeof allow - 1);
        m->allow = allow;
    }
    m->names = NULL; // they end with the router
    router_free(router);
    return rc;
}

static void test_paths(void **state)
{
    static const struct {
        const char *method, *path, *pattern, *first, *second;
    } cases[] = {
        {"GET", "/", "/", NULL, NULL},
        {"GET", "/a/1", "/a/{x}", "1", NULL},
        {"HEAD", "/a/1", "/a/{x}", "1", NULL},
        {"POST", "/a/1", "/a/{other}", "1", NULL},
        {"GET", "/a/new", "/a/new", NULL, NULL},
        {"GET", "/a/n%65w", "/a/new", NULL, NULL},
        {"GET", "/%61/x", "/a/{x}", "x", NULL},
        {"GET", "/a/new/1/end", "/a/new/{y}/end", "1", NULL},
        {"DELETE", "/a/new/b/c", "/a/{x}/b/{y}", "new", "c"}, // back out of the literal's branch
        {"DELETE", "/a/%C3%A4%20/b/%25", "/a/{x}/b/{y}", "\xc3\xa4 ", "%"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        _cleanup_arena_ struct arena arena = {NULL};
        struct http_match m;
        assert_int_equal(match(cases[i].method, cases[i].path, &m, &arena), 0);
        assert_non_null(m.route);
        assert_string_equal(m.route->pattern, cases[i].pattern);
        assert_int_equal(m.count, (cases[i].first != NULL) + (cases[i].second != NULL));
        if (cases[i].first)
            assert_string_equal(m.values[0], cases[i].first);
        if (cases[i].second)
            assert_string_equal(m.values[1], cases[i].second);
    }
}

static void test_unknown(void **state)
{
    static const char *const paths[] = {
        "",   "a",      "*",       "//",         "/a",     "/a/",  "/a/1/",  "/a//b/1",
        "/b", "/a/1/b", "/a/new/", "/a/1/b/2/c", "/%zz/1", "/A/1", "/a%2F1", "/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        _cleanup_arena_ struct arena arena = {NULL};
        struct http_match m;
        assert_int_equal(match("GET", paths[i], &m, &arena), 0);
        assert_null(m.route);
        assert_null(m.allow);
    }
}

static void test_methods(void **state)
{
    _cleanup_arena_ struct arena arena = {NULL};
    struct http_match m;
    assert_int_equal(match("PUT", "/a/1", &m, &arena), 0);
    assert_null(m.route);
    assert_string_equal(m.allow, "POST, GET, HEAD, OPTIONS");
    assert_int_equal(match("HEAD", "/a/1/b/2", &m, &arena), 0);
    assert_null(m.route);
    assert_string_equal(m.allow, "DELETE, OPTIONS");
}

static void test_bad_parameters(void **state)
{
    static const char *const paths[] = {"/a/%00", "/a/%2F", "/a/x%2fy", "/a/%",     "/a/%4",
                                        "/a/%g0", "/a/%FF", "/a/\xff",  "/a/%C3%28"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        _cleanup_arena_ struct arena arena = {NULL};
        struct http_match m = {NULL};
        assert_int_equal(match("GET", paths[i], &m, &arena), -1);
    }
}

static void test_bad_tables(void **state)
{
    static const struct http_route twice[] = {
        {.method = "GET", .pattern = "/{a}"}, {.method = "GET", .pattern = "/{b}"}, {0}};
    static const struct http_route empty[] = {{.method = "GET", .pattern = "/a//b"}, {0}};
    struct http_router *router;
    struct error err;
    assert_int_equal(router_new(twice, &router, &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_int_equal(router_new(empty, &router, &err), -1);
    static const char *const malformed[] = {"/{a", "/a}", "/{}", "/{"};
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        struct http_route routes_bad[] = {{.method = "GET", .pattern = malformed[i]}, {0}};
        assert_int_equal(router_new(routes_bad, &router, &err), -1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),          cmocka_unit_test(test_unknown),    cmocka_unit_test(test_methods),
        cmocka_unit_test(test_bad_parameters), cmocka_unit_test(test_bad_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
