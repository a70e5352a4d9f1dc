// SPDX-License-Identifier: Apache-2.0
// The extractor of models in folders (docs/MODELS.md), run by OpenVINO, each in a process of its own.
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_OPENVINO_H
#define DEEPLENS_BACKENDS_EXTRACTOR_OPENVINO_H

#include "backends/extractor/net.h"
#include "ports/extractor.h"

struct openvino_config {   // strings are borrowed until open returns; NULL is ""
    const char *models;    // folder of model folders
    const char *library;   // folder of OpenVINO's libraries; "" for the system's
    const char *cache;     // folder for compiled models; "" for none
    const char *precision; // auto, f32, bf16, int8
    const char *program;   // that becomes a worker when told "worker-extract"; "": none, and so no models
    int threads;           // a model may use; 0: one for each processor
    int streams;           // batches of a model that run at once; 0: two
};

// Offers every model in the folder that can be used; what cannot is logged with the reason. A folder that is not there
// holds none. `open` of the table offers none.
int extractor_openvino_open(const struct openvino_config *config, void **state, struct error *err);

// The same with what was left out filled in.
struct openvino_config openvino_config_whole(const struct openvino_config *config);
struct net_config openvino_net_config(const struct openvino_config *whole);
enum { OPENVINO_BATCH_MAX = 8 };

extern const struct extractor_ops extractor_openvino;

#endif
