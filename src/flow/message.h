// SPDX-License-Identifier: Apache-2.0
// Messages of chats: the path of whatsapp-ready-messages.
//
//   taken      a bridge hands messages over: ONE transaction with their rows and events; durable; answered
//   worked on  step message: one after the other within a chat, which is the key of their events
//
// A message is known by its tenant and its id, whoever brings it, how often and under which event: the first one
// counts (G3). What other programs publish on the topic gets its row when the step begins with it.
//
// Reactions, edits, deletions and news of delivery (types "reaction", "edit", "deletion", "delivery") are messages,
// too, and change the one that their metadata's `targetMessageId` names, in the same chat. That one may come later:
// until then a row without content, which is pending, keeps what it is to become. What was sent last counts, not what
// came last. Of other types all are kept, known or not.
#ifndef DEEPLENS_FLOW_MESSAGE_H
#define DEEPLENS_FLOW_MESSAGE_H

#include "flow/flow.h"
#include "flow/step.h"

enum {
    MESSAGE_BATCH_MAX = 1000,
    MESSAGE_ID_MAX = 256,
    MESSAGE_TYPE_MAX = 64,
    MESSAGE_EMOJI_MAX = 64,
    MESSAGE_TEXT_MAX = 1 << 18,
    MESSAGE_METADATA_MAX = 65536,
    MESSAGE_REACTIONS_MAX = 1024
};

struct message_taken {
    const char *id;
    enum message_state state;
    bool duplicate; // it was there already
};

// Takes messages, all of them or none: events of TOPIC_MESSAGES, their `id` and `tenant` are set here. Durable.
// ERR_INVALID names the one that is wrong by its place.
int message_take(struct flow *f, const char *tenant, struct event *events, size_t count, struct arena *arena,
                 struct message_taken *out, struct error *err);

int message_check(const struct event *event, struct error *err); // ERR_EVENT_INVALID: it cannot be taken

int message_get(struct flow *f, struct arena *arena, const char *tenant, const char *id, struct meta_message *out,
                struct error *err); // ERR_NOT_FOUND, ERR_TENANT_UNKNOWN
int message_list(struct flow *f, struct arena *arena, const struct message_query *query, struct meta_message **out,
                 size_t *count, struct error *err);

// Erases all messages of a sender and of the chat with them, their items, reactions and replies: `{sender, dryRun,
// messages, items}`, new. Durable; cut off, it may be asked for again. See message_erase.c.
int message_erase(struct flow *f, const char *tenant, const char *sender, bool dry_run, json_t **out,
                  struct error *err);
// Since when they want no answers; 0: they may be answered.
int message_stopped(struct flow *f, const char *tenant, const char *sender, int64_t *at_ms, struct error *err);
// Puts the messages back on their topic, as if it were empty, that are neither processed nor failed; with
// `untouched_ms` only those that nobody touched since then. `dry_run`: only counts them. None where the step is left to
// others, who do not tell how far they are. See message_again.c.
int message_put_back(struct flow *f, int64_t untouched_ms, bool dry_run, uint64_t *count, struct error *err);

// For the runner: notes in the message's row how its step goes, as the steps of an item show it.
int message_show_tx(struct flow *f, struct meta_tx *tx, struct job *job, const char *status, struct error *err);

#endif
