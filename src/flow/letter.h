// SPDX-License-Identifier: Apache-2.0
// Dead letters: what was given up, with its bytes as they came, and why. Headers are those of the record, behind ours.
#ifndef DEEPLENS_FLOW_LETTER_H
#define DEEPLENS_FLOW_LETTER_H

#include "flow/step.h"

struct letter {
    const struct elog_record *record; // partition and offset: where it stood; -1: nowhere
    const char *group, *stage;
    int attempts; // that were spent
    const char *code, *message;
};

int letter_put(struct flow *f, struct meta_tx *tx, const struct letter *letter, struct error *err);

#endif
