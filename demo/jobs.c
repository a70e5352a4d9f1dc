// SPDX-License-Identifier: Apache-2.0
#include "jobs.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>
#include <vips/vips.h>

enum { THREADS_MAX = 16 };

struct jobs {
    atomic_size_t next;
    size_t count;
    job_fn job;
    void *context;
    pthread_mutex_t lock; // of `failed` and `error`
    bool failed;
    struct error error;
};

static void *work(void *context)
{
    struct jobs *jobs = context;
    for (size_t i = atomic_fetch_add(&jobs->next, 1); i < jobs->count; i = atomic_fetch_add(&jobs->next, 1)) {
        struct error err = {0};
        if (jobs->job(jobs->context, i, &err) == 0)
            continue;
        pthread_mutex_lock(&jobs->lock);
        if (!jobs->failed)
            jobs->error = err;
        jobs->failed = true;
        pthread_mutex_unlock(&jobs->lock);
    }
    vips_thread_shutdown();
    return NULL;
}

int jobs_run(size_t count, job_fn job, void *context, struct error *err)
{
    struct jobs jobs = {.count = count, .job = job, .context = context, .lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t threads[THREADS_MAX];
    long wanted = sysconf(_SC_NPROCESSORS_ONLN);
    int started = 0;
    while (started < wanted && started < THREADS_MAX && pthread_create(&threads[started], NULL, work, &jobs) == 0)
        started++;
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (started == 0)
        return error_set(err, ERR_INTERNAL, "No thread could be started");
    return jobs.failed ? error_copy(err, &jobs.error) : 0;
}
