// SPDX-License-Identifier: Apache-2.0
// The API: resources over HTTP. One file a resource; no rule lives here that flow/ should know.
#ifndef DEEPLENS_API_API_H
#define DEEPLENS_API_API_H

#include "flow/flow.h"
#include "flow/live.h"
#include "flow/runner.h"
#include "http/http.h"

struct hub;

struct api { // what every handler gets
    struct flow *flow;
    struct live *live; // NULL: nobody can follow changes
    struct hub *hub;
    struct runner *runner; // NULL: this process runs no steps
    _Atomic bool draining; // readiness says no
};

enum { API_ROUTES_MAX = 112 };

// Fills `routes` (ended by {0}); upload limits are taken from the flow's settings.
void api_routes(const struct flow *flow, struct http_route routes[API_ROUTES_MAX]);

// The same, of those alone that need nothing but the event log (see flow_open_log).
void api_routes_log(struct http_route routes[API_ROUTES_MAX]);

// The connections of the hub. The server must be stopped before it is freed.
struct hub *hub_new(struct live *live);
void hub_free(struct hub *hub); // takes NULL

// Counts a finished request; for http_config.on_done.
void api_on_done(void *ctx, const char *method, const char *pattern, int status, int64_t duration_us);

#endif
