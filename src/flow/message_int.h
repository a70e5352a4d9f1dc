// SPDX-License-Identifier: Apache-2.0
// What the files of messages share: message.c and message_media.c.
#ifndef DEEPLENS_FLOW_MESSAGE_INT_H
#define DEEPLENS_FLOW_MESSAGE_INT_H

#include "flow/message.h"

#define MESSAGE_TARGET "targetMessageId" // the member of metadata that names the message that is changed

// Who sent it, as far as is known: in a chat of two the chat is the other one.
const char *message_sender(const struct event *event);

// The id of the item that is made of a message's picture or video, in the arena; NULL: its type has none.
const char *message_item_id(struct arena *arena, const char *tenant, const char *type, const char *message_id);

// Is it of a type that changes another message?
bool message_changes_another(const char *type);

// Keeps a message that we sent, with what was heard of it before; harmless when it is there.
int message_said_tx(struct flow *f, struct meta_tx *tx, struct arena *arena, const struct meta_message *said,
                    struct error *err);

// The item goes with its message.
int message_remove_media_tx(struct flow *f, struct meta_tx *tx, struct arena *arena, struct meta_message *row,
                            struct error *err);

// Was this message erased with its sender?
int message_erased(struct flow *f, struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id,
                   bool *out, struct error *err);

// Fetches the message's picture or video and makes its item, which is there afterwards (or was, and is deleted): its id
// goes to *out, in the job's arena; NULL: the message has none. Harmless when done again. See message_media.c.
int message_ingest(struct flow *f, struct job *job, const char **out, struct error *err);

#endif
