// SPDX-License-Identifier: Apache-2.0
// Blobs as files: <root>/<key>, one file a blob.
//
// A put writes <root>/tmp/<number>, syncs the file, renames it into place and syncs the folder: a name is
// either whole or not there, whenever the power goes. A folder that is made on the way is durable before the file
// moves into it; folders known to be durable are remembered, so that the common put costs one sync of the file and one
// of the folder. Write-back of a large put is started early, so that little is left to wait for at its commit. What
// a killed process left in tmp/ is removed by the next open; the data directory has one owner, so nobody is
// still writing there. Folders stay when they become empty: removing them would race with puts into them.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "backends/blob/blob_fs.h"
#include "backends/blob/fs_int.h"

enum { WRITE_BACK_BYTES = 8 << 20, TMP_NAME = 24 };

struct blob_put {
    struct fs *fs;
    int fd;
    char name[TMP_NAME]; // in tmp/
    uint64_t size;
    uint64_t started; // bytes whose write-back was started
    bool broken;      // a write failed: only to be aborted
};

struct blob_reader {
    int fd;
    uint64_t size;
};

DEFINE_CLEANUP(DIR *, dir, closedir)
#define _cleanup_dir_ _cleanup_(cleanup_dir)

static void fs_close(void *state)
{
    struct fs *fs = state;
    if (!fs)
        return;
    if (fs->root >= 0)
        close(fs->root);
    if (fs->tmp >= 0)
        close(fs->tmp);
    free(fs);
}
DEFINE_CLEANUP(struct fs *, fs, fs_close)

// Makes one folder whose parent is there, and makes it durable.
static int make_folder(const char *path)
{
    if (mkdir(path, 0700) < 0)
        return errno == EEXIST ? 0 : -1;
    _cleanup_free_ char *parent = strdup(path);
    if (!parent)
        return -1;
    char *slash = strrchr(parent, '/');
    if (slash)
        slash[slash == parent] = 0;
    _cleanup_close_ int fd = open(slash ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -1 : 0;
}

static int make_folders(const char *location)
{
    _cleanup_free_ char *path = strdup(location);
    if (!path)
        return -1;
    for (char *p = path; *p; p++) {
        if (*p != '/' || p == path)
            continue;
        *p = 0;
        if (make_folder(path) < 0)
            return -1;
        *p = '/';
    }
    return make_folder(location);
}

static int sweep_tmp(int tmp)
{
    int fd = fcntl(tmp, F_DUPFD_CLOEXEC, 0);
    _cleanup_(cleanup_dir) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    for (const struct dirent *entry; errno = 0, (entry = readdir(dir));)
        if (entry->d_name[0] != '.' && unlinkat(tmp, entry->d_name, 0) < 0)
            return -1;
    return errno ? -1 : 0;
}

static int fs_open(const char *location, void **state, struct error *err)
{
    _cleanup_(cleanup_fs) struct fs *fs = calloc(1, sizeof *fs);
    if (!fs)
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    fs->root = fs->tmp = -1;
    if (!*location || make_folders(location) < 0)
        return error_errno(err, ERR_IO, *location ? errno : EINVAL, "The folder \"%s\" cannot be made", location);
    fs->root = open(location, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fs->root < 0)
        return error_errno(err, ERR_IO, errno, "The folder \"%s\" cannot be opened", location);
    if (mkdirat(fs->root, FS_TMP, 0700) < 0 && errno != EEXIST)
        return error_errno(err, ERR_IO, errno, "The folder \"%s/" FS_TMP "\" cannot be made", location);
    fs->tmp = openat(fs->root, FS_TMP, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fs->tmp < 0 || sweep_tmp(fs->tmp) < 0)
        return error_errno(err, ERR_IO, errno, "The folder \"%s/" FS_TMP "\" cannot be cleared", location);
    *state = take_ptr(fs);
    return 0;
}

static int fs_free_space(void *state, uint64_t *out, struct error *err)
{
    const struct fs *fs = state;
    struct statvfs info;
    if (fstatvfs(fs->root, &info) < 0)
        return error_errno(err, ERR_IO, errno, "The free space cannot be found out");
    *out = (uint64_t)info.f_bavail * info.f_frsize;
    return 0;
}

static void fs_put_abort(struct blob_put *put)
{
    if (!put)
        return;
    if (put->name[0])
        unlinkat(put->fs->tmp, put->name, 0);
    if (put->fd >= 0)
        close(put->fd);
    free(put);
}
DEFINE_CLEANUP(struct blob_put *, put, fs_put_abort)

static int fs_put_begin(void *state, uint64_t expected, struct blob_put **out, struct error *err)
{
    struct fs *fs = state;
    uint64_t room = 0;
    if (expected && fs_free_space(fs, &room, err) < 0)
        return -1;
    if (expected && expected > room)
        return error_set(err, ERR_DISK_FULL, "%" PRIu64 " bytes do not fit: %" PRIu64 " are free", expected, room);
    _cleanup_(cleanup_put) struct blob_put *put = calloc(1, sizeof *put);
    if (!put)
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    put->fs = fs;
    char name[TMP_NAME];
    snprintf(name, sizeof name, "%" PRIu64, atomic_fetch_add(&fs->next_name, 1));
    put->fd = openat(fs->tmp, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (put->fd < 0)
        return error_errno(err, ERR_IO, errno, "A temporary file cannot be made");
    memcpy(put->name, name, sizeof name);
    *out = take_ptr(put);
    return 0;
}

static int fs_put_write(struct blob_put *put, const void *data, size_t len, struct error *err)
{
    for (const char *p = data, *end = p + len; p < end && !put->broken;) {
        ssize_t n = write(put->fd, p, (size_t)(end - p));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            put->broken = true;
            return error_errno(err, ERR_IO, errno, "A blob cannot be written");
        }
        p += n;
        put->size += (uint64_t)n;
    }
    if (put->broken)
        return error_set(err, ERR_IO, "A blob cannot be written: an earlier write of it failed");
    if (put->size - put->started >= WRITE_BACK_BYTES) { // only a hint: its failure shows at the commit
        sync_file_range(put->fd, (off_t)put->started, (off_t)(put->size - put->started), SYNC_FILE_RANGE_WRITE);
        put->started = put->size;
    }
    return 0;
}

// A rename that meets a folder where the file should be, or a file where a folder should be.
static enum error_code place_code(int saved)
{
    return saved == EISDIR || saved == ENOTDIR || saved == EEXIST || saved == ENOTEMPTY ? ERR_CONFLICT : ERR_IO;
}

static int fs_put_commit(struct blob_put *ended, const char *key, struct error *err)
{
    _cleanup_(cleanup_put) struct blob_put *put = ended;
    const char *leaf;
    if (put->broken)
        return error_set(err, ERR_IO, "A blob cannot be stored: a write of it failed");
    if (fs_key_check(key, err) < 0)
        return -1;
    _cleanup_close_ int folder = fs_open_folder(put->fs, key, true, &leaf);
    if (folder < 0)
        return error_errno(err, place_code(errno), errno, "The folder of \"%s\" cannot be made", key);
    if (fsync(put->fd) < 0)
        return error_errno(err, ERR_IO, errno, "\"%s\" cannot be made durable", key);
    bool replaces = faccessat(folder, leaf, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    if (renameat(put->fs->tmp, put->name, folder, leaf) < 0)
        return error_errno(err, place_code(errno), errno, "\"%s\" cannot be put in its place", key);
    put->name[0] = 0;
    if (fsync(folder) < 0) {
        int saved = errno;
        if (!replaces) // what was there before is gone; then the new bytes are better than none
            unlinkat(folder, leaf, 0);
        return error_errno(err, ERR_IO, saved, "The name \"%s\" cannot be made durable", key);
    }
    return 0;
}

static bool means_absent(int saved)
{
    return saved == ENOENT || saved == ENOTDIR || saved == ELOOP;
}

static int absent(const char *key, struct error *err)
{
    return error_set(err, ERR_NOT_FOUND, "There is no blob \"%s\"", key);
}

// Opens the folder of `key` for a reader, with the errors that readers give.
static int find_folder(struct fs *fs, const char *key, const char **leaf, struct error *err)
{
    if (fs_key_check(key, err) < 0)
        return -1;
    int folder = fs_open_folder(fs, key, false, leaf);
    if (folder >= 0)
        return folder;
    return means_absent(errno) ? absent(key, err) : error_errno(err, ERR_IO, errno, "\"%s\" cannot be reached", key);
}

static struct blob_info info_of(const struct stat *st)
{
    return (struct blob_info){.size = (uint64_t)st->st_size,
                              .modified_ms = (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000};
}

static int fs_head(void *state, const char *key, struct blob_info *out, struct error *err)
{
    const char *leaf;
    struct stat st;
    _cleanup_close_ int folder = find_folder(state, key, &leaf, err);
    if (folder < 0)
        return -1;
    if (fstatat(folder, leaf, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return means_absent(errno) ? absent(key, err)
                                   : error_errno(err, ERR_IO, errno, "\"%s\" cannot be looked at", key);
    if (!S_ISREG(st.st_mode))
        return absent(key, err);
    *out = info_of(&st);
    return 0;
}

static int fs_open_read(void *state, const char *key, struct blob_reader **out, struct error *err)
{
    const char *leaf;
    struct stat st;
    _cleanup_close_ int folder = find_folder(state, key, &leaf, err);
    if (folder < 0)
        return -1;
    _cleanup_close_ int fd = openat(folder, leaf, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return means_absent(errno) ? absent(key, err) : error_errno(err, ERR_IO, errno, "\"%s\" cannot be opened", key);
    if (!S_ISREG(st.st_mode))
        return absent(key, err);
    struct blob_reader *reader = malloc(sizeof *reader);
    if (!reader)
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    *reader = (struct blob_reader){.fd = take_fd(fd), .size = (uint64_t)st.st_size};
    *out = reader;
    return 0;
}

static uint64_t fs_reader_size(const struct blob_reader *reader)
{
    return reader->size;
}

static int fs_read(struct blob_reader *reader, uint64_t offset, void *buf, size_t len, struct error *err)
{
    if (offset > reader->size || len > reader->size - offset)
        return error_set(err, ERR_RANGE, "Bytes %" PRIu64 " to %" PRIu64 " of a blob of %" PRIu64 " were asked for",
                         offset, offset + len, reader->size);
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(reader->fd, (char *)buf + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(err, ERR_IO, errno, "A blob cannot be read");
        if (n == 0)
            return error_set(err, ERR_DATA_CORRUPT, "A blob became shorter while it was read");
        done += (size_t)n;
    }
    return 0;
}

static int fs_reader_fd(const struct blob_reader *reader)
{
    return reader->fd;
}

static void fs_reader_close(struct blob_reader *reader)
{
    if (!reader)
        return;
    close(reader->fd);
    free(reader);
}

// The folder is synced also when the file is not there: whoever removed it may have died before that.
static int fs_remove(void *state, const char *key, struct error *err)
{
    const char *leaf;
    struct stat st;
    if (fs_key_check(key, err) < 0)
        return -1;
    _cleanup_close_ int folder = fs_open_folder(state, key, false, &leaf);
    if (folder < 0)
        return means_absent(errno) ? 0 : error_errno(err, ERR_IO, errno, "\"%s\" cannot be reached", key);
    bool is_folder = fstatat(folder, leaf, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
    if (is_folder)
        return 0;
    if (unlinkat(folder, leaf, 0) < 0 && errno != ENOENT)
        return error_errno(err, ERR_IO, errno, "\"%s\" cannot be removed", key);
    return fsync(folder) < 0 ? error_errno(err, ERR_IO, errno, "The removal of \"%s\" cannot be made durable", key) : 0;
}

const struct blob_ops blob_fs = {
    .name = "fs",
    .open = fs_open,
    .close = fs_close,
    .put_begin = fs_put_begin,
    .put_write = fs_put_write,
    .put_commit = fs_put_commit,
    .put_abort = fs_put_abort,
    .head = fs_head,
    .open_read = fs_open_read,
    .reader_size = fs_reader_size,
    .read = fs_read,
    .reader_fd = fs_reader_fd,
    .reader_close = fs_reader_close,
    .remove = fs_remove,
    .list = fs_list,
    .free_space = fs_free_space,
};
