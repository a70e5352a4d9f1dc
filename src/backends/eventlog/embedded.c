// SPDX-License-Identifier: Apache-2.0
// The embedded event log: topics, partitions, records and offsets are tables in the metadata database, so that a
// state change and its event are one transaction, and one sync makes both durable.
//
// Publishing. Records are appended by the metadata store's writer thread, in its groups. The counters of a partition
// (begin, end, bytes) are kept in memory by that thread and written once per group: `now` is what the transaction
// under way has made of them, `kept` what they were when the function that runs began, `committed` what they were
// before the group. A function that fails puts `kept` back, a group that is lost `committed`; the hooks below do it,
// in step with SQLite's savepoint and rollback. After the commit `visible_end` moves, under the lock, and those who
// wait for records are woken: nobody polls the database.
//
// Consuming. A poll reads one range of row ids for each partition that it has, in one snapshot, on one of the
// store's reading connections. Positions and membership live in memory, as all consumers are in this process.
// What survives is the offset that was committed.
//
// Lifetimes.
// 1. A topic is found in the catalogue under the lock. Whoever uses it beyond the lock runs on the writer's thread.
//    Its number of partitions may grow: their array is used under the lock (or log->admin), the partitions beyond it.
// 2. A deleted topic leaves the catalogue first, then its deleter has a transaction of its own run by the writer;
//    when that has returned, no function and no list of the writer can still hold the topic, and it is freed.
// 3. An assignment lives until its group's next rebalance: who let go of the lock compares the group's epoch.
// 4. A group lives as long as it has members.
#include <string.h>

#include "backends/eventlog/embedded_int.h"
#include "backends/eventlog/eventlog_embedded.h"

#define LOG_MAGIC UINT32_C(0x456c6f67)

void *el_alloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size);
    if (!p)
        abort();
    return p;
}

char *el_strdup(const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        abort();
    return copy;
}

struct el_log *el_log(void *state)
{
    struct el_log *log = state;
    if (log->magic != LOG_MAGIC)
        abort();
    return log;
}

// ---- The catalogue: an array of topics sorted by name.

static size_t topic_place(const struct el_log *log, const char *name, bool *found)
{
    size_t low = 0, high = log->topic_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(log->topics[middle]->name, name);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = false;
    return low;
}

struct el_topic *el_topic_find(struct el_log *log, const char *name)
{
    bool found;
    size_t place = topic_place(log, name, &found);
    return found ? log->topics[place] : NULL;
}

void el_topic_add(struct el_log *log, struct el_topic *topic)
{
    bool found;
    size_t place = topic_place(log, topic->name, &found);
    struct el_topic **topics = el_alloc(log->topic_count + 1, sizeof(struct el_topic *));
    for (size_t i = 0; i < log->topic_count; i++)
        topics[i + (i >= place)] = log->topics[i];
    topics[place] = topic;
    free(log->topics);
    log->topics = topics;
    log->topic_count++;
}

void el_topic_remove(struct el_log *log, struct el_topic *topic)
{
    bool found;
    size_t place = topic_place(log, topic->name, &found);
    if (!found)
        return;
    log->topic_count--;
    for (size_t i = place; i < log->topic_count; i++)
        log->topics[i] = log->topics[i + 1];
}

struct el_partition *el_partition_new(struct el_topic *topic, int32_t number)
{
    struct el_partition *p = el_alloc(1, sizeof *p);
    p->topic = topic;
    p->number = number;
    return p;
}

struct el_topic *el_topic_new(const char *name, int64_t id, const struct elog_topic_config *config)
{
    struct el_topic *topic = el_alloc(1, sizeof *topic);
    topic->name = el_strdup(name);
    topic->id = id;
    topic->config = *config;
    topic->partitions = el_alloc((size_t)config->partitions, sizeof *topic->partitions);
    for (int32_t i = 0; i < config->partitions; i++)
        topic->partitions[i] = el_partition_new(topic, i);
    return topic;
}

void el_topic_free(struct el_topic *topic)
{
    if (!topic)
        return;
    for (int32_t i = 0; i < topic->config.partitions; i++)
        free(topic->partitions[i]);
    free(topic->partitions);
    free(topic->name);
    free(topic);
}

// ---- In step with the writer.

void el_touch(struct el_log *log, struct el_partition *p)
{
    if (!p->in_function) {
        p->in_function = true;
        p->kept = p->now;
        p->next_in_function = log->touched_by_function;
        log->touched_by_function = p;
    }
    if (!p->in_group) {
        p->in_group = true;
        p->next_in_group = log->touched_by_group;
        log->touched_by_group = p;
    }
}

static void function_ended(void *arg, bool kept)
{
    struct el_log *log = arg;
    for (struct el_partition *p = log->touched_by_function; p; p = p->next_in_function) {
        p->in_function = false;
        if (!kept)
            p->now = p->kept;
    }
    log->touched_by_function = NULL;
}

static int before_commit(void *arg, struct meta_tx *tx, struct error *err)
{
    struct el_log *log = arg;
    for (struct el_partition *p = log->touched_by_group; p; p = p->next_in_group)
        if (sq_exec(tx, "UPDATE elog_partition SET begin_offset = ?2, end_offset = ?3, bytes = ?4 WHERE id = ?1",
                    SQ_ARGS(sq_int(p->id), sq_int(p->now.begin), sq_int(p->now.end), sq_int(p->now.bytes)), err) < 0)
            return -1;
    return 0;
}

static void group_ended(void *arg, bool committed)
{
    struct el_log *log = arg;
    function_ended(log, committed); // of the one that the group was lost in
    if (!log->touched_by_group)
        return;
    pthread_mutex_lock(&log->lock);
    for (struct el_partition *p = log->touched_by_group; p; p = p->next_in_group) {
        p->in_group = false;
        if (committed)
            p->committed = p->now;
        else
            p->now = p->committed;
        p->visible_end = p->committed.end;
    }
    if (committed)
        el_wake_waiting(log);
    pthread_mutex_unlock(&log->lock);
    log->touched_by_group = NULL;
}

static const struct sq_hooks hooks = {
    .function_ended = function_ended,
    .before_commit = before_commit,
    .group_ended = group_ended,
};

// ---- Open and close.

static int load_row(struct el_log *log, sqlite3_stmt *stmt, struct error *err)
{
    const char *name = (const char *)sqlite3_column_text(stmt, 1);
    struct elog_topic_config config = {.partitions = (int32_t)sq_col_int(stmt, 2),
                                       .retention_ms = sq_col_int(stmt, 3),
                                       .retention_bytes = sq_col_int(stmt, 4)};
    struct el_topic *topic = el_topic_find(log, name);
    if (!topic) {
        topic = el_topic_new(name, sq_col_int(stmt, 0), &config);
        el_topic_add(log, topic);
    }
    int64_t number = sq_col_int(stmt, 6);
    if (number < 0 || number >= topic->config.partitions)
        return error_set(err, ERR_DATA_CORRUPT, "The topic %s has a partition too many", topic->name);
    struct el_partition *p = topic->partitions[number];
    p->id = sq_col_int(stmt, 5);
    p->now =
        (struct el_counters){.begin = sq_col_int(stmt, 7), .end = sq_col_int(stmt, 8), .bytes = sq_col_int(stmt, 9)};
    p->committed = p->now;
    p->visible_end = p->now.end;
    return 0;
}

static int load(struct meta_tx *tx, void *arg, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx,
                 "SELECT t.id, t.name, t.partitions, t.retention_ms, t.retention_bytes,"
                 " p.id, p.number, p.begin_offset, p.end_offset, p.bytes"
                 " FROM elog_topic t JOIN elog_partition p ON p.topic_id = t.id",
                 SQ_NO_ARGS, &stmt, err) < 0)
        return -1;
    int rc;
    while ((rc = sq_next(tx, stmt, err)) > 0)
        if (load_row(arg, stmt, err) < 0)
            return -1;
    return rc;
}

static void log_free(struct el_log *log)
{
    for (size_t i = 0; i < log->topic_count; i++)
        el_topic_free(log->topics[i]);
    free(log->topics);
    pthread_mutex_destroy(&log->lock);
    pthread_mutex_destroy(&log->admin);
    log->magic = 0;
    free(log);
}

static void log_close(void *state)
{
    if (!state)
        return;
    struct el_log *log = el_log(state);
    sq_set_hooks(log->db, NULL, NULL, NULL);
    log_free(log);
}
DEFINE_CLEANUP(struct el_log *, log, log_free)

static int log_open(const char *location, struct meta *meta, void **state, struct error *err)
{
    struct sq_db *db = sq_db_of(meta);
    if (!db)
        return error_set(err, ERR_CONFIG, "The embedded event log lives in the SQLite metadata store and needs it");
    _cleanup_(cleanup_log) struct el_log *log = el_alloc(1, sizeof *log);
    log->magic = LOG_MAGIC;
    log->db = db;
    pthread_mutex_init(&log->admin, NULL);
    pthread_mutex_init(&log->lock, NULL);
    if (sq_read(db, load, log, err) < 0)
        return -1;
    if (sq_set_hooks(db, &hooks, log, err) < 0) {
        sq_set_hooks(db, NULL, NULL, NULL);
        return -1;
    }
    *state = take_ptr(log);
    return 0;
}

static int el_health(void *state, struct error *err) // it is where the records are, and shares their fate
{
    return 0;
}

const struct elog_ops elog_embedded = {
    .name = "embedded",
    .caps = ELOG_TRANSACTIONAL | ELOG_PROMPT | ELOG_RETAINS,
    .open = log_open,
    .close = log_close,
    .topic_create = el_topic_create,
    .topic_delete = el_topic_delete,
    .topic_alter = el_topic_alter,
    .records_delete = el_records_delete,
    .offset_at = el_offset_at,
    .topic_list = el_topic_list,
    .topic_describe = el_topic_describe,
    .group_list = el_group_list,
    .group_describe = el_group_describe,
    .group_seek = el_group_seek,
    .group_delete = el_group_delete,
    .peek = el_peek,
    .housekeep = el_housekeep,
    .publish = el_publish,
    .publish_tx = el_publish_tx,
    .health = el_health,
    .subscribe = el_subscribe,
    .poll = el_poll,
    .consumer_wake = el_consumer_wake,
    .commit = el_commit,
    .commit_tx = el_commit_tx,
    .unsubscribe = el_unsubscribe,
};
