// SPDX-License-Identifier: Apache-2.0
// deeplens help [COMMAND [SUB]]; its hidden flags write the pages that are made from tables.
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/help.h"
#include "obs/metrics.h"

static const struct {
    const char *flag;
    void (*print)(FILE *out);
} pages[] = {
    {"--man", help_man},
    {"--completion", help_completion},
    {"--markdown", help_markdown},
    {"--configuration", conf_print_markdown},
    {"--metrics", metrics_markdown},
    {"--errors", help_errors},
};

static const struct command *find(const struct command *const *list, const char *name)
{
    for (; list && *list; list++) {
        const char *space = strrchr((*list)->name, ' ');
        if (strcmp(space ? space + 1 : (*list)->name, name) == 0)
            return *list;
    }
    return NULL;
}

static int run(struct cli *cli, int argc, char **argv)
{
    if (argc < 2) {
        help_overview(stdout);
        return EXIT_DONE;
    }
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++)
        if (strcmp(argv[1], pages[i].flag) == 0) {
            pages[i].print(stdout);
            return EXIT_DONE;
        }
    const struct command *command = find(commands, argv[1]);
    for (int i = 2; i < argc && command; i++)
        command = find(command->subs, argv[i]);
    if (!command) {
        struct error err;
        error_set(&err, ERR_USAGE, "There is no command \"%.80s\" to tell about", argv[argc - 1]);
        return cli_misused(cli, NULL, &err);
    }
    help_command(command, stdout);
    return EXIT_DONE;
}

const struct command command_help = {
    .name = "help",
    .usage = "[COMMAND]",
    .summary = "Tell about a command",
    .examples = "deeplens help\ndeeplens help topics peek",
    .run = run,
};
