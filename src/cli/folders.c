// SPDX-License-Identifier: Apache-2.0
// Whole folders: see folders.h.
#include "cli/folders.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "base/cleanup.h"

enum { DEEPEST = 16 };

int folders_make(const char *path, struct error *err)
{
    _cleanup_free_ char *part = strdup(path);
    for (char *p = part ? part + 1 : NULL; p; p++) {
        char end = *p;
        if (end != '/' && end)
            continue;
        *p = 0;
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return error_errno(err, ERR_IO, errno, "The folder %.200s cannot be made", part);
        *p = end;
        if (!end)
            return 0;
    }
    return error_set(err, ERR_NO_MEMORY, "No memory");
}

static int copy_file(const char *from, const char *to, off_t size, struct error *err)
{
    _cleanup_close_ int in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (in < 0)
        return error_errno(err, ERR_IO, errno, "%.200s cannot be read", from);
    _cleanup_close_ int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (out < 0)
        return error_errno(err, ERR_IO, errno, "%.200s cannot be written", to);
    while (size > 0) {
        ssize_t done = sendfile(out, in, NULL, (size_t)size);
        if (done <= 0)
            return error_errno(err, ERR_IO, done < 0 ? errno : EIO, "%.200s cannot be copied", from);
        size -= done;
    }
    return 0;
}

static int copy_folder(const char *from, const char *to, int depth, struct error *err);

static int copy_entry(const char *from, const char *to, int depth, struct error *err)
{
    struct stat st;
    if (lstat(from, &st) < 0)
        return error_errno(err, ERR_IO, errno, "%.200s cannot be read", from);
    if (S_ISDIR(st.st_mode))
        return copy_folder(from, to, depth + 1, err);
    if (!S_ISREG(st.st_mode))
        return error_set(err, ERR_IO, "%.200s is neither a file nor a folder", from);
    return copy_file(from, to, st.st_size, err);
}

static int copy_folder(const char *from, const char *to, int depth, struct error *err)
{
    DIR *dir = depth > DEEPEST ? NULL : opendir(from);
    if (!dir)
        return error_errno(err, ERR_IO, depth > DEEPEST ? ELOOP : errno, "The folder %.200s cannot be read", from);
    int rc = mkdir(to, 0755) < 0 ? error_errno(err, ERR_IO, errno, "The folder %.200s cannot be made", to) : 0;
    struct dirent *entry;
    while (rc == 0 && (entry = readdir(dir))) {
        _cleanup_free_ char *source = NULL, *target = NULL;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (asprintf(&source, "%s/%s", from, entry->d_name) < 0 || asprintf(&target, "%s/%s", to, entry->d_name) < 0)
            rc = error_set(err, ERR_NO_MEMORY, "No memory");
        else
            rc = copy_entry(source, target, depth, err);
    }
    closedir(dir);
    return rc;
}

int folders_copy(const char *from, const char *to, struct error *err)
{
    return copy_folder(from, to, 0, err);
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    return remove(path);
}

int folders_remove(const char *path, struct error *err)
{
    if (nftw(path, remove_entry, DEEPEST, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT)
        return 0;
    return error_errno(err, ERR_IO, errno, "The folder %.200s cannot be removed", path);
}
