// SPDX-License-Identifier: Apache-2.0
// What the files of workflows share.
#ifndef DEEPLENS_FLOW_WORKFLOW_INT_H
#define DEEPLENS_FLOW_WORKFLOW_INT_H

#include "flow/workflow.h"

struct workflow_subject { // what rules are held against
    const char *type, *chat, *sender;
    const char *text; // NULL: none
    bool group, from_me;
};

int workflow_check(const json_t *rule, struct error *err); // ERR_INVALID says what is wrong
bool workflow_matches(const json_t *rule, const struct workflow_subject *subject);
// Of a stored or taken message, with its metadata; points into both.
struct workflow_subject workflow_subject_of(const struct meta_message *row, json_t *metadata);
// Is the text this command ("/find")? *rest: what follows it.
bool workflow_command(const char *text, const char *command, const char **rest);
// A pattern with * (anything) and ? (a byte), the whole text, letters of ASCII in any case. Takes WORKFLOW_STEPS_MAX
// steps at most; what needs more does not match.
bool workflow_like(const char *pattern, const char *text);

// A tenant's rules, parsed: an array of {"id", "name", "when", "do"}, new.
int workflow_rules(struct flow *f, struct meta_tx *tx, struct arena *arena, const char *tenant, json_t **out,
                   struct error *err);

#endif
