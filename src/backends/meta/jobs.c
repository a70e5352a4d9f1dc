// SPDX-License-Identifier: Apache-2.0
#include "backends/meta/jobs.h"

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

static bool is_urgent(const struct meta_job *job)
{
    return !job->on_heap || job->durability == META_SYNCED;
}

// When jobs that nobody waits for are to be run: a moment after the last commit, or when there are many. Lock held.
static int64_t next_run_us(const struct meta_jobs *q, int64_t last_commit_us)
{
    return q->urgent || q->stop || q->queued >= META_GROUP_MAX / 2 ? 0 : last_commit_us + META_LINGER_US;
}

// Waits until there is something to run. False when the time of a chore has come. Lock held.
static bool wait_jobs(struct meta_jobs *q, int64_t last_commit_us, int64_t chore)
{
    for (;;) {
        int64_t run = q->head ? next_run_us(q, last_commit_us) : INT64_MAX, now = clock_mono_us();
        if (q->stop || run <= now)
            return true;
        int64_t until = q->head ? run : chore;
        const struct timespec at = {.tv_sec = until / 1000000, .tv_nsec = until % 1000000 * 1000};
        if (!until)
            pthread_cond_wait(&q->work, &q->lock);
        else if (pthread_cond_timedwait(&q->work, &q->lock, &at) == ETIMEDOUT && !q->head)
            return false;
    }
}

struct meta_job *meta_jobs_take(struct meta_jobs *q, int64_t last_commit_us, int64_t chore_us, bool *stop)
{
    pthread_mutex_lock(&q->lock);
    bool run = wait_jobs(q, last_commit_us, chore_us);
    struct meta_job *first = run ? q->head : NULL, *last = NULL;
    size_t count = 0;
    for (struct meta_job *job = first; job && count < META_GROUP_MAX; job = job->next, count++) {
        last = job;
        q->urgent -= is_urgent(job);
    }
    if (last) {
        q->head = last->next;
        last->next = NULL;
        q->queued -= count;
        if (!q->head)
            q->tail = &q->head;
        pthread_cond_broadcast(&q->room);
    }
    *stop = !first && q->stop;
    pthread_mutex_unlock(&q->lock);
    return first;
}

void meta_jobs_tell(struct meta_job *jobs, const struct error *lost)
{
    for (struct meta_job *job = jobs, *next; job; job = next) {
        next = job->next; // a job that does not live on the heap is gone once it was told
        bool on_heap = job->on_heap;
        job->done(job->done_arg, lost ? lost : job->failed ? &job->err : NULL);
        if (on_heap)
            free(job);
    }
}

// The queue is bounded, but the thread itself (submitting from a `done`) cannot wait for itself to make room.
static void submit(struct meta_jobs *q, struct meta_job *job)
{
    bool self = pthread_equal(pthread_self(), q->thread);
    pthread_mutex_lock(&q->lock);
    while (!self && q->queued >= META_QUEUE_MAX)
        pthread_cond_wait(&q->room, &q->lock);
    job->next = NULL;
    *q->tail = job;
    q->tail = &job->next;
    q->queued++;
    q->urgent += is_urgent(job);
    if (q->queued == 1 || q->urgent == 1 || q->queued == META_GROUP_MAX / 2)
        pthread_cond_signal(&q->work);
    pthread_mutex_unlock(&q->lock);
}

struct waiter {
    sem_t done;
    bool failed;
    struct error err;
};

static void wake_waiter(void *arg, const struct error *err)
{
    struct waiter *waiter = arg;
    waiter->failed = err != NULL;
    if (err)
        waiter->err = *err;
    sem_post(&waiter->done);
}

int meta_jobs_write(struct meta_jobs *q, enum meta_durability durability, meta_tx_fn *fn, void *arg, struct error *err)
{
    if (pthread_equal(pthread_self(), q->thread))
        return error_set(err, ERR_INTERNAL, "A write transaction was begun inside of another one");
    struct waiter waiter = {0};
    struct meta_job job = {.durability = durability, .fn = fn, .arg = arg, .done = wake_waiter, .done_arg = &waiter};
    sem_init(&waiter.done, 0, 0);
    submit(q, &job);
    while (sem_wait(&waiter.done) < 0) // EINTR
        ;
    sem_destroy(&waiter.done);
    return waiter.failed ? error_copy(err, &waiter.err) : 0;
}

void meta_jobs_write_async(struct meta_jobs *q, enum meta_durability durability, meta_tx_fn *fn, void *arg,
                           meta_done_fn *done, void *done_arg)
{
    struct meta_job *job = calloc(1, sizeof *job);
    if (!job)
        abort();
    *job = (struct meta_job){
        .durability = durability, .fn = fn, .arg = arg, .done = done, .done_arg = done_arg, .on_heap = true};
    submit(q, job);
}

static int nothing(struct meta_tx *tx, void *arg, struct error *err)
{
    return 0;
}

// By the `done` of an empty transaction, hence on the thread and between two groups; a second one makes sure that the
// first was told.
void meta_jobs_between(struct meta_jobs *q, meta_done_fn *fn, void *arg)
{
    meta_jobs_write_async(q, META_RELAXED, nothing, NULL, fn, arg);
    meta_jobs_write(q, META_RELAXED, nothing, NULL, NULL);
}

static void destroy(struct meta_jobs *q)
{
    pthread_cond_destroy(&q->work);
    pthread_cond_destroy(&q->room);
    pthread_mutex_destroy(&q->lock);
}

int meta_jobs_start(struct meta_jobs *q, const char *name, void *(*main)(void *arg), void *arg, struct error *err)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->work, &attr);
    pthread_cond_init(&q->room, NULL);
    pthread_condattr_destroy(&attr);
    q->tail = &q->head;
    int rc = pthread_create(&q->thread, NULL, main, arg);
    if (rc != 0) {
        destroy(q);
        return error_errno(err, ERR_INTERNAL, rc, "Cannot start the thread that writes the metadata database");
    }
    pthread_setname_np(q->thread, name);
    q->started = true;
    return 0;
}

void meta_jobs_stop(struct meta_jobs *q)
{
    if (!q->started)
        return;
    pthread_mutex_lock(&q->lock);
    q->stop = true;
    pthread_cond_signal(&q->work);
    pthread_mutex_unlock(&q->lock);
    pthread_join(q->thread, NULL);
    destroy(q);
    q->started = false;
}
