// SPDX-License-Identifier: Apache-2.0
// Topics: what is there, making and changing them, and how they differ from the catalogue.
#include <limits.h>
#include <string.h>

#include "flow/admin_int.h"
#include "flow/step.h"

static json_t *topic_json(const struct elog_topic_info *info, bool whole)
{
    int64_t records = 0, bytes = 0;
    json_t *partitions = json_array();
    for (int i = 0; i < info->config.partitions; i++) {
        const struct elog_partition_info *p = &info->partitions[i];
        records += p->end - p->begin;
        bytes += (int64_t)p->bytes;
        json_t *one = json_pack("{s:i,s:I,s:I,s:I,s:n}", "partition", p->partition, "begin", (json_int_t)p->begin,
                                "end", (json_int_t)p->end, "bytes", (json_int_t)p->bytes, "oldestAt");
        js_set_time(one, "oldestAt", p->oldest_ms);
        json_array_append_new(partitions, one);
    }
    enum event_topic topic;
    const char *type = event_topic_parse(info->name, &topic) == 0 ? event_topic_type(topic) : "";
    json_t *json = json_pack(
        "{s:s,s:s,s:i,s:s?,s:I,s:I,s:I,s:I}", "name", info->name, "type", type, "replication", info->config.replication,
        "cleanupPolicy", info->config.cleanup, "retentionMs", (json_int_t)info->config.retention_ms, "retentionBytes",
        (json_int_t)info->config.retention_bytes, "records", (json_int_t)records, "bytes", (json_int_t)bytes);
    if (whole) {
        json_object_set_new(json, "partitions", partitions);
    } else {
        json_object_set_new(json, "partitions", json_integer(info->config.partitions));
        json_decref(partitions);
    }
    return json;
}

int admin_topics(struct flow *f, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct elog_topic_info *infos;
    size_t count;
    if (f->log.ops->topic_list(f->log.state, &arena, &infos, &count, err) < 0)
        return -1;
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, topic_json(&infos[i], false));
    *out = json_pack("{s:o}", "topics", list);
    return 0;
}

static void differ(json_t *list, const char *setting, int64_t catalogue, int64_t actual)
{
    if (catalogue != actual)
        json_array_append_new(list, json_pack("{s:s,s:I,s:I}", "setting", setting, "catalogue", (json_int_t)catalogue,
                                              "actual", (json_int_t)actual));
}

static json_t *differences(const struct elog_topic_config *want, const struct elog_topic_config *is)
{
    json_t *list = json_array();
    differ(list, "partitions", want->partitions, is->partitions);
    differ(list, "retentionMs", want->retention_ms, is->retention_ms);
    differ(list, "retentionBytes", want->retention_bytes, is->retention_bytes);
    if (want->replication)
        differ(list, "replication", want->replication, is->replication);
    if (is->cleanup && strcmp(want->cleanup, is->cleanup) != 0)
        json_array_append_new(list, json_pack("{s:s,s:s,s:s}", "setting", "cleanupPolicy", "catalogue", want->cleanup,
                                              "actual", is->cleanup));
    return list;
}

int admin_topic(struct flow *f, const char *topic, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct elog_topic_info info;
    if (f->log.ops->topic_describe(f->log.state, &arena, topic, &info, err) < 0)
        return -1;
    enum event_topic known;
    *out = topic_json(&info, true);
    if (event_topic_parse(topic, &known) == 0) {
        const struct elog_topic_config want = flow_topic_config(f, known);
        json_object_set_new(*out, "differences", differences(&want, &info.config));
    }
    return 0;
}

// --- Making and changing

static int config_of(const struct topic_change *change, struct elog_topic_config *config, struct error *err)
{
    const struct {
        int64_t value, least, most;
        const char *name;
    } numbers[] = {{change->partitions, 1, INT32_MAX, "partitions"},
                   {change->replication, 0, INT32_MAX, "replication"}};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (numbers[i].value != ADMIN_KEEP &&
            (numbers[i].value < numbers[i].least || numbers[i].value > numbers[i].most))
            return error_set(err, ERR_INVALID, "`%s` must be a whole number from %lld on", numbers[i].name,
                             (long long)numbers[i].least);
    if (change->partitions != ADMIN_KEEP)
        config->partitions = (int32_t)change->partitions;
    if (change->replication != ADMIN_KEEP)
        config->replication = (int32_t)change->replication;
    if (change->retention_ms != ADMIN_KEEP)
        config->retention_ms = change->retention_ms;
    if (change->retention_bytes != ADMIN_KEEP)
        config->retention_bytes = change->retention_bytes;
    return 0;
}

int admin_topic_create(struct flow *f, const char *topic, const struct topic_change *change, json_t **out,
                       struct error *err)
{
    enum event_topic known;
    struct elog_topic_config config =
        flow_topic_config(f, event_topic_parse(topic, &known) == 0 ? known : TOPIC_IMAGES_UPLOADED);
    if (config_of(change, &config, err) < 0 || f->log.ops->topic_create(f->log.state, topic, &config, err) < 0)
        return -1;
    return admin_topic(f, topic, out, err);
}

int admin_topic_alter(struct flow *f, const char *topic, const struct topic_change *change, json_t **out,
                      struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct elog_topic_info info;
    if (f->log.ops->topic_describe(f->log.state, &arena, topic, &info, err) < 0)
        return -1;
    struct elog_topic_config config = info.config;
    if (config_of(change, &config, err) < 0 || f->log.ops->topic_alter(f->log.state, topic, &config, err) < 0)
        return -1;
    return admin_topic(f, topic, out, err);
}

static bool reads(const struct elog_group_info *group, const char *topic)
{
    for (size_t i = 0; i < group->partition_count; i++)
        if (strcmp(group->partitions[i].topic, topic) == 0)
            return true;
    return false;
}

// The group of this process' own consumers, which others see a moment after they began.
static const char *reads_here(struct flow *f, const char *topic)
{
    for (int s = 0; s < STEP_COUNT; s++)
        for (size_t i = 0; f->consuming >> s & 1 && i < steps[s].topic_count; i++)
            if (strcmp(event_topic_name(steps[s].topics[i]), topic) == 0)
                return step_group(f, &steps[s]);
    return NULL;
}

int admin_check_unread(struct flow *f, const char *topic, struct error *err)
{
    const char *here = reads_here(f, topic);
    _cleanup_arena_ struct arena arena = {0};
    struct elog_group_info *groups, group;
    size_t count;
    if (here)
        return error_set(err, ERR_CONFLICT,
                         "The group %.100s reads %.249s in this server; stop it (`deeplens serve`) first", here, topic);
    if (f->log.ops->group_list(f->log.state, &arena, &groups, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        struct error why = {0};
        if (f->log.ops->group_describe(f->log.state, &arena, groups[i].name, &group, &why) < 0) {
            if (why.code == ERR_NOT_FOUND) // gone since
                continue;
            return error_copy(err, &why);
        }
        if (group.settling)
            return error_set(err, ERR_CONFLICT,
                             "Who of the group %.100s reads what is just being settled: try again in a moment",
                             group.name);
        if (group.members && reads(&group, topic))
            return error_set(
                err, ERR_CONFLICT,
                "The group %.100s reads %.249s with %zu member%s; stop what consumes (`deeplens serve`) first",
                group.name, topic, group.members, group.members == 1 ? "" : "s");
    }
    return 0;
}

int admin_topic_delete(struct flow *f, const char *topic, json_t **out, struct error *err)
{
    if (admin_check_unread(f, topic, err) < 0 || admin_topic(f, topic, out, err) < 0)
        return -1;
    if (f->log.ops->topic_delete(f->log.state, topic, err) == 0)
        return 0;
    json_decref(*out);
    *out = NULL;
    return -1;
}

// --- The catalogue against the log

static int ensure(struct flow *f, enum event_topic topic, bool dry_run, json_t *list, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    const char *name = event_topic_name(topic), *state = "missing";
    const struct elog_topic_config want = flow_topic_config(f, topic);
    struct elog_topic_info info;
    struct error why = {0};
    json_t *differs = json_array();
    if (f->log.ops->topic_describe(f->log.state, &arena, name, &info, &why) == 0) {
        json_decref(differs);
        differs = differences(&want, &info.config);
        state = json_array_size(differs) ? "differs" : "ok";
    } else if (why.code != ERR_NOT_FOUND) {
        json_decref(differs);
        return error_copy(err, &why);
    } else if (!dry_run) {
        state = "made";
        if (f->log.ops->topic_create(f->log.state, name, &want, &why) < 0 && why.code != ERR_EXISTS) {
            json_decref(differs);
            return error_copy(err, &why);
        }
    }
    json_array_append_new(list, json_pack("{s:s,s:s,s:o}", "name", name, "state", state, "differences", differs));
    return 0;
}

int admin_topics_ensure(struct flow *f, bool dry_run, json_t **out, struct error *err)
{
    _cleanup_json_ json_t *list = json_array();
    for (int t = 0; t < TOPIC_COUNT; t++)
        if (ensure(f, (enum event_topic)t, dry_run, list, err) < 0)
            return -1;
    *out = json_pack("{s:O,s:b}", "topics", list, "dryRun", dry_run);
    return 0;
}
