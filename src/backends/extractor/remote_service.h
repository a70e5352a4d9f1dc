// SPDX-License-Identifier: Apache-2.0
// A service that runs a model, and whose fault it is when it gives none of its vectors.
//
// The service is down (an outage: work waits, and spends no attempt) when it cannot be reached, says that it is
// overloaded, wants another key or knows no such model; and when it fails, tears or is silent and then does not say
// that it is well. When it says so, the picture is at fault. Pictures that were at work when the service broke down are
// under suspicion: each is sent with no other at work until its vector is there. The one with which the service breaks
// down twice more is the cause of it, and fails, so that it does not hold up all others for good.
//
// Extracting changes nothing there, so that a request may be made again. It is, up to three times, where the service
// has not begun with it: it could not be reached, or refused it for now.
//
// While the service is down, requests fail at once with what it was down for. After a second, and twice as long each
// time up to fifteen, the next request first asks whether it is well again.
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_REMOTE_SERVICE_H
#define DEEPLENS_BACKENDS_EXTRACTOR_REMOTE_SERVICE_H

#include "backends/extractor/remote_spec.h"

struct service_config { // strings are borrowed until service_new returns
    const char *token;  // "": none
    const char *ca_file;
    int64_t timeout_ms; // of a request whose description says none
};

struct service;

int service_new(const struct remote_spec *spec, const struct service_config *config, struct service **out,
                struct error *err);
void service_free(struct service *s); // nobody may be in it; takes NULL

// What a request is about: hashes of its pictures.
struct service_work {
    const uint64_t *pictures;
    size_t count;
};

// Makes up to REMOTE_BATCH_MAX requests at once; work[i] goes with calls[i]. 0 when all were answered with 200: the
// answers are the caller's to free, also on failure. ERR_EXTRACTION_FAILED, ERR_EXTRACTION_TIMEOUT, ERR_UNAVAILABLE:
// the error names the model, and is an outage if any of them met one. Several pictures of which one is under suspicion
// fail, too: whoever asked tries each by itself then.
int service_send(struct service *s, struct call *calls, const struct service_work *work, size_t count,
                 struct error *err);

// An answer showed that the service is not what the description says: somebody has to make that good, so all waits.
// Always -1.
int service_unlike(struct service *s, const char *what, const char *there, const char *here, struct error *err);

// Is it there, with the model? Asks it, unless it did so within the last second. ERR_UNAVAILABLE.
int service_health(struct service *s, struct error *err);

#endif
