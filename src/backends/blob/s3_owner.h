// SPDX-License-Identifier: Apache-2.0
// The name by which an installation owns its blobs on S3 (see s3_claim.c).
#ifndef DEEPLENS_BACKENDS_BLOB_S3_OWNER_H
#define DEEPLENS_BACKENDS_BLOB_S3_OWNER_H

#include "base/error.h"

enum { S3_OWNER_NAME = 64 };

// Reads it from the data directory, which the caller has locked; makes it the first time, durable before it returns.
int s3_owner_name(const char *dir, char out[S3_OWNER_NAME], struct error *err);

#endif
