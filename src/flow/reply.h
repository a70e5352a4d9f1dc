// SPDX-License-Identifier: Apache-2.0
// Replies: what workflows have to say to people, by WhatsApp, by e-mail or on a topic.
//
//   workflow_do.c   makes them: rows, in the transaction that makes their message processed
//   reply.c         what is known of them; who does not want any (/stop); news of their delivery
//   reply_text.c    what an answer says
//   reply_api.c     the Cloud API's /messages, and what its errors mean
//   reply_tell.c    e-mail and topics
//   reply_send.c    the threads
//
// A thread claims a reply for a while, works out its text (a search, say), and only then takes it over: `sending`,
// durable, in a transaction that looks once more whether it is still wanted. Then the Cloud API is called, once. It has
// no key by which it would know a message again, so whoever asks twice says it twice: a reply that was taken over, and
// of which the answer is lost (a kill, a connection that broke), is `uncertain` and not sent again: at most once. It
// carries its id (biz_opaque_callback_data), which the API's statuses repeat: so one that did go out is found to be
// sent after all. What the API refused was not sent, and may be tried again. E-mails and records of topics are tried
// until they are taken: at least once.
//
// Whose fault it is. Too many requests and a token that is no good are nobody's in particular: all replies pause, and
// no attempt is spent (G6). Everything else is the one reply's.
#ifndef DEEPLENS_FLOW_REPLY_H
#define DEEPLENS_FLOW_REPLY_H

#include "flow/flow.h"

enum { REPLY_TEXT_MAX = 4096 }; // bytes of an answer

struct replies;

int replies_start(struct flow *f, struct replies **out, struct error *err);
void replies_stop(struct replies *r);                     // takes NULL
int replies_health(struct replies *r, struct error *err); // ERR_UNAVAILABLE while all pause, and why

// ---- For the step of messages

// Whether the sender says that they want no answers any more (/stop), or want them again (/start), and keeps it.
int reply_wish_tx(struct flow *f, struct meta_tx *tx, const struct meta_message *row, const char *sender,
                  struct error *err);
// News of the delivery of a message of ours, `target`, which may get its text by that.
int reply_heard_tx(struct flow *f, struct meta_tx *tx, struct arena *arena, const json_t *metadata,
                   const struct meta_message *by, struct meta_message *target, struct error *err);

// ---- For readers: `{items, nextCursor}`, new

struct reply_list_query {
    const char *tenant;
    const char *chat, *message, *sender, *state, *cursor; // NULL: any, the newest; sender: also in the chat with them
    size_t limit;
};

int reply_list(struct flow *f, const struct reply_list_query *query, json_t **out, struct error *err);

#endif
