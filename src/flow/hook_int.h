// SPDX-License-Identifier: Apache-2.0
// What the files of webhooks share.
#ifndef DEEPLENS_FLOW_HOOK_INT_H
#define DEEPLENS_FLOW_HOOK_INT_H

#include "flow/hook.h"

enum { HOOK_SECRET_MAX = 128, HOOK_SIGNATURE_MAX = 64 };
#define HOOK_TEST "webhook.test"

// "media.uploaded" … of a status or META_GONE; and the bit of a type, 0 when there is none such.
const char *hook_type(int status);
int64_t hook_bit(const char *type);

// Up to which change deliveries were made; INT64_MAX while there is no webhook.
int hook_cursor(struct flow *f, struct meta_tx *tx, struct arena *arena, int64_t *out, struct error *err);
int hook_cursor_put(struct flow *f, struct meta_tx *tx, int64_t seq, struct error *err);

// {"type":…,"timestamp":…,"data":…}, in the arena; NULL when memory is short.
const char *hook_body(struct arena *arena, const char *type, int64_t at_ms, const char *data);

// Puts a delivery, to be sent from now on; `too_much`: it is a dead one, as too many wait.
int hook_put(struct flow *f, struct meta_tx *tx, const struct meta_delivery *given, bool too_much, struct error *err);

// Makes deliveries of the next changes. *more: there may be others. Failing, it made none.
int hook_birth(struct flow *f, bool *more, struct error *err);

void hooks_wake(struct hooks *hooks); // something is to be sent, or registered; takes NULL

void hook_secret_new(char out[HOOK_SECRET_MAX]);
int hook_secret_check(const char *secret, struct error *err); // ERR_INVALID says what one looks like
// "v1,…" over the id, the time in seconds and the body.
void hook_sign(const char *secret, const char *id, int64_t time_s, const char *body, char out[HOOK_SIGNATURE_MAX]);

#endif
