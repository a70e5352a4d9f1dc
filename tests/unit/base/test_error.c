// SPDX-License-Identifier: Apache-2.0
// Error values: what the table says, messages that fit, and what system calls give.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"

static void takes_its_nature_from_the_table(void **state)
{
    struct error err;
    assert_int_equal(error_set(&err, ERR_NOT_FOUND, "no %s number %d", "thing", 7), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_string_equal(err.message, "no thing number 7");
    assert_false(err.retryable || err.outage || err.fatal);
    error_set(&err, ERR_UNAVAILABLE, "down");
    assert_true(err.retryable && err.outage);
    error_set(&err, ERR_IO, "broken");
    assert_true(err.retryable && !err.outage);
    assert_int_equal(error_set(NULL, ERR_IO, "nobody asks"), -1);
}

static void cuts_long_messages(void **state)
{
    struct error err;
    error_set(&err, ERR_IO, "%1000d", 1);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    error_prefix(&err, "%1000d", 2);
    assert_true(strlen(err.message) < sizeof err.message);
    error_errno(&err, ERR_IO, EIO, "%1000d", 3);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
}

static void tells_what_the_system_said(void **state)
{
    struct error err;
    assert_int_equal(error_errno(&err, ERR_IO, ENOENT, "cannot open %s", "x"), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_string_equal(err.message, "cannot open x: No such file or directory");
    error_errno(&err, ERR_IO, ENOSPC, "cannot write");
    assert_int_equal(err.code, ERR_DISK_FULL);
    error_errno(&err, ERR_INTERNAL, EDQUOT, "cannot write");
    assert_int_equal(err.code, ERR_DISK_FULL);
    assert_int_equal(error_errno(NULL, ERR_IO, EIO, "nobody asks"), -1);
}

static void puts_context_in_front(void **state)
{
    struct error err;
    error_set(&err, ERR_CONFLICT, "wrong");
    assert_int_equal(error_prefix(&err, "line %d", 3), -1);
    assert_int_equal(error_prefix(&err, "%s", "file"), -1);
    assert_string_equal(err.message, "file: line 3: wrong");
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_int_equal(error_prefix(NULL, "x"), -1);
}

static void copies(void **state)
{
    struct error from, to = {0};
    error_set(&from, ERR_TIMEOUT, "slow");
    assert_int_equal(error_copy(&to, &from), -1);
    assert_int_equal(to.code, ERR_TIMEOUT);
    assert_string_equal(to.message, "slow");
    assert_int_equal(error_copy(NULL, &from), -1);
    assert_int_equal(error_copy(&to, &to), -1);
    assert_string_equal(to.message, "slow");
}

static void each_code_has_a_name_of_its_own(void **state)
{
    for (int code = ERR_NONE + 1; code < ERR_COUNT; code++) {
        const char *name = error_code_name((enum error_code)code);
        assert_int_equal(error_code_parse(name), code);
        assert_true(strlen(error_code_title((enum error_code)code)) > 0);
        assert_in_range(error_http_status((enum error_code)code), 400, 599);
    }
    assert_string_equal(error_code_name(ERR_NOT_FOUND), "NOT_FOUND");
    assert_string_equal(error_code_name(ERR_NONE), "NONE");
    assert_int_equal(error_http_status(ERR_BODY_TOO_LARGE), 413);
    assert_true(error_code_retryable(ERR_IO));
    assert_false(error_code_retryable(ERR_INVALID));
    assert_int_equal(error_code_parse("NO_SUCH_CODE"), ERR_NONE);
    assert_int_equal(error_code_parse(NULL), ERR_NONE);
    assert_int_equal(error_http_status((enum error_code)9999), 500);
    assert_string_equal(error_code_name((enum error_code)9999), "INTERNAL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_its_nature_from_the_table),
        cmocka_unit_test(cuts_long_messages),
        cmocka_unit_test(tells_what_the_system_said),
        cmocka_unit_test(puts_context_in_front),
        cmocka_unit_test(copies),
        cmocka_unit_test(each_code_has_a_name_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
