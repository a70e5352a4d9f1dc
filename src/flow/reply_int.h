// SPDX-License-Identifier: Apache-2.0
// What the files of replies share.
#ifndef DEEPLENS_FLOW_REPLY_INT_H
#define DEEPLENS_FLOW_REPLY_INT_H

#include "flow/reply.h"
#include "net/address.h"

enum reply_outcome {
    OUTCOME_SENT,
    OUTCOME_LATER,     // it was not sent, and may be tried again
    OUTCOME_PAUSE,     // the same, and so it would be with all others
    OUTCOME_DEAD,      // it was not sent, and never can be
    OUTCOME_UNCERTAIN, // it may have been sent
    OUTCOME_COUNT
};

struct reply_result { // in the arena
    enum reply_outcome outcome;
    const char *sent_id; // of OUTCOME_SENT; NULL: not said
    const char *code;    // of the others; NULL: none
    struct error error;
};

// What an answer says, in the arena. What cannot be said is an error; retryable: later, perhaps.
int reply_compose(struct flow *f, struct arena *arena, const struct meta_reply *row, const json_t *what,
                  const char **text, struct error *err);

// Asks the Cloud API to send row->text, once. Waits for its answer.
void reply_call(struct flow *f, struct arena *arena, const struct net_ranges *allowed, const struct meta_reply *row,
                const json_t *what, struct reply_result *out);

// Hands over an e-mail or a record. Waits.
void reply_tell(struct flow *f, struct arena *arena, const _Atomic bool *stop, const struct meta_reply *row,
                const json_t *what, struct reply_result *out);

// What becomes of a row by a result; and the message that it became, with the row.
void reply_end(struct flow *f, struct meta_reply *row, const struct reply_result *result);
int reply_became_tx(struct flow *f, struct meta_tx *tx, struct arena *arena, const struct meta_reply *row,
                    struct error *err);

#endif
