// SPDX-License-Identifier: Apache-2.0
// The ways on which an alert reaches somebody: a webhook, an e-mail, a command.
#ifndef DEEPLENS_OBS_ALERT_SEND_H
#define DEEPLENS_OBS_ALERT_SEND_H

#include <stdatomic.h>

#include "obs/alert.h"

enum alert_channel { CHANNEL_WEBHOOK, CHANNEL_EMAIL, CHANNEL_COMMAND, CHANNEL_COUNT };

const char *alert_channel_name(enum alert_channel channel); // "webhook" …
bool alert_channel_used(const struct alert_config *config, enum alert_channel channel);
int alert_channels_check(const struct alert_config *config, struct error *err); // ERR_CONFIG

// One delivery of `message` (of book_take). Waits for at most config->timeout_ms, or until `*stopping`.
int alert_send(const struct alert_config *config, enum alert_channel channel, const json_t *message,
               const _Atomic bool *stopping, struct error *err);

#endif
