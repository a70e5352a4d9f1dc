// SPDX-License-Identifier: Apache-2.0
// Port: blob, where the bytes of originals and thumbnails are kept.
//
// Keys are relative paths of 1 to 512 bytes, parts of 1 to 255 [A-Za-z0-9._-] joined by '/', no part "." or "..":
// "tenant-acme/images/2026/11/22/img_….jpg". The first part names the tenant (G7). Keys are made by flow/, never
// taken from a client; a back end refuses others with ERR_INVALID all the same. No key of flow/ begins with another one
// and a '/', as what is a file cannot be a folder: a back end may refuse such a one with ERR_CONFLICT (files do), or
// take it and list only one of the two (S3, where nobody looks before a put).
//
// Threads: every function may be called from any thread at once, except that one `blob_put` or `blob_reader`
// belongs to one thread at a time. All of them may block on I/O.
#ifndef DEEPLENS_PORTS_BLOB_H
#define DEEPLENS_PORTS_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { BLOB_KEY_MAX = 512, BLOB_PART_MAX = 255, BLOB_ADDRESS_MAX = 1024 };

bool blob_key_valid(const char *key);
bool blob_part_valid(const char *name, size_t len); // whether it may be one part of a key

struct blob_info {
    uint64_t size;
    int64_t modified_ms; // by this machine's clock; never earlier than it was
};

struct blob_put;    // a put in progress
struct blob_reader; // an open object; stays readable after the object is deleted or replaced (see open_read)

struct blob_presign {
    int64_t now_ms;
    int expires_s; // from now, 1 … BLOB_PRESIGN_MAX_S
    // What the store is to say in its answer; NULL: what it knows.
    const char *content_type, *disposition;
};
enum { BLOB_PRESIGN_MAX_S = 7 * 24 * 3600 };

struct blob_ops {
    const char *name;

    // `location` is what the configuration says (for files: the folder, made when missing). Removes what
    // unfinished puts of a killed process left behind. A store elsewhere that is away is no failure: then that is made
    // good as soon as it is back, before anything else.
    int (*open)(const char *location, void **state, struct error *err);
    void (*close)(void *state);

    // A put becomes visible only by its commit, whole. Nothing of it remains after abort, or after a kill
    // and the next open. `expected` is the size in bytes if known, else 0 (a hint: ERR_DISK_FULL early).
    int (*put_begin)(void *state, uint64_t expected, struct blob_put **out, struct error *err);
    int (*put_write)(struct blob_put *put, const void *data, size_t len, struct error *err);
    // On 0 the bytes are durable under `key` (replacing what was there in one step). Ends the put either way.
    int (*put_commit)(struct blob_put *put, const char *key, struct error *err);
    void (*put_abort)(struct blob_put *put); // takes NULL

    int (*head)(void *state, const char *key, struct blob_info *out, struct error *err); // ERR_NOT_FOUND

    // ERR_NOT_FOUND. A reader gives the bytes that were there when it was opened, or none. Files keep them until it is
    // closed. A store elsewhere cannot hold on to what was deleted or replaced: there a read behind the first 4 MiB may
    // fail with ERR_NOT_FOUND. Callers take that as they take an item that is gone.
    int (*open_read)(void *state, const char *key, struct blob_reader **out, struct error *err);
    uint64_t (*reader_size)(const struct blob_reader *reader);
    // Reads exactly `len` bytes at `offset`; reaching beyond the end is ERR_RANGE.
    int (*read)(struct blob_reader *reader, uint64_t offset, void *buf, size_t len, struct error *err);
    // A descriptor positioned anywhere, valid as long as the reader, for sendfile and mmap; -1 if there is none.
    int (*reader_fd)(const struct blob_reader *reader);
    void (*reader_close)(struct blob_reader *reader); // takes NULL

    int (*remove)(void *state, const char *key, struct error *err); // durable; 0 also when nothing was there

    // Calls `each` for every key that starts with `prefix` ("" for all), in byte order; a non-zero return
    // stops and is returned.
    int (*list)(void *state, const char *prefix, int (*each)(void *arg, const char *key, const struct blob_info *info),
                void *arg, struct error *err);

    // Where other programs find a blob, "s3://bucket/key", and the key of such an address, whatever name of the service
    // it begins with ("minio://…"); false when it is not in this store. Both NULL: others do not reach it.
    void (*address)(void *state, const char *key, char out[BLOB_ADDRESS_MAX]);
    bool (*key_of)(void *state, const char *address, char key[BLOB_KEY_MAX + 1]);

    // An address by which anybody may read a blob for a while, from the store itself; it is not asked, so nobody knows
    // whether the blob is there. malloc'ed; NULL: no memory. NULL itself: the store has none.
    char *(*presign)(void *state, const char *key, const struct blob_presign *what);

    // Bytes that may still be written, as far as known (UINT64_MAX when not).
    int (*free_space)(void *state, uint64_t *out, struct error *err);
};

struct blob { // an opened back end: what the rest of the program holds
    const struct blob_ops *ops;
    void *state;
};

// Files of another system that are only read (open_read and what readers need; the other functions are NULL). A path
// leads into it that is `prefix`, then, unless that ends in one, a '/', then the key: "minio://bucket/key".
struct blob_mount {
    const char *prefix;
    struct blob blob;
};

enum { BLOB_MOUNTS_MAX = 64 };

#endif
