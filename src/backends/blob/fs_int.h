// SPDX-License-Identifier: Apache-2.0
// What the files of the file system's blob back end share.
#ifndef DEEPLENS_BACKENDS_BLOB_FS_INT_H
#define DEEPLENS_BACKENDS_BLOB_FS_INT_H

#include <limits.h>
#include <stdatomic.h>

#include "base/cleanup.h"
#include "ports/blob.h"

enum { KEY_MAX = BLOB_KEY_MAX, DURABLE_SLOTS = 4096 };

#define FS_TMP "tmp" // under the root; no key may start with it

struct fs {
    int root;
    int tmp;
    _Atomic uint64_t next_name; // of temporary files
    // Folders whose own entry in their parent is known to be durable, by the hash of their path. A slot that is
    // taken over by another folder costs one fsync more, never one less.
    _Atomic uint64_t durable[DURABLE_SLOTS];
};

int fs_key_check(const char *key, struct error *err);

// Opens the folder that holds `key` and points `leaf` at the key's last part. Returns the descriptor, or -1 with
// errno set; symbolic links are not followed. With `make`, missing folders are made, and all of them are durable
// when it returns.
int fs_open_folder(struct fs *fs, const char *key, bool make, const char **leaf);

int fs_list(void *state, const char *prefix, int (*each)(void *arg, const char *key, const struct blob_info *info),
            void *arg, struct error *err);

#endif
