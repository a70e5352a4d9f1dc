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

// The length of the UTF-8 character at `p`, or 0.
static size_t character(const unsigned char *p)
{
    size_t len = *p < 0x80 ? 1 : *p < 0xc2 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool wrong = (*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] >= 0xa0) || (*p == 0xf0 && p[1] < 0x90) ||
                 (*p == 0xf4 && p[1] >= 0x90);
    return wrong ? 0 : len;
}

// Messages quote what came from outside, and cut it: they are UTF-8 all the same, for JSON and people.
static void mend(char *message)
{
    for (unsigned char *p = (unsigned char *)message; *p;) {
        size_t len = character(p);
        if (!len)
            *p = '?';
        p += len ? len : 1;
    }
}

static void fill(struct error *err, enum error_code code, const char *fmt, va_list args)
{
    *err = (struct error){.code = code, .retryable = codes[code].retryable, .outage = code == ERR_UNAVAILABLE};
    vsnprintf(err->message, sizeof err->message, fmt, args);
    mend(err->message);
}

int(error_set)(struct error *err, enum error_code code, const char *fmt, ...)
{
    if (err) {
        va_list args;
        va_start(args, fmt);
        fill(err, code, fmt, args);
        va_end(args);
    }
    return -1;
}

int(error_errno)(struct error *err, enum error_code code, int saved_errno, const char *fmt, ...)
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
    mend(err->message);
    return -1;
}

int(error_prefix)(struct error *err, const char *fmt, ...)
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
    mend(err->message);
    return -1;
}

int(error_no_outage)(struct error *err)
{
    if (err)
        err->outage = false;
    return -1;
}

int(error_copy)(struct error *to, const struct error *from)
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
