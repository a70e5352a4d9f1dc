// SPDX-License-Identifier: Apache-2.0
// Items that wait for an event that is no more: see reconcile.c.
#ifndef DEEPLENS_FLOW_RECONCILE_H
#define DEEPLENS_FLOW_RECONCILE_H

#include "flow/flow.h"

// One look. `*items`: how many were put back. Nothing to do on a log with ELOG_RETAINS, or when settings.reconcile_ms
// is 0.
int reconcile_look(struct flow *f, uint64_t *items, struct error *err);

#endif
