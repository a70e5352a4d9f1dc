// SPDX-License-Identifier: Apache-2.0
// multipart/form-data (RFC 7578, RFC 2046), parsed as it arrives and without copying the parts' content.
// Memory: the boundary and the headers of one part (MULTIPART_MAX_HEADERS).
#ifndef DEEPLENS_HTTP_MULTIPART_H
#define DEEPLENS_HTTP_MULTIPART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { MULTIPART_MAX_BOUNDARY = 70, MULTIPART_MAX_HEADERS = 16 * 1024, MULTIPART_MAX_PARTS = 256 };

struct multipart;

// A piece of a part. The first piece of each part has offset 0, and every part has at least one (with len 0 when it
// is empty). `field` is never NULL; both names are valid UTF-8. The strings live until the part ends. -1 stops.
typedef int multipart_piece_fn(void *arg, const char *field, const char *file_name, const char *content_type,
                               const char *data, uint64_t offset, size_t len, struct error *err);

// True when a Content-Type names multipart/form-data.
bool multipart_is_form(const char *content_type);

// `content_type` as in the header: ERR_INVALID when it has no usable boundary.
int multipart_new(const char *content_type, multipart_piece_fn *piece, void *arg, struct multipart **out,
                  struct error *err);
void multipart_free(struct multipart *mp); // takes NULL

// -1: `piece` refused, or the body is not a form (ERR_INVALID). Do not feed it any more then.
int multipart_feed(struct multipart *mp, const char *data, size_t len, struct error *err);

// At the end of the body: ERR_BODY_INCOMPLETE when the closing boundary did not come.
int multipart_end(const struct multipart *mp, struct error *err);

#endif
