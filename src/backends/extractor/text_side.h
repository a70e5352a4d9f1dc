// SPDX-License-Identifier: Apache-2.0
// The side of text of a model: a tokenizer, and a network in a worker of its own, with a queue in front of it.
//
// Threads: text_side_embed may be called by many at once.
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_TEXT_SIDE_H
#define DEEPLENS_BACKENDS_EXTRACTOR_TEXT_SIDE_H

#include "backends/extractor/extractor_openvino.h"
#include "backends/extractor/model_spec.h"

struct text_side;

// Starts it, without waiting. ERR_NOT_FOUND: the folder has no side of text.
int text_side_begin(const char *folder, const struct openvino_config *config, struct text_side **out,
                    struct error *err);
// Waits until it is loaded, or could not be: worker_ready's errors.
int text_side_ready(struct text_side *t, struct error *err);
void text_side_free(struct text_side *t); // nobody may be in text_side_embed; takes NULL

const struct model_spec *text_side_spec(const struct text_side *t);
size_t text_side_dimension(const struct text_side *t); // once ready

// Writes count × dimension numbers, each vector of length 1. ERR_INVALID: a text that cannot be read;
// ERR_EXTRACTION_FAILED, ERR_EXTRACTION_TIMEOUT.
int text_side_embed(struct text_side *t, const char *const *texts, size_t count, float *vectors, struct error *err);

#endif
