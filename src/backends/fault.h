// SPDX-License-Identifier: Apache-2.0
// A wrapper around any back end that fails chosen calls, for tests (the option `fault`).
//
// A plan is a list of rules, joined by commas: PORT.FUNCTION:[after:]ACTION[@WHEN]
//   blob.put_commit:IO_ERROR@3      the third call fails with that code and does not reach the back end
//   blob.put_commit:IO_ERROR@3+     … from the third on
//   index.upsert:UNAVAILABLE@%5     … each fifth
//   meta.write:IO_ERROR             … all
//   extractor.extract:abort@2       the process aborts
//   blob.put_commit:after:kill@1    the call is made, then the process gets SIGKILL before it can be told
//   index.search:sleep=200@1+       200 ms pass before the call is made
//   blob.put_commit:after:IO_ERROR  the call is made, and its success is reported as a failure; not for calls that
//                                   hand something over (put_begin, open_read, subscribe, poll), which would be lost
// Each rule counts the calls of its function by itself, over all threads. A call inside a meta transaction that
// fails makes the transaction fail, as its function returns the error.
//
// Wrapping happens at the start, before other threads run; one back end a port is wrapped at a time.
#ifndef DEEPLENS_BACKENDS_FAULT_H
#define DEEPLENS_BACKENDS_FAULT_H

#include "ports/blob.h"
#include "ports/eventlog.h"
#include "ports/extractor.h"
#include "ports/index.h"
#include "ports/meta.h"

enum { FAULT_RULES_MAX = 32 };

// Replaces the plan, with all counters at zero; "" or NULL for none. ERR_CONFIG says which rule is wrong and why;
// then the old plan stays. No wrapped back end may be in use meanwhile.
int fault_setup(const char *plan, struct error *err);

// Give the opened back end back as it is unless a rule of the plan is about its port.
struct blob fault_wrap_blob(struct blob inner);
struct eventlog fault_wrap_eventlog(struct eventlog inner);
struct extractor fault_wrap_extractor(struct extractor inner);
struct index fault_wrap_index(struct index inner);
struct meta fault_wrap_meta(struct meta inner);

#endif
