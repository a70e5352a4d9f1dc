// SPDX-License-Identifier: Apache-2.0
// Error values, built from errors.def.
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int http;
    bool retryable;
    const char *title;
} codes[ERR_COUNT] = {
    [ERR_NONE] = {"NONE", 200, false, "No error"},
#define ERROR(symbol, code, http, retryable, title) [ERR_##symbol] = {code, http, retryable, title},
#include "base/errors.def"
#undef ERROR
};

static void fill(struct error *err, enum error_code code, const char *fmt, va_list args)
{
    *err = (struct error){.code = code, .retryable = codes[code].retryable, .outage = code == ERR_UNAVAILABLE};
    vsnprintf(err->message, sizeof err->message, fmt, args);
}

int error_set(struct error *err, enum error_code code, const char *fmt, ...)
{
    if (err) {
        va_list args;
        va_start(args, fmt);
        fill(err, code, fmt, args);
        va_end(args);
    }
    return -1;
}

int error_errno(struct error *err, enum error_code code, int saved_errno, const char *fmt, ...)
{
    if (!err)
        return -1;
    if (saved_errno == ENOSPC || saved_errno == EDQUOT)
        code = ERR_DISK_FULL;
    va_list args;
    va_start(args, fmt);
    fill(err, code, fmt, args);
    va_end(args);
    size_t used = strlen(err->message);
    char text[128];
    snprintf(err->message + used, sizeof err->message - used, ": %s", strerror_r(saved_errno, text, sizeof text));
    return -1;
}

int error_prefix(struct error *err, const char *fmt, ...)
{
    if (!err)
        return -1;
    char context[sizeof err->message];
    va_list args;
    va_start(args, fmt);
    vsnprintf(context, sizeof context, fmt, args);
    va_end(args);
    char old[sizeof err->message];
    memcpy(old, err->message, sizeof old);
    context[sizeof err->message / 2] = 0; // the message itself matters more
    size_t used = strlen(context);
    memcpy(err->message, context, used);
    used += (size_t)snprintf(err->message + used, 3, ": ");
    size_t rest = strnlen(old, sizeof err->message - used - 1);
    memcpy(err->message + used, old, rest);
    err->message[used + rest] = 0;
    return -1;
}

int error_copy(struct error *to, const struct error *from)
{
    if (to && to != from)
        *to = *from;
    return -1;
}

const char *error_code_name(enum error_code code)
{
    return (unsigned)code < ERR_COUNT ? codes[code].name : codes[ERR_INTERNAL].name;
}

const char *error_code_title(enum error_code code)
{
    return (unsigned)code < ERR_COUNT ? codes[code].title : codes[ERR_INTERNAL].title;
}

int error_http_status(enum error_code code)
{
    return (unsigned)code < ERR_COUNT ? codes[code].http : 500;
}

bool error_code_retryable(enum error_code code)
{
    return (unsigned)code < ERR_COUNT && codes[code].retryable;
}

enum error_code error_code_parse(const char *name)
{
    for (int code = ERR_NONE + 1; name && code < ERR_COUNT; code++)
        if (strcmp(codes[code].name, name) == 0)
            return (enum error_code)code;
    return ERR_NONE;
}
