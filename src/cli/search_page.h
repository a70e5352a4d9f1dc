// SPDX-License-Identifier: Apache-2.0
// A page of what was found, in one HTML file: no script, no network, pictures embedded, everything escaped.
#ifndef DEEPLENS_CLI_SEARCH_PAGE_H
#define DEEPLENS_CLI_SEARCH_PAGE_H

#include <jansson.h>
#include <stdint.h>

#include "base/error.h"
#include "cli/client.h"

struct search_query {
    const char *file; // searched with this file; or
    const char *id;   // with this stored image; or
    const char *text; // with these words; or with a vector
    uint64_t max_pixels;
};

int search_page_write(struct client *client, const struct search_query *query, const json_t *answer, const char *path,
                      struct error *err);

#endif
