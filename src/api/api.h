// SPDX-License-Identifier: Apache-2.0
// The API: resources over HTTP. One file a resource; no rule lives here that flow/ should know.
#ifndef DEEPLENS_API_API_H
#define DEEPLENS_API_API_H

#include "flow/flow.h"
#include "flow/runner.h"
#include "http/http.h"

struct api { // what every handler gets
    struct flow *flow;
    struct runner *runner; // NULL: this process runs no steps
    _Atomic bool draining; // readiness says no
};

enum { API_ROUTES_MAX = 64 };

// Fills `routes` (ended by {0}); upload limits are taken from the flow's settings.
void api_routes(const struct flow *flow, struct http_route routes[API_ROUTES_MAX]);

// The same, of those alone that need nothing but the event log (see flow_open_log).
void api_routes_log(struct http_route routes[API_ROUTES_MAX]);

// Counts a finished request; for http_config.on_done.
void api_on_done(void *ctx, const char *method, const char *pattern, int status, int64_t duration_us);

#endif
