// SPDX-License-Identifier: Apache-2.0
// The client against a scripted server: bodies, problem documents, lost connections, kept-alive ones.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <curl/curl.h>
#include <fcntl.h>

#include "base/js.h"
#include "cli/client.h"
#include "fake_server.h"
#include "scratch.h"

// One answer for everything, and the last request.
struct script {
    struct fake_answer answer;
    const char *body;
    char *last_body;
    size_t last_len;
    struct fake_request last;
};

static void play(void *ctx, const struct fake_request *request, struct fake_answer *answer)
{
    struct script *s = ctx;
    *answer = s->answer;
    answer->body = s->body ? strdup(s->body) : NULL;
    s->last = *request;
    free(s->last_body);
    s->last_body = malloc(request->len + 1);
    memcpy(s->last_body, request->body, request->len + 1);
    s->last_len = request->len;
    s->last.body = NULL;
}

struct rig {
    struct fake_server *server;
    struct client *client;
    struct script script;
};

// A call that lets the server's handler run: what the test set before it, and reads after it, is ordered against that.
#define CALL(call) (fake_sync(r->server), synced(r->server, call))

static int synced(struct fake_server *server, int rc)
{
    fake_sync(server);
    return rc;
}

static int setup(void **state)
{
    struct rig *r = calloc(1, sizeof *r);
    struct error err;
    r->script.answer.status = 200;
    r->server = fake_start(play, &r->script);
    *state = r;
    return client_new(fake_url(r->server), "shop", &r->client, &err);
}

static int teardown(void **state)
{
    struct rig *r = *state;
    client_free(r->client);
    fake_stop(r->server);
    free(r->script.last_body);
    free(r);
    return 0;
}

static void get_reads_json(void **state)
{
    struct rig *r = *state;
    struct error err;
    json_t *answer = NULL;
    r->script.body = "{\"a\": 1}";
    assert_int_equal(CALL(client_get(r->client, "/api/x?y=1", &answer, &err)), 0);
    assert_int_equal(js_int(answer, "a", 0), 1);
    json_decref(answer);
    assert_string_equal(r->script.last.method, "GET");
    assert_string_equal(r->script.last.target, "/api/x?y=1");
    assert_non_null(strstr(r->script.last.headers, "X-Tenant-Id: shop\r\n"));
    assert_int_equal(client_status(r->client), 200);
}

static void calls_carry_method_and_body(void **state)
{
    struct rig *r = *state;
    struct error err;
    _cleanup_json_ json_t *body = json_pack("{s:s}", "name", "x");
    assert_int_equal(CALL(client_call(r->client, "POST", "/p", body, NULL, &err)), 0);
    assert_string_equal(r->script.last.method, "POST");
    assert_string_equal(r->script.last_body, "{\"name\":\"x\"}");
    assert_non_null(strstr(r->script.last.headers, "Content-Type: application/json\r\n"));
    assert_int_equal(CALL(client_call(r->client, "DELETE", "/d", NULL, NULL, &err)), 0);
    assert_string_equal(r->script.last.method, "DELETE");
    assert_int_equal(r->script.last_len, 0);
    assert_int_equal(CALL(client_call(r->client, "POST", "/e", NULL, NULL, &err)), 0);
    assert_string_equal(r->script.last.method, "POST");
    assert_int_equal(r->script.last_len, 0);
    assert_int_equal(CALL(client_get(r->client, "/g", NULL, &err)), 0);
    assert_string_equal(r->script.last.method, "GET");
    assert_null(strstr(r->script.last.headers, "Content-Type"));
    assert_int_equal(fake_connections(r->server), 1); // kept alive throughout
}

static void problems_become_errors(void **state)
{
    static const struct {
        int status;
        const char *body;
        enum error_code code;
        const char *says;
    } cases[] = {
        {404, "{\"code\":\"TENANT_UNKNOWN\",\"detail\":\"There is no tenant x\"}", ERR_TENANT_UNKNOWN,
         "There is no tenant x"},
        {415, "{\"code\":\"UNSUPPORTED_MEDIA\",\"title\":\"Only a title\"}", ERR_UNSUPPORTED_MEDIA, "Only a title"},
        {418, "{\"code\":\"TEAPOT\",\"detail\":\"I am one\"}", ERR_INTERNAL, "I am one (TEAPOT)"},
        {502, "<html>Bad gateway</html>", ERR_INTERNAL, "HTTP status 502"},
        {413, "", ERR_BODY_TOO_LARGE, "HTTP status 413"},
        {503, "{\"code\":\"OVERLOADED\",\"detail\":\"Busy\"}", ERR_OVERLOADED, "Busy"},
        {401, "[]", ERR_UNAUTHORIZED, "HTTP status 401"},
    };
    struct rig *r = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct error err = {0};
        r->script.answer.status = cases[i].status;
        r->script.body = cases[i].body;
        assert_int_equal(CALL(client_get(r->client, "/", NULL, &err)), -1);
        assert_int_equal(err.code, cases[i].code);
        if (!strstr(err.message, cases[i].says))
            fail_msg("\"%s\" does not say \"%s\"", err.message, cases[i].says);
        assert_int_equal(client_status(r->client), cases[i].status);
    }
}

static void retry_after_is_read(void **state)
{
    struct rig *r = *state;
    struct error err;
    r->script.answer = (struct fake_answer){.status = 503, .headers = "Retry-After: 7\r\n"};
    assert_int_equal(CALL(client_get(r->client, "/", NULL, &err)), -1);
    assert_int_equal(client_retry_after_ms(r->client), 7000);
    r->script.answer = (struct fake_answer){.status = 200};
    assert_int_equal(CALL(client_get(r->client, "/", NULL, &err)), 0);
    assert_int_equal(client_retry_after_ms(r->client), 0);
}

static void nonsense_instead_of_json_is_an_error(void **state)
{
    struct rig *r = *state;
    struct error err = {0};
    json_t *answer = NULL;
    r->script.body = "{\"a\": ";
    assert_int_equal(CALL(client_get(r->client, "/", &answer, &err)), -1);
    assert_int_equal(err.code, ERR_INVALID_JSON);
    assert_null(answer);
}

static void a_lost_connection_is_unavailable(void **state)
{
    struct rig *r = *state;
    struct error err = {0};
    r->script.answer.drop = true;
    assert_int_equal(CALL(client_get(r->client, "/", NULL, &err)), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_true(client_connected(r->client));
    assert_int_equal(client_status(r->client), 0);
    r->script.answer.drop = false;
    assert_int_equal(CALL(client_get(r->client, "/", NULL, &err)), 0); // the client goes on
}

static void nobody_there_says_what_to_do(void **state)
{
    struct rig *r = *state;
    struct error err = {0};
    struct client *client;
    struct fake_server *gone = fake_start(play, &r->script);
    char url[64];
    snprintf(url, sizeof url, "%s/", fake_url(gone));
    fake_stop(gone);
    assert_int_equal(client_new(url, NULL, &client, &err), 0);
    assert_int_equal(client_get(client, "/x", NULL, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_false(client_connected(client));
    assert_non_null(strstr(err.message, "start one with `deeplens serve`"));
    client_free(client);
}

static void addresses_are_checked(void **state)
{
    static const char *const wrong[] = {"", "127.0.0.1:8080/x y", "ftp://host", "http://", "file:///etc/passwd"};
    struct error err;
    struct client *client;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(client_new(wrong[i], NULL, &client, &err), -1);
        assert_int_equal(err.code, ERR_USAGE);
    }
    assert_int_equal(client_new("http://127.0.0.1:1", "a\r\nX-Evil: 1", &client, &err), -1);
    assert_int_equal(client_new("http://127.0.0.1:1", "", &client, &err), -1);
}

static void files_are_streamed(void **state)
{
    struct rig *r = *state;
    struct error err;
    char folder[PATH_MAX];
    const size_t size = 3 << 20; // large enough for Expect: 100-continue
    char *content = malloc(size + 1);
    for (size_t i = 0; i < size; i++)
        content[i] = (char)('a' + i % 23);
    content[size] = 0;
    scratch_make(folder);
    int fd = open(scratch_write(folder, "a.jpg", content), O_RDONLY | O_CLOEXEC);
    assert_int_equal(CALL(client_post_file(r->client, "/u", fd, size, NULL, &err)), 0);
    assert_string_equal(r->script.last.method, "POST");
    assert_int_equal(r->script.last_len, size);
    assert_memory_equal(r->script.last_body, content, size);
    assert_non_null(strstr(r->script.last.headers, "Content-Type: application/octet-stream\r\n"));
    assert_int_equal(CALL(client_post_file(r->client, "/u", fd, 0, NULL, &err)), 0);
    assert_int_equal(r->script.last_len, 0);
    close(fd);
    free(content);
    scratch_remove(folder);
}

static void a_file_that_shrinks_is_an_error_of_its_own(void **state)
{
    struct rig *r = *state;
    struct error err = {0};
    char folder[PATH_MAX];
    scratch_make(folder);
    int fd = open(scratch_write(folder, "a.jpg", "12345"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(CALL(client_post_file(r->client, "/u", fd, 10, NULL, &err)), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_int_equal(CALL(client_get(r->client, "/", NULL, &err)), 0);
    close(fd);
    scratch_remove(folder);
}

static void forms_carry_fields_and_a_file(void **state)
{
    struct rig *r = *state;
    struct error err = {0};
    char folder[PATH_MAX];
    _cleanup_json_ json_t *fields = json_pack("{s:s, s:s}", "topK", "5", "filter", "{\"a\":1}");
    scratch_make(folder);
    const char *path = scratch_write(folder, "q.jpg", "PICTURE");
    // The size of a form is known, so there is no chunked body for the scripted server to understand.
    assert_int_equal(CALL(client_post_form(r->client, "/s", fields, path, NULL, &err)), 0);
    assert_non_null(strstr(r->script.last.headers, "multipart/form-data"));
    assert_non_null(strstr(r->script.last_body, "name=\"topK\"\r\n\r\n5\r\n"));
    assert_non_null(strstr(r->script.last_body, "name=\"filter\"\r\n\r\n{\"a\":1}\r\n"));
    assert_non_null(strstr(r->script.last_body, "name=\"file\"; filename=\"q.jpg\""));
    assert_non_null(strstr(r->script.last_body, "\r\n\r\nPICTURE\r\n"));
    scratch_remove(folder);
    assert_int_equal(CALL(client_post_form(r->client, "/s", fields, "/does/not/exist", NULL, &err)), -1);
    assert_int_equal(err.code, ERR_IO);
}

static void fetch_gives_bytes_and_their_type(void **state)
{
    struct rig *r = *state;
    struct error err = {0};
    char type[CLIENT_TYPE];
    _cleanup_buf_ struct buf out = BUF_INIT(8);
    r->script.answer.type = "image/webp";
    r->script.body = "RIFF";
    assert_int_equal(CALL(client_fetch(r->client, "/t", &out, type, &err)), 0);
    assert_string_equal(type, "image/webp");
    assert_string_equal(out.data, "RIFF");
    r->script.body = "more than there is room for";
    assert_int_equal(CALL(client_fetch(r->client, "/t", &out, type, &err)), -1);
    assert_int_equal(err.code, ERR_BODY_TOO_LARGE);
}

static void a_refused_fetch_is_a_problem(void **state)
{
    struct rig *r = *state;
    struct error err = {0};
    char type[CLIENT_TYPE];
    _cleanup_buf_ struct buf out = BUF_INIT(4096);
    r->script.answer.status = 409;
    r->script.body = "{\"code\":\"NOT_READY\",\"detail\":\"Not yet\"}";
    assert_int_equal(CALL(client_fetch(r->client, "/t", &out, type, &err)), -1);
    assert_int_equal(err.code, ERR_NOT_READY);
    assert_string_equal(err.message, "Not yet");
}

static void probe_reads_refusals(void **state)
{
    struct rig *r = *state;
    struct error err;
    int status = 0;
    _cleanup_json_ json_t *answer = NULL;
    r->script.answer.status = 503;
    r->script.body = "{\"status\":\"draining\"}";
    assert_int_equal(CALL(client_probe(r->client, "/readyz", &answer, &status, &err)), 0);
    assert_int_equal(status, 503);
    assert_string_equal(js_str(answer, "status", ""), "draining");
}

static void queries_are_encoded(void **state)
{
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    buf_puts(&path, "/x/");
    client_segment(&path, "a/b?c");
    client_query(&path, "q", "a&b=ä \"%");
    client_query(&path, "none", NULL);
    client_query(&path, "empty", "");
    assert_string_equal(path.data, "/x/a%2Fb%3Fc?q=a%26b%3D%C3%A4%20%22%25&empty=");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(get_reads_json, setup, teardown),
        cmocka_unit_test_setup_teardown(calls_carry_method_and_body, setup, teardown),
        cmocka_unit_test_setup_teardown(problems_become_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(retry_after_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(nonsense_instead_of_json_is_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_connection_is_unavailable, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_there_says_what_to_do, setup, teardown),
        cmocka_unit_test(addresses_are_checked),
        cmocka_unit_test_setup_teardown(files_are_streamed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_that_shrinks_is_an_error_of_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(forms_carry_fields_and_a_file, setup, teardown),
        cmocka_unit_test_setup_teardown(fetch_gives_bytes_and_their_type, setup, teardown),
        cmocka_unit_test_setup_teardown(a_refused_fetch_is_a_problem, setup, teardown),
        cmocka_unit_test_setup_teardown(probe_reads_refusals, setup, teardown),
        cmocka_unit_test(queries_are_encoded),
    };
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}
