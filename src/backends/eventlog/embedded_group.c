// SPDX-License-Identifier: Apache-2.0
// Membership of groups. The partitions of each topic are shared out evenly among the members that subscribed to it;
// who leaves out is what a rebalance changes: a partition that stays with its owner keeps its epoch and position,
// one that moves gets the group's new epoch, and the old owner's commits no longer fit. All with log->lock held.
#include <string.h>

#include "backends/eventlog/embedded_int.h"

static bool wants(const struct elog_consumer *consumer, const char *topic)
{
    for (size_t i = 0; i < consumer->topic_count; i++)
        if (strcmp(consumer->topics[i], topic) == 0)
            return true;
    return false;
}

static size_t count_wanting(const struct el_group *group, const char *topic)
{
    size_t count = 0;
    for (const struct elog_consumer *c = group->members; c; c = c->next)
        count += wants(c, topic);
    return count;
}

static struct el_group_topic *find_topic(struct el_group *group, const struct el_topic *topic)
{
    for (size_t i = 0; i < group->topic_count; i++)
        if (group->topics[i].topic == topic)
            return &group->topics[i];
    return NULL;
}

struct el_assignment *el_group_assignment(struct el_group *group, const struct el_topic *topic, int32_t partition)
{
    struct el_group_topic *gt = find_topic(group, topic);
    return gt ? &gt->partitions[partition] : NULL;
}

// The new list of topics: those that are there and that a member wants, with what was assigned before.
static void refresh_topics(struct el_log *log, struct el_group *group)
{
    struct el_group_topic *topics = el_alloc(log->topic_count, sizeof *topics);
    size_t count = 0;
    for (size_t i = 0; i < log->topic_count; i++) {
        struct el_topic *topic = log->topics[i];
        if (!count_wanting(group, topic->name))
            continue;
        struct el_assignment *parts = el_alloc((size_t)topic->config.partitions, sizeof *parts);
        const struct el_group_topic *before = find_topic(group, topic);
        if (before)
            memcpy(parts, before->partitions, (size_t)before->count * sizeof *parts);
        topics[count++] =
            (struct el_group_topic){.topic = topic, .count = topic->config.partitions, .partitions = parts};
    }
    for (size_t i = 0; i < group->topic_count; i++)
        free(group->topics[i].partitions);
    free(group->topics);
    group->topics = topics;
    group->topic_count = count;
}

// Takes from `member` what it has beyond `quota` partitions of the topic, then gives it free ones up to that.
static void trim(struct el_group_topic *gt, const struct elog_consumer *member, size_t quota)
{
    size_t has = 0;
    for (int32_t i = 0; i < gt->topic->config.partitions; i++)
        if (gt->partitions[i].owner == member && ++has > quota)
            gt->partitions[i].owner = NULL;
}

static void fill(struct el_group_topic *gt, struct elog_consumer *member, size_t quota, int32_t epoch)
{
    size_t has = 0;
    for (int32_t i = 0; i < gt->topic->config.partitions; i++)
        has += gt->partitions[i].owner == member;
    for (int32_t i = 0; i < gt->topic->config.partitions && has < quota; i++) {
        if (gt->partitions[i].owner)
            continue;
        gt->partitions[i] = (struct el_assignment){.owner = member, .epoch = epoch, .position = -1};
        has++;
    }
}

// `turn` lets another member be first for each topic, so that odd partitions do not all go to the same one.
static void share_out(struct el_group *group, struct el_group_topic *gt, size_t turn)
{
    size_t members = count_wanting(group, gt->topic->name), parts = (size_t)gt->topic->config.partitions;
    for (int pass = 0; pass < 2; pass++) {
        size_t place = 0;
        for (struct elog_consumer *c = group->members; c; c = c->next) {
            if (!wants(c, gt->topic->name))
                continue;
            size_t rank = (place++ + turn) % members;
            size_t quota = parts / members + (rank < parts % members);
            if (pass == 0)
                trim(gt, c, quota);
            else
                fill(gt, c, quota, group->epoch);
        }
    }
}

void el_group_rebalance(struct el_log *log, struct el_group *group)
{
    group->epoch = ++log->epoch;
    refresh_topics(log, group);
    for (size_t i = 0; i < group->topic_count; i++)
        share_out(group, &group->topics[i], i);
    el_wake_waiting(log);
}

void el_group_rebalance_all(struct el_log *log, const char *topic)
{
    for (struct el_group *group = log->groups; group; group = group->next)
        if (count_wanting(group, topic))
            el_group_rebalance(log, group);
}

static struct el_group *group_of(struct el_log *log, const char *name)
{
    for (struct el_group *group = log->groups; group; group = group->next)
        if (strcmp(group->name, name) == 0)
            return group;
    struct el_group *group = el_alloc(1, sizeof *group);
    group->name = el_strdup(name);
    group->next = log->groups;
    log->groups = group;
    return group;
}

static void group_free(struct el_log *log, struct el_group *group)
{
    struct el_group **link = &log->groups;
    while (*link != group)
        link = &(*link)->next;
    *link = group->next;
    for (size_t i = 0; i < group->topic_count; i++)
        free(group->topics[i].partitions);
    free(group->topics);
    free(group->name);
    free(group);
}

static struct elog_consumer *consumer_new(struct el_log *log, const char *const *topics, size_t count,
                                          const char *member)
{
    struct elog_consumer *c = el_alloc(1, sizeof *c);
    c->log = log;
    c->member = el_strdup(member ? member : "");
    c->topics = el_alloc(count, sizeof(char *));
    c->topic_count = count;
    for (size_t i = 0; i < count; i++)
        c->topics[i] = el_strdup(topics[i]);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->wake, &attr);
    pthread_condattr_destroy(&attr);
    return c;
}

static void consumer_free(struct elog_consumer *c)
{
    for (size_t i = 0; i < c->topic_count; i++)
        free(c->topics[i]);
    free(c->topics);
    free(c->member);
    pthread_cond_destroy(&c->wake);
    free(c);
}

static const char *missing_topic(struct el_log *log, const char *const *topics, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!el_topic_find(log, topics[i]))
            return topics[i];
    return NULL;
}

int el_subscribe(void *state, const char *group, const char *const *topics, size_t count, const char *member,
                 struct elog_consumer **out, struct error *err)
{
    struct el_log *log = el_log(state);
    if (!group || !group[0] || !count)
        return error_set(err, ERR_INVALID, "A subscription needs the name of a group and a topic");
    struct elog_consumer *c = consumer_new(log, topics, count, member);
    pthread_mutex_lock(&log->lock);
    const char *missing = missing_topic(log, topics, count);
    if (!missing) {
        c->group = group_of(log, group);
        struct elog_consumer **link = &c->group->members;
        while (*link)
            link = &(*link)->next;
        *link = c;
        el_group_rebalance(log, c->group);
    }
    pthread_mutex_unlock(&log->lock);
    if (missing) {
        consumer_free(c);
        return error_set(err, ERR_NOT_FOUND, "There is no topic %.249s", missing);
    }
    *out = c;
    return 0;
}

static void disown(struct el_group *group, const struct elog_consumer *consumer)
{
    for (size_t i = 0; i < group->topic_count; i++)
        for (int32_t p = 0; p < group->topics[i].count; p++)
            if (group->topics[i].partitions[p].owner == consumer)
                group->topics[i].partitions[p].owner = NULL;
}

void el_unsubscribe(struct elog_consumer *consumer)
{
    if (!consumer)
        return;
    struct el_log *log = consumer->log;
    struct el_group *group = consumer->group;
    pthread_mutex_lock(&log->lock);
    struct elog_consumer **link = &group->members;
    while (*link != consumer)
        link = &(*link)->next;
    *link = consumer->next;
    disown(group, consumer);
    if (group->members)
        el_group_rebalance(log, group);
    else
        group_free(log, group);
    pthread_mutex_unlock(&log->lock);
    consumer_free(consumer);
}
