// SPDX-License-Identifier: Apache-2.0
// Small files, whole.
#ifndef DEEPLENS_CLI_FILES_H
#define DEEPLENS_CLI_FILES_H

#include "base/buf.h"
#include "base/error.h"

// Appends the file's content to `out`, whose maximum bounds it. "-" is stdin.
int files_read(const char *path, struct buf *out, struct error *err);

// Writes a temporary file beside `path` and renames it: never half a page.
int files_write(const char *path, const struct buf *content, struct error *err);

int files_make_folders(const char *path, struct error *err); // as mkdir -p, mode 0700 for what is new

#endif
