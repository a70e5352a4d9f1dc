// SPDX-License-Identifier: Apache-2.0
// What a worker does with the tasks that it took: decode, claim, work, go on, settle.
//
// Going on. The next step's event could travel by the log to the next step's lane and be claimed there. But the worker
// has the picture in its hands: so it makes the next event's task itself and works it off at once, and again with what
// comes of that; all of it is settled in ONE transaction with the first task. That changes what is done when, not what
// is done: each event stands on its topic, each group's inbox has its end, and whoever reads the event from the log
// later (this process: see lane_expect) finds that it was handled (G3). After an outage, for a step that is paused, or
// an item that has other events waiting, the event simply comes by the log.
//
// A process that dies on the way has the first task's beginning counted and nothing settled. The next one is careful,
// does not go on, and counts each step's own beginnings (G5).
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "flow/runner_int.h"
#include "obs/metrics.h"

// --- Reading the event

static bool is_ours(const struct elog_record *record)
{
    for (size_t i = 0; i < record->header_count; i++)
        if (strcmp(record->headers[i].name, "ce_source") == 0)
            return strcmp(record->headers[i].value, FLOW_SOURCE) == 0;
    return false;
}

static void decode(struct runner *r, struct task *task)
{
    const struct elog_record *record = task->record;
    struct job *job = &task->job;
    char fallback[ID_MAX];
    enum event_topic topic;
    const char *place =
        arena_printf(&job->arena, "%s/%d/%lld", record->topic, record->partition, (long long)record->offset);
    id_derive("evt", place, NULL, fallback);
    task->max_attempts = r->flow->settings.retry_attempts;
    task->attempt = 1;
    job->started_ms = clock_now_ms();
    if (event_topic_parse(record->topic, &topic) < 0 ||
        event_decode(topic, record->value, record->value_len, fallback, &job->arena, &job->event, &task->root,
                     &job->error) < 0) {
        task->outcome = OUT_DEAD;
        task->to_settle = true;
        return;
    }
    task->decoded = true;
    job->foreign = !is_ours(record);
    const char *priority = event_priority(&job->event);
    if (priority) // the header, if any, was a hint for the queue
        media_priority_parse(priority, &job->priority);
    task->attempt = job->event.attempt;
    if (job->event.max_attempts)
        task->max_attempts = job->event.max_attempts;
}

// --- Work

static void judge(struct task *task)
{
    const struct error *why = &task->job.error;
    if (!why->code)
        task->outcome = OUT_DONE;
    else
        task->outcome = why->retryable && task->attempt < task->max_attempts ? OUT_RETRY : OUT_DEAD;
}

static void put_back(struct runner *r, struct task **tasks, size_t count, const struct error *why)
{
    pthread_mutex_lock(&r->lock);
    struct lane *lane = tasks[0]->lane;
    if (lane_pause(lane, why))
        log_warn("runner", "step %s pauses: %s", lane->step->name, why->message);
    for (size_t i = count; i-- > 0;) {
        tasks[i]->job.media_known = false; // it may change meanwhile
        lane_put_back(lane, tasks[i]);
    }
    r->busy -= count;
    lane->at_work -= count;
    if (r->careful)
        runner_wake_workers(r);
    pthread_mutex_unlock(&r->lock);
}

static void work(struct runner *r, struct task **tasks, size_t count)
{
    struct job *jobs[TAKE_MAX];
    const struct step *step = tasks[0]->lane->step;
    for (size_t i = 0; i < count; i++) {
        struct job *job = jobs[i] = &tasks[i]->job;
        job->error = (struct error){0};
        job->emits = NULL;
        job->state = NULL;
        job->started_ms = clock_now_ms();
    }
    int64_t start = clock_mono_us();
    step->work(r->flow, jobs, count);
    int64_t each = (clock_mono_us() - start) / (int64_t)count;
    for (size_t i = 0; i < count; i++) {
        jobs[i]->work_us = each;
        metric_observe(M_STEP_SECONDS, step->name, (double)each / 1e6);
    }
}

// Moves the tasks for which `wanted` holds to the front; returns their number.
static size_t partition_tasks(struct task **tasks, size_t count, bool (*wanted)(const struct task *))
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (wanted(tasks[i])) {
            struct task *task = tasks[i];
            memmove(tasks + kept + 1, tasks + kept, (i - kept) * sizeof(struct task *));
            tasks[kept++] = task;
        }
    return kept;
}

static bool needs_claim(const struct task *task)
{
    return !task->to_settle && !task->claimed;
}

static bool needs_work(const struct task *task)
{
    return !task->to_settle;
}

static bool is_done(const struct task *task)
{
    return task->outcome == OUT_DONE;
}

static bool hit_outage(const struct task *task)
{
    return !task->to_settle && (task->job.error.outage || task->job.error.code == ERR_DISK_FULL);
}

// --- Going on

// The record as it will stand in the log, for what becomes of a failure: it borrows from the task that it comes from.
static struct elog_record *make_record(struct task *from, const struct emit *emit)
{
    char time[CLOCK_TEXT];
    struct elog_record *record = calloc(1, sizeof *record);
    if (!record)
        abort();
    struct elog_header *headers = arena_alloc(&from->job.arena, EMIT_HEADERS * sizeof *headers);
    clock_rfc3339(emit->event.timestamp_ms, time);
    *record = (struct elog_record){.topic = event_topic_name(emit->topic),
                                   .key = emit->key,
                                   .value = emit->value,
                                   .value_len = emit->value_len,
                                   .headers = headers,
                                   .header_count = emit_headers(emit, arena_strdup(&from->job.arena, time), headers)};
    return record;
}

// A task for the next event, when its step may go on at once: it is not paused, and nothing of the item waits there.
static struct task *make_onward(struct runner *r, struct task *from, struct emit *emit)
{
    const struct step *step = step_onward_of(emit->topic);
    if (!step || step->onward != ONWARD_WORK || !r->lanes[step - steps].consumer)
        return NULL;
    struct task *task = calloc(1, sizeof *task);
    if (!task)
        abort();
    task->lane = &r->lanes[step - steps];
    task->from = emit;
    task->record = make_record(from, emit);
    task->decoded = true;
    task->job.event = emit->event;
    task->job.priority = from->job.priority;
    task->job.media = from->job.media;
    task->job.media_known = from->job.media_known;
    task->attempt = emit->event.attempt;
    task->max_attempts = event_attempts(r->flow, &emit->event);
    pthread_mutex_lock(&r->lock);
    bool entered = lane_enter(task->lane, task, emit->key);
    pthread_mutex_unlock(&r->lock);
    if (entered)
        return task;
    task_free(task);
    return NULL;
}

static void append_onward(struct task *from, struct task *task)
{
    struct task **end = &from->onward;
    while (*end)
        end = &(*end)->beside;
    *end = task;
}

// The tasks that can go on from those given, all of one step, at most `max`; each with the one that it goes on from.
static size_t collect_onward(struct runner *r, struct task **tasks, size_t count, struct task **out,
                             struct task **origins, size_t max)
{
    size_t made = 0;
    for (size_t i = 0; i < count; i++)
        for (struct emit *emit = tasks[i]->job.emits; emit && made < max; emit = emit->next)
            if ((out[made] = make_onward(r, tasks[i], emit)))
                origins[made++] = tasks[i];
    return made;
}

// Is it to be settled with the task that it came from? What is not is forgotten, and done in turn when its event comes
// by the log: an outage; and the last failure, where its dead letter could not say where in the log the event stands.
static bool keeps(const struct runner *r, struct task *task)
{
    judge(task);
    return !hit_outage(task) && (task->outcome != OUT_DEAD || r->flow->log.ops->caps & ELOG_TRANSACTIONAL);
}

// Works the next events of the tasks off at once, and those that come of them.
static void go_on(struct runner *r, struct task **tasks, size_t count)
{
    struct task *onward[TAKE_MAX], *origins[TAKE_MAX];
    size_t made = collect_onward(r, tasks, count, onward, origins, TAKE_MAX), kept = 0;
    for (size_t i = 0, n; i < made; i += n) {
        for (n = 1; i + n < made && n < onward[i]->lane->step->batch && onward[i + n]->lane == onward[i]->lane; n++)
            ;
        work(r, onward + i, n);
    }
    for (size_t i = 0; i < made; i++)
        if (keeps(r, onward[i])) {
            append_onward(origins[i], onward[i]);
            onward[kept++] = onward[i];
        } else {
            pthread_mutex_lock(&r->lock);
            lane_drop(onward[i]);
            pthread_mutex_unlock(&r->lock);
        }
    if (kept)
        go_on(r, onward, kept);
}

// --- All of it

void task_process(struct runner *r, struct task **tasks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!tasks[i]->decoded && !tasks[i]->to_settle)
            decode(r, tasks[i]);
    size_t fresh = partition_tasks(tasks, count, needs_claim);
    struct error why = {0};
    if (fresh && task_claim(r, tasks, fresh, &why) < 0) {
        put_back(r, tasks, fresh, &why);
        tasks += fresh;
        count -= fresh;
    }
    size_t working = partition_tasks(tasks, count, needs_work);
    if (working) {
        work(r, tasks, working);
        size_t waiting = partition_tasks(tasks, working, hit_outage);
        if (waiting) { // not the event's fault: no attempt is spent (G6)
            why = tasks[0]->job.error;
            task_release(r, tasks, waiting);
            put_back(r, tasks, waiting, &why);
        }
        tasks += waiting;
        working -= waiting;
        count -= waiting;
        for (size_t i = 0; i < working; i++)
            judge(tasks[i]);
        if (working && !tasks[0]->alone)
            go_on(r, tasks, partition_tasks(tasks, working, is_done));
    }
    for (size_t i = 0; i < count; i++)
        task_settle(r, tasks[i]);
}
