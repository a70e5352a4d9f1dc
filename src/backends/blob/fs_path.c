// SPDX-License-Identifier: Apache-2.0
// From keys to folders. A key is walked from the root's descriptor, without following symbolic links, so that nothing
// outside of the root can be reached, whatever somebody planted inside: by the kernel in one call (openat2) where
// it can and nothing is to be made, else part by part.
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "backends/blob/fs_int.h"
#include "base/hash.h"

int fs_key_check(const char *key, struct error *err)
{
    bool reserved =
        strncmp(key, FS_TMP, sizeof FS_TMP - 1) == 0 && (!key[sizeof FS_TMP - 1] || key[sizeof FS_TMP - 1] == '/');
    if (blob_key_valid(key) && !reserved)
        return 0;
    return error_set(err, ERR_INVALID, "\"%.64s\" cannot be the key of a blob", key);
}

static int open_part(int parent, const char *name)
{
    return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

// Makes the entry `name` in `parent` durable unless it is known to be. `path` is the folder's path from the root.
static int settle(struct fs *fs, int parent, const char *path, size_t len)
{
    uint64_t hash = hash64(path, len);
    _Atomic uint64_t *slot = &fs->durable[hash % DURABLE_SLOTS];
    if (atomic_load(slot) == hash)
        return 0;
    if (fsync(parent) < 0)
        return -1;
    atomic_store(slot, hash);
    return 0;
}

// Whether the entries of all folders on the way to the key's leaf are known to be durable.
static bool is_settled(struct fs *fs, const char *key)
{
    for (const char *slash = strchr(key, '/'); slash; slash = strchr(slash + 1, '/')) {
        uint64_t hash = hash64(key, (size_t)(slash - key));
        if (atomic_load(&fs->durable[hash % DURABLE_SLOTS]) != hash)
            return false;
    }
    return true;
}

// The whole way in one call. -1 where that is not possible: the way part by part then says why.
static int open_at_once(struct fs *fs, const char *key, size_t len)
{
    char path[KEY_MAX + 1];
    struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    memcpy(path, key, len);
    path[len] = 0;
    return (int)syscall(SYS_openat2, fs->root, path, &how, sizeof how);
}

static int open_part_by_part(struct fs *fs, const char *key, bool make, const char **leaf)
{
    char name[NAME_MAX + 1];
    _cleanup_close_ int folder = fcntl(fs->root, F_DUPFD_CLOEXEC, 0);
    const char *part = key;
    for (const char *slash; folder >= 0 && (slash = strchr(part, '/')); part = slash + 1) {
        size_t len = (size_t)(slash - part);
        memcpy(name, part, len);
        name[len] = 0;
        int next = open_part(folder, name);
        if (next < 0 && errno == ENOENT && make && (mkdirat(folder, name, 0700) == 0 || errno == EEXIST))
            next = open_part(folder, name);
        if (next >= 0 && make && settle(fs, folder, key, (size_t)(slash - key)) < 0) {
            int saved = errno;
            close(next);
            errno = saved;
            next = -1;
        }
        if (next < 0)
            return -1;
        close(folder);
        folder = next;
    }
    *leaf = part;
    return take_fd(folder);
}

int fs_open_folder(struct fs *fs, const char *key, bool make, const char **leaf)
{
    const char *slash = strrchr(key, '/');
    if (slash && (!make || is_settled(fs, key))) {
        int folder = open_at_once(fs, key, (size_t)(slash - key));
        if (folder >= 0) {
            *leaf = slash + 1;
            return folder;
        }
    }
    return open_part_by_part(fs, key, make, leaf);
}
