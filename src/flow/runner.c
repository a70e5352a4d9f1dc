// SPDX-License-Identifier: Apache-2.0
// The runner's threads.
//
// One fetcher a step polls its topics into the step's lane, and stops while the lane is full: that is the
// back-pressure. Pools of workers take from the lanes: `cpu` (prepare, extract), `io` (index, status, maintain),
// `video`, `message` (which fetches from other servers), so that waiting for a disk or a network never keeps a
// processor idle. A free worker takes the most urgent priority first and, within it, the latest step: what was begun is
// ended before more is begun, which bounds what is in flight and finds decoded pictures still cached. Every eighth turn
// a lower priority goes first, so that nothing starves.
//
// Settling is asynchronous: the meta store's writer groups the transactions of many tasks into one commit while the
// workers go on. One timer thread publishes retries that are due, and keeps house.
//
// After a crash the runner is careful: as long as a beginning that was never ended is about, one task is at work at a
// time (beside a message that waits for somebody's server), so that work which kills the process kills it alone, and
// only its own attempts are spent (G5).
#include "flow/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/js.h"
#include "base/log.h"
#include "flow/runner_int.h"
#include "media/image.h"
#include "obs/metrics.h"

enum {
    POLL_MS = 500,
    COMMIT_US = 500000,
    RELAXED_US = 1000000,
    HOUSEKEEP_MS = 60000,
    RETRY_BATCH = 100,
    EMPTY_POLLS = 20
};
static const int64_t inbox_keep_ms = 31LL * 24 * 3600 * 1000; // longer than any topic keeps its events

static void wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t mono_us)
{
    struct timespec until = {.tv_sec = mono_us / 1000000, .tv_nsec = (mono_us % 1000000) * 1000};
    pthread_cond_clockwait(cond, lock, CLOCK_MONOTONIC, &until);
}

// --- Choosing

static const enum media_priority orders[3][PRIORITY_COUNT] = {
    {PRIORITY_HIGH, PRIORITY_NORMAL, PRIORITY_LOW},
    {PRIORITY_NORMAL, PRIORITY_LOW, PRIORITY_HIGH},
    {PRIORITY_LOW, PRIORITY_NORMAL, PRIORITY_HIGH},
};

static bool may_begin(const struct lane *lane, int64_t now_us)
{
    return now_us >= lane->paused_until_us && (lane->limit < 0 || lane->at_work < (size_t)lane->limit);
}

// While careful. A message may wait long for somebody's server, and nobody waits for it; it begins when nothing else
// can be what killed the last process.
static bool must_wait(const struct runner *r, enum step_pool pool)
{
    if (pool != POOL_MESSAGE)
        return r->busy > r->lanes[STEP_MESSAGE].at_work;
    for (int s = 0; s < STEP_COUNT; s++)
        if (s != STEP_MESSAGE && r->lanes[s].suspected)
            return true;
    return r->busy > 0;
}

static size_t take(struct runner *r, enum step_pool pool, struct task **out)
{
    if (r->careful && must_wait(r, pool))
        return 0;
    unsigned turn = r->turn[pool] % 32;
    const enum media_priority *order = orders[turn == 31 ? 2 : turn % 8 == 7 ? 1 : 0];
    int64_t now = clock_mono_us();
    for (int p = 0; p < PRIORITY_COUNT; p++)
        for (int s = STEP_COUNT - 1; s >= 0; s--) {
            struct lane *lane = &r->lanes[s];
            size_t ready = lane->ready_count[order[p]];
            if (lane->step->pool != pool || !ready || !may_begin(lane, now))
                continue;
            size_t share = (ready + r->workers[pool] - 1) / r->workers[pool];
            size_t max = share < lane->step->batch ? share : lane->step->batch;
            if (lane->limit >= 0 && max > (size_t)lane->limit - lane->at_work)
                max = (size_t)lane->limit - lane->at_work;
            r->turn[pool]++;
            size_t count = lane_take(lane, order[p], r->careful ? 1 : max, out);
            lane->at_work += count;
            return count;
        }
    return 0;
}

// When a paused lane of this pool may go on; a while from now when none is paused.
static int64_t next_look(const struct runner *r, enum step_pool pool)
{
    int64_t now = clock_mono_us(), look = now + 60000000;
    for (int s = 0; s < STEP_COUNT; s++) {
        const struct lane *lane = &r->lanes[s];
        if (lane->step->pool == pool && lane->paused_until_us > now && lane->paused_until_us < look)
            look = lane->paused_until_us;
    }
    return look;
}

void runner_wake_workers(struct runner *r)
{
    for (int pool = 0; pool < POOL_COUNT; pool++)
        pthread_cond_broadcast(&r->work[pool]);
}

static void *worker(struct runner *r, enum step_pool pool)
{
    struct task *tasks[TAKE_MAX];
    pthread_mutex_lock(&r->lock);
    while (!r->stopping) {
        size_t count = take(r, pool, tasks);
        if (!count) {
            wait_until(&r->work[pool], &r->lock, next_look(r, pool));
            continue;
        }
        r->busy += count;
        for (size_t i = 0; i < count; i++)
            tasks[i]->alone |= r->careful > 0 || r->config.by_log;
        pthread_mutex_unlock(&r->lock);
        task_process(r, tasks, count);
        pthread_mutex_lock(&r->lock);
    }
    pthread_mutex_unlock(&r->lock);
    image_thread_end();
    return NULL;
}

static void *cpu_worker(void *arg)
{
    pthread_setname_np(pthread_self(), "cpu-worker");
    return worker(arg, POOL_CPU);
}

static void *video_worker_main(void *arg)
{
    pthread_setname_np(pthread_self(), "video-worker");
    return worker(arg, POOL_VIDEO);
}

static void *message_worker(void *arg)
{
    pthread_setname_np(pthread_self(), "message-worker");
    return worker(arg, POOL_MESSAGE);
}

static void *io_worker(void *arg)
{
    pthread_setname_np(pthread_self(), "io-worker");
    return worker(arg, POOL_IO);
}

// --- Fetching

// Some beginnings never come back (their events were removed): care ends as well once no step can have one any more,
// having found its topics empty, or having settled as many events as a process holds.
static void end_care_when_vain(struct runner *r)
{
    for (int s = 0; s < STEP_COUNT; s++)
        if (r->lanes[s].suspected)
            return;
    if (r->careful)
        runner_wake_workers(r);
    r->careful = 0;
}

static void add_records(struct lane *lane, struct elog_record **records, size_t count)
{
    struct runner *r = lane->runner;
    // On a log that is not prompt the topic may only seem to be empty, until the group has met.
    lane->empty_polls = count || lane->held_events ? 0 : lane->empty_polls + 1;
    if (lane->empty_polls >= (r->flow->log.ops->caps & ELOG_PROMPT ? 1 : EMPTY_POLLS)) {
        lane->suspected = 0;
        end_care_when_vain(r);
        if (r->careful)
            pthread_cond_broadcast(&r->work[POOL_MESSAGE]);
    }
    for (size_t i = 0; i < count; i++)
        lane_add(lane, records[i]);
    if (count == 1)
        pthread_cond_signal(&r->work[lane->step->pool]);
    else if (count)
        pthread_cond_broadcast(&r->work[lane->step->pool]);
}

// How far a partition's offset may go. A log that takes no part in the effects' transactions keeps it though a power
// cut takes the last of them back, and would not give their events again: so it follows effects only when they are on
// the disk (G4), which relaxed ones are after a second.
static int64_t committable(const struct runner *r, struct part *part, bool synced)
{
    if (synced || r->flow->log.ops->caps & ELOG_TRANSACTIONAL)
        return part->over_to;
    int64_t now = clock_mono_us();
    if (now - part->noted_us >= RELAXED_US) {
        part->durable_to = part->noted_to;
        part->noted_to = part->over_to;
        part->noted_us = now;
    }
    return part->durable_to;
}

// Commits what came by the log after it was settled: those records have no transaction of their own, and need none
// soon.
static void commit_expected(struct lane *lane, bool synced)
{
    struct runner *r = lane->runner;
    const struct elog_ops *log = r->flow->log.ops;
    for (struct part *part = lane->parts; part; part = part->next) {
        int64_t offset = committable(r, part, synced);
        if (offset <= part->committed_to)
            continue;
        pthread_mutex_unlock(&r->lock);
        int rc = log->commit(lane->consumer, part->topic, part->partition, part->epoch, offset, NULL);
        pthread_mutex_lock(&r->lock);
        if (rc == 0 && offset > part->committed_to)
            part->committed_to = offset;
    }
}

static void *fetcher(void *arg)
{
    struct lane *lane = arg;
    struct runner *r = lane->runner;
    struct elog_record *records[FETCH_MAX];
    int64_t commit_at = 0;
    char name[16];
    snprintf(name, sizeof name, "fetch-%s", lane->step->name);
    pthread_setname_np(pthread_self(), name);
    pthread_mutex_lock(&r->lock);
    while (!r->stopping) {
        if (!lane_has_room(lane)) {
            pthread_cond_wait(&lane->room, &r->lock);
            continue;
        }
        size_t bytes = r->config.queue_bytes - lane->held_bytes;
        size_t room = r->config.queue_events - lane->held_events;
        pthread_mutex_unlock(&r->lock);
        size_t count = 0;
        struct error why = {0};
        const struct elog_ops *log = r->flow->log.ops;
        if (log->poll(lane->consumer, room < FETCH_MAX ? room : FETCH_MAX, bytes, POLL_MS, records, &count, &why) < 0) {
            log_error("runner", "step %s cannot read its topic: %s", lane->step->name, why.message);
            clock_sleep_ms(POLL_MS);
        }
        pthread_mutex_lock(&r->lock);
        add_records(lane, records, count);
        if (!count || clock_mono_us() >= commit_at) {
            commit_expected(lane, false);
            commit_at = clock_mono_us() + COMMIT_US;
        }
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

// --- When a task is settled

static void count_outcome(const struct task *task)
{
    const char *step = task->lane->step->name;
    const char *code = error_code_name(task->job.error.code);
    metric_add(M_EVENTS_HANDLED, step, 1);
    if (task->outcome == OUT_RETRY || task->outcome == OUT_DEAD) {
        metric_add(M_EVENTS_FAILED, step, 1);
        metric_add(task->outcome == OUT_RETRY ? M_EVENTS_RETRIED : M_DEAD_LETTERS,
                   task->outcome == OUT_RETRY ? step : code, 1);
        log_write(task->outcome == OUT_DEAD ? LOG_ERROR : LOG_WARN, "runner",
                  "%s of %s failed (attempt %d of %d, %s): %s: %s", step,
                  task->decoded ? task->job.event.media_id : "an unreadable event", task->attempt, task->max_attempts,
                  task->outcome == OUT_RETRY ? "will be tried again" : "dead letter", code, task->job.error.message);
    }
}

// The task, steps whose effects came with its own, and the tasks that went on from it.
static void tell(const struct task *task)
{
    count_outcome(task);
    watch_settled(task->lane->runner->flow, task);
    for (const struct emit *emit = task->job.emits; emit; emit = emit->next)
        if (emit->settled && step_onward_of(emit->topic)->onward == ONWARD_APPLY)
            metric_add(M_EVENTS_HANDLED, step_onward_of(emit->topic)->name, 1);
    for (const struct task *next = task->onward; next; next = next->beside)
        tell(next);
}

static int64_t work_of(const struct task *task)
{
    int64_t us = task->job.work_us;
    for (const struct task *next = task->onward; next; next = next->beside)
        us += work_of(next);
    return us;
}

// An average over the last items of what one costs, for estimates.
static void count_cost(struct flow *f, const struct task *task)
{
    if (task->lane->step->pool != POOL_CPU || task->outcome != OUT_DONE)
        return;
    int64_t old = f->item_us;
    int64_t now = task->lane->step == &steps[STEP_PREPARE] ? work_of(task) : old;
    f->item_us = old ? old + (now - old) / 16 : now;
}

static void over(struct runner *r, struct task *task)
{
    if (task->suspect && r->careful && --r->careful == 0)
        log_info("runner", "everything that was at work when the last process died is settled");
    struct lane *lane = task->lane;
    if (task->outcome != OUT_SKIP && lane->suspected && --lane->suspected == 0)
        end_care_when_vain(r);
    lane_done(lane, task);
    if (lane->step == &steps[STEP_PREPARE])
        r->flow->backlog = (int64_t)lane->held_events;
}

// The transaction failed. What to do about it depends on whose fault that is.
static void unsettled(struct runner *r, struct task *task, const struct error *err)
{
    task->slot->done = false;
    lane_forget(task);
    lane_drop_onward(task);
    if (task->onward_failed) {
        task->alone = true; // the next events come by the log
    } else if (task->again) {
        task->to_settle = task->job.media_known = false; // work sees the item as it is now
    } else if (err->code == ERR_EXISTS) {
        task->outcome = OUT_SKIP; // somebody else ended this attempt
    } else if (task->applying_failed && !err->outage && err->code != ERR_DISK_FULL && err->code != ERR_IO) {
        task->job.error = *err; // the effects themselves cannot be had: a failure of this event
        task->outcome = err->retryable && task->attempt < task->max_attempts ? OUT_RETRY : OUT_DEAD;
    } else {
        if (lane_pause(task->lane, err))
            log_error("runner", "step %s waits, its effects cannot be stored: %s", task->lane->step->name,
                      err->message);
    }
    task->again = task->applying_failed = task->onward_failed = false;
    lane_put_back(task->lane, task);
}

static bool put_off(const struct task *task) // itself, or what went on from it
{
    bool any = task->outcome == OUT_RETRY || task->job.put_off;
    for (const struct task *next = task->onward; next; next = next->beside)
        any |= put_off(next);
    return any;
}

void runner_settled(struct task *task, const struct error *err)
{
    struct runner *r = task->lane->runner;
    if (!err) {
        tell(task);
        count_cost(r->flow, task);
    }
    pthread_mutex_lock(&r->lock);
    bool retry = !err && put_off(task);
    bool careful = r->careful > 0; // everybody was waiting for this task alone
    struct lane *lane = task->lane;
    enum step_pool pool = lane->step->pool;
    if (err)
        unsettled(r, task, err);
    else
        over(r, task);
    r->busy--;
    lane->at_work--;
    if (careful)
        runner_wake_workers(r);
    else if (err || lane->limit > 0)
        pthread_cond_signal(&r->work[pool]);
    if (retry) {
        r->retry_added = true;
        pthread_cond_signal(&r->timer_wake);
    }
    if (!r->busy)
        pthread_cond_broadcast(&r->quiet);
    pthread_mutex_unlock(&r->lock);
}

// --- The timer: retries that are due, and the house

struct due {
    struct runner *runner;
    size_t published;
    int64_t next_ms;
};

static int publish_retry(struct flow *f, struct meta_tx *tx, const struct meta_retry *row, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    _cleanup_json_ json_t *root = NULL;
    struct event event;
    enum event_topic topic;
    if (event_topic_parse(row->topic, &topic) < 0 ||
        event_decode(topic, row->value, row->value_len, NULL, &arena, &event, &root, err) < 0)
        return -1;
    struct emit emit = {.topic = topic,
                        .key = row->key,
                        .event_id = event.id,
                        .priority = event_priority(&event),
                        .value = row->value,
                        .value_len = row->value_len};
    return flow_publish_tx(f, tx, &emit, err);
}

static int retry_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct due *due = arg;
    struct flow *f = due->runner->flow;
    _cleanup_arena_ struct arena arena = {0};
    struct meta_retry *rows;
    due->published = 0;
    if (f->meta.ops->retry_take(tx, &arena, clock_now_ms(), RETRY_BATCH, &rows, &due->published, err) < 0)
        return -1;
    for (size_t i = 0; i < due->published; i++)
        if (publish_retry(f, tx, &rows[i], err) < 0)
            return -1;
    return f->meta.ops->retry_next(tx, &due->next_ms, err);
}

static int prune_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct runner *r = arg;
    return r->flow->meta.ops->inbox_prune(tx, clock_now_ms() - inbox_keep_ms, err);
}

static void housekeep(struct runner *r)
{
    struct flow *f = r->flow;
    struct error why = {0};
    if (f->log.ops->housekeep(f->log.state, clock_now_ms(), &why) < 0 ||
        f->meta.ops->write(f->meta.state, META_RELAXED, prune_tx, r, &why) < 0)
        log_warn("runner", "housekeeping failed, it will be tried again: %s", why.message);
}

// Publishes what is due; returns when to look again (monotonic µs).
static int64_t publish_due(struct runner *r)
{
    struct due due = {.runner = r, .next_ms = INT64_MAX};
    struct error why = {0};
    int64_t now = clock_mono_us();
    if (r->flow->meta.ops->write(r->flow->meta.state, META_RELAXED, retry_tx, &due, &why) < 0) {
        log_warn("runner", "retries wait: %s", why.message);
        return now + 1000000;
    }
    int64_t wait_ms = due.next_ms == INT64_MAX ? HOUSEKEEP_MS : due.next_ms - clock_now_ms();
    if (due.published == RETRY_BATCH || wait_ms < 0)
        wait_ms = 0;
    return now + (wait_ms < HOUSEKEEP_MS ? wait_ms : HOUSEKEEP_MS) * 1000;
}

static void *timer(void *arg)
{
    struct runner *r = arg;
    pthread_setname_np(pthread_self(), "timer");
    int64_t house = clock_mono_us(), look = 0;
    pthread_mutex_lock(&r->lock);
    while (!r->stopping) {
        int64_t now = clock_mono_us();
        bool due = r->retry_added || now >= look;
        if (!due && now < house) {
            wait_until(&r->timer_wake, &r->lock, look < house ? look : house);
            continue;
        }
        r->retry_added = false;
        pthread_mutex_unlock(&r->lock);
        if (due)
            look = publish_due(r);
        if (now >= house) {
            housekeep(r);
            house = now + HOUSEKEEP_MS * 1000LL;
        }
        pthread_mutex_lock(&r->lock);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

// --- Start and stop

static int count_open_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct runner *r = arg;
    return r->flow->meta.ops->inbox_open(tx, &r->careful, err);
}

static int subscribe(struct lane *lane, struct error *err)
{
    struct flow *f = lane->runner->flow;
    const struct step *step = lane->step;
    const char *topics[2];
    for (size_t i = 0; i < step->topic_count; i++)
        topics[i] = event_topic_name(step->topics[i]);
    return f->log.ops->subscribe(f->log.state, step_group(f, step), topics, step->topic_count, "deeplens",
                                 &lane->consumer, err);
}

static int subscribe_all(struct runner *r, struct error *err)
{
    for (int s = 0; s < STEP_COUNT; s++) {
        struct error why = {0};
        if (r->config.without >> s & 1)
            r->lanes[s].suspected = 0;
        if (r->config.without >> s & 1 || subscribe(&r->lanes[s], &why) == 0)
            continue;
        // The log was away when the topics were to be made, and is back.
        if (why.code != ERR_NOT_FOUND || flow_topics_ensure(r->flow, err) < 0 || subscribe(&r->lanes[s], err) < 0)
            return why.code == ERR_NOT_FOUND ? -1 : error_copy(err, &why);
    }
    return 0;
}

static int start_threads(struct runner *r, struct error *err)
{
    static void *(*const mains[POOL_COUNT])(void *) = {[POOL_CPU] = cpu_worker,
                                                       [POOL_IO] = io_worker,
                                                       [POOL_VIDEO] = video_worker_main,
                                                       [POOL_MESSAGE] = message_worker};
    size_t total = 0;
    for (int pool = 0; pool < POOL_COUNT; pool++)
        total += r->workers[pool];
    r->threads = calloc(total, sizeof *r->threads);
    if (!r->threads || pthread_create(&r->timer, NULL, timer, r) != 0)
        return error_set(err, ERR_NO_MEMORY, "The runner's threads cannot be started");
    for (int pool = 0; pool < POOL_COUNT; pool++)
        for (size_t i = 0; i < r->workers[pool]; i++, r->worker_count++)
            if (pthread_create(&r->threads[r->worker_count], NULL, mains[pool], r) != 0)
                return error_set(err, ERR_NO_MEMORY, "The runner's workers cannot be started");
    for (; r->fetcher_count < STEP_COUNT; r->fetcher_count++)
        if (r->lanes[r->fetcher_count].consumer &&
            pthread_create(&r->lanes[r->fetcher_count].fetcher, NULL, fetcher, &r->lanes[r->fetcher_count]) != 0)
            return error_set(err, ERR_NO_MEMORY, "The runner's fetchers cannot be started");
    return 0;
}

int runner_start(struct flow *flow, const struct runner_config *config, struct runner **out, struct error *err)
{
    struct runner *r = calloc(1, sizeof *r);
    if (!r)
        return error_set(err, ERR_NO_MEMORY, "No memory for the runner");
    r->flow = flow;
    r->config = *config;
    r->workers[POOL_CPU] = (size_t)config->cpu_workers;
    r->workers[POOL_IO] = (size_t)config->io_workers;
    r->workers[POOL_VIDEO] = config->video_workers ? (size_t)config->video_workers : 1;
    r->workers[POOL_MESSAGE] = config->message_workers ? (size_t)config->message_workers : 1;
    flow->stopping = false;
    flow->cpu_workers = config->cpu_workers;
    pthread_mutex_init(&r->lock, NULL);
    for (int pool = 0; pool < POOL_COUNT; pool++)
        pthread_cond_init(&r->work[pool], NULL);
    pthread_cond_init(&r->quiet, NULL);
    pthread_cond_init(&r->timer_wake, NULL);
    for (int s = 0; s < STEP_COUNT; s++)
        lane_init(&r->lanes[s], r, &steps[s]);
    bool ready = flow->meta.ops->read(flow->meta.state, count_open_tx, r, err) == 0 && subscribe_all(r, err) == 0;
    if (ready && r->careful)
        log_info("runner", "%llu events were at work when the last process died; going on with care",
                 (unsigned long long)r->careful);
    if (!ready || start_threads(r, err) < 0) {
        runner_stop(r);
        return -1;
    }
    flow->consuming = ((1U << STEP_COUNT) - 1) & ~config->without;
    *out = r;
    return 0;
}

void runner_health(struct runner *r, struct runner_step_health out[STEP_COUNT])
{
    pthread_mutex_lock(&r->lock);
    int64_t now = clock_mono_us();
    for (int s = 0; s < STEP_COUNT; s++) {
        const struct lane *lane = &r->lanes[s];
        out[s] = (struct runner_step_health){.name = lane->consumer ? lane->step->name : NULL,
                                             .held = lane->held_events,
                                             .at_work = lane->at_work,
                                             .limit = lane->limit,
                                             .paused = now < lane->paused_until_us};
        if (out[s].paused)
            memcpy(out[s].reason, lane->pause_reason, sizeof out[s].reason);
    }
    pthread_mutex_unlock(&r->lock);
}

void runner_limit(struct runner *r, enum step_id step, int limit)
{
    pthread_mutex_lock(&r->lock);
    r->lanes[step].limit = limit;
    runner_wake_workers(r);
    pthread_mutex_unlock(&r->lock);
}

static void join_threads(struct runner *r)
{
    for (size_t i = 0; i < r->fetcher_count; i++)
        if (r->lanes[i].consumer)
            r->flow->log.ops->consumer_wake(r->lanes[i].consumer);
    for (size_t i = 0; i < r->fetcher_count; i++)
        if (r->lanes[i].consumer)
            pthread_join(r->lanes[i].fetcher, NULL);
    for (size_t i = 0; i < r->worker_count; i++)
        pthread_join(r->threads[i], NULL);
    if (r->timer)
        pthread_join(r->timer, NULL);
}

static int sync_tx(struct meta_tx *tx, void *arg, struct error *err) // makes durable what was committed before it
{
    return 0;
}

void runner_stop(struct runner *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->stopping = true;
    r->flow->stopping = true;
    runner_wake_workers(r);
    pthread_cond_broadcast(&r->timer_wake);
    for (int s = 0; s < STEP_COUNT; s++)
        pthread_cond_broadcast(&r->lanes[s].room);
    pthread_mutex_unlock(&r->lock);
    join_threads(r);
    pthread_mutex_lock(&r->lock);
    while (r->busy)
        pthread_cond_wait(&r->quiet, &r->lock);
    bool synced = r->flow->meta.ops->write(r->flow->meta.state, META_SYNCED, sync_tx, NULL, NULL) == 0;
    for (int s = 0; s < STEP_COUNT; s++) {
        if (r->lanes[s].consumer) {
            commit_expected(&r->lanes[s], synced);
            r->flow->log.ops->unsubscribe(r->lanes[s].consumer);
        }
        lane_clear(&r->lanes[s]);
    }
    r->flow->consuming = 0;
    pthread_mutex_unlock(&r->lock);
    for (int pool = 0; pool < POOL_COUNT; pool++)
        pthread_cond_destroy(&r->work[pool]);
    pthread_cond_destroy(&r->quiet);
    pthread_cond_destroy(&r->timer_wake);
    pthread_mutex_destroy(&r->lock);
    free(r->threads);
    free(r);
}
