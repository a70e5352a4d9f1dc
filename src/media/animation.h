// SPDX-License-Identifier: Apache-2.0
// Animated WebP: pictures of one size, one after the other, for ever.
#ifndef DEEPLENS_MEDIA_ANIMATION_H
#define DEEPLENS_MEDIA_ANIMATION_H

#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/pixels.h"

struct animation; // one that is being made; belongs to one thread at a time

int animation_begin(int width, int height, int quality, struct animation **out, struct error *err);
// The picture that is shown from `at_ms` on (the first: 0). One of another size is brought to the animation's.
int animation_add(struct animation *a, const struct pixels *px, int64_t at_ms, struct error *err);
// The last one is shown until `end_ms`. Appends the file to `out`.
int animation_end(struct animation *a, int64_t end_ms, struct buf *out, struct error *err);
void animation_free(struct animation *a); // takes NULL

#endif
