// SPDX-License-Identifier: Apache-2.0
// The log's lines.
#include "base/log.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"

static _Atomic int least_level = LOG_INFO;
static _Atomic bool as_json;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_setup(enum log_level least, bool json)
{
    least_level = (int)least;
    as_json = json;
}

bool log_enabled(enum log_level level)
{
    return (int)level >= least_level;
}

static void write_text(struct buf *line, const char *time, enum log_level level, const char *where, const char *text)
{
    buf_printf(line, "%s %-5s %s: ", time, level_names[level], where);
    for (const char *p = text; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            buf_printf(line, "\\x%02x", (unsigned char)*p);
        else
            buf_append(line, p, 1);
    }
}

static void write_json(struct buf *line, const char *time, enum log_level level, const char *where, const char *text)
{
    json_t *entry =
        json_pack("{s:s,s:s,s:s,s:s+}", "time", time, "level", level_names[level], "where", where, "message", text, "");
    if (!entry) // the text was not UTF-8
        entry = json_pack("{s:s,s:s,s:s,s:s}", "time", time, "level", level_names[level], "where", where, "message",
                          "(message with invalid UTF-8)");
    _cleanup_free_ char *dump = json_dumps(entry, JSON_COMPACT);
    json_decref(entry);
    buf_puts(line, dump ? dump : "{}");
}

void log_write(enum log_level level, const char *where, const char *fmt, ...)
{
    if (!log_enabled(level) || level >= LOG_OFF)
        return;
    _cleanup_buf_ struct buf text = BUF_INIT(16384);
    _cleanup_buf_ struct buf line = BUF_INIT(65536);
    va_list args;
    va_start(args, fmt);
    buf_vprintf(&text, fmt, args);
    va_end(args);
    char time[CLOCK_TEXT];
    clock_rfc3339(clock_now_ms(), time);
    (as_json ? write_json : write_text)(&line, time, level, where, text.data ? text.data : "");
    buf_puts(&line, "\n");
    if (line.data)
        fwrite(line.data, 1, line.len, stderr);
}
