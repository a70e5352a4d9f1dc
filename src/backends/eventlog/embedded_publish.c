// SPDX-License-Identifier: Apache-2.0
// Appending records, on the writer's thread.
#include "backends/eventlog/embedded_int.h"
#include "base/clock.h"

static int find_partition(struct el_log *log, const struct elog_record *record, struct el_partition **out,
                          struct error *err)
{
    pthread_mutex_lock(&log->lock);
    const struct el_topic *topic = el_topic_find(log, record->topic);
    struct el_partition *p = topic ? topic->partitions[elog_partition(record->key, topic->config.partitions)] : NULL;
    pthread_mutex_unlock(&log->lock); // see "Lifetimes" in embedded.c
    if (!p)
        return error_set(err, ERR_NOT_FOUND, "There is no topic %.249s", record->topic);
    *out = p;
    return 0;
}

static int append(struct el_log *log, struct meta_tx *tx, struct el_partition *p, const struct elog_record *record,
                  const struct el_encoded *row, struct error *err)
{
    if (p->now.end >= el_offset(-1))
        return error_set(err, ERR_UNSUPPORTED, "The partition %d of %.249s is out of offsets", p->number,
                         p->topic->name);
    int64_t timestamp_ms = record->timestamp_ms ? record->timestamp_ms : clock_now_ms();
    if (sq_exec(tx, "INSERT INTO elog_record (id, timestamp_ms, key, headers, value) VALUES (?1, ?2, ?3, ?4, ?5)",
                SQ_ARGS(sq_int(el_row(p->id, p->now.end)), sq_int(timestamp_ms), row->key, row->headers, row->value),
                err) < 0)
        return -1;
    el_touch(log, p);
    p->now.end++;
    p->now.bytes += row->bytes;
    return 0;
}

int el_publish_tx(void *state, struct meta_tx *tx, const struct elog_record *record, struct elog_place *place,
                  struct error *err)
{
    struct el_log *log = el_log(state);
    struct el_partition *p = NULL;
    struct el_encoded row;
    if (!sq_tx(tx)->writable)
        return error_set(err, ERR_INTERNAL, "Records cannot be published in a read transaction");
    if (find_partition(log, record, &p, err) < 0)
        return -1;
    int rc = el_encode(record, &row, err);
    if (rc == 0)
        rc = append(log, tx, p, record, &row, err);
    free(row.headers_block);
    if (rc == 0 && place)
        *place = (struct elog_place){p->number, p->now.end - 1};
    return rc;
}

struct batch {
    struct el_log *log;
    const struct elog_record *records;
    size_t count;
};

static int publish_batch(struct meta_tx *tx, void *arg, struct error *err)
{
    const struct batch *batch = arg;
    for (size_t i = 0; i < batch->count; i++)
        if (el_publish_tx(batch->log, tx, &batch->records[i], NULL, err) < 0)
            return -1;
    return 0;
}

int el_publish(void *state, const struct elog_record *records, size_t count, struct error *err)
{
    struct el_log *log = el_log(state);
    struct batch batch = {.log = log, .records = records, .count = count};
    return sq_write(log->db, META_SYNCED, publish_batch, &batch, err);
}
