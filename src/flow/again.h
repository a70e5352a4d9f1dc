// SPDX-License-Identifier: Apache-2.0
// An item's way through the steps, begun again (G2). It gets its upload event once more, under its own id, and the
// inbox decides what is done again. Of a topic on which something was lost:
//   - the steps before it, whose next events were lost with it, are forgotten, so that they run again. Ids of next
//   events
//     are derived, so they publish what they published before;
//   - the step behind it is forgotten where it has not finished, so that attempts begin anew (a retry that stood on the
//     topic is lost, and what has ended cannot begin again);
//   - all others are left alone: what they did stays done, and is passed over as any redelivery is (G3).
#ifndef DEEPLENS_FLOW_AGAIN_H
#define DEEPLENS_FLOW_AGAIN_H

#include "flow/step.h"

// How many stages of the data path publish, directly or not, what stands on the topic; -1: it carries no items' way.
int again_stages_before(enum event_topic topic);

// Has the inbox forget what is said above. The arena is for ids.
int again_forget_tx(struct flow *f, struct meta_tx *tx, struct arena *arena, const struct media *row,
                    enum event_topic topic, struct error *err);
// The events that the way begins with, in the arena: its upload's; of a frame those that ask for its vectors.
int again_events(struct flow *f, struct arena *arena, const struct media *row, struct emit **out, struct error *err);

#endif
