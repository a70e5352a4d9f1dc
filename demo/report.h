// SPDX-License-Identifier: Apache-2.0
// The answers as people read them: a table on stdout, a page, and a contact sheet.
#ifndef DEEPLENS_DEMO_REPORT_H
#define DEEPLENS_DEMO_REPORT_H

#include "answers.h"

void table_print(const struct answers *a);
int page_write(const struct answers *a, const char *path, struct error *err);  // HTML, self-contained
int sheet_write(const struct answers *a, const char *path, struct error *err); // PNG

#endif
