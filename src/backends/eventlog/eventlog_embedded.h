// SPDX-License-Identifier: Apache-2.0
// The event log inside the SQLite metadata store: give `open` the opened `meta_sqlite` itself, not a wrapper of it.
// One log at a time may be open on a store, and is closed before it. `location` is not used.
#ifndef DEEPLENS_BACKENDS_EVENTLOG_EMBEDDED_H
#define DEEPLENS_BACKENDS_EVENTLOG_EMBEDDED_H

#include "ports/eventlog.h"

extern const struct elog_ops elog_embedded;

#endif
