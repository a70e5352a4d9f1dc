// SPDX-License-Identifier: Apache-2.0
// The program: reads the configuration and runs the command that is named.
#include <curl/curl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/app.h"
#include "cli/cli.h"
#include "cli/help.h"
#include "cli/nearest.h"

#define DEFAULT_SERVER "http://127.0.0.1:8080"

// Did anyone name a server? Looked at before conf_load takes the flags away.
static bool names_server(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--server") == 0 || strncmp(argv[i], "--server=", 9) == 0)
            return true;
    return getenv("DEEPLENS_SERVER") != NULL;
}

static const struct command *find(const char *name)
{
    for (size_t i = 0; commands[i]; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static int unknown(const struct cli *cli, const char *name)
{
    const char *names[32] = {NULL};
    struct error err;
    for (size_t i = 0; commands[i] && i < 31; i++)
        names[i] = commands[i]->name;
    const char *near = nearest_name(name, names);
    error_set(&err, ERR_USAGE, "There is no command \"%.80s\"%s%s%s", name, near ? "; did you mean \"" : "",
              near ? near : "", near ? "\"?" : "");
    return cli_misused(cli, NULL, &err);
}

static int dispatch(struct cli *cli, int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        puts("deeplens " DEEPLENS_VERSION);
        return EXIT_DONE;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        help_overview(stdout);
        return EXIT_DONE;
    }
    if (argc < 2) {
        help_overview(stderr);
        return EXIT_USAGE;
    }
    const struct command *command = find(name);
    return command ? command->run(cli, argc - 1, argv + 1) : unknown(cli, name);
}

// Pictures come and go by the megabyte. What they leave stays with the process for the next one: to give it back to the
// kernel and have it zeroed again costs a tenth of the pipeline's time. It is bounded by what was needed at once (G8).
static void keep_memory(void)
{
#ifdef M_TRIM_THRESHOLD
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
#endif
}

int main(int argc, char **argv)
{
    struct conf conf;
    struct error err;
    if (argc == 2 && strcmp(argv[1], "worker-extract") == 0) // started by a server; no command of people
        return app_worker();
    if (argc == 2 && strcmp(argv[1], "worker-video") == 0)
        return app_video_worker();
    app_set_worker("/proc/self/exe");
    struct cli cli = {.conf = &conf, .server_given = names_server(argc, argv)};
    keep_memory();
    signal(SIGPIPE, SIG_IGN);
    conf_init(&conf);
    int code;
    if (conf_load(&conf, &argc, argv, &err) < 0) {
        code = cli_misused(&cli, NULL, &err);
    } else if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        error_set(&err, ERR_INTERNAL, "libcurl cannot be used");
        code = cli_fail(&cli, &err);
    } else {
        cli.server_given = cli.server_given || strcmp(conf.server, DEFAULT_SERVER) != 0;
        code = dispatch(&cli, argc, argv);
        cli_disconnect(&cli);
        curl_global_cleanup();
    }
    conf_free(&conf);
    return cli_finish(code);
}
