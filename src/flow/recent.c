// SPDX-License-Identifier: Apache-2.0
// The set of recent ids: a ring of entries in the order of arrival, and chains by hash through them.
#include "flow/recent.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/id.h"

enum { RECENT_MAX = 8192, BUCKETS = 4096, NONE = 0xffff };

struct entry {
    char id[ID_MAX]; // "": nothing here
    uint16_t next;   // of the same bucket
};

struct recent {
    struct entry ring[RECENT_MAX];
    uint16_t buckets[BUCKETS];
    size_t at; // the oldest: the next one to be replaced
};

struct recent *recent_new(void)
{
    struct recent *r = calloc(1, sizeof *r);
    if (!r)
        abort();
    memset(r->buckets, 0xff, sizeof r->buckets);
    return r;
}

void recent_free(struct recent *r)
{
    free(r);
}

static uint16_t *bucket_of(struct recent *r, const char *id)
{
    return &r->buckets[hash64(id, strlen(id)) % BUCKETS];
}

bool recent_take(struct recent *r, const char *id)
{
    for (uint16_t *at = bucket_of(r, id); *at != NONE; at = &r->ring[*at].next) {
        struct entry *entry = &r->ring[*at];
        if (strcmp(entry->id, id) != 0)
            continue;
        *at = entry->next;
        entry->id[0] = 0;
        return true;
    }
    return false;
}

void recent_add(struct recent *r, const char *id)
{
    size_t len = strlen(id);
    if (!len || len >= ID_MAX)
        return;
    recent_take(r, id);
    struct entry *entry = &r->ring[r->at];
    if (entry->id[0])
        recent_take(r, entry->id);
    uint16_t *bucket = bucket_of(r, id);
    memcpy(entry->id, id, len + 1);
    entry->next = *bucket;
    *bucket = (uint16_t)r->at;
    r->at = (r->at + 1) % RECENT_MAX;
}
