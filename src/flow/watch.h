// SPDX-License-Identifier: Apache-2.0
// What somebody should know of: failures for good, and groups that lag, stall or have stopped. Tells flow->alerts.
#ifndef DEEPLENS_FLOW_WATCH_H
#define DEEPLENS_FLOW_WATCH_H

#include "flow/flow.h"

struct watch;

// Looks at the groups every settings.lag_interval_ms, on a thread of its own.
int watch_start(struct flow *f, struct watch **out, struct error *err);
void watch_stop(struct watch *w); // takes NULL

// One look: notes how the groups stand, and raises what is to be raised. Failures are passed over until the next one.
void watch_look(struct flow *f);

#endif
