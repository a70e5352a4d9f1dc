// SPDX-License-Identifier: Apache-2.0
// The batching queue: see batcher.h.
#include "backends/extractor/batcher.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

struct ticket { // on its caller's stack
    TAILQ_ENTRY(ticket) link;
    const uint8_t *pictures;
    size_t count;
    float *vectors;
    bool done;
    int rc;
    struct error error;
};
TAILQ_HEAD(tickets, ticket);

struct batcher {
    struct batcher_config config;
    pthread_mutex_t lock; // of what is below
    pthread_cond_t moved; // a stream became free, or tickets were done
    struct tickets waiting;
    bool busy[BATCHER_STREAMS_MAX];
};

struct batcher *batcher_new(const struct batcher_config *config)
{
    struct batcher *b = calloc(1, sizeof *b);
    if (!b || config->streams > BATCHER_STREAMS_MAX)
        abort();
    b->config = *config;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->moved, NULL);
    TAILQ_INIT(&b->waiting);
    return b;
}

void batcher_free(struct batcher *b)
{
    if (!b)
        return;
    pthread_mutex_destroy(&b->lock);
    pthread_cond_destroy(&b->moved);
    free(b);
}

// Runs the tickets' pictures as one batch on the stream; without the lock.
static int run_batch(struct batcher *b, int stream, struct ticket *const *tickets, size_t count, struct error *err)
{
    const struct batcher_config *c = &b->config;
    uint8_t *to = c->pictures(c->model, stream);
    size_t pictures = 0;
    for (size_t i = 0; i < count; i++) {
        memcpy(to + pictures * c->picture, tickets[i]->pictures, tickets[i]->count * c->picture);
        pictures += tickets[i]->count;
    }
    if (c->run(c->model, stream, pictures, err) < 0)
        return -1;
    const float *from = c->vectors(c->model, stream);
    for (size_t i = 0; i < count; from += tickets[i++]->count * c->dimension)
        memcpy(tickets[i]->vectors, from, tickets[i]->count * c->dimension * sizeof(float));
    return 0;
}

static void run_tickets(struct batcher *b, int stream, struct ticket **tickets, size_t count)
{
    struct error err = {0};
    int rc = run_batch(b, stream, tickets, count, &err);
    for (size_t i = 0; i < count; i++) {
        tickets[i]->rc = rc;
        if (rc < 0 && count > 1)
            tickets[i]->rc = run_batch(b, stream, &tickets[i], 1, &tickets[i]->error);
        else if (rc < 0)
            tickets[i]->error = err;
    }
}

static int free_stream(const struct batcher *b)
{
    for (int i = 0; i < b->config.streams; i++)
        if (!b->busy[i])
            return i;
    return -1;
}

// Takes what is waiting, as far as it fits into a batch; with the lock. The first ticket always fits.
static size_t take_waiting(struct batcher *b, struct ticket **tickets)
{
    size_t count = 0, pictures = 0;
    struct ticket *t;
    while ((t = TAILQ_FIRST(&b->waiting)) && pictures + t->count <= b->config.batch_max) {
        TAILQ_REMOVE(&b->waiting, t, link);
        pictures += t->count;
        tickets[count++] = t;
    }
    return count;
}

int batcher_run(struct batcher *b, const uint8_t *pictures, size_t count, float *vectors, struct error *err)
{
    struct ticket mine = {.pictures = pictures, .count = count, .vectors = vectors};
    struct ticket *tickets[64];
    pthread_mutex_lock(&b->lock);
    TAILQ_INSERT_TAIL(&b->waiting, &mine, link);
    while (!mine.done) {
        int stream = free_stream(b);
        if (stream < 0 || TAILQ_EMPTY(&b->waiting)) {
            pthread_cond_wait(&b->moved, &b->lock);
            continue;
        }
        size_t taken = take_waiting(b, tickets);
        b->busy[stream] = true;
        pthread_mutex_unlock(&b->lock);
        run_tickets(b, stream, tickets, taken);
        pthread_mutex_lock(&b->lock);
        b->busy[stream] = false;
        for (size_t i = 0; i < taken; i++)
            tickets[i]->done = true;
        pthread_cond_broadcast(&b->moved);
    }
    pthread_mutex_unlock(&b->lock);
    return mine.rc < 0 ? error_copy(err, &mine.error) : 0;
}
