// SPDX-License-Identifier: Apache-2.0
// deeplens serve's place in the table of commands; what it does is in serve.c.
#include "cli/cli.h"
#include "cli/serve.h"

static int run(struct cli *cli, int argc, char **argv)
{
    int code;
    if (cli_parse(cli, &command_serve, NULL, &argc, argv, 0, 0, &code) < 0)
        return code;
    return cmd_serve(cli->conf, argc, argv);
}

const struct command command_serve = {
    .name = "serve",
    .usage = "[OPTIONS OF THE CONFIGURATION]",
    .summary = "Run the server and its workers",
    .details = "Ends on SIGTERM or SIGINT, when running requests are answered; what was accepted goes on at the next "
               "start.\nA data directory is served by one process.",
    .examples = "deeplens serve\ndeeplens serve --data-dir /var/lib/deeplens --http-listen 127.0.0.1:9000",
    .run = run,
};
