// SPDX-License-Identifier: Apache-2.0
// Port: eventlog, what carries events: topics of partitions, offsets, consumer groups.
//
// Records of one key go to one partition (murmur2 of the key as Java's client computes it, positive, modulo the
// number of partitions) and keep their order there. Within a group each partition belongs to one consumer at
// a time. Delivery is at least once: from the committed offset on, again after a crash or a rebalance.
//
// A log with ELOG_TRANSACTIONAL keeps its records and offsets in the metadata database: publish_tx and
// commit_tx take part in the caller's meta transaction, and records become visible when it commits. A call of publish
// is then one transaction. Without it, records of a call that fails may be there, now or a little later: who publishes
// them again gives their events the same id. It has publish_async instead, and the meta port's outbox before it.
//
// ELOG_PROMPT: whatever changes in a group (members, their partitions, offsets) is so for everybody when the call
// returns. Without it servers elsewhere have to agree first: a consumer gets its partitions during its first polls,
// others see a commit a moment later, a partition may move when members come and go (its records not committed by
// then are delivered again), and commit says ERR_CONFLICT or nothing for a partition that is on its way.
//
// ELOG_RETAINS: housekeep applies retention, keeps what a group has still to read, and sizes and times of partitions
// are exact. Without it the log's servers remove records by themselves, read or not (a group whose place is gone goes
// on at the oldest record there is), and `bytes` is 0.
//
// Threads: a consumer belongs to one thread at a time, except consumer_wake; everything else may be called
// from any thread at once.
#ifndef DEEPLENS_PORTS_EVENTLOG_H
#define DEEPLENS_PORTS_EVENTLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "ports/meta.h"

enum { ELOG_TRANSACTIONAL = 1, ELOG_PROMPT = 2, ELOG_RETAINS = 4 };
enum { ELOG_TOPIC_MAX = 249, ELOG_HEADERS_MAX = 32 };

struct elog_header {
    const char *name;
    const char *value;
};

// A record as published (borrowed) or as consumed: then it is ONE malloc'ed block, strings within, given to
// the caller, who ends it with free().
struct elog_record {
    const char *topic;
    int32_t partition;    // consumed only
    int64_t offset;       // consumed only
    int64_t timestamp_ms; // published: 0 means now
    const char *key;      // NUL-terminated; NULL: none (partition 0)
    const void *value;
    size_t value_len;
    const struct elog_header *headers;
    size_t header_count;
    int32_t epoch; // consumed only: of the assignment, for commit
};

struct elog_place { // where a record stands
    int32_t partition;
    int64_t offset;
};

struct elog_topic_config {
    int32_t partitions;      // 1 … 1024
    int64_t retention_ms;    // -1: for ever
    int64_t retention_bytes; // of a partition; -1: no limit
    const char *cleanup;     // described only: what happens to old records, "delete"
    int32_t replication;     // copies; 0: the log's default. What describes says; the embedded log has one
};

struct elog_partition_info {
    int32_t partition;
    int64_t begin;     // the oldest offset kept
    int64_t end;       // the offset that the next record gets
    uint64_t bytes;    // 0 without ELOG_RETAINS
    int64_t oldest_ms; // timestamp of the oldest record; 0 when empty
};

struct elog_topic_info {
    const char *name;
    struct elog_topic_config config;
    struct elog_partition_info *partitions; // config.partitions of them
};

struct elog_group_partition {
    const char *topic;
    int32_t partition;
    int64_t committed; // -1: never
    int64_t end;
    int64_t lag;        // records, never negative
    int64_t lag_ms;     // age of the oldest record not committed; 0 without lag
    const char *member; // who has it; NULL: nobody
};

struct elog_group_info {
    const char *name;
    size_t members;
    bool settling; // its members are just given their partitions: who has which is not known
    struct elog_group_partition *partitions;
    size_t partition_count;
};

struct elog_consumer;

typedef void elog_done_fn(void *arg, const struct error *err); // err is NULL when the record is durable

struct elog_ops {
    const char *name;
    unsigned caps;

    // `meta` is the opened metadata store (a transactional log lives in it; others ignore it).
    int (*open)(const char *location, struct meta *meta, void **state, struct error *err);
    void (*close)(void *state); // consumers must be closed before

    // Administration.
    int (*topic_create)(void *state, const char *topic, const struct elog_topic_config *config,
                        struct error *err);                                 // ERR_EXISTS
    int (*topic_delete)(void *state, const char *topic, struct error *err); // with offsets; ERR_NOT_FOUND
    // Partitions only grow, from their number on without records (keys may change their partition from then on);
    // retention as given; `replication` 0 or as it is. ERR_INVALID, ERR_NOT_FOUND.
    int (*topic_alter)(void *state, const char *topic, const struct elog_topic_config *config, struct error *err);
    // Forgets the records of one partition before `offset` (at most its end: ERR_INVALID), needed or not.
    // ERR_NOT_FOUND.
    int (*records_delete)(void *state, const char *topic, int32_t partition, int64_t offset, struct error *err);
    // The first offset whose record's timestamp is at or after `timestamp_ms`; the end when there is none.
    // ERR_NOT_FOUND.
    int (*offset_at)(void *state, const char *topic, int32_t partition, int64_t timestamp_ms, int64_t *offset,
                     struct error *err);
    int (*topic_list)(void *state, struct arena *arena, struct elog_topic_info **out, size_t *count,
                      struct error *err); // by name
    int (*topic_describe)(void *state, struct arena *arena, const char *topic, struct elog_topic_info *out,
                          struct error *err); // ERR_NOT_FOUND
    int (*group_list)(void *state, struct arena *arena, struct elog_group_info **out, size_t *count,
                      struct error *err); // by name, without partitions
    int (*group_describe)(void *state, struct arena *arena, const char *group, struct elog_group_info *out,
                          struct error *err); // ERR_NOT_FOUND
    // Puts a group's committed offset (0 to the end: ERR_INVALID; it may go back), making the group when it is new.
    // ERR_NOT_FOUND for the partition; ERR_CONFLICT while the group has members.
    int (*group_seek)(void *state, const char *group, const char *topic, int32_t partition, int64_t offset,
                      struct error *err);
    // Forgets the group and its offsets. ERR_NOT_FOUND, ERR_CONFLICT while it has members.
    int (*group_delete)(void *state, const char *group, struct error *err);
    // Reads up to `limit` records of one partition from `offset` on, in the arena, disturbing nobody.
    int (*peek)(void *state, struct arena *arena, const char *topic, int32_t partition, int64_t offset, size_t limit,
                struct elog_record **out, size_t *count, struct error *err);
    // Applies retention. Call it now and then. What a group that is subscribed or ever committed has still to read
    // stays. Nothing to do without ELOG_RETAINS.
    int (*housekeep)(void *state, int64_t now_ms, struct error *err);

    // Publishing. Durable when it returns; ERR_NOT_FOUND for a topic that does not exist.
    int (*publish)(void *state, const struct elog_record *records, size_t count, struct error *err);
    int (*publish_tx)(void *state, struct meta_tx *tx, const struct elog_record *record, struct elog_place *place,
                      struct error *err); // transactional logs only, else NULL; `place` may be NULL
    // Publishes without waiting; for logs that are not transactional, else NULL. The record is copied. `done` runs
    // exactly once, on a thread of the log's, where it must not wait, and for the records of one partition in their
    // order. While the log is out of reach the record waits in memory: what fails is a record that cannot be published
    // as it is, or one that was still waiting when the log was closed (and may be published all the same).
    // ERR_OVERLOADED when as much waits as may, ERR_NOT_FOUND for a topic that does not exist; then `done` does not
    // run.
    int (*publish_async)(void *state, const struct elog_record *record, elog_done_fn *done, void *arg,
                         struct error *err);
    // ERR_UNAVAILABLE, and why, while the log is out of reach, so far as is known without asking.
    int (*health)(void *state, struct error *err);

    // Consuming. A group that never committed starts at the oldest record.
    int (*subscribe)(void *state, const char *group, const char *const *topics, size_t count, const char *member,
                     struct elog_consumer **out, struct error *err);
    // Waits up to `timeout_ms` for records; gives up to `max_records` of at most `max_bytes` (but always one),
    // in order within each partition, never the same twice unless reassigned. 0 records is not an error. `out` is
    // the caller's array with room for `max_records` pointers.
    int (*poll)(struct elog_consumer *consumer, size_t max_records, size_t max_bytes, int timeout_ms,
                struct elog_record **out, size_t *count, struct error *err);
    void (*consumer_wake)(struct elog_consumer *consumer); // makes the current or next poll return at once
    // Says that everything before `offset` is done. ERR_CONFLICT when the partition has another owner by now
    // (`epoch` as in the record); an offset that would go back is ignored.
    int (*commit)(struct elog_consumer *consumer, const char *topic, int32_t partition, int32_t epoch, int64_t offset,
                  struct error *err);
    int (*commit_tx)(struct elog_consumer *consumer, struct meta_tx *tx, const char *topic, int32_t partition,
                     int32_t epoch, int64_t offset, struct error *err); // transactional logs only, else NULL
    void (*unsubscribe)(struct elog_consumer *consumer);                // leaves the group
};

struct eventlog { // an opened back end
    const struct elog_ops *ops;
    void *state;
};

// The partition of a key among `partitions`, as Kafka's Java client chooses it; in eventlog_key.c.
int32_t elog_partition(const char *key, int32_t partitions);

#endif
