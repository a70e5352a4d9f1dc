// SPDX-License-Identifier: Apache-2.0
// Polling and committing. A poll plans under the lock which ranges to read, reads them without it in one snapshot,
// and under the lock again moves the positions of what it still owns; what was taken away meanwhile is dropped.
#include <errno.h>
#include <string.h>
#include <time.h>

#include "backends/eventlog/embedded_int.h"
#include "base/clock.h"

struct span {                         // what one poll reads of one partition
    struct el_assignment *assignment; // valid while the group's epoch is `plan.epoch`
    const char *topic;
    int32_t partition;
    int64_t partition_id;
    int32_t epoch;
    int64_t from;        // -1: where the group committed
    int64_t until;       // the end that was visible
    int64_t next;        // the position after it
    size_t first, count; // its records in the output
    bool lost;
};

struct plan {
    struct elog_consumer *consumer;
    struct arena arena;
    int32_t epoch;
    struct span *spans;
    size_t span_count;
    size_t max_records, max_bytes;
    struct elog_record **out;
    size_t count, bytes;
};

// ---- Planning, and waiting for something to plan; log->lock held.

static bool has_records(const struct el_assignment *a, const struct el_partition *p)
{
    return a->position < p->visible_end;
}

static size_t count_ready(const struct elog_consumer *c)
{
    size_t ready = 0;
    for (size_t i = 0; i < c->group->topic_count; i++) {
        const struct el_group_topic *gt = &c->group->topics[i];
        for (int32_t n = 0; n < gt->topic->config.partitions; n++)
            ready += gt->partitions[n].owner == c && has_records(&gt->partitions[n], gt->topic->partitions[n]);
    }
    return ready;
}

void el_wake_waiting(struct el_log *log)
{
    if (!log->waiting)
        return;
    for (struct el_group *group = log->groups; group; group = group->next)
        for (struct elog_consumer *c = group->members; c; c = c->next)
            if (c->waiting && count_ready(c))
                pthread_cond_signal(&c->wake);
}

void el_consumer_wake(struct elog_consumer *consumer)
{
    pthread_mutex_lock(&consumer->log->lock);
    consumer->woken = true;
    pthread_cond_signal(&consumer->wake);
    pthread_mutex_unlock(&consumer->log->lock);
}

static void plan_topic(struct plan *plan, const struct el_group_topic *gt)
{
    const char *topic = NULL;
    for (int32_t n = 0; n < gt->topic->config.partitions; n++) {
        struct el_assignment *a = &gt->partitions[n];
        const struct el_partition *p = gt->topic->partitions[n];
        if (a->owner != plan->consumer || !has_records(a, p))
            continue;
        if (!topic)
            topic = arena_strdup(&plan->arena, gt->topic->name);
        plan->spans[plan->span_count++] = (struct span){.assignment = a,
                                                        .topic = topic,
                                                        .partition = n,
                                                        .partition_id = p->id,
                                                        .epoch = a->epoch,
                                                        .from = a->position,
                                                        .until = p->visible_end};
    }
}

static void make_plan(struct plan *plan, size_t ready)
{
    const struct el_group *group = plan->consumer->group;
    plan->epoch = group->epoch;
    plan->span_count = 0;
    plan->spans = arena_alloc(&plan->arena, ready * sizeof *plan->spans);
    for (size_t i = 0; i < group->topic_count; i++)
        plan_topic(plan, &group->topics[i]);
}

// Returns the number of partitions to read; 0 after the deadline or a wake. Says in *woken that it must not go on.
static size_t wait_ready(struct elog_consumer *c, int64_t deadline_us, bool *woken)
{
    struct timespec until = {.tv_sec = deadline_us / 1000000, .tv_nsec = deadline_us % 1000000 * 1000};
    size_t ready = count_ready(c);
    c->log->waiting++;
    c->waiting = true;
    while (!ready && !c->woken) {
        int rc = pthread_cond_timedwait(&c->wake, &c->log->lock, &until);
        ready = count_ready(c);
        if (rc == ETIMEDOUT)
            break;
    }
    c->waiting = false;
    c->log->waiting--;
    *woken = c->woken;
    c->woken = false;
    return ready;
}

// ---- Reading, in one snapshot.

// The position that a group begins with: what it committed, unless that was removed.
static int find_start(struct meta_tx *tx, const char *group, struct span *span, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx,
                 "SELECT max(begin_offset, ifnull((SELECT next_offset FROM elog_offset"
                 " WHERE group_name = ?1 AND partition_id = ?2), 0)) FROM elog_partition WHERE id = ?2",
                 SQ_ARGS(sq_text(group), sq_int(span->partition_id)), &stmt, err) < 0)
        return -1;
    int rc = sq_next(tx, stmt, err);
    if (rc < 0)
        return -1;
    span->from = rc ? sq_col_int(stmt, 0) : span->until;
    return 0;
}

static bool is_full(const struct plan *plan, size_t more)
{
    return plan->count == plan->max_records || (plan->count && plan->bytes + more > plan->max_bytes);
}

static int read_span(struct meta_tx *tx, struct plan *plan, struct span *span, struct error *err)
{
    if (span->from < 0 && find_start(tx, plan->consumer->group->name, span, err) < 0)
        return -1;
    span->first = plan->count;
    span->next = span->from;
    if (is_full(plan, 1))
        return 0;
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(
            tx, EL_SELECT,
            SQ_ARGS(sq_int(el_row(span->partition_id, span->from)), sq_int(el_row(span->partition_id, span->until))),
            &stmt, err) < 0)
        return -1;
    int rc;
    while ((rc = sq_next(tx, stmt, err)) > 0) {
        size_t bytes = el_row_bytes(stmt);
        if (is_full(plan, bytes))
            return 0;
        struct elog_record *record = el_decode(NULL, stmt, span->topic, span->partition, span->epoch);
        plan->out[plan->count++] = record;
        plan->bytes += bytes;
        span->count++;
        span->next = record->offset + 1;
    }
    if (rc == 0 && span->next < span->until)
        span->next = span->until; // the rest was removed
    return rc;
}

static int read_spans(struct meta_tx *tx, void *arg, struct error *err)
{
    struct plan *plan = arg;
    size_t turn = plan->consumer->turn++;
    for (size_t i = 0; i < plan->span_count; i++)
        if (read_span(tx, plan, &plan->spans[(turn + i) % plan->span_count], err) < 0)
            return -1;
    return 0;
}

// ---- Keeping what is still ours.

// The assignment that a span was planned for, or NULL when it has moved.
static struct el_assignment *still_ours(struct plan *plan, const struct span *span)
{
    struct elog_consumer *c = plan->consumer;
    if (c->group->epoch == plan->epoch)
        return span->assignment;
    struct el_topic *topic = el_topic_find(c->log, span->topic);
    struct el_assignment *a = topic ? el_group_assignment(c->group, topic, 0) : NULL;
    if (!a || span->partition >= topic->config.partitions)
        return NULL;
    a += span->partition;
    return a->owner == c && a->epoch == span->epoch ? a : NULL;
}

static void settle(struct plan *plan)
{
    struct el_log *log = plan->consumer->log;
    pthread_mutex_lock(&log->lock);
    for (size_t i = 0; i < plan->span_count; i++) {
        struct el_assignment *a = still_ours(plan, &plan->spans[i]);
        if (a)
            a->position = plan->spans[i].next;
        plan->spans[i].lost = !a;
    }
    pthread_mutex_unlock(&log->lock);
    for (size_t i = 0; i < plan->span_count; i++) {
        const struct span *span = &plan->spans[i];
        for (size_t r = span->first; span->lost && r < span->first + span->count; r++) {
            free(plan->out[r]);
            plan->out[r] = NULL;
        }
    }
    size_t kept = 0;
    for (size_t r = 0; r < plan->count; r++)
        if (plan->out[r])
            plan->out[kept++] = plan->out[r];
    plan->count = kept;
}

static void drop_all(struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        free(plan->out[i]);
    plan->count = 0;
}

int el_poll(struct elog_consumer *consumer, size_t max_records, size_t max_bytes, int timeout_ms,
            struct elog_record **out, size_t *count, struct error *err)
{
    struct el_log *log = consumer->log;
    int64_t deadline_us = clock_mono_us() + (timeout_ms > 0 ? (int64_t)timeout_ms * 1000 : 0);
    struct plan plan = {.consumer = consumer, .max_records = max_records, .max_bytes = max_bytes, .out = out};
    for (bool woken = false; !plan.count && !woken && max_records;) {
        arena_free(&plan.arena);
        pthread_mutex_lock(&log->lock);
        size_t ready = wait_ready(consumer, deadline_us, &woken);
        if (ready)
            make_plan(&plan, ready);
        pthread_mutex_unlock(&log->lock);
        if (!ready)
            break;
        if (sq_read(log->db, read_spans, &plan, err) < 0) {
            drop_all(&plan);
            arena_free(&plan.arena);
            return -1;
        }
        settle(&plan);
    }
    arena_free(&plan.arena);
    *count = plan.count;
    return 0;
}

// ---- Committing, on the writer's thread.

static int find_owned(struct elog_consumer *c, const char *topic_name, int32_t partition, int32_t epoch,
                      struct el_partition **out, struct error *err)
{
    struct el_log *log = c->log;
    int rc = 0;
    pthread_mutex_lock(&log->lock);
    struct el_topic *topic = el_topic_find(log, topic_name);
    struct el_assignment *a = topic ? el_group_assignment(c->group, topic, 0) : NULL;
    if (!topic || partition < 0 || partition >= topic->config.partitions)
        rc = error_set(err, ERR_NOT_FOUND, "There is no partition %d of a topic %.249s", partition, topic_name);
    else if (!a || a[partition].owner != c || a[partition].epoch != epoch)
        rc = error_set(err, ERR_CONFLICT, "The partition %d of %.249s has another owner by now", partition, topic_name);
    else
        *out = topic->partitions[partition];
    pthread_mutex_unlock(&log->lock);
    return rc;
}

int el_commit_tx(struct elog_consumer *consumer, struct meta_tx *tx, const char *topic, int32_t partition,
                 int32_t epoch, int64_t offset, struct error *err)
{
    struct el_partition *p = NULL;
    if (!sq_tx(tx)->writable)
        return error_set(err, ERR_INTERNAL, "Offsets cannot be committed in a read transaction");
    if (find_owned(consumer, topic, partition, epoch, &p, err) < 0)
        return -1;
    if (offset < 0 || offset > p->now.end)
        return error_set(err, ERR_INVALID, "The offset %lld lies outside of the partition %d of %.249s",
                         (long long)offset, partition, topic);
    return sq_exec(tx,
                   "INSERT INTO elog_offset (group_name, partition_id, next_offset) VALUES (?1, ?2, ?3)"
                   " ON CONFLICT (group_name, partition_id) DO UPDATE SET next_offset = excluded.next_offset"
                   " WHERE excluded.next_offset > next_offset",
                   SQ_ARGS(sq_text(consumer->group->name), sq_int(p->id), sq_int(offset)), err);
}

struct commit {
    struct elog_consumer *consumer;
    const char *topic;
    int32_t partition;
    int32_t epoch;
    int64_t offset;
};

static int commit_one(struct meta_tx *tx, void *arg, struct error *err)
{
    const struct commit *c = arg;
    return el_commit_tx(c->consumer, tx, c->topic, c->partition, c->epoch, c->offset, err);
}

// Relaxed: an offset that a power cut takes back only has its records delivered again.
int el_commit(struct elog_consumer *consumer, const char *topic, int32_t partition, int32_t epoch, int64_t offset,
              struct error *err)
{
    struct commit commit = {consumer, topic, partition, epoch, offset};
    return sq_write(consumer->log->db, META_RELAXED, commit_one, &commit, err);
}
