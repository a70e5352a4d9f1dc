// SPDX-License-Identifier: Apache-2.0
// A fresh folder for one test, removed with all that is in it.
#ifndef DEEPLENS_TESTS_CONTRACT_PLACE_H
#define DEEPLENS_TESTS_CONTRACT_PLACE_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PLACE_MAX = 512 };

static inline int place_remove_one(const char *path, const struct stat *info, int kind, struct FTW *ftw)
{
    return remove(path);
}

static inline void place_remove(const char *dir)
{
    nftw(dir, place_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

// Returns 0, and the folder's path in `dir`.
static inline int place_make(char dir[PLACE_MAX])
{
    const char *tmp = getenv("TMPDIR");
    int len = snprintf(dir, PLACE_MAX, "%s/deeplens-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    return len > 0 && len < PLACE_MAX && mkdtemp(dir) ? 0 : -1;
}

#endif
