// SPDX-License-Identifier: Apache-2.0
// A scripted HTTP server on a free loopback port, for the client's tests: it keeps every request, asks a handler for
// the answer, and can break the connection instead.
#ifndef DEEPLENS_TESTS_FAKE_SERVER_H
#define DEEPLENS_TESTS_FAKE_SERVER_H

#include <stdbool.h>
#include <stddef.h>

struct fake_request {
    char method[16];
    char target[8192];  // with its query
    char headers[8192]; // as they came
    char *body;         // NUL behind it
    size_t len;
    unsigned number; // 1 …, over all connections
};

struct fake_answer {
    int status;
    const char *type;    // NULL: application/json
    const char *headers; // more of them, each with \r\n; NULL: none
    char *body;          // malloc'ed; NULL: none
    bool drop;           // break the connection without an answer
};

// On any thread, one at a time.
typedef void fake_handler(void *ctx, const struct fake_request *request, struct fake_answer *answer);

struct fake_server;

struct fake_server *fake_start(fake_handler *handler, void *ctx);
const char *fake_url(const struct fake_server *server); // "http://127.0.0.1:41234"
unsigned fake_connections(struct fake_server *server);  // that were made so far
// Orders what this thread does before and after it against the handler, for what both touch.
void fake_sync(struct fake_server *server);
void fake_stop(struct fake_server *server);

#endif
