// SPDX-License-Identifier: Apache-2.0
// Cleanup attributes: one exit path without goto ladders.
//
//   _cleanup_free_ char *name = strdup(x);      freed when it leaves scope
//   return take_ptr(name);                      ownership handed to the caller
#ifndef DEEPLENS_BASE_CLEANUP_H
#define DEEPLENS_BASE_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))

static inline void cleanup_free(void *slot)
{
    free(*(void **)slot);
}

static inline void cleanup_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

#define _cleanup_free_ _cleanup_(cleanup_free)
#define _cleanup_close_ _cleanup_(cleanup_close)

// Declares `cleanup_NAME_p`, which destroys `*slot` with `fn` when it is not NULL.
#define DEFINE_CLEANUP(type, name, fn)                                                                                 \
    static inline void cleanup_##name(type *slot)                                                                      \
    {                                                                                                                  \
        if (*slot)                                                                                                     \
            fn(*slot);                                                                                                 \
    }

// Takes the value out of `var`, leaving NULL (or -1) there so that its cleanup does nothing.
#define take_ptr(var)                                                                                                  \
    __extension__({                                                                                                    \
        __typeof__(var) taken_ = (var);                                                                                \
        (var) = NULL;                                                                                                  \
        taken_;                                                                                                        \
    })
#define take_fd(var)                                                                                                   \
    __extension__({                                                                                                    \
        int taken_ = (var);                                                                                            \
        (var) = -1;                                                                                                    \
        taken_;                                                                                                        \
    })

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
