// SPDX-License-Identifier: Apache-2.0
// The two transactions around a step's work.
//
//   claim    (before work) the inbox says whether there is anything left to do, and counts the beginning, so that work
//            which kills the process is counted too (G5). A beginning that never ended is an attempt that was spent.
//   settle   (after work) in ONE transaction: the step's effects, its next events, the inbox's end, the offset; and the
//            same for the tasks that went on from this one. Or, after a failure: the retry's row or the dead letter,
//            processing.failed, the inbox's end, the offset (G3, G4).
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "flow/letter.h"
#include "flow/message.h"
#include "flow/runner_int.h"

// --- Claim

struct claim {
    struct runner *runner;
    struct task **tasks;
    size_t count;
};

// Shows where the item is. An item that is gone has no steps: that is no error.
static int show_step(struct flow *f, struct meta_tx *tx, struct task *task, const char *status, struct error *err)
{
    struct job *job = &task->job;
    const char *model = "";
    if (task->decoded && job->event.topic == TOPIC_MESSAGES)
        return message_show_tx(f, tx, job, status, err);
    const char *name = task->decoded ? task->lane->step->shown(job, &model) : NULL;
    if (!name)
        return 0;
    const struct media_step row = {
        .step = name,
        .model = model,
        .status = status,
        .attempt = task->attempt,
        .started_ms = job->started_ms,
        .duration_ms = (job->work_us + 500) / 1000,
        .collection = job->collection,
        .error_message = job->error.code ? job->error.message : NULL,
    };
    struct error why = {0};
    if (f->meta.ops->step_put(tx, job->event.tenant, job->event.media_id, &row, &why) < 0 && why.code != ERR_NOT_FOUND)
        return error_copy(err, &why);
    return 0;
}

static int claim_one(struct flow *f, struct meta_tx *tx, struct task *task, struct error *err)
{
    struct job *job = &task->job;
    enum inbox_state state;
    int begun;
    if (f->meta.ops->inbox_begin(tx, task->lane->step->group, job->event.id, job->event.attempt, &state, &begun, err) <
        0)
        return -1;
    task->outcome = OUT_DONE;
    task->to_settle = state == INBOX_DONE;
    if (state == INBOX_DONE) {
        task->outcome = OUT_SKIP;
        return 0;
    }
    task->suspect = begun > 1;
    task->attempt = job->event.attempt + begun - 1;
    if (task->attempt > task->max_attempts) {
        task->attempt = task->max_attempts;
        task->outcome = OUT_DEAD;
        task->to_settle = true;
        if (begun > 1)
            error_set(&job->error, ERR_PROCESS_DIED, "The process died %d times while it worked on this", begun - 1);
        else
            error_set(&job->error, ERR_EVENT_INVALID, "The event asks for attempt %d of at most %d", job->event.attempt,
                      task->max_attempts);
        return 0;
    }
    return show_step(f, tx, task, "running", err);
}

// What most steps look up first is read here, where it costs no transaction of its own.
static int look_up(struct flow *f, struct meta_tx *tx, struct job *job, struct error *err)
{
    bool gone;
    struct media media;
    if (job->event.topic == TOPIC_MESSAGES) // it is about no item
        return 0;
    if (job_media_tx(f, tx, job, &media, &gone, err) < 0)
        return -1;
    job->media_known = !gone;
    if (!gone)
        job->media = media;
    return 0;
}

// A tenant that only an event from elsewhere knows: the event ends here, whichever step it is for. An upload or a
// message may make the tenant, where uploads do.
static int check_tenant(struct flow *f, struct meta_tx *tx, struct task *task, struct error *err)
{
    struct job *job = &task->job;
    struct meta_tenant tenant;
    struct error why = {0};
    bool makes = f->settings.tenants_auto_create &&
                 (job->event.topic == TOPIC_IMAGES_UPLOADED || job->event.topic == TOPIC_VIDEOS_UPLOADED ||
                  job->event.topic == TOPIC_MESSAGES);
    if (!job->foreign || task->to_settle || makes ||
        f->meta.ops->tenant_get(tx, &job->arena, job->event.tenant, &tenant, &why) == 0)
        return 0;
    if (why.code != ERR_TENANT_UNKNOWN)
        return error_copy(err, &why);
    job->error = why;
    task->outcome = OUT_DEAD;
    task->to_settle = true;
    return 0;
}

static int claim_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct claim *claim = arg;
    struct flow *f = claim->runner->flow;
    for (size_t i = 0; i < claim->count; i++)
        if (claim_one(f, tx, claim->tasks[i], err) < 0 || check_tenant(f, tx, claim->tasks[i], err) < 0 ||
            look_up(f, tx, &claim->tasks[i]->job, err) < 0)
            return -1;
    return 0;
}

static int release_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct claim *claim = arg;
    const struct meta_ops *meta = claim->runner->flow->meta.ops;
    for (size_t i = 0; i < claim->count; i++) {
        const struct task *task = claim->tasks[i];
        if (meta->inbox_release(tx, task->lane->step->group, task->job.event.id, task->job.event.attempt, err) < 0)
            return -1;
    }
    return 0;
}

void task_release(struct runner *r, struct task **tasks, size_t count)
{
    struct claim call = {r, tasks, count};
    if (r->flow->meta.ops->write(r->flow->meta.state, META_RELAXED, release_tx, &call, NULL) < 0)
        return;
    for (size_t i = 0; i < count; i++)
        tasks[i]->claimed = false;
}

int task_claim(struct runner *r, struct task **tasks, size_t count, struct error *err)
{
    struct claim call = {r, tasks, count};
    if (r->flow->meta.ops->write(r->flow->meta.state, META_RELAXED, claim_tx, &call, err) < 0) {
        for (size_t i = 0; i < count; i++)
            tasks[i]->to_settle = false; // what the inbox said was not kept
        return -1;
    }
    for (size_t i = 0; i < count; i++)
        tasks[i]->claimed = true;
    return 0;
}

// --- Settle

static int publish_dead_letter(struct flow *f, struct meta_tx *tx, const struct task *task, struct error *err)
{
    const struct letter letter = {.record = task->record,
                                  .group = step_group(f, task->lane->step),
                                  .stage = task->lane->step->name,
                                  .attempts = task->attempt,
                                  .code = error_code_name(task->job.error.code),
                                  .message = task->job.error.message};
    return letter_put(f, tx, &letter, err);
}

// What stands in error.stackTrace: not the functions of a program, but the place in the pipeline.
static const char *where(struct task *task)
{
    const struct elog_record *r = task->record;
    return arena_printf(&task->job.arena, "step %s (group %s), attempt %d of %d, %s partition %d offset %lld",
                        task->lane->step->name, task->lane->step->group, task->attempt, task->max_attempts, r->topic,
                        r->partition, (long long)r->offset);
}

static int publish_failed(struct flow *f, struct meta_tx *tx, struct task *task, bool final, struct error *err)
{
    struct job *job = &task->job;
    const char *model = "";
    const char *shown = task->decoded ? task->lane->step->shown(job, &model) : NULL;
    if (!shown) // not about an item's processing
        return 0;
    struct event next;
    char salt[32];
    snprintf(salt, sizeof salt, "%s/%d", task->lane->step->name, task->attempt);
    job_next_event(job, TOPIC_PROCESSING_FAILED, salt, &next);
    next.failed = (struct event_failed){.code = error_code_name(job->error.code),
                                        .message = job->error.message,
                                        .retryable = job->error.retryable,
                                        .attempt = task->attempt,
                                        .final = final,
                                        .step = shown,
                                        .model = *model ? model : NULL,
                                        .trace = where(task),
                                        .failed_ms = next.timestamp_ms};
    job->emits = NULL;
    if (job_emit(f, job, &next, err) < 0)
        return -1;
    return flow_publish_tx(f, tx, job->emits, err);
}

static int put_retry(struct flow *f, struct meta_tx *tx, struct task *task, struct error *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(17 << 20);
    if (event_reissue(task->record->value, task->record->value_len, task->job.event.id, task->attempt + 1,
                      task->max_attempts, &text, err) < 0)
        return -1;
    const struct meta_retry retry = {.not_before_ms =
                                         clock_now_ms() + retry_delay_ms(f, task->job.event.backoff_ms, task->attempt),
                                     .topic = event_topic_catalogued(task->job.event.topic),
                                     .key = task->record->key,
                                     .value = text.data,
                                     .value_len = text.len};
    return f->meta.ops->retry_put(tx, &retry, err);
}

static int settle_done(struct flow *f, struct meta_tx *tx, struct task *task, struct error *err)
{
    struct job *job = &task->job;
    task->again = task->applying_failed = false;
    if (show_step(f, tx, task, "completed", err) < 0)
        return -1;
    int rc = task->lane->step->apply(f, tx, job, err);
    task->again = rc == STEP_AGAIN;
    task->applying_failed = rc == STEP_FAILED;
    if (rc == STEP_AGAIN)
        return error_set(err, ERR_CONFLICT, "The item changed while it was worked on");
    if (rc < 0)
        return -1;
    for (struct emit *emit = job->emits; emit; emit = emit->next)
        if (flow_publish_tx(f, tx, emit, err) < 0)
            return -1;
    return 0;
}

// --- What went on

// Ends the event's attempt for the step's group. 0 also when it had ended before: then its effects are there.
static int end_event(struct flow *f, struct meta_tx *tx, const struct step *step, const struct event *event,
                     bool finished, bool *ended_before, struct error *err)
{
    struct error why = {0};
    int rc = f->meta.ops->inbox_end(tx, step->group, event->id, event->attempt, finished, &why);
    *ended_before = rc < 0 && why.code == ERR_EXISTS;
    return rc < 0 && !*ended_before ? error_copy(err, &why) : 0;
}

// The effects of a step that has no work, where its event is published.
static int apply_event(struct runner *r, struct meta_tx *tx, const struct step *step, struct emit *emit,
                       struct error *err)
{
    bool ended_before;
    if (end_event(r->flow, tx, step, &emit->event, true, &ended_before, err) < 0)
        return -1;
    struct job job = {.event = emit->event};
    int rc = ended_before ? STEP_OK : step->apply(r->flow, tx, &job, err);
    arena_free(&job.arena);
    emit->settled = rc == STEP_OK;
    return rc == STEP_OK ? 0 : -1;
}

static int apply_events(struct runner *r, struct meta_tx *tx, struct task *task, struct error *err)
{
    for (struct emit *emit = task->job.emits; emit; emit = emit->next) {
        const struct step *step = step_onward_of(emit->topic);
        emit->settled = false; // of a run that was taken back
        if (step && step->onward == ONWARD_APPLY && r->lanes[step - steps].consumer &&
            r->lanes[step - steps].limit < 0 && apply_event(r, tx, step, emit, err) < 0)
            return -1;
    }
    return 0;
}

static int settle_failed(struct flow *f, struct meta_tx *tx, struct task *task, struct error *err)
{
    bool final = task->outcome == OUT_DEAD;
    if (show_step(f, tx, task, final ? "failed" : "retrying", err) < 0)
        return -1;
    int rc = final ? publish_dead_letter(f, tx, task, err) : put_retry(f, tx, task, err);
    task->applying_failed = rc < 0 && !final; // what cannot be put off ends here
    if (rc < 0)
        return -1;
    return publish_failed(f, tx, task, final, err);
}

// --- What went on, and all together

static int settle_onward(struct runner *r, struct meta_tx *tx, struct task *task, struct error *err);

static int settle_with(struct runner *r, struct meta_tx *tx, struct task *task, struct error *err)
{
    bool ended_before, done = task->outcome == OUT_DONE;
    if (end_event(r->flow, tx, task->lane->step, &task->job.event, done, &ended_before, err) < 0)
        return -1;
    task->from->settled = true;
    task->record->partition = task->from->place.partition;
    task->record->offset = task->from->place.offset;
    if (ended_before)
        return 0;
    int rc = done ? settle_done(r->flow, tx, task, err) : settle_failed(r->flow, tx, task, err);
    return rc < 0 ? -1 : settle_onward(r, tx, task, err);
}

// Effects of the steps that take part in the task's transaction: where its events are published, and those of the tasks
// that went on from it.
static int settle_onward(struct runner *r, struct meta_tx *tx, struct task *task, struct error *err)
{
    if (apply_events(r, tx, task, err) < 0)
        return -1;
    for (struct task *next = task->onward; next; next = next->beside)
        if (settle_with(r, tx, next, err) < 0)
            return -1;
    return 0;
}

static int commit_offset(struct flow *f, struct meta_tx *tx, struct task *task, struct error *err)
{
    // Transactions run one after the other: a slot marked here is seen by the next one of the same group, and
    // unmarked by runner_settled when the commit fails.
    task->slot->done = true;
    if (!(f->log.ops->caps & ELOG_TRANSACTIONAL))
        return 0; // the fetcher commits what is over (G4)
    int64_t offset = lane_commit_offset(task);
    if (offset < 0)
        return 0;
    struct part *part = task->part;
    struct error why = {0};
    part->committed_to = offset;
    if (f->log.ops->commit_tx(task->lane->consumer, tx, part->topic, part->partition, part->epoch, offset, &why) == 0)
        return 0;
    // The partition has another owner by now, or is no more. The work is done, and the inbox tells whoever gets it.
    return why.code == ERR_CONFLICT || why.code == ERR_NOT_FOUND ? 0 : error_copy(err, &why);
}

static int settle_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct task *task = arg;
    struct runner *r = task->lane->runner;
    struct flow *f = r->flow;
    int rc = 0;
    if (task->outcome == OUT_DONE)
        rc = settle_done(f, tx, task, err);
    else if (task->outcome != OUT_SKIP)
        rc = settle_failed(f, tx, task, err);
    bool finished = task->outcome == OUT_DONE;
    if (rc == 0 && task->claimed && task->outcome != OUT_SKIP)
        rc = f->meta.ops->inbox_end(tx, task->lane->step->group, task->job.event.id, task->job.event.attempt, finished,
                                    err);
    if (rc == 0 && !task->alone) {
        rc = settle_onward(r, tx, task, err);
        task->onward_failed = rc < 0;
    }
    if (rc == 0) {
        pthread_mutex_lock(&r->lock);
        rc = commit_offset(f, tx, task, err);
        if (rc < 0)
            task->slot->done = false;
        else
            lane_expect(task);
        pthread_mutex_unlock(&r->lock);
    }
    return rc;
}

static void settled(void *arg, const struct error *err)
{
    runner_settled(arg, err);
}

void task_settle(struct runner *r, struct task *task)
{
    enum meta_durability durability = task->outcome == OUT_DONE ? task->lane->step->durability : META_RELAXED;
    task->to_settle = true;
    r->flow->meta.ops->write_async(r->flow->meta.state, durability, settle_tx, task, settled, task);
}
