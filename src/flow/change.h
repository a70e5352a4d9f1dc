// SPDX-License-Identifier: Apache-2.0
// What clients are told of a change of an item: by streams and the hub (live.h), by webhooks (hook.h).
#ifndef DEEPLENS_FLOW_CHANGE_H
#define DEEPLENS_FLOW_CHANGE_H

#include "flow/flow.h"

struct live_change { // all of it is lent for the call, or in the arena that was given
    int64_t seq;
    const char *tenant, *id;
    int status; // enum media_status, or META_GONE
    const char *json; // {"seq":…,"type":"image.status","tenantId":…,"imageId":…,"status":…,"timestamp":…, …}, one line
    const char *event; // of an item that is completed or failed: the event as the specification shapes it; else NULL
};

int change_show(struct flow *f, struct meta_tx *tx, struct arena *arena, const struct meta_change *c,
                struct live_change *out, struct error *err);
const char *change_status(int status); // "uploaded" … "deleted"
// The change with its event, as one line of JSON.
void change_write(const struct live_change *change, struct buf *out);

#endif
