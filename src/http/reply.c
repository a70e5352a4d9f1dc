// SPDX-License-Identifier: Apache-2.0
// Answers: JSON, text, bytes, nothing, and the problem document that every error becomes (RFC 9457).
#include <stdlib.h>
#include <string.h>

#include "base/js.h"
#include "http/http_int.h"

void reply_give(struct http_request *req, int status, const char *content_type, struct MHD_Response *response)
{
    if (!response)
        return; // no memory: request_run answers 500, or the connection is closed
    if (req->response) {
        MHD_destroy_response(response);
        return;
    }
    MHD_add_response_header(response, "Server", "deeplens/" DEEPLENS_VERSION);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (content_type)
        MHD_add_response_header(response, "Content-Type", content_type);
    if (status == 503)
        MHD_add_response_header(response, "Retry-After", "1");
    for (const struct http_pair *pair = req->headers_out; pair; pair = pair->next)
        MHD_add_response_header(response, pair->name, pair->value);
    req->response = response;
    req->status = status;
}

static void give_text(struct http_request *req, int status, const char *content_type, char *text)
{
    http_reply_bytes(req, status, content_type, text, text ? strlen(text) : 0);
}

void http_reply_bytes(struct http_request *req, int status, const char *content_type, void *data, size_t len)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(len, data, MHD_RESPMEM_MUST_FREE);
    if (!response)
        free(data);
    reply_give(req, status, content_type, response);
}

void http_reply_text(struct http_request *req, int status, const char *content_type, const char *text)
{
    give_text(req, status, content_type, strdup(text));
}

void http_reply_empty(struct http_request *req, int status)
{
    reply_give(req, status, NULL, MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT));
}

static char *json_line(const json_t *body)
{
    _cleanup_buf_ struct buf out = BUF_INIT(SIZE_MAX / 2);
    if (!body || js_write(body, &out) != 0 || buf_puts(&out, "\n") != 0)
        return NULL;
    return buf_steal(&out);
}

void http_reply_json(struct http_request *req, int status, json_t *body)
{
    char *text = json_line(body);
    json_decref(body);
    if (text) {
        give_text(req, status, "application/json", text);
        return;
    }
    struct error err;
    error_set(&err, ERR_INTERNAL, "The answer could not be written as JSON");
    http_reply_error(req, &err);
}

char *reply_problem(const struct http_request *req, const struct error *err, int status)
{
    const char *code = error_code_name(err->code);
    _cleanup_free_ char *path = js_utf8(req->path, strlen(req->path));
    _cleanup_free_ char *detail = js_utf8(err->message, strlen(err->message));
    _cleanup_free_ char *type = NULL;
    if (asprintf(&type, "/problems/%s", code) < 0)
        type = NULL;
    _cleanup_json_ json_t *doc =
        json_pack("{s:s*, s:s, s:i, s:s*, s:s*, s:s, s:b}", "type", type, "title", error_code_title(err->code),
                  "status", status, "detail", detail, "instance", path, "code", code, "retryable", err->retryable);
    return json_line(doc);
}

void http_reply_error(struct http_request *req, const struct error *err)
{
    struct error unknown;
    if (err->code == ERR_NONE) {
        error_set(&unknown, ERR_INTERNAL, "An error without a name");
        err = &unknown;
    }
    int status = error_http_status(err->code);
    give_text(req, status, "application/problem+json", reply_problem(req, err, status));
}
