// SPDX-License-Identifier: Apache-2.0
// Topics and groups as people see them: what the tables say, and who is there, in one answer.
#include <string.h>

#include "backends/eventlog/embedded_int.h"
#include "base/clock.h"

enum { PARTITIONS_MAX = 1024, PEEK_MAX = 10000, PEEK_BYTES = 64 << 20 };

// ---- Creating.

int el_check_config(const struct elog_topic_config *config, struct error *err)
{
    if (config->partitions < 1 || config->partitions > PARTITIONS_MAX)
        return error_set(err, ERR_INVALID, "A topic has 1 to %d partitions", PARTITIONS_MAX);
    if (config->retention_ms < -1 || config->retention_bytes < -1)
        return error_set(err, ERR_INVALID, "A retention is a number, or -1 for no limit");
    if (config->replication < 0 || config->replication > 1)
        return error_set(err, ERR_INVALID, "The embedded log keeps one copy of a topic, not %d", config->replication);
    return 0;
}

static int check_topic(const char *name, const struct elog_topic_config *config, struct error *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = name ? strlen(name) : 0;
    if (!len || len > ELOG_TOPIC_MAX || strspn(name, allowed) != len || !strcmp(name, ".") || !strcmp(name, ".."))
        return error_set(err, ERR_INVALID, "A topic's name has 1 to %d letters, digits, '.', '_' and '-'",
                         ELOG_TOPIC_MAX);
    return el_check_config(config, err);
}

int el_next_partition_id(struct meta_tx *tx, int32_t count, int64_t *out, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, "SELECT ifnull(max(id), 0) + 1 FROM elog_partition", SQ_NO_ARGS, &stmt, err) < 0 ||
        sq_next(tx, stmt, err) < 0)
        return -1;
    int64_t id = sq_col_int(stmt, 0);
    if (id + count >= EL_PARTITION_ROWS)
        return error_set(err, ERR_UNSUPPORTED, "The event log has no room for more partitions");
    *out = id;
    return 0;
}

int el_add_partition(struct meta_tx *tx, const struct el_topic *topic, int32_t number, int64_t id, struct error *err)
{
    return sq_exec(tx,
                   "INSERT INTO elog_partition (id, topic_id, number, begin_offset, end_offset, bytes)"
                   " VALUES (?1, ?2, ?3, 0, 0, 0)",
                   SQ_ARGS(sq_int(id), sq_int(topic->id), sq_int(number)), err);
}

static int create_rows(struct meta_tx *tx, void *arg, struct error *err)
{
    struct el_topic *topic = arg;
    struct error failed = {0};
    if (sq_exec(tx, "INSERT INTO elog_topic (name, partitions, retention_ms, retention_bytes) VALUES (?1, ?2, ?3, ?4)",
                SQ_ARGS(sq_text(topic->name), sq_int(topic->config.partitions), sq_int(topic->config.retention_ms),
                        sq_int(topic->config.retention_bytes)),
                &failed) < 0) {
        if (failed.code == ERR_EXISTS)
            return error_set(err, ERR_EXISTS, "The topic %.249s is there already", topic->name);
        return error_copy(err, &failed);
    }
    topic->id = sqlite3_last_insert_rowid(sq_tx(tx)->conn->sql);
    int64_t id = 0;
    if (el_next_partition_id(tx, topic->config.partitions, &id, err) < 0)
        return -1;
    for (int32_t i = 0; i < topic->config.partitions; i++) {
        topic->partitions[i]->id = id + i;
        if (el_add_partition(tx, topic, i, id + i, err) < 0)
            return -1;
    }
    return 0;
}

int el_topic_create(void *state, const char *name, const struct elog_topic_config *config, struct error *err)
{
    struct el_log *log = el_log(state);
    if (check_topic(name, config, err) < 0)
        return -1;
    struct el_topic *topic = el_topic_new(name, 0, config);
    pthread_mutex_lock(&log->admin);
    int rc = sq_write(log->db, META_SYNCED, create_rows, topic, err);
    if (rc == 0) {
        pthread_mutex_lock(&log->lock);
        el_topic_add(log, topic);
        el_group_rebalance_all(log, name);
        pthread_mutex_unlock(&log->lock);
    } else {
        el_topic_free(topic);
    }
    pthread_mutex_unlock(&log->admin);
    return rc;
}

// ---- Deleting: the topic goes at once, its records in chunks.

static int delete_rows(struct meta_tx *tx, void *arg, struct error *err)
{
    const struct el_topic *topic = arg;
    const struct sq_arg id = sq_int(topic->id);
    if (sq_exec(tx, "DELETE FROM elog_offset WHERE partition_id IN (SELECT id FROM elog_partition WHERE topic_id = ?1)",
                &id, 1, err) < 0)
        return -1;
    if (sq_exec(tx, "UPDATE elog_partition SET topic_id = 0 WHERE topic_id = ?1", &id, 1, err) < 0)
        return -1;
    return sq_exec(tx, "DELETE FROM elog_topic WHERE id = ?1", &id, 1, err);
}

static int delete_topic(struct el_log *log, const char *name, struct error *err)
{
    pthread_mutex_lock(&log->lock);
    struct el_topic *topic = el_topic_find(log, name);
    pthread_mutex_unlock(&log->lock); // log->admin keeps it
    if (!topic)
        return error_set(err, ERR_NOT_FOUND, "There is no topic %.249s", name);
    if (sq_write(log->db, META_SYNCED, delete_rows, topic, err) < 0)
        return -1;
    pthread_mutex_lock(&log->lock);
    el_topic_remove(log, topic);
    el_group_rebalance_all(log, name);
    pthread_mutex_unlock(&log->lock);
    el_sweep(log, NULL); // what it does not get done is left to housekeep
    el_topic_free(topic);
    return 0;
}

int el_topic_delete(void *state, const char *name, struct error *err)
{
    struct el_log *log = el_log(state);
    pthread_mutex_lock(&log->admin);
    int rc = delete_topic(log, name, err);
    pthread_mutex_unlock(&log->admin);
    return rc;
}

// ---- Describing topics.

struct topics_query {
    struct arena *arena;
    const char *only; // NULL: all
    struct elog_topic_info *topics;
    size_t count, room;
};

static struct elog_topic_info *topic_slot(struct topics_query *q, sqlite3_stmt *stmt)
{
    const char *name = (const char *)sqlite3_column_text(stmt, 0);
    if (q->count && strcmp(q->topics[q->count - 1].name, name) == 0)
        return &q->topics[q->count - 1];
    if (q->count == q->room) {
        size_t room = q->room ? q->room * 2 : 16;
        struct elog_topic_info *topics = arena_alloc(q->arena, room * sizeof *topics);
        for (size_t i = 0; i < q->count; i++)
            topics[i] = q->topics[i];
        q->topics = topics;
        q->room = room;
    }
    struct elog_topic_info *topic = &q->topics[q->count++];
    topic->name = sq_col_text(q->arena, stmt, 0);
    topic->config = (struct elog_topic_config){.partitions = (int32_t)sq_col_int(stmt, 1),
                                               .retention_ms = sq_col_int(stmt, 2),
                                               .retention_bytes = sq_col_int(stmt, 3),
                                               .replication = 1,
                                               .cleanup = "delete"};
    topic->partitions = arena_alloc(q->arena, (size_t)topic->config.partitions * sizeof *topic->partitions);
    return topic;
}

static int read_topics(struct meta_tx *tx, void *arg, struct error *err)
{
    struct topics_query *q = arg;
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx,
                 "SELECT t.name, t.partitions, t.retention_ms, t.retention_bytes,"
                 " p.number, p.begin_offset, p.end_offset, p.bytes, CASE WHEN p.end_offset > p.begin_offset THEN"
                 " (SELECT timestamp_ms FROM elog_record WHERE id >= (p.id << 44) + p.begin_offset ORDER BY id LIMIT 1)"
                 " ELSE 0 END"
                 " FROM elog_topic t JOIN elog_partition p ON p.topic_id = t.id WHERE ?1 IS NULL OR t.name = ?1"
                 " ORDER BY t.name, p.number",
                 SQ_ARGS(sq_text(q->only)), &stmt, err) < 0)
        return -1;
    int rc;
    while ((rc = sq_next(tx, stmt, err)) > 0) {
        struct elog_topic_info *topic = topic_slot(q, stmt);
        int32_t number = (int32_t)sq_col_int(stmt, 4);
        topic->partitions[number] = (struct elog_partition_info){.partition = number,
                                                                 .begin = sq_col_int(stmt, 5),
                                                                 .end = sq_col_int(stmt, 6),
                                                                 .bytes = (uint64_t)sq_col_int(stmt, 7),
                                                                 .oldest_ms = sq_col_int(stmt, 8)};
    }
    return rc;
}

int el_topic_list(void *state, struct arena *arena, struct elog_topic_info **out, size_t *count, struct error *err)
{
    struct topics_query q = {.arena = arena};
    if (sq_read(el_log(state)->db, read_topics, &q, err) < 0)
        return -1;
    *out = q.topics;
    *count = q.count;
    return 0;
}

int el_topic_describe(void *state, struct arena *arena, const char *topic, struct elog_topic_info *out,
                      struct error *err)
{
    struct topics_query q = {.arena = arena, .only = topic};
    if (sq_read(el_log(state)->db, read_topics, &q, err) < 0)
        return -1;
    if (!q.count)
        return error_set(err, ERR_NOT_FOUND, "There is no topic %.249s", topic);
    *out = q.topics[0];
    return 0;
}

// ---- Peeking.

struct peek {
    struct arena *arena;
    const char *topic;
    int32_t partition;
    int64_t offset;
    size_t limit;
    struct elog_record *records;
    size_t count;
};

int el_partition_id(struct meta_tx *tx, const char *topic, int32_t partition, int64_t *out, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx,
                 "SELECT p.id FROM elog_topic t JOIN elog_partition p ON p.topic_id = t.id AND p.number = ?2"
                 " WHERE t.name = ?1",
                 SQ_ARGS(sq_text(topic), sq_int(partition)), &stmt, err) < 0)
        return -1;
    int rc = sq_next(tx, stmt, err);
    if (rc < 0)
        return -1;
    if (!rc)
        return error_set(err, ERR_NOT_FOUND, "There is no partition %d of a topic %.249s", partition, topic);
    *out = sq_col_int(stmt, 0);
    return 0;
}

static int read_peek(struct meta_tx *tx, void *arg, struct error *err)
{
    struct peek *peek = arg;
    int64_t id = 0;
    if (el_partition_id(tx, peek->topic, peek->partition, &id, err) < 0)
        return -1;
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    int64_t from = peek->offset < 0 ? 0 : peek->offset > el_offset(-1) ? el_offset(-1) : peek->offset;
    if (sq_query(tx, EL_SELECT, SQ_ARGS(sq_int(el_row(id, from)), sq_int(el_row(id + 1, 0))), &stmt, err) < 0)
        return -1;
    peek->records = arena_alloc(peek->arena, peek->limit * sizeof *peek->records);
    int rc = 0;
    size_t bytes = 0;
    while (peek->count < peek->limit && bytes < PEEK_BYTES && (rc = sq_next(tx, stmt, err)) > 0) {
        bytes += el_row_bytes(stmt);
        peek->records[peek->count++] = *el_decode(peek->arena, stmt, peek->topic, peek->partition, 0);
    }
    return rc < 0 ? -1 : 0;
}

int el_peek(void *state, struct arena *arena, const char *topic, int32_t partition, int64_t offset, size_t limit,
            struct elog_record **out, size_t *count, struct error *err)
{
    struct peek peek = {.arena = arena,
                        .topic = topic,
                        .partition = partition,
                        .offset = offset,
                        .limit = limit < PEEK_MAX ? limit : PEEK_MAX};
    if (sq_read(el_log(state)->db, read_peek, &peek, err) < 0)
        return -1;
    *out = peek.records;
    *count = peek.count;
    return 0;
}

// ---- Groups. Who is a member stands in memory, what was committed in the tables: first the one, then the other.

struct groups_query {
    struct arena *arena;
    struct elog_group_info *groups;
    size_t count, room;
};

static struct elog_group_info *group_slot(struct groups_query *q, const char *name)
{
    for (size_t i = 0; i < q->count; i++)
        if (strcmp(q->groups[i].name, name) == 0)
            return &q->groups[i];
    if (q->count == q->room) {
        size_t room = q->room ? q->room * 2 : 16;
        struct elog_group_info *groups = arena_alloc(q->arena, room * sizeof *groups);
        for (size_t i = 0; i < q->count; i++)
            groups[i] = q->groups[i];
        q->groups = groups;
        q->room = room;
    }
    struct elog_group_info *group = &q->groups[q->count++];
    group->name = arena_strdup(q->arena, name);
    return group;
}

static int read_groups(struct meta_tx *tx, void *arg, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, "SELECT DISTINCT group_name FROM elog_offset", SQ_NO_ARGS, &stmt, err) < 0)
        return -1;
    int rc;
    while ((rc = sq_next(tx, stmt, err)) > 0)
        group_slot(arg, (const char *)sqlite3_column_text(stmt, 0));
    return rc;
}

size_t el_count_members(const struct el_group *group)
{
    size_t count = 0;
    for (const struct elog_consumer *c = group->members; c; c = c->next)
        count++;
    return count;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct elog_group_info *)a)->name, ((const struct elog_group_info *)b)->name);
}

int el_group_list(void *state, struct arena *arena, struct elog_group_info **out, size_t *count, struct error *err)
{
    struct el_log *log = el_log(state);
    struct groups_query q = {.arena = arena};
    pthread_mutex_lock(&log->lock);
    for (const struct el_group *group = log->groups; group; group = group->next)
        group_slot(&q, group->name)->members = el_count_members(group);
    pthread_mutex_unlock(&log->lock);
    if (sq_read(log->db, read_groups, &q, err) < 0)
        return -1;
    if (q.count)
        qsort(q.groups, q.count, sizeof *q.groups, by_name);
    *out = q.groups;
    *count = q.count;
    return 0;
}

struct owners { // of a topic in the group, as it was under the lock
    struct owners *next;
    const char *topic;
    int32_t count;
    const char **members;
};

struct group_query {
    struct arena *arena;
    const char *group;
    struct owners *owners;
    struct elog_group_partition *partitions;
    size_t count, room;
};

static void note_owners(struct group_query *q, const struct el_group *group)
{
    for (size_t i = 0; i < group->topic_count; i++) {
        const struct el_group_topic *gt = &group->topics[i];
        struct owners *owners = arena_alloc(q->arena, sizeof *owners);
        owners->next = q->owners;
        owners->topic = arena_strdup(q->arena, gt->topic->name);
        owners->count = gt->topic->config.partitions;
        owners->members = arena_alloc(q->arena, (size_t)owners->count * sizeof(char *));
        for (int32_t n = 0; n < owners->count; n++)
            if (gt->partitions[n].owner)
                owners->members[n] = arena_strdup(q->arena, gt->partitions[n].owner->member);
        q->owners = owners;
    }
}

static const struct owners *owners_of(const struct group_query *q, const char *topic)
{
    const struct owners *owners = q->owners;
    while (owners && strcmp(owners->topic, topic) != 0)
        owners = owners->next;
    return owners;
}

static struct elog_group_partition *partition_slot(struct group_query *q)
{
    if (q->count == q->room) {
        size_t room = q->room ? q->room * 2 : 16;
        struct elog_group_partition *partitions = arena_alloc(q->arena, room * sizeof *partitions);
        for (size_t i = 0; i < q->count; i++)
            partitions[i] = q->partitions[i];
        q->partitions = partitions;
        q->room = room;
    }
    return &q->partitions[q->count++];
}

static void add_partition(struct group_query *q, sqlite3_stmt *stmt, const struct owners *owners)
{
    int32_t number = (int32_t)sq_col_int(stmt, 1);
    int64_t begin = sq_col_int(stmt, 2), end = sq_col_int(stmt, 3), committed = sq_col_int(stmt, 4);
    int64_t waiting_ms = sq_col_int(stmt, 5), age_ms = clock_now_ms() - waiting_ms;
    int64_t start = committed > begin ? committed : begin;
    *partition_slot(q) = (struct elog_group_partition){
        .topic = sq_col_text(q->arena, stmt, 0),
        .partition = number,
        .committed = committed,
        .end = end,
        .lag = end > start ? end - start : 0,
        .lag_ms = end > start && waiting_ms && age_ms > 0 ? age_ms : 0,
        .member = owners && number < owners->count ? owners->members[number] : NULL,
    };
}

// All partitions of all topics, with what the group committed in them; those of topics that it has nothing to do
// with are left out here.
static int read_group(struct meta_tx *tx, void *arg, struct error *err)
{
    struct group_query *q = arg;
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx,
                 "SELECT t.name, p.number, p.begin_offset, p.end_offset, ifnull(o.next_offset, -1),"
                 " (SELECT timestamp_ms FROM elog_record"
                 "  WHERE id >= (p.id << 44) + max(p.begin_offset, ifnull(o.next_offset, 0))"
                 "  AND id < (p.id << 44) + p.end_offset ORDER BY id LIMIT 1),"
                 " EXISTS (SELECT 1 FROM elog_partition p2 JOIN elog_offset o2 ON o2.partition_id = p2.id"
                 "  WHERE p2.topic_id = t.id AND o2.group_name = ?1)"
                 " FROM elog_topic t JOIN elog_partition p ON p.topic_id = t.id"
                 " LEFT JOIN elog_offset o ON o.partition_id = p.id AND o.group_name = ?1 ORDER BY t.name, p.number",
                 SQ_ARGS(sq_text(q->group)), &stmt, err) < 0)
        return -1;
    int rc;
    while ((rc = sq_next(tx, stmt, err)) > 0) {
        const struct owners *owners = owners_of(q, (const char *)sqlite3_column_text(stmt, 0));
        if (owners || sq_col_int(stmt, 6))
            add_partition(q, stmt, owners);
    }
    return rc;
}

int el_group_describe(void *state, struct arena *arena, const char *name, struct elog_group_info *out,
                      struct error *err)
{
    struct el_log *log = el_log(state);
    struct group_query q = {.arena = arena, .group = name};
    size_t members = 0;
    pthread_mutex_lock(&log->lock);
    for (const struct el_group *group = log->groups; group; group = group->next) {
        if (strcmp(group->name, name) == 0) {
            members = el_count_members(group);
            note_owners(&q, group);
        }
    }
    pthread_mutex_unlock(&log->lock);
    if (sq_read(log->db, read_group, &q, err) < 0)
        return -1;
    if (!members && !q.count)
        return error_set(err, ERR_NOT_FOUND, "There is no group %.249s", name);
    *out = (struct elog_group_info){
        .name = arena_strdup(arena, name), .members = members, .partitions = q.partitions, .partition_count = q.count};
    return 0;
}
