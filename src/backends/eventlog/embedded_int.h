// SPDX-License-Identifier: Apache-2.0
// What the files of the embedded event log share.
//
// embedded.c            the design; open, close; the catalogue of topics; the hooks on the writer's commits
// embedded_publish.c    appending records
// embedded_consume.c    polling and committing
// embedded_group.c      membership of groups: who has which partition
// embedded_record.c     records as rows and as blocks of memory
// embedded_admin.c      topics and groups as people see them
// embedded_alter.c      what people change about topics and groups that are there
// embedded_retention.c  removing what is too old, too much, or deleted
#ifndef DEEPLENS_BACKENDS_EVENTLOG_EMBEDDED_INT_H
#define DEEPLENS_BACKENDS_EVENTLOG_EMBEDDED_INT_H

#include <pthread.h>

#include "backends/meta/sqlite_int.h"
#include "ports/eventlog.h"

// A record's row id is (partition row << EL_OFFSET_BITS | offset).
enum { EL_OFFSET_BITS = 44, EL_PARTITION_ROWS = 1 << 19 };

static inline int64_t el_row(int64_t partition_id, int64_t offset)
{
    return (int64_t)((uint64_t)partition_id << EL_OFFSET_BITS) + offset;
}
static inline int64_t el_offset(int64_t row)
{
    return row & ((INT64_C(1) << EL_OFFSET_BITS) - 1);
}

struct el_counters {
    int64_t begin;
    int64_t end;
    int64_t bytes;
};

struct el_topic;

struct el_partition {
    struct el_topic *topic;
    int32_t number;
    int64_t id;          // row
    int64_t visible_end; // by log->lock: the end that was committed last

    // The writer's thread only.
    struct el_counters now;       // in the transaction under way
    struct el_counters committed; // what a lost group goes back to
    struct el_counters kept;      // what a failed function goes back to
    bool in_group, in_function;   // is on the list of what was touched
    struct el_partition *next_in_group, *next_in_function;
};

struct el_topic {
    char *name;
    int64_t id; // row
    struct elog_topic_config config;
    struct el_partition **partitions; // config.partitions of them; each stays where it is when the array grows
};

struct el_assignment { // of one partition in one group
    struct elog_consumer *owner;
    int32_t epoch;    // when the owner got it
    int64_t position; // of the owner's next record; -1: where the group committed
};

struct el_group_topic {
    struct el_topic *topic;
    int32_t count; // the topic's partitions at the last rebalance
    struct el_assignment *partitions;
};

struct el_group {
    struct el_group *next;
    char *name;
    int32_t epoch; // of the last rebalance
    struct elog_consumer *members;
    struct el_group_topic *topics;
    size_t topic_count;
};

struct el_log {
    uint32_t magic;
    struct sq_db *db;
    pthread_mutex_t admin; // held by what creates, deletes and cleans; taken before `lock`

    pthread_mutex_t lock; // guards what follows, and is never held over I/O
    struct el_topic **topics;
    size_t topic_count;
    struct el_group *groups;
    size_t waiting; // consumers that wait in poll
    int32_t epoch;  // counts the rebalances of all groups, so that no group ever meets an epoch again

    struct el_partition *touched_by_group, *touched_by_function; // the writer's thread only
};

struct elog_consumer {
    struct el_log *log;
    struct el_group *group; // fixed
    struct elog_consumer *next;
    char *member;
    char **topics;
    size_t topic_count;
    size_t turn; // which partition comes first in the next poll: the thread's own

    pthread_cond_t wake; // with log->lock
    bool waiting, woken;
};

void *el_alloc(size_t count, size_t size); // zeroed; aborts when memory is short
char *el_strdup(const char *text);

struct el_log *el_log(void *state); // checks the magic number

// Catalogue; log->lock held.
struct el_topic *el_topic_find(struct el_log *log, const char *name);
void el_topic_add(struct el_log *log, struct el_topic *topic);
void el_topic_remove(struct el_log *log, struct el_topic *topic);
struct el_topic *el_topic_new(const char *name, int64_t id, const struct elog_topic_config *config);
void el_topic_free(struct el_topic *topic);
struct el_partition *el_partition_new(struct el_topic *topic, int32_t number);

// The writer's thread: call before changing p->now.
void el_touch(struct el_log *log, struct el_partition *p);

// Groups; log->lock held.
void el_group_rebalance(struct el_log *log, struct el_group *group);
void el_group_rebalance_all(struct el_log *log, const char *topic); // those that want this topic
struct el_assignment *el_group_assignment(struct el_group *group, const struct el_topic *topic, int32_t partition);
void el_wake_waiting(struct el_log *log); // those who have records to read

// Records.
struct el_encoded { // what a record adds to a row
    struct sq_arg key, headers, value;
    int64_t bytes;
    char *headers_block; // malloc'ed
};
int el_encode(const struct elog_record *record, struct el_encoded *out, struct error *err);
size_t el_row_bytes(sqlite3_stmt *stmt); // of the current row of EL_SELECT
// The current row of EL_SELECT as one block, malloc'ed or in the arena.
struct elog_record *el_decode(struct arena *arena, sqlite3_stmt *stmt, const char *topic, int32_t partition,
                              int32_t epoch);
#define EL_SELECT "SELECT id, timestamp_ms, key, headers, value FROM elog_record WHERE id >= ?1 AND id < ?2 ORDER BY id"

// Room for `count` more rows of partitions, from *out on. In a transaction; log->admin held.
int el_next_partition_id(struct meta_tx *tx, int32_t count, int64_t *out, struct error *err);
int el_add_partition(struct meta_tx *tx, const struct el_topic *topic, int32_t number, int64_t id, struct error *err);
int el_check_config(const struct elog_topic_config *config, struct error *err);
size_t el_count_members(const struct el_group *group); // log->lock held
// The row of a partition. ERR_NOT_FOUND.
int el_partition_id(struct meta_tx *tx, const char *topic, int32_t partition, int64_t *out, struct error *err);

// Removes the records and rows of partitions without topic. Runs its own transactions; log->admin held.
int el_sweep(struct el_log *log, struct error *err);

// The operations (their contracts: ports/eventlog.h).
int el_topic_create(void *state, const char *topic, const struct elog_topic_config *config, struct error *err);
int el_topic_delete(void *state, const char *topic, struct error *err);
int el_topic_alter(void *state, const char *topic, const struct elog_topic_config *config, struct error *err);
int el_records_delete(void *state, const char *topic, int32_t partition, int64_t offset, struct error *err);
int el_offset_at(void *state, const char *topic, int32_t partition, int64_t timestamp_ms, int64_t *offset,
                 struct error *err);
int el_topic_list(void *state, struct arena *arena, struct elog_topic_info **out, size_t *count, struct error *err);
int el_topic_describe(void *state, struct arena *arena, const char *topic, struct elog_topic_info *out,
                      struct error *err);
int el_group_list(void *state, struct arena *arena, struct elog_group_info **out, size_t *count, struct error *err);
int el_group_describe(void *state, struct arena *arena, const char *group, struct elog_group_info *out,
                      struct error *err);
int el_group_seek(void *state, const char *group, const char *topic, int32_t partition, int64_t offset,
                  struct error *err);
int el_group_delete(void *state, const char *group, struct error *err);
int el_peek(void *state, struct arena *arena, const char *topic, int32_t partition, int64_t offset, size_t limit,
            struct elog_record **out, size_t *count, struct error *err);
int el_housekeep(void *state, int64_t now_ms, struct error *err);
int el_publish(void *state, const struct elog_record *records, size_t count, struct error *err);
int el_publish_tx(void *state, struct meta_tx *tx, const struct elog_record *record, struct elog_place *place,
                  struct error *err);
int el_subscribe(void *state, const char *group, const char *const *topics, size_t count, const char *member,
                 struct elog_consumer **out, struct error *err);
void el_unsubscribe(struct elog_consumer *consumer);
int el_poll(struct elog_consumer *consumer, size_t max_records, size_t max_bytes, int timeout_ms,
            struct elog_record **out, size_t *count, struct error *err);
void el_consumer_wake(struct elog_consumer *consumer);
int el_commit(struct elog_consumer *consumer, const char *topic, int32_t partition, int32_t epoch, int64_t offset,
              struct error *err);
int el_commit_tx(struct elog_consumer *consumer, struct meta_tx *tx, const char *topic, int32_t partition,
                 int32_t epoch, int64_t offset, struct error *err);

#endif
