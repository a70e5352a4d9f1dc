// SPDX-License-Identifier: Apache-2.0
// Sketches: 512 bits of a vector, of which about angle ÷ π differ between two vectors (Charikar, "Similarity Estimation
// Techniques from Rounding Algorithms", 2002). Where only what is very like the query is asked for, they tell nearly
// all rows apart from it, and are read in a hundredth of the time that the vectors take.
//
// A bit is the sign of a sum of all numbers of the vector, each with a sign of its own. Those signs are random but the
// same everywhere, and make the 512 sums orthogonal: Hadamard's matrix between two rows of random signs, for each 512
// numbers of the vector.
#ifndef DEEPLENS_BACKENDS_INDEX_SKETCH_H
#define DEEPLENS_BACKENDS_INDEX_SKETCH_H

#include <stddef.h>
#include <stdint.h>

enum { SKETCH_BITS = 512, SKETCH_WORDS = SKETCH_BITS / 64 };

void sketch_make(const float *vector, size_t dimension, uint64_t out[SKETCH_WORDS]);

// How many bits may differ between vectors whose cosine is at least `score` (above 0). Of pairs that have just this
// cosine, `accuracy` 0 lets five of six pass, 0.5 all but one of 700, towards 1 all but one of a million.
unsigned sketch_limit(float score, float accuracy);

#endif
