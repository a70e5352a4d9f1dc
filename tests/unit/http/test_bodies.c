// SPDX-License-Identifier: Apache-2.0
// Bodies of every kind, whole and broken: for each sink begin == handle + abort (asserted in the teardown, too).
#include "support.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define FORM_TYPE "Content-Type: multipart/form-data; boundary=XYZ\r\n"
#define PART(name, value) "--XYZ\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"
#define CHUNKED "POST %s HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"

static void test_buffered(void **state)
{
    struct reply r;
    char body[ECHO_MAX + 2];
    memset(body, 'x', sizeof body);
    body[ECHO_MAX] = 0;
    assert_int_equal(ask(*state, "POST", "/echo", NULL, body, &r), 200);
    assert_string_equal(r.body, body);
    reply_free(&r);
    assert_int_equal(ask(*state, "POST", "/echo", NULL, "", &r), 200);
    assert_int_equal(r.len, 0);
    reply_free(&r);
    body[ECHO_MAX] = 'x';
    body[ECHO_MAX + 1] = 0;
    ask(*state, "POST", "/echo", NULL, body, &r);
    assert_problem(&r, 413, "BODY_TOO_LARGE");
    reply_free(&r);
}

static void chunk(int fd, const char *data, size_t len)
{
    char head[32];
    snprintf(head, sizeof head, "%zx\r\n", len);
    client_puts(fd, head);
    client_send(fd, data, len);
    client_puts(fd, "\r\n");
}

static void test_chunked(void **state)
{
    struct reply r;
    char body[ECHO_MAX + 1] = {0}, head[256];
    snprintf(head, sizeof head, CHUNKED, "/echo");
    int fd = client_connect(*state);
    for (size_t extra = 0; extra < 2; extra++) { // the connection is kept in both cases
        client_puts(fd, head);
        for (int i = 0; i < 10; i++)
            chunk(fd, body, ECHO_MAX / 10);
        if (extra)
            chunk(fd, body, 1);
        client_puts(fd, "0\r\n\r\n");
        assert_int_equal(client_read(fd, false, &r), 0);
        assert_int_equal(r.status, extra ? 413 : 200);
        if (extra)
            assert_problem(&r, 413, "BODY_TOO_LARGE");
        else
            assert_int_equal(r.len, ECHO_MAX);
        reply_free(&r);
    }
    assert_int_equal((client_puts(fd, "GET /quick HTTP/1.1\r\nHost: t\r\n\r\n"), client_read(fd, false, &r)), 0);
    reply_free(&r);
    close(fd);
}

// A client that sends far more than it may, and reads only then, still reads the answer.
static void test_flood(void **state)
{
    static const char *const heads[] = {
        "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 10000000\r\n\r\n",
        "POST /nothing HTTP/1.1\r\nHost: t\r\nContent-Length: 10000000\r\n\r\n",
        "DELETE /items/1 HTTP/1.1\r\nHost: t\r\nContent-Length: 10000000\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n989680\r\n",
        "POST /form HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n989680\r\n",
        "POST /form HTTP/1.1\r\nHost: t\r\nContent-Length: 3000000\r\n" FORM_TYPE "\r\n" PART("refuse", "1"),
    };
    static const char *const codes[] = {"BODY_TOO_LARGE", "NOT_FOUND",      "BODY_TOO_LARGE",
                                        "BODY_TOO_LARGE", "BODY_TOO_LARGE", "UNSUPPORTED_MEDIA"};
    static const int statuses[] = {413, 404, 413, 413, 413, 415};
    char *data = calloc(1, 10000000);
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        struct reply r;
        char text[256];
        int fd = client_connect(*state);
        client_puts(fd, heads[i]);
        client_send(fd, data, i == 5 ? 2900000 : 10000000);
        assert_int_equal(client_read(fd, false, &r), 0);
        assert_problem(&r, statuses[i], codes[i]);
        assert_string_equal(reply_header(&r, "Connection", text), "close");
        assert_string_equal(reply_header(&r, "X-Content-Type-Options", text), "nosniff");
        reply_free(&r);
        assert_true(client_closed(fd));
        close(fd);
    }
    free(data);
}

static void test_expect(void **state)
{
    static const struct {
        const char *head;
        int status;
    } cases[] = {
        {"POST /echo HTTP/1.1\r\nContent-Length: 5\r\n", 100},
        {"POST /echo HTTP/1.1\r\nContent-Length: 1001\r\n", 413},
        {"POST /nothing HTTP/1.1\r\nContent-Length: 5\r\n", 404},
        {"PUT /echo HTTP/1.1\r\nContent-Length: 5\r\n", 405},
        {"POST /form HTTP/1.1\r\nContent-Length: 5\r\nX-Refuse: 1\r\n", 401},
        {"POST /form HTTP/1.1\r\nContent-Length: 5\r\nContent-Type: multipart/form-data\r\n", 400},
        {"POST /form HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX-Refuse: 1\r\n", 401},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct reply r;
        int fd = client_connect(*state);
        client_puts(fd, cases[i].head);
        client_puts(fd, "Host: t\r\nExpect: 100-continue\r\n\r\n");
        assert_int_equal(client_read(fd, false, &r), 0);
        assert_int_equal(r.status, cases[i].status); // not 100 first: the body is never asked for
        reply_free(&r);
        if (cases[i].status == 100) {
            client_puts(fd, "hello");
            assert_int_equal(client_read(fd, false, &r), 0);
            assert_string_equal(r.body, "hello");
            reply_free(&r);
        } else {
            assert_true(client_closed(fd));
        }
        close(fd);
    }
    assert_int_equal(((struct world *)*state)->begun, 0);
}

static void test_form_byte_by_byte(void **state)
{
    static const char body[] =
        PART("a", "1") PART("empty", "") "--XYZ\r\nContent-Disposition: form-data; name=\"file\"; "
                                         "filename=\"x.png\"\r\nContent-Type: image/png\r\n\r\n"
                                         "\r\n--XY\r\n-"
                                         "\r\n--XYZ--\r\n";
    struct reply r;
    char head[256];
    int fd = client_connect(*state);
    snprintf(head, sizeof head, "POST /form HTTP/1.1\r\nHost: t\r\n" FORM_TYPE "Content-Length: %zu\r\n\r\n",
             sizeof body - 1);
    client_puts(fd, head);
    for (size_t i = 0; i < sizeof body - 1; i++)
        client_send(fd, body + i, 1);
    assert_int_equal(client_read(fd, false, &r), 0);
    assert_int_equal(r.status, 202);
    assert_non_null(strstr(r.body, "a|-|-|1|49\n"));
    assert_non_null(strstr(r.body, "empty|-|-|0|0\n"));
    assert_non_null(strstr(r.body, "file|x.png|image/png|9|"));
    reply_free(&r);
    close(fd);
}

static void test_raw(void **state)
{
    struct reply r;
    assert_int_equal(ask(*state, "POST", "/form", "Content-Type: image/png\r\n", "AB", &r), 202);
    assert_string_equal(r.body, "-|-|image/png|2|2081\n");
    reply_free(&r);
    assert_int_equal(ask(*state, "POST", "/form", NULL, "", &r), 202);
    assert_string_equal(r.body, "-|-|-|0|0\n");
    reply_free(&r);
    assert_int_equal(ask(*state, "POST", "/form", NULL, NULL, &r), 202);
    assert_string_equal(r.body, "-|-|-|0|0\n");
    reply_free(&r);
}

static void test_forms_refused(void **state)
{
    static const struct {
        const char *head, *body;
        int status;
        const char *code;
        unsigned begun;
    } cases[] = {
        {FORM_TYPE, PART("a", "1"), 400, "BODY_INCOMPLETE", 1},
        {FORM_TYPE, "", 400, "BODY_INCOMPLETE", 1},
        {FORM_TYPE, "--XYZ\r\n\r\nno name\r\n--XYZ--", 400, "INVALID_REQUEST", 1},
        {FORM_TYPE, PART("refuse", "1") PART("b", "2") "--XYZ--", 415, "UNSUPPORTED_MEDIA", 1},
        {FORM_TYPE "X-Refuse: 1\r\n", PART("a", "1") "--XYZ--", 401, "UNAUTHORIZED", 0},
        {"Content-Type: multipart/form-data\r\n", "x", 400, "INVALID_REQUEST", 0},
    };
    struct world *w = *state;
    unsigned begun = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct reply r;
        ask(w, "POST", "/form", cases[i].head, cases[i].body, &r);
        assert_problem(&r, cases[i].status, cases[i].code);
        reply_free(&r);
        assert_int_equal(w->begun, begun += cases[i].begun);
        assert_int_equal(w->aborted, begun);
    }
    assert_int_equal(w->handled, 0);
}

static void test_a_refusal_keeps_the_connection(void **state)
{
    struct reply r;
    int fd = client_connect(*state);
    for (int i = 0; i < 3; i++) {
        client_puts(fd, "POST /form HTTP/1.1\r\nHost: t\r\nX-Refuse: 1\r\nContent-Length: 4\r\n\r\nbody");
        assert_int_equal(client_read(fd, false, &r), 0);
        assert_problem(&r, 401, "UNAUTHORIZED");
        reply_free(&r);
    }
    close(fd);
}

static void test_half_a_body(void **state)
{
    static const char *const halves[] = {
        "POST /form HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n",
        "POST /form HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nhalf",
        "POST /form HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n" FORM_TYPE "\r\n" PART("a", "1"),
        "POST /form HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "POST /form HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nnonsense\r\n",
        "POST /form HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n" FORM_TYPE "\r\n" PART("refuse", "1"),
    };
    struct world *w = *state;
    for (unsigned i = 0; i < sizeof halves / sizeof halves[0]; i++) {
        int fd = client_connect(w);
        client_puts(fd, halves[i]);
        wait_until(&w->begun, i + 1); // the server has seen it before the client goes
        close(fd);
        wait_until(&w->aborted, i + 1);
    }
    assert_int_equal(w->handled, 0);
    wait_until(&w->done, sizeof halves / sizeof halves[0]);
}

// ---- what real clients send

static size_t ignore(char *data, size_t size, size_t count, void *arg)
{
    return buf_append(arg, data, size * count) == 0 ? size * count : 0;
}

static void curl_form(struct world *w, const char *data, size_t len, const char *name, long version)
{
    struct buf body = BUF_INIT(1 << 20);
    char url[64];
    snprintf(url, sizeof url, "http://%s/form", http_address(w->server));
    CURL *curl = curl_easy_init();
    curl_mime *mime = curl_mime_init(curl);
    curl_mimepart *part = curl_mime_addpart(mime);
    curl_mime_name(part, "file");
    curl_mime_data(part, data, len);
    curl_mime_filename(part, name);
    curl_mime_type(part, "application/octet-stream");
    part = curl_mime_addpart(mime);
    curl_mime_name(part, "metadata");
    curl_mime_data(part, "{\"a\":1}", CURL_ZERO_TERMINATED);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, version);
    curl_easy_setopt(curl, CURLOPT_MIMEPOST, mime);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
    assert_int_equal(curl_easy_perform(curl), CURLE_OK);
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    assert_int_equal(status, 202);
    unsigned sum = 0;
    for (size_t i = 0; i < len; i++)
        sum = sum * 31 + (unsigned char)data[i];
    char expected[512];
    snprintf(expected, sizeof expected, "file|%s|application/octet-stream|%zu|%u\nmetadata|-|-|7|", name, len, sum);
    assert_memory_equal(body.data, expected, strlen(expected));
    curl_mime_free(mime);
    curl_easy_cleanup(curl);
    buf_free(&body);
}

static void test_curl(void **state)
{
    size_t len = FORM_MAX - 10000;
    char *data = malloc(len);
    unsigned seed = 1;
    for (size_t i = 0; i < len; i++) // many CR, LF and dashes
        data[i] = "\r\n-\r\n--x"[(seed = seed * 1103515245 + 12345) >> 29];
    curl_form(*state, data, len, "big.bin", CURL_HTTP_VERSION_1_1); // asks with Expect: 100-continue
    curl_form(*state, data, len, "old.bin", CURL_HTTP_VERSION_1_0);
    curl_form(*state, data, 0, "n\"a;m\\e=\xc3\xa4.bin", CURL_HTTP_VERSION_1_1);
    free(data);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_buffered),
        TEST(test_chunked),
        TEST(test_flood),
        TEST(test_expect),
        TEST(test_form_byte_by_byte),
        TEST(test_raw),
        TEST(test_forms_refused),
        TEST(test_a_refusal_keeps_the_connection),
        TEST(test_half_a_body),
        TEST(test_curl),
    };
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return rc;
}
