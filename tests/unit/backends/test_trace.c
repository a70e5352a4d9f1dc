// SPDX-License-Identifier: Apache-2.0
// The tracing wrapper: a line a call, results unchanged, and only for the ports that were chosen.
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "backends/trace.h"
#include "base/cleanup.h"
#include "base/log.h"

static int head(void *state, const char *key, struct blob_info *out, struct error *err)
{
    if (strcmp(key, "t/there") != 0)
        return error_set(err, ERR_NOT_FOUND, "There is no blob \"%s\"", key);
    out->size = 7;
    return 0;
}
static int list(void *state, const char *prefix, int (*each)(void *, const char *, const struct blob_info *), void *arg,
                struct error *err)
{
    return 42;
}
static void close_blob(void *state)
{
    *(bool *)state = true;
}
static const struct blob_ops ops = {.name = "fake", .head = head, .list = list, .close = close_blob};

static int saved_stderr, capture;

static int setup(void **state)
{
    log_setup(LOG_INFO, false);
    saved_stderr = dup(STDERR_FILENO);
    capture = memfd_create("trace", MFD_CLOEXEC);
    return capture < 0 || dup2(capture, STDERR_FILENO) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    close(capture);
    return 0;
}

static const char *lines(void)
{
    static char text[8192];
    fflush(stderr);
    ssize_t n = pread(capture, text, sizeof text - 1, 0);
    text[n < 0 ? 0 : n] = 0;
    return text;
}

static void logs_each_call(void **state)
{
    struct error err = {0};
    struct blob_info info = {0};
    bool closed = false;
    assert_int_equal(trace_setup("index,blob", &err), 0);
    struct blob blob = trace_wrap_blob((struct blob){.ops = &ops, .state = &closed});
    assert_int_equal(blob.ops->head(blob.state, "t/there", &info, &err), 0);
    assert_int_equal(info.size, 7);
    assert_int_equal(blob.ops->head(blob.state, "t/gone", &info, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(blob.ops->head(blob.state, "t/gone", &info, NULL), -1);
    assert_int_equal(blob.ops->list(blob.state, "t/", NULL, NULL, &err), 42);
    blob.ops->close(blob.state);
    assert_true(closed);
    const char *text = lines();
    assert_non_null(strstr(text, " info  trace: blob.head(t/there) in "));
    assert_non_null(strstr(text, " trace: blob.head(t/gone) = -1 There is no blob \"t/gone\" in "));
    assert_non_null(strstr(text, " trace: blob.list(\"t/\") = 42 "));
    assert_non_null(strstr(text, " trace: blob.close() in "));
    int count = 0;
    for (const char *p = text; (p = strchr(p, '\n')); p++)
        count++;
    assert_int_equal(count, 5);
    assert_null(blob.ops->remove); // what the back end lacks stays away
}

static void traces_only_what_was_chosen(void **state)
{
    struct error err = {0};
    struct blob plain = {.ops = &ops};
    assert_int_equal(trace_setup("meta,index,extractor,eventlog", &err), 0);
    assert_ptr_equal(trace_wrap_blob(plain).ops, &ops);
    assert_int_equal(trace_setup("", &err), 0);
    assert_ptr_equal(trace_wrap_blob(plain).ops, &ops);
    assert_int_equal(trace_setup("blob", &err), 0);
    struct blob once = trace_wrap_blob(plain);
    assert_ptr_not_equal(once.ops, &ops);
    assert_ptr_equal(trace_wrap_blob(once).ops, once.ops);
    assert_int_equal(trace_setup(NULL, &err), 0);
    assert_ptr_equal(trace_wrap_blob(plain).ops, &ops);
}

static void refuses_ports_that_do_not_exist(void **state)
{
    static const char *const bad[] = {"blobs", "blo", "blob,,index", "blob index", ","};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct error err = {0};
        assert_int_equal(trace_setup(bad[i], &err), -1);
        assert_int_equal(err.code, ERR_CONFIG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(logs_each_call, setup, teardown),
        cmocka_unit_test(traces_only_what_was_chosen),
        cmocka_unit_test(refuses_ports_that_do_not_exist),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
