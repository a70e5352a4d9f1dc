// SPDX-License-Identifier: Apache-2.0
// What the readers of descriptions share (model_spec.c: pictures, model_spec_text.c: text and labels).
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_MODEL_SPEC_INT_H
#define DEEPLENS_BACKENDS_EXTRACTOR_MODEL_SPEC_INT_H

#include <jansson.h>

#include "backends/extractor/model_spec.h"

int spec_refuse(const struct model_spec *s, struct error *err, const char *what);
// The path of a file inside the model's folder.
int spec_join(const struct model_spec *s, const char *name, char out[MODEL_PATH_MAX], struct error *err);
// 0 with NULL in `*out` when the file is not there.
int spec_json(const struct model_spec *s, const char *name, json_t **out, struct error *err);
void spec_copy(char *to, size_t size, const char *from);
// The folder's path, and what both layouts say first: `*own` is model.json, NULL when there is none.
int spec_folder(struct model_spec *s, const char *folder, json_t **own, struct error *err);
// The same; ERR_NOT_FOUND for a model that a service runs (remote_spec.h).
int spec_begin(struct model_spec *s, const char *folder, json_t **own, struct error *err);
// Name, dimension, output, licence and source of a description in model.json; then its file and version. `part`: where
// its `files` and `output` are.
int spec_own(struct model_spec *s, const json_t *description, const json_t *part, struct error *err);
// `input` of model.json.
int spec_input(struct model_spec *s, const json_t *input, struct error *err);
// What all descriptions of models of pictures must end in.
int spec_check(const struct model_spec *s, struct error *err);
int spec_own_file(struct model_spec *s, const json_t *description, const json_t *part, const char *precision,
                  struct error *err);
// The same for Immich's layout: the dimension, too. `model`: "visual/model.onnx".
int spec_published(struct model_spec *s, const char *precision, const char *model, json_t **config, struct error *err);
// Is the file what its description says? "" for a hash that is not said.
int spec_verify_file(const struct model_spec *s, const char *file, const char *sha256, struct error *err);
int spec_read_labels(struct model_spec *s, const json_t *description, struct error *err);

#endif
