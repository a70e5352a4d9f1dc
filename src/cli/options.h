// SPDX-License-Identifier: Apache-2.0
// A command's own options: a table that is the parser, the help and the completion at once. (Options of the
// configuration are taken out of argv before, by conf_load.)
#ifndef DEEPLENS_CLI_OPTIONS_H
#define DEEPLENS_CLI_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum option_kind {
    OPTION_NONE,   // ends a table
    OPTION_FLAG,   // bool: --name
    OPTION_SWITCH, // bool: --name and --no-name
    OPTION_TEXT,   // const char *, borrowed from argv
    OPTION_CHOICE, // the same, one of `choices`
    OPTION_INT,    // int64_t within least … most
    OPTION_REAL,   // double within least … most
};

struct option_def {
    enum option_kind kind;
    const char *name; // without "--"
    const char *arg;  // what it is called in help; for OPTION_CHOICE "a|b|c"
    size_t offset;    // of the field in the command's struct
    int64_t least, most;
    const char *text; // one line
};

#define FLAG_OPTION(type, field, name, text)                                                                           \
    {                                                                                                                  \
        OPTION_FLAG, name, NULL, offsetof(type, field), 0, 0, text                                                     \
    }
#define SWITCH_OPTION(type, field, name, text)                                                                         \
    {                                                                                                                  \
        OPTION_SWITCH, name, NULL, offsetof(type, field), 0, 0, text                                                   \
    }
#define TEXT_OPTION(type, field, name, arg, text)                                                                      \
    {                                                                                                                  \
        OPTION_TEXT, name, arg, offsetof(type, field), 0, 0, text                                                      \
    }
#define CHOICE_OPTION(type, field, name, arg, text)                                                                    \
    {                                                                                                                  \
        OPTION_CHOICE, name, arg, offsetof(type, field), 0, 0, text                                                    \
    }
#define INT_OPTION(type, field, name, arg, least, most, text)                                                          \
    {                                                                                                                  \
        OPTION_INT, name, arg, offsetof(type, field), least, most, text                                                \
    }
#define REAL_OPTION(type, field, name, arg, least, most, text)                                                         \
    {                                                                                                                  \
        OPTION_REAL, name, arg, offsetof(type, field), least, most, text                                               \
    }
#define END_OPTION                                                                                                     \
    {                                                                                                                  \
        .kind = OPTION_NONE                                                                                            \
    }

// Takes the options out of argv (argv[0] stays); everything behind "--" is an argument. ERR_USAGE says what is wrong
// and names the nearest option. `defs` may be NULL.
int options_parse(const struct option_def *defs, void *into, int *argc, char **argv, struct error *err);

#endif
