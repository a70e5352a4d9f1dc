// SPDX-License-Identifier: Apache-2.0
// Log lines as they reach stderr.
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/js.h"
#include "base/log.h"

static int saved_stderr, capture;
static char captured[1 << 20];

static int setup(void **state)
{
    saved_stderr = dup(STDERR_FILENO);
    capture = memfd_create("log", MFD_CLOEXEC);
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
    fflush(stderr);
    ssize_t n = pread(capture, captured, sizeof captured - 1, 0);
    captured[n < 0 ? 0 : n] = 0;
    return captured;
}

static void writes_text(void **state)
{
    log_setup(LOG_INFO, false);
    log_warn("runner", "%d events wait", 3);
    const char *line = lines();
    int64_t ms;
    char time[25] = "";
    memcpy(time, line, 24);
    assert_int_equal(clock_parse(time, &ms), 0);
    assert_string_equal(line + 24, " warn  runner: 3 events wait\n");
}

static void escapes_control_characters(void **state)
{
    log_setup(LOG_INFO, false);
    log_error("http", "%s", "name\n2026 error x: forged\x1b[31m\x7f");
    assert_non_null(strstr(lines(), "name\\x0a2026 error x: forged\\x1b[31m\\x7f\n"));
    assert_ptr_equal(strchr(captured, '\n'), captured + strlen(captured) - 1);
}

static void writes_json(void **state)
{
    log_setup(LOG_INFO, true);
    log_info("http", "said \"%s\"\n", "hi");
    log_info("http", "bad %s", "\xff");
    const char *line = lines();
    const char *end = strchr(line, '\n');
    struct error err;
    _cleanup_json_ json_t *entry = js_parse(line, (size_t)(end - line), &err);
    assert_string_equal(js_str(entry, "level", ""), "info");
    assert_string_equal(js_str(entry, "where", ""), "http");
    assert_string_equal(js_str(entry, "message", ""), "said \"hi\"\n");
    _cleanup_json_ json_t *second = js_parse(end + 1, strlen(end + 1), &err);
    assert_non_null(second);
}

static void keeps_silent_below_its_level(void **state)
{
    log_setup(LOG_WARN, false);
    log_debug("x", "no");
    log_info("x", "no");
    assert_false(log_enabled(LOG_INFO));
    assert_true(log_enabled(LOG_ERROR));
    log_setup(LOG_OFF, false);
    log_error("x", "no");
    assert_string_equal(lines(), "");
}

static void *write_lines(void *arg)
{
    for (int i = 0; i < 500; i++)
        log_info("thread", "%s", "one line of a length that would show if lines were mixed");
    return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
    pthread_t threads[4];
    log_setup(LOG_INFO, false);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    int count = 0;
    static const char tail[] = " info  thread: one line of a length that would show if lines were mixed\n";
    for (const char *p = lines(); *p; p += 24 + strlen(tail), count++)
        assert_memory_equal(p + 24, tail, strlen(tail));
    assert_int_equal(count, 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writes_text, setup, teardown),
        cmocka_unit_test_setup_teardown(escapes_control_characters, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_json, setup, teardown),
        cmocka_unit_test_setup_teardown(keeps_silent_below_its_level, setup, teardown),
        cmocka_unit_test_setup_teardown(lines_of_threads_do_not_mix, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
