// SPDX-License-Identifier: Apache-2.0
// The multipart parser: a state machine over five states.
//
//   PREAMBLE → TAIL → HEADERS → DATA → TAIL → … → EPILOGUE
//
// PREAMBLE and DATA look for the delimiter CR LF "--" boundary. As no byte of it but the first can be CR, a failed
// partial match never hides the start of another one: `matched` bytes are given out as content and the search goes
// on. Content is handed over straight from the caller's buffer; only a partial match at the end of a buffer is
// remembered (as a number). The body begins as if CR LF had been read.
// TAIL reads what stands behind a boundary: "--" (the end) or blanks and a line end.
#include "http/multipart.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/js.h"

enum state { PREAMBLE, TAIL, HEADERS, DATA, EPILOGUE };

struct multipart {
    enum state state;
    char delimiter[MULTIPART_MAX_BOUNDARY + 5];
    size_t delimiter_len;
    size_t matched;
    unsigned dashes; // in TAIL
    bool padded;     // in TAIL: blanks or CR were read
    unsigned parts;
    struct buf headers;
    char *field;
    char *file_name;
    char *content_type;
    uint64_t offset;
    bool given; // a piece of this part was handed over
    multipart_piece_fn *piece;
    void *arg;
};

static void part_clear(struct multipart *mp)
{
    free(take_ptr(mp->field));
    free(take_ptr(mp->file_name));
    free(take_ptr(mp->content_type));
    mp->offset = 0;
    mp->given = false;
}

// ---- parameters of a header: ; name=value ; name="quoted"

static const char *skip_blanks(const char *p)
{
    return p + strspn(p, " \t");
}

static const char *value_end(const char *p)
{
    if (*p != '"')
        return p + strcspn(p, ";");
    for (p++; *p && *p != '"'; p++)
        if (*p == '\\' && (p[1] == '"' || p[1] == '\\'))
            p++;
    return *p ? p + 1 : NULL; // NULL: the quote is not closed
}

// Undoes the two ways in which clients write a quote: \" (RFC 2616, curl) and %22 (browsers). Other backslashes are
// literal, as old clients send whole Windows paths.
static char *value_text(const char *p, const char *end)
{
    bool quoted = *p == '"';
    if (quoted) {
        p++;
        end--;
    } else {
        while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
            end--;
    }
    char *text = malloc((size_t)(end - p) + 1), *out = text;
    if (!text)
        return NULL;
    while (p < end) {
        if (quoted && *p == '\\' && p + 1 < end && (p[1] == '"' || p[1] == '\\')) {
            p++;
        } else if (quoted && *p == '%' && end - p >= 3 && p[1] == '2' && p[2] == '2') {
            *out++ = '"';
            p += 3;
            continue;
        }
        *out++ = *p++;
    }
    *out = 0;
    return text;
}

// Finds `name` among the parameters behind the first token. 1: found (malloc'ed); 0: not there; -1: malformed.
static int parameter(const char *header, const char *name, char **out)
{
    const char *p = header + strcspn(header, ";");
    while (*p == ';') {
        p = skip_blanks(p + 1);
        size_t len = strcspn(p, "=; \t");
        const char *value = skip_blanks(p + len);
        if (*value != '=') {
            p = value + strcspn(value, ";");
            continue;
        }
        value = skip_blanks(value + 1);
        const char *end = value_end(value);
        if (!end)
            return -1;
        if (len == strlen(name) && strncasecmp(p, name, len) == 0) {
            *out = value_text(value, end);
            return *out ? 1 : -1;
        }
        p = skip_blanks(end);
        if (*p && *p != ';')
            return -1;
    }
    return 0;
}

static bool token_is(const char *header, const char *token)
{
    size_t len = strlen(token);
    return strncasecmp(header, token, len) == 0 && strchr("; \t", header[len]); // strchr finds the NUL as well
}

// ---- a part's headers

static int header_line(struct multipart *mp, const char *line, struct error *err)
{
    const char *colon = strchr(line, ':');
    if (!colon || colon == line || strchr(" \t", line[0]))
        return error_set(err, ERR_INVALID, "The form has a part with a malformed header");
    size_t len = (size_t)(colon - line);
    const char *value = skip_blanks(colon + 1);
    if (len == 19 && strncasecmp(line, "content-disposition", len) == 0) {
        if (mp->field || !token_is(value, "form-data"))
            return error_set(err, ERR_INVALID, "The form has a part whose Content-Disposition is not form-data");
        _cleanup_free_ char *name = NULL, *file = NULL;
        if (parameter(value, "name", &name) < 0 || parameter(value, "filename", &file) < 0)
            return error_set(err, ERR_INVALID, "The form has a part with a malformed Content-Disposition");
        if (!name || !*name)
            return error_set(err, ERR_INVALID, "The form has a part without a field name");
        mp->field = js_utf8(name, strlen(name));
        mp->file_name = file ? js_utf8(file, strlen(file)) : NULL;
    } else if (len == 12 && strncasecmp(line, "content-type", len) == 0) {
        if (strncasecmp(value, "multipart/", 10) == 0)
            return error_set(err, ERR_INVALID, "A form within a form is not supported");
        free(mp->content_type);
        mp->content_type = js_utf8(value, strlen(value));
    } else if (len == 25 && strncasecmp(line, "content-transfer-encoding", len) == 0) {
        if (!token_is(value, "binary") && !token_is(value, "8bit") && !token_is(value, "7bit"))
            return error_set(err, ERR_INVALID,
                             "The form has a part with a Content-Transfer-Encoding, which is not supported");
    }
    return 0;
}

static int headers_parse(struct multipart *mp, struct error *err)
{
    char *p = mp->headers.data;
    if (memchr(p, 0, mp->headers.len))
        return error_set(err, ERR_INVALID, "The form has a part with NUL in its headers");
    for (char *end; (end = strstr(p, "\r\n")) && end != p; p = end + 2) {
        *end = 0;
        if (header_line(mp, p, err) != 0)
            return -1;
    }
    if (!mp->field)
        return error_set(err, ERR_INVALID, "The form has a part without Content-Disposition");
    return 0;
}

// ---- the states: each consumes bytes and returns how many, or -1

static int give(struct multipart *mp, const char *data, size_t len, struct error *err)
{
    if (mp->state != DATA || (len == 0 && mp->given))
        return 0;
    if (mp->piece(mp->arg, mp->field, mp->file_name, mp->content_type, data, mp->offset, len, err) != 0)
        return -1;
    mp->given = true;
    mp->offset += len;
    return 0;
}

static size_t common(const char *a, const char *b, size_t len)
{
    size_t n = 0;
    while (n < len && a[n] == b[n])
        n++;
    return n;
}

static int delimiter_found(struct multipart *mp, struct error *err)
{
    if (give(mp, "", 0, err) != 0) // an empty part has a piece, too
        return -1;
    part_clear(mp);
    mp->state = TAIL;
    mp->matched = 0;
    mp->dashes = 0;
    mp->padded = false;
    return 0;
}

static ssize_t feed_content(struct multipart *mp, const char *data, size_t len, struct error *err)
{
    size_t at = 0;
    if (mp->matched > 0) {
        size_t want = mp->delimiter_len - mp->matched;
        at = common(mp->delimiter + mp->matched, data, len < want ? len : want);
        if (at == want)
            return delimiter_found(mp, err) == 0 ? (ssize_t)at : -1;
        if (at == len) {
            mp->matched += at;
            return (ssize_t)at;
        }
        if (give(mp, mp->delimiter, mp->matched + at, err) != 0)
            return -1;
        mp->matched = 0;
    }
    size_t start = at;
    for (const char *cr; (cr = memchr(data + at, '\r', len - at));) {
        size_t pos = (size_t)(cr - data), left = len - pos;
        size_t n = common(mp->delimiter, cr, left < mp->delimiter_len ? left : mp->delimiter_len);
        if (n == mp->delimiter_len || n == left) {
            if (pos > start && give(mp, data + start, pos - start, err) != 0)
                return -1;
            mp->matched = n;
            if (n == mp->delimiter_len && delimiter_found(mp, err) != 0)
                return -1;
            return (ssize_t)(pos + n);
        }
        at = pos + n;
    }
    return len == start || give(mp, data + start, len - start, err) == 0 ? (ssize_t)len : -1;
}

static ssize_t feed_tail(struct multipart *mp, char c, struct error *err)
{
    if (c == '-' && !mp->padded && mp->dashes < 2) {
        if (++mp->dashes == 2)
            mp->state = EPILOGUE;
    } else if (mp->dashes == 0 && (c == ' ' || c == '\t' || c == '\r')) {
        mp->padded = true;
    } else if (mp->dashes == 0 && c == '\n') {
        if (++mp->parts > MULTIPART_MAX_PARTS)
            return error_set(err, ERR_INVALID, "The form has more than %d parts", MULTIPART_MAX_PARTS);
        mp->state = HEADERS;
        buf_clear(&mp->headers);
    } else {
        return error_set(err, ERR_INVALID, "The form has a malformed boundary line");
    }
    return 1;
}

static bool headers_complete(const struct buf *h)
{
    return (h->len == 2 && memcmp(h->data, "\r\n", 2) == 0) ||
           (h->len >= 4 && memcmp(h->data + h->len - 4, "\r\n\r\n", 4) == 0);
}

static ssize_t feed_headers(struct multipart *mp, const char *data, size_t len, struct error *err)
{
    const char *newline = memchr(data, '\n', len);
    size_t take = newline ? (size_t)(newline - data) + 1 : len;
    if (buf_append(&mp->headers, data, take) != 0)
        return error_set(err, ERR_INVALID, "The form has a part with more than %d bytes of headers",
                         MULTIPART_MAX_HEADERS);
    if (headers_complete(&mp->headers)) {
        if (headers_parse(mp, err) != 0)
            return -1;
        mp->state = DATA;
        mp->matched = 0;
    }
    return (ssize_t)take;
}

int multipart_feed(struct multipart *mp, const char *data, size_t len, struct error *err)
{
    while (len > 0 && mp->state != EPILOGUE) {
        ssize_t used = mp->state == TAIL      ? feed_tail(mp, *data, err)
                       : mp->state == HEADERS ? feed_headers(mp, data, len, err)
                                              : feed_content(mp, data, len, err);
        if (used < 0)
            return -1;
        data += used;
        len -= (size_t)used;
    }
    return 0;
}

int multipart_end(const struct multipart *mp, struct error *err)
{
    if (mp->state == EPILOGUE)
        return 0;
    return error_set(err, ERR_BODY_INCOMPLETE, "The form ended before its closing boundary");
}

bool multipart_is_form(const char *content_type)
{
    return token_is(content_type, "multipart/form-data");
}

int multipart_new(const char *content_type, multipart_piece_fn *piece, void *arg, struct multipart **out,
                  struct error *err)
{
    _cleanup_free_ char *boundary = NULL;
    size_t len = parameter(content_type, "boundary", &boundary) == 1 ? strlen(boundary) : 0;
    if (len == 0 || len > MULTIPART_MAX_BOUNDARY)
        return error_set(err, ERR_INVALID, "The Content-Type of the form has no boundary of 1 to %d characters",
                         MULTIPART_MAX_BOUNDARY);
    struct multipart *mp = calloc(1, sizeof *mp);
    if (!mp)
        return error_set(err, ERR_NO_MEMORY, "No memory for a form");
    memcpy(mp->delimiter, "\r\n--", 4);
    memcpy(mp->delimiter + 4, boundary, len);
    mp->delimiter_len = len + 4;
    mp->matched = 2;
    mp->headers = BUF_INIT(MULTIPART_MAX_HEADERS);
    mp->piece = piece;
    mp->arg = arg;
    *out = mp;
    return 0;
}

void multipart_free(struct multipart *mp)
{
    if (!mp)
        return;
    part_clear(mp);
    buf_free(&mp->headers);
    free(mp);
}
