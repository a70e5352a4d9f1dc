// SPDX-License-Identifier: Apache-2.0
// Watching the groups, and telling of failures.
#include "flow/watch.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "base/log.h"
#include "flow/admin.h"
#include "flow/reconcile.h"
#include "flow/runner_int.h"
#include "obs/alert.h"
#include "obs/metrics.h"

struct watch {
    struct flow *flow;
    pthread_t thread;
    int64_t reconcile_us; // when to look for lost events next; the thread's own
    pthread_mutex_t lock; // guards what follows
    pthread_cond_t wake;
    bool stopping;
};

// --- Lag

static const char *number(int64_t value, char out[24])
{
    snprintf(out, 24, "%" PRId64, value);
    return out;
}

static void tell_lag(struct flow *f, const json_t *group)
{
    char message[256], lag[24], lag_ms[24], limit[24];
    const char *name = js_str(group, "name", "");
    snprintf(message, sizeof message, "The group %.120s lags by %" PRId64 " events, more than %" PRId64, name,
             js_int(group, "lag", 0), f->settings.lag_limit);
    const struct alert_field fields[] = {{"group", name},
                                         {"lag", number(js_int(group, "lag", 0), lag)},
                                         {"lagMs", number(js_int(group, "lagMs", 0), lag_ms)},
                                         {"limit", number(f->settings.lag_limit, limit)},
                                         {"state", js_str(group, "state", NULL)},
                                         {NULL}};
    alerts_raise(f->alerts, "consumer.lag", name, message, fields);
}

static void tell_state(struct flow *f, const char *group, const json_t *p)
{
    char message[512], kind[32], subject[160], number_of[24], committed[24], lag[24];
    const char *state = js_str(p, "state", ""), *topic = js_str(p, "topic", "");
    snprintf(kind, sizeof kind, "consumer.%s", state);
    snprintf(subject, sizeof subject, "%.70s/%.70s", group, topic);
    snprintf(message, sizeof message,
             "The group %.120s has %s on partition %" PRId64 " of %.120s: %" PRId64
             " to read, and nothing is committed",
             group, state, js_int(p, "partition", 0), topic, js_int(p, "lag", 0));
    const struct alert_field fields[] = {{"group", group},
                                         {"topic", topic},
                                         {"partition", number(js_int(p, "partition", 0), number_of)},
                                         {"committed", number(js_int(p, "committed", -1), committed)},
                                         {"lag", number(js_int(p, "lag", 0), lag)},
                                         {"state", state},
                                         {"member", js_str(p, "member", NULL)},
                                         {NULL}};
    alerts_raise(f->alerts, kind, subject, message, fields);
}

void watch_look(struct flow *f)
{
    _cleanup_json_ json_t *answer = NULL;
    size_t i, n;
    json_t *group, *p;
    if (admin_lag(f, &answer, NULL) < 0)
        return;
    json_array_foreach(js_arr(answer, "groups"), i, group)
    {
        if (!js_bool(group, "alarming", false))
            continue;
        if (js_bool(group, "aboveLimit", false))
            tell_lag(f, group);
        json_array_foreach(js_arr(group, "partitions"), n, p)
        {
            const char *state = js_str(p, "state", "");
            if (strcmp(state, "stalled") == 0 || strcmp(state, "stopped") == 0)
                tell_state(f, js_str(group, "name", ""), p);
        }
    }
}

// Not at every look: in a tenth of the time that it is about.
static void reconcile(struct watch *w)
{
    uint64_t items = 0;
    struct error why = {0};
    int64_t now = clock_mono_us();
    if (now < w->reconcile_us)
        return;
    w->reconcile_us = now + w->flow->settings.reconcile_ms * 100;
    if (reconcile_look(w->flow, &items, &why) < 0 && !why.outage)
        log_warn("watch", "items whose events are lost cannot be looked for: %s", why.message);
    if (items)
        log_warn("watch", "%llu items were put back on their way: their events are on no topic any more",
                 (unsigned long long)items);
    metric_add(M_PUT_BACK, NULL, (int64_t)items);
}

static void *watcher(void *arg)
{
    struct watch *w = arg;
    pthread_mutex_lock(&w->lock);
    while (!w->stopping) {
        pthread_mutex_unlock(&w->lock);
        watch_look(w->flow);
        reconcile(w);
        int64_t next = clock_mono_us() + w->flow->settings.lag_interval_ms * 1000;
        struct timespec until = {.tv_sec = next / 1000000, .tv_nsec = next % 1000000 * 1000};
        pthread_mutex_lock(&w->lock);
        while (!w->stopping && clock_mono_us() < next)
            pthread_cond_timedwait(&w->wake, &w->lock, &until);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static void watch_free(struct watch *w)
{
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

int watch_start(struct flow *f, struct watch **out, struct error *err)
{
    struct watch *w = calloc(1, sizeof *w);
    if (!w)
        return error_set(err, ERR_NO_MEMORY, "No memory to watch the groups");
    w->flow = f;
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&w->thread, NULL, watcher, w) != 0) {
        watch_free(w);
        return error_set(err, ERR_NO_MEMORY, "The thread that watches the groups cannot be started");
    }
    *out = w;
    return 0;
}

void watch_stop(struct watch *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    watch_free(w);
}

// --- Failures

static void tell_failure(struct flow *f, const struct task *task, const char *code, const char *message, int attempt)
{
    char subject[128], partition[24], offset[24], attempts[24];
    const char *step = task->lane->step->name;
    const struct event *event = &task->job.event;
    const struct elog_record *record = task->record;
    snprintf(subject, sizeof subject, "%.60s/%.60s", step, code);
    const struct alert_field fields[] = {{"code", code},
                                         {"step", step},
                                         {"attemptNumber", number(attempt, attempts)},
                                         {"tenantId", task->decoded ? event->tenant : NULL},
                                         {"mediaId", task->decoded ? event->media_id : NULL},
                                         {"eventId", task->decoded ? event->id : NULL},
                                         {"topic", record->topic},
                                         {"partition", number(record->partition, partition)},
                                         {"offset", number(record->offset, offset)},
                                         {NULL}};
    alerts_raise(f->alerts, "processing.failed", subject, message, fields);
}

void watch_settled(struct flow *f, const struct task *task)
{
    const struct job *job = &task->job;
    if (!f->alerts)
        return;
    if (task->outcome == OUT_DEAD)
        tell_failure(f, task, error_code_name(job->error.code), job->error.message, task->attempt);
    else if (task->outcome == OUT_DONE && job->foreign && job->event.topic == TOPIC_PROCESSING_FAILED &&
             (job->event.failed.final || job->emits)) // another system's worker gave up, or we gave it up
        tell_failure(f, task, job->event.failed.code, job->event.failed.message, job->event.failed.attempt);
}
