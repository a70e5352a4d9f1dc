// SPDX-License-Identifier: Apache-2.0
// Files of another system, read where they are: what its events name is looked for in a folder that is mounted here.
//
// A key is walked part by part from the folder's descriptor, and no part may be a symbolic link: nothing outside of the
// folder can be reached, whatever the key says and whoever writes there. The folder is opened anew for each file, so
// that one that was mounted again is seen.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/blob/blob_folder.h"
#include "base/cleanup.h"

enum { KEY_MAX = 4096, PART_MAX = 255 };

struct blob_reader {
    int fd;
    uint64_t size;
};

static int folder_open(const char *location, void **state, struct error *err)
{
    if (location[0] != '/')
        return error_set(err, ERR_CONFIG, "\"%.128s\" is no absolute path of a folder", location);
    *state = strdup(location);
    return *state ? 0 : error_set(err, ERR_NO_MEMORY, "Out of memory");
}

static void folder_close(void *state)
{
    free(state);
}

static bool key_valid(const char *key)
{
    if (strnlen(key, KEY_MAX + 1) > KEY_MAX)
        return false;
    for (const char *part = key;; part++) {
        size_t len = strcspn(part, "/");
        if (len < 1 || len > PART_MAX || (len <= 2 && strncmp(part, "..", len) == 0))
            return false;
        part += len;
        if (!*part)
            return true;
    }
}

// Opens one part after the other. -1 with errno set.
static int walk(int root, const char *key)
{
    char name[PART_MAX + 1];
    _cleanup_close_ int at = root;
    for (;;) {
        size_t len = strcspn(key, "/");
        bool leaf = !key[len];
        memcpy(name, key, len);
        name[len] = 0;
        int next = openat(at, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | (leaf ? 0 : O_DIRECTORY));
        if (next < 0 || leaf)
            return next;
        close(at);
        at = next;
        key += len + 1;
    }
}

static int not_there(const char *key, struct error *err)
{
    return error_set(err, ERR_NOT_FOUND, "There is no file \"%.200s\"", key);
}

// A folder that cannot be reached is an outage; a file in it that cannot be is the file's fault.
static int folder_open_read(void *state, const char *key, struct blob_reader **out, struct error *err)
{
    struct stat st;
    if (!key_valid(key))
        return error_set(err, ERR_INVALID, "\"%.200s\" leads to no file", key);
    int root = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return error_errno(err, ERR_UNAVAILABLE, errno, "The folder %.128s cannot be opened", (const char *)state);
    _cleanup_close_ int fd = walk(root, key);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
        return not_there(key, err);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, ERR_IO, errno, "The file \"%.200s\" cannot be opened", key);
    if (!S_ISREG(st.st_mode))
        return not_there(key, err);
    struct blob_reader *reader = malloc(sizeof *reader);
    if (!reader)
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    *reader = (struct blob_reader){.fd = take_fd(fd), .size = (uint64_t)st.st_size};
    *out = reader;
    return 0;
}

static uint64_t folder_reader_size(const struct blob_reader *reader)
{
    return reader->size;
}

static int folder_read(struct blob_reader *reader, uint64_t offset, void *buf, size_t len, struct error *err)
{
    if (offset > reader->size || len > reader->size - offset)
        return error_set(err, ERR_RANGE, "More of a file was asked for than there is");
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(reader->fd, (char *)buf + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(err, ERR_IO, errno, "The file cannot be read");
        if (n == 0)
            return error_set(err, ERR_IO, "The file became shorter while it was read");
        done += (size_t)n;
    }
    return 0;
}

static void folder_reader_close(struct blob_reader *reader)
{
    if (!reader)
        return;
    close(reader->fd);
    free(reader);
}

const struct blob_ops blob_folder = {
    .name = "folder",
    .open = folder_open,
    .close = folder_close,
    .open_read = folder_open_read,
    .reader_size = folder_reader_size,
    .read = folder_read,
    .reader_close = folder_reader_close,
};
