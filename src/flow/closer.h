// SPDX-License-Identifier: Apache-2.0
// A closer look: of the items whose vectors are nearest to a picture's, those that share its details come first. A
// vector says what a picture looks like as a whole: it loses copies that were cut out of it, put beside another or
// turned. Details (media/details/details.h) find those, but comparing them takes too long to do it with all.
//
// The step extract finds an item's details and keeps them with its record; items without (from before there were any,
// or of other programs' steps) keep the score of their vector.
#ifndef DEEPLENS_FLOW_CLOSER_H
#define DEEPLENS_FLOW_CLOSER_H

#include "flow/flow.h"
#include "media/details/details.h"

struct closer { // what is looked for
    struct details plain, mirrored;
};

// Of a picture; or of a stored item (*found false: it has none).
int closer_of_picture(const struct pixels *picture, struct closer *out, struct error *err);
int closer_of_item(struct flow *f, struct arena *arena, const char *tenant, const char *id, struct closer *out,
                   bool *found, struct error *err);

// The score of an item with its details: from its vector's up to 1, as much as they speak for it.
float closer_score(const struct closer *asked, float score, const struct details *kept);

// Gives hits[0 … count), the best first, their scores with their details, and brings them into the new order. On
// failure they are as they were.
int closer_look(struct flow *f, struct arena *arena, const char *tenant, const struct closer *asked,
                struct index_hit *hits, size_t count, struct error *err);

#endif
