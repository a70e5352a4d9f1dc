// SPDX-License-Identifier: Apache-2.0
// GETs of addresses that others gave, and POSTs of JSON, one at a time, by the thread that asks. What may be called is
// as in post.h: a name is resolved once and each address is looked at when the connection to it is made, no redirect is
// followed, no proxy asked. The answer is handed on as it comes.
#ifndef DEEPLENS_NET_FETCH_H
#define DEEPLENS_NET_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "net/address.h"

struct fetch {
    const char *url;
    const char *bearer; // token for Authorization; NULL: none
    const char *json;   // the body of a POST; NULL: a GET
    bool *reached;      // becomes true when something of the request may have been received; NULL: nobody asks
    const struct net_ranges *allowed;
    int64_t timeout_ms; // to connect, and for as long as hardly anything moves; twenty times that for all of it (of a
                        // POST, that)
    const _Atomic bool *stop; // broken off when it becomes true; NULL: never
    int (*take)(void *arg, const void *data, size_t len, struct error *err); // -1: no more of it
    void *arg;
};

// 0 after a status of 200 to 299, when all of its body was taken. Else -1, and in *status what it answered (0:
// nothing): then `said` has the beginning of what it said. take's own error is returned as it is; ERR_UNAVAILABLE,
// ERR_TIMEOUT, ERR_CANCELLED, and ERR_FORBIDDEN for an address that may not be called. Needs curl_global_init.
int net_fetch(const struct fetch *fetch, int *status, struct buf *said, struct error *err);

#endif
