// SPDX-License-Identifier: Apache-2.0
// A worker of another system failed and may be asked again. It took its event from a topic and knows nothing of our
// attempts, and which of its events it was is not known: the item's whole way begins again (again.h), when its time has
// come. What is done twice by that is harmless (G3).
//
// Attempts are counted here, as a step "retry" of the item, which shows each of them and why. A worker that counts its
// own (attemptNumber) is believed where it counted more.
#include <string.h>

#include "base/clock.h"
#include "flow/again.h"
#include "flow/letter.h"

#define RETRY_STEP "retry"

static int spent(struct flow *f, struct meta_tx *tx, struct job *job, const struct media *media, int *out,
                 struct error *err)
{
    struct media_step *rows;
    size_t count;
    int attempt = 1;
    if (f->meta.ops->step_list(tx, &job->arena, media->tenant, media->id, &rows, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].step, RETRY_STEP) == 0)
            attempt = strcmp(rows[i].status, "failed") == 0 ? 1 : rows[i].attempt + 1; // given up, and taken up again
    *out = attempt > job->event.failed.attempt ? attempt : job->event.failed.attempt;
    return 0;
}

static int show(struct flow *f, struct meta_tx *tx, const struct job *job, const struct media *media, int attempt,
                bool last, struct error *err)
{
    const struct media_step row = {.step = RETRY_STEP,
                                   .model = "",
                                   .status = last ? "failed" : "completed",
                                   .attempt = attempt,
                                   .started_ms = clock_now_ms(),
                                   .error_message = job->event.failed.message};
    return f->meta.ops->step_put(tx, media->tenant, media->id, &row, err);
}

static int put_off(struct flow *f, struct meta_tx *tx, struct job *job, const struct emit *emit, int attempt,
                   struct error *err)
{
    const struct meta_retry retry = {.not_before_ms =
                                         clock_now_ms() + retry_delay_ms(f, job->event.backoff_ms, attempt),
                                     .topic = event_topic_name(emit->topic),
                                     .key = emit->key,
                                     .value = emit->value,
                                     .value_len = emit->value_len};
    job->put_off = true;
    return f->meta.ops->retry_put(tx, &retry, err);
}

static int give_up(struct flow *f, struct meta_tx *tx, const struct job *job, const struct emit *emit, int attempt,
                   struct error *err)
{
    const struct event_failed *failed = &job->event.failed;
    const struct elog_record record = {.topic = event_topic_name(emit->topic),
                                       .partition = -1,
                                       .offset = -1,
                                       .key = emit->key,
                                       .value = emit->value,
                                       .value_len = emit->value_len};
    const struct letter letter = {.record = &record,
                                  .group = steps[STEP_STATUS].group,
                                  .stage = failed->step ? failed->step : "foreign",
                                  .attempts = attempt,
                                  .code = failed->code,
                                  .message = failed->message};
    return letter_put(f, tx, &letter, err);
}

static int tell(struct flow *f, struct job *job, int attempt, struct error *err)
{
    struct event next;
    job_next_event(job, TOPIC_PROCESSING_FAILED, "given up", &next);
    next.failed = job->event.failed;
    next.failed.attempt = attempt;
    next.failed.final = true;
    next.failed.failed_ms = next.timestamp_ms;
    return job_emit(f, job, &next, err);
}

int foreign_failed_tx(struct flow *f, struct meta_tx *tx, struct job *job, const struct media *media, struct error *err)
{
    int attempt;
    struct emit *emit = NULL;
    job->emits = NULL; // apply may run again
    job->put_off = false;
    if (spent(f, tx, job, media, &attempt, err) < 0)
        return -1;
    bool last = attempt >= event_attempts(f, &job->event);
    if (show(f, tx, job, media, attempt, last, err) < 0 || again_events(f, &job->arena, media, &emit, err) < 0 ||
        again_forget_tx(f, tx, &job->arena, media, TOPIC_PROCESSING_FAILED, err) < 0)
        return -1;
    for (; emit; emit = emit->next)
        if (last ? give_up(f, tx, job, emit, attempt, err) < 0 : put_off(f, tx, job, emit, attempt, err) < 0)
            return -1;
    return last ? tell(f, job, attempt, err) : 0;
}
