// SPDX-License-Identifier: Apache-2.0
// The registry: which back end fulfils which port, by the configuration. The only place that knows them all.
#ifndef DEEPLENS_BACKENDS_REGISTRY_H
#define DEEPLENS_BACKENDS_REGISTRY_H

#include <stdbool.h>

#include "conf/conf.h"
#include "ports/blob.h"
#include "ports/eventlog.h"
#include "ports/extractor.h"
#include "ports/index.h"
#include "ports/meta.h"

struct ports {
    struct meta meta;
    struct blob blob;
    struct eventlog log;
    struct index index;
    struct extractor extractor;
    struct blob_mount mounts[BLOB_MOUNTS_MAX]; // as storage.mounts says
    size_t mount_count;
};

// Opens all five, and the mounts, in `dir` (which exists and is locked by the caller), wrapped as `fault` and `trace`
// say. The struct must not move afterwards. On failure nothing stays open.
int registry_open(const struct conf *conf, const char *dir, struct ports *out, struct error *err);

// True when the event log is one that can be opened without the other ports.
bool registry_log_alone(const struct conf *conf);
// Opens that log and nothing else, wrapped likewise. ERR_CONFIG when it lives in the records.
int registry_open_log(const struct conf *conf, struct ports *out, struct error *err);

void registry_close(struct ports *ports); // takes a zeroed one

// Loads the model in a folder and runs it; with `bench` also measures how fast it is. ERR_CONFIG says what is wrong
// with it, ERR_UNAVAILABLE what is missing to run it.
int registry_try_model(const struct conf *conf, const char *folder, bool bench, struct extractor_trial *out,
                       struct error *err);

// The program that back ends start as `PROGRAM worker-extract` to run a model, which must call registry_worker then.
// Until it is set (by main, before threads start) there are no models but the built-in one.
void registry_set_worker(const char *program);

// What a process does that a back end started as a worker: returns 1 at once when nobody did.
int registry_worker(void);

#endif
