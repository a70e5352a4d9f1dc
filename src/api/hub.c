// SPDX-License-Identifier: Apache-2.0
// The hub's connections, by the token that their clients were given.
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "api/hub_int.h"
#include "base/clock.h"

struct hub *hub_new(struct live *live)
{
    struct hub *hub = calloc(1, sizeof *hub);
    if (!hub)
        abort();
    hub->live = live;
    pthread_mutex_init(&hub->lock, NULL);
    return hub;
}

static size_t bucket_of(const char *token)
{
    return strtoul((char[]){token[0], token[1], token[2], token[3], 0}, NULL, 16) % BUCKETS;
}

static void conn_free(struct hub_conn *c)
{
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->receiving);
    buf_free(&c->out);
    buf_free(&c->in);
    free(c->ids);
    free(c);
}

void hub_conn_drop(struct hub_conn *c)
{
    pthread_mutex_lock(&c->hub->lock);
    bool last = --c->users == 0;
    pthread_mutex_unlock(&c->hub->lock);
    if (last)
        conn_free(c);
}

struct hub_conn *hub_conn_new(struct hub *hub, const char *tenant, struct error *err)
{
    unsigned char bytes[TOKEN_LEN / 2];
    struct hub_conn *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    c->hub = hub;
    c->users = 1;
    c->seen_us = clock_mono_us();
    c->out = BUF_INIT(MESSAGE_ROOM);
    c->in = BUF_INIT(65536);
    snprintf(c->tenant, sizeof c->tenant, "%s", tenant);
    randombytes_buf(bytes, sizeof bytes);
    sodium_bin2hex(c->token, sizeof c->token, bytes, sizeof bytes);
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->receiving, NULL);
    pthread_mutex_lock(&hub->lock);
    bool room = hub->count < CONNS_MAX;
    if (room) {
        c->next = hub->buckets[bucket_of(c->token)];
        hub->buckets[bucket_of(c->token)] = c;
        c->listed = true;
        c->users++;
        hub->count++;
    }
    pthread_mutex_unlock(&hub->lock);
    if (room)
        return c;
    conn_free(c);
    error_set(err, ERR_OVERLOADED, "There are %d connections to the hub already", CONNS_MAX);
    return NULL;
}

struct hub_conn *hub_conn_find(struct hub *hub, const char *token)
{
    if (!token || strlen(token) != TOKEN_LEN || strspn(token, "0123456789abcdef") != TOKEN_LEN)
        return NULL;
    pthread_mutex_lock(&hub->lock);
    struct hub_conn *c = hub->buckets[bucket_of(token)];
    while (c && sodium_memcmp(c->token, token, TOKEN_LEN) != 0)
        c = c->next;
    if (c)
        c->users++;
    pthread_mutex_unlock(&hub->lock);
    return c;
}

void hub_conn_end(struct hub_conn *c)
{
    pthread_mutex_lock(&c->hub->lock);
    bool listed = c->listed;
    if (listed) {
        struct hub_conn **at = &c->hub->buckets[bucket_of(c->token)];
        while (*at != c)
            at = &(*at)->next;
        *at = c->next;
        c->listed = false;
        c->hub->count--;
    }
    pthread_mutex_unlock(&c->hub->lock);
    pthread_mutex_lock(&c->lock);
    c->over = true;
    struct live_follower *follower = take_ptr(c->follower);
    if (c->stream)
        http_stream_end(c->stream);
    if (c->socket)
        http_socket_end(c->socket, 1000, "");
    pthread_mutex_unlock(&c->lock);
    live_leave(follower);
    if (listed)
        hub_conn_drop(c);
}

void hub_sweep(struct hub *hub)
{
    struct hub_conn *old = NULL;
    int64_t now = clock_mono_us();
    pthread_mutex_lock(&hub->lock);
    for (size_t i = 0; i < BUCKETS && !old; i++)
        for (struct hub_conn *c = hub->buckets[i]; c && !old; c = c->next) {
            pthread_mutex_lock(&c->lock);
            bool waits = (c->transport == UNKNOWN || c->transport == POLLING) && !c->stream;
            if (waits && now - c->seen_us > UNUSED_US) {
                old = c;
                c->users++;
            }
            pthread_mutex_unlock(&c->lock);
        }
    pthread_mutex_unlock(&hub->lock);
    if (!old)
        return;
    hub_conn_end(old);
    hub_conn_drop(old);
    hub_sweep(hub);
}

void hub_free(struct hub *hub)
{
    if (!hub)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        while (hub->buckets[i])
            hub_conn_end(hub->buckets[i]);
    pthread_mutex_destroy(&hub->lock);
    free(hub);
}
