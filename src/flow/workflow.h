// SPDX-License-Identifier: Apache-2.0
// Workflows: rules of a tenant for messages of chats. `when` a message matches, `do` what the rule says:
//
//   {"name": "Shop", "when": {"type": "image", "group": false}, "do": [{"ingest": {"tags": ["shop"]}}, …]}
//
//   workflow_rule.c   what a rule may say, and which messages it matches
//   workflow_do.c     what matching rules do, within the transaction that makes the message processed: once (G3)
//   workflow.c        rules listed, added, removed, and tried on past messages
//
// Rules are looked at in the order in which they were made. Each that matches does what it says; whether a picture or
// video is made an item says the first that says anything of it, and without one it is.
#ifndef DEEPLENS_FLOW_WORKFLOW_H
#define DEEPLENS_FLOW_WORKFLOW_H

#include "flow/flow.h"
#include "flow/step.h"

enum {
    WORKFLOWS_MAX = 100, // of a tenant
    WORKFLOW_ACTIONS_MAX = 8,
    WORKFLOW_WORDS_MAX = 64, // of a list
    WORKFLOW_PATTERN_MAX = 256,
    WORKFLOW_SEEN_MAX = 16384,                 // bytes of a text that patterns are held against
    WORKFLOW_STEPS_MAX = 4 * WORKFLOW_SEEN_MAX // that are tried of one pattern
};

// ---- Rules; answers are JSON, as the API gives them: new. ERR_NOT_FOUND for what is another tenant's.

int workflow_list(struct flow *f, const char *tenant, json_t **out, struct error *err);
// ERR_INVALID says what is wrong with it; ERR_CONFLICT when there are too many. Durable.
int workflow_add(struct flow *f, const char *tenant, const json_t *rule, json_t **out, struct error *err);
int workflow_remove(struct flow *f, const char *tenant, const char *id, struct error *err);

struct workflow_query { // past messages, the latest first
    const char *tenant;
    const json_t *rule;     // tried instead of those that there are; NULL: those
    const char *message;    // that one alone; NULL: those between…
    int64_t from_ms, to_ms; // sent at or after / before; 0: no bound
    size_t limit;           // messages that are looked at
};

// What rules would do: {"checked": …, "matched": [{"messageId", "workflowId", "name", "do"}]}. Does nothing.
int workflow_test(struct flow *f, const struct workflow_query *query, json_t **out, struct error *err);

// ---- For the step of messages

// Whether its picture or video is to be made an item, and with which tags (array, held by the job; NULL: none).
int workflow_ingest(struct flow *f, struct job *job, bool *wanted, const json_t **tags, struct error *err);
// Does the rest of what rules say, within the transaction that makes the message processed.
int workflow_apply_tx(struct flow *f, struct meta_tx *tx, struct job *job, const struct meta_message *row,
                      struct error *err);

#endif
