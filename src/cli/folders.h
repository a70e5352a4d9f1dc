// SPDX-License-Identifier: Apache-2.0
// Whole folders: making, copying, removing. Errors are ERR_IO and name the path.
#ifndef DEEPLENS_CLI_FOLDERS_H
#define DEEPLENS_CLI_FOLDERS_H

#include "base/error.h"

int folders_make(const char *path, struct error *err); // with those above it; fine when it is there
// Copies files and folders, at most 16 deep; links and everything else are refused. `to` must not exist.
int folders_copy(const char *from, const char *to, struct error *err);
int folders_remove(const char *path, struct error *err); // fine when it is not there; follows no link

#endif
