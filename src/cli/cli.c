// SPDX-License-Identifier: Apache-2.0
// What all commands share: options, the connection, how a failure is told.
#include "cli/cli.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/registry.h"
#include "base/js.h"
#include "cli/app.h"
#include "cli/help.h"
#include "cli/nearest.h"

const struct command *const commands[] = {
    &command_serve,       &command_upload,
    &command_search,      &command_status,
    &command_events,      &command_list,
    &command_duplicates,  &command_delete,
    &command_receipt,     &command_ledger,
    &command_topics,      &command_groups,
    &command_lag,         &command_jobs,
    &command_maintenance, &command_dlq,
    &command_webhooks,    &command_alerts,
    &command_messages,    &command_workflows,
    &command_tenants,     &command_models,
    &command_reindex,     &command_doctor,
    &command_help,        NULL,
};

int cli_print_json(const json_t *value)
{
    _cleanup_free_ char *text = js_dumps(value);
    return text && puts(text) != EOF ? EXIT_DONE : EXIT_FAILED;
}

// Whoever read stdout has gone, as `head` does when it has enough.
static bool reader_gone(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO};
    return poll(&out, 1, 0) == 1 && out.revents & POLLERR;
}

int cli_finish(int exit_code)
{
    if ((fflush(stdout) == 0 && !ferror(stdout)) || reader_gone())
        return exit_code;
    fputs("deeplens: The output could not be written\n", stderr);
    return EXIT_FAILED;
}

int cli_fail(const struct cli *cli, const struct error *err)
{
    fprintf(stderr, "deeplens: %s (%s)\n", err->message, error_code_name(err->code));
    if (cli->json) {
        _cleanup_json_ json_t *document =
            json_pack("{s:{s:s, s:s}}", "error", "code", error_code_name(err->code), "message", err->message);
        cli_print_json(document);
    }
    return err->code == ERR_USAGE || err->code == ERR_CONFIG ? EXIT_USAGE : EXIT_FAILED;
}

int cli_misused(const struct cli *cli, const struct command *command, const struct error *err)
{
    cli_fail(cli, err);
    fprintf(stderr, "Try `deeplens help%s%s`.\n", command ? " " : "", command ? command->name : "");
    return EXIT_USAGE;
}

int cli_parse(struct cli *cli, const struct command *command, void *into, int *argc, char **argv, int least, int most,
              int *exit_code)
{
    struct error err;
    for (int i = 1; i < *argc && strcmp(argv[i], "--") != 0; i++) {
        cli->json = cli->json || strcmp(argv[i], "--json") == 0;
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            help_command(command, stdout);
            *exit_code = EXIT_DONE;
            return -1;
        }
    }
    int rc = options_parse(command->options, into, argc, argv, &err);
    if (rc == 0 && *argc - 1 < least)
        rc = error_set(&err, ERR_USAGE, "Something is missing: deeplens %s %s", command->name, command->usage);
    if (rc == 0 && most >= 0 && *argc - 1 > most)
        rc = error_set(&err, ERR_USAGE, "\"%.80s\" is too much: deeplens %s %s", argv[most + 1], command->name,
                       command->usage);
    if (rc < 0)
        *exit_code = cli_misused(cli, command, &err);
    return rc;
}

int cli_run_sub(struct cli *cli, const struct command *command, int argc, char **argv)
{
    const char *names[16] = {NULL};
    struct error err;
    for (int i = 0; command->subs[i] && i < 15; i++)
        names[i] = strrchr(command->subs[i]->name, ' ') + 1;
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        help_command(command, stdout);
        return EXIT_DONE;
    }
    if (argc < 2) {
        error_set(&err, ERR_USAGE, "Something is missing: deeplens %s %s", command->name, command->usage);
        return cli_misused(cli, command, &err);
    }
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], argv[1]) == 0)
            return command->subs[i]->run(cli, argc - 1, argv + 1);
    const char *near = nearest_name(argv[1], names);
    error_set(&err, ERR_USAGE, "There is no command \"%s %.80s\"%s%s%s", command->name, argv[1],
              near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    return cli_misused(cli, command, &err);
}

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

// Nothing answers at the usual address: the data directory is opened here, and served to this process alone.
static int open_here(struct cli *cli, const char *tenant, struct client **out, struct error *err)
{
    char address[256];
    const char *folder = cli->conf->data_dir;
    unsigned flags = APP_NO_WORKERS | APP_MUST_EXIST;
    if (cli->log_alone && registry_log_alone(cli->conf))
        flags = APP_NO_WORKERS | APP_LOG_ALONE;
    else if (!is_folder(folder))
        return error_set(err, ERR_UNAVAILABLE,
                         "No server answers at %s, and there is no data directory %s; start a server with "
                         "`deeplens serve`",
                         cli->conf->server, folder);
    if (app_open(cli->conf, flags, &cli->app, err) < 0)
        return error_prefix(err, "No server answers at %s (--server names another)", cli->conf->server);
    snprintf(address, sizeof address, "http://%s", app_address(cli->app));
    return client_new(address, tenant, out, err);
}

int cli_connect(struct cli *cli, bool offline, const char *tenant, struct client **out, struct error *err)
{
    _cleanup_client_ struct client *client = NULL;
    if (client_new(cli->conf->server, tenant, &client, err) < 0)
        return -1;
    if (client_get(client, "/api/v1/version", NULL, err) < 0) {
        if (!offline || cli->server_given || client_connected(client))
            return -1;
        return open_here(cli, tenant, out, err);
    }
    *out = take_ptr(client);
    return 0;
}

int cli_get(struct cli *cli, const char *tenant, const char *path, json_t **out, struct error *err)
{
    _cleanup_client_ struct client *client = NULL;
    if (cli_connect(cli, true, tenant, &client, err) < 0)
        return -1;
    return client_get(client, path, out, err);
}

int cli_confirm(bool yes, const char *question, struct error *err)
{
    char line[16] = "";
    if (yes)
        return 0;
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return error_set(err, ERR_USAGE, "%s There is nobody to ask: say --yes", question);
    fprintf(stderr, "%s [y/N] ", question);
    if (fgets(line, sizeof line, stdin) && (line[0] == 'y' || line[0] == 'Y'))
        return 0;
    return error_set(err, ERR_CANCELLED, "Nothing was done");
}

void cli_disconnect(struct cli *cli)
{
    if (cli->app)
        app_close(cli->app);
    cli->app = NULL;
}
