// SPDX-License-Identifier: Apache-2.0
// What people change about topics and groups that are there: settings, partitions, offsets.
//
// A topic grows in two moves: its rows are committed, then its array is replaced under the lock. Killed in between,
// the next start loads it as it grew; a record published in between goes to one of the partitions that were there.
#include <string.h>

#include "backends/eventlog/embedded_int.h"

// ---- Topics.

struct alter {
    const struct el_topic *topic;
    const struct elog_topic_config *config;
    int64_t first_id; // of the new partitions
};

static int alter_rows(struct meta_tx *tx, void *arg, struct error *err)
{
    struct alter *alter = arg;
    const struct elog_topic_config *config = alter->config;
    int32_t before = alter->topic->config.partitions;
    if (sq_exec(tx, "UPDATE elog_topic SET partitions = ?2, retention_ms = ?3, retention_bytes = ?4 WHERE id = ?1",
                SQ_ARGS(sq_int(alter->topic->id), sq_int(config->partitions), sq_int(config->retention_ms),
                        sq_int(config->retention_bytes)),
                err) < 0 ||
        el_next_partition_id(tx, config->partitions - before, &alter->first_id, err) < 0)
        return -1;
    for (int32_t i = before; i < config->partitions; i++)
        if (el_add_partition(tx, alter->topic, i, alter->first_id + i - before, err) < 0)
            return -1;
    return 0;
}

// log->lock held.
static void grow(struct el_topic *topic, int32_t count, int64_t first_id)
{
    int32_t before = topic->config.partitions;
    struct el_partition **partitions = el_alloc((size_t)count, sizeof(struct el_partition *));
    memcpy(partitions, topic->partitions, (size_t)before * sizeof(struct el_partition *));
    for (int32_t i = before; i < count; i++) {
        partitions[i] = el_partition_new(topic, i);
        partitions[i]->id = first_id + i - before;
    }
    free(topic->partitions);
    topic->partitions = partitions;
}

static int alter(struct el_log *log, const char *name, const struct elog_topic_config *config, struct error *err)
{
    pthread_mutex_lock(&log->lock);
    struct el_topic *topic = el_topic_find(log, name);
    pthread_mutex_unlock(&log->lock); // log->admin keeps it
    if (!topic)
        return error_set(err, ERR_NOT_FOUND, "There is no topic %.249s", name);
    if (config->partitions < topic->config.partitions)
        return error_set(err, ERR_INVALID, "The topic %.249s has %d partitions, and their number only grows", name,
                         topic->config.partitions);
    struct alter call = {.topic = topic, .config = config};
    if (sq_write(log->db, META_SYNCED, alter_rows, &call, err) < 0)
        return -1;
    pthread_mutex_lock(&log->lock);
    bool grows = config->partitions > topic->config.partitions;
    if (grows)
        grow(topic, config->partitions, call.first_id);
    topic->config = *config;
    if (grows)
        el_group_rebalance_all(log, name);
    pthread_mutex_unlock(&log->lock);
    return 0;
}

int el_topic_alter(void *state, const char *name, const struct elog_topic_config *config, struct error *err)
{
    struct el_log *log = el_log(state);
    if (el_check_config(config, err) < 0)
        return -1;
    pthread_mutex_lock(&log->admin);
    int rc = alter(log, name, config, err);
    pthread_mutex_unlock(&log->admin);
    return rc;
}

// ---- Offsets by time. Timestamps are the publishers' and need not ascend, so the records are gone through.

struct moment {
    const char *topic;
    int32_t partition;
    int64_t timestamp_ms;
    int64_t offset;
};

static int find_moment(struct meta_tx *tx, void *arg, struct error *err)
{
    struct moment *moment = arg;
    int64_t id = 0;
    if (el_partition_id(tx, moment->topic, moment->partition, &id, err) < 0)
        return -1;
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx,
                 "SELECT ifnull((SELECT id - (p.id << 44) FROM elog_record WHERE id >= (p.id << 44) + p.begin_offset"
                 " AND id < (p.id << 44) + p.end_offset AND timestamp_ms >= ?2 ORDER BY id LIMIT 1), p.end_offset)"
                 " FROM elog_partition p WHERE p.id = ?1",
                 SQ_ARGS(sq_int(id), sq_int(moment->timestamp_ms)), &stmt, err) < 0)
        return -1;
    if (sq_next(tx, stmt, err) < 0)
        return -1;
    moment->offset = sq_col_int(stmt, 0);
    return 0;
}

int el_offset_at(void *state, const char *topic, int32_t partition, int64_t timestamp_ms, int64_t *offset,
                 struct error *err)
{
    struct moment moment = {.topic = topic, .partition = partition, .timestamp_ms = timestamp_ms};
    if (sq_read(el_log(state)->db, find_moment, &moment, err) < 0)
        return -1;
    *offset = moment.offset;
    return 0;
}

// ---- Groups. Whether one has members is asked on the writer's thread, right before the change; a consumer that joins
// between that and the commit may still begin where the group stood before.

struct seek {
    struct el_log *log;
    const char *group, *topic;
    int32_t partition;
    int64_t offset;
};

static int check_idle(struct el_log *log, const char *name, struct error *err)
{
    size_t members = 0;
    pthread_mutex_lock(&log->lock);
    for (const struct el_group *group = log->groups; group; group = group->next)
        if (strcmp(group->name, name) == 0)
            members = el_count_members(group);
    pthread_mutex_unlock(&log->lock);
    if (!members)
        return 0;
    return error_set(err, ERR_CONFLICT, "The group %.249s has %zu member%s; stop what consumes first", name, members,
                     members == 1 ? "" : "s");
}

static int seek_row(struct meta_tx *tx, void *arg, struct error *err)
{
    const struct seek *seek = arg;
    int64_t id = 0, end = 0;
    if (check_idle(seek->log, seek->group, err) < 0 || el_partition_id(tx, seek->topic, seek->partition, &id, err) < 0)
        return -1;
    pthread_mutex_lock(&seek->log->lock);
    const struct el_topic *topic = el_topic_find(seek->log, seek->topic);
    if (topic && seek->partition < topic->config.partitions)
        end = topic->partitions[seek->partition]->now.end;
    pthread_mutex_unlock(&seek->log->lock);
    if (seek->offset < 0 || seek->offset > end)
        return error_set(err, ERR_INVALID, "The offset %lld lies outside of the partition %d of %.249s",
                         (long long)seek->offset, seek->partition, seek->topic);
    return sq_exec(tx,
                   "INSERT INTO elog_offset (group_name, partition_id, next_offset) VALUES (?1, ?2, ?3)"
                   " ON CONFLICT (group_name, partition_id) DO UPDATE SET next_offset = excluded.next_offset",
                   SQ_ARGS(sq_text(seek->group), sq_int(id), sq_int(seek->offset)), err);
}

int el_group_seek(void *state, const char *group, const char *topic, int32_t partition, int64_t offset,
                  struct error *err)
{
    struct el_log *log = el_log(state);
    struct seek seek = {.log = log, .group = group, .topic = topic, .partition = partition, .offset = offset};
    if (!group || !group[0])
        return error_set(err, ERR_INVALID, "A group has a name");
    return sq_write(log->db, META_SYNCED, seek_row, &seek, err);
}

static int delete_group(struct meta_tx *tx, void *arg, struct error *err)
{
    const struct seek *seek = arg;
    if (check_idle(seek->log, seek->group, err) < 0 ||
        sq_exec(tx, "DELETE FROM elog_offset WHERE group_name = ?1", SQ_ARGS(sq_text(seek->group)), err) < 0)
        return -1;
    return sq_changes(tx) ? 0 : error_set(err, ERR_NOT_FOUND, "There is no group %.249s", seek->group);
}

int el_group_delete(void *state, const char *group, struct error *err)
{
    struct el_log *log = el_log(state);
    struct seek seek = {.log = log, .group = group};
    return sq_write(log->db, META_SYNCED, delete_group, &seek, err);
}
