// SPDX-License-Identifier: Apache-2.0
// An application: the data directory opened and locked, the ports, the flow, its runner and the HTTP server, in this
// process. `deeplens serve` is one that runs until it is told to stop; commands that find no server open one without
// workers for themselves, so that there is one way of asking.
#ifndef DEEPLENS_CLI_APP_H
#define DEEPLENS_CLI_APP_H

#include "base/error.h"
#include "conf/conf.h"

struct app;

enum {
    APP_NO_WORKERS = 1, // runs no steps, and listens on a free loopback port whatever http.listen says
    APP_MUST_EXIST = 2, // the data directory is not made when missing
    APP_LOG_ALONE = 4   // with APP_NO_WORKERS: the event log and its administration, without a data directory
};

// ERR_DATA_DIR_IN_USE names the process that has it; ERR_DATA_DIR_NEWER; ERR_CONFIG.
int app_open(const struct conf *conf, unsigned flags, struct app **out, struct error *err);
const char *app_address(const struct app *app); // "127.0.0.1:8080"
// Drains: running requests and steps end, nothing new begins. Takes NULL.
void app_close(struct app *app);

// This program is deeplens, which may be started again, as `deeplens worker-extract`, to run a model (app_worker).
// Programs that do not say so, such as tests, have the built-in model only.
void app_set_worker(const char *program);
int app_worker(void);
int app_video_worker(void);

#endif
