// SPDX-License-Identifier: Apache-2.0
// The relay: publishes what the outbox holds, when the log takes no part in transactions.
#ifndef DEEPLENS_FLOW_RELAY_H
#define DEEPLENS_FLOW_RELAY_H

#include "flow/flow.h"

struct relay;

// Puts a record into the outbox, in the transaction of what it tells.
int outbox_put(struct flow *f, struct meta_tx *tx, const struct elog_record *record, struct error *err);

// Starts the thread, which makes the topics first. `flow` must stay open until relay_stop has returned.
int relay_start(struct flow *f, struct relay **out, struct error *err);
// 0 when events go out; else ERR_UNAVAILABLE and why they wait. `waiting`: about how many.
int relay_health(struct relay *r, uint64_t *waiting, struct error *err);
uint64_t relay_waiting(struct relay *r);
// Ends what is under way; what cannot go out waits in the outbox for the next start. Takes NULL.
void relay_stop(struct relay *r);

#endif
