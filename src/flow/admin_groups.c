// SPDX-License-Identifier: Apache-2.0
// Groups: who reads what, how far, how far behind; putting them elsewhere, forgetting them.
#include <string.h>

#include "base/clock.h"
#include "flow/admin_int.h"
#include "flow/lag.h"

static json_t *group_json(const struct elog_group_info *info)
{
    int64_t lag = 0;
    json_t *partitions = json_array();
    for (size_t i = 0; i < info->partition_count; i++) {
        const struct elog_group_partition *p = &info->partitions[i];
        lag += p->lag;
        json_array_append_new(partitions,
                              json_pack("{s:s,s:i,s:I,s:I,s:I,s:I,s:s?}", "topic", p->topic, "partition", p->partition,
                                        "committed", (json_int_t)p->committed, "end", (json_int_t)p->end, "lag",
                                        (json_int_t)p->lag, "lagMs", (json_int_t)p->lag_ms, "member", p->member));
    }
    return json_pack("{s:s,s:I,s:I,s:o}", "name", info->name, "members", (json_int_t)info->members, "lag",
                     (json_int_t)lag, "partitions", partitions);
}

int admin_group(struct flow *f, const char *group, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct elog_group_info info;
    if (f->log.ops->group_describe(f->log.state, &arena, group, &info, err) < 0)
        return -1;
    *out = group_json(&info);
    return 0;
}

int admin_groups(struct flow *f, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct elog_group_info *infos;
    size_t count;
    if (f->log.ops->group_list(f->log.state, &arena, &infos, &count, err) < 0)
        return -1;
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        struct elog_group_info info;
        if (f->log.ops->group_describe(f->log.state, &arena, infos[i].name, &info, err) < 0) {
            json_decref(list);
            return -1;
        }
        json_t *group = group_json(&info);
        json_object_del(group, "partitions");
        json_array_append_new(list, group);
    }
    *out = json_pack("{s:o}", "groups", list);
    return 0;
}

// --- Lag

// On a log shared with others, groups that read none of our topics are shown, and are nothing to be alarmed by.
static bool reads_ours(const struct elog_group_info *info)
{
    enum event_topic topic;
    for (size_t i = 0; i < info->partition_count; i++)
        if (event_topic_parse(info->partitions[i].topic, &topic) == 0)
            return true;
    return false;
}

static int note_lag(struct flow *f, const struct elog_group_info *info, struct arena *arena, json_t *list)
{
    enum lag_state *states = arena_alloc(arena, (info->partition_count + 1) * sizeof *states);
    enum lag_state worst = LAG_OK;
    int64_t oldest_ms = 0;
    size_t i;
    json_t *group = group_json(info), *p;
    lag_note(f->lags, info, clock_now_ms(), f->settings.lag_interval_ms, states);
    json_array_foreach(js_arr(group, "partitions"), i, p)
    {
        json_object_set_new(p, "state", json_string(lag_state_name(states[i])));
        worst = states[i] > worst ? states[i] : worst;
        oldest_ms = info->partitions[i].lag_ms > oldest_ms ? info->partitions[i].lag_ms : oldest_ms;
    }
    bool ours = reads_ours(info);
    bool above = ours && f->settings.lag_limit && js_int(group, "lag", 0) > f->settings.lag_limit;
    bool old = ours && f->settings.age_limit_ms && oldest_ms > f->settings.age_limit_ms;
    json_object_set_new(group, "lagMs", json_integer(oldest_ms));
    json_object_set_new(group, "state", json_string(lag_state_name(worst)));
    json_object_set_new(group, "aboveLimit", json_boolean(above));
    json_object_set_new(group, "tooOld", json_boolean(old));
    json_object_set_new(group, "alarming", json_boolean(above || old || (ours && worst >= LAG_STALLED)));
    json_array_append_new(list, group);
    return above || old || (ours && worst >= LAG_STALLED);
}

int admin_lag(struct flow *f, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct elog_group_info *infos, info;
    size_t count;
    bool alarming = false;
    if (f->log.ops->group_list(f->log.state, &arena, &infos, &count, err) < 0)
        return -1;
    _cleanup_json_ json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        struct error why = {0};
        if (f->log.ops->group_describe(f->log.state, &arena, infos[i].name, &info, &why) == 0)
            alarming |= note_lag(f, &info, &arena, list);
        else if (why.code != ERR_NOT_FOUND) // else it is gone since
            return error_copy(err, &why);
    }
    *out = json_pack("{s:O,s:I,s:b}", "groups", list, "limit", (json_int_t)f->settings.lag_limit, "alarming", alarming);
    return 0;
}

// --- Putting a group elsewhere

static int target(struct flow *f, const struct group_reset *reset, const char *topic,
                  const struct elog_partition_info *p, int64_t from, int64_t *out, struct error *err)
{
    int64_t to = 0;
    switch (reset->to) {
    case RESET_EARLIEST:
        to = p->begin;
        break;
    case RESET_LATEST:
        to = p->end;
        break;
    case RESET_OFFSET:
        to = reset->value;
        break;
    case RESET_SHIFT: // a group that never committed begins at the oldest record
        from = from < p->begin ? p->begin : from;
        if (__builtin_add_overflow(from, reset->value, &to))
            to = reset->value < 0 ? p->begin : p->end;
        break;
    case RESET_TIME:
        if (f->log.ops->offset_at(f->log.state, topic, p->partition, reset->value, &to, err) < 0)
            return -1;
        break;
    }
    *out = to < p->begin ? p->begin : to > p->end ? p->end : to;
    return 0;
}

static int64_t committed(const struct elog_group_info *group, const char *topic, int32_t partition)
{
    for (size_t i = 0; i < group->partition_count; i++)
        if (group->partitions[i].partition == partition && strcmp(group->partitions[i].topic, topic) == 0)
            return group->partitions[i].committed;
    return -1;
}

static int reset_topic(struct flow *f, const struct elog_group_info *group, const char *topic,
                       const struct group_reset *reset, json_t *list, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct elog_topic_info info;
    if (f->log.ops->topic_describe(f->log.state, &arena, topic, &info, err) < 0)
        return -1;
    if (reset->partition >= info.config.partitions)
        return error_set(err, ERR_NOT_FOUND, "Topic %s has no partition %d", topic, reset->partition);
    for (int32_t n = 0; n < info.config.partitions; n++) {
        int64_t from = committed(group, topic, n), to = 0;
        if (reset->partition >= 0 && n != reset->partition)
            continue;
        if (target(f, reset, topic, &info.partitions[n], from, &to, err) < 0 ||
            (!reset->dry_run && f->log.ops->group_seek(f->log.state, group->name, topic, n, to, err) < 0))
            return -1;
        json_array_append_new(list, json_pack("{s:s,s:i,s:I,s:I,s:I,s:I}", "topic", topic, "partition", n, "from",
                                              (json_int_t)from, "to", (json_int_t)to, "lag",
                                              (json_int_t)(info.partitions[n].end - to), "end",
                                              (json_int_t)info.partitions[n].end));
    }
    return 0;
}

static int reset_all(struct flow *f, const struct elog_group_info *group, const struct group_reset *reset, json_t *list,
                     struct error *err)
{
    if (reset->topic)
        return reset_topic(f, group, reset->topic, reset, list, err);
    const char *done = ""; // partitions stand together by topic
    for (size_t i = 0; i < group->partition_count; i++) {
        if (strcmp(group->partitions[i].topic, done) == 0)
            continue;
        done = group->partitions[i].topic;
        if (reset_topic(f, group, done, reset, list, err) < 0)
            return -1;
    }
    return 0;
}

int admin_group_reset(struct flow *f, const char *name, const struct group_reset *reset, json_t **out,
                      struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    _cleanup_json_ json_t *list = json_array();
    struct elog_group_info group = {.name = name};
    struct error why = {0};
    if (f->log.ops->group_describe(f->log.state, &arena, name, &group, &why) < 0 &&
        (why.code != ERR_NOT_FOUND || !reset->topic)) // a new group may be put somewhere
        return error_copy(err, &why);
    if (group.members && !reset->dry_run)
        return error_set(err, ERR_CONFLICT,
                         "The group %.200s has %zu member%s; stop what consumes (`deeplens serve`) first", name,
                         group.members, group.members == 1 ? "" : "s");
    group.name = name;
    if (reset_all(f, &group, reset, list, err) < 0)
        return -1;
    *out = json_pack("{s:s,s:b,s:I,s:O}", "group", name, "dryRun", reset->dry_run, "members", (json_int_t)group.members,
                     "partitions", list);
    return 0;
}

int admin_group_delete(struct flow *f, const char *group, struct error *err)
{
    return f->log.ops->group_delete(f->log.state, group, err);
}
