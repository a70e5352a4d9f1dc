// SPDX-License-Identifier: Apache-2.0
// The index port on a Qdrant server, by its REST interface (1.10 or later).
//
// The location is text, one "name=value" a line; what is not said has its default:
//
//   url           must be there: scheme, host and port, perhaps a path: "http://127.0.0.1:6333"
//   api_key       "": none is sent
//   ca_file       certificates that vouch for the server; the system's unless said
//   owner         who may keep vectors on this server: the same after a restart, and nobody else's
//   timeout_ms    after which a connection that moves nothing is torn, 10000
#ifndef DEEPLENS_BACKENDS_INDEX_INDEX_QDRANT_H
#define DEEPLENS_BACKENDS_INDEX_INDEX_QDRANT_H

#include "ports/index.h"

extern const struct index_ops index_qdrant;

#endif
