// SPDX-License-Identifier: Apache-2.0
// The pixel cache: a list in the order of arrival. It holds tens of pictures, so a scan is as good as a table.
#include "flow/pixel_cache.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

struct entry {
    TAILQ_ENTRY(entry) link;
    struct pixels pixels;
    int uses;
    char key[160];
};

struct pixel_cache {
    pthread_mutex_t lock;
    TAILQ_HEAD(entries, entry) entries; // oldest first
    size_t bytes, max_bytes;
};

struct pixel_cache *pixel_cache_new(size_t max_bytes)
{
    struct pixel_cache *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    pthread_mutex_init(&c->lock, NULL);
    TAILQ_INIT(&c->entries);
    c->max_bytes = max_bytes;
    return c;
}

static void drop(struct pixel_cache *c, struct entry *e)
{
    TAILQ_REMOVE(&c->entries, e, link);
    c->bytes -= pixels_bytes(&e->pixels);
    pixels_free(&e->pixels);
    free(e);
}

void pixel_cache_free(struct pixel_cache *c)
{
    if (!c)
        return;
    while (!TAILQ_EMPTY(&c->entries))
        drop(c, TAILQ_FIRST(&c->entries));
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static void make_key(char key[160], const char *tenant, const char *id)
{
    snprintf(key, 160, "%s/%s", tenant, id);
}

static struct entry *find(struct pixel_cache *c, const char *key)
{
    struct entry *e;
    TAILQ_FOREACH(e, &c->entries, link)
    if (strcmp(e->key, key) == 0)
        return e;
    return NULL;
}

void pixel_cache_put(struct pixel_cache *c, const char *tenant, const char *id, struct pixels *pixels, int uses)
{
    struct entry *e = calloc(1, sizeof *e);
    if (!e || uses < 1 || pixels_bytes(pixels) > c->max_bytes) {
        free(e);
        pixels_free(pixels);
        return;
    }
    make_key(e->key, tenant, id);
    e->pixels = *pixels;
    e->uses = uses;
    *pixels = (struct pixels){0};
    pthread_mutex_lock(&c->lock);
    struct entry *old = find(c, e->key);
    if (old)
        drop(c, old);
    while (c->bytes + pixels_bytes(&e->pixels) > c->max_bytes)
        drop(c, TAILQ_FIRST(&c->entries));
    TAILQ_INSERT_TAIL(&c->entries, e, link);
    c->bytes += pixels_bytes(&e->pixels);
    pthread_mutex_unlock(&c->lock);
}

static bool copy_pixels(const struct pixels *from, struct pixels *to)
{
    uint8_t *data = malloc(pixels_bytes(from));
    if (!data)
        return false;
    memcpy(data, from->data, pixels_bytes(from));
    *to = (struct pixels){.width = from->width, .height = from->height, .data = data};
    return true;
}

bool pixel_cache_get(struct pixel_cache *c, const char *tenant, const char *id, struct pixels *out)
{
    char key[160];
    make_key(key, tenant, id);
    bool found = false;
    pthread_mutex_lock(&c->lock);
    struct entry *e = find(c, key);
    if (e && --e->uses == 0) {
        *out = e->pixels;
        found = true;
        c->bytes -= pixels_bytes(&e->pixels);
        e->pixels = (struct pixels){0};
        drop(c, e);
    } else if (e) {
        found = copy_pixels(&e->pixels, out);
    }
    pthread_mutex_unlock(&c->lock);
    return found;
}
