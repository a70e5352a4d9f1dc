// SPDX-License-Identifier: Apache-2.0
// What the files of the event log on Kafka share.
//
// kafka.c           the design; open, close; properties, errors, what is known of topics
// kafka_publish.c   the producer
// kafka_consume.c   a consumer: its thread, its queues, poll
// kafka_group.c     what a consumer has: assignments, commits
// kafka_record.c    messages as blocks of memory
// kafka_read.c      reading without a group: peek, times of records
// kafka_admin.c     topics
// kafka_groups.c    groups as people see them
#ifndef DEEPLENS_BACKENDS_EVENTLOG_KAFKA_INT_H
#define DEEPLENS_BACKENDS_EVENTLOG_KAFKA_INT_H

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "base/cleanup.h"
#include "ports/eventlog.h"

enum {
    KF_ASK_MS = 30000,        // how long brokers may take to answer
    KF_ASK_DOWN_MS = 3000,    // … while they are known to be out of reach
    KF_PUBLISH_MS = 30000,    // until publish gives up waiting
    KF_MESSAGE_MAX = 32 << 20 // bytes of a record
};

struct kf_topic { // one that was seen to exist
    struct kf_topic *next;
    rd_kafka_topic_t *handle; // of the producer
    int32_t partitions;
    char name[];
};

struct kf_property {
    struct kf_property *next;
    char *name, *value;
};

struct kf_asker { // speaks for a group without being in it
    struct kf_asker *next;
    rd_kafka_t *rk;
    char group[];
};

struct kf_log {
    uint32_t magic;
    struct kf_property *properties;
    char *instance;
    int replication;
    rd_kafka_t *producer; // publishes, and asks what is asked of brokers
    pthread_t thread;     // serves the producer
    bool started;
    atomic_bool stop;
    atomic_bool down;      // no broker can be reached, so far as is known
    _Atomic int32_t epoch; // of the last assignment of any consumer

    pthread_mutex_t lock; // guards what follows
    struct kf_topic *topics;
    char why_down[256];

    pthread_mutex_t asking; // guards what follows, and one at a time uses it
    struct kf_asker *askers;
    struct kf_client *coordinators; // asks groups' coordinators; made when it is first needed

    pthread_mutex_t reading; // one reads without a group at a time
    rd_kafka_t *reader;      // made when it is first needed
};

struct kf_held { // a record that waits for poll
    STAILQ_ENTRY(kf_held) link;
    struct elog_record *record;
    size_t bytes;
};
STAILQ_HEAD(kf_queue, kf_held);

struct kf_part { // a partition that a consumer has, or had until the rebalance under way
    struct kf_part *next;
    char *topic;
    int32_t partition, epoch;
    bool assigned;     // false: given up in a rebalance whose outcome is not known yet; nothing is delivered
    bool resumed;      // the next message is the first one after a pause
    int64_t fetched;   // the offset behind the last message taken from librdkafka; -1: none yet
    int64_t delivered; // behind the last record given to the caller; -1: none yet
    int64_t done;      // what the caller committed; -1: nothing
    int64_t sent;      // of it, what the brokers were told last
    struct kf_queue queue;
};

struct elog_consumer {
    struct kf_log *log;
    rd_kafka_t *rk; // the thread's own while it runs; NULL when it could not be made anew
    char *group, *member;
    rd_kafka_topic_partition_list_t *topics;
    pthread_t thread;
    atomic_bool stop;
    int64_t commit_due_us; // when commits are sent next; the thread's own
    int64_t again_us;      // when the group is joined anew, as the member was shut out; 0: it is in; the thread's own
    bool paused;           // the thread's own

    pthread_mutex_t lock; // guards what follows
    pthread_cond_t wake;  // something to poll, or woken
    pthread_cond_t done;  // a commit came
    struct kf_part *parts;
    size_t held_records, held_bytes;
    int32_t turn;
    bool woken;
    struct error failed; // why it is in no group at the moment; code 0: it is
};

struct kf_log *kf_log(void *state); // checks the magic number
void *kf_alloc(size_t size);        // zeroed; aborts when memory is short
char *kf_strdup(const char *text);

// --- kafka.c
// A configuration with the properties of the location; `extra` are pairs of names and values, NULL at the end.
int kf_conf(const struct kf_log *log, rd_kafka_type_t type, const char *const *extra, rd_kafka_conf_t **out,
            struct error *err);
int kf_new(struct kf_log *log, rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **out, struct error *err);
void kf_destroy(rd_kafka_t *rk); // a consumer was closed before
// An error of librdkafka as one of ours; `doing` begins the sentence. Returns -1.
int kf_error(struct error *err, rd_kafka_resp_err_t code, const char *text, const char *doing);
int kf_ask_ms(const struct kf_log *log);
void kf_set_down(struct kf_log *log, const char *why); // NULL: it is within reach
// What brokers say of one topic: its handle (owned by the log) and partitions. Asks when it is not known, or `fresh`.
int kf_topic(struct kf_log *log, const char *name, bool fresh, rd_kafka_topic_t **handle, int32_t *partitions,
             struct error *err);
void kf_topic_forget(struct kf_log *log, const char *name);
int kf_partition_check(struct kf_log *log, const char *topic, int32_t partition, struct error *err); // ERR_NOT_FOUND

// --- kafka_record.c
size_t kf_record_bytes(const rd_kafka_message_t *message);
// One block, malloc'ed or in the arena.
struct elog_record *kf_record(struct arena *arena, const rd_kafka_message_t *message, int32_t epoch);

// --- kafka_publish.c
void kf_delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *log); // dr_msg_cb

// --- kafka_group.c: on the consumer's thread, unless said otherwise
void kf_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list, void *consumer);
void kf_committed(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list, void *consumer);
struct kf_part *kf_part_find(struct elog_consumer *c, const char *topic, int32_t partition); // lock held
void kf_part_empty(struct elog_consumer *c, struct kf_part *part);                           // lock held
void kf_parts_free(struct elog_consumer *c);                                                 // lock held
void kf_commit_send(struct elog_consumer *c, bool wait);

// --- kafka_groups.c
void kf_askers_free(struct kf_log *log);
void kf_coordinators_free(struct kf_log *log);

// --- kafka_read.c
struct kf_place {
    const char *topic;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms; // filled: of the first record at or behind the offset; 0 when it was not found
};
int kf_times(struct kf_log *log, struct kf_place *places, size_t count, struct error *err);

// --- kafka_admin.c: offsets of many partitions in few questions. `which`: RD_KAFKA_OFFSET_BEGINNING or _END.
int kf_offsets(struct kf_log *log, const rd_kafka_topic_partition_list_t *of, int64_t which,
               rd_kafka_topic_partition_list_t **out, struct error *err);
typedef void kf_ask_fn(rd_kafka_t *rk, void *arg, const rd_kafka_AdminOptions_t *options, rd_kafka_queue_t *queue);
// Asks and waits for the answer; the caller destroys it.
int kf_ask(struct kf_log *log, rd_kafka_t *rk, rd_kafka_admin_op_t op, kf_ask_fn *ask, void *arg, const char *doing,
           rd_kafka_event_t **out, struct error *err);

DEFINE_CLEANUP(rd_kafka_event_t *, kf_event, rd_kafka_event_destroy)
DEFINE_CLEANUP(rd_kafka_topic_partition_list_t *, kf_list, rd_kafka_topic_partition_list_destroy)
#define _cleanup_kf_event_ _cleanup_(cleanup_kf_event)
#define _cleanup_kf_list_ _cleanup_(cleanup_kf_list)

// --- The operations (their contracts: ports/eventlog.h).
int kf_topic_create(void *state, const char *topic, const struct elog_topic_config *config, struct error *err);
int kf_topic_delete(void *state, const char *topic, struct error *err);
int kf_topic_alter(void *state, const char *topic, const struct elog_topic_config *config, struct error *err);
int kf_records_delete(void *state, const char *topic, int32_t partition, int64_t offset, struct error *err);
int kf_offset_at(void *state, const char *topic, int32_t partition, int64_t timestamp_ms, int64_t *offset,
                 struct error *err);
int kf_topic_list(void *state, struct arena *arena, struct elog_topic_info **out, size_t *count, struct error *err);
int kf_topic_describe(void *state, struct arena *arena, const char *topic, struct elog_topic_info *out,
                      struct error *err);
int kf_group_list(void *state, struct arena *arena, struct elog_group_info **out, size_t *count, struct error *err);
int kf_group_describe(void *state, struct arena *arena, const char *group, struct elog_group_info *out,
                      struct error *err);
int kf_group_seek(void *state, const char *group, const char *topic, int32_t partition, int64_t offset,
                  struct error *err);
int kf_group_delete(void *state, const char *group, struct error *err);
int kf_peek(void *state, struct arena *arena, const char *topic, int32_t partition, int64_t offset, size_t limit,
            struct elog_record **out, size_t *count, struct error *err);
int kf_publish(void *state, const struct elog_record *records, size_t count, struct error *err);
int kf_publish_async(void *state, const struct elog_record *record, elog_done_fn *done, void *arg, struct error *err);
int kf_subscribe(void *state, const char *group, const char *const *topics, size_t count, const char *member,
                 struct elog_consumer **out, struct error *err);
int kf_poll(struct elog_consumer *consumer, size_t max_records, size_t max_bytes, int timeout_ms,
            struct elog_record **out, size_t *count, struct error *err);
void kf_consumer_wake(struct elog_consumer *consumer);
int kf_commit(struct elog_consumer *consumer, const char *topic, int32_t partition, int32_t epoch, int64_t offset,
              struct error *err);
void kf_unsubscribe(struct elog_consumer *consumer);

#endif
