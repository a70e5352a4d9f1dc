// SPDX-License-Identifier: Apache-2.0
// Trying a model out before it is used: loaded in a process of its own, run, and timed when asked for.
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_MODEL_TRIAL_H
#define DEEPLENS_BACKENDS_EXTRACTOR_MODEL_TRIAL_H

#include "backends/extractor/extractor_openvino.h"

// Tries the model in `folder`; config's own folder is not looked at. With `bench`, also measures how fast it is.
int model_trial(const struct openvino_config *config, const char *folder, bool bench, struct extractor_trial *out,
                struct error *err);

#endif
