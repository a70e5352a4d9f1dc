// SPDX-License-Identifier: Apache-2.0
// The journal of uploads: what is remembered, by whom, and what a torn file does.
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/journal.h"
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

static struct journal *open_journal(const char *folder)
{
    struct journal *j = NULL;
    struct error err;
    if (journal_open(folder, "http://here", NULL, "/photos", &j, &err) < 0)
        fail_msg("%s", err.message);
    return j;
}

static void what_was_added_is_found_next_time(void **state)
{
    struct error err;
    struct journal *j = open_journal(*state);
    assert_null(journal_find(j, "a b/ä%\n.jpg", 10, 123));
    assert_int_equal(journal_add(j, "a b/ä%\n.jpg", 10, 123, "img_1", &err), 0);
    assert_int_equal(journal_add(j, "c.jpg", 0, -5, "img_2", &err), 0);
    journal_close(j);
    j = open_journal(*state);
    assert_string_equal(journal_find(j, "a b/ä%\n.jpg", 10, 123), "img_1");
    assert_string_equal(journal_find(j, "c.jpg", 0, -5), "img_2");
    assert_null(journal_find(j, "a b/ä%\n.jpg", 11, 123)); // it has grown
    assert_null(journal_find(j, "a b/ä%\n.jpg", 10, 124)); // it was touched
    assert_null(journal_find(j, "d.jpg", 10, 123));
    journal_close(j);
}

static void a_later_line_wins(void **state)
{
    struct error err;
    struct journal *j = open_journal(*state);
    assert_int_equal(journal_add(j, "a.jpg", 10, 1, "img_1", &err), 0);
    assert_int_equal(journal_add(j, "a.jpg", 20, 2, "img_2", &err), 0);
    journal_close(j);
    j = open_journal(*state);
    assert_null(journal_find(j, "a.jpg", 10, 1));
    assert_string_equal(journal_find(j, "a.jpg", 20, 2), "img_2");
    journal_close(j);
}

static void many_are_kept(void **state)
{
    struct error err;
    char name[32], id[32];
    struct journal *j = open_journal(*state);
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "%d.jpg", i);
        snprintf(id, sizeof id, "img_%d", i);
        assert_int_equal(journal_add(j, name, (uint64_t)i, i, id, &err), 0);
    }
    journal_close(j);
    j = open_journal(*state);
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "%d.jpg", i);
        snprintf(id, sizeof id, "img_%d", i);
        assert_string_equal(journal_find(j, name, (uint64_t)i, i), id);
    }
    journal_close(j);
}

static void server_tenant_and_folder_keep_apart(void **state)
{
    struct error err;
    struct journal *j = open_journal(*state);
    assert_int_equal(journal_add(j, "a.jpg", 1, 1, "img_1", &err), 0);
    journal_close(j);
    static const char *const others[][3] = {
        {"http://there", NULL, "/photos"}, {"http://here", "shop", "/photos"}, {"http://here", NULL, "/photos/b"}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(journal_open(*state, others[i][0], others[i][1], others[i][2], &j, &err), 0);
        assert_null(journal_find(j, "a.jpg", 1, 1));
        journal_close(j);
    }
}

static void append_raw(const char *folder, const char *bytes, size_t len)
{
    char path[PATH_MAX + 300] = "";
    DIR *dir = opendir(folder);
    for (struct dirent *e; (e = readdir(dir));)
        if (e->d_name[0] != '.')
            snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
    closedir(dir);
    FILE *file = fopen(path, "ae");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static void a_torn_line_is_passed_over_and_closed(void **state)
{
    struct error err;
    struct journal *j = open_journal(*state);
    assert_int_equal(journal_add(j, "a.jpg", 1, 1, "img_1", &err), 0);
    journal_close(j);
    append_raw(*state, "img_2 1 1 b", 11);
    j = open_journal(*state);
    assert_string_equal(journal_find(j, "a.jpg", 1, 1), "img_1");
    assert_null(journal_find(j, "b", 1, 1));
    assert_int_equal(journal_add(j, "c.jpg", 3, 3, "img_3", &err), 0);
    journal_close(j);
    j = open_journal(*state);
    assert_string_equal(journal_find(j, "c.jpg", 3, 3), "img_3");
    journal_close(j);
}

static void nonsense_is_passed_over(void **state)
{
    static const char nonsense[] = "\n\0\0\n1 2 3 4 5\nimg_9 x y z\n\xff\xfe\nimg_5 5 5 e.jpg\n";
    struct journal *j = open_journal(*state);
    journal_close(j);
    append_raw(*state, nonsense, sizeof nonsense - 1);
    j = open_journal(*state);
    assert_string_equal(journal_find(j, "e.jpg", 5, 5), "img_5");
    assert_null(journal_find(j, "z", 0, 0));
    journal_close(j);
}

static void the_folder_follows_the_environment(void **state)
{
    char path[PATH_MAX];
    struct error err;
    setenv("XDG_STATE_HOME", "/state", 1);
    assert_int_equal(journal_folder(path, sizeof path, &err), 0);
    assert_string_equal(path, "/state/deeplens/uploads");
    setenv("XDG_STATE_HOME", "relative", 1); // the specification says: to be ignored
    setenv("HOME", "/home/me", 1);
    assert_int_equal(journal_folder(path, sizeof path, &err), 0);
    assert_string_equal(path, "/home/me/.local/state/deeplens/uploads");
    unsetenv("XDG_STATE_HOME");
    unsetenv("HOME");
    assert_int_equal(journal_folder(path, sizeof path, &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_added_is_found_next_time, setup, teardown),
        cmocka_unit_test_setup_teardown(a_later_line_wins, setup, teardown),
        cmocka_unit_test_setup_teardown(many_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(server_tenant_and_folder_keep_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(a_torn_line_is_passed_over_and_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(nonsense_is_passed_over, setup, teardown),
        cmocka_unit_test(the_folder_follows_the_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
