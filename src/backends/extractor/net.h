// SPDX-License-Identifier: Apache-2.0
// A model loaded into OpenVINO, in this process: what the worker (worker_main.c) runs.
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_NET_H
#define DEEPLENS_BACKENDS_EXTRACTOR_NET_H

#include <stdint.h>

#include "backends/extractor/model_spec.h"

struct net_config {
    char library[MODEL_PATH_MAX]; // folder of OpenVINO's libraries
    char cache[MODEL_PATH_MAX];   // folder for compiled models; "" for none
    int threads;                  // for all streams together; 0: OpenVINO's choice
    int streams;                  // batches that run at once
    int batch_max;
};

struct net;

// Verifies the file, loads and compiles it, and runs it once on each stream, so that the first picture finds it warm.
// Errors name the model: ERR_CONFIG when the model cannot be used, ERR_UNAVAILABLE when OpenVINO is not there.
int net_open(const struct model_spec *spec, const struct net_config *config, struct net **out, struct error *err);
void net_close(struct net *n); // takes NULL

size_t net_dimension(const struct net *n); // of a row: the vector's numbers, and behind them those of the labels

// Runs `count` fitted pictures (picture.h), or texts, 1 … batch_max, on a stream, 0 … streams - 1; one call at a time
// on each. A text is spec.tokens + 1 32-bit numbers: how many tokens there are, 1 or more, and the tokens. Writes count
// × dimension numbers as the model gives them. ERR_EXTRACTION_FAILED.
int net_run(struct net *n, int stream, const uint8_t *items, size_t count, float *out, struct error *err);

#endif
