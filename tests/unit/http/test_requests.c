// SPDX-License-Identifier: Apache-2.0
// What requests say and how they are answered: routes, queries, methods, framing, errors, contents and ranges.
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

static void test_parameters_and_query(void **state)
{
    struct reply r;
    char text[256];
    assert_int_equal(
        ask(*state, "GET", "/items/a%20b/parts/%C3%A4?q=x%2By+z&flag&q=second", "X-TEST: yes\r\n", NULL, &r), 200);
    assert_string_equal(
        r.body,
        "{\"method\":\"GET\",\"id\":\"a b\",\"part\":\"\xc3\xa4\",\"q\":\"x+y z\",\"flag\":\"\",\"test\":\"yes\"}\n");
    assert_string_equal(reply_header(&r, "Content-Type", text), "application/json");
    assert_string_equal(reply_header(&r, "X-Path", text), "/items/a%20b/parts/%C3%A4");
    reply_free(&r);
    assert_int_equal(ask(*state, "GET", "/items/new", NULL, NULL, &r), 200);
    assert_string_equal(r.body, "literal");
    reply_free(&r);
}

static void test_refused_paths(void **state)
{
    static const struct {
        const char *method, *path;
        int status;
        const char *code;
    } cases[] = {
        {"GET", "/nothing", 404, "NOT_FOUND"},
        {"POST", "/nothing", 404, "NOT_FOUND"},
        {"GET", "/items/", 404, "NOT_FOUND"},
        {"GET", "/items/%00", 400, "INVALID_REQUEST"},
        {"GET", "/items/a%2Fb", 400, "INVALID_REQUEST"},
        {"GET", "/items/%ff", 400, "INVALID_REQUEST"},
        {"GET", "/items/1?q=%ff", 400, "INVALID_REQUEST"},
        {"GET", "/items/1?q=%00", 400, "INVALID_REQUEST"},
        {"GET", "/items/1?%zz=1", 400, "INVALID_REQUEST"},
        {"POST", "/quick", 405, "METHOD_NOT_ALLOWED"},
        {"BREW", "/quick", 405, "METHOD_NOT_ALLOWED"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct reply r;
        ask(*state, cases[i].method, cases[i].path, NULL, NULL, &r);
        assert_problem(&r, cases[i].status, cases[i].code);
        reply_free(&r);
    }
}

static void test_methods(void **state)
{
    struct reply r;
    char text[256];
    assert_int_equal(ask(*state, "PUT", "/items/1", NULL, "body", &r), 405);
    assert_string_equal(reply_header(&r, "Allow", text), "DELETE, GET, HEAD, OPTIONS");
    reply_free(&r);
    assert_int_equal(ask(*state, "OPTIONS", "/form", NULL, NULL, &r), 204);
    assert_string_equal(reply_header(&r, "Allow", text), "POST, OPTIONS");
    reply_free(&r);
    assert_int_equal(ask_status(*state, "DELETE", "/items/1", NULL, NULL), 204);
    assert_int_equal(ask_status(*state, "DELETE", "/items/1", NULL, "{}"), 204); // a body that nobody wants
}

static void test_head_keeps_the_connection(void **state)
{
    struct reply r;
    char text[256];
    int fd = client_connect(*state);
    client_puts(fd, "HEAD /worker HTTP/1.1\r\nHost: t\r\n\r\nHEAD /nothing HTTP/1.1\r\nHost: t\r\n\r\n");
    client_puts(fd, "GET /worker HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(client_read(fd, true, &r), 0);
    assert_int_equal(r.status, 200);
    assert_string_equal(reply_header(&r, "Content-Length", text), "5");
    reply_free(&r);
    assert_int_equal(client_read(fd, true, &r), 0);
    assert_int_equal(r.status, 404);
    reply_free(&r);
    assert_int_equal(client_read(fd, false, &r), 0);
    assert_string_equal(r.body, "fine\n");
    reply_free(&r);
    close(fd);
}

static void test_pipelining(void **state)
{
    static const char *const paths[] = {"/quick",      "/worker", "/items/7", "/nothing",
                                        "/content/fd", "/quick",  "/worker"};
    static const int statuses[] = {200, 200, 200, 404, 200, 200, 200};
    struct buf out = BUF_INIT(10000);
    int fd = client_connect(*state);
    for (size_t i = 0; i < 7; i++)
        buf_printf(&out, "GET %s HTTP/1.1\r\nHost: t\r\n\r\n", paths[i]);
    client_send(fd, out.data, out.len);
    buf_free(&out);
    for (size_t i = 0; i < 7; i++) {
        struct reply r;
        assert_int_equal(client_read(fd, false, &r), 0);
        assert_int_equal(r.status, statuses[i]);
        reply_free(&r);
    }
    close(fd);
    struct world *w = *state;
    wait_until(&w->done, 7);
}

static void test_framing_is_strict(void **state)
{
    static const char *const heads[] = {
        "Content-Length: 3\r\nContent-Length: 3\r\n",
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    };
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        struct reply r;
        assert_int_equal(ask(*state, "POST", "/echo", heads[i], NULL, &r), 400);
        assert_problem(&r, 400, "INVALID_REQUEST");
        reply_free(&r);
    }
}

static void test_nonsense_closes(void **state)
{
    static const char *const nonsense[] = {"\x16\x03\x01 not HTTP\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n",
                                           "GET / HTTP/1.1\r\n\r\n",
                                           "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: x\r\n\r\n"};
    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        int fd = client_connect(*state);
        client_puts(fd, nonsense[i]);
        struct reply r;
        if (client_read(fd, false, &r) == 0)
            assert_true(r.status == 400 || r.status == 505);
        reply_free(&r);
        assert_true(client_closed(fd));
        close(fd);
    }
    int fd = client_connect(*state); // headers without end
    client_puts(fd, "GET / HTTP/1.1\r\nHost: t\r\n");
    for (int i = 0; i < 20000; i++)
        client_puts(fd, "X-More: and more\r\n");
    assert_true(client_closed(fd));
    close(fd);
}

static void test_errors_become_problems(void **state)
{
    struct reply r;
    char text[256];
    assert_int_equal(ask(*state, "GET", "/errors/OVERLOADED", NULL, NULL, &r), 503);
    assert_problem(&r, 503, "OVERLOADED");
    assert_string_equal(reply_header(&r, "Retry-After", text), "1");
    assert_non_null(strstr(r.body, "\"retryable\":true"));
    assert_non_null(strstr(r.body, "\"instance\":\"/errors/OVERLOADED\""));
    assert_non_null(strstr(r.body, "\"detail\":\"As \\\"you\\\" asked: ?\""));
    reply_free(&r);
    ask(*state, "GET", "/errors/NO_SUCH_CODE", NULL, NULL, &r);
    assert_problem(&r, 500, "INTERNAL");
    reply_free(&r);
    ask(*state, "GET", "/silent", NULL, NULL, &r);
    assert_problem(&r, 500, "INTERNAL");
    reply_free(&r);
    assert_int_equal(ask(*state, "GET", "/twice", NULL, NULL, &r), 201);
    assert_string_equal(r.body, "first");
    reply_free(&r);
}

// ---- contents

static void assert_content(const struct reply *r, uint64_t offset, size_t len)
{
    assert_int_equal(r->len, len);
    for (size_t i = 0; i < len; i++)
        if (r->body[i] != content_byte(offset + i))
            fail_msg("byte %zu differs", i);
}

static void test_whole_content(void **state)
{
    for (int i = 0; i < 2; i++) {
        struct reply r;
        char text[256];
        const char *path = i ? "/content/fd" : "/content/read";
        assert_int_equal(ask(*state, "GET", path, NULL, NULL, &r), 200);
        assert_content(&r, 0, CONTENT_SIZE);
        assert_string_equal(reply_header(&r, "ETag", text), "\"tag-1\"");
        assert_string_equal(reply_header(&r, "Accept-Ranges", text), "bytes");
        assert_string_equal(reply_header(&r, "Content-Type", text), "image/test");
        assert_string_equal(reply_header(&r, "Cache-Control", text), "private, max-age=60");
        assert_string_equal(reply_header(&r, "Content-Disposition", text), "attachment; filename=\"a.png\"");
        reply_free(&r);
        assert_int_equal(ask(*state, "HEAD", path, "Range: bytes=0-9\r\n", NULL, &r), 200);
        assert_string_equal(reply_header(&r, "Content-Length", text), "300000");
        reply_free(&r);
    }
    assert_int_equal(ask_status(*state, "GET", "/content/empty", NULL, NULL), 200);
}

static void test_ranges(void **state)
{
    static const struct {
        const char *head;
        int status;
        uint64_t offset;
        size_t len;
        const char *range;
    } cases[] = {
        {"Range: bytes=0-0\r\n", 206, 0, 1, "bytes 0-0/300000"},
        {"Range: bytes=10-19\r\n", 206, 10, 10, "bytes 10-19/300000"},
        {"Range: bytes=299990-\r\n", 206, 299990, 10, "bytes 299990-299999/300000"},
        {"Range: bytes=299990-999999\r\n", 206, 299990, 10, "bytes 299990-299999/300000"},
        {"Range: bytes=-7\r\n", 206, 299993, 7, "bytes 299993-299999/300000"},
        {"Range: bytes=-999999\r\n", 206, 0, CONTENT_SIZE, "bytes 0-299999/300000"},
        {"Range: bytes=0-99999999999999999999999999\r\n", 206, 0, CONTENT_SIZE, "bytes 0-299999/300000"},
        {"Range: bytes=1000-250000\r\n", 206, 1000, 249001, "bytes 1000-250000/300000"},
        {"Range: bytes=5-4\r\n", 200, 0, CONTENT_SIZE, NULL},
        {"Range: bytes=-\r\n", 200, 0, CONTENT_SIZE, NULL},
        {"Range: bytes=a-b\r\n", 200, 0, CONTENT_SIZE, NULL},
        {"Range: lines=1-2\r\n", 200, 0, CONTENT_SIZE, NULL},
        {"Range: bytes=0-1,5-6\r\n", 200, 0, CONTENT_SIZE, NULL},
        {"Range: bytes=0-1\r\nIf-Range: \"tag-1\"\r\n", 206, 0, 2, "bytes 0-1/300000"},
        {"Range: bytes=0-1\r\nIf-Range: \"tag-2\"\r\n", 200, 0, CONTENT_SIZE, NULL},
        {"Range: bytes=0-1\r\nIf-Range: W/\"tag-1\"\r\n", 200, 0, CONTENT_SIZE, NULL},
        {"Range: bytes=0-1\r\nIf-Range: Sat, 29 Oct 1994 19:43:31 GMT\r\n", 200, 0, CONTENT_SIZE, NULL},
    };
    for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
        struct reply r;
        char text[256];
        assert_int_equal(ask(*state, "GET", i % 2 ? "/content/fd" : "/content/read", cases[i / 2].head, NULL, &r),
                         cases[i / 2].status);
        assert_content(&r, cases[i / 2].offset, cases[i / 2].len);
        const char *range = reply_header(&r, "Content-Range", text);
        if (cases[i / 2].range)
            assert_string_equal(range, cases[i / 2].range);
        else
            assert_null(range);
        reply_free(&r);
    }
}

static void test_ranges_outside(void **state)
{
    static const char *const heads[] = {"Range: bytes=300000-\r\n", "Range: bytes=99999999999999999999999999-\r\n",
                                        "Range: bytes=-0\r\n"};
    struct reply r;
    char text[256];
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        ask(*state, "GET", "/content/fd", heads[i], NULL, &r);
        assert_problem(&r, 416, "RANGE_NOT_SATISFIABLE");
        assert_string_equal(reply_header(&r, "Content-Range", text), "bytes */300000");
        reply_free(&r);
    }
    assert_int_equal(ask(*state, "GET", "/content/empty", "Range: bytes=0-\r\n", NULL, &r), 416);
    assert_string_equal(reply_header(&r, "Content-Range", text), "bytes */0");
    reply_free(&r);
}

static void test_not_modified(void **state)
{
    static const struct {
        const char *head;
        int status;
    } cases[] = {
        {"If-None-Match: \"tag-1\"\r\n", 304},
        {"If-None-Match: W/\"tag-1\"\r\n", 304},
        {"If-None-Match: \"x\", \"y,z\" ,\"tag-1\"\r\n", 304},
        {"If-None-Match: *\r\n", 304},
        {"If-None-Match: \"tag-1\"\r\nRange: bytes=0-1\r\n", 304},
        {"If-None-Match: \"tag-2\"\r\n", 200},
        {"If-None-Match: tag-1\r\n", 200},
        {"If-None-Match: \"tag-1\r\n", 200},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct reply r;
        char text[256];
        assert_int_equal(ask(*state, "GET", "/content/fd", cases[i].head, NULL, &r), cases[i].status);
        assert_string_equal(reply_header(&r, "ETag", text), "\"tag-1\"");
        assert_string_equal(reply_header(&r, "Cache-Control", text), "private, max-age=60");
        const char *length = reply_header(&r, "Content-Length", text);
        assert_true(!length || strcmp(length, "300000") == 0); // never 0
        reply_free(&r);
    }
}

static void test_content_that_breaks(void **state)
{
    struct reply r;
    int fd = client_connect(*state);
    client_puts(fd, "GET /content/broken HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(client_read(fd, false, &r), -1);
    assert_true(r.len < CONTENT_SIZE);
    reply_free(&r);
    assert_true(client_closed(fd));
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_parameters_and_query),
        TEST(test_refused_paths),
        TEST(test_methods),
        TEST(test_head_keeps_the_connection),
        TEST(test_pipelining),
        TEST(test_framing_is_strict),
        TEST(test_nonsense_closes),
        TEST(test_errors_become_problems),
        TEST(test_whole_content),
        TEST(test_ranges),
        TEST(test_ranges_outside),
        TEST(test_not_modified),
        TEST(test_content_that_breaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
