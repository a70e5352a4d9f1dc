// SPDX-License-Identifier: Apache-2.0
// What an upload ends with: a summary for people, or one JSON document.
#ifndef DEEPLENS_CLI_UPLOAD_REPORT_H
#define DEEPLENS_CLI_UPLOAD_REPORT_H

#include <jansson.h>

#include "cli/uploader.h"

struct upload_totals {
    uint64_t outcomes[UPLOAD_OUTCOMES];
    uint64_t searchable, failed, gone, unsettled;
    uint64_t bytes; // of what was uploaded now
};

struct upload_passed_over {
    uint64_t hidden, no_image;
};

void upload_count(const struct upload *u, struct upload_totals *out);
void upload_print(const struct upload *u, const struct upload_totals *t, const struct upload_passed_over *passed,
                  bool waited);
// Refusals, grouped by their code, to stderr.
void upload_print_refusals(const struct upload *u);
json_t *upload_json(const struct upload *u, const struct upload_totals *t, const struct upload_passed_over *passed,
                    bool waited);

#endif
