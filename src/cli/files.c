// SPDX-License-Identifier: Apache-2.0
// Small files, whole.
#include "cli/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int read_all(int fd, const char *name, struct buf *out, struct error *err)
{
    char piece[65536];
    for (;;) {
        ssize_t got = read(fd, piece, sizeof piece);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_errno(err, ERR_IO, errno, "%.200s cannot be read", name);
        if (got == 0)
            return buf_append(out, "", 0);
        if (buf_append(out, piece, (size_t)got) < 0)
            return error_set(err, ERR_BODY_TOO_LARGE, "%.200s is larger than %zu bytes", name, out->max);
    }
}

int files_read(const char *path, struct buf *out, struct error *err)
{
    if (strcmp(path, "-") == 0)
        return read_all(STDIN_FILENO, "stdin", out, err);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, ERR_IO, errno, "%.200s cannot be read", path);
    return read_all(fd, path, out, err);
}

int files_write(const char *path, const struct buf *content, struct error *err)
{
    char temporary[PATH_MAX];
    if ((size_t)snprintf(temporary, sizeof temporary, "%s.%d.part", path, (int)getpid()) >= sizeof temporary)
        return error_errno(err, ERR_IO, ENAMETOOLONG, "%.200s cannot be written", path);
    FILE *file = fopen(temporary, "wxe");
    if (!file)
        return error_errno(err, ERR_IO, errno, "%.200s cannot be written", path);
    bool ok = fwrite(content->data, 1, content->len, file) == content->len;
    ok = fclose(file) == 0 && ok;
    if (ok && rename(temporary, path) == 0)
        return 0;
    int saved = errno;
    unlink(temporary);
    return error_errno(err, ERR_IO, saved, "%.200s cannot be written", path);
}

int files_make_folders(const char *path, struct error *err)
{
    char part[PATH_MAX];
    if ((size_t)snprintf(part, sizeof part, "%s", path) >= sizeof part)
        return error_errno(err, ERR_IO, ENAMETOOLONG, "The folder %.200s cannot be made", path);
    for (char *p = part + 1;; p++) {
        if (*p && *p != '/')
            continue;
        char end = *p;
        *p = 0;
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
            return error_errno(err, ERR_IO, errno, "The folder %.200s cannot be made", part);
        if (!end)
            return 0;
        *p = end;
    }
}
