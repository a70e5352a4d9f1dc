// SPDX-License-Identifier: Apache-2.0
// A ring of samples for each partition of each group, and the rules over it.
#include "flow/lag.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct sample {
    int64_t at_ms, committed, lag;
};

struct track {
    char *group, *topic;
    int32_t partition;
    struct sample ring[LAG_WINDOW];
    size_t count, next;
    int64_t moved_ms; // when the offset was last seen to move; the first sample before that
};

struct lag_history {
    pthread_mutex_t lock;
    struct track **tracks;
    size_t count;
};

const char *lag_state_name(enum lag_state state)
{
    static const char *const names[] = {
        [LAG_OK] = "ok",           [LAG_UNKNOWN] = "unknown", [LAG_BEHIND] = "behind",
        [LAG_REWOUND] = "rewound", [LAG_STALLED] = "stalled", [LAG_STOPPED] = "stopped"};
    return names[state];
}

struct lag_history *lag_history_new(void)
{
    struct lag_history *h = calloc(1, sizeof *h);
    if (!h || !(h->tracks = calloc(LAG_TRACKS_MAX, sizeof(struct track *))))
        abort();
    pthread_mutex_init(&h->lock, NULL);
    return h;
}

static void track_free(struct track *t)
{
    free(t->group);
    free(t->topic);
    free(t);
}

void lag_history_free(struct lag_history *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < h->count; i++)
        track_free(h->tracks[i]);
    free(h->tracks);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

// The i-th sample of the window, the oldest first.
static const struct sample *at(const struct track *t, size_t i)
{
    return &t->ring[(t->next + LAG_WINDOW - t->count + i) % LAG_WINDOW];
}

static const struct sample *newest(const struct track *t)
{
    return at(t, t->count - 1);
}

static size_t stalest(const struct lag_history *h)
{
    size_t least = 0;
    for (size_t i = 1; i < h->count; i++)
        if (newest(h->tracks[i])->at_ms < newest(h->tracks[least])->at_ms)
            least = i;
    return least;
}

static struct track *track_of(struct lag_history *h, const char *group, const struct elog_group_partition *p)
{
    for (size_t i = 0; i < h->count; i++) {
        struct track *t = h->tracks[i];
        if (t->partition == p->partition && strcmp(t->topic, p->topic) == 0 && strcmp(t->group, group) == 0)
            return t;
    }
    struct track *t = calloc(1, sizeof *t);
    if (!t || !(t->group = strdup(group)) || !(t->topic = strdup(p->topic)))
        abort();
    t->partition = p->partition;
    size_t place = h->count < LAG_TRACKS_MAX ? h->count++ : stalest(h);
    if (h->tracks[place])
        track_free(h->tracks[place]);
    h->tracks[place] = t;
    return t;
}

static void add_sample(struct track *t, const struct elog_group_partition *p, int64_t now_ms, int64_t interval_ms)
{
    if (t->count && now_ms - newest(t)->at_ms < interval_ms)
        return;
    if (!t->count || newest(t)->committed != p->committed)
        t->moved_ms = now_ms;
    t->ring[t->next] = (struct sample){now_ms, p->committed, p->lag};
    t->next = (t->next + 1) % LAG_WINDOW;
    if (t->count < LAG_WINDOW)
        t->count++;
}

static enum lag_state judge(const struct track *t, const struct elog_group_partition *now)
{
    const struct sample *first = at(t, 0), *last = newest(t);
    bool moved = false, shrank = false;
    if (!now->lag)
        return LAG_OK;
    for (size_t i = 1; i < t->count; i++) {
        const struct sample *before = at(t, i - 1), *after = at(t, i);
        if (after->committed < before->committed)
            return LAG_REWOUND;
        moved |= after->committed > before->committed;
        shrank |= after->lag < before->lag;
    }
    for (size_t i = 0; i < t->count; i++)
        if (!at(t, i)->lag)
            return LAG_OK;
    if (t->count < LAG_WINDOW)
        return moved ? LAG_OK : LAG_UNKNOWN;
    if (moved)
        return shrank || last->lag == first->lag ? LAG_OK : LAG_BEHIND;
    bool long_ago = last->at_ms - t->moved_ms >= 2 * (last->at_ms - first->at_ms);
    return long_ago && last->lag > first->lag ? LAG_STOPPED : LAG_STALLED;
}

void lag_note(struct lag_history *h, const struct elog_group_info *group, int64_t now_ms, int64_t interval_ms,
              enum lag_state *states)
{
    pthread_mutex_lock(&h->lock);
    for (size_t i = 0; i < group->partition_count; i++) {
        const struct elog_group_partition *p = &group->partitions[i];
        struct track *t = track_of(h, group->name, p);
        add_sample(t, p, now_ms, interval_ms);
        states[i] = judge(t, p);
    }
    pthread_mutex_unlock(&h->lock);
}

double lag_rate(struct lag_history *h, const char *group)
{
    double rate = 0;
    bool known = false;
    pthread_mutex_lock(&h->lock);
    for (size_t i = 0; i < h->count; i++) {
        const struct track *t = h->tracks[i];
        if (strcmp(t->group, group) != 0 || t->count < 2)
            continue;
        const struct sample *first = at(t, 0), *last = newest(t);
        int64_t from = first->committed < 0 ? 0 : first->committed, to = last->committed < 0 ? 0 : last->committed;
        rate += (double)(to - from) * 1000 / (double)(last->at_ms - first->at_ms > 0 ? last->at_ms - first->at_ms : 1);
        known = true;
    }
    pthread_mutex_unlock(&h->lock);
    return known ? rate : -1;
}
