// SPDX-License-Identifier: Apache-2.0
// Names of tenants, and the short ones that collections carry.
#ifndef DEEPLENS_BACKENDS_META_SLUG_H
#define DEEPLENS_BACKENDS_META_SLUG_H

#include <stdbool.h>

#include "base/error.h"
#include "base/hash.h"

enum { TENANT_NAME_MAX = 63, SLUG_MAX = TENANT_NAME_MAX + HASH_HEX };

int tenant_name_check(const char *name, struct error *err); // ERR_INVALID_TENANT

// The short name to try as number `attempt` (0 …): lower case without all but letters and digits, then with ever more
// of the name's hash. False when there are no more.
bool slug_candidate(const char *name, int attempt, char slug[SLUG_MAX]);

#endif
