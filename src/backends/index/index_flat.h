// SPDX-License-Identifier: Apache-2.0
// The exact index: every search compares the query with every vector. Needs nothing but a folder.
#ifndef DEEPLENS_BACKENDS_INDEX_FLAT_H
#define DEEPLENS_BACKENDS_INDEX_FLAT_H

#include "ports/index.h"

// `location` is a folder; it is made when missing (its parent must be there). One process at a time.
extern const struct index_ops index_flat;

#endif
