// SPDX-License-Identifier: Apache-2.0
// The blob port on a bucket of an S3 service: Amazon's, MinIO's, or another that speaks its protocol.
//
// The location is text, one "name=value" a line; what is not said has its default:
//
//   endpoint      "https://s3.REGION.amazonaws.com" unless said; scheme, host and port
//   bucket        must be there
//   region        "us-east-1"
//   prefix        of every key in the bucket: "" or "team/deeplens/"
//   style         "auto", "path" (endpoint/bucket/key) or "virtual" (bucket.endpoint/key)
//   access_key, secret_key, session_token
//   ca_file       certificates that vouch for the endpoint; the system's unless said
//   owner         who may keep blobs under this prefix: the same after a restart, and nobody else's
//   attempts      of each request, 5
//   timeout_ms    after which a connection that moves nothing is torn, 30000
//   memory        bytes that puts and readers may hold together, 256 MiB
//   part          bytes above which a put is sent in parts of that size, 16 MiB
#ifndef DEEPLENS_BACKENDS_BLOB_BLOB_S3_H
#define DEEPLENS_BACKENDS_BLOB_BLOB_S3_H

#include "ports/blob.h"

extern const struct blob_ops blob_s3;

#endif
