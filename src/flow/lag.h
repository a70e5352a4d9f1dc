// SPDX-License-Identifier: Apache-2.0
// How far groups are behind, and whether they get on: what their offsets are now beside what they were before.
//
// The states are those of Burrow's rules, told from samples of what was committed (a log does not say when somebody
// committed the same offset again), over a window of LAG_WINDOW samples:
//   ok       nothing to read now or at some time within the window, or it gets less
//   behind   offsets move, but the lag only grew
//   stalled  offsets did not move, and there was always something to read
//   stopped  the same for two windows, while the lag grew
//   rewound  the offset went back (somebody reset the group)
//   unknown  there are not enough samples to tell
#ifndef DEEPLENS_FLOW_LAG_H
#define DEEPLENS_FLOW_LAG_H

#include <stdint.h>

#include "ports/eventlog.h"

enum { LAG_WINDOW = 10, LAG_TRACKS_MAX = 4096 };

enum lag_state { LAG_OK, LAG_UNKNOWN, LAG_BEHIND, LAG_REWOUND, LAG_STALLED, LAG_STOPPED };

const char *lag_state_name(enum lag_state state); // "ok" …

struct lag_history; // any thread

struct lag_history *lag_history_new(void);
void lag_history_free(struct lag_history *h); // takes NULL

// Notes how the group stands at `now_ms`, at most one sample of a partition in `interval_ms`, and tells each one's
// state (`states` has room for group->partition_count). Beyond LAG_TRACKS_MAX partitions the one seen least lately is
// forgotten.
void lag_note(struct lag_history *h, const struct elog_group_info *group, int64_t now_ms, int64_t interval_ms,
              enum lag_state *states);

// Events a second that the group got on by, over the window; below 0 when there are not two samples, or it went back.
double lag_rate(struct lag_history *h, const char *group);

#endif
