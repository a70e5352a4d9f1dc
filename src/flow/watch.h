// SPDX-License-Identifier: Apache-2.0
// What somebody should know of, told to flow->alerts: failures for good, and the conditions of obs/alerts.def.
#ifndef DEEPLENS_FLOW_WATCH_H
#define DEEPLENS_FLOW_WATCH_H

#include "flow/flow.h"

struct watch;
struct runner;

// Looks every settings.lag_interval_ms, on a thread of its own. `runner` (NULL: none runs here) must outlive it.
int watch_start(struct flow *f, struct runner *runner, struct watch **out, struct error *err);
void watch_stop(struct watch *w); // takes NULL

// One look: notes how the groups stand, and tells which conditions hold. What cannot be asked now is passed over until
// the next one.
void watch_look(struct flow *f, struct runner *runner);

#endif
