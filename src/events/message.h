// SPDX-License-Identifier: Apache-2.0
// A message's bytes as a JSON object, and how large either may be.
#ifndef DEEPLENS_EVENTS_MESSAGE_H
#define DEEPLENS_EVENTS_MESSAGE_H

#include <jansson.h>
#include <stddef.h>

#include "base/error.h"

enum { MESSAGE_MAX = 16 << 20 };

// ERR_EVENT_INVALID when it is none, or holds so many values that the parsed form would be huge. Integers beyond 64
// bits, which only members unknown to us can have, make all of its integers reals.
json_t *message_parse(const char *text, size_t len, struct error *err);

#endif
