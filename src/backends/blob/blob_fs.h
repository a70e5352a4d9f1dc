// SPDX-License-Identifier: Apache-2.0
// The blob port on a folder of the file system.
#ifndef DEEPLENS_BACKENDS_BLOB_BLOB_FS_H
#define DEEPLENS_BACKENDS_BLOB_BLOB_FS_H

#include "ports/blob.h"

extern const struct blob_ops blob_fs;

#endif
