// SPDX-License-Identifier: Apache-2.0
// What is known about a model that a service elsewhere runs: a folder whose model.json has a "remote"
// (docs/MODELS.md).
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_REMOTE_SPEC_H
#define DEEPLENS_BACKENDS_EXTRACTOR_REMOTE_SPEC_H

#include <stdint.h>

#include "backends/extractor/model_spec.h"
#include "net/call.h"

enum { REMOTE_NAME_MAX = 128, REMOTE_BATCH_MAX = 64, REMOTE_STREAMS_MAX = 8 };

enum remote_protocol {
    REMOTE_FEATURES, // POST /extract-features: a file a request
    REMOTE_V2        // the Open Inference Protocol: a tensor a batch
};

struct remote_spec {
    struct model_spec model; // its name, version, dimension, output, input
    enum remote_protocol protocol;
    char url[CALL_URL_MAX];
    char name[REMOTE_NAME_MAX];    // how the service calls the model; "": it has one
    char version[REMOTE_NAME_MAX]; // that the service must run; "": any
    char input[REMOTE_NAME_MAX];   // of the tensor
    bool uint8;                    // the tensor holds bytes, as they are in the picture
    int edge;                      // of a picture that is sent as a file
    int batch, streams;            // pictures of a request, or requests at once; batches at once
    int64_t timeout_ms;            // for a request; 0: not said
};

// ERR_CONFIG names the model and what is wrong; ERR_NOT_FOUND when the folder holds no such model.
int remote_spec_read(const char *folder, struct remote_spec *out, struct error *err);

#endif
