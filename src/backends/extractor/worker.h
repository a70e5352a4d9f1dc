// SPDX-License-Identifier: Apache-2.0
// A worker, seen from the process that starts it: one model in a process of its own, which may crash without taking
// anything with it. What is in flight then is tried once more, alone in a fresh worker: only what kills that one, too,
// fails.
//
// Threads: worker_run may be called at once for different streams.
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_WORKER_H
#define DEEPLENS_BACKENDS_EXTRACTOR_WORKER_H

#include "backends/extractor/net.h"

struct worker;

// Starts a worker for the model, from the program at `program` ("/proc/self/exe"), without waiting until it is ready.
int worker_start(const struct model_spec *spec, const struct net_config *config, const char *program,
                 struct worker **out, struct error *err);
// Waits until the model is loaded, or could not be: net_open's errors.
int worker_ready(struct worker *w, struct error *err);
void worker_stop(struct worker *w); // no call may be running; takes NULL

size_t worker_dimension(const struct worker *w); // once ready

uint8_t *worker_pictures(struct worker *w, int stream);    // room for a batch of fitted pictures
const float *worker_vectors(struct worker *w, int stream); // what worker_run left there

// Runs what is in the stream's room. ERR_EXTRACTION_FAILED, also when the worker died of it; ERR_EXTRACTION_TIMEOUT
// after a minute, when the worker is replaced.
int worker_run(struct worker *w, int stream, size_t count, struct error *err);

int worker_pid(struct worker *w); // for tests; 0 when there is none at the moment

#endif
