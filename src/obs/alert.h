// SPDX-License-Identifier: Apache-2.0
// Alerts: telling people, by a webhook (POST of JSON) and by a command (JSON on its stdin), that something needs them.
//
// Raising one never waits: it takes a lock for a moment and leaves the rest to one thread. Alerts of the same kind and
// subject are one: the first goes out at once, those that follow within the interval are counted and go out together
// at its end. At most ALERT_SUBJECTS subjects are told apart (the rest is "other"), so memory and the number of calls
// are bounded whatever happens (G8). A delivery is tried ALERT_TRIES times; then it is given up and counted. Alerts do
// not outlive the process: what they tell of (dead letters, lag) does.
#ifndef DEEPLENS_OBS_ALERT_H
#define DEEPLENS_OBS_ALERT_H

#include <stdint.h>

#include "base/error.h"

enum { ALERT_SUBJECTS = 64, ALERT_FIELDS = 12, ALERT_TRIES = 3, ALERT_TEXT_MAX = 512 };

struct alert_config {    // strings are borrowed for as long as the alerts run
    const char *webhook; // "http://…"; NULL or "": none
    const char *command; // for /bin/sh -c; NULL or "": none
    int64_t interval_ms; // between two alerts of one subject
    int64_t timeout_ms;  // of a delivery
};

struct alert_field {
    const char *name, *value; // a NULL value is left out; at most ALERT_TEXT_MAX bytes are kept
};

struct alerts;

// `*out` is NULL when nothing is configured. ERR_CONFIG when the webhook is no http(s) address. Needs
// curl_global_init.
int alerts_start(const struct alert_config *config, struct alerts **out, struct error *err);
// `a` may be NULL. `fields` ends with a NULL name, and is copied: the first ones of what is told together.
void alerts_raise(struct alerts *a, const char *kind, const char *subject, const char *message,
                  const struct alert_field *fields);
void alerts_stop(struct alerts *a); // at once: a delivery under way is broken off. Takes NULL

#endif
