// SPDX-License-Identifier: Apache-2.0
// From a network's numbers for labels to the likeliest of them.
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_LABELS_H
#define DEEPLENS_BACKENDS_EXTRACTOR_LABELS_H

#include "backends/extractor/model_spec.h"
#include "ports/extractor.h"

// Writes the likeliest labels with their shares: exp(number) by the sum of all of them. `numbers` has one for each of
// the spec's labels. ERR_EXTRACTION_FAILED when they are no numbers.
int labels_choose(const struct model_spec *spec, char *const *names, const float *numbers, struct extractor_labels *out,
                  struct error *err);

#endif
