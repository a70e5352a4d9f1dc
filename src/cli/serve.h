// SPDX-License-Identifier: Apache-2.0
// deeplens serve: the server.
#ifndef DEEPLENS_CLI_SERVE_H
#define DEEPLENS_CLI_SERVE_H

#include "conf/conf.h"

// Runs until SIGTERM or SIGINT, then drains. The address is printed to stdout once it answers.
int cmd_serve(const struct conf *conf, int argc, char **argv);

#endif
