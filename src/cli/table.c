// SPDX-License-Identifier: Apache-2.0
// Aligned tables. Columns are two spaces apart; when a terminal is too narrow the widest column that may shrink gives
// way first, down to LEAST columns.
#include "cli/table.h"

#include <stdarg.h>
#include <string.h>

#include "cli/text.h"

enum { GAP = 2, LEAST = 8, TABLE_MAX = 256 << 20 };

struct table_row {
    struct table_row *next;
    const char *cells[];
};

void table_init(struct table *t, const struct table_column *columns)
{
    *t = (struct table){.columns = columns};
    t->last = &t->first;
    while (columns[t->count].title && t->count < TABLE_COLUMNS)
        t->count++;
}

void table_free(struct table *t)
{
    arena_free(&t->arena);
    t->first = NULL;
}

void table_add(struct table *t, ...)
{
    struct table_row *row = arena_alloc(&t->arena, sizeof *row + t->count * sizeof row->cells[0]);
    va_list args;
    va_start(args, t);
    for (size_t i = 0; i < t->count; i++) {
        const char *text = va_arg(args, const char *);
        row->cells[i] = text && *text ? arena_strdup(&t->arena, text) : "-";
    }
    va_end(args);
    *t->last = row;
    t->last = &row->next;
    t->rows++;
}

static void measure(const struct table *t, size_t widths[TABLE_COLUMNS])
{
    for (size_t i = 0; i < t->count; i++)
        widths[i] = text_width(t->columns[i].title);
    for (const struct table_row *row = t->first; row; row = row->next)
        for (size_t i = 0; i < t->count; i++) {
            size_t width = text_width(row->cells[i]);
            widths[i] = width > widths[i] ? width : widths[i];
        }
}

static void shrink(const struct table *t, size_t widths[TABLE_COLUMNS], size_t room)
{
    size_t total = (t->count - 1) * GAP;
    for (size_t i = 0; i < t->count; i++)
        total += widths[i];
    while (total > room) {
        size_t widest = t->count;
        for (size_t i = 0; i < t->count; i++)
            if (t->columns[i].shrink && widths[i] > LEAST && (widest == t->count || widths[i] > widths[widest]))
                widest = i;
        if (widest == t->count)
            return;
        widths[widest]--;
        total--;
    }
}

static void pad(struct buf *out, size_t count)
{
    while (count--)
        buf_append(out, " ", 1);
}

static void write_row(const struct table *t, const char *const *cells, const size_t *widths, struct buf *out)
{
    for (size_t i = 0; i < t->count; i++) {
        struct buf cell = BUF_INIT(1 << 20);
        size_t used = text_fit(&cell, cells[i], widths[i]);
        size_t rest = widths[i] > used ? widths[i] - used : 0;
        bool last = i + 1 == t->count;
        if (t->columns[i].right)
            pad(out, rest);
        buf_append(out, cell.data ? cell.data : "", cell.len);
        if (!last)
            pad(out, (t->columns[i].right ? 0 : rest) + GAP);
        buf_free(&cell);
    }
    buf_puts(out, "\n");
}

void table_text(const struct table *t, unsigned width, struct buf *out)
{
    size_t widths[TABLE_COLUMNS] = {0};
    const char *titles[TABLE_COLUMNS];
    for (size_t i = 0; i < t->count; i++)
        titles[i] = t->columns[i].title;
    measure(t, widths);
    if (width)
        shrink(t, widths, width);
    if (!t->headless)
        write_row(t, titles, widths, out);
    for (const struct table_row *row = t->first; row; row = row->next)
        write_row(t, row->cells, widths, out);
}

void table_print(const struct table *t)
{
    _cleanup_buf_ struct buf out = BUF_INIT(TABLE_MAX);
    table_text(t, text_terminal_width(STDOUT_FILENO), &out);
    if (out.data)
        fwrite(out.data, 1, out.len, stdout);
}
