// SPDX-License-Identifier: Apache-2.0
// The command line: one file a command, each with ONE table entry (struct command) from which the parser, --help,
// the man page, bash completion and docs/CLI.md are made.
//
// Exit codes: 0 done, 1 failed, 2 the command was not understood. Results go to stdout, everything else to stderr.
#ifndef DEEPLENS_CLI_CLI_H
#define DEEPLENS_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "cli/client.h"
#include "cli/options.h"
#include "conf/conf.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

struct app;

struct cli {
    const struct conf *conf;
    bool server_given; // --server, DEEPLENS_SERVER or the configuration file name a server
    bool json;         // --json was given: failures are printed as JSON, too
    bool log_alone;    // the command needs nothing but the event log, where that can be opened alone
    struct app *app;   // the data directory, opened because no server answers; NULL otherwise
};

struct command {
    const char *name;
    const char *usage;    // what follows the name: "ID..."
    const char *summary;  // one line
    const char *details;  // paragraphs, each one line; NULL: none
    const char *examples; // lines, each a command with or without a comment
    const struct option_def *options;
    const struct command *const *subs;                  // "topics list": ends with NULL; NULL: none
    int (*run)(struct cli *cli, int argc, char **argv); // argv[0] is the command's name; returns the exit code
};

extern const struct command command_duplicates, command_serve, command_upload, command_search, command_status,
    command_list, command_delete, command_events, command_webhooks, command_alerts, command_receipt, command_ledger,
    command_topics, command_groups, command_lag, command_jobs, command_maintenance, command_dlq, command_tenants,
    command_models, command_workflows, command_messages, command_reindex, command_doctor, command_help;
extern const struct command *const commands[]; // ends with NULL

// Runs the sub-command that argv[1] names.
int cli_run_sub(struct cli *cli, const struct command *command, int argc, char **argv);

// Parses a command's options into `into`, and checks that `least` to `most` arguments are left. Sets cli->json.
// What remains in argv, behind argv[0], are the arguments. 0, or -1 with what to return in `*exit_code` (--help was
// asked for, or the command was not understood; both are answered already).
int cli_parse(struct cli *cli, const struct command *command, void *into, int *argc, char **argv, int least, int most,
              int *exit_code);

// A client for the server that the configuration names. With `offline`, when no server was named and none answers,
// the data directory is opened in this process and the client talks to that.
int cli_connect(struct cli *cli, bool offline, const char *tenant, struct client **out, struct error *err);
void cli_disconnect(struct cli *cli); // closes the data directory when it was opened

// cli_connect (offline allowed) and one GET.
int cli_get(struct cli *cli, const char *tenant, const char *path, json_t **out, struct error *err);

// Before something is destroyed: asks `question` when a person is there to answer, unless `yes`. ERR_CANCELLED when the
// answer is not yes; ERR_USAGE (exit code 2) when there is nobody to ask.
int cli_confirm(bool yes, const char *question, struct error *err);

int cli_fail(const struct cli *cli, const struct error *err); // prints it; returns EXIT_FAILED, or EXIT_USAGE
int cli_misused(const struct cli *cli, const struct command *command, const struct error *err); // and says how to ask
int cli_print_json(const json_t *value); // one line on stdout; returns EXIT_DONE, or EXIT_FAILED when writing fails
int cli_finish(int exit_code);           // flushes stdout; EXIT_FAILED when that fails

#endif
