// SPDX-License-Identifier: Apache-2.0
// Removing records: those that are too old or too many for their topic, and those of deleted topics. A transaction
// removes at most CHUNK_RECORDS records or about CHUNK_BYTES, so that the writer is soon free for others. The oldest
// go first and without gaps; `end` stays, so that offsets never begin anew. What a group has still to read is kept,
// however old: retention must not lose an item that is on its way (G2).
#include <string.h>

#include "backends/eventlog/embedded_int.h"

enum { CHUNK_RECORDS = 1000, CHUNK_BYTES = 8 << 20 };

// ---- One chunk of one partition.

struct chunk {
    struct el_log *log;
    const char *topic;
    int32_t partition;
    int64_t now_ms;
    int64_t before; // -1: what retention says; else everything before this offset, needed or not
    bool more;      // there may be more to remove
};

// The names of the groups that are subscribed to the topic just now, in the arena.
static size_t subscribed(struct el_log *log, struct arena *arena, const char *topic, const char ***names)
{
    pthread_mutex_lock(&log->lock);
    size_t count = 0, room = 0;
    for (const struct el_group *group = log->groups; group; group = group->next)
        room++;
    *names = arena_alloc(arena, (room + 1) * sizeof **names);
    for (const struct el_group *group = log->groups; group; group = group->next)
        for (size_t i = 0; i < group->topic_count; i++)
            if (strcmp(group->topics[i].topic->name, topic) == 0)
                (*names)[count++] = arena_strdup(arena, group->name);
    pthread_mutex_unlock(&log->lock);
    return count;
}

// The first offset that some group has not committed: of those that ever committed, and those that are subscribed.
static int needed_from(struct meta_tx *tx, const struct chunk *chunk, const struct el_partition *p, int64_t *out,
                       struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    int64_t least = p->now.end;
    const char **names;
    size_t waiting = subscribed(chunk->log, &arena, chunk->topic, &names);
    if (sq_query(tx, "SELECT group_name, next_offset FROM elog_offset WHERE partition_id = ?1", SQ_ARGS(sq_int(p->id)),
                 &stmt, err) < 0)
        return -1;
    int rc;
    while ((rc = sq_next(tx, stmt, err)) > 0) {
        const char *name = sq_col_text(&arena, stmt, 0);
        if (sq_col_int(stmt, 1) < least)
            least = sq_col_int(stmt, 1);
        for (size_t i = 0; i < waiting; i++)
            if (strcmp(names[i], name) == 0)
                names[i--] = names[--waiting];
    }
    if (rc == 0)
        *out = waiting ? p->now.begin : least; // one that has not committed yet needs all
    return rc;
}

// What goes: the oldest records, while too old or the partition too large, and read by everybody; or before an offset.
static int measure(struct meta_tx *tx, struct chunk *chunk, const struct el_partition *p, struct el_counters *after,
                   struct error *err)
{
    const struct elog_topic_config *config = &p->topic->config;
    int64_t needed = chunk->before;
    if (needed < 0 && needed_from(tx, chunk, p, &needed, err) < 0)
        return -1;
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx,
                 "SELECT id, timestamp_ms, length(value) + ifnull(length(key), 0) + ifnull(length(headers), 0)"
                 " FROM elog_record WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3",
                 SQ_ARGS(sq_int(el_row(p->id, p->now.begin)), sq_int(el_row(p->id, p->now.end)), sq_int(CHUNK_RECORDS)),
                 &stmt, err) < 0)
        return -1;
    int rc;
    size_t count = 0;
    while ((rc = sq_next(tx, stmt, err)) > 0) {
        bool old = config->retention_ms >= 0 && sq_col_int(stmt, 1) < chunk->now_ms - config->retention_ms;
        bool large = config->retention_bytes >= 0 && after->bytes > config->retention_bytes;
        if ((!old && !large && chunk->before < 0) || el_offset(sq_col_int(stmt, 0)) >= needed)
            return 0;
        after->begin = el_offset(sq_col_int(stmt, 0)) + 1;
        after->bytes -= sq_col_int(stmt, 2);
        if (++count == CHUNK_RECORDS || p->now.bytes - after->bytes >= CHUNK_BYTES) {
            chunk->more = true;
            return 0;
        }
    }
    return rc;
}

static int remove_chunk(struct meta_tx *tx, void *arg, struct error *err)
{
    struct chunk *chunk = arg;
    chunk->more = false;
    pthread_mutex_lock(&chunk->log->lock);
    struct el_topic *topic = el_topic_find(chunk->log, chunk->topic);
    pthread_mutex_unlock(&chunk->log->lock);
    if (!topic || chunk->partition >= topic->config.partitions)
        return 0;
    struct el_partition *p = topic->partitions[chunk->partition];
    struct el_counters after = p->now;
    if (measure(tx, chunk, p, &after, err) < 0)
        return -1;
    if (after.begin == p->now.begin)
        return 0;
    if (sq_exec(tx, "DELETE FROM elog_record WHERE id >= ?1 AND id < ?2",
                SQ_ARGS(sq_int(el_row(p->id, p->now.begin)), sq_int(el_row(p->id, after.begin))), err) < 0)
        return -1;
    el_touch(chunk->log, p);
    p->now = after;
    return 0;
}

static int remove_chunks(struct el_log *log, enum meta_durability durability, struct chunk *chunk, struct error *err)
{
    do {
        if (sq_write(log->db, durability, remove_chunk, chunk, err) < 0)
            return -1;
    } while (chunk->more);
    return 0;
}

// log->admin held.
static int delete_before(struct el_log *log, struct chunk *chunk, struct error *err)
{
    int64_t end = -1;
    pthread_mutex_lock(&log->lock);
    const struct el_topic *topic = el_topic_find(log, chunk->topic);
    if (topic && chunk->partition >= 0 && chunk->partition < topic->config.partitions)
        end = topic->partitions[chunk->partition]->visible_end;
    pthread_mutex_unlock(&log->lock);
    if (end < 0)
        return error_set(err, ERR_NOT_FOUND, "There is no partition %d of a topic %.249s", chunk->partition,
                         chunk->topic);
    if (chunk->before < 0 || chunk->before > end)
        return error_set(err, ERR_INVALID, "The offset %lld lies outside of the partition %d of %.249s",
                         (long long)chunk->before, chunk->partition, chunk->topic);
    return remove_chunks(log, META_SYNCED, chunk, err);
}

int el_records_delete(void *state, const char *topic, int32_t partition, int64_t offset, struct error *err)
{
    struct el_log *log = el_log(state);
    struct chunk chunk = {.log = log, .topic = topic, .partition = partition, .before = offset};
    pthread_mutex_lock(&log->admin);
    int rc = delete_before(log, &chunk, err);
    pthread_mutex_unlock(&log->admin);
    return rc;
}

// ---- Which partitions have something to remove: found by reading, so that the writer is left alone when none has.

struct due {
    struct due *next;
    const char *topic;
    int32_t partition;
};

struct search {
    struct arena *arena;
    int64_t now_ms;
    struct due *due;
    bool orphans;
};

static int find_due(struct meta_tx *tx, struct search *search, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx,
                 "SELECT t.name, p.number FROM elog_topic t JOIN elog_partition p ON p.topic_id = t.id"
                 " WHERE p.end_offset > p.begin_offset AND ((t.retention_bytes >= 0 AND p.bytes > t.retention_bytes)"
                 " OR (t.retention_ms >= 0 AND (SELECT timestamp_ms FROM elog_record"
                 "  WHERE id >= (p.id << 44) + p.begin_offset ORDER BY id LIMIT 1) < ?1 - t.retention_ms))",
                 SQ_ARGS(sq_int(search->now_ms)), &stmt, err) < 0)
        return -1;
    int rc;
    while ((rc = sq_next(tx, stmt, err)) > 0) {
        struct due *due = arena_alloc(search->arena, sizeof *due);
        *due = (struct due){.next = search->due,
                            .topic = sq_col_text(search->arena, stmt, 0),
                            .partition = (int32_t)sq_col_int(stmt, 1)};
        search->due = due;
    }
    return rc;
}

static int find_work(struct meta_tx *tx, void *arg, struct error *err)
{
    struct search *search = arg;
    _Static_assert(EL_OFFSET_BITS == 44, "stands in SQL");
    if (find_due(tx, search, err) < 0)
        return -1;
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, "SELECT 1 FROM elog_partition WHERE topic_id = 0 LIMIT 1", SQ_NO_ARGS, &stmt, err) < 0)
        return -1;
    int rc = sq_next(tx, stmt, err);
    search->orphans = rc > 0;
    return rc < 0 ? -1 : 0;
}

static int clean(struct el_log *log, int64_t now_ms, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct search search = {.arena = &arena, .now_ms = now_ms};
    if (sq_read(log->db, find_work, &search, err) < 0)
        return -1;
    for (const struct due *due = search.due; due; due = due->next) {
        struct chunk chunk = {
            .log = log, .topic = due->topic, .partition = due->partition, .now_ms = now_ms, .before = -1};
        if (remove_chunks(log, META_RELAXED, &chunk, err) < 0)
            return -1;
    }
    return search.orphans ? el_sweep(log, err) : 0;
}

int el_housekeep(void *state, int64_t now_ms, struct error *err)
{
    struct el_log *log = el_log(state);
    pthread_mutex_lock(&log->admin);
    int rc = clean(log, now_ms, err);
    pthread_mutex_unlock(&log->admin);
    return rc;
}

// ---- What deleted topics left.

static int first_orphan(struct meta_tx *tx, int64_t *id, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, "SELECT id FROM elog_partition WHERE topic_id = 0 LIMIT 1", SQ_NO_ARGS, &stmt, err) < 0)
        return -1;
    int rc = sq_next(tx, stmt, err);
    if (rc > 0)
        *id = sq_col_int(stmt, 0);
    return rc;
}

// The row behind the last one of a chunk of an orphan's records; -1 when it has none.
static int orphan_chunk(struct meta_tx *tx, int64_t id, int64_t *end, struct error *err)
{
    _cleanup_sq_reset_ sqlite3_stmt *stmt = NULL;
    if (sq_query(tx, "SELECT id, length(value) FROM elog_record WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3",
                 SQ_ARGS(sq_int(el_row(id, 0)), sq_int(el_row(id + 1, 0)), sq_int(CHUNK_RECORDS)), &stmt, err) < 0)
        return -1;
    int64_t bytes = 0, last = -2;
    int rc = 0;
    while (bytes < CHUNK_BYTES && (rc = sq_next(tx, stmt, err)) > 0) {
        last = sq_col_int(stmt, 0);
        bytes += sq_col_int(stmt, 1);
    }
    *end = last + 1;
    return rc < 0 ? -1 : 0;
}

// A chunk of an orphan's records, or the orphan itself once it has none. Sets *arg while there are orphans.
static int sweep_chunk(struct meta_tx *tx, void *arg, struct error *err)
{
    bool *more = arg;
    int64_t id = 0, end = 0;
    int rc = first_orphan(tx, &id, err);
    *more = rc > 0;
    if (rc <= 0)
        return rc;
    if (orphan_chunk(tx, id, &end, err) < 0)
        return -1;
    if (end >= 0)
        return sq_exec(tx, "DELETE FROM elog_record WHERE id >= ?1 AND id < ?2",
                       SQ_ARGS(sq_int(el_row(id, 0)), sq_int(end)), err);
    if (sq_exec(tx, "DELETE FROM elog_offset WHERE partition_id = ?1", SQ_ARGS(sq_int(id)), err) < 0)
        return -1;
    return sq_exec(tx, "DELETE FROM elog_partition WHERE id = ?1", SQ_ARGS(sq_int(id)), err);
}

int el_sweep(struct el_log *log, struct error *err)
{
    bool more;
    do {
        if (sq_write(log->db, META_RELAXED, sweep_chunk, &more, err) < 0)
            return -1;
    } while (more);
    return 0;
}
