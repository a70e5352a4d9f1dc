// SPDX-License-Identifier: Apache-2.0
// Errors are values. A function that can fail returns 0 or -1 and takes `struct error *err` last; on failure
// it fills `err` and touches no other out-parameter. Library code never logs and returns: it returns.
#ifndef DEEPLENS_BASE_ERROR_H
#define DEEPLENS_BASE_ERROR_H

#include <stdbool.h>

enum error_code {
    ERR_NONE = 0,
#define ERROR(symbol, code, http, retryable, title) ERR_##symbol,
#include "base/errors.def"
#undef ERROR
    ERR_COUNT
};

struct error {
    enum error_code code;
    bool retryable;    // trying the same again later can succeed
    bool outage;       // a dependency is down: not the fault of the work at hand (G6)
    bool fatal;        // the process cannot go on
    char message[384]; // one sentence for a person; always terminated, always UTF-8
};

// Fills `err` (which may be NULL) from the table and the message. Always returns -1: `return error_set(…)`.
int error_set(struct error *err, enum error_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

// As error_set, for a failed system call: `: strerror(saved_errno)` is added; ENOSPC and EDQUOT become
// ERR_DISK_FULL whatever `code` says.
int error_errno(struct error *err, enum error_code code, int saved_errno, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

// Puts "context: " before the message. Always returns -1.
int error_prefix(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

// Copies `from` to `to` when `to` is not NULL. Always returns -1.
int error_copy(struct error *to, const struct error *from);

// Of an ERR_UNAVAILABLE: it is no dependency of ours that is down, but something that the work at hand alone needs.
// Always returns -1.
int error_no_outage(struct error *err);

// The analyzer looks at one file at a time: what it must know of these is that they return -1.
#ifdef __clang_analyzer__
#define error_set(...) ((void)(error_set)(__VA_ARGS__), -1)
#define error_errno(...) ((void)(error_errno)(__VA_ARGS__), -1)
#define error_prefix(...) ((void)(error_prefix)(__VA_ARGS__), -1)
#define error_copy(...) ((void)(error_copy)(__VA_ARGS__), -1)
#define error_no_outage(...) ((void)(error_no_outage)(__VA_ARGS__), -1)
#endif

const char *error_code_name(enum error_code code);  // "NOT_FOUND"; "NONE" for 0
const char *error_code_title(enum error_code code); // "There is no such thing"
int error_http_status(enum error_code code);
bool error_code_retryable(enum error_code code);
enum error_code error_code_parse(const char *name); // ERR_NONE when unknown

#endif
