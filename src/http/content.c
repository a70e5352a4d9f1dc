// SPDX-License-Identifier: Apache-2.0
// A file's content as an answer (RFC 9110: 8.8.3 ETag, 13.1 conditions, 14 ranges). One range is honoured; several
// are answered with the whole, which the RFC allows. All ETags of ours are strong.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "http/http_int.h"

enum { READ_BLOCK = 128 * 1024 };

enum range { RANGE_WHOLE, RANGE_PART, RANGE_OUTSIDE };

static const char *digits(const char *p, uint64_t *out, bool *any)
{
    uint64_t n = 0;
    *any = false;
    for (; *p >= '0' && *p <= '9'; p++) {
        *any = true;
        n = n > (UINT64_MAX - 9) / 10 ? UINT64_MAX - 9 : n * 10 + (uint64_t)(*p - '0'); // saturates
    }
    *out = n;
    return p;
}

static enum range range_parse(const char *text, uint64_t size, uint64_t *offset, uint64_t *len)
{
    uint64_t first, last;
    bool has_first, has_last;
    if (!text || strncasecmp(text, "bytes=", 6) != 0)
        return RANGE_WHOLE;
    const char *p = digits(text + 6 + strspn(text + 6, " "), &first, &has_first);
    if (*p++ != '-')
        return RANGE_WHOLE;
    p = digits(p, &last, &has_last);
    if (*p || (!has_first && !has_last) || (has_first && has_last && last < first))
        return RANGE_WHOLE;
    if (!has_first) { // the last `last` bytes
        if (last == 0 || size == 0)
            return RANGE_OUTSIDE;
        *len = last < size ? last : size;
        *offset = size - *len;
        return RANGE_PART;
    }
    if (first >= size)
        return RANGE_OUTSIDE;
    *offset = first;
    *len = has_last && last < size - 1 ? last - first + 1 : size - first;
    return RANGE_PART;
}

// Whether a list of entity tags (or "*") names ours; "W/" is looked past, as If-None-Match compares weakly.
static bool etag_listed(const char *list, const char *etag)
{
    size_t len = strlen(etag);
    for (const char *p = list + strspn(list, " \t,"); *p; p += strspn(p, " \t,")) {
        if (*p == '*')
            return true;
        if (strncmp(p, "W/", 2) == 0)
            p += 2;
        const char *end = *p == '"' ? strchr(p + 1, '"') : NULL;
        if (!end)
            return false;
        if ((size_t)(end - p - 1) == len && memcmp(p + 1, etag, len) == 0)
            return true;
        p = end + 1;
    }
    return false;
}

static enum range range_wanted(const struct http_request *req, const struct http_content *c, uint64_t *offset,
                               uint64_t *len)
{
    const char *range = http_header(req, "Range"), *condition = http_header(req, "If-Range");
    if (!request_is(req, "GET"))
        return RANGE_WHOLE;
    if (condition) { // a strong comparison; a date never matches, as we give none
        size_t n = c->etag ? strlen(c->etag) : 0;
        if (!c->etag || strlen(condition) != n + 2 || condition[0] != '"' || condition[n + 1] != '"' ||
            memcmp(condition + 1, c->etag, n) != 0)
            return RANGE_WHOLE;
    }
    return range_parse(range, c->size, offset, len);
}

static ssize_t content_read(void *arg, uint64_t pos, char *buf, size_t max)
{
    struct http_request *req = arg;
    if (req->content.read(req->content.arg, req->content_offset + pos, buf, max) != 0)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    return (ssize_t)max;
}

static ssize_t not_sent(void *arg, uint64_t pos, char *buf, size_t max)
{
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

static struct MHD_Response *content_response(struct http_request *req, uint64_t offset, uint64_t len)
{
    const struct http_content *c = &req->content;
    if (len == 0)
        return MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT);
    req->content_offset = offset;
    if (c->fd < 0) // the last block asks for what is left only, as the size is known
        return MHD_create_response_from_callback(len, READ_BLOCK, content_read, req, NULL);
    int fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 0); // libmicrohttpd closes the one that it is given
    if (fd < 0)
        return NULL;
    struct MHD_Response *response = MHD_create_response_from_fd_at_offset64(len, fd, offset);
    if (!response)
        close(fd);
    return response;
}

static void content_headers(struct http_request *req, const struct http_content *c)
{
    if (c->etag)
        http_set_header(req, "ETag", arena_printf(&req->arena, "\"%s\"", c->etag));
    if (c->cache_control)
        http_set_header(req, "Cache-Control", c->cache_control);
    if (c->disposition)
        http_set_header(req, "Content-Disposition", c->disposition);
    http_set_header(req, "Accept-Ranges", "bytes");
}

static void range_refused(struct http_request *req, uint64_t size)
{
    struct error err;
    error_set(&err, ERR_RANGE, "The file has %" PRIu64 " bytes", size);
    http_set_header(req, "Content-Range", arena_printf(&req->arena, "bytes */%" PRIu64, size));
    http_reply_error(req, &err);
}

void http_reply_content(struct http_request *req, const struct http_content *content)
{
    if (req->content_open || req->response) { // a second answer: not sent, but ended
        if (content->close)
            content->close(content->arg);
        return;
    }
    req->content = *content;
    req->content_open = true;
    const char *condition = http_header(req, "If-None-Match");
    if (condition && content->etag && etag_listed(condition, content->etag)) {
        content_headers(req, content);
        // Made from the content, though its body is not sent: a Content-Length of 0 would be wrong here.
        reply_give(req, 304, NULL, MHD_create_response_from_callback(content->size, 1, not_sent, NULL, NULL), 0);
        return;
    }
    uint64_t offset = 0, len = content->size;
    enum range range = range_wanted(req, content, &offset, &len);
    if (range == RANGE_OUTSIDE) {
        range_refused(req, content->size);
        return;
    }
    struct MHD_Response *response = content_response(req, offset, len);
    if (!response) {
        struct error err;
        error_errno(&err, ERR_IO, errno, "The content cannot be opened");
        http_reply_error(req, &err);
        return;
    }
    content_headers(req, content);
    if (range == RANGE_PART)
        http_set_header(req, "Content-Range",
                        arena_printf(&req->arena, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, offset, offset + len - 1,
                                     content->size));
    reply_give(req, range == RANGE_PART ? 206 : 200, content->content_type, response, len);
}
