// SPDX-License-Identifier: Apache-2.0
// What a consumer has: partitions come and go in rebalances, and offsets are committed.
#include <string.h>
#include <time.h>

#include "backends/eventlog/kafka_int.h"
#include "base/clock.h"

enum {
    DRAIN_MS = 3000, // that what was delivered has to be committed, before its partition is given up
    ASK_MS = 1000,   // for what was committed, at a time
};

struct kf_part *kf_part_find(struct elog_consumer *c, const char *topic, int32_t partition)
{
    struct kf_part *p = c->parts;
    while (p && (p->partition != partition || strcmp(p->topic, topic) != 0))
        p = p->next;
    return p;
}

void kf_part_empty(struct elog_consumer *c, struct kf_part *part)
{
    for (struct kf_held *held; (held = STAILQ_FIRST(&part->queue));) {
        STAILQ_REMOVE_HEAD(&part->queue, link);
        c->held_records--;
        c->held_bytes -= held->bytes;
        free(held->record);
        free(held);
    }
}

// Frees the partitions that are not assigned.
static void drop_unassigned(struct elog_consumer *c)
{
    for (struct kf_part **at = &c->parts, *p; (p = *at);) {
        if (p->assigned) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        kf_part_empty(c, p);
        free(p->topic);
        free(p);
    }
}

void kf_parts_free(struct elog_consumer *c)
{
    for (struct kf_part *p = c->parts; p; p = p->next)
        p->assigned = false;
    drop_unassigned(c);
}

// ---- Commits

// What is done and the brokers do not know. Marks it as sent; NULL when there is nothing.
static rd_kafka_topic_partition_list_t *take_unsent(struct elog_consumer *c)
{
    rd_kafka_topic_partition_list_t *list = NULL;
    pthread_mutex_lock(&c->lock);
    for (struct kf_part *p = c->parts; p; p = p->next) {
        if (p->done <= p->sent)
            continue;
        if (!list)
            list = rd_kafka_topic_partition_list_new(8);
        rd_kafka_topic_partition_list_add(list, p->topic, p->partition)->offset = p->done;
        p->sent = p->done;
    }
    pthread_mutex_unlock(&c->lock);
    return list;
}

// What could not be committed is sent again with the next commits.
static void note_failed(struct elog_consumer *c, const rd_kafka_topic_partition_list_t *list, bool all)
{
    pthread_mutex_lock(&c->lock);
    for (int i = 0; list && i < list->cnt; i++) {
        struct kf_part *p = kf_part_find(c, list->elems[i].topic, list->elems[i].partition);
        if (p && (all || list->elems[i].err) && p->sent == list->elems[i].offset)
            p->sent = -1;
    }
    pthread_mutex_unlock(&c->lock);
}

void kf_committed(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list, void *consumer)
{
    note_failed(consumer, list, code != 0);
}

void kf_commit_send(struct elog_consumer *c, bool wait)
{
    _cleanup_kf_list_ rd_kafka_topic_partition_list_t *list = take_unsent(c);
    if (!list)
        return;
    rd_kafka_resp_err_t code = rd_kafka_commit(c->rk, list, !wait);
    if (code != 0)
        note_failed(c, list, true);
}

int kf_commit(struct elog_consumer *c, const char *topic, int32_t partition, int32_t epoch, int64_t offset,
              struct error *err)
{
    int rc = 0;
    pthread_mutex_lock(&c->lock);
    struct kf_part *p = kf_part_find(c, topic, partition);
    bool ours = p && p->epoch == epoch;
    if (ours && (offset < 0 || offset > p->delivered)) {
        rc = error_set(err, ERR_INVALID, "The offset %lld is not one that was delivered", (long long)offset);
    } else if (ours && offset > p->done) {
        p->done = offset;
        if (!p->assigned)
            pthread_cond_signal(&c->done);
    }
    pthread_mutex_unlock(&c->lock);
    if (ours)
        return rc;
    if (kf_partition_check(c->log, topic, partition, err) < 0)
        return -1;
    return error_set(err, ERR_CONFLICT, "The partition %d of %.249s has another owner by now", partition, topic);
}

// ---- Rebalances

static bool ask_committed(struct elog_consumer *c, rd_kafka_topic_partition_list_t *list)
{
    if (rd_kafka_committed(c->rk, list, ASK_MS) != 0)
        return false;
    for (int i = 0; i < list->cnt; i++)
        if (list->elems[i].err)
            return false;
    return true;
}

// Fills in where to begin. librdkafka would ask for what was committed by itself, but only once: when that meets a
// coordinator that has just moved or restarted, the partitions stay assigned and nothing of them is ever fetched (its
// issue 5586). So we ask, until there is an answer or no need of one.
static void find_beginnings(struct elog_consumer *c, rd_kafka_topic_partition_list_t *list)
{
    while (!ask_committed(c, list))
        if (c->stop || rd_kafka_assignment_lost(c->rk))
            return;
    for (int i = 0; i < list->cnt; i++)
        if (list->elems[i].offset < 0)
            list->elems[i].offset = RD_KAFKA_OFFSET_BEGINNING;
}

static void assign(struct elog_consumer *c, rd_kafka_topic_partition_list_t *list)
{
    int32_t epoch = ++c->log->epoch;
    find_beginnings(c, list);
    pthread_mutex_lock(&c->lock);
    for (int i = 0; i < list->cnt; i++) {
        rd_kafka_topic_partition_t *one = &list->elems[i];
        struct kf_part *p = kf_part_find(c, one->topic, one->partition);
        if (!p) {
            p = kf_alloc(sizeof *p);
            p->topic = kf_strdup(one->topic);
            p->partition = one->partition;
            p->epoch = epoch;
            p->fetched = p->delivered = p->done = p->sent = -1;
            STAILQ_INIT(&p->queue);
            p->next = c->parts;
            c->parts = p;
        }
        p->assigned = true;
        if (p->fetched >= 0) // it came straight back: on where it was
            one->offset = p->fetched;
    }
    drop_unassigned(c);
    c->paused = false; // what is assigned is not paused
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    rd_kafka_assign(c->rk, list);
}

static bool all_done(const struct elog_consumer *c)
{
    for (const struct kf_part *p = c->parts; p; p = p->next)
        if (p->done < p->delivered)
            return false;
    return true;
}

static void give_up(struct elog_consumer *c, bool lost)
{
    int64_t until_us = clock_mono_us() + DRAIN_MS * 1000LL;
    struct timespec until = {.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};
    pthread_mutex_lock(&c->lock);
    for (struct kf_part *p = c->parts; p; p = p->next)
        p->assigned = false;
    if (lost) // others may have had them since
        drop_unassigned(c);
    while (!c->stop && !all_done(c) && pthread_cond_clockwait(&c->done, &c->lock, CLOCK_MONOTONIC, &until) == 0)
        ;
    pthread_mutex_unlock(&c->lock);
    if (!lost)
        kf_commit_send(c, true);
    rd_kafka_assign(c->rk, NULL);
}

void kf_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list, void *consumer)
{
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
        assign(consumer, list);
    else
        give_up(consumer, rd_kafka_assignment_lost(rk));
}
