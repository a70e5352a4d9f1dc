// SPDX-License-Identifier: Apache-2.0
// What help.c and help_pages.c share.
#ifndef DEEPLENS_CLI_HELP_INT_H
#define DEEPLENS_CLI_HELP_INT_H

struct command;
struct option_def;

enum { HELP_OPTION = 96 };

void help_option_name(const struct option_def *option, char out[HELP_OPTION]); // "--tags A,B"

// Visits every command, each followed by its sub-commands.
void help_each(void (*visit)(const struct command *command, void *arg), void *arg);

#endif
