// SPDX-License-Identifier: Apache-2.0
// What is known about a model from its folder, before it is loaded: DeepLens' own `model.json`, or the layout in which
// Immich publishes CLIP models (visual/model.onnx, visual/preprocess_cfg.json, config.json), read as it is.
// docs/MODELS.md describes both.
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_MODEL_SPEC_H
#define DEEPLENS_BACKENDS_EXTRACTOR_MODEL_SPEC_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum { MODEL_NAME_MAX = 64, MODEL_PATH_MAX = 1024, MODEL_EDGE_MAX = 2048, MODEL_DIMENSION_MAX = 65536 };

enum model_precision { MODEL_F32, MODEL_BF16, MODEL_INT8 };

enum model_fit {
    FIT_SQUASH, // the whole picture to width × height, whatever its shape
    FIT_CROP,   // scaled so that its shorter edge is `resize`, then the middle
    FIT_PAD     // scaled so that its longer edge fits, the rest filled with the mean
};

struct model_spec {
    char name[MODEL_NAME_MAX];
    char version[MODEL_NAME_MAX]; // with "-int8" or "-bf16" behind it when that is what runs
    char folder[MODEL_PATH_MAX];
    char file[MODEL_PATH_MAX];   // the whole path of what is loaded
    char sha256[65];             // "" when not said
    char output[MODEL_NAME_MAX]; // "" for the first one
    char licence[128], source[256];
    enum model_precision precision;
    size_t dimension;  // of the network's output; 0: as the model says
    float mix_builtin; // the length that the built-in descriptor's numbers have beside the network's, which have 1; 0:
                       // none
    int width, height;
    int resize; // for FIT_CROP: the shorter edge before the crop
    enum model_fit fit;
    bool nhwc, bgr;
    float mean[3], std[3]; // of values from 0 to 1, in the order of the channels that the model takes
};

const char *model_precision_name(enum model_precision precision); // "f32"

// Reads the description in `folder`. `precision` "auto" takes what the description prefers; a precision without a file
// of its own falls back to f32's. ERR_CONFIG names the model and what is wrong; ERR_NOT_FOUND when `folder` holds no
// model.
int model_spec_read(const char *folder, const char *precision, struct model_spec *out, struct error *err);

// Is the file there, of a kind that is read (.onnx, .xml), and what the description says (sha256)? ERR_CONFIG.
int model_spec_verify(const struct model_spec *spec, struct error *err);

#endif
