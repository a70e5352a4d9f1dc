// SPDX-License-Identifier: Apache-2.0
// Requests to a service that whoever set this up has named (not to addresses that others gave: those are post.h's and
// fetch.h's): some at once, over connections that are kept. No redirect is followed. Each request is sent once; what
// became of it tells whether it may be sent again.
#ifndef DEEPLENS_NET_CALL_H
#define DEEPLENS_NET_CALL_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

enum { CALL_URL_MAX = 1024, CALL_WHY_MAX = 256 };

enum call_end {
    CALL_ANSWERED,  // whatever the status
    CALL_UNREACHED, // nothing of it was sent: no such host, nobody there, no trust
    CALL_TORN,      // the connection ended before the answer did
    CALL_SILENT,    // no whole answer within the time
    CALL_TOO_LARGE, // an answer above answer_max
    CALL_NO_MEMORY
};

struct call {
    const char *path;         // behind the URL: "/health"
    const char *content_type; // of the body
    const void *body;         // NULL: a GET; else a POST
    size_t len;
    size_t answer_max; // bytes
    int64_t timeout_ms;

    // What came of it
    enum call_end end;
    long status;
    struct buf answer;
    int64_t retry_after_ms; // that the service asked for; 0: it did not
    char why[CALL_WHY_MAX]; // in words; "" after an answer
};

struct caller;

// http:// or https:// and a host, perhaps a port and a path; no credentials. ERR_CONFIG says what is wrong, as a part
// of a sentence.
int call_check_url(const char *url, struct error *err);

// Texts are copied. `token`: for Authorization: Bearer; "": none. `ca_file`: certificates in place of the system's; "":
// those. Needs curl_global_init. ERR_CONFIG for a token
// that is none.
int caller_new(const char *url, const char *token, const char *ca_file, struct caller **out, struct error *err);
void caller_free(struct caller *c); // nobody may be in caller_run; takes NULL

// Makes all of them at once and blocks until each has ended. Any thread. Who calls frees the answers.
void caller_run(struct caller *c, struct call *const *calls, size_t count);

#endif
