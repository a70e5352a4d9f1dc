// SPDX-License-Identifier: Apache-2.0
// What the files behind alert_send.h share. Contracts as of alert_send.
#ifndef DEEPLENS_OBS_ALERT_SEND_INT_H
#define DEEPLENS_OBS_ALERT_SEND_INT_H

#include "obs/alert_send.h"

int alert_run_command(const struct alert_config *config, const json_t *message, const _Atomic bool *stopping,
                      struct error *err);
int alert_send_mail(const struct alert_config *config, const json_t *message, const _Atomic bool *stopping,
                    struct error *err);
int alert_check_mail(const struct alert_config *config, struct error *err);

#endif
