// SPDX-License-Identifier: Apache-2.0
// The parser of a command's options, and the nearest name.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "cli/nearest.h"
#include "cli/options.h"

struct sample {
    bool flag, on;
    const char *text, *choice;
    int64_t number;
    double real;
};

static const struct option_def defs[] = {
    FLAG_OPTION(struct sample, flag, "flag", ""),
    SWITCH_OPTION(struct sample, on, "resume", ""),
    TEXT_OPTION(struct sample, text, "tags", "A,B", ""),
    CHOICE_OPTION(struct sample, choice, "priority", "high|normal|low", ""),
    INT_OPTION(struct sample, number, "jobs", "N", 1, 64, ""),
    REAL_OPTION(struct sample, real, "min-score", "S", -1, 1, ""),
    END_OPTION,
};

enum { WORDS_MAX = 16 };

// Parses `words` (ends with NULL, without the command's name); the arguments that are left stay in `argv`.
static int parse(const char *const *words, struct sample *into, char *argv[WORDS_MAX], int *argc, struct error *err)
{
    argv[0] = (char *)"command";
    for (*argc = 1; words[*argc - 1]; ++*argc)
        argv[*argc] = (char *)words[*argc - 1];
    argv[*argc] = NULL;
    return options_parse(defs, into, argc, argv, err);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void every_kind_is_read(void **state)
{
    struct sample s = {.on = true};
    char *argv[WORDS_MAX];
    int argc;
    struct error err;
    assert_int_equal(parse(WORDS("a", "--flag", "--tags=x,y", "b", "--priority", "low", "--jobs", "64", "--min-score",
                                 "-0.5", "--no-resume", "-"),
                           &s, argv, &argc, &err),
                     0);
    assert_true(s.flag);
    assert_false(s.on);
    assert_string_equal(s.text, "x,y");
    assert_string_equal(s.choice, "low");
    assert_int_equal(s.number, 64);
    assert_true(s.real == -0.5);
    assert_int_equal(argc, 4);
    assert_string_equal(argv[1], "a");
    assert_string_equal(argv[2], "b");
    assert_string_equal(argv[3], "-");
    assert_null(argv[4]);
}

static void two_dashes_end_the_options(void **state)
{
    struct sample s = {0};
    char *argv[WORDS_MAX];
    int argc;
    struct error err;
    assert_int_equal(parse(WORDS("--flag", "--", "--jobs", "-x"), &s, argv, &argc, &err), 0);
    assert_int_equal(argc, 3);
    assert_string_equal(argv[1], "--jobs");
    assert_string_equal(argv[2], "-x");
}

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *words[4];
        const char *says;
    } cases[] = {
        {{"--tgas", "x"}, "did you mean --tags"},
        {{"--zzzzzz"}, "There is no option --zzzzzz"},
        {{"-q"}, "There is no option -q"},
        {{"--tags"}, "--tags needs a value"},
        {{"--flag=yes"}, "--flag takes no value"},
        {{"--no-flag"}, "There is no option --no-flag"},
        {{"--jobs", "0"}, "from 1 to 64"},
        {{"--jobs", "65"}, "from 1 to 64"},
        {{"--jobs", "4x"}, "from 1 to 64"},
        {{"--jobs", ""}, "from 1 to 64"},
        {{"--jobs", "99999999999999999999"}, "from 1 to 64"},
        {{"--min-score", "nan"}, "from -1 to 1"},
        {{"--min-score", "1.5"}, "from -1 to 1"},
        {{"--priority", "norm"}, "one of high|normal|low"},
        {{"--priority", ""}, "one of high|normal|low"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sample s = {0};
        char *argv[WORDS_MAX];
        int argc;
        struct error err = {0};
        assert_int_equal(parse(cases[i].words, &s, argv, &argc, &err), -1);
        assert_int_equal(err.code, ERR_USAGE);
        if (!strstr(err.message, cases[i].says))
            fail_msg("\"%s\" does not say \"%s\"", err.message, cases[i].says);
    }
}

static void the_nearest_name_is_near(void **state)
{
    static const char *const names[] = {"upload", "search", "status", "list", "delete", "ledger", NULL};
    assert_string_equal(nearest_name("uplod", names), "upload");
    assert_string_equal(nearest_name("serach", names), "search");
    assert_string_equal(nearest_name("stat", names), "status");
    assert_string_equal(nearest_name("lst", names), "list");
    assert_null(nearest_name("frobnicate", names));
    assert_null(nearest_name("", names));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_is_read),
        cmocka_unit_test(two_dashes_end_the_options),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(the_nearest_name_is_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
