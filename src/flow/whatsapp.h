// SPDX-License-Identifier: Apache-2.0
// What the WhatsApp Business Cloud API sends to a webhook (object "whatsapp_business_account", v23.0 and its like),
// read as messages of chats. https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks
//
// It redelivers for days what is not answered with 200. So whatever is signed is kept as far as it can be, and what
// cannot be read in one message holds up no other.
#ifndef DEEPLENS_FLOW_WHATSAPP_H
#define DEEPLENS_FLOW_WHATSAPP_H

#include "flow/flow.h"

// Is the body signed with the secret? `header`: X-Hub-Signature-256, "sha256=" and 64 hex digits; NULL: it is not.
bool whatsapp_signed(const char *secret, const char *header, const void *body, size_t len);

struct whatsapp_read {    // in the arena, and in what `held` and the body hold
    struct event *events; // for message_take
    size_t count;
    size_t passed; // messages that were passed over: of other numbers, or that nothing can be made of
};

// Messages, echoes of what was sent by the telephone, and statuses of the notification, in their order. `number`: the
// id of the telephone number whose messages are wanted; NULL: any. `held`: an array that keeps what the events point
// to.
void whatsapp_read(const json_t *body, const char *number, struct arena *arena, json_t *held,
                   struct whatsapp_read *out);

#endif
