// SPDX-License-Identifier: Apache-2.0
// Files of videos for their decoders: see video_file.h.
#include "flow/video_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

enum { PIECE = 1 << 20 };

int video_file_new(int *out, struct error *err)
{
    const char *folder = getenv("TMPDIR");
    int fd = open(folder && *folder ? folder : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(err, ERR_IO, errno, "No file for a video can be made where it can be decoded");
    *out = fd;
    return 0;
}

int video_file_write(int fd, const void *data, size_t len, struct error *err)
{
    if (write(fd, data, len) != (ssize_t)len)
        return error_errno(err, ERR_IO, errno, "A video cannot be copied to where it can be decoded");
    return 0;
}

static int copy(struct flow *f, struct blob_reader *reader, int64_t until_us, int fd, struct error *err)
{
    uint64_t size = f->blob.ops->reader_size(reader);
    _cleanup_free_ char *piece = malloc(PIECE);
    if (!piece)
        return error_set(err, ERR_NO_MEMORY, "No memory to read a video");
    for (uint64_t at = 0; at < size; at += PIECE) {
        size_t len = size - at < PIECE ? (size_t)(size - at) : PIECE;
        if (f->stopping)
            return video_stopped(err);
        if (until_us && clock_mono_us() > until_us)
            return error_set(err, ERR_DECODER_TIMEOUT, "The video could not be read in time");
        if (f->blob.ops->read(reader, at, piece, len, err) < 0 || video_file_write(fd, piece, len, err) < 0)
            return -1;
    }
    return 0;
}

static int copy_out(struct flow *f, struct blob_reader *reader, int64_t until_us, int *out, struct error *err)
{
    _cleanup_close_ int fd = -1;
    if (video_file_new(&fd, err) < 0 || copy(f, reader, until_us, fd, err) < 0)
        return -1;
    *out = take_fd(fd);
    return 0;
}

int video_file_open(struct flow *f, const char *key, int64_t until_us, int *out, struct error *err)
{
    struct blob_reader *reader;
    if (f->blob.ops->open_read(f->blob.state, key, &reader, err) < 0)
        return -1;
    int there = f->blob.ops->reader_fd(reader), rc = 0;
    if (there < 0) {
        rc = copy_out(f, reader, until_us, out, err);
    } else {
        int fd = fcntl(there, F_DUPFD_CLOEXEC, 0);
        if (fd >= 0)
            *out = fd;
        else
            rc = error_errno(err, ERR_IO, errno, "A video cannot be opened");
    }
    f->blob.ops->reader_close(reader);
    return rc;
}

int video_stopped(struct error *err)
{
    error_set(err, ERR_DRAINING, "The server stops; the video is gone on with when it runs again");
    if (err)
        err->outage = true;
    return -1;
}
