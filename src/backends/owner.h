// SPDX-License-Identifier: Apache-2.0
// The name by which an installation owns what it keeps with a service (blob/s3_claim.c, index/qdrant_claim.c).
#ifndef DEEPLENS_BACKENDS_OWNER_H
#define DEEPLENS_BACKENDS_OWNER_H

#include "base/error.h"

enum { OWNER_NAME = 64 };

// Reads it from a file of the data directory, which the caller has locked; makes it the first time, durable before it
// returns.
int owner_name(const char *dir, const char *file, char out[OWNER_NAME], struct error *err);

#endif
