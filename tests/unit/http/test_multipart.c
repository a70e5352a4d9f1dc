// SPDX-License-Identifier: Apache-2.0
// The form parser: what browsers and curl send, cut at every place, and what nobody should send.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "http/multipart.h"

struct heard {
    struct buf out;
    uint64_t next;
};

static int piece(void *arg, const char *field, const char *file_name, const char *content_type, const char *data,
                 uint64_t offset, size_t len, struct error *err)
{
    struct heard *h = arg;
    if (offset == 0) {
        buf_printf(&h->out, "[%s|%s|%s]", field, file_name ? file_name : "-", content_type ? content_type : "-");
        h->next = 0;
    }
    assert_int_equal(offset, h->next);
    h->next += len;
    buf_append(&h->out, data, len);
    return strcmp(field, "refuse") == 0 ? error_set(err, ERR_UNSUPPORTED_MEDIA, "No") : 0;
}

// Feeds `body` in steps of `step` bytes; returns the error's code (ERR_NONE: all was well), `h` has what was heard.
static enum error_code parse(const char *type, const char *body, size_t len, size_t step, struct heard *h)
{
    struct error err = {0};
    struct multipart *mp;
    *h = (struct heard){.out = BUF_INIT(1 << 20)};
    if (multipart_new(type, piece, h, &mp, &err) != 0)
        return err.code;
    int rc = 0;
    for (size_t at = 0; at < len && rc == 0; at += step)
        rc = multipart_feed(mp, body + at, at + step < len ? step : len - at, &err);
    if (rc == 0)
        rc = multipart_end(mp, &err);
    multipart_free(mp);
    return rc == 0 ? ERR_NONE : err.code;
}

#define TYPE "multipart/form-data; boundary=XYZ"
#define NAMED(name) "--XYZ\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n"
#define END "\r\n--XYZ--\r\n"

static void test_forms_cut_anywhere(void **state)
{
    static const struct {
        const char *type, *body, *heard;
    } cases[] = {
        {TYPE, NAMED("a") "1" END, "[a|-|-]1"},
        {TYPE, NAMED("a") "1\r\n" NAMED("b") "2" END, "[a|-|-]1[b|-|-]2"},
        {TYPE, NAMED("a") END, "[a|-|-]"},
        {TYPE, NAMED("a") "\r\n" NAMED("b") END, "[a|-|-][b|-|-]"},
        {TYPE, "--XYZ--", ""},
        {TYPE, "a preamble\r\n" NAMED("a") "1\r\n--XYZ--an epilogue\r\n--XYZ\r\n", "[a|-|-]1"},
        {TYPE, NAMED("a") "\r\n--XY\r\n--\r\r\n\r\n--XYz\n--XYZ" END, "[a|-|-]\r\n--XY\r\n--\r\r\n\r\n--XYz\n--XYZ"},
        {TYPE, "--XYZ \t\r\nContent-Disposition: form-data; name=a\r\n\r\n1" END, "[a|-|-]1"},
        {TYPE,
         "--XYZ\r\ncontent-TYPE: image/png\r\nX-Other: 1\r\nCONTENT-disposition:form-data;filename=\"x.png\" ; "
         "name=\"f\"\r\n\r\nP" END,
         "[f|x.png|image/png]P"},
        {TYPE, "--XYZ\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\\\"b%22c\\\\d\\e;f\"\r\n\r\n1" END,
         "[f|a\"b\"c\\d\\e;f|-]1"},
        {TYPE, "--XYZ\r\nContent-Disposition: form-data; name=\"f\"; filename=\"\"\r\n\r\n1" END, "[f||-]1"},
        {TYPE, "--XYZ\r\nContent-Disposition: form-data; name=\"f\"; filename=\"../\xff\xc3\xa4\"\r\n\r\n1" END,
         "[f|../\xef\xbf\xbd\xc3\xa4|-]1"},
        {TYPE, "--XYZ\r\nContent-Disposition: form-data; name=f\r\nContent-Transfer-Encoding: binary\r\n\r\n1" END,
         "[f|-|-]1"},
        {"multipart/form-data; charset=utf-8; boundary=\"X Y:Z\"; x=y",
         "--X Y:Z\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--X Y:Z--", "[a|-|-]1"},
        {"Multipart/Form-Data; BOUNDARY=-", "---\r\nContent-Disposition: form-data; name=a\r\n\r\n--\r\n--\r\n-----",
         "[a|-|-]--\r\n--"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t len = strlen(cases[i].body);
        for (size_t step = 1; step <= len; step++) {
            struct heard h;
            assert_int_equal(parse(cases[i].type, cases[i].body, len, step, &h), ERR_NONE);
            assert_string_equal(h.out.data ? h.out.data : "", cases[i].heard);
            buf_free(&h.out);
        }
    }
}

static void test_bad_forms(void **state)
{
    static const struct {
        const char *body;
        enum error_code code;
    } cases[] = {
        {"", ERR_BODY_INCOMPLETE},
        {"nothing of the kind", ERR_BODY_INCOMPLETE},
        {NAMED("a") "1", ERR_BODY_INCOMPLETE},
        {NAMED("a") "1\r\n--XYZ", ERR_BODY_INCOMPLETE},
        {NAMED("a") "1\r\n--XYZ-", ERR_BODY_INCOMPLETE},
        {NAMED("a") "1\r\n--XYZ\r\n", ERR_BODY_INCOMPLETE},
        {"--XYZ\r\nContent-Disp", ERR_BODY_INCOMPLETE},
        {NAMED("a") "1\r\n--XYZ-\r\n", ERR_INVALID},
        {NAMED("a") "1\r\n--XYZmore\r\n", ERR_INVALID},
        {"--XYZ\r\n\r\n1" END, ERR_INVALID},
        {"--XYZ\r\nContent-Disposition: form-data\r\n\r\n1" END, ERR_INVALID},
        {NAMED("") "1" END, ERR_INVALID},
        {"--XYZ\r\nContent-Disposition: form-data; filename=a\r\nContent-Disposition: form-data; "
         "filename=b\r\n\r\n1" END,
         ERR_INVALID},
        {"--XYZ\r\nContent-Disposition: attachment; name=a\r\n\r\n1" END, ERR_INVALID},
        {"--XYZ\r\nContent-Disposition: form-data; name=\"a\r\n\r\n1" END, ERR_INVALID},
        {"--XYZ\r\nContent-Disposition: form-data; name=\"a\"b\r\n\r\n1" END, ERR_INVALID},
        {"--XYZ\r\nContent-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b\r\n\r\n1" END,
         ERR_INVALID},
        {"--XYZ\r\nContent-Disposition: form-data;\r\n name=a\r\n\r\n1" END, ERR_INVALID},
        {"--XYZ\r\nno colon\r\n\r\n1" END, ERR_INVALID},
        {"--XYZ\r\n: no name\r\n\r\n1" END, ERR_INVALID},
        {"--XYZ\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Disposition: form-data; name=a\r\n\r\n1" END,
         ERR_INVALID},
        {"--XYZ\r\nContent-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64\r\n\r\n1" END,
         ERR_INVALID},
        {NAMED("refuse") "1" END, ERR_UNSUPPORTED_MEDIA},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t len = strlen(cases[i].body);
        for (size_t step = 1; step <= len + 1; step++) {
            struct heard h;
            assert_int_equal(parse(TYPE, cases[i].body, len, step, &h), cases[i].code);
            buf_free(&h.out);
        }
    }
}

static void test_nul_in_headers(void **state)
{
    static const char body[] = "--XYZ\r\nContent-Disposition: form-data; name=\"a\0b\"\r\n\r\n1" END;
    struct heard h;
    assert_int_equal(parse(TYPE, body, sizeof body - 1, 5, &h), ERR_INVALID);
    buf_free(&h.out);
}

static void test_boundaries(void **state)
{
    static const char *const bad[] = {
        "multipart/form-data",
        "multipart/form-data; boundary",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=\"open",
        "multipart/form-data; boundary=12345678901234567890123456789012345678901234567890123456789012345678901",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct heard h;
        assert_int_equal(parse(bad[i], "", 0, 1, &h), ERR_INVALID);
    }
    assert_true(multipart_is_form("Multipart/Form-DATA ; boundary=x"));
    assert_false(multipart_is_form("multipart/form-data-x; boundary=x"));
    assert_false(multipart_is_form("image/png"));
}

static void test_limits(void **state)
{
    struct buf body = BUF_INIT(1 << 20);
    struct heard h;
    for (int i = 0; i < MULTIPART_MAX_PARTS; i++)
        buf_puts(&body, NAMED("a") "1\r\n");
    size_t most = body.len;
    buf_puts(&body, "--XYZ--");
    assert_int_equal(parse(TYPE, body.data, body.len, 999, &h), ERR_NONE);
    buf_free(&h.out);
    body.len = most;
    buf_puts(&body, NAMED("a") "1" END);
    assert_int_equal(parse(TYPE, body.data, body.len, 999, &h), ERR_INVALID);
    buf_free(&h.out);
    buf_clear(&body);
    buf_puts(&body, "--XYZ\r\nX: ");
    for (int i = 0; i < MULTIPART_MAX_HEADERS; i++)
        buf_puts(&body, "x");
    assert_int_equal(parse(TYPE, body.data, body.len, 100, &h), ERR_INVALID);
    buf_free(&h.out);
    buf_free(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms_cut_anywhere),
        cmocka_unit_test(test_bad_forms),
        cmocka_unit_test(test_nul_in_headers),
        cmocka_unit_test(test_boundaries),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
