// SPDX-License-Identifier: Apache-2.0
// Tables for people: aligned columns that respect the width of UTF-8 and, on a terminal, its width.
#ifndef DEEPLENS_CLI_TABLE_H
#define DEEPLENS_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/buf.h"

enum { TABLE_COLUMNS = 12 };

struct table_column {
    const char *title; // NULL ends the columns
    bool right;        // numbers
    bool shrink;       // may be cut when the terminal is narrow
};

struct table {
    const struct table_column *columns;
    size_t count; // of columns
    struct table_row *first, **last;
    size_t rows;
    bool headless; // without the line of titles
    struct arena arena;
};

void table_init(struct table *t, const struct table_column *columns); // lives as long as `columns`
void table_free(struct table *t);
#define _cleanup_table_ _cleanup_(table_free)

// One cell a column, each copied; NULL is shown as "-".
void table_add(struct table *t, ...);

// Lines to `out`; `width` 0: as wide as needed.
void table_text(const struct table *t, unsigned width, struct buf *out);

void table_print(const struct table *t); // to stdout, fitted when that is a terminal

#endif
