// SPDX-License-Identifier: Apache-2.0
// Everything that is written about the command line, made from the table of commands: --help, the man page, bash
// completion, docs/CLI.md.
#ifndef DEEPLENS_CLI_HELP_H
#define DEEPLENS_CLI_HELP_H

#include <stdio.h>

struct command;

void help_overview(FILE *out);
void help_command(const struct command *command, FILE *out);
void help_man(FILE *out);        // troff, for man 1 deeplens
void help_completion(FILE *out); // a bash script
void help_markdown(FILE *out);   // docs/CLI.md
void help_errors(FILE *out);     // docs/ERRORS.md

#endif
