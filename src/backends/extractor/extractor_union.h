// SPDX-License-Identifier: Apache-2.0
// Several extractors as one that offers the models of all of them.
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_UNION_H
#define DEEPLENS_BACKENDS_EXTRACTOR_UNION_H

#include "ports/extractor.h"

enum { UNION_PARTS_MAX = 4, UNION_MODELS_MAX = 16 };

// Takes the parts over. Of more models than UNION_MODELS_MAX the last are left out; aborts without memory.
struct extractor extractor_union_new(const struct extractor *parts, size_t count);

#endif
