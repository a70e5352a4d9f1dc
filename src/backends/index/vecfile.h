// SPDX-License-Identifier: Apache-2.0
// The file of one collection: a header, then frames, only ever appended. All numbers little-endian.
//
//   header   "DLVECTOR" · version u32 · dimension u32 · 0 u32 ×3 · CRC-32C of the 28 bytes before
//   frame    "FRAM" · operations u32 · body length u64 · synced u64 · CRC-32C of all behind the frame's header u32
//            · CRC-32C of the 28 bytes before u32 · body · zeros up to a multiple of eight
//   body     operations: op u8 · id length u8 · terms u16 · id · [terms: path u64, value u64, kind u8] · [floats]
//
// A frame is a batch: it is applied whole, or not there. `synced` says up to where the file was known to be
// durable when the frame was written. That tells the two kinds of damage apart: a bad frame which a later one
// claims to have been durable is corruption, and nothing is touched; a bad frame without such a witness was
// being written when the machine stopped, and is cut off with all behind it, none of which was promised. So
// that the last durable frame has a witness too, a frame without operations (a mark) follows each flush.
#ifndef DEEPLENS_BACKENDS_INDEX_VECFILE_H
#define DEEPLENS_BACKENDS_INDEX_VECFILE_H

#include <stddef.h>
#include <stdint.h>

#include "backends/index/rows.h"
#include "base/buf.h"
#include "base/error.h"

enum {
    VECFILE_VERSION = 1,
    VECFILE_HEADER = 32,
    VECFILE_FRAME_HEADER = 32,
    VECFILE_BODY_MAX = 256 << 20,
};
#define VECFILE_SUFFIX ".vec"
#define VECFILE_TEMPORARY ".vec.new" // of a file that is not yet whole

struct vecfile {
    int fd;
    uint64_t length; // of what is written and whole
    uint64_t synced; // of what is known to be durable
    uint64_t clean;  // length after the last flush and its mark: nothing to flush when equal to length
};

// ---- Frames ----

#define FRAME_INIT BUF_INIT((size_t)VECFILE_BODY_MAX + VECFILE_FRAME_HEADER + 8)

uint64_t vecfile_record_size(size_t dimension, size_t id_len, size_t terms);

void frame_begin(struct buf *frame); // clears it
// A frame that has grown beyond its maximum is noticed by frame_seal.
void frame_upsert(struct buf *frame, const char *id, size_t id_len, const struct term *terms, size_t term_count,
                  const float *vector, size_t dimension);
void frame_remove(struct buf *frame, const char *id, size_t id_len);
int frame_seal(struct buf *frame, size_t operations, struct error *err); // ERR_INVALID when too large

// ---- Files ----

// Appends a sealed frame. On failure the file is cut back to its last good length.
int vecfile_append(struct vecfile *file, struct buf *frame, struct error *err);

// After the first `length` bytes were made durable: remembers it, and leaves the witness. That the witness may
// fail to be written does no harm.
void vecfile_mark(struct vecfile *file, uint64_t length);

// Writes what is alive in `rows` to a new file under its temporary name, durably. The caller names it then.
int vecfile_create(int dir, const char *collection, const struct rows *rows, struct vecfile *out, struct error *err);
int vecfile_rename(int dir, const char *collection, struct error *err); // from the temporary name; not yet durable
void vecfile_discard(int dir, const char *collection);                  // what is under the temporary name

// Opens a file and reads it to new rows. A torn tail is cut off; damage is ERR_DATA_CORRUPT.
int vecfile_load(int dir, const char *collection, struct vecfile *out, struct rows **rows, struct error *err);

#endif
