// SPDX-License-Identifier: Apache-2.0
// Webhooks: addresses of a tenant that are told of changes of its items, as Standard Webhooks say
// (https://www.standardwebhooks.com): signed, at least once, in order for each item.
//
//   hook.c         what is registered, and the log of deliveries
//   hook_birth.c   changes → deliveries, rows of the metadata store
//   hook_send.c    deliveries → requests, and what becomes of them
//   hook_sign.c    secrets and signatures
//
// Nothing is lost. The changes are recorded by the transactions that make them (ports/meta.h). One thread reads on
// behind the last number that it read, and writes a delivery for each webhook that wants to hear of a change in the
// same transaction as that number: so a delivery is born once, whenever the process is killed. Changes that were not
// read yet are not pruned. A delivery's row ends when its request was answered with success: killed before, it is sent
// again, under the same id, by which the receiver knows it.
//
// Order. Of the deliveries of one item to one webhook only the first that has not ended is sent; the others are behind.
//
// Nobody waits for another. Each webhook has its own few requests under way, and one alone while it fails, with pauses
// that grow; the thread itself waits for none.
#ifndef DEEPLENS_FLOW_HOOK_H
#define DEEPLENS_FLOW_HOOK_H

#include "flow/live.h"

enum { HOOKS_MAX = 256 }; // of all tenants

struct hooks;

// Starts the thread. `live` tells of changes, and must outlive it.
int hooks_start(struct flow *f, struct live *live, struct hooks **out, struct error *err);
void hooks_stop(struct hooks *hooks); // what is under way is sent again at the next start. Takes NULL

// ---- Registered webhooks; answers are JSON, as the API gives them. ERR_NOT_FOUND for what is another tenant's.

struct hook_wish {
    const char *tenant;
    const char *url;
    const json_t *types; // array of "processing.completed" …; NULL: those two that end an item's way
    const char *secret;  // "whsec_…"; NULL: a new one
};

int hook_list(struct flow *f, const char *tenant, json_t **out, struct error *err);
// With its secret, which is shown by nothing else but rotating. ERR_INVALID; ERR_CONFLICT when there are too many.
int hook_add(struct flow *f, const struct hook_wish *wish, json_t **out, struct error *err);
int hook_remove(struct flow *f, const char *tenant, const char *id, struct error *err);
// A new secret; what is sent within `overlap_ms` is signed with the one before, too.
int hook_rotate(struct flow *f, const char *tenant, const char *id, int64_t overlap_ms, json_t **out,
                struct error *err);
// A delivery of the type "webhook.test", which is tried once, at once.
int hook_test(struct flow *f, const char *tenant, const char *id, json_t **out, struct error *err);

// ---- Deliveries

struct hook_query {
    const char *tenant, *webhook;
    const char *state;  // "waiting" (for its time, or behind another one) "delivered" "dead"; NULL: any
    const char *cursor; // NULL: the newest
    size_t limit;
};

int hook_deliveries(struct flow *f, const struct hook_query *query, json_t **out, struct error *err);
int hook_delivery(struct flow *f, const char *tenant, const char *webhook, const char *id, json_t **out,
                  struct error *err); // with its body
// Lets a delivery that has ended begin anew, under its id. ERR_CONFLICT when it has not.
int hook_replay(struct flow *f, const char *tenant, const char *webhook, const char *id, json_t **out,
                struct error *err);

#endif
