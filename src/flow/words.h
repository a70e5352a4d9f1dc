// SPDX-License-Identifier: Apache-2.0
// Words: what lets pictures be found by text that no model of pictures takes. A convex combination of semantic
// embeddings (ConSE, Norouzi et al. 2014): a model with labels says what a picture shows, and how sure it is; the
// picture then lies, among sentences, where the sentences for those labels lie, each drawing with the root of its share
// (the softmax at temperature 2). Those vectors stand in a collection of the model of text's own, beside the picture's
// others, and queries are sentences in the same space.
#ifndef DEEPLENS_FLOW_WORDS_H
#define DEEPLENS_FLOW_WORDS_H

#include "flow/flow.h"

struct words;

// Looks for a model of texts alone and sets f->words: NULL without one.
void words_open(struct flow *f);
void words_close(struct words *w); // takes NULL

// The model that texts are compared by.
const struct flow_model *words_model(const struct words *w);

// The model for a search that has texts in it: the one that is named, else the tenant's default if it takes texts, else
// words. ERR_MODEL_UNKNOWN says what to do when there is none.
int words_model_for(struct flow *f, const char *tenant, const char *name, const struct flow_model **out,
                    struct error *err);

// The vector (words' dimension, length 1) of what labels say. `count` 1 … EXTRACTOR_LABELS. May wait for the model.
int words_of_labels(struct flow *f, const struct extractor_label *labels, size_t count, float *vector,
                    struct error *err);

// The vector of a picture, by the first model that names what it sees. ERR_MODEL_UNKNOWN when there is none.
int words_of_picture(struct flow *f, const struct pixels *picture, float *vector, struct error *err);

// --- Labels in events, as automatic tags

json_t *labels_json(const struct extractor_labels *labels); // [{"name", "score"}, …]
// Reads what labels_json wrote, or somebody else: what makes no sense is left out. Names live as long as `array`.
void labels_read(const json_t *array, struct extractor_labels *out);
// Those that are sure enough to be shown and searched for, as JSON: NULL when there are none.
json_t *labels_shown(const struct extractor_labels *labels);

#endif
