// SPDX-License-Identifier: Apache-2.0
// The metadata store in PostgreSQL 14 or later. `location` is lines "name=value":
//   conninfo    what libpq connects by: "host=… dbname=… user=…" or a postgresql:// URL; needed. Without a word on
//               target_session_attrs, a server that takes writes is looked for among the hosts
//   schema      where the tables are, made when missing; "deeplens"
//   pool        connections, one of which writes; 2 to 64; 8
//   timeout_ms  after which a connection, a statement, or the wait for a free connection is given up; 10000
//   exclusive   1: one process at a time may write, and opening waits so long for the one before; 0
#ifndef DEEPLENS_BACKENDS_META_POSTGRES_H
#define DEEPLENS_BACKENDS_META_POSTGRES_H

#include "ports/meta.h"

extern const struct meta_ops meta_postgres;

#endif
