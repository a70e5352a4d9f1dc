// SPDX-License-Identifier: Apache-2.0
// The server's life: start, say where, wait for a signal, drain.
#include "cli/serve.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "cli/app.h"

static void setup_log(const struct conf *conf)
{
    static const char *const levels[] = {"debug", "info", "warn", "error", "off"};
    enum log_level level = LOG_INFO;
    for (int i = 0; i <= LOG_OFF; i++)
        if (strcmp(levels[i], conf->log_level) == 0)
            level = (enum log_level)i;
    log_setup(level, strcmp(conf->log_format, "json") == 0);
}

// Blocks the signals before any thread starts, so that only this one takes them.
static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    pthread_sigmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int cmd_serve(const struct conf *conf, int argc, char **argv)
{
    if (argc > 1) {
        fprintf(stderr, "deeplens serve: \"%s\" is not understood; see deeplens serve --help\n", argv[1]);
        return 2;
    }
    setup_log(conf);
    sigset_t signals;
    block_signals(&signals);
    int64_t start = clock_mono_us();
    struct app *app;
    struct error err = {0};
    if (app_open(conf, 0, &app, &err) < 0) {
        fprintf(stderr, "deeplens serve: %s\n", err.message);
        return 1;
    }
    log_info("serve", "DeepLens %s, data in %s, ready after %.0f ms", DEEPLENS_VERSION, conf->data_dir,
             (double)(clock_mono_us() - start) / 1000);
    printf("DeepLens answers at http://%s\n", app_address(app));
    fflush(stdout);
    int number;
    sigwait(&signals, &number);
    log_info("serve", "%s: draining", strsignal(number));
    // A second signal does not wait.
    pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    app_close(app);
    log_info("serve", "stopped");
    return 0;
}
