// SPDX-License-Identifier: Apache-2.0
// The names of states of media and messages, as the API and events spell them.
#include <string.h>

#include "ports/meta.h"

static const char *const names[] = {
    [MEDIA_UPLOADED] = "uploaded",   [MEDIA_PROCESSING] = "processing", [MEDIA_FAILED] = "failed",
    [MEDIA_COMPLETED] = "completed", [MEDIA_DELETING] = "deleting",
};

const char *media_status_name(enum media_status status)
{
    return (size_t)status < ARRAY_LEN(names) ? names[status] : "unknown";
}

int media_status_parse(const char *name, enum media_status *out)
{
    for (size_t i = 0; name && i < ARRAY_LEN(names); i++) {
        if (strcmp(names[i], name) == 0) {
            *out = (enum media_status)i;
            return 0;
        }
    }
    return -1;
}

static const char *const priorities[PRIORITY_COUNT] = {"high", "normal", "low"};

const char *media_priority_name(enum media_priority priority)
{
    return (size_t)priority < PRIORITY_COUNT ? priorities[priority] : "normal";
}

int media_priority_parse(const char *name, enum media_priority *out)
{
    for (int i = 0; name && i < PRIORITY_COUNT; i++) {
        if (strcmp(priorities[i], name) == 0) {
            *out = (enum media_priority)i;
            return 0;
        }
    }
    return -1;
}

static const char *const states[] = {
    [MESSAGE_PENDING] = "pending",       [MESSAGE_READY] = "ready",         [MESSAGE_QUEUED] = "queued",
    [MESSAGE_PROCESSING] = "processing", [MESSAGE_PROCESSED] = "processed", [MESSAGE_FAILED] = "failed",
};

const char *message_state_name(enum message_state state)
{
    return (size_t)state < ARRAY_LEN(states) ? states[state] : "unknown";
}

int message_state_parse(const char *name, enum message_state *out)
{
    for (size_t i = 0; name && i < ARRAY_LEN(states); i++) {
        if (strcmp(states[i], name) == 0) {
            *out = (enum message_state)i;
            return 0;
        }
    }
    return -1;
}

static const char *const run_states[] = {
    [RUN_RUNNING] = "running",     [RUN_PAUSED] = "paused", [RUN_CANCELLED] = "cancelled",
    [RUN_COMPLETED] = "completed", [RUN_FAILED] = "failed",
};

const char *run_state_name(enum run_state state)
{
    return (size_t)state < ARRAY_LEN(run_states) ? run_states[state] : "unknown";
}

static const char *const reply_states[] = {[REPLY_WAITING] = "waiting",
                                           [REPLY_SENDING] = "sending",
                                           [REPLY_SENT] = "sent",
                                           [REPLY_UNCERTAIN] = "uncertain",
                                           [REPLY_DEAD] = "unsent"};

const char *reply_state_name(enum reply_state state)
{
    return (size_t)state < ARRAY_LEN(reply_states) ? reply_states[state] : "unknown";
}

int reply_state_parse(const char *name, enum reply_state *out)
{
    for (size_t i = 0; name && i < ARRAY_LEN(reply_states); i++) {
        if (strcmp(reply_states[i], name) == 0) {
            *out = (enum reply_state)i;
            return 0;
        }
    }
    return -1;
}
