// SPDX-License-Identifier: Apache-2.0
// Watching the groups and the house, and telling of failures.
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
#include "flow/alerts.h"
#include "flow/health.h"
#include "flow/reconcile.h"
#include "flow/runner_int.h"
#include "obs/alert.h"
#include "obs/metrics.h"

struct watch {
    struct flow *flow;
    struct runner *runner;
    pthread_t thread;
    int64_t reconcile_us; // when to look for lost events next; the thread's own
    pthread_mutex_t lock; // guards what follows
    pthread_cond_t wake;
    bool stopping;
};

// --- Groups

static const char *number(int64_t value, char out[24])
{
    snprintf(out, 24, "%" PRId64, value);
    return out;
}

static void tell_lag(struct flow *f, enum alert_kind kind, const json_t *group)
{
    char message[256], lag[24], lag_ms[24], limit[24], age[24];
    const char *name = js_str(group, "name", "");
    if (kind == ALERT_CONSUMER_LAG)
        snprintf(message, sizeof message, "The group %.120s lags by %" PRId64 " events, more than %" PRId64, name,
                 js_int(group, "lag", 0), f->settings.lag_limit);
    else
        snprintf(message, sizeof message,
                 "The oldest event that the group %.120s has not settled has waited for %" PRId64
                 " s, more than %" PRId64 " s",
                 name, js_int(group, "lagMs", 0) / 1000, f->settings.age_limit_ms / 1000);
    const struct alert_field fields[] = {{"group", name},
                                         {"lag", number(js_int(group, "lag", 0), lag)},
                                         {"lagMs", number(js_int(group, "lagMs", 0), lag_ms)},
                                         {"limit", number(f->settings.lag_limit, limit)},
                                         {"limitMs", number(f->settings.age_limit_ms, age)},
                                         {"state", js_str(group, "state", NULL)},
                                         {NULL}};
    alerts_hold(f->alerts, kind, name, message, fields);
}

static void tell_state(struct flow *f, enum alert_kind kind, const char *group, const json_t *p)
{
    char message[512], subject[160], number_of[24], committed[24], lag[24];
    const char *state = js_str(p, "state", ""), *topic = js_str(p, "topic", "");
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
    alerts_hold(f->alerts, kind, subject, message, fields);
}

static void tell_group(struct flow *f, const json_t *group)
{
    size_t n;
    json_t *p;
    if (!js_bool(group, "alarming", false))
        return;
    if (js_bool(group, "aboveLimit", false))
        tell_lag(f, ALERT_CONSUMER_LAG, group);
    if (js_bool(group, "tooOld", false))
        tell_lag(f, ALERT_CONSUMER_AGE, group);
    json_array_foreach(js_arr(group, "partitions"), n, p)
    {
        const char *state = js_str(p, "state", "");
        if (strcmp(state, "stalled") == 0)
            tell_state(f, ALERT_CONSUMER_STALLED, js_str(group, "name", ""), p);
        else if (strcmp(state, "stopped") == 0)
            tell_state(f, ALERT_CONSUMER_STOPPED, js_str(group, "name", ""), p);
    }
}

static void look_at_groups(struct flow *f)
{
    static const enum alert_kind kinds[] = {ALERT_CONSUMER_LAG, ALERT_CONSUMER_AGE, ALERT_CONSUMER_STALLED,
                                            ALERT_CONSUMER_STOPPED};
    _cleanup_json_ json_t *answer = NULL;
    size_t i;
    json_t *group;
    if (admin_lag(f, &answer, NULL) < 0) // the log is away: that is for the checks to tell
        return;
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
        alerts_look_begin(f->alerts, kinds[k]);
    json_array_foreach(js_arr(answer, "groups"), i, group) tell_group(f, group);
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
        alerts_look_end(f->alerts, kinds[k]);
}

// --- The house

static void tell_check(void *arg, const char *name, const struct error *why)
{
    char message[ALERT_TEXT_MAX];
    struct flow *f = arg;
    if (!why)
        return;
    snprintf(message, sizeof message, "%s: %.400s", name, why->message);
    alerts_hold(f->alerts, ALERT_CHECK_FAILING, name, message, NULL);
}

static void look_at_checks(struct flow *f, struct runner *runner)
{
    alerts_look_begin(f->alerts, ALERT_CHECK_FAILING);
    health_look(f, runner, tell_check, f);
    alerts_look_end(f->alerts, ALERT_CHECK_FAILING);
}

static void look_at_disk(struct flow *f)
{
    uint64_t space;
    if (f->blob.ops->free_space(f->blob.state, &space, NULL) < 0)
        return;
    alerts_look_begin(f->alerts, ALERT_DISK_LOW);
    if (space < f->settings.disk_low) {
        char message[160], left[24];
        snprintf(message, sizeof message, "%" PRIu64 " MiB are free for blobs, less than %" PRIu64 " MiB", space >> 20,
                 f->settings.disk_low >> 20);
        const struct alert_field fields[] = {{"freeBytes", number((int64_t)space, left)}, {NULL}};
        alerts_hold(f->alerts, ALERT_DISK_LOW, "blobs", message, fields);
    }
    alerts_look_end(f->alerts, ALERT_DISK_LOW);
}

static void tell_ledger(struct flow *f, const char *tenant, const struct meta_ledger *l)
{
    char message[256];
    snprintf(message, sizeof message,
             "The ledger of %.63s does not close: %" PRIu64 " accepted, but %" PRIu64 " searchable, %" PRIu64
             " failed, %" PRIu64 " deleted and %" PRIu64 " in flight",
             tenant, l->accepted, l->searchable, l->failed, l->deleted, l->in_flight);
    alerts_hold(f->alerts, ALERT_LEDGER_OPEN, tenant, message, NULL);
}

static void look_at_ledgers(struct flow *f)
{
    _cleanup_json_ json_t *tenants = NULL;
    size_t i;
    json_t *tenant;
    if (admin_tenants(f, &tenants, NULL) < 0)
        return;
    alerts_look_begin(f->alerts, ALERT_LEDGER_OPEN);
    json_array_foreach(js_arr(tenants, "tenants"), i, tenant)
    {
        struct meta_ledger ledger;
        const char *name = js_str(tenant, "name", "");
        if (admin_ledger(f, name, &ledger, NULL) == 0 && !admin_ledger_closes(&ledger))
            tell_ledger(f, name, &ledger);
    }
    alerts_look_end(f->alerts, ALERT_LEDGER_OPEN);
}

void watch_look(struct flow *f, struct runner *runner)
{
    struct error why = {0};
    look_at_groups(f);
    if (!f->alerts)
        return;
    look_at_checks(f, runner);
    look_at_disk(f);
    look_at_ledgers(f);
    if (flow_alerts_look(f, &why) < 0 && !why.outage)
        log_warn("watch", "what was told cannot be kept: %s", why.message);
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

static void go_on_removing(struct watch *w)
{
    struct error why = {0};
    if (admin_leave_look(w->flow, &why) < 0 && !why.outage)
        log_warn("watch", "the removal of a tenant cannot go on, it is tried again: %s", why.message);
}

static void *watcher(void *arg)
{
    struct watch *w = arg;
    pthread_mutex_lock(&w->lock);
    while (!w->stopping) {
        pthread_mutex_unlock(&w->lock);
        watch_look(w->flow, w->runner);
        reconcile(w);
        go_on_removing(w);
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

int watch_start(struct flow *f, struct runner *runner, struct watch **out, struct error *err)
{
    struct watch *w = calloc(1, sizeof *w);
    if (!w)
        return error_set(err, ERR_NO_MEMORY, "No memory to watch the groups");
    w->flow = f;
    w->runner = runner;
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
    alerts_raise(f->alerts, ALERT_PROCESSING_FAILED, subject, message, fields);
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
