// SPDX-License-Identifier: Apache-2.0
// The life of a worker: a process that runs one model for the one that started it (worker.h), so that a model which
// crashes takes nothing else down.
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_WORKER_MAIN_H
#define DEEPLENS_BACKENDS_EXTRACTOR_WORKER_MAIN_H

// Serves until the control socket closes, and ends the process. Returns 1 when it was not started as a worker.
int worker_main(void);

#endif
