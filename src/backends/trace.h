// SPDX-License-Identifier: Apache-2.0
// A wrapper around any back end that logs each call: its name, main arguments, result and microseconds.
//
// Wrapping happens at the start, before other threads run. One back end a port is wrapped at a time (the table behind
// it is remembered for the port, not for the state; handles and transactions pass through unchanged).
#ifndef DEEPLENS_BACKENDS_TRACE_H
#define DEEPLENS_BACKENDS_TRACE_H

#include "ports/blob.h"
#include "ports/eventlog.h"
#include "ports/extractor.h"
#include "ports/index.h"
#include "ports/meta.h"

// Chooses the ports to trace: "blob,index"; "" or NULL for none. ERR_CONFIG names a port that does not exist.
int trace_setup(const char *ports, struct error *err);

// Give the opened back end back as it is unless its port was chosen.
struct blob trace_wrap_blob(struct blob inner);
struct eventlog trace_wrap_eventlog(struct eventlog inner);
struct extractor trace_wrap_extractor(struct extractor inner);
struct index trace_wrap_index(struct index inner);
struct meta trace_wrap_meta(struct meta inner);

#endif
