// SPDX-License-Identifier: Apache-2.0
// What runner.c, lane.c and settle.c share.
//
// A record on its way is a `task`. Its life, and who owns it at each point:
//
//   fetched   the lane's fetcher made it from a record; it waits in the lane: behind its key, then ready by priority
//   at work   a worker took it, alone or with others (nobody else touches it; no lock held)
//   settling  its transaction is with the meta store; the writer's thread owns it until `settled` is called
//   then      either it is over and freed, or it goes back to the front of the lane (again, outage, store failed)
//
// A task that goes on from another (process.c) was never in a record: its worker makes it, and it shares the fate of
// the one that it goes on from.
#ifndef DEEPLENS_FLOW_RUNNER_INT_H
#define DEEPLENS_FLOW_RUNNER_INT_H

#include <pthread.h>
#include <sys/queue.h>

#include "flow/recent.h"
#include "flow/runner.h"

enum { KEY_BUCKETS = 4096, TAKE_MAX = 64, FETCH_MAX = 512 };

enum outcome {
    OUT_DONE,  // the step's effects apply
    OUT_SKIP,  // they did already (G3)
    OUT_RETRY, // failed, to be tried again later
    OUT_DEAD   // failed for good: dead letter
};

struct slot { // a record's place in its partition, until everything before it is done
    TAILQ_ENTRY(slot) link;
    int64_t offset;
    bool done; // its transaction has run: the offset may be committed with it, or with one behind it
    bool over; // its transaction is committed: nobody needs the slot any more
};

struct part { // one partition under one assignment
    struct part *next;
    const char *topic; // static
    int32_t partition, epoch;
    TAILQ_HEAD(slots, slot) slots; // in the order of offsets
    int64_t over_to;               // everything before it is over
    int64_t committed_to;          // what of that was given to the log
    int64_t noted_to, noted_us;    // `over_to` as it was then (monotonic µs)
    int64_t durable_to;            // everything before it is over and survives a power cut
};

struct chain { // a key with tasks in the lane: one is ready or at work, the others follow it in order
    struct chain *next;
    struct task *tail;
    uint64_t hash;
    size_t len;
    char key[]; // `len` bytes
};

struct task {
    TAILQ_ENTRY(task) link; // in a ready list
    struct task *follower;  // of the same key
    struct chain *chain;    // NULL when it is in no order
    struct lane *lane;
    struct part *part;
    struct slot *slot;
    struct elog_record *record;
    struct job job;
    json_t *root;        // the parsed message
    struct emit *from;   // NULL, or what it goes on from: then part, slot and record are NULL
    struct task *onward; // the first of those that went on from it
    struct task *beside; // the next one that went on from the same
    bool decoded;
    bool claimed;   // its beginning was counted
    bool suspect;   // it had begun before, when a process died
    bool to_settle; // work is over: only the transaction is left
    bool again;     // apply asked for work once more
    bool applying_failed;
    bool onward_failed; // what went on from it could not be settled with it
    bool alone;         // nothing may go on from it
    int attempt;        // this one's number, deaths counted in
    int max_attempts;
    enum outcome outcome;
};

TAILQ_HEAD(tasks, task);

struct lane { // one step's consumer and queue
    struct runner *runner;
    const struct step *step;
    struct elog_consumer *consumer; // NULL: the step runs elsewhere
    pthread_t fetcher;
    pthread_cond_t room;
    struct tasks ready[PRIORITY_COUNT];
    size_t ready_count[PRIORITY_COUNT];
    struct chain *keys[KEY_BUCKETS];
    struct part *parts;
    size_t held_events, held_bytes;
    size_t at_work;          // taken, and not settled
    _Atomic int limit;       // of `at_work`; written under the lock
    struct recent *expected; // ids of events that were settled before they come by the log
    int empty_polls;         // one after the other, with nothing held
    size_t suspected; // events to settle before none can be left that had begun when a process died; see runner.c
    int64_t paused_until_us, pause_us; // of an outage
    char pause_reason[384];
};

struct runner {
    struct flow *flow;
    struct runner_config config;
    pthread_mutex_t lock; // guards all of the below and the lanes
    pthread_cond_t work[POOL_COUNT];
    pthread_cond_t quiet; // nothing at work or settling any more
    pthread_cond_t timer_wake;
    struct lane lanes[STEP_COUNT];
    unsigned turn[POOL_COUNT];
    size_t busy;      // tasks at work or settling
    uint64_t careful; // beginnings without an end found at start: until they are settled, one task at a time
    bool stopping;
    bool retry_added;
    size_t workers[POOL_COUNT], worker_count, fetcher_count;
    pthread_t *threads;
    pthread_t timer;
};

// lane.c — all under the runner's lock
void lane_init(struct lane *lane, struct runner *r, const struct step *step);
void lane_clear(struct lane *lane); // frees what still waits
bool lane_has_room(const struct lane *lane);
void lane_add(struct lane *lane, struct elog_record *record); // takes the record
void lane_put_back(struct lane *lane, struct task *task);     // to the front of its priority
size_t lane_take(struct lane *lane, enum media_priority priority, size_t max, struct task **out);
void lane_done(struct lane *lane, struct task *task); // frees it; its follower becomes ready
// Enters a task that goes on: false when others of its key are there already.
bool lane_enter(struct lane *lane, struct task *task, const char *key);
void lane_drop(struct task *task);        // ends a task that went on, and frees it with those that went on from it
void lane_drop_onward(struct task *task); // those that went on from `task`
void lane_expect(struct task *task);      // the events that were settled with the task will come by the log
void lane_forget(struct task *task);      // … they will not: their transaction failed
bool lane_pause(struct lane *lane, const struct error *why); // false: it is paused already, by the same outage
int64_t
lane_commit_offset(const struct task *task); // with its slot done: the lowest offset not done; -1: nothing to commit

void task_free(struct task *task);

// process.c
void task_process(struct runner *r, struct task **tasks, size_t count); // on a worker; takes the tasks

// settle.c
// Counts the beginnings. On failure nothing was claimed.
int task_claim(struct runner *r, struct task **tasks, size_t count, struct error *err);
// Takes the beginnings back, so that an outage spends no attempt though the process ends before it does (G6). When
// that cannot be had, they stay counted: then the store is out as well.
void task_release(struct runner *r, struct task **tasks, size_t count);
void task_settle(struct runner *r, struct task *task); // asynchronous; runner_settled is told

// runner.c
void runner_settled(struct task *task, const struct error *err); // on the writer's thread
void runner_wake_workers(struct runner *r);                      // under the lock

// Tells flow->alerts of what failed for good (watch.c). The transaction is durable.
void watch_settled(struct flow *f, const struct task *task);

#endif
