// SPDX-License-Identifier: Apache-2.0
// Finding OpenVINO at run time: see openvino_api.h.
#include "backends/extractor/openvino_api.h"

#include <dlfcn.h>
#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

static void *open_library(const char *dir)
{
    _cleanup_free_ char *pattern = NULL;
    glob_t found = {0};
    void *library = NULL;
    if (*dir && asprintf(&pattern, "%s/libopenvino_c.so*", dir) >= 0 && glob(pattern, 0, NULL, &found) == 0 &&
        found.gl_pathc > 0)
        library = dlopen(found.gl_pathv[found.gl_pathc - 1], RTLD_NOW | RTLD_LOCAL);
    globfree(&found);
    return library ? library : dlopen("libopenvino_c.so", RTLD_NOW | RTLD_LOCAL);
}

// The name of the first function that the library lacks; NULL when it has all.
static const char *find_functions(void *library, struct ov_api *api)
{
    const char *missing = NULL;
#define OV_FIND(type, name, parameters)                                                                                \
    api->name = (type(*) parameters)dlsym(library, "ov_" #name);                                                       \
    if (!api->name && !missing)                                                                                        \
        missing = "ov_" #name;
    OV_FUNCTIONS(OV_FIND)
#undef OV_FIND
    return missing;
}

int ov_load(const char *dir, const struct ov_api **out, struct error *err)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct ov_api api;
    static void *library;
    int rc = 0;
    pthread_mutex_lock(&lock);
    if (!library) {
        void *opened = open_library(dir);
        const char *missing = opened ? find_functions(opened, &api) : NULL;
        if (!opened)
            rc = error_set(
                err, ERR_UNAVAILABLE,
                "OpenVINO, which runs models, is not there (looked in %.150s and where the system's libraries "
                "are); `make models` gets it",
                *dir ? dir : "no folder");
        else if (missing)
            rc = error_set(err, ERR_UNAVAILABLE,
                           "The OpenVINO that is there has no %s; `make models` gets one that fits", missing);
        if (opened && rc < 0)
            dlclose(opened);
        else
            library = opened;
    }
    if (rc == 0)
        *out = &api;
    pthread_mutex_unlock(&lock);
    return rc;
}
