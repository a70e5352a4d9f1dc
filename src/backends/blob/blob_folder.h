// SPDX-License-Identifier: Apache-2.0
// A folder of somebody else's, of which blobs are read and nothing else.
#ifndef DEEPLENS_BACKENDS_BLOB_BLOB_FOLDER_H
#define DEEPLENS_BACKENDS_BLOB_BLOB_FOLDER_H

#include "ports/blob.h"

// `location` is the folder's absolute path; it need not be there (yet): then calls say ERR_UNAVAILABLE. Keys may have
// any bytes that a path may have, but no part "", "." or "..". Has open_read and what a reader needs, close and name;
// every other function is NULL.
extern const struct blob_ops blob_folder;

#endif
