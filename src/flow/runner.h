// SPDX-License-Identifier: Apache-2.0
// The runner: everything around the steps, written once. Polling, bounded queues, order by key, priority, batches, the
// inbox, attempts, the transaction, offsets, retries, dead letters, pauses during outages, drain.
#ifndef DEEPLENS_FLOW_RUNNER_H
#define DEEPLENS_FLOW_RUNNER_H

#include "flow/step.h"

struct runner;

struct runner_config {
    int cpu_workers, io_workers, video_workers, message_workers; // of the last two 0: one
    size_t queue_events, queue_bytes;                            // that each step holds in memory at most
    unsigned without; // steps (1 << STEP_…) that run elsewhere: their events are left to others
    bool by_log;      // every event takes its way by the log: for tests that look in between
};

struct runner_step_health {
    const char *name; // NULL: it runs elsewhere
    size_t held;      // events in memory: waiting, at work, or being settled
    bool paused;      // a dependency is down; work goes on by itself when it returns (G6)
    char reason[384];
    size_t at_work; // of those held: at work or being settled
    int limit;      // see runner_limit
};

// Starts the threads. `flow` must stay open until runner_stop has returned.
int runner_start(struct flow *flow, const struct runner_config *config, struct runner **out, struct error *err);
void runner_health(struct runner *r, struct runner_step_health out[STEP_COUNT]);
// How many events a step may have at work at once in this process, from now on: RUNNER_NO_LIMIT (as it begins: as many
// as its pool has workers, times its batch), or 0: it begins none, until this is called again. With a limit every event
// takes its way by the log, so that nothing passes it. Not remembered.
enum { RUNNER_NO_LIMIT = -1, RUNNER_LIMIT_MAX = 4096 };
void runner_limit(struct runner *r, enum step_id step, int limit);
// Ends what is at work, begins nothing new, waits for the effects, leaves the groups. Takes NULL.
void runner_stop(struct runner *r);

#endif
