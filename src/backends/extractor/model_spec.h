// SPDX-License-Identifier: Apache-2.0
// What is known about a model from its folder, before it is loaded: DeepLens' own `model.json`, or the layout in which
// Immich publishes CLIP models (visual/model.onnx, visual/preprocess_cfg.json, config.json), read as it is.
// docs/MODELS.md describes both.
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_MODEL_SPEC_H
#define DEEPLENS_BACKENDS_EXTRACTOR_MODEL_SPEC_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum {
    MODEL_NAME_MAX = 64,
    MODEL_PATH_MAX = 1024,
    MODEL_EDGE_MAX = 2048,
    MODEL_DIMENSION_MAX = 65536,
    MODEL_TOKENS_MAX = 512,
    MODEL_LABELS_MAX = 32768
};

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
    size_t dimension;       // of the network's output; 0: as the model says
    double duplicate_score; // as extractor_model's
    float mix_builtin; // the length that the built-in descriptor's numbers have beside the network's, which have 1; 0:
                       // none
    int width, height;
    int resize; // for FIT_CROP: the shorter edge before the crop
    enum model_fit fit;
    bool nhwc, bgr;
    float mean[3], std[3]; // of values from 0 to 1, in the order of the channels that the model takes

    // What a picture shows: a second output, a number for each name in a file, one a line. No names: no such output.
    char labels_output[MODEL_NAME_MAX];
    char labels_file[MODEL_PATH_MAX];
    size_t label_count;

    // The side of text (text_side.h): the input is tokens, and what is said of pictures above means nothing.
    int tokens;                         // of a text at most; 0: this is a side of pictures
    bool fill;                          // texts are always filled up to `tokens`
    int filling;                        // the token that fills up; -1: filling_token says which
    char filling_token[MODEL_NAME_MAX]; // its name in the tokenizer
    bool plain;                         // letters made small and punctuation left out before the tokenizer
    char tokenizer[MODEL_PATH_MAX], tokenizer_sha256[65];
};

// Would two names share the collection of their vectors? Those do that differ in punctuation alone.
bool model_same_collection(const char *a, const char *b);

const char *model_precision_name(enum model_precision precision); // "f32"

// Reads the description of the side of pictures in `folder`. `precision` "auto" takes what the description prefers; a
// precision without a file of its own falls back to f32's. ERR_CONFIG names the model and what is wrong; ERR_NOT_FOUND
// when `folder` holds no model of pictures.
int model_spec_read(const char *folder, const char *precision, struct model_spec *out, struct error *err);

// The same for its side of text.
int model_spec_read_text(const char *folder, const char *precision, struct model_spec *out, struct error *err);

// Reads the names of what the model finds in pictures: `label_count` strings, in one piece of memory with the array,
// which the caller frees. ERR_CONFIG.
int model_labels_read(const struct model_spec *spec, char ***out, struct error *err);

// Is the file there, of a kind that is read (.onnx, .xml), and what the description says (sha256)? ERR_CONFIG.
int model_spec_verify(const struct model_spec *spec, struct error *err);

#endif
