// SPDX-License-Identifier: Apache-2.0
// How well look-alikes are ranked, on any folder of class folders.
#ifndef DEEPLENS_BENCH_QUALITY_LABELLED_H
#define DEEPLENS_BENCH_QUALITY_LABELLED_H

#include "ports/extractor.h"

// Searches for each picture below DIR/CLASS/ among all others there; right are those of its class. One JSON line a
// figure on stdout: P@1; P@10 (the share of what is right among the first ten, or among as many as there are right
// ones if those are fewer); mAP. Pictures that are alone in their class are searched among, not for. 0, or -1 after
// saying why on stderr.
int labelled(const struct extractor *extractor, const struct extractor_model *model, const char *dir);

#endif
