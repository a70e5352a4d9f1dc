// SPDX-License-Identifier: Apache-2.0
// Live photos and motion pictures: a still picture (JPEG, HEIC) whose file holds a short MP4 of the moment around it.
#ifndef DEEPLENS_MEDIA_MOTION_H
#define DEEPLENS_MEDIA_MOTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct motion { // where the video lies in the file
    size_t at, len;
};

// Phones put it behind a JPEG's end, or into a box of its own ("mpvd") of a HEIC. False: there is none.
bool motion_find(const uint8_t *data, size_t len, struct motion *out);

#endif
