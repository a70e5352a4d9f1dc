// SPDX-License-Identifier: Apache-2.0
// What pages have in common: one HTML file each, no script, no network, pictures embedded. File names, tags and
// metadata are other people's text: everything goes through page_text. Thumbnails are fetched from the server that
// answered, by id, never from an address that an answer names.
#ifndef DEEPLENS_CLI_PAGE_H
#define DEEPLENS_CLI_PAGE_H

#include "base/buf.h"
#include "base/error.h"
#include "cli/client.h"

enum { PAGE_MAX = 512 << 20 };
#define PAGE_INIT BUF_INIT(PAGE_MAX)

void page_begin(struct buf *page);                  // up to the main part's first element
void page_text(struct buf *page, const char *text); // escaped; NULL: nothing
void page_tag(struct buf *page, const char *text);
void page_image(struct buf *page, const char *type, const struct buf *bytes, const char *alt);
// The thumbnail of a stored item ("images" or "videos"), or a few words where there is none.
void page_thumbnail(struct buf *page, struct client *client, const char *kind, const char *id, const char *alt);
// Ends the page and writes the file. ERR_BODY_TOO_LARGE, ERR_IO.
int page_write(struct buf *page, const char *path, struct error *err);

#endif
