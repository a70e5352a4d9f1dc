// SPDX-License-Identifier: Apache-2.0
// What the files of a model in OpenVINO share: net.c, and net_text.c for models of text.
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_NET_INT_H
#define DEEPLENS_BACKENDS_EXTRACTOR_NET_INT_H

#include <stdbool.h>

#include "backends/extractor/net.h"
#include "backends/extractor/openvino_api.h"

enum { STREAMS_MAX = 64, INPUTS_MAX = 3 };

struct net {
    const struct ov_api *ov;
    struct model_spec spec;
    struct ov_core *core;
    struct ov_compiled *compiled;
    struct ov_port *output;
    struct ov_port *labels; // NULL: none
    int streams, batch_max;
    bool one_by_one;  // the model was made for batches of exactly one
    size_t dimension; // of `output`
    struct ov_request *requests[STREAMS_MAX];
    void *inputs[STREAMS_MAX]; // floats of pictures, or whole numbers of texts
    struct net_text_input {    // of a side of text, in their order
        enum { TEXT_IDS, TEXT_MASK, TEXT_TYPES } kind;
        int type; // OV_I32, OV_I64
    } text[INPUTS_MAX];
    size_t text_count;
};

int net_failed(const struct net *n, enum error_code code, const char *what, struct error *err);
int net_unfit(const struct net *n, const char *what, struct error *err);
bool net_fits(const struct ov_dimension *d, int64_t value);

int net_text_check(struct net *n, struct error *err);
size_t net_text_room(const struct net *n); // bytes of a stream's input
// Gives the stream's request the tokens of `count` texts. `tensors` (INPUTS_MAX) are the caller's to free.
int net_text_bind(struct net *n, int stream, const uint8_t *texts, size_t count, struct ov_tensor **tensors,
                  struct error *err);

#endif
