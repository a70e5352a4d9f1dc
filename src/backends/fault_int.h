// SPDX-License-Identifier: Apache-2.0
// The plan, as the wrapper's functions see it.
#ifndef DEEPLENS_BACKENDS_FAULT_INT_H
#define DEEPLENS_BACKENDS_FAULT_INT_H

#include <stdbool.h>

#include "base/error.h"

struct fault_hits { // what the rules say about one call
    enum error_code before, after;
    bool kill_after, abort_after;
    int sleep_after_ms;
};

bool fault_plans_port(const char *port);

// Counts a call and finds what applies to it. Sleeps and deaths before the call happen here.
struct fault_hits fault_count(const char *call);

// What the rules want after the call; returns the code that its success is to be reported as, or ERR_NONE.
enum error_code fault_after(const struct fault_hits *hits);

int fault_report(const char *call, enum error_code code, struct error *err); // always -1

#endif
