// SPDX-License-Identifier: Apache-2.0
// The failing wrapper: each function asks the plan before and after the call that it forwards.
#include "backends/fault.h"

#include <stdint.h>
#include <stdlib.h>

#include "backends/fault_int.h"
#include "backends/wrap.h"

// An asynchronous transaction fails as others do, through `done`: before the work, by a function that fails in
// the place of the caller's; after it, by telling `done` so.
static int fail_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    return fault_report("meta.write_async", (enum error_code)(intptr_t)arg, err);
}

struct async_end {
    struct fault_hits hits;
    meta_done_fn *done;
    void *arg;
};

static void end_async(void *arg, const struct error *err)
{
    struct async_end *end = arg;
    struct error injected = {0};
    if (!err) {
        enum error_code code = fault_after(&end->hits);
        if (code) {
            fault_report("meta.write_async", code, &injected);
            err = &injected;
        }
    }
    end->done(end->arg, err);
    free(end);
}

static void forward_async(const struct fault_hits *hits, void *state, enum meta_durability durability, meta_tx_fn *fn,
                          void *arg, meta_done_fn *done, void *done_arg)
{
    if (hits->before) {
        meta_inner->write_async(state, durability, fail_tx, (void *)(intptr_t)hits->before, done, done_arg);
        return;
    }
    struct async_end *end = malloc(sizeof *end);
    if (!end)
        abort();
    *end = (struct async_end){*hits, done, done_arg};
    meta_inner->write_async(state, durability, fn, arg, end_async, end);
}

// The names that end in _ stand among the parameters of any call.
#define FAILING(port, call, params, arguments, instead)                                                                \
    static int fault_##port##_##call params                                                                            \
    {                                                                                                                  \
        struct fault_hits due_ = fault_count(#port "." #call);                                                         \
        if (due_.before) {                                                                                             \
            instead;                                                                                                   \
            return fault_report(#port "." #call, due_.before, err);                                                    \
        }                                                                                                              \
        int rc_ = port##_inner->call arguments;                                                                        \
        enum error_code code_ = rc_ == 0 ? fault_after(&due_) : ERR_NONE;                                              \
        return code_ ? fault_report(#port "." #call, code_, err) : rc_;                                                \
    }
#define CALL(port, call, params, arguments, ...) FAILING(port, call, params, arguments, (void)0)
#define ENDS(port, call, params, arguments, ...) FAILING(port, call, params, arguments, port##_inner->put_abort(put))
#define VOID(port, call, params, arguments, ...)                                                                       \
    static void fault_##port##_##call params                                                                           \
    {                                                                                                                  \
        struct fault_hits due_ = fault_count(#port "." #call);                                                         \
        port##_inner->call arguments;                                                                                  \
        fault_after(&due_);                                                                                            \
    }
#define ASYNC(port, call, params, arguments, ...)                                                                      \
    static void fault_##port##_##call params                                                                           \
    {                                                                                                                  \
        struct fault_hits due_ = fault_count(#port "." #call);                                                         \
        forward_async(&due_, state, durability, fn, arg, done, done_arg);                                              \
    }
#include "backends/calls/all.def"
#undef CALL
#undef ENDS
#undef VOID
#undef ASYNC

#define CALL(port, call, ...) WRAP_CALL(port, call, fault_##port##_##call)
#define ENDS CALL
#define VOID CALL
#define ASYNC CALL

struct blob fault_wrap_blob(struct blob inner)
{
    WRAP_BEGIN(blob, fault_plans_port("blob"))
#include "backends/calls/blob.def"
    WRAP_END(blob)
}

struct eventlog fault_wrap_eventlog(struct eventlog inner)
{
    WRAP_BEGIN(eventlog, fault_plans_port("eventlog"))
#include "backends/calls/eventlog.def"
    WRAP_END(eventlog)
}

struct extractor fault_wrap_extractor(struct extractor inner)
{
    WRAP_BEGIN(extractor, fault_plans_port("extractor"))
#include "backends/calls/extractor.def"
    WRAP_END(extractor)
}

struct index fault_wrap_index(struct index inner)
{
    WRAP_BEGIN(index, fault_plans_port("index"))
#include "backends/calls/index.def"
    WRAP_END(index)
}

struct meta fault_wrap_meta(struct meta inner)
{
    WRAP_BEGIN(meta, fault_plans_port("meta"))
#include "backends/calls/meta.def"
    WRAP_END(meta)
}
