// SPDX-License-Identifier: Apache-2.0
// POSTs to addresses that others gave: many at once on one thread, none of which waits for another.
//
// A name is resolved once for a request, and each address is looked at when the connection to it is made: what is
// looked at is what is called, whatever the name says a moment later. Addresses that are not public are refused unless
// they are allowed (address.h). No redirect is followed, no proxy is asked, no cookie and no credential kept; of the
// answer only the status counts, and not more than a bit of it is read.
#ifndef DEEPLENS_NET_POST_H
#define DEEPLENS_NET_POST_H

#include <stddef.h>
#include <stdint.h>

#include "net/address.h"

enum { POST_HEADERS_MAX = 8, POST_URL_MAX = 2048 };

struct post {
    const char *url;
    const char *headers[POST_HEADERS_MAX]; // "name: value"; ends with NULL
    const void *body;
    size_t len;
};

struct post_result {
    int status;             // 0: there was no answer
    int64_t took_ms;        //
    int64_t retry_after_ms; // that the other side asked for; 0: it did not
    struct error error;     // ERR_NONE after a status of 200 to 299
};

typedef void post_done_fn(void *arg, const struct post_result *result);

struct poster;

// http:// or https://, a host, no credentials: ERR_INVALID says what is wrong. An address instead of a name is looked
// at already.
int post_check_url(const char *url, const struct net_ranges *allowed, struct error *err);

// `allowed` is copied. Needs curl_global_init. All but poster_wake is for one thread.
int poster_new(const struct net_ranges *allowed, int64_t timeout_ms, struct poster **out, struct error *err);
void poster_free(struct poster *p); // what is under way is broken off, and `done` not called. Takes NULL
// Copies what it is given. `done` is called from poster_run, exactly once, unless it could not begin (-1).
int poster_send(struct poster *p, const struct post *post, post_done_fn *done, void *arg, struct error *err);
// Goes on with what is under way, for at most `wait_ms`: returns when something ended, or poster_wake was called.
void poster_run(struct poster *p, int64_t wait_ms);
void poster_wake(struct poster *p); // on any thread

#endif
