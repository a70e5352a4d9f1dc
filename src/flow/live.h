// SPDX-License-Identifier: Apache-2.0
// Changes of items as they happen, for whoever follows them: streams of the API, the hub.
//
// Each change has a number (seq, of the metadata store). A follower names the last one that it saw, is given every
// change of its tenant behind it, in order and once, and then what comes. Nothing is queued for it: whoever cannot
// take more now is passed over, and is given the rest from the store when it says that it can.
//
// Threads: one, which reads each change once for all followers who are up to date, and calls `take` and `beat`.
#ifndef DEEPLENS_FLOW_LIVE_H
#define DEEPLENS_FLOW_LIVE_H

#include "flow/change.h"

struct live;
struct live_follower;

struct live_ops { // called with the thread's lock held: they must not wait, nor call live_…
    // False: there is no room; the change comes again after live_more.
    bool (*take)(void *arg, const struct live_change *change);
    // Now and then, so that one who went away is noticed, and as soon as one that was behind is up to date: there is
    // nothing for it up to `seq` that it was not given.
    void (*beat)(void *arg, int64_t seq);
};

int live_start(struct flow *f, int64_t keep_ms, struct live **out, struct error *err);
void live_stop(struct live *live); // takes NULL; followers must be gone

// `since` < 0: from now on. *gap: changes behind `since` are not kept any more, or it was never given; *seq is where
// the following begins. Say live_more when you are ready. The tenant must exist (ERR_TENANT_UNKNOWN).
int live_follow(struct live *live, const char *tenant, int64_t since, const struct live_ops *ops, void *arg,
                struct live_follower **out, int64_t *seq, bool *gap, struct error *err);
// The item as it is now, as a change (seq 0): in the arena.
int live_now(struct live *live, struct arena *arena, const char *tenant, const char *id, struct live_change *out,
             struct error *err);
void live_more(struct live *live); // somebody has room again; quick, on any thread, but within no call of live_ops
void live_leave(struct live_follower *follower); // when it returns, neither `take` nor `beat` runs or will. Takes NULL
// Calls `fn` after each commit that made changes, on the store's thread, where it must not wait; NULL: no more. One.
void live_also(struct live *live, void (*fn)(void *arg), void *arg);
size_t live_followers(struct live *live);

#endif
