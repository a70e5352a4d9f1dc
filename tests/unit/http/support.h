// SPDX-License-Identifier: Apache-2.0
// A real server with routes for tests, and a client that speaks bytes, so that tests can be rude.
#ifndef DEEPLENS_TESTS_HTTP_SUPPORT_H
#define DEEPLENS_TESTS_HTTP_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/buf.h"
#include "http/http.h"

enum { ECHO_MAX = 1000, FORM_MAX = 4 * 1024 * 1024, CONTENT_SIZE = 300000 };

struct world {
    struct http_server *server;
    struct http_config config;
    unsigned short port;
    unsigned descriptors; // open before the server started
    atomic_uint begun, handled, aborted, done, last_status, content_closed, content_opened;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned blocked; // handlers of /block that wait, under lock
    bool open;        // the gate of /block
};

// Setup and teardown for cmocka; the teardown asserts that every sink, content and descriptor was closed.
int world_setup(void **state);
int world_teardown(void **state);
// With other limits; for tests that start the server themselves (world_prepare, change config, world_start).
int world_prepare(void **state);
void world_start(struct world *w);
unsigned world_stop(struct world *w);
void world_open_gate(struct world *w);
void world_wait_blocked(struct world *w, unsigned count);
void wait_until(atomic_uint *counter, unsigned value); // fails the test after half a minute

char content_byte(uint64_t offset); // what /content/… serves

struct reply {
    int status;
    char head[16384];
    char *body;
    size_t len;
};

int client_connect(const struct world *w);
void client_send(int fd, const void *data, size_t len);
void client_puts(int fd, const char *text);
// Reads one answer; 0, or -1 when the connection ended before it was whole. `reply` must be freed.
int client_read(int fd, bool head, struct reply *reply);
bool client_closed(int fd); // reads to the end; true when the server closed the connection
void reply_free(struct reply *reply);
const char *reply_header(const struct reply *reply, const char *name, char out[256]); // NULL when not there

// One request on a connection of its own; `extra` are header lines. Returns the status.
int ask(const struct world *w, const char *method, const char *path, const char *extra, const char *body,
        struct reply *reply);
int ask_status(const struct world *w, const char *method, const char *path, const char *extra, const char *body);
// Asserts a problem document with this code and returns nothing more.
void assert_problem(const struct reply *reply, int status, const char *code);

#endif
