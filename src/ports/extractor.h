// SPDX-License-Identifier: Apache-2.0
// Port: extractor, what turns pictures and texts into vectors. One back end offers one or more models. Texts and
// pictures of one model can be compared (CLIP and its kind); a model of texts alone compares texts. A model with labels
// also says what it sees in a picture.
//
// Threads: any; `extract` may block for as long as the work takes and may be called at once from many threads.
#ifndef DEEPLENS_PORTS_EXTRACTOR_H
#define DEEPLENS_PORTS_EXTRACTOR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/pixels.h"

struct extractor_model {
    const char *name;    // "builtin": [a-z0-9][a-z0-9._-]*, at most 63 bytes
    const char *version; // "1.0"; another version's vectors are not comparable
    size_t dimension;
    int input_edge;   // pixels: pictures are handed over with their shorter edge at least this long, if they have it
    size_t batch_max; // the most pictures a call takes
    const char *precision, *licence, *source; // for people; NULL when there is nothing to say
    bool texts;                               // takes texts
    bool only_texts;                          // and no pictures
    bool labels;                              // names what it sees
    double duplicate_score; // the cosine from which two pictures count as near-duplicates; 0: nobody has measured it
};

enum { EXTRACTOR_LABELS = 10 };

struct extractor_labels { // what a picture shows, the likeliest first
    size_t count;
    struct extractor_label {
        const char *name; // lives as long as the state
        float share;      // of certainty, above 0; those of all labels that the model knows add up to 1
    } at[EXTRACTOR_LABELS];
};

struct extractor_ops {
    const char *name;

    int (*open)(const char *location, void **state, struct error *err);
    void (*close)(void *state);

    // The models on offer: an array that lives as long as the state.
    const struct extractor_model *(*models)(void *state, size_t *count);

    // Are the services that run models there? ERR_UNAVAILABLE says which is not. May ask them, and wait for it. NULL:
    // nothing outside of this machine is needed.
    int (*health)(void *state, struct error *err);

    // Writes count × dimension floats to `vectors`, L2-normalised and finite; and what is seen in each picture to
    // `labels` (NULL: not wanted), for a model that has labels. `model` is one of models'. ERR_EXTRACTION_FAILED,
    // ERR_EXTRACTION_TIMEOUT, ERR_UNAVAILABLE; then no vector of the batch is to be used.
    int (*extract)(void *state, const struct extractor_model *model, const struct pixels *pictures, size_t count,
                   float *vectors, struct extractor_labels *labels, struct error *err);

    // Texts (UTF-8, NUL-terminated) → vectors, L2-normalised and finite; for models that take texts. Any number.
    // ERR_INVALID for a text that is too long or has no words; else as extract. NULL when no model takes texts.
    int (*embed)(void *state, const struct extractor_model *model, const char *const *texts, size_t count,
                 float *vectors, struct error *err);
};

struct extractor_trial { // what trying a model out has shown
    char name[64], version[64], precision[8], licence[128], source[256];
    char fit[64]; // how pictures are brought to its input
    size_t dimension;
    double load_ms;
    double single_ms,
        batch_per_s; // 0 unless measured: one picture, and pictures a second in full batches on all streams
};

struct extractor { // an opened back end
    const struct extractor_ops *ops;
    void *state;
};

#endif
