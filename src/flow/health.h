// SPDX-License-Identifier: Apache-2.0
// Whether what the data path stands on is there: the checks of /readyz, which alerts look at, too.
#ifndef DEEPLENS_FLOW_HEALTH_H
#define DEEPLENS_FLOW_HEALTH_H

#include "flow/flow.h"

struct runner;

// `why` NULL: it is well.
typedef void health_fn(void *arg, const char *name, const struct error *why);

// Asks each part and tells of it: "records", "disk", "vectors", "models" (that services run), "outbox" (of a log
// elsewhere), and each step that runs here
// (`runner` NULL: none does). True when all are well. Waits for the parts.
bool health_look(struct flow *f, struct runner *runner, health_fn *fn, void *arg);

#endif
