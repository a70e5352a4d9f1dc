// SPDX-License-Identifier: Apache-2.0
// The metadata store in one SQLite file. `location` is the path of that file; its folder must exist.
#ifndef DEEPLENS_BACKENDS_META_SQLITE_H
#define DEEPLENS_BACKENDS_META_SQLITE_H

#include "ports/meta.h"

extern const struct meta_ops meta_sqlite;

#endif
