// SPDX-License-Identifier: Apache-2.0
// Following changes on the server (docs/REALTIME.md): each comes once and in order, whatever happens to the connection,
// which is made anew with the number of the last change. One thread.
#ifndef DEEPLENS_CLI_FOLLOW_H
#define DEEPLENS_CLI_FOLLOW_H

#include <jansson.h>

#include "cli/client.h"

enum follow_next {
    FOLLOW_ON,
    FOLLOW_END,   // enough: success
    FOLLOW_AGAIN, // the server did not answer (`err` says how): after a while begin again, if that may be
    FOLLOW_FAIL   // as `err` says
};

struct follow {
    const char *images, *statuses; // what to follow, as `imageId` and `status` of GET /api/v1/events; NULL: all
    int64_t since;                 // the number of the last change that is known; < 0: from now on. It grows
    unsigned retries;              // tries without hearing anything, after which the server is given up
    // A change, or {"type":"gap"}: changes behind `since` are not kept any more.
    enum follow_next (*event)(void *arg, const json_t *event, struct error *err);
    // The connection stands, and what comes after `since` will be heard of. NULL: nobody cares.
    enum follow_next (*standing)(void *arg, struct error *err);
    // Everything up to `since` was heard of. NULL: nobody cares.
    enum follow_next (*caught_up)(void *arg, struct error *err);
    enum follow_next (*tick)(void *arg, struct error *err); // about once a second, and more often
    void (*lost)(void *arg, const struct error *why);       // it will be tried again; NULL: nobody cares
    void *arg;
};

// `stream` belongs to the following until it ends.
int follow_run(struct client *stream, struct follow *f, struct error *err);

// The number of the newest change.
int follow_now(struct client *stream, int64_t *out, struct error *err);

#endif
