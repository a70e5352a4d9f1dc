// SPDX-License-Identifier: Apache-2.0
// A test's folder.
#include "scratch.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void scratch_make(char path[PATH_MAX])
{
    char name[PATH_MAX];
    const char *parent = getenv("TMPDIR");
    snprintf(name, sizeof name, "%s/deeplens-cli-XXXXXX", parent && *parent ? parent : "/tmp");
    char *made = mkdtemp(name);
    char *real = made ? realpath(made, path) : NULL;
    if (!real)
        abort();
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    return remove(path);
}

void scratch_remove(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *scratch_write(const char *folder, const char *name, const char *content)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    for (char *p = path + strlen(folder) + 1; (p = strchr(p, '/')); p++) {
        *p = 0;
        mkdir(path, 0700);
        *p = '/';
    }
    FILE *file = fopen(path, "we");
    if (!file || fputs(content, file) < 0 || fclose(file) != 0)
        abort();
    return path;
}
