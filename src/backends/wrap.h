// SPDX-License-Identifier: Apache-2.0
// What the wrappers (trace.c, fault.c) do alike for each port. A wrapped table is a copy of the inner one in which the
// functions listed in calls/PORT.def are replaced, where the inner one has them; the state, handles and
// transactions stay the inner ones. So there is one inner table a port and wrapper in a process, remembered here.
#ifndef DEEPLENS_BACKENDS_WRAP_H
#define DEEPLENS_BACKENDS_WRAP_H

#include "ports/blob.h"
#include "ports/eventlog.h"
#include "ports/extractor.h"
#include "ports/index.h"
#include "ports/meta.h"

#define WRAPPED(port, ops_type)                                                                                        \
    static const struct ops_type *port##_inner;                                                                        \
    static struct ops_type port##_wrapped;
WRAPPED(blob, blob_ops)
WRAPPED(eventlog, elog_ops)
WRAPPED(extractor, extractor_ops)
WRAPPED(index, index_ops)
WRAPPED(meta, meta_ops)
#undef WRAPPED

// Begins the body of a wrap function. Wrapping the wrapper would make it call itself for ever.
#define WRAP_BEGIN(port, wanted)                                                                                       \
    if (!(wanted) || inner.ops == &port##_wrapped)                                                                     \
        return inner;                                                                                                  \
    port##_inner = inner.ops;                                                                                          \
    port##_wrapped = *inner.ops;
#define WRAP_CALL(port, call, function)                                                                                \
    if (port##_inner->call)                                                                                            \
        port##_wrapped.call = function;
#define WRAP_END(port) return (struct port){.ops = &port##_wrapped, .state = inner.state};

#endif
