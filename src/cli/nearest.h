// SPDX-License-Identifier: Apache-2.0
// The nearest name, for what was mistyped.
#ifndef DEEPLENS_CLI_NEAREST_H
#define DEEPLENS_CLI_NEAREST_H

// The name in `names` (ends with NULL) that is nearest to `word`, or NULL when none is near.
const char *nearest_name(const char *word, const char *const *names);

#endif
