// SPDX-License-Identifier: Apache-2.0
// Write transactions on their way to the one thread of a store that runs them: a bounded queue, in order, taken in
// groups that are committed together (group commit).
//
// Who waits for a transaction, or wants it synced, has it run at once. What nobody waits for may linger a moment behind
// the last commit, so that under load one commit holds several.
#ifndef DEEPLENS_BACKENDS_META_JOBS_H
#define DEEPLENS_BACKENDS_META_JOBS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ports/meta.h"

enum { META_GROUP_MAX = 256, META_QUEUE_MAX = 1024, META_LINGER_US = 5 * 1000 };

struct meta_job {
    struct meta_job *next;
    enum meta_durability durability;
    meta_tx_fn *fn;
    void *arg;
    meta_done_fn *done;
    void *done_arg;
    bool on_heap;
    bool failed; // by its own doing, with `err`
    struct error err;
};

struct meta_jobs {
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; // guards what follows
    pthread_cond_t work;
    pthread_cond_t room;
    struct meta_job *head, **tail;
    size_t queued;
    size_t urgent; // of them: somebody waits, or they are to be synced
    bool stop;
};

// Starts the thread, which calls meta_jobs_take until that says stop. `name` is what it is called.
int meta_jobs_start(struct meta_jobs *q, const char *name, void *(*main)(void *arg), void *arg, struct error *err);
void meta_jobs_stop(struct meta_jobs *q); // waits for what was submitted; takes one that was not started

// On the thread. Waits for jobs until `chore_us` (monotonic; 0: for ever), and gives up to META_GROUP_MAX of them; NULL
// when that time has come, or with *stop set when there will be no more.
struct meta_job *meta_jobs_take(struct meta_jobs *q, int64_t last_commit_us, int64_t chore_us, bool *stop);
// On the thread. Tells each what became of it, and frees it: `lost` for all of them, NULL: each its own.
void meta_jobs_tell(struct meta_job *jobs, const struct error *lost);

// What the port's functions of these names do.
int meta_jobs_write(struct meta_jobs *q, enum meta_durability durability, meta_tx_fn *fn, void *arg, struct error *err);
void meta_jobs_write_async(struct meta_jobs *q, enum meta_durability durability, meta_tx_fn *fn, void *arg,
                           meta_done_fn *done, void *done_arg);
// Runs `fn` on the thread, between two groups, and waits for it.
void meta_jobs_between(struct meta_jobs *q, meta_done_fn *fn, void *arg);

#endif
