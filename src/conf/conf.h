// SPDX-License-Identifier: Apache-2.0
// The configuration: one struct made from options.def. Later sources win: defaults, the configuration file
// (--config FILE, DEEPLENS_CONFIG, else /etc/deeplens.conf when there), DEEPLENS_* variables, flags.
#ifndef DEEPLENS_CONF_CONF_H
#define DEEPLENS_CONF_CONF_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

struct conf {
#define SECTION(title)
#define PREFIX(field, name, text) char *field; // lines "name=value"
#define STRING(field, name, def, text) char *field;
#define CHOICE(field, name, def, choices, text) char *field;
#define BOOL(field, name, def, text) bool field;
#define INT(field, name, def, least, most, text) int64_t field;
#define SIZE(field, name, def, least, most, text) int64_t field;
#define TIME(field, name, def, least, most, text) int64_t field;
#include "conf/options.def"
#undef SECTION
#undef PREFIX
#undef STRING
#undef CHOICE
#undef BOOL
#undef INT
#undef SIZE
#undef TIME
};

void conf_init(struct conf *c); // defaults; data_dir resolved
void conf_free(struct conf *c);

// Sets one option by its name ("http.listen"). ERR_CONFIG names the option, the value and what is allowed.
int conf_set(struct conf *c, const char *name, const char *value, struct error *err);

// Reads file, variables and flags. Takes the flags it knows ("--http-listen X", "--http-listen=X",
// "--tenants-auto-create",
// "--no-…" for booleans, "--config F") out of argv, keeping the order of the rest, and stops at "--". Unknown flags
// stay for the command. ERR_USAGE when a value is missing; ERR_CONFIG for a wrong value or an unknown name in the file
// or in DEEPLENS_*, with the nearest known name. DEEPLENS_CONFIG and DEEPLENS_TEST_* are not options.
int conf_load(struct conf *c, int *argc, char **argv, struct error *err);

// True when `name` is an option; fills its flag's need for a value. For commands that parse the rest.
bool conf_is_option(const char *flag, bool *takes_value);

void conf_print_help(FILE *out);                            // the options, by section, for --help
void conf_print_markdown(FILE *out);                        // docs/CONFIGURATION.md
void conf_print_effective(const struct conf *c, FILE *out); // as a configuration file; for `doctor`
void conf_print_flags(FILE *out);                           // one --flag a line, for shell completion

#endif
