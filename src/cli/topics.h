// SPDX-License-Identifier: Apache-2.0
// The sub-commands of `deeplens topics` that have a file of their own (cmd_records.c).
#ifndef DEEPLENS_CLI_TOPICS_H
#define DEEPLENS_CLI_TOPICS_H

#include "cli/cli.h"

extern const struct command topics_peek, topics_produce;

#endif
