// SPDX-License-Identifier: Apache-2.0
// A folder for a test's files, removed after it.
#ifndef DEEPLENS_TESTS_SCRATCH_H
#define DEEPLENS_TESTS_SCRATCH_H

#include <limits.h>
#include <stddef.h>

// Makes a folder under $TMPDIR or /tmp.
void scratch_make(char path[PATH_MAX]);
void scratch_remove(const char *path);

// Writes a file in it (folders on its way are made); returns its path, in a static buffer.
const char *scratch_write(const char *folder, const char *name, const char *content);

#endif
