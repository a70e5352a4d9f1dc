// SPDX-License-Identifier: Apache-2.0
// What the demonstration found: queries.json, results/NN.json and upload.json, read and judged. A hit is right when it
// is the photo that the query was made of, or a copy or a part of it.
#ifndef DEEPLENS_DEMO_ANSWERS_H
#define DEEPLENS_DEMO_ANSWERS_H

#include <stddef.h>

#include "alter.h"
#include "base/error.h"
#include "photos.h"

enum { ANSWERS_MAX = QUERY_KINDS * QUERIES_A_KIND, HITS = 5, WORDS = 96, THUMB_EDGE = 300 };

struct hit {
    char title[WORDS]; // of the photo: "sunset by Aitzol Berasategi"
    char form[WORDS];  // "the photo itself", "part: left"
    double score;
    bool right;
    VipsImage *thumb; // at most THUMB_EDGE pixels
};

struct answer {
    char title[WORDS]; // of the photo that the query was made of
    char kind[WORDS];
    char label[WORDS];
    double ms;
    size_t hit_count;
    struct hit hits[HITS];
    VipsImage *thumb; // the query
};

struct answers {
    struct answer list[ANSWERS_MAX];
    size_t count;
    size_t found; // answers whose best hit is right
    size_t photos, items;
    double megabytes; // uploaded
    double acks;      // uploads acknowledged a second
    double rate;      // items made searchable a second, from the first upload to the last index entry
    double ms;        // of a search: the median of what the server says
};

// `seconds` is what `upload --wait` took. The result is large; the caller frees it with answers_free.
int answers_read(const char *folder, double seconds, struct answers **out, struct error *err);
void answers_free(struct answers *a); // takes NULL

DEFINE_CLEANUP(struct answers *, answers, answers_free)
#define _cleanup_answers_ _cleanup_(cleanup_answers)

static inline bool answer_found(const struct answer *a)
{
    return a->hit_count && a->hits[0].right;
}

#endif
