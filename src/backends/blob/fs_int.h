// SPDX-License-Identifier: Apache-2.0
// What the files of the file system's blob back end share.
#ifndef DEEPLENS_BACKENDS_BLOB_FS_INT_H
#define DEEPLENS_BACKENDS_BLOB_FS_INT_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/cleanup.h"
#include "ports/blob.h"

enum { KEY_MAX = 512, DURABLE_SLOTS = 4096, TMP_NAME = 24, FS_GROUP_MAX = 64 };

#define FS_TMP "tmp" // under the root; no key may start with it

struct fs_member; // a put that waits to be committed

struct fs_group { // of puts that are committed together: see fs_commit.c
    pthread_mutex_t lock;
    struct fs_member *head, **tail; // under lock: who waits for the next group
    bool led;                       // under lock: somebody commits a group, or was told to
    unsigned long aio;              // the leader's: the kernel's context for syncs at once; 0: there is none
};

struct fs {
    int root;
    int tmp;
    struct fs_group group;
    _Atomic uint64_t next_name; // of temporary files
    // Folders whose own entry in their parent is known to be durable, by the hash of their path. A slot that is
    // taken over by another folder costs one fsync more, never one less.
    _Atomic uint64_t durable[DURABLE_SLOTS];
};

struct blob_put {
    struct fs *fs;
    int fd;
    char name[TMP_NAME]; // in tmp/; "" once it has moved
    uint64_t size;
    uint64_t started; // bytes whose write-back was started
    bool broken;      // a write failed: only to be aborted
};

void fs_put_abort(struct blob_put *put); // takes NULL
DEFINE_CLEANUP(struct blob_put *, put, fs_put_abort)
#define _cleanup_put_ _cleanup_(cleanup_put)

void fs_group_init(struct fs_group *group);
void fs_group_free(struct fs_group *group);
int fs_put_commit(struct blob_put *put, const char *key, struct error *err);

// Whether `name` (len bytes) may be one part of a key.
bool fs_part_valid(const char *name, size_t len);
int fs_key_check(const char *key, struct error *err);

// Opens the folder that holds `key` and points `leaf` at the key's last part. Returns the descriptor, or -1 with
// errno set; symbolic links are not followed. With `make`, missing folders are made, and all of them are durable
// when it returns.
int fs_open_folder(struct fs *fs, const char *key, bool make, const char **leaf);

int fs_list(void *state, const char *prefix, int (*each)(void *arg, const char *key, const struct blob_info *info),
            void *arg, struct error *err);

#endif
