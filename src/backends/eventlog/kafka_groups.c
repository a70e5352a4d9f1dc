// SPDX-License-Identifier: Apache-2.0
// Groups as people see them: who is in it and has what, what was committed, and how far behind that is.
#include <string.h>

#include "backends/eventlog/kafka_int.h"
#include "base/clock.h"

static void ask_list(rd_kafka_t *rk, void *arg, const rd_kafka_AdminOptions_t *options, rd_kafka_queue_t *queue)
{
    rd_kafka_ListConsumerGroups(rk, options, queue);
}

struct names {
    const char **names;
    size_t count;
};

static void ask_describe(rd_kafka_t *rk, void *arg, const rd_kafka_AdminOptions_t *options, rd_kafka_queue_t *queue)
{
    const struct names *n = arg;
    rd_kafka_DescribeConsumerGroups(rk, n->names, n->count, options, queue);
}

// ---- Asking coordinators. Once librdkafka 2.0.2 knows the broker that coordinates a group, it keeps to it for as long
// as it is asked, also when that broker says that it is another's by now. So such questions have a client of their own,
// and after that answer a new one. An answer must not outlive its client.

struct kf_client {
    rd_kafka_t *rk;
    int users; // the log, and answers; under log->asking
};

struct answer {
    struct kf_log *log;
    struct kf_client *client;
    rd_kafka_event_t *event;
};

static void client_drop(struct kf_log *log, struct kf_client *client)
{
    pthread_mutex_lock(&log->asking);
    bool last = --client->users == 0;
    pthread_mutex_unlock(&log->asking);
    if (!last)
        return;
    kf_destroy(client->rk);
    free(client);
}

static void answer_drop(struct answer *a)
{
    if (a->event)
        rd_kafka_event_destroy(take_ptr(a->event));
    if (a->client)
        client_drop(a->log, take_ptr(a->client));
}

void kf_coordinators_free(struct kf_log *log)
{
    if (log->coordinators)
        client_drop(log, take_ptr(log->coordinators));
}

static struct kf_client *client_new(struct kf_log *log, struct error *err)
{
    static const char *const settings[] = {"enable.auto.commit", "false", NULL};
    rd_kafka_conf_t *conf;
    rd_kafka_t *rk;
    if (kf_conf(log, RD_KAFKA_CONSUMER, settings, &conf, err) < 0 || kf_new(log, RD_KAFKA_CONSUMER, conf, &rk, err) < 0)
        return NULL;
    struct kf_client *client = kf_alloc(sizeof *client);
    *client = (struct kf_client){.rk = rk, .users = 1};
    return client;
}

// The client in use, or a new one in its place.
static struct kf_client *client_take(struct kf_log *log, bool fresh, struct error *err)
{
    struct kf_client *old = NULL, *client;
    pthread_mutex_lock(&log->asking);
    if (fresh)
        old = take_ptr(log->coordinators);
    if (!log->coordinators)
        log->coordinators = client_new(log, err);
    client = log->coordinators;
    if (client)
        client->users++;
    pthread_mutex_unlock(&log->asking);
    if (old)
        client_drop(log, old);
    return client;
}

static bool is_elsewhere(const rd_kafka_error_t *error)
{
    return error && rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR_NOT_COORDINATOR;
}

static bool has_moved(rd_kafka_event_t *event)
{
    size_t count = 0;
    bool moved = false;
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DELETEGROUPS_RESULT) {
        const rd_kafka_group_result_t **deleted =
            rd_kafka_DeleteGroups_result_groups(rd_kafka_event_DeleteGroups_result(event), &count);
        for (size_t i = 0; i < count; i++)
            moved |= is_elsewhere(rd_kafka_group_result_error(deleted[i]));
        return moved;
    }
    const rd_kafka_ConsumerGroupDescription_t **groups =
        rd_kafka_DescribeConsumerGroups_result_groups(rd_kafka_event_DescribeConsumerGroups_result(event), &count);
    for (size_t i = 0; i < count; i++)
        moved |= is_elsewhere(rd_kafka_ConsumerGroupDescription_error(groups[i]));
    return moved;
}

// The caller drops the answer, also after a failure.
static int ask_coordinators(struct kf_log *log, rd_kafka_admin_op_t op, kf_ask_fn *ask, void *arg, const char *doing,
                            struct answer *out, struct error *err)
{
    for (int i = 0; i < 2; i++) {
        answer_drop(out);
        out->log = log;
        out->client = client_take(log, i > 0, err);
        if (!out->client)
            return -1;
        rd_kafka_poll(out->client->rk, 0); // what it had to say since it was last used
        if (kf_ask(log, out->client->rk, op, ask, arg, doing, &out->event, err) < 0)
            return -1;
        if (!has_moved(out->event))
            break;
    }
    return 0;
}

static int describe_members(struct kf_log *log, struct names *names, struct answer *out, struct error *err)
{
    return ask_coordinators(log, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, ask_describe, names,
                            "The group cannot be described", out, err);
}

// ---- All groups

static int by_name(const void *a, const void *b)
{
    const struct elog_group_info *x = a, *y = b;
    return strcmp(x->name, y->name);
}

int kf_group_list(void *state, struct arena *arena, struct elog_group_info **out, size_t *count, struct error *err)
{
    struct kf_log *log = kf_log(state);
    _cleanup_kf_event_ rd_kafka_event_t *list = NULL;
    _cleanup_(answer_drop) struct answer described = {0};
    if (kf_ask(log, log->producer, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS, ask_list, NULL, "The groups cannot be listed",
               &list, err) < 0)
        return -1;
    size_t found;
    const rd_kafka_ConsumerGroupListing_t **all =
        rd_kafka_ListConsumerGroups_result_valid(rd_kafka_event_ListConsumerGroups_result(list), &found);
    struct names names = {.names = arena_alloc(arena, (found + 1) * sizeof *names.names), .count = found};
    for (size_t i = 0; i < found; i++)
        names.names[i] = rd_kafka_ConsumerGroupListing_group_id(all[i]);
    struct elog_group_info *infos = arena_alloc(arena, (found + 1) * sizeof *infos);
    if (found) {
        if (describe_members(log, &names, &described, err) < 0)
            return -1;
        const rd_kafka_ConsumerGroupDescription_t **groups = rd_kafka_DescribeConsumerGroups_result_groups(
            rd_kafka_event_DescribeConsumerGroups_result(described.event), &found);
        for (size_t i = 0; i < found; i++) {
            const rd_kafka_error_t *error = rd_kafka_ConsumerGroupDescription_error(groups[i]);
            if (error && rd_kafka_error_code(error) != RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND)
                return kf_error(err, rd_kafka_error_code(error), rd_kafka_error_string(error),
                                "The groups cannot be described");
            infos[i].name = arena_strdup(arena, rd_kafka_ConsumerGroupDescription_group_id(groups[i]));
            infos[i].members = rd_kafka_ConsumerGroupDescription_member_count(groups[i]);
        }
        qsort(infos, found, sizeof *infos, by_name);
    }
    *out = infos;
    *count = found;
    return 0;
}

// ---- Asking as a group. The functions of the admin API for a group's offsets (ListConsumerGroupOffsets and its
// sister) crash in librdkafka 2.0.2 when the coordinator is just being loaded, as it is after a broker's restart. A
// consumer that never subscribes may ask, and commit while the group has no members. Those of the last groups asked
// about are kept.

enum { ASKERS_MAX = 16 };

static void asker_free(struct kf_asker *a)
{
    kf_destroy(a->rk);
    free(a);
}

void kf_askers_free(struct kf_log *log)
{
    for (struct kf_asker *a = log->askers, *next; a; a = next) {
        next = a->next;
        asker_free(a);
    }
}

static void forget_oldest(struct kf_log *log)
{
    struct kf_asker **at = &log->askers;
    for (int i = 0; *at && i < ASKERS_MAX; i++)
        at = &(*at)->next;
    if (*at)
        asker_free(take_ptr(*at));
}

static int asker_new(struct kf_log *log, const char *group, struct kf_asker **out, struct error *err)
{
    const char *const settings[] = {"group.id", group, "enable.auto.commit", "false", NULL};
    rd_kafka_conf_t *conf;
    rd_kafka_t *rk;
    if (kf_conf(log, RD_KAFKA_CONSUMER, settings, &conf, err) < 0 || kf_new(log, RD_KAFKA_CONSUMER, conf, &rk, err) < 0)
        return -1;
    struct kf_asker *a = kf_alloc(sizeof *a + strlen(group) + 1);
    memcpy(a->group, group, strlen(group));
    a->rk = rk;
    *out = a;
    return 0;
}

// The group's asker, made if need be, and first in the list from now on. log->asking held.
static int asker(struct kf_log *log, const char *group, rd_kafka_t **out, struct error *err)
{
    struct kf_asker **at = &log->askers, *a;
    while ((a = *at) && strcmp(a->group, group) != 0)
        at = &a->next;
    if (a)
        *at = a->next;
    else if (asker_new(log, group, &a, err) < 0)
        return -1;
    a->next = log->askers;
    log->askers = a;
    forget_oldest(log);
    rd_kafka_poll(a->rk, 0); // what it had to say since it was last used
    *out = a->rk;
    return 0;
}

// ---- One group

struct whole {
    struct kf_log *log;
    struct arena *arena;
    struct elog_group_info *info;
    rd_kafka_topic_partition_list_t *committed;
    const rd_kafka_ConsumerGroupDescription_t *group;
};

// Every partition of every topic, as the question for what a group committed.
static int all_partitions(struct kf_log *log, rd_kafka_topic_partition_list_t *list, struct error *err)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code = rd_kafka_metadata(log->producer, 1, NULL, &metadata, kf_ask_ms(log));
    if (code != 0)
        return kf_error(err, code, NULL, "The topics cannot be listed");
    for (int t = 0; t < metadata->topic_cnt; t++)
        for (int p = 0; strncmp(metadata->topics[t].topic, "__", 2) != 0 && p < metadata->topics[t].partition_cnt; p++)
            rd_kafka_topic_partition_list_add(list, metadata->topics[t].topic, p);
    rd_kafka_metadata_destroy(metadata);
    return 0;
}

static int committed_offsets(struct kf_log *log, const char *group, rd_kafka_topic_partition_list_t **out,
                             struct error *err)
{
    _cleanup_kf_list_ rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new(64);
    if (all_partitions(log, all, err) < 0)
        return -1;
    pthread_mutex_lock(&log->asking);
    rd_kafka_t *rk = NULL;
    rd_kafka_resp_err_t code = 0;
    int rc = asker(log, group, &rk, err);
    if (rc == 0 && all->cnt)
        code = rd_kafka_committed(rk, all, kf_ask_ms(log));
    pthread_mutex_unlock(&log->asking);
    if (rc < 0)
        return -1;
    if (code != 0 && code != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        return kf_error(err, code, NULL, "The group's offsets cannot be had");
    *out = rd_kafka_topic_partition_list_new(all->cnt);
    for (int i = 0; i < all->cnt; i++)
        if (all->elems[i].offset >= 0)
            rd_kafka_topic_partition_list_add(*out, all->elems[i].topic, all->elems[i].partition)->offset =
                all->elems[i].offset;
    return 0;
}

// All partitions of all topics that the group committed to or was assigned.
static rd_kafka_topic_partition_list_t *concerned(struct whole *w)
{
    rd_kafka_topic_partition_list_t *seen = rd_kafka_topic_partition_list_copy(w->committed);
    for (size_t m = 0; m < w->info->members; m++) {
        const rd_kafka_topic_partition_list_t *has = rd_kafka_MemberAssignment_partitions(
            rd_kafka_MemberDescription_assignment(rd_kafka_ConsumerGroupDescription_member(w->group, m)));
        for (int i = 0; has && i < has->cnt; i++)
            rd_kafka_topic_partition_list_add(seen, has->elems[i].topic, has->elems[i].partition);
    }
    rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new(seen->cnt);
    for (int i = 0; i < seen->cnt; i++) {
        int32_t partitions = 0;
        const char *topic = seen->elems[i].topic;
        if (rd_kafka_topic_partition_list_find(all, topic, 0) ||
            kf_topic(w->log, topic, true, NULL, &partitions, NULL) < 0)
            continue; // a topic that is gone
        for (int32_t p = 0; p < partitions; p++)
            rd_kafka_topic_partition_list_add(all, topic, p);
    }
    rd_kafka_topic_partition_list_destroy(seen);
    rd_kafka_topic_partition_list_sort(all, NULL, NULL);
    return all;
}

static const char *owner(struct whole *w, const char *topic, int32_t partition)
{
    for (size_t m = 0; m < w->info->members; m++) {
        const rd_kafka_MemberDescription_t *member = rd_kafka_ConsumerGroupDescription_member(w->group, m);
        const rd_kafka_topic_partition_list_t *has =
            rd_kafka_MemberAssignment_partitions(rd_kafka_MemberDescription_assignment(member));
        for (int i = 0; has && i < has->cnt; i++)
            if (has->elems[i].partition == partition && strcmp(has->elems[i].topic, topic) == 0)
                return arena_strdup(w->arena, rd_kafka_MemberDescription_client_id(member));
    }
    return NULL;
}

static int64_t offset_in(rd_kafka_topic_partition_list_t *list, const rd_kafka_topic_partition_t *of, int64_t otherwise)
{
    const rd_kafka_topic_partition_t *one = rd_kafka_topic_partition_list_find(list, of->topic, of->partition);
    return one && one->offset >= 0 ? one->offset : otherwise;
}

static int fill_partitions(struct whole *w, rd_kafka_topic_partition_list_t *all, struct error *err)
{
    _cleanup_kf_list_ rd_kafka_topic_partition_list_t *begins = NULL, *ends = NULL;
    if (kf_offsets(w->log, all, RD_KAFKA_OFFSET_BEGINNING, &begins, err) < 0 ||
        kf_offsets(w->log, all, RD_KAFKA_OFFSET_END, &ends, err) < 0)
        return -1;
    size_t count = (size_t)all->cnt, late = 0;
    struct elog_group_partition *parts = arena_alloc(w->arena, (count + 1) * sizeof *parts);
    struct kf_place *places = arena_alloc(w->arena, (count + 1) * sizeof *places);
    for (size_t i = 0; i < count; i++) {
        const rd_kafka_topic_partition_t *of = &all->elems[i];
        struct elog_group_partition *p = &parts[i];
        int64_t begin = offset_in(begins, of, 0), next = offset_in(w->committed, of, -1);
        *p = (struct elog_group_partition){.topic = arena_strdup(w->arena, of->topic),
                                           .partition = of->partition,
                                           .committed = next,
                                           .end = offset_in(ends, of, 0),
                                           .member = owner(w, of->topic, of->partition)};
        next = next < begin ? begin : next;
        p->lag = p->end > next ? p->end - next : 0;
        if (p->lag)
            places[late++] = (struct kf_place){.topic = p->topic, .partition = p->partition, .offset = next};
    }
    if (kf_times(w->log, places, late, err) < 0)
        return -1;
    int64_t now = clock_now_ms();
    for (size_t i = 0, l = 0; i < count; i++)
        if (parts[i].lag) {
            int64_t time = places[l++].timestamp_ms;
            parts[i].lag_ms = time > 0 && time < now ? now - time : 0;
        }
    w->info->partitions = parts;
    w->info->partition_count = count;
    return 0;
}

static int describe_one(struct whole *w, const char *name, struct error *err)
{
    struct names names = {.names = &name, .count = 1};
    _cleanup_(answer_drop) struct answer answer = {0};
    if (describe_members(w->log, &names, &answer, err) < 0)
        return -1;
    size_t count;
    const rd_kafka_ConsumerGroupDescription_t **groups = rd_kafka_DescribeConsumerGroups_result_groups(
        rd_kafka_event_DescribeConsumerGroups_result(answer.event), &count);
    const rd_kafka_error_t *error = count ? rd_kafka_ConsumerGroupDescription_error(groups[0]) : NULL;
    if (error && rd_kafka_error_code(error) != RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND)
        return kf_error(err, rd_kafka_error_code(error), rd_kafka_error_string(error), "The group cannot be described");
    bool known =
        count && !error && rd_kafka_ConsumerGroupDescription_state(groups[0]) != RD_KAFKA_CONSUMER_GROUP_STATE_DEAD;
    if (!known && (!w->committed || !w->committed->cnt))
        return error_set(err, ERR_NOT_FOUND, "There is no group %.128s", name);
    w->group = count ? groups[0] : NULL;
    const rd_kafka_consumer_group_state_t state =
        known ? rd_kafka_ConsumerGroupDescription_state(groups[0]) : RD_KAFKA_CONSUMER_GROUP_STATE_EMPTY;
    w->info->settling = state == RD_KAFKA_CONSUMER_GROUP_STATE_PREPARING_REBALANCE ||
                        state == RD_KAFKA_CONSUMER_GROUP_STATE_COMPLETING_REBALANCE;
    w->info->members = known ? rd_kafka_ConsumerGroupDescription_member_count(groups[0]) : 0;
    _cleanup_kf_list_ rd_kafka_topic_partition_list_t *all = concerned(w);
    return fill_partitions(w, all, err);
}

int kf_group_describe(void *state, struct arena *arena, const char *group, struct elog_group_info *out,
                      struct error *err)
{
    struct kf_log *log = kf_log(state);
    struct elog_group_info info = {.name = arena_strdup(arena, group)};
    _cleanup_kf_list_ rd_kafka_topic_partition_list_t *committed = NULL;
    if (committed_offsets(log, group, &committed, err) < 0)
        return -1;
    struct whole w = {.log = log, .arena = arena, .info = &info, .committed = committed};
    if (describe_one(&w, group, err) < 0)
        return -1;
    *out = info;
    return 0;
}

// ---- Changing

static void ask_delete(rd_kafka_t *rk, void *arg, const rd_kafka_AdminOptions_t *options, rd_kafka_queue_t *queue)
{
    rd_kafka_DeleteGroup_t *group = rd_kafka_DeleteGroup_new(arg);
    rd_kafka_DeleteGroups(rk, &group, 1, options, queue);
    rd_kafka_DeleteGroup_destroy(group);
}

int kf_group_seek(void *state, const char *group, const char *topic, int32_t partition, int64_t offset,
                  struct error *err)
{
    struct kf_log *log = kf_log(state);
    static const char doing[] = "The group cannot be moved while it has members";
    int64_t begin = 0, end = 0;
    if (kf_partition_check(log, topic, partition, err) < 0)
        return -1;
    rd_kafka_resp_err_t code =
        rd_kafka_query_watermark_offsets(log->producer, topic, partition, &begin, &end, kf_ask_ms(log));
    if (code != 0)
        return kf_error(err, code, NULL, "The partition cannot be looked at");
    if (offset < 0 || offset > end)
        return error_set(err, ERR_INVALID, "The offset %lld is not from 0 to the end, %lld", (long long)offset,
                         (long long)end);
    _cleanup_kf_list_ rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = offset;
    pthread_mutex_lock(&log->asking);
    rd_kafka_t *rk = NULL;
    int rc = asker(log, group, &rk, err);
    if (rc == 0)
        code = rd_kafka_commit(rk, list, 0);
    pthread_mutex_unlock(&log->asking);
    return rc < 0 ? -1 : code == 0 ? 0 : kf_error(err, code, NULL, doing);
}

int kf_group_delete(void *state, const char *group, struct error *err)
{
    static const char doing[] = "The group cannot be deleted";
    _cleanup_(answer_drop) struct answer answer = {0};
    if (ask_coordinators(kf_log(state), RD_KAFKA_ADMIN_OP_DELETEGROUPS, ask_delete, (void *)group, doing, &answer,
                         err) < 0)
        return -1;
    size_t count;
    const rd_kafka_group_result_t **results =
        rd_kafka_DeleteGroups_result_groups(rd_kafka_event_DeleteGroups_result(answer.event), &count);
    const rd_kafka_error_t *error = count ? rd_kafka_group_result_error(results[0]) : NULL;
    return error ? kf_error(err, rd_kafka_error_code(error), rd_kafka_error_string(error), doing) : 0;
}
