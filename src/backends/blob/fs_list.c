// SPDX-License-Identifier: Apache-2.0
// Listing in byte order of whole keys, with bounded memory.
//
// Within a folder, a sub-folder sorts as its name with '/' behind it: that is what its keys go on with, so
// "a-b" comes before "a/x" and "a0" after it. A folder may hold more names than should be held in memory: each pass
// over it keeps the BATCH smallest names behind the last one that was done, so that a folder of n names takes
// about n / BATCH passes. Names are read before they are handed out: `each` may remove what it is shown.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/blob/fs_int.h"

enum { BATCH = 32768 };

struct names {
    char **list; // file names; those of folders end with '/'
    size_t count, room;
    bool more; // there are names behind the last one
};

struct walk {
    struct fs *fs;
    const char *prefix;
    int (*each)(void *arg, const char *key, const struct blob_info *info);
    void *arg;
    struct error *err;
    char key[KEY_MAX + 2]; // with the slash of a folder
};

DEFINE_CLEANUP(DIR *, dir, closedir)

static void names_free(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->list[i]);
    free(names->list);
    *names = (struct names){0};
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// Sorts, and forgets all but the smallest BATCH.
static void names_cut(struct names *names)
{
    if (names->count > 1)
        qsort(names->list, names->count, sizeof *names->list, compare);
    names->more |= names->count > BATCH;
    while (names->count > BATCH)
        free(names->list[--names->count]);
}

static int names_add(struct names *names, const char *name)
{
    if (names->count == 2 * BATCH)
        names_cut(names);
    if (names->count == names->room) {
        size_t room = names->room ? names->room * 2 : 64;
        char **grown = realloc(names->list, room * sizeof *grown);
        if (!grown)
            return -1;
        names->list = grown;
        names->room = room;
    }
    char *copy = strdup(name);
    if (!copy)
        return -1;
    names->list[names->count++] = copy;
    return 0;
}

// Whether what is called `name` can lead to keys that start with the prefix, given the `used` bytes of the key
// in front of it.
static bool on_the_way(const struct walk *w, size_t used, const char *name)
{
    const char *rest = strlen(w->prefix) > used ? w->prefix + used : "";
    size_t len = strlen(name), want = strlen(rest);
    return strncmp(name, rest, len < want && name[len - 1] == '/' ? len : want) == 0;
}

// Fills `sortable` with the entry's name as it sorts; false when it is nothing of ours.
static bool entry_name(const struct walk *w, DIR *dir, const struct dirent *entry, size_t used,
                       char sortable[NAME_MAX + 2])
{
    size_t len = strlen(entry->d_name);
    if (!blob_part_valid(entry->d_name, len) || used + len > KEY_MAX || (!used && !strcmp(entry->d_name, FS_TMP)))
        return false;
    unsigned char type = entry->d_type;
    struct stat st;
    if (type == DT_UNKNOWN && fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        type = S_ISDIR(st.st_mode) ? DT_DIR : S_ISREG(st.st_mode) ? DT_REG : DT_UNKNOWN;
    if (type != DT_DIR && type != DT_REG)
        return false;
    snprintf(sortable, NAME_MAX + 2, "%s%s", entry->d_name, type == DT_DIR ? "/" : "");
    return on_the_way(w, used, sortable);
}

// Reads the smallest names behind `after` (NULL: all) of a folder. -1 with errno set.
static int read_batch(const struct walk *w, int folder, size_t used, const char *after, struct names *names)
{
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_(cleanup_dir) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    char name[NAME_MAX + 2];
    for (const struct dirent *entry; errno = 0, (entry = readdir(dir));) {
        if (!entry_name(w, dir, entry, used, name) || (after && strcmp(name, after) <= 0))
            continue;
        if (names_add(names, name) < 0) {
            errno = ENOMEM;
            return -1;
        }
    }
    if (errno)
        return -1;
    names_cut(names);
    return 0;
}

static int walk_folder(struct walk *w, int folder, size_t used);

// Hands out one name of a folder: a file, or everything below a sub-folder. What is gone by now is passed over.
static int walk_name(struct walk *w, int folder, size_t used, const char *name)
{
    size_t len = strlen(name);
    memcpy(w->key + used, name, len + 1);
    if (name[len - 1] == '/') {
        w->key[used + len - 1] = 0;
        _cleanup_close_ int next = openat(folder, w->key + used, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0)
            return errno == ENOENT ? 0 : error_errno(w->err, ERR_IO, errno, "The folder \"%s\" cannot be read", w->key);
        w->key[used + len - 1] = '/';
        return walk_folder(w, next, used + len);
    }
    struct stat st;
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : error_errno(w->err, ERR_IO, errno, "\"%s\" cannot be looked at", w->key);
    struct blob_info info = {(uint64_t)st.st_size, (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000};
    return w->each(w->arg, w->key, &info);
}

static int walk_folder(struct walk *w, int folder, size_t used)
{
    char after[NAME_MAX + 2] = "";
    for (bool more = true; more;) {
        _cleanup_(names_free) struct names names = {0};
        if (read_batch(w, folder, used, *after ? after : NULL, &names) < 0)
            return error_errno(w->err, errno == ENOMEM ? ERR_NO_MEMORY : ERR_IO, errno, "The blobs cannot be listed");
        for (size_t i = 0; i < names.count; i++) {
            int rc = walk_name(w, folder, used, names.list[i]);
            if (rc)
                return rc;
        }
        more = names.more;
        if (more)
            memcpy(after, names.list[names.count - 1], strlen(names.list[names.count - 1]) + 1);
    }
    return 0;
}

int fs_list(void *state, const char *prefix, int (*each)(void *arg, const char *key, const struct blob_info *info),
            void *arg, struct error *err)
{
    struct walk w = {.fs = state, .prefix = prefix, .each = each, .arg = arg, .err = err};
    return walk_folder(&w, w.fs->root, 0);
}
