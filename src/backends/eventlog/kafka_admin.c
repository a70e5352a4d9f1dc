// SPDX-License-Identifier: Apache-2.0
// Topics: made, changed and removed by questions to the brokers, and described from what they answer.
#include <stdio.h>
#include <string.h>

#include "backends/eventlog/kafka_int.h"
#include "base/clock.h"

enum { PARTITIONS_MAX = 1024, SETTLE_MS = 60000, CONFIGS_MAX = 32 };

int kf_ask(struct kf_log *log, rd_kafka_t *rk, rd_kafka_admin_op_t op, kf_ask_fn *ask, void *arg, const char *doing,
           rd_kafka_event_t **out, struct error *err)
{
    char why[128];
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(rk, op);
    rd_kafka_AdminOptions_set_request_timeout(options, kf_ask_ms(log), why, sizeof why);
    ask(rk, arg, options, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, kf_ask_ms(log) + 5000);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    if (!event)
        return error_set(err, ERR_UNAVAILABLE, "%s: Kafka does not answer", doing);
    if (rd_kafka_event_error(event)) {
        kf_error(err, rd_kafka_event_error(event), rd_kafka_event_error_string(event), doing);
        rd_kafka_event_destroy(event);
        return -1;
    }
    *out = event;
    return 0;
}

static int topic_results(const rd_kafka_topic_result_t **results, size_t count, const char *doing, struct error *err)
{
    for (size_t i = 0; i < count; i++)
        if (rd_kafka_topic_result_error(results[i]))
            return kf_error(err, rd_kafka_topic_result_error(results[i]),
                            rd_kafka_topic_result_error_string(results[i]), doing);
    return 0;
}

static int check_topic(const char *name, const struct elog_topic_config *config, struct error *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = name ? strlen(name) : 0;
    if (!len || len > ELOG_TOPIC_MAX || strspn(name, allowed) != len || !strcmp(name, ".") || !strcmp(name, ".."))
        return error_set(err, ERR_INVALID, "A topic's name has 1 to %d letters, digits, '.', '_' and '-'",
                         ELOG_TOPIC_MAX);
    if (config->partitions < 1 || config->partitions > PARTITIONS_MAX)
        return error_set(err, ERR_INVALID, "A topic has 1 to %d partitions", PARTITIONS_MAX);
    if (config->retention_ms < -1 || config->retention_bytes < -1)
        return error_set(err, ERR_INVALID, "A retention is a number, or -1 for no limit");
    return 0;
}

// ---- Creating

static void set_number(rd_kafka_NewTopic_t *topic, const char *name, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    rd_kafka_NewTopic_set_config(topic, name, text);
}

static void ask_create(rd_kafka_t *rk, void *arg, const rd_kafka_AdminOptions_t *options, rd_kafka_queue_t *queue)
{
    rd_kafka_NewTopic_t *topic = arg;
    rd_kafka_CreateTopics(rk, &topic, 1, options, queue);
}

// Brokers learn of a change one after the other: waits until the one that is asked knows.
static int await_topic(struct kf_log *log, const char *name, int32_t partitions, struct error *err)
{
    int64_t until = clock_mono_us() + SETTLE_MS * 1000LL;
    struct error why = {0};
    for (;;) {
        int32_t count = 0;
        int rc = kf_topic(log, name, true, NULL, &count, &why);
        bool known = partitions ? rc == 0 && count >= partitions : rc < 0 && why.code == ERR_NOT_FOUND;
        if (known)
            return 0;
        if (clock_mono_us() > until)
            return error_set(err, ERR_UNAVAILABLE, "Kafka's brokers do not all know of the change yet");
        clock_sleep_ms(20);
    }
}

int kf_topic_create(void *state, const char *name, const struct elog_topic_config *config, struct error *err)
{
    struct kf_log *log = kf_log(state);
    static const char doing[] = "The topic cannot be made";
    char why[256];
    if (check_topic(name, config, err) < 0)
        return -1;
    int copies = config->replication ? config->replication : log->replication;
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, config->partitions, copies ? copies : -1, why, sizeof why);
    if (!topic)
        return error_set(err, ERR_INVALID, "%s: %s", doing, why);
    set_number(topic, "retention.ms", config->retention_ms);
    set_number(topic, "retention.bytes", config->retention_bytes);
    set_number(topic, "max.message.bytes", KF_MESSAGE_MAX);
    rd_kafka_NewTopic_set_config(topic, "cleanup.policy", "delete");
    _cleanup_kf_event_ rd_kafka_event_t *event = NULL;
    int rc = kf_ask(log, log->producer, RD_KAFKA_ADMIN_OP_CREATETOPICS, ask_create, topic, doing, &event, err);
    rd_kafka_NewTopic_destroy(topic);
    if (rc < 0)
        return -1;
    size_t count;
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    return topic_results(results, count, doing, err) < 0 ? -1 : await_topic(log, name, config->partitions, err);
}

// ---- Deleting

static void ask_delete(rd_kafka_t *rk, void *arg, const rd_kafka_AdminOptions_t *options, rd_kafka_queue_t *queue)
{
    rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(arg);
    rd_kafka_DeleteTopics(rk, &topic, 1, options, queue);
    rd_kafka_DeleteTopic_destroy(topic);
}

int kf_topic_delete(void *state, const char *name, struct error *err)
{
    struct kf_log *log = kf_log(state);
    static const char doing[] = "The topic cannot be deleted";
    _cleanup_kf_event_ rd_kafka_event_t *event = NULL;
    if (kf_topic(log, name, true, NULL, NULL, err) < 0 ||
        kf_ask(log, log->producer, RD_KAFKA_ADMIN_OP_DELETETOPICS, ask_delete, (void *)name, doing, &event, err) < 0)
        return -1;
    size_t count;
    const rd_kafka_topic_result_t **results =
        rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count);
    kf_topic_forget(log, name);
    return topic_results(results, count, doing, err) < 0 ? -1 : await_topic(log, name, 0, err);
}

// ---- Configurations

struct configs {
    const struct rd_kafka_metadata_topic *const *topics; // asked about
    size_t count;
};

static void ask_configs(rd_kafka_t *rk, void *arg, const rd_kafka_AdminOptions_t *options, rd_kafka_queue_t *queue)
{
    const struct configs *c = arg;
    rd_kafka_ConfigResource_t **all = kf_alloc((c->count + 1) * sizeof *all);
    for (size_t i = 0; i < c->count; i++)
        all[i] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, c->topics[i]->topic);
    rd_kafka_DescribeConfigs(rk, all, c->count, options, queue);
    rd_kafka_ConfigResource_destroy_array(all, c->count);
    free(all);
}

static void take_configs(struct arena *arena, const rd_kafka_ConfigResource_t *resource, struct elog_topic_config *out)
{
    size_t count;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
    for (size_t i = 0; i < count; i++) {
        const char *name = rd_kafka_ConfigEntry_name(entries[i]), *value = rd_kafka_ConfigEntry_value(entries[i]);
        if (!value)
            continue;
        if (strcmp(name, "retention.ms") == 0)
            out->retention_ms = strtoll(value, NULL, 10);
        else if (strcmp(name, "retention.bytes") == 0)
            out->retention_bytes = strtoll(value, NULL, 10);
        else if (strcmp(name, "cleanup.policy") == 0)
            out->cleanup = arena_strdup(arena, value);
    }
}

// ---- Altering. AlterConfigs sets what it is given and everything else back: so what was set is given again.

struct alter {
    const char *name;
    rd_kafka_ConfigResource_t *resource;
    size_t partitions;
};

static void ask_grow(rd_kafka_t *rk, void *arg, const rd_kafka_AdminOptions_t *options, rd_kafka_queue_t *queue)
{
    const struct alter *alter = arg;
    char why[128];
    rd_kafka_NewPartitions_t *more = rd_kafka_NewPartitions_new(alter->name, alter->partitions, why, sizeof why);
    rd_kafka_CreatePartitions(rk, &more, 1, options, queue);
    rd_kafka_NewPartitions_destroy(more);
}

static void ask_alter(rd_kafka_t *rk, void *arg, const rd_kafka_AdminOptions_t *options, rd_kafka_queue_t *queue)
{
    const struct alter *alter = arg;
    rd_kafka_ConfigResource_t *resource = alter->resource;
    rd_kafka_AlterConfigs(rk, &resource, 1, options, queue);
}

static int grow(struct kf_log *log, struct alter *alter, struct error *err)
{
    static const char doing[] = "The topic cannot get more partitions";
    _cleanup_kf_event_ rd_kafka_event_t *event = NULL;
    if (kf_ask(log, log->producer, RD_KAFKA_ADMIN_OP_CREATEPARTITIONS, ask_grow, alter, doing, &event, err) < 0)
        return -1;
    size_t count;
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreatePartitions_result_topics(rd_kafka_event_CreatePartitions_result(event), &count);
    return topic_results(results, count, doing, err) < 0
               ? -1
               : await_topic(log, alter->name, (int32_t)alter->partitions, err);
}

static void keep_configs(const rd_kafka_ConfigResource_t *old, rd_kafka_ConfigResource_t *out)
{
    size_t count;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(old, &count);
    for (size_t i = 0; i < count; i++)
        if (strncmp(rd_kafka_ConfigEntry_name(entries[i]), "retention.", 10) != 0 &&
            rd_kafka_ConfigEntry_source(entries[i]) == RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG &&
            rd_kafka_ConfigEntry_value(entries[i]))
            rd_kafka_ConfigResource_set_config(out, rd_kafka_ConfigEntry_name(entries[i]),
                                               rd_kafka_ConfigEntry_value(entries[i]));
}

static int alter_configs(struct kf_log *log, struct alter *alter, const struct elog_topic_config *config,
                         struct error *err)
{
    static const char doing[] = "The topic's settings cannot be changed";
    const struct rd_kafka_metadata_topic named = {.topic = (char *)alter->name}, *list[] = {&named};
    struct configs asked = {list, 1};
    _cleanup_kf_event_ rd_kafka_event_t *old = NULL, *event = NULL;
    if (kf_ask(log, log->producer, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, ask_configs, &asked, doing, &old, err) < 0)
        return -1;
    size_t count;
    const rd_kafka_ConfigResource_t **resources =
        rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(old), &count);
    if (count != 1 || rd_kafka_ConfigResource_error(resources[0]))
        return kf_error(err, count ? rd_kafka_ConfigResource_error(resources[0]) : RD_KAFKA_RESP_ERR__FAIL, NULL,
                        doing);
    char ms[24], bytes[24];
    snprintf(ms, sizeof ms, "%lld", (long long)config->retention_ms);
    snprintf(bytes, sizeof bytes, "%lld", (long long)config->retention_bytes);
    alter->resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, alter->name);
    keep_configs(resources[0], alter->resource);
    rd_kafka_ConfigResource_set_config(alter->resource, "retention.ms", ms);
    rd_kafka_ConfigResource_set_config(alter->resource, "retention.bytes", bytes);
    int rc = kf_ask(log, log->producer, RD_KAFKA_ADMIN_OP_ALTERCONFIGS, ask_alter, alter, doing, &event, err);
    rd_kafka_ConfigResource_destroy(alter->resource);
    if (rc < 0)
        return -1;
    resources = rd_kafka_AlterConfigs_result_resources(rd_kafka_event_AlterConfigs_result(event), &count);
    if (count != 1 || rd_kafka_ConfigResource_error(resources[0]))
        return kf_error(err, count ? rd_kafka_ConfigResource_error(resources[0]) : RD_KAFKA_RESP_ERR__FAIL,
                        count ? rd_kafka_ConfigResource_error_string(resources[0]) : NULL, doing);
    return 0;
}

static int await_configs(struct kf_log *log, const char *name, const struct elog_topic_config *config,
                         struct error *err)
{
    int64_t until = clock_mono_us() + SETTLE_MS * 1000LL;
    for (;;) {
        _cleanup_arena_ struct arena arena = {0};
        struct elog_topic_info now;
        if (kf_topic_describe(log, &arena, name, &now, err) < 0)
            return -1;
        if (now.config.retention_ms == config->retention_ms && now.config.retention_bytes == config->retention_bytes)
            return 0;
        if (clock_mono_us() > until)
            return error_set(err, ERR_UNAVAILABLE, "Kafka's brokers do not all know of the change yet");
        clock_sleep_ms(20);
    }
}

int kf_topic_alter(void *state, const char *name, const struct elog_topic_config *config, struct error *err)
{
    struct kf_log *log = kf_log(state);
    _cleanup_arena_ struct arena arena = {0};
    struct elog_topic_info now;
    if (check_topic(name, config, err) < 0 || kf_topic_describe(state, &arena, name, &now, err) < 0)
        return -1;
    if (config->partitions < now.config.partitions)
        return error_set(err, ERR_INVALID, "Partitions only grow: %.249s has %d", name, now.config.partitions);
    if (config->replication && config->replication != now.config.replication)
        return error_set(err, ERR_INVALID, "The copies of a topic are moved with Kafka's own tools");
    struct alter alter = {.name = name, .partitions = (size_t)config->partitions};
    if (config->partitions > now.config.partitions && grow(log, &alter, err) < 0)
        return -1;
    return alter_configs(log, &alter, config, err) < 0 ? -1 : await_configs(log, name, config, err);
}

// ---- Records and offsets

static void ask_forget(rd_kafka_t *rk, void *arg, const rd_kafka_AdminOptions_t *options, rd_kafka_queue_t *queue)
{
    rd_kafka_DeleteRecords_t *records = rd_kafka_DeleteRecords_new(arg);
    rd_kafka_DeleteRecords(rk, &records, 1, options, queue);
    rd_kafka_DeleteRecords_destroy(records);
}

static int watermarks(struct kf_log *log, const char *topic, int32_t partition, int64_t *begin, int64_t *end,
                      struct error *err)
{
    if (kf_partition_check(log, topic, partition, err) < 0)
        return -1;
    rd_kafka_resp_err_t code =
        rd_kafka_query_watermark_offsets(log->producer, topic, partition, begin, end, kf_ask_ms(log));
    return code == 0 ? 0 : kf_error(err, code, NULL, "The partition cannot be looked at");
}

int kf_records_delete(void *state, const char *topic, int32_t partition, int64_t offset, struct error *err)
{
    struct kf_log *log = kf_log(state);
    static const char doing[] = "The records cannot be deleted";
    int64_t begin = 0, end = 0;
    if (watermarks(log, topic, partition, &begin, &end, err) < 0)
        return -1;
    if (offset < 0 || offset > end)
        return error_set(err, ERR_INVALID, "The offset %lld is behind the end, %lld", (long long)offset,
                         (long long)end);
    if (offset <= begin)
        return 0;
    _cleanup_kf_list_ rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = offset;
    _cleanup_kf_event_ rd_kafka_event_t *event = NULL;
    if (kf_ask(log, log->producer, RD_KAFKA_ADMIN_OP_DELETERECORDS, ask_forget, list, doing, &event, err) < 0)
        return -1;
    const rd_kafka_topic_partition_list_t *result =
        rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(event));
    if (result->cnt == 1 && result->elems[0].err)
        return kf_error(err, result->elems[0].err, NULL, doing);
    return 0;
}

int kf_offset_at(void *state, const char *topic, int32_t partition, int64_t timestamp_ms, int64_t *offset,
                 struct error *err)
{
    struct kf_log *log = kf_log(state);
    int64_t begin = 0, end = 0;
    if (watermarks(log, topic, partition, &begin, &end, err) < 0)
        return -1;
    _cleanup_kf_list_ rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = timestamp_ms < 0 ? 0 : timestamp_ms;
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(log->producer, list, kf_ask_ms(log));
    if (code == 0)
        code = list->elems[0].err;
    if (code != 0)
        return kf_error(err, code, NULL, "The offset cannot be found");
    int64_t found = list->elems[0].offset;
    *offset = found < 0 ? end : found;
    return 0;
}

// The first error among the answer's partitions.
static rd_kafka_resp_err_t error_among(const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++)
        if (list->elems[i].err)
            return list->elems[i].err;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

// A partition has no leader for a moment when it was just made, or its broker went away.
static bool is_passing(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION || code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
           code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || code == RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH;
}

static void learn_leaders(struct kf_log *log)
{
    const struct rd_kafka_metadata *metadata;
    if (rd_kafka_metadata(log->producer, 1, NULL, &metadata, kf_ask_ms(log)) == 0)
        rd_kafka_metadata_destroy(metadata);
}

int kf_offsets(struct kf_log *log, const rd_kafka_topic_partition_list_t *of, int64_t which,
               rd_kafka_topic_partition_list_t **out, struct error *err)
{
    // Kafka gives the ends of a log for the times -1 and -2, which librdkafka hands on as they are.
    _cleanup_kf_list_ rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_copy(of);
    int64_t until = clock_mono_us() + (log->down ? 0 : SETTLE_MS) * 1000LL;
    for (;;) {
        for (int i = 0; i < list->cnt; i++)
            list->elems[i].offset = which;
        rd_kafka_resp_err_t code = list->cnt ? rd_kafka_offsets_for_times(log->producer, list, kf_ask_ms(log)) : 0;
        if (code == 0)
            code = error_among(list);
        if (code == 0)
            break;
        if (!is_passing(code) || clock_mono_us() > until)
            return kf_error(err, code, NULL, "The offsets cannot be had");
        clock_sleep_ms(20);
        learn_leaders(log);
    }
    *out = take_ptr(list);
    return 0;
}

// ---- Describing

struct described {
    struct arena *arena;
    struct elog_topic_info *infos;
    size_t count;
};

static rd_kafka_topic_partition_list_t *all_partitions(const struct described *d)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    for (size_t t = 0; t < d->count; t++)
        for (int32_t p = 0; p < d->infos[t].config.partitions; p++)
            rd_kafka_topic_partition_list_add(list, d->infos[t].name, p);
    return list;
}

static int64_t offset_of(rd_kafka_topic_partition_list_t *list, const char *topic, int32_t partition)
{
    const rd_kafka_topic_partition_t *one = rd_kafka_topic_partition_list_find(list, topic, partition);
    return one && one->offset > 0 ? one->offset : 0;
}

static int describe_ends(struct kf_log *log, const struct described *d, struct error *err)
{
    _cleanup_kf_list_ rd_kafka_topic_partition_list_t *all = all_partitions(d), *begins = NULL, *ends = NULL;
    if (kf_offsets(log, all, RD_KAFKA_OFFSET_BEGINNING, &begins, err) < 0 ||
        kf_offsets(log, all, RD_KAFKA_OFFSET_END, &ends, err) < 0)
        return -1;
    struct kf_place *places = arena_alloc(d->arena, (size_t)all->cnt * sizeof *places + 1);
    size_t count = 0;
    for (size_t t = 0; t < d->count; t++)
        for (int32_t p = 0; p < d->infos[t].config.partitions; p++) {
            struct elog_partition_info *info = &d->infos[t].partitions[p];
            info->partition = p;
            info->begin = offset_of(begins, d->infos[t].name, p);
            info->end = offset_of(ends, d->infos[t].name, p);
            if (info->end > info->begin)
                places[count++] = (struct kf_place){.topic = d->infos[t].name, .partition = p, .offset = info->begin};
        }
    if (kf_times(log, places, count, err) < 0)
        return -1;
    for (size_t t = 0, i = 0; t < d->count; t++)
        for (int32_t p = 0; p < d->infos[t].config.partitions; p++)
            if (d->infos[t].partitions[p].end > d->infos[t].partitions[p].begin)
                d->infos[t].partitions[p].oldest_ms = places[i++].timestamp_ms;
    return 0;
}

static int describe_configs(struct kf_log *log, const struct described *d,
                            const struct rd_kafka_metadata_topic *const *topics, struct error *err)
{
    struct configs asked = {topics, d->count};
    _cleanup_kf_event_ rd_kafka_event_t *event = NULL;
    if (kf_ask(log, log->producer, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, ask_configs, &asked,
               "The topics cannot be described", &event, err) < 0)
        return -1;
    size_t count;
    const rd_kafka_ConfigResource_t **resources =
        rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event), &count);
    for (size_t i = 0; i < count; i++)
        for (size_t t = 0; t < d->count; t++)
            if (strcmp(rd_kafka_ConfigResource_name(resources[i]), d->infos[t].name) == 0)
                take_configs(d->arena, resources[i], &d->infos[t].config);
    return 0;
}

static int describe_all(struct kf_log *log, struct described *d, const struct rd_kafka_metadata_topic *const *topics,
                        struct error *err)
{
    for (size_t i = 0; i < d->count; i++) {
        const struct rd_kafka_metadata_topic *topic = topics[i];
        int32_t count = topic->partition_cnt;
        d->infos[i].name = arena_strdup(d->arena, topic->topic);
        d->infos[i].config.partitions = count;
        d->infos[i].config.replication = count ? topic->partitions[0].replica_cnt : 0;
        d->infos[i].config.cleanup = "delete";
        d->infos[i].partitions = arena_alloc(d->arena, ((size_t)count + 1) * sizeof *d->infos[i].partitions);
    }
    if (!d->count)
        return 0;
    return describe_configs(log, d, topics, err) < 0 ? -1 : describe_ends(log, d, err);
}

static int by_name(const void *a, const void *b)
{
    const struct rd_kafka_metadata_topic *const *x = a, *const *y = b;
    return strcmp((*x)->topic, (*y)->topic);
}

// The topics of the metadata that exist and are not Kafka's own.
static const struct rd_kafka_metadata_topic **choose(struct arena *arena, const struct rd_kafka_metadata *metadata,
                                                     size_t *count)
{
    const struct rd_kafka_metadata_topic **chosen =
        arena_alloc(arena, ((size_t)metadata->topic_cnt + 1) * sizeof *chosen);
    *count = 0;
    for (int i = 0; i < metadata->topic_cnt; i++)
        if (metadata->topics[i].err == 0 && strncmp(metadata->topics[i].topic, "__", 2) != 0)
            chosen[(*count)++] = &metadata->topics[i];
    qsort(chosen, *count, sizeof *chosen, by_name);
    return chosen;
}

// `name` NULL: all.
static int describe(struct kf_log *log, struct arena *arena, const char *name, struct described *d, struct error *err)
{
    rd_kafka_topic_t *handle = NULL;
    const struct rd_kafka_metadata *metadata;
    if (name && kf_topic(log, name, true, &handle, NULL, err) < 0)
        return -1;
    rd_kafka_resp_err_t code = rd_kafka_metadata(log->producer, name == NULL, handle, &metadata, kf_ask_ms(log));
    if (code != 0)
        return kf_error(err, code, NULL, "The topics cannot be described");
    size_t count;
    const struct rd_kafka_metadata_topic **topics = choose(arena, metadata, &count);
    *d = (struct described){.arena = arena, .count = count};
    d->infos = arena_alloc(arena, (count + 1) * sizeof *d->infos);
    int rc = describe_all(log, d, topics, err);
    rd_kafka_metadata_destroy(metadata);
    return rc;
}

int kf_topic_list(void *state, struct arena *arena, struct elog_topic_info **out, size_t *count, struct error *err)
{
    struct described d = {0};
    if (describe(kf_log(state), arena, NULL, &d, err) < 0)
        return -1;
    *out = d.infos;
    *count = d.count;
    return 0;
}

int kf_topic_describe(void *state, struct arena *arena, const char *topic, struct elog_topic_info *out,
                      struct error *err)
{
    struct described d = {0};
    if (describe(kf_log(state), arena, topic, &d, err) < 0)
        return -1;
    if (d.count != 1)
        return error_set(err, ERR_NOT_FOUND, "There is no topic %.249s", topic);
    *out = d.infos[0];
    return 0;
}
