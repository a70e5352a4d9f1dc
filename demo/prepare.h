// SPDX-License-Identifier: Apache-2.0
// Makes what the demonstration uploads and what it searches with, in one folder:
//   items/NAME.ext          the photos as they came (links), items/NAME--COPY.jpg their copies and parts
//   queries/01.jpg …        pictures that are not uploaded
//   queries.json            what was made, and what was done to each query
#ifndef DEEPLENS_DEMO_PREPARE_H
#define DEEPLENS_DEMO_PREPARE_H

#include <stdio.h>

#include "base/error.h"

int prepare_pictures(FILE *paths, const char *folder, struct error *err);

#endif
