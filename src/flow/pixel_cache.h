// SPDX-License-Identifier: Apache-2.0
// Decoded pictures on their way from prepare to extract, so that a picture is decoded once. Bounded in bytes; the
// oldest go first, and whoever misses one decodes again. Keys carry the tenant (G7). Any thread.
#ifndef DEEPLENS_FLOW_PIXEL_CACHE_H
#define DEEPLENS_FLOW_PIXEL_CACHE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/pixels.h"

struct pixel_cache;

struct pixel_cache *pixel_cache_new(size_t max_bytes);
void pixel_cache_free(struct pixel_cache *c); // takes NULL

// Takes `pixels` over (freed at once when they do not fit). They are kept until they were got `uses` times or pushed
// out.
void pixel_cache_put(struct pixel_cache *c, const char *tenant, const char *id, struct pixels *pixels, int uses);
// Gives a picture to the caller, who frees it: the cache's own at its last use, else a copy.
bool pixel_cache_get(struct pixel_cache *c, const char *tenant, const char *id, struct pixels *out);

#endif
