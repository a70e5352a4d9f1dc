// SPDX-License-Identifier: Apache-2.0
// Independent jobs on all processors. Each one writes to its own slot, so the outcome does not depend on their order.
#ifndef DEEPLENS_DEMO_JOBS_H
#define DEEPLENS_DEMO_JOBS_H

#include <stddef.h>

#include "base/error.h"

typedef int (*job_fn)(void *context, size_t index, struct error *err); // any thread

// Runs job(context, 0 … count - 1); -1 with the first error when one failed, after all have ended.
int jobs_run(size_t count, job_fn job, void *context, struct error *err);

#endif
