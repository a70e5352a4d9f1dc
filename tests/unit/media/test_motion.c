// SPDX-License-Identifier: Apache-2.0
// Videos in still pictures, and what only looks like them.
#include "media/motion.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROOM = 1 << 20 };

struct file {
    uint8_t bytes[ROOM];
    size_t len;
};

static struct file *begin(void)
{
    struct file *f = calloc(1, sizeof *f);
    assert_non_null(f);
    return f;
}

static void put(struct file *f, const void *data, size_t len)
{
    assert_true(f->len + len <= ROOM);
    memcpy(f->bytes + f->len, data, len);
    f->len += len;
}

#define PUT(f, text) put(f, text, sizeof(text) - 1)

static const char video[] = "\0\0\0\x14"
                            "ftypmp42\0\0\0\0mp42\0\0\0\x10"
                            "mdatabcdefgh";

// As exact bytes on the heap, so that a sanitizer sees what is read behind them.
static bool find(const struct file *f, struct motion *out)
{
    uint8_t *exact = malloc(f->len ? f->len : 1);
    assert_non_null(exact);
    memcpy(exact, f->bytes, f->len);
    bool found = motion_find(exact, f->len, out);
    free(exact);
    return found;
}

static void behind_a_jpeg(void **state)
{
    (void)state;
    static const char *const names[] = {"GCamera:MotionPhoto=\"1\"", "GCamera:MicroVideo=\"1\"", "nothing of that"};
    for (size_t i = 0; i < 3; i++) {
        struct motion m = {7, 7};
        struct file *f = begin();
        PUT(f, "\xff\xd8\xff\xe1");
        put(f, names[i], strlen(names[i]));
        PUT(f, "a picture, with ftyp in it\xff\xd9");
        size_t at = f->len;
        put(f, video, sizeof video - 1);
        assert_int_equal(find(f, &m), i < 2);
        assert_int_equal(m.at, i < 2 ? at : 7);
        assert_int_equal(m.len, i < 2 ? sizeof video - 1 : 7);
        free(f);
    }
}

static void named_at_the_end(void **state)
{
    (void)state;
    struct motion m;
    struct file *f = begin();
    PUT(f, "\xff\xd8\xff\xe1");
    f->len += 600000;
    size_t at = f->len;
    put(f, video, sizeof video - 1);
    PUT(f, "MotionPhoto_Data");
    assert_true(find(f, &m));
    assert_int_equal(m.at, at);
    free(f);
}

static void in_a_box_of_a_heic(void **state)
{
    (void)state;
    struct motion m;
    struct file *f = begin();
    PUT(f, "\0\0\0\x14"
           "ftypheic\0\0\0\0heic\0\0\0\x0cmetaabcd");
    uint32_t size = sizeof video - 1 + 8;
    const uint8_t head[] = {0, 0, 0, (uint8_t)size, 'm', 'p', 'v', 'd'};
    put(f, head, sizeof head);
    size_t at = f->len;
    put(f, video, sizeof video - 1);
    PUT(f, "\0\0\0\x0c"
           "freeabcd");
    assert_true(find(f, &m));
    assert_int_equal(m.at, at);
    assert_int_equal(m.len, sizeof video - 1);
    for (size_t len = 0; len < at + sizeof video - 1; len++) { // cut off anywhere
        f->len = len;
        assert_false(find(f, &m));
    }
    free(f);
}

static void boxes_that_lie(void **state)
{
    (void)state;
    struct motion m;
    static const uint8_t sizes[][4] = {{0, 0, 0, 0}, {0, 0, 0, 1}, {0, 0, 0, 8}, {0xff, 0xff, 0xff, 0xff}};
    for (size_t i = 0; i < 4; i++) {
        struct file *f = begin();
        PUT(f, "\0\0\0\x14"
               "ftypheic\0\0\0\0heic");
        put(f, sizes[i], 4);
        PUT(f, "junkabcd");
        assert_false(find(f, &m));
        f->len = 0;
        PUT(f, "\xff\xd8MotionPhoto");
        put(f, sizes[i], 4);
        PUT(f, "ftypmp42");
        assert_false(find(f, &m));
        free(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(behind_a_jpeg), cmocka_unit_test(named_at_the_end),
                                       cmocka_unit_test(in_a_box_of_a_heic), cmocka_unit_test(boxes_that_lie)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
