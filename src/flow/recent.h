// SPDX-License-Identifier: Apache-2.0
// A set of the ids that were added last: bounded, forgets the oldest. Not for several threads at once.
#ifndef DEEPLENS_FLOW_RECENT_H
#define DEEPLENS_FLOW_RECENT_H

#include <stdbool.h>

struct recent;

struct recent *recent_new(void);
void recent_free(struct recent *r); // takes NULL
void recent_add(struct recent *r, const char *id);
bool recent_take(struct recent *r, const char *id); // removes it; false when it is not there (any more)

#endif
