// SPDX-License-Identifier: Apache-2.0
// Jobs: the steps of the pipeline as queues. How much waits comes from the log, whoever works on it; what is paused and
// what is at work from the runner of this process.
#include <string.h>

#include "base/clock.h"
#include "flow/admin_int.h"
#include "flow/lag.h"
#include "flow/runner.h"

enum { COUNT_MOST = 1000 };

static int find_step(const char *name, enum step_id *out, struct error *err)
{
    for (int s = 0; s < STEP_COUNT; s++)
        if (strcmp(steps[s].name, name) == 0) {
            *out = (enum step_id)s;
            return 0;
        }
    return error_set(err, ERR_NOT_FOUND, "There is no step \"%.40s\"", name);
}

// --- The list

static int add_queue(struct flow *f, const struct step *step, json_t *job, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct elog_group_info info = {0};
    struct error why = {0};
    int64_t waiting = 0, oldest_ms = 0;
    if (f->log.ops->group_describe(f->log.state, &arena, step_group(f, step), &info, &why) < 0 &&
        why.code != ERR_NOT_FOUND)
        return error_copy(err, &why);
    enum lag_state *states = arena_alloc(&arena, (info.partition_count + 1) * sizeof *states);
    if (info.partition_count)
        lag_note(f->lags, &info, clock_now_ms(), f->settings.lag_interval_ms, states);
    for (size_t i = 0; i < info.partition_count; i++) {
        waiting += info.partitions[i].lag;
        oldest_ms = info.partitions[i].lag_ms > oldest_ms ? info.partitions[i].lag_ms : oldest_ms;
    }
    double rate = lag_rate(f->lags, step_group(f, step));
    json_object_set_new(job, "waiting", json_integer(waiting));
    json_object_set_new(job, "oldestMs", json_integer(oldest_ms));
    json_object_set_new(job, "perSecond", rate < 0 ? json_null() : json_real(rate));
    json_object_set_new(job, "members", json_integer((json_int_t)info.members));
    return 0;
}

static void add_health(const struct runner_step_health *health, json_t *job)
{
    bool here = health->name != NULL;
    bool paused = here && (health->paused || health->limit == 0);
    json_object_set_new(job, "here", json_boolean(here));
    json_object_set_new(job, "held", json_integer(here ? (json_int_t)health->held : 0));
    json_object_set_new(job, "atWork", json_integer(here ? (json_int_t)health->at_work : 0));
    json_object_set_new(job, "concurrency", here && health->limit > 0 ? json_integer(health->limit) : json_null());
    json_object_set_new(job, "paused", json_boolean(paused));
    json_object_set_new(job, "reason", json_null());
    if (paused)
        js_set_str(job, "reason", health->limit == 0 ? "on request" : health->reason);
}

static json_t *step_json(const struct flow *f, const struct step *step)
{
    json_t *topics = json_array();
    for (size_t i = 0; i < step->topic_count; i++)
        json_array_append_new(topics, json_string(event_topic_name(step->topics[i])));
    return json_pack("{s:s,s:s,s:s,s:o}", "step", step->name, "role", step->role, "group", step_group(f, step),
                     "topics", topics);
}

// How many dead letters each step has, of the first COUNT_MOST.
static int add_failures(struct flow *f, json_t *jobs, bool *all, struct error *err)
{
    _cleanup_json_ json_t *letters = NULL;
    const struct deadletter_query query = {.limit = COUNT_MOST};
    size_t i, n;
    json_t *job, *letter;
    if (admin_deadletters(f, &query, &letters, err) < 0)
        return -1;
    json_array_foreach(jobs, i, job)
    {
        int64_t failed = 0;
        json_array_foreach(js_arr(letters, "items"), n, letter) failed +=
            strcmp(js_str(letter, "group", ""), js_str(job, "group", "-")) == 0;
        json_object_set_new(job, "failed", json_integer(failed));
    }
    *all = js_str(letters, "nextCursor", NULL) == NULL;
    return 0;
}

struct retries {
    struct flow *flow;
    uint64_t count;
};

static int retries_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct retries *r = arg;
    return r->flow->meta.ops->retry_count(tx, &r->count, err);
}

int admin_jobs(struct flow *f, struct runner *runner, json_t **out, struct error *err)
{
    struct runner_step_health health[STEP_COUNT] = {{0}};
    struct retries retries = {.flow = f};
    bool all = true;
    _cleanup_json_ json_t *jobs = json_array();
    if (runner)
        runner_health(runner, health);
    for (int s = 0; s < STEP_COUNT; s++) {
        json_t *job = step_json(f, &steps[s]);
        json_array_append_new(jobs, job);
        add_health(&health[s], job);
        if (add_queue(f, &steps[s], job, err) < 0)
            return -1;
    }
    if (add_failures(f, jobs, &all, err) < 0 || f->meta.ops->read(f->meta.state, retries_tx, &retries, err) < 0)
        return -1;
    *out = json_pack("{s:O,s:I,s:b}", "jobs", jobs, "retriesWaiting", (json_int_t)retries.count, "failedComplete", all);
    return 0;
}

// --- Changing one

int admin_job_alter(struct runner *runner, const char *name, int64_t concurrency, const bool *paused, json_t **out,
                    struct error *err)
{
    struct runner_step_health health[STEP_COUNT];
    enum step_id step = STEP_PREPARE;
    if (find_step(name, &step, err) < 0)
        return -1;
    if (concurrency != ADMIN_KEEP && concurrency != RUNNER_NO_LIMIT &&
        (concurrency < 1 || concurrency > RUNNER_LIMIT_MAX))
        return error_set(err, ERR_INVALID, "`concurrency` is 1 to %d, or null", RUNNER_LIMIT_MAX);
    if (concurrency != ADMIN_KEEP && paused && *paused)
        return error_set(err, ERR_INVALID, "What is paused has no concurrency");
    if (runner)
        runner_health(runner, health);
    if (!runner || !health[step].name)
        return error_set(err, ERR_CONFLICT, "The step %s does not run in this process", name);
    int limit = health[step].limit;
    if (concurrency != ADMIN_KEEP)
        limit = (int)concurrency;
    else if (paused)
        limit = *paused ? 0 : limit == 0 ? RUNNER_NO_LIMIT : limit;
    runner_limit(runner, step, limit);
    *out = json_pack("{s:s,s:b}", "step", name, "paused", limit == 0);
    json_object_set_new(*out, "concurrency", limit > 0 ? json_integer(limit) : json_null());
    return 0;
}

// --- What failed

int admin_job_failed(struct flow *f, const char *name, const char *cursor, size_t limit, json_t **out,
                     struct error *err)
{
    enum step_id step = STEP_PREPARE;
    if (find_step(name, &step, err) < 0)
        return -1;
    const struct deadletter_query query = {.group = step_group(f, &steps[step]), .cursor = cursor, .limit = limit};
    return admin_deadletters(f, &query, out, err);
}

static void retry_one(struct flow *f, const char *id, json_t *retried, json_t *refused)
{
    struct error why = {0};
    json_t *answer;
    if (admin_deadletter_replay(f, id, &answer, &why) == 0)
        json_array_append_new(retried, answer);
    else
        json_array_append_new(
            refused, json_pack("{s:s,s:s,s:s}", "id", id, "code", error_code_name(why.code), "message", why.message));
}

// Of the step's own letters alone: an id of another's is refused.
static void retry_ids(struct flow *f, enum step_id step, const json_t *ids, json_t *retried, json_t *refused)
{
    size_t i;
    json_t *id;
    json_array_foreach((json_t *)ids, i, id)
    {
        const char *text = json_string_value(id);
        _cleanup_json_ json_t *letter = NULL;
        struct error why = {0};
        if (admin_deadletter(f, text, &letter, &why) == 0 &&
            strcmp(js_str(letter, "group", ""), step_group(f, &steps[step])) != 0)
            error_set(&why, ERR_NOT_FOUND, "Dead letter %.64s is not of the step %s", text, steps[step].name);
        if (why.code)
            json_array_append_new(refused, json_pack("{s:s,s:s,s:s}", "id", text, "code", error_code_name(why.code),
                                                     "message", why.message));
        else
            retry_one(f, text, retried, refused);
    }
}

// What fails again meanwhile is a new letter, and stays.
int admin_job_retry(struct flow *f, const char *name, const json_t *ids, const struct job_page *page, json_t **out,
                    struct error *err)
{
    enum step_id step = STEP_PREPARE;
    size_t i;
    json_t *letter;
    _cleanup_json_ json_t *letters = NULL;
    const int64_t to_ms = page->to_ms ? page->to_ms : clock_now_ms();
    if (find_step(name, &step, err) < 0)
        return -1;
    const struct deadletter_query query = {
        .group = step_group(f, &steps[step]), .cursor = page->cursor, .limit = page->limit, .to_ms = to_ms};
    if (!ids && admin_deadletters(f, &query, &letters, err) < 0)
        return -1;
    _cleanup_json_ json_t *retried = json_array();
    _cleanup_json_ json_t *refused = json_array();
    if (ids)
        retry_ids(f, step, ids, retried, refused);
    json_array_foreach(js_arr(letters, "items"), i, letter) retry_one(f, js_str(letter, "id", ""), retried, refused);
    *out = json_pack("{s:s,s:O,s:O,s:s?}", "step", name, "retried", retried, "refused", refused, "nextCursor",
                     js_str(letters, "nextCursor", NULL));
    js_set_time(*out, "failedBefore", ids ? 0 : to_ms);
    return 0;
}
