// SPDX-License-Identifier: Apache-2.0
// The built-in extractor: one model, "builtin", 512 numbers a picture, made by hand: no weights to fetch.
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_BUILTIN_H
#define DEEPLENS_BACKENDS_EXTRACTOR_BUILTIN_H

#include "ports/extractor.h"

extern const struct extractor_ops extractor_builtin;

#endif
