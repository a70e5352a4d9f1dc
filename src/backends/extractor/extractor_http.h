// SPDX-License-Identifier: Apache-2.0
// The extractor of models that services elsewhere run: folders whose model.json has a "remote" (docs/MODELS.md).
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_HTTP_H
#define DEEPLENS_BACKENDS_EXTRACTOR_HTTP_H

#include "ports/extractor.h"

struct http_extractor_config {           // strings are borrowed until open returns; NULL is ""
    const char *models;                  // folder of model folders
    const char *token;                   // that every service gets; "": none
    const char *ca_file;                 // certificates in place of the system's; "": those
    int64_t timeout_ms;                  // of a request, unless its model's description says another
    const struct extractor_model *taken; // models of others, whose names are taken
    size_t taken_count;
};

// Offers every model in the folder that a service runs, whether or not the service is there at the moment; what is
// described wrongly is logged with the reason. `open` of the table offers none. Needs curl_global_init.
int extractor_http_open(const struct http_extractor_config *config, void **state, struct error *err);

// Asks the service of the model in a folder for the vector of a plain picture; with `bench` also measures how fast it
// is. ERR_NOT_FOUND when the folder holds no such model.
int extractor_http_trial(const struct http_extractor_config *config, const char *folder, bool bench,
                         struct extractor_trial *out, struct error *err);

extern const struct extractor_ops extractor_http;

#endif
