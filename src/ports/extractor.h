// SPDX-License-Identifier: Apache-2.0
// Port: extractor, what turns pictures into vectors. One back end offers one or more models.
//
// Threads: any; `extract` may block for as long as the work takes and may be called at once from many threads.
#ifndef DEEPLENS_PORTS_EXTRACTOR_H
#define DEEPLENS_PORTS_EXTRACTOR_H

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
};

struct extractor_ops {
    const char *name;

    int (*open)(const char *location, void **state, struct error *err);
    void (*close)(void *state);

    // The models on offer: an array that lives as long as the state.
    const struct extractor_model *(*models)(void *state, size_t *count);

    // Writes count × dimension floats to `vectors`, L2-normalised and finite. `model` is one of models'.
    // ERR_EXTRACTION_FAILED, ERR_EXTRACTION_TIMEOUT, ERR_UNAVAILABLE; then no vector of the batch is to be used.
    int (*extract)(void *state, const struct extractor_model *model, const struct pixels *pictures, size_t count,
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
