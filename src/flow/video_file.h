// SPDX-License-Identifier: Apache-2.0
// A video's original as a descriptor, which is all that its decoder gets.
#ifndef DEEPLENS_FLOW_VIDEO_FILE_H
#define DEEPLENS_FLOW_VIDEO_FILE_H

#include "flow/flow.h"

// The caller's. From a store elsewhere the bytes are copied to a file without a name first, which ends when the server
// stops (ERR_DRAINING, an outage) or, if `until_us` is not 0, at that time (clock_mono_us): ERR_DECODER_TIMEOUT.
// Blocks.
int video_file_open(struct flow *f, const char *key, int64_t until_us, int *out, struct error *err);
// A file without a name, for bytes that are to be decoded.
int video_file_new(int *out, struct error *err);
int video_file_write(int fd, const void *data, size_t len, struct error *err);

// What a step says that ends because the server stops: no attempt is spent. Returns -1.
int video_stopped(struct error *err);

#endif
