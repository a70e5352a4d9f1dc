// SPDX-License-Identifier: Apache-2.0
// Alerts: telling people, by a webhook (POST of JSON), by e-mail and by a command (JSON on its stdin), that something
// needs them. What kinds there are: alerts.def.
//
//   happened   alerts_raise: the first of a kind and subject goes out at once, those that follow within the interval
//              are counted and go out together at its end
//   condition  alerts_hold at each look for as long as it holds: told when it begins, again every `repeat_ms`, and
//              once more when a look did not find it any more ("resolved")
//   silence    what it covers is not told (of conditions: until it ends); that something told of is over always is
//
// What is due of one kind goes out as one message. Raising and holding never wait: they take a lock for a moment and
// leave the rest to one thread. At most ALERT_SUBJECTS subjects are told apart (the rest is "other"), so memory and the
// number of calls are bounded whatever happens (G8). A delivery is tried ALERT_TRIES times; then it is given up and
// counted. What was told of a condition, and silences, can be saved and restored; nothing else outlives the process:
// what it tells of (dead letters, lag) does.
#ifndef DEEPLENS_OBS_ALERT_H
#define DEEPLENS_OBS_ALERT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/id.h"
#include "base/js.h"

enum {
    ALERT_SUBJECTS = 64,
    ALERT_FIELDS = 12,
    ALERT_TRIES = 3,
    ALERT_TEXT_MAX = 512, // bytes of a message or a field that are kept
    ALERT_NAME_MAX = 192, // of a subject or a silence's comment, with the NUL
    ALERT_SILENCES = 64
};

enum alert_kind {
#define ALERT(id, kind, looks, text) ALERT_##id,
#include "obs/alerts.def"
#undef ALERT
    ALERT_KINDS
};

const char *alert_kind_name(enum alert_kind kind); // "processing.failed" …
const char *alert_kind_text(enum alert_kind kind);
int alert_kind_parse(const char *name, enum alert_kind *out); // -1: there is none

struct alert_config {                      // strings are borrowed for as long as the alerts run; NULL or "": none
    const char *webhook;                   // "http://…"
    const char *command;                   // for /bin/sh -c
    const char *smtp;                      // "smtp://…" or "smtps://…"; needs mail_to
    const char *smtp_user, *smtp_password; // of which the second goes over TLS only
    const char *smtp_ca_file;              // instead of the system's
    const char *mail_from, *mail_to;       // mail_to: addresses joined by commas
    const char *off;                       // kinds that are not told, joined by commas
    int64_t interval_ms;                   // between two messages of what happened, of one kind and subject
    int64_t repeat_ms;                     // between two messages of a condition that lasts
    int64_t timeout_ms;                    // of a delivery
};

struct alert_field {
    const char *name, *value; // a NULL value is left out
};

struct alert_silence {
    char id[ID_MAX];
    int kind;                     // -1: all
    char subject[ALERT_NAME_MAX]; // "": all
    char comment[ALERT_NAME_MAX]; //
    int64_t created_ms, until_ms;
};

struct alerts;

// With nothing configured it only keeps what there is to tell. ERR_CONFIG names an option that cannot be. Needs
// curl_global_init.
int alerts_start(const struct alert_config *config, struct alerts **out, struct error *err);
void alerts_stop(struct alerts *a); // at once: a delivery under way is broken off. Takes NULL

// In what follows `a` may be NULL; then nothing happens. `fields` ends with a NULL name, and is copied.

// Something happened. The fields of the first are those told.
void alerts_raise(struct alerts *a, enum alert_kind kind, const char *subject, const char *message,
                  const struct alert_field *fields);

// A look at a condition: begin, hold for each subject of which it holds, end. What was held before and is not now is
// over. One thread at a time; a look that could not be made is not begun.
void alerts_look_begin(struct alerts *a, enum alert_kind kind);
void alerts_hold(struct alerts *a, enum alert_kind kind, const char *subject, const char *message,
                 const struct alert_field *fields);
void alerts_look_end(struct alerts *a, enum alert_kind kind);

void alerts_set_silences(struct alerts *a, const struct alert_silence *list, int count); // at most ALERT_SILENCES

// {"alerts": […], "channels": […], "rules": […]}: all that is kept now. New.
json_t *alerts_list(struct alerts *a);

// The conditions that were told of and are not over: an array to restore from. New.
json_t *alerts_firing(struct alerts *a);
void alerts_restore(struct alerts *a, const json_t *firing); // before the first look; what is no such array is skipped

// Tells every channel a message of the kind "test" now, once, and what came of it: [{"channel", "error"}], error null
// when it was taken. New. Waits, at most the time-out for each.
json_t *alerts_test(struct alerts *a);

#endif
