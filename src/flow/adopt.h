// SPDX-License-Identifier: Apache-2.0
// Items of another system: see adopt.c. And what upload.c offers for it.
#ifndef DEEPLENS_FLOW_ADOPT_H
#define DEEPLENS_FLOW_ADOPT_H

#include "flow/flow.h"
#include "flow/step.h"

// Makes the item that the job's image.uploaded or video.uploaded tells of, which has no row. `*gone`, and nothing in
// `out`: it was deleted. ERR_NOT_FOUND, what an upload is refused for, ERR_UNAVAILABLE. Durable as META_RELAXED is.
int item_adopt(struct flow *f, struct job *job, struct media *out, bool *gone, struct error *err);

// As upload_begin, whatever waits for the log: what is adopted is asked for by an event, and adds none.
int upload_begin_adopted(struct flow *f, bool video, uint64_t size, struct upload **out, struct error *err);
// Ends the upload: the item has the event's id and what the event says of it. `*gone` as above.
int upload_adopt(struct upload *u, const struct event *event, struct arena *arena, struct media *out, bool *gone,
                 struct error *err);
// The same of what no event stands for yet: it is published with the row. So whoever derives the event's ids from what
// an item is made of makes it once.
int upload_keep(struct upload *u, const struct event *event, struct arena *arena, struct media *out, bool *gone,
                struct error *err);

#endif
