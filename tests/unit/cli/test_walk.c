// SPDX-License-Identifier: Apache-2.0
// What an upload finds in files and folders.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/walk.h"
#include "scratch.h"

static int setup(void **state)
{
    static char folder[PATH_MAX];
    scratch_make(folder);
    *state = folder;
    return 0;
}

static int teardown(void **state)
{
    scratch_remove(*state);
    return 0;
}

static void names_of_images(void **state)
{
    assert_true(walk_is_media_name("a.jpg"));
    assert_true(walk_is_media_name("a.JPEG"));
    assert_true(walk_is_media_name("a.b.WebP"));
    assert_true(walk_is_media_name("a.heic"));
    assert_true(walk_is_media_name("a.MP4"));
    assert_true(walk_is_media_name("a.mkv"));
    assert_false(walk_is_media_name("a.txt"));
    assert_false(walk_is_media_name("jpg"));
    assert_false(walk_is_media_name("a.jpg.zip"));
    assert_false(walk_is_media_name("a."));
}

static void folders_are_walked_in_order(void **state)
{
    const char *folder = *state;
    struct walk w = {0};
    struct error err;
    char path[PATH_MAX];
    scratch_write(folder, "b.jpg", "12345");
    scratch_write(folder, "a.png", "123");
    scratch_write(folder, "sub/c.gif", "1");
    scratch_write(folder, "notes.txt", "text");
    scratch_write(folder, ".hidden.jpg", "1");
    scratch_write(folder, ".git/d.jpg", "1");
    assert_int_equal(walk_add(&w, folder, &err), 0);
    assert_int_equal(w.count, 3);
    assert_int_equal(w.bytes, 9);
    assert_int_equal(w.hidden, 2);
    assert_int_equal(w.no_image, 1);
    assert_string_equal(w.files[0].inside, "a.png");
    assert_string_equal(w.files[1].inside, "b.jpg");
    assert_string_equal(w.files[2].inside, "sub/c.gif");
    snprintf(path, sizeof path, "%s/sub/c.gif", folder);
    assert_string_equal(w.files[2].path, path);
    assert_string_equal(w.files[2].root, folder);
    assert_int_equal(w.files[1].size, 5);
    walk_free(&w);
}

static void a_slash_behind_a_folder_changes_nothing(void **state)
{
    struct walk w = {0};
    struct error err;
    char path[PATH_MAX + 4];
    scratch_write(*state, "a.jpg", "1");
    snprintf(path, sizeof path, "%s//", (char *)*state);
    assert_int_equal(walk_add(&w, path, &err), 0);
    assert_int_equal(w.count, 1);
    assert_string_equal(w.files[0].inside, "a.jpg");
    assert_string_equal(w.files[0].root, *state);
    walk_free(&w);
}

static void named_files_are_taken_as_they_are(void **state)
{
    struct walk w = {0};
    struct error err;
    assert_int_equal(walk_add(&w, scratch_write(*state, ".odd.txt", "12"), &err), 0);
    assert_int_equal(w.count, 1);
    assert_int_equal(w.hidden, 0);
    assert_string_equal(w.files[0].inside, ".odd.txt");
    assert_string_equal(w.files[0].root, *state);
    assert_null(w.files[0].problem);
    walk_free(&w);
}

static void links_to_files_are_followed_and_to_folders_not(void **state)
{
    struct walk w = {0};
    struct error err;
    char link[PATH_MAX + 16];
    scratch_write(*state, "sub/a.jpg", "123456");
    snprintf(link, sizeof link, "%s/link.jpg", (char *)*state);
    assert_int_equal(symlink("sub/a.jpg", link), 0);
    snprintf(link, sizeof link, "%s/folder.jpg", (char *)*state);
    assert_int_equal(symlink("sub", link), 0);
    snprintf(link, sizeof link, "%s/sub/loop.jpg", (char *)*state);
    assert_int_equal(symlink("..", link), 0);
    assert_int_equal(walk_add(&w, *state, &err), 0);
    assert_int_equal(w.count, 2);
    assert_string_equal(w.files[0].inside, "link.jpg");
    assert_int_equal(w.files[0].size, 6);
    assert_string_equal(w.files[1].inside, "sub/a.jpg");
    walk_free(&w);
}

static void what_is_missing_is_a_problem(void **state)
{
    struct walk w = {0};
    struct error err;
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/none.jpg", (char *)*state);
    assert_int_equal(walk_add(&w, path, &err), 0);
    assert_int_equal(symlink("nowhere", path), 0);
    assert_int_equal(walk_add(&w, *state, &err), 0);
    assert_int_equal(w.count, 2);
    assert_non_null(strstr(w.files[0].problem, "No such file"));
    assert_non_null(strstr(w.files[1].problem, "No such file"));
    walk_free(&w);
}

static void what_is_no_file_is_passed_over(void **state)
{
    struct walk w = {0};
    struct error err;
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/pipe.jpg", (char *)*state);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(walk_add(&w, *state, &err), 0);
    assert_int_equal(w.count, 0);
    assert_int_equal(w.no_image, 1);
    walk_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_images),
        cmocka_unit_test_setup_teardown(folders_are_walked_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(a_slash_behind_a_folder_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(named_files_are_taken_as_they_are, setup, teardown),
        cmocka_unit_test_setup_teardown(links_to_files_are_followed_and_to_folders_not, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_missing_is_a_problem, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_file_is_passed_over, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
