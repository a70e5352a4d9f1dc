// SPDX-License-Identifier: Apache-2.0
// What `models use` and `reindex` share: showing rebuilds, and waiting for one.
#ifndef DEEPLENS_CLI_REBUILDS_H
#define DEEPLENS_CLI_REBUILDS_H

#include "cli/cli.h"

// Prints the rebuilds as a table, or as JSON with cli->json. Returns the exit code.
int rebuilds_print(const struct cli *cli, const json_t *rebuilds);
// Asks the server and prints: those of a tenant and everybody, or all (NULL). Returns the exit code.
int rebuilds_status(struct cli *cli, const char *tenant);
int rebuilds_cancel(struct cli *cli, const char *tenant); // the same, after cancelling
// Waits until the rebuild of the scope is over, with progress on a terminal. Returns the exit code: EXIT_FAILED when it
// is blocked or was cancelled.
int rebuilds_wait(struct cli *cli, struct client *client, const char *tenant);

#endif
