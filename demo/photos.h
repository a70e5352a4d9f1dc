// SPDX-License-Identifier: Apache-2.0
// The photos of this machine's packages: read, judged and chosen. Out of a list of paths come distinct, lively
// pictures, each with a name of its own, in the order of their names.
#ifndef DEEPLENS_DEMO_PHOTOS_H
#define DEEPLENS_DEMO_PHOTOS_H

#include <stdio.h>

#include "base/error.h"
#include "picture.h"

enum { PHOTOS_MAX = 512, PHOTO_NAME = 64, PRINT_EDGE = 16, PATH_LENGTH = 1024, BASE_EDGE = 1280 };

struct photo {
    char path[PATH_LENGTH];
    char name[PHOTO_NAME];                 // "Dune"; letters, digits, - and _
    char base[PATH_LENGTH];                // a JPEG of at most BASE_EDGE pixels, what the copies are made of
    int width, height;                     // of the original
    double contrast;                       // deviation of the brightness, 0 … 127
    double detail;                         // mean step from pixel to pixel, 0 …
    double print[PRINT_EDGE * PRINT_EDGE]; // the picture seen from afar: zero mean, length 1
};

struct photos {
    struct photo *list;
    size_t count;
};

// Reads paths, one a line, and writes the bases into the folder `work`.
int photos_choose(FILE *paths, const char *work, struct photos *out, struct error *err);
void photos_free(struct photos *p);

#endif
