// SPDX-License-Identifier: Apache-2.0
// What is done to pictures: the copies that are uploaded beside their originals, and the queries that are not uploaded.
// Two tables; each row says what it does in the words that the pages show.
#ifndef DEEPLENS_DEMO_ALTER_H
#define DEEPLENS_DEMO_ALTER_H

#include <vips/vips.h>

#include "base/error.h"

struct alteration {
    const char *kind;  // "crop"
    const char *label; // "cropped to 60 %"
    int (*make)(VipsImage *in, double amount, VipsImage **out);
    double amount;
    int quality; // of the JPEG
};

extern const struct alteration alter_copies[]; // ends with a row without kind
enum { QUERY_KINDS = 12, QUERIES_A_KIND = 4 };
extern const struct alteration alter_queries[QUERY_KINDS][QUERIES_A_KIND];

int alter_make(const struct alteration *how, VipsImage *in, VipsImage **out, struct error *err);

#endif
