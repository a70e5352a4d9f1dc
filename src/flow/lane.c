// SPDX-License-Identifier: Apache-2.0
// A lane: the queue of one step. Order by key: of the tasks with one key only the first is ready, the others follow
// when it is over. Priority among those that are ready. Offsets: the lowest one of a partition that is not done.
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "events/scan.h"
#include "flow/runner_int.h"

enum { PAUSE_MIN_US = 500000, PAUSE_MAX_US = 30000000 };

void lane_init(struct lane *lane, struct runner *r, const struct step *step)
{
    lane->runner = r;
    lane->step = step;
    lane->suspected = r->config.queue_events;
    lane->expected = recent_new();
    lane->limit = RUNNER_NO_LIMIT;
    pthread_cond_init(&lane->room, NULL);
    for (int p = 0; p < PRIORITY_COUNT; p++)
        TAILQ_INIT(&lane->ready[p]);
}

bool lane_has_room(const struct lane *lane)
{
    const struct runner_config *limits = &lane->runner->config;
    return lane->held_events < limits->queue_events && lane->held_bytes < limits->queue_bytes;
}

static void push(struct lane *lane, struct task *task, bool front)
{
    struct tasks *ready = &lane->ready[task->job.priority];
    if (front)
        TAILQ_INSERT_HEAD(ready, task, link);
    else
        TAILQ_INSERT_TAIL(ready, task, link);
    lane->ready_count[task->job.priority]++;
}

static enum media_priority priority_of(const struct elog_record *record)
{
    enum media_priority priority = PRIORITY_NORMAL;
    for (size_t i = 0; i < record->header_count; i++)
        if (strcmp(record->headers[i].name, "deeplens-priority") == 0)
            media_priority_parse(record->headers[i].value, &priority);
    return priority;
}

static struct part *part_of(struct lane *lane, const struct elog_record *record)
{
    for (struct part *part = lane->parts; part; part = part->next)
        if (part->partition == record->partition && part->epoch == record->epoch &&
            strcmp(part->topic, record->topic) == 0)
            return part;
    struct part *part = calloc(1, sizeof *part);
    enum event_topic topic;
    if (!part || event_topic_parse(record->topic, &topic) < 0)
        abort(); // a lane only subscribes to topics of the catalogue
    part->topic = event_topic_name(topic);
    part->partition = record->partition;
    part->epoch = record->epoch;
    TAILQ_INIT(&part->slots);
    part->next = lane->parts;
    lane->parts = part;
    return part;
}

// What keeps the record in order with others: its key. Producers elsewhere may give none; then the item's id is looked
// for in the message, so that the same event twice, or two of one item, are not worked on at once.
static const char *order_key(const struct elog_record *record, size_t *len)
{
    static const char *const names[] = {"imageId", "mediaId", "videoId"};
    const char *text = record->value;
    struct scan_span span;
    if (record->key) {
        *len = strlen(record->key);
        return record->key;
    }
    size_t object = scan_space(text, record->value_len, 0);
    if (scan_member(text, record->value_len, object, "data", &span) && text[span.start] == '{')
        object = span.start;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (scan_member(text, record->value_len, object, names[i], &span) && text[span.start] == '"') {
            *len = span.end - span.start - 2;
            return text + span.start + 1;
        }
    return NULL;
}

static struct chain **find_chain(struct lane *lane, const char *key, size_t len, uint64_t hash)
{
    struct chain **at = &lane->keys[hash % KEY_BUCKETS];
    while (*at && ((*at)->hash != hash || (*at)->len != len || memcmp((*at)->key, key, len) != 0))
        at = &(*at)->next;
    return at;
}

// Puts the task behind the others of its key; true when it is the first.
static bool join_chain(struct lane *lane, struct task *task, const char *key, size_t len)
{
    uint64_t hash = hash64(key, len);
    struct chain **at = find_chain(lane, key, len, hash), *chain = *at;
    if (chain) {
        chain->tail->follower = task;
        chain->tail = task;
        task->chain = chain;
        return false;
    }
    chain = calloc(1, sizeof *chain + len);
    if (!chain)
        abort();
    memcpy(chain->key, key, len);
    chain->len = len;
    chain->hash = hash;
    chain->tail = task;
    task->chain = *at = chain;
    return true;
}

static void leave_chain(struct lane *lane, struct task *task)
{
    if (!task->chain)
        return;
    if (task->follower) {
        push(lane, task->follower, false);
        pthread_cond_signal(&lane->runner->work[lane->step->pool]);
        return;
    }
    struct chain **at = &lane->keys[task->chain->hash % KEY_BUCKETS];
    while (*at != task->chain)
        at = &(*at)->next;
    *at = task->chain->next;
    free(task->chain);
}

// The event of a record of ours; NULL when it is another's.
static const char *event_of(const struct elog_record *record)
{
    for (size_t i = 0; i < record->header_count; i++)
        if (strcmp(record->headers[i].name, "ce_id") == 0)
            return record->headers[i].value;
    return NULL;
}

static void drop_slots(struct part *part)
{
    struct slot *slot;
    while ((slot = TAILQ_FIRST(&part->slots)) && slot->over) {
        part->over_to = slot->offset + 1;
        TAILQ_REMOVE(&part->slots, slot, link);
        free(slot);
    }
}

static struct slot *add_slot(struct part *part, int64_t offset)
{
    struct slot *slot = calloc(1, sizeof *slot);
    if (!slot)
        abort();
    slot->offset = offset;
    TAILQ_INSERT_TAIL(&part->slots, slot, link);
    return slot;
}

// Of the two steps that wait for the end of items, one is about videos, the other about the rest. What tells them apart
// is the item's id; one from elsewhere may be either's.
static bool concerns(const struct step *step, const char *key, size_t len)
{
    bool video = len > 4 && memcmp(key, "vid_", 4) == 0,
         other = len > 4 && (memcmp(key, "img_", 4) == 0 || memcmp(key, "frm_", 4) == 0);
    return !(video && step == &steps[STEP_THUMBNAIL]) && !(other && step == &steps[STEP_DERIVE]);
}

void lane_add(struct lane *lane, struct elog_record *record)
{
    struct part *part = part_of(lane, record);
    struct slot *slot = add_slot(part, record->offset);
    const char *event = event_of(record);
    size_t len;
    const char *key = order_key(record, &len);
    bool settled = event && recent_take(lane->expected, event); // already, with the event that it came from
    if (settled || (key && !concerns(lane->step, key, len))) {
        slot->done = slot->over = true;
        drop_slots(part);
        free(record);
        return;
    }
    struct task *task = calloc(1, sizeof *task);
    if (!task)
        abort();
    task->lane = lane;
    task->record = record;
    task->slot = slot;
    task->part = part;
    task->job.priority = priority_of(record);
    lane->held_events++;
    lane->held_bytes += record->value_len;
    if (!key || join_chain(lane, task, key, len))
        push(lane, task, false);
}

bool lane_enter(struct lane *lane, struct task *task, const char *key)
{
    size_t len = strlen(key);
    if (lane->limit >= 0 || clock_mono_us() < lane->paused_until_us || *find_chain(lane, key, len, hash64(key, len)))
        return false;
    lane->at_work++;
    return join_chain(lane, task, key, len);
}

void lane_put_back(struct lane *lane, struct task *task)
{
    push(lane, task, true);
}

size_t lane_take(struct lane *lane, enum media_priority priority, size_t max, struct task **out)
{
    size_t count = 0;
    while (count < max && !TAILQ_EMPTY(&lane->ready[priority])) {
        struct task *task = TAILQ_FIRST(&lane->ready[priority]);
        TAILQ_REMOVE(&lane->ready[priority], task, link);
        lane->ready_count[priority]--;
        out[count++] = task;
    }
    return count;
}

void task_free(struct task *task)
{
    json_decref(task->root);
    json_decref(task->job.held);
    arena_free(&task->job.arena);
    free(task->record);
    free(task);
}

void lane_drop(struct task *task)
{
    struct lane *lane = task->lane;
    lane_drop_onward(task);
    leave_chain(lane, task);
    lane->at_work--;
    if (lane->limit > 0)
        pthread_cond_signal(&lane->runner->work[lane->step->pool]);
    task_free(task);
}

void lane_drop_onward(struct task *task)
{
    for (struct task *next; task->onward;) {
        next = task->onward->beside;
        lane_drop(task->onward);
        task->onward = next;
    }
}

void lane_expect(struct task *task)
{
    for (struct emit *emit = task->job.emits; emit; emit = emit->next)
        if (emit->settled)
            recent_add(task->lane->runner->lanes[step_onward_of(emit->topic) - steps].expected, emit->event_id);
    for (struct task *next = task->onward; next; next = next->beside)
        lane_expect(next);
}

void lane_forget(struct task *task)
{
    for (struct emit *emit = task->job.emits; emit; emit = emit->next) {
        if (emit->settled)
            recent_take(task->lane->runner->lanes[step_onward_of(emit->topic) - steps].expected, emit->event_id);
        emit->settled = false;
    }
    for (struct task *next = task->onward; next; next = next->beside)
        lane_forget(next);
}

int64_t lane_commit_offset(const struct task *task)
{
    int64_t offset = -1;
    struct slot *slot;
    TAILQ_FOREACH(slot, &task->part->slots, link)
    {
        if (!slot->done)
            break;
        offset = slot->offset + 1;
    }
    return offset;
}

void lane_done(struct lane *lane, struct task *task)
{
    task->slot->done = task->slot->over = true;
    drop_slots(task->part);
    lane_drop_onward(task);
    leave_chain(lane, task);
    lane->held_events--;
    lane->held_bytes -= task->record->value_len;
    lane->pause_us = 0;
    task_free(task);
    pthread_cond_signal(&lane->room);
}

bool lane_pause(struct lane *lane, const struct error *why)
{
    int64_t now = clock_mono_us();
    if (now < lane->paused_until_us)
        return false;
    lane->pause_us = lane->pause_us ? lane->pause_us * 2 : PAUSE_MIN_US;
    if (lane->pause_us > PAUSE_MAX_US)
        lane->pause_us = PAUSE_MAX_US;
    lane->paused_until_us = now + lane->pause_us;
    memcpy(lane->pause_reason, why->message, sizeof lane->pause_reason);
    pthread_cond_broadcast(&lane->runner->work[lane->step->pool]); // all workers look again when it ends
    return true;
}

void lane_clear(struct lane *lane)
{
    for (int p = 0; p < PRIORITY_COUNT; p++)
        while (!TAILQ_EMPTY(&lane->ready[p])) {
            struct task *task = TAILQ_FIRST(&lane->ready[p]);
            TAILQ_REMOVE(&lane->ready[p], task, link);
            for (struct task *next; task; task = next) {
                next = task->follower;
                task_free(task);
            }
        }
    for (int b = 0; b < KEY_BUCKETS; b++)
        for (struct chain *chain = lane->keys[b], *next; chain; chain = next) {
            next = chain->next;
            free(chain);
        }
    for (struct part *part = lane->parts, *next; part; part = next) {
        next = part->next;
        for (struct slot *slot; (slot = TAILQ_FIRST(&part->slots));) {
            TAILQ_REMOVE(&part->slots, slot, link);
            free(slot);
        }
        free(part);
    }
    recent_free(lane->expected);
    pthread_cond_destroy(&lane->room);
}
