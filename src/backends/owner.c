// SPDX-License-Identifier: Apache-2.0
// The owner's name: a random one in a file of the data directory. It is durable before anybody else hears of it, else a
// power cut could leave a bucket that belongs to nobody.
#include "backends/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/id.h"

static int read_name(const char *path, char out[OWNER_NAME])
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, out, OWNER_NAME - 1);
    if (got < 0)
        return -1;
    out[got] = 0;
    out[strcspn(out, "\n")] = 0;
    return 0;
}

static int write_name(const char *dir, const char *path, const char *name)
{
    _cleanup_free_ char *draft = NULL;
    if (asprintf(&draft, "%s.new", path) < 0)
        return -1;
    _cleanup_close_ int fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    _cleanup_close_ int folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || folder < 0 || dprintf(fd, "%s\n", name) < 0 || fsync(fd) < 0 || rename(draft, path) < 0)
        return -1;
    return fsync(folder);
}

int owner_name(const char *dir, const char *file, char out[OWNER_NAME], struct error *err)
{
    _cleanup_free_ char *path = NULL;
    char name[OWNER_NAME] = "", id[ID_MAX];
    if (asprintf(&path, "%s/%s", dir, file) < 0)
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    if (read_name(path, name) < 0 && errno != ENOENT)
        return error_errno(err, ERR_IO, errno, "%s cannot be read", path);
    if (!*name) {
        id_new("own", id);
        snprintf(name, sizeof name, "%s", id);
        if (write_name(dir, path, name) < 0)
            return error_errno(err, ERR_IO, errno, "%s cannot be written", path);
    }
    memcpy(out, name, sizeof name);
    return 0;
}
