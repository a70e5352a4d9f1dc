// SPDX-License-Identifier: Apache-2.0
// The log: one line an event to stderr, as text or JSON. Only programs log (main, cli, the runner, the HTTP
// server's edge); libraries return errors. Any thread; does not block on anything but stderr.
#ifndef DEEPLENS_BASE_LOG_H
#define DEEPLENS_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };

void log_setup(enum log_level least, bool json);
bool log_enabled(enum log_level level);

// `where` names the module ("runner"); the text is one sentence. Control characters are escaped.
void log_write(enum log_level level, const char *where, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#define log_debug(where, ...) (log_enabled(LOG_DEBUG) ? log_write(LOG_DEBUG, where, __VA_ARGS__) : (void)0)
#define log_info(where, ...) log_write(LOG_INFO, where, __VA_ARGS__)
#define log_warn(where, ...) log_write(LOG_WARN, where, __VA_ARGS__)
#define log_error(where, ...) log_write(LOG_ERROR, where, __VA_ARGS__)

#endif
