// SPDX-License-Identifier: Apache-2.0
// Administration: what operators ask and change. Answers are JSON, as the API gives them.
//
//   admin.c           ledger, tenants, models
//   admin_jobs.c      the steps as queues: how long, how quick, paused; what failed there
//   admin_leave.c     a tenant removed
//   admin_topics.c    topics: list, describe, create, alter, delete, ensure
//   admin_recreate.c  a topic made anew, with what was on its way put back
//   admin_records.c   records: read where they stand, published by hand
//   admin_groups.c    groups: list, describe, reset, delete; lag
//   admin_dlq.c       dead letters: list, show, replay, purge
//
// All but admin.c and (for topics that carry items) admin_recreate.c need nothing but the log: a flow opened by
// flow_open_log will do. What destroys can be asked for with `dry_run`: then the answer says what would happen.
#ifndef DEEPLENS_FLOW_ADMIN_H
#define DEEPLENS_FLOW_ADMIN_H

#include "flow/flow.h"

// --- Ledger, tenants, models

int admin_ledger(struct flow *f, const char *tenant, struct meta_ledger *out, struct error *err);
bool admin_ledger_closes(const struct meta_ledger *l);
int admin_tenant_add(struct flow *f, const char *name, struct error *err);
int admin_tenants(struct flow *f, json_t **out, struct error *err);
// Removes a tenant with all that it has (admin_leave.c): refuses its uploads from now on, and goes a part of the way;
// `status` is "removing" or "removed", `left` the items that are there still. What is left is gone on with by looks.
int admin_tenant_remove(struct flow *f, const char *name, bool dry_run, json_t **out, struct error *err);
int admin_leave_look(struct flow *f, struct error *err); // at all that are being removed
// `default` is the tenant's; with the rebuilds of the tenant and everybody, or of all (rebuild_list).
int admin_models(struct flow *f, const char *tenant, json_t **out, struct error *err);

// --- Topics

#define ADMIN_KEEP INT64_MIN // in a change: as it is, or as the catalogue says

struct topic_change {
    int64_t partitions, replication; // ADMIN_KEEP
    int64_t retention_ms, retention_bytes;
};

int admin_topics(struct flow *f, json_t **out, struct error *err);
int admin_topic(struct flow *f, const char *topic, json_t **out, struct error *err);
int admin_topic_create(struct flow *f, const char *topic, const struct topic_change *config, json_t **out,
                       struct error *err);
int admin_topic_alter(struct flow *f, const char *topic, const struct topic_change *change, json_t **out,
                      struct error *err);
// ERR_CONFLICT names a group that has members and reads the topic.
int admin_topic_delete(struct flow *f, const char *topic, json_t **out, struct error *err);
// Makes what the catalogue has and the log has not; says what differs and leaves that alone.
int admin_topics_ensure(struct flow *f, bool dry_run, json_t **out, struct error *err);

// Deletes the topic with its records and offsets and makes it again as it was; then puts what is on its way (items
// neither completed nor failed; for maintenance those being deleted) back into the pipeline, so that all of it ends.
// ERR_CONFLICT as above. When it is cut off, the next process goes on with it: it calls resume before anything runs.
int admin_topic_recreate(struct flow *f, const char *topic, bool dry_run, json_t **out, struct error *err);
int admin_recreate_resume(struct flow *f, struct error *err);

// --- Records

struct records_query {
    int partition;      // -1: all, merged by time
    int64_t offset;     // -1: the last `limit` records; -2: from the oldest
    int64_t from_ms;    // from this time on, instead of `offset`; 0: not said
    const char *cursor; // an earlier answer's: what came since; NULL: not said
    const char *tenant; // NULL: any
    const char *key;    // NULL: any
    size_t limit;
};

// `{records, cursor}`. With a filter at most RECORDS_SCAN records of a partition are looked at for one answer.
enum { RECORDS_MAX = 1000, RECORDS_SCAN = 20000 };
int admin_records(struct flow *f, const char *topic, const struct records_query *query, json_t **out,
                  struct error *err);

enum { PRODUCE_MAX = 1 << 20 };
struct produce {
    const char *key;
    const json_t *headers; // an object of strings; NULL: none
    const void *value;
    size_t value_len;
};
int admin_produce(struct flow *f, const char *topic, const struct produce *record, struct error *err);

// --- Groups

int admin_groups(struct flow *f, json_t **out, struct error *err);
int admin_group(struct flow *f, const char *group, json_t **out, struct error *err);

struct group_reset {
    enum { RESET_EARLIEST, RESET_LATEST, RESET_TIME, RESET_OFFSET, RESET_SHIFT } to;
    int64_t value;     // the time in ms, the offset, or by how much
    const char *topic; // NULL: all that the group has read
    int partition;     // -1: all
    bool dry_run;
};

// Answers with each partition's offset before and after; what lies outside of a partition goes to its nearer end.
// ERR_CONFLICT while the group has members, unless it is a dry run.
int admin_group_reset(struct flow *f, const char *group, const struct group_reset *reset, json_t **out,
                      struct error *err);
int admin_group_delete(struct flow *f, const char *group, struct error *err);

// Each group's lag by partition, with its state (see lag.h), and whether that is alarming: it is above the limit, has
// stalled or stopped. Groups that read no topic of the catalogue never are.
int admin_lag(struct flow *f, json_t **out, struct error *err);

// --- Dead letters

struct deadletter_query { // NULL and 0: any
    const char *code, *stage, *topic, *tenant, *group;
    int64_t from_ms, to_ms; // failed at or after, and before
    const char *cursor;     // the id that the answer before ended with
    size_t limit;
};

int admin_deadletters(struct flow *f, const struct deadletter_query *query, json_t **out, struct error *err);
int admin_deadletter(struct flow *f, const char *id, json_t **out, struct error *err);
// Puts the original back on its topic with its own id and the next attempts; twice is harmless. The item stays failed
// until it is completed.
int admin_deadletter_replay(struct flow *f, const char *id, json_t **out, struct error *err);
// Forgets the letters that failed before `before_ms` (0: all). A log forgets from its oldest end only, so that there is
// no choice by code or tenant.
int admin_deadletters_purge(struct flow *f, int64_t before_ms, bool dry_run, json_t **out, struct error *err);

// --- Jobs: the steps as queues. `runner` NULL: this process runs none.

struct runner;
int admin_jobs(struct flow *f, struct runner *runner, json_t **out, struct error *err);
// Changes how a step works in this process: how many events at once (`concurrency`; ADMIN_KEEP, or -1: no limit of its
// own), and whether it begins any (`paused`). ERR_NOT_FOUND; ERR_CONFLICT when it runs elsewhere.
int admin_job_alter(struct runner *runner, const char *step, int64_t concurrency, const bool *paused, json_t **out,
                    struct error *err);
// What failed for good there: as admin_deadletters. And putting that back: of the ids given, or (NULL) a page of all.
struct job_page {
    const char *cursor; // NULL: from the start
    size_t limit;
    int64_t to_ms; // what failed before; 0: before now
};
int admin_job_failed(struct flow *f, const char *step, const char *cursor, size_t limit, json_t **out,
                     struct error *err);
int admin_job_retry(struct flow *f, const char *step, const json_t *ids, const struct job_page *page, json_t **out,
                    struct error *err);

#endif
