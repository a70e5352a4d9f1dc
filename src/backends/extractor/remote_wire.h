// SPDX-License-Identifier: Apache-2.0
// What is said to a service, and how its answers are read. Nothing here sends.
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_REMOTE_WIRE_H
#define DEEPLENS_BACKENDS_EXTRACTOR_REMOTE_WIRE_H

#include "backends/extractor/remote_spec.h"
#include "base/buf.h"
#include "base/pixels.h"

// Appends a PNG: lossless, and not compressed, so that it costs no time.
void remote_png(const struct pixels *picture, struct buf *out);

// The body of POST /extract-features for a picture, at most spec->edge long, and its content type.
enum { REMOTE_TYPE_MAX = 96 };
void features_write(const struct remote_spec *spec, const struct pixels *picture, struct buf *out,
                    char type[REMOTE_TYPE_MAX]);

// What the answer says of itself: "" where it says nothing.
struct features_said {
    char name[REMOTE_NAME_MAX], version[REMOTE_NAME_MAX];
};

// Reads spec->model.dimension numbers, finite ones. ERR_EXTRACTION_FAILED names the model and what is wrong.
int features_read(const struct remote_spec *spec, const struct buf *answer, float *vector, struct features_said *said,
                  struct error *err);

// The tensor's numbers as text, for each channel and each value of a byte.
struct tensor_text {
    struct {
        char text[15];
        unsigned char len;
    } of[3][256];
};
void tensor_text_make(const struct remote_spec *spec, struct tensor_text *out);

// The body and the path of an inference on `count` fitted pictures (picture.h).
void tensor_write(const struct remote_spec *spec, const struct tensor_text *text, const uint8_t *fitted, size_t count,
                  struct buf *out);
void tensor_path(const struct remote_spec *spec, char *out, size_t size);
// Reads count × spec->model.dimension numbers, finite ones.
int tensor_read(const struct remote_spec *spec, const struct buf *answer, size_t count, float *vectors,
                struct error *err);

size_t remote_answer_max(const struct remote_spec *spec, size_t count); // bytes

#endif
