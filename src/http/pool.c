// SPDX-License-Identifier: Apache-2.0
// The workers: a bounded queue of complete requests whose connections are suspended. A worker runs the handler, then
// resumes the connection; from that moment on the request belongs to its polling thread again.
#include <pthread.h>
#include <stdlib.h>

#include "http/http_int.h"

struct http_pool {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct http_request *head; // under lock from here
    struct http_request **tail;
    unsigned waiting; // in the queue, or with a place reserved
    unsigned idle;
    bool closing;
    unsigned max_queue;
    unsigned started;
    pthread_t threads[];
};

static struct http_request *next_request(struct http_pool *pool, bool *closing)
{
    pthread_mutex_lock(&pool->lock);
    pool->idle++;
    while (!pool->head && !(pool->closing && pool->waiting == 0))
        pthread_cond_wait(&pool->wake, &pool->lock);
    pool->idle--;
    struct http_request *req = pool->head;
    if (req) {
        pool->head = req->next;
        if (!pool->head)
            pool->tail = &pool->head;
        pool->waiting--;
    }
    *closing = pool->closing;
    if (pool->closing && pool->waiting == 0) // the others may be waiting for this
        pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    return req;
}

static void *worker(void *arg)
{
    struct http_pool *pool = arg;
    bool closing;
    for (struct http_request *req; (req = next_request(pool, &closing));) {
        struct http_pollers *pollers = server_pollers(req->server);
        struct MHD_Connection *conn = req->conn;
        if (closing) {
            struct error err;
            error_set(&err, ERR_DRAINING, "The server is shutting down; it had no time for this request");
            request_refuse(req, &err);
        } else {
            request_run(req);
        }
        pollers_resume(pollers, conn);
    }
    return NULL;
}

int pool_start(unsigned workers, unsigned max_queue, struct http_pool **out, struct error *err)
{
    workers = workers ? workers : 1;
    struct http_pool *pool = calloc(1, sizeof *pool + workers * sizeof pool->threads[0]);
    if (!pool)
        return error_set(err, ERR_NO_MEMORY, "No memory for the workers");
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->tail = &pool->head;
    pool->max_queue = max_queue;
    for (unsigned i = 0; i < workers; i++) {
        int rc = pthread_create(&pool->threads[i], NULL, worker, pool);
        if (rc != 0) {
            error_errno(err, ERR_INTERNAL, rc, "Cannot start a worker thread");
            pool_close(pool);
            pool_free(pool);
            return -1;
        }
        pool->started++;
    }
    *out = pool;
    return 0;
}

int pool_reserve(struct http_pool *pool, struct error *err)
{
    pthread_mutex_lock(&pool->lock);
    bool closing = pool->closing, full = pool->waiting >= pool->max_queue + pool->idle;
    if (!closing && !full)
        pool->waiting++;
    pthread_mutex_unlock(&pool->lock);
    if (closing)
        return error_set(err, ERR_DRAINING, "The server is shutting down");
    if (full)
        return error_set(err, ERR_OVERLOADED, "Too many requests are waiting already; try again in a moment");
    return 0;
}

void pool_push(struct http_pool *pool, struct http_request *req)
{
    req->next = NULL;
    pthread_mutex_lock(&pool->lock);
    *pool->tail = req;
    pool->tail = &req->next;
    pthread_cond_signal(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

void pool_close(struct http_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->started; i++)
        pthread_join(pool->threads[i], NULL);
    pool->started = 0;
}

void pool_free(struct http_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->wake);
    free(pool);
}
