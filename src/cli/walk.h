// SPDX-License-Identifier: Apache-2.0
// Finds the files to upload: files as they are named; folders with what is in them, without hidden files and without
// what does not look like an image by its extension. In a fixed order. Links to files are followed, links to folders
// inside a folder are not.
#ifndef DEEPLENS_CLI_WALK_H
#define DEEPLENS_CLI_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

enum { WALK_MAX = 10000000 }; // files

struct walk_file {
    const char *path;   // to open it, and to show
    const char *root;   // the folder (absolute, without links) that it was found in
    const char *inside; // its path inside `root`
    uint64_t size;
    const char *problem; // why it cannot be read; NULL: nothing known
};

struct walk {
    struct walk_file *files;
    size_t count, cap;
    uint64_t bytes;
    uint64_t hidden;   // files and folders passed over
    uint64_t no_image; // files passed over
    struct arena arena;
};

// Adds a file or a folder. What cannot be read becomes an entry with its `problem`. -1 only above WALK_MAX.
int walk_add(struct walk *w, const char *path, struct error *err);
void walk_free(struct walk *w);

bool walk_is_media_name(const char *name); // .jpg .png .mp4 … in any case

#endif
