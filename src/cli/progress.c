// SPDX-License-Identifier: Apache-2.0
// Progress bars.
#include "cli/progress.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cli/text.h"

enum { BAR_MIN = 10, BAR_MAX = 40, LINE_MAX_BYTES = 2048 };
#define DRAW_EVERY_US 100000  // on a terminal
#define SAY_EVERY_US 10000000 // elsewhere

void progress_start(struct progress *p, const char *label, uint64_t total, uint64_t total_bytes, bool quiet)
{
    *p = (struct progress){.label = label, .total = total, .total_bytes = total_bytes, .quiet = quiet};
    p->width = text_terminal_width(STDERR_FILENO);
    p->start_us = clock_mono_us();
}

// How much of the work is done, 0 … 1. A file costs something for itself and something for its bytes: the mean of both.
static double fraction(const struct progress *p, uint64_t done, uint64_t bytes)
{
    double part = p->total ? (double)done / (double)p->total : 1;
    if (p->total_bytes)
        part = (part + (double)bytes / (double)p->total_bytes) / 2;
    return part > 1 ? 1 : part;
}

static void put_bar(struct buf *out, double part, size_t columns)
{
    size_t full = (size_t)(part * (double)columns);
    buf_puts(out, "[");
    for (size_t i = 0; i < columns; i++)
        buf_puts(out, i < full ? "█" : "░");
    buf_puts(out, "] ");
}

static void put_figures(const struct progress *p, uint64_t done, uint64_t bytes, double elapsed, struct buf *out)
{
    char a[TEXT_SHORT], b[TEXT_SHORT];
    double part = fraction(p, done, bytes);
    buf_printf(out, "%3.0f %%  %s of %s", part * 100, text_count(done, a), text_count(p->total, b));
    if (elapsed < 0.5)
        return;
    double rate = (double)done / elapsed;
    buf_printf(out, rate < 10 ? "  %.1f/s" : "  %.0f/s", rate);
    if (p->total_bytes)
        buf_printf(out, "  %s/s", text_bytes((uint64_t)((double)bytes / elapsed), a));
    if (part > 0 && part < 1)
        buf_printf(out, "  %s left", text_duration(elapsed * (1 - part) / part, a));
}

void progress_line(const struct progress *p, uint64_t done, uint64_t bytes, double elapsed, unsigned width,
                   struct buf *out)
{
    _cleanup_buf_ struct buf figures = BUF_INIT(LINE_MAX_BYTES);
    _cleanup_buf_ struct buf line = BUF_INIT(LINE_MAX_BYTES);
    put_figures(p, done, bytes, elapsed, &figures);
    buf_printf(&line, "%s  ", p->label);
    size_t used = text_width(p->label) + 2 + text_width(figures.data) + 3;
    if (width >= used + BAR_MIN) {
        size_t room = width - used;
        put_bar(&line, fraction(p, done, bytes), room > BAR_MAX ? BAR_MAX : room);
    }
    buf_append(&line, figures.data, figures.len);
    text_fit(out, line.data, width);
}

void progress_show(struct progress *p, uint64_t done, uint64_t bytes)
{
    int64_t now = clock_mono_us();
    int64_t last = p->drawn_us ? p->drawn_us : p->width ? 0 : p->start_us;
    if (p->quiet || now - last < (p->width ? DRAW_EVERY_US : SAY_EVERY_US))
        return;
    p->drawn_us = now;
    _cleanup_buf_ struct buf line = BUF_INIT(LINE_MAX_BYTES);
    // The last column stays free: some terminals wrap as soon as it is written.
    progress_line(p, done, bytes, (double)(now - p->start_us) / 1e6, p->width ? p->width - 1 : 0, &line);
    fprintf(stderr, p->width ? "\r\x1b[K%s" : "%s\n", line.data);
    fflush(stderr);
}

void progress_end(struct progress *p)
{
    if (p->width && p->drawn_us && !p->quiet) {
        fputs("\r\x1b[K", stderr);
        fflush(stderr);
    }
}
