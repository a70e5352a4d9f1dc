// SPDX-License-Identifier: Apache-2.0
// The server with its pipeline held: it accepts, and works on nothing. `held serve [options]`, as `deeplens serve`.
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cli/app.h"

int main(int argc, char **argv)
{
    struct conf conf;
    struct error err = {0};
    struct app *app;
    sigset_t signals;
    int number;
    if (argc == 2 && strcmp(argv[1], "worker-extract") == 0)
        return app_worker();
    app_set_worker("/proc/self/exe");
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    log_setup(LOG_WARN, false);
    conf_init(&conf);
    if (conf_load(&conf, &argc, argv, &err) < 0 || app_open(&conf, APP_NO_WORKERS, &app, &err) < 0) {
        fprintf(stderr, "held: %s\n", err.message);
        return 1;
    }
    printf("Held at http://%s\n", app_address(app));
    fflush(stdout);
    sigwait(&signals, &number);
    app_close(app);
    conf_free(&conf);
    return 0;
}
