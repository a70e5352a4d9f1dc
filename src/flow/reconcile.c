// SPDX-License-Identifier: Apache-2.0
// Everything ends (G2), also what stood on a topic that somebody deleted, or expired before it was read, or was passed
// over by a group that somebody moved. Such a log (without ELOG_RETAINS) does not tell; but the records know which
// items are on their way, and the log what is still to be read. An item that nobody touched for so long that its event
// would be older than everything unread, and longer than any retry waits, has no event any more: it is put back on its
// way as after `topics recreate`, by its upload's event (or its deletion's), and the inbox sees to it that nothing
// happens twice. To err is harmless for the same reason. So it is with messages of chats.
//
//   untouched for   >  reconcile.after  +  the longest wait of a retry  +  the age of the oldest unread event
//
// A topic that no group reads at the moment (a worker of others that was not started yet) is no reason to repeat
// oneself: then nothing is done.
#include "flow/reconcile.h"

#include <string.h>

#include "base/clock.h"
#include "flow/admin_int.h"
#include "flow/message.h"
#include "flow/step.h"

// ---- The oldest event that is still to be read

struct unread {
    struct flow *flow;
    struct arena arena;
    int64_t age_ms;
    bool read[TOPIC_COUNT]; // by somebody
};

static void note_group(struct unread *u, const struct elog_group_info *group)
{
    enum event_topic topic;
    for (size_t i = 0; i < group->partition_count; i++) {
        const struct elog_group_partition *p = &group->partitions[i];
        if (event_topic_parse(p->topic, &topic) < 0)
            continue;
        u->read[topic] = true;
        if (p->lag_ms > u->age_ms)
            u->age_ms = p->lag_ms;
    }
}

static int note_groups(struct unread *u, struct error *err)
{
    const struct eventlog *log = &u->flow->log;
    struct elog_group_info *groups, group;
    size_t count;
    if (log->ops->group_list(log->state, &u->arena, &groups, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        struct error why = {0};
        if (log->ops->group_describe(log->state, &u->arena, groups[i].name, &group, &why) == 0)
            note_group(u, &group);
        else if (why.code != ERR_NOT_FOUND) // else it is gone since
            return error_copy(err, &why);
    }
    return 0;
}

static int note_outbox(struct meta_tx *tx, void *arg, struct error *err)
{
    struct unread *u = arg;
    struct meta_outbox *rows;
    size_t count;
    if (u->flow->meta.ops->outbox_read(tx, &u->arena, 0, 1, 1, &rows, &count, err) < 0)
        return -1;
    int64_t age_ms = count ? clock_now_ms() - rows[0].timestamp_ms : 0;
    if (age_ms > u->age_ms)
        u->age_ms = age_ms;
    return 0;
}

static bool all_read(const struct unread *u)
{
    for (int s = 0; s < STEP_COUNT; s++)
        for (size_t i = 0; i < steps[s].topic_count; i++)
            if (!u->read[steps[s].topics[i]])
                return false;
    return true;
}

// ---- Putting back

static int put_back(struct flow *f, int64_t untouched_ms, bool dry_run, uint64_t *items, struct error *err)
{
    uint64_t on_the_way, leaving, messages;
    // The topic of all steps' failures: which step an item waits for is not known.
    if (admin_put_back(f, TOPIC_PROCESSING_FAILED, untouched_ms, dry_run, &on_the_way, err) < 0 ||
        admin_put_back(f, TOPIC_IMAGES_MAINTENANCE, untouched_ms, dry_run, &leaving, err) < 0 ||
        message_put_back(f, untouched_ms, dry_run, &messages, err) < 0)
        return -1;
    *items = on_the_way + leaving + messages;
    return 0;
}

int reconcile_look(struct flow *f, uint64_t *items, struct error *err)
{
    struct unread u = {.flow = f};
    int64_t now = clock_now_ms(), untouched_ms = now - f->settings.reconcile_ms - f->settings.retry_max_ms;
    uint64_t count = 0;
    if (f->log.ops->caps & ELOG_RETAINS || !f->settings.reconcile_ms) {
        *items = 0;
        return 0;
    }
    int rc = put_back(f, untouched_ms, true, &count, err);
    if (rc == 0 && count) { // rare: only then the log is asked
        count = 0;
        rc = note_groups(&u, err);
        if (rc == 0)
            rc = f->meta.ops->read(f->meta.state, note_outbox, &u, err);
        if (rc == 0 && all_read(&u))
            rc = put_back(f, untouched_ms - u.age_ms, false, &count, err);
    }
    arena_free(&u.arena);
    if (rc == 0)
        *items = count;
    return rc;
}
