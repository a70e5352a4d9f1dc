// SPDX-License-Identifier: Apache-2.0
// The client of the HTTP API, on libcurl.
#include "cli/client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/js.h"
#include "cli/client_int.h"

enum { ANSWER_MAX = 256 << 20, CONNECT_TIMEOUT_S = 10, TENANT_MAX = 128 };

// The bytes of a file on their way out.
struct outgoing {
    int fd;
    uint64_t at;
    uint64_t size;
    bool short_file;
};

static bool is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0;
}

static int check_server(const char *server, bool *loopback)
{
    CURLU *url = curl_url();
    char *host = NULL;
    char *scheme = NULL;
    bool ok = url && curl_url_set(url, CURLUPART_URL, server, 0) == CURLUE_OK &&
              curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
              curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
              (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    if (ok)
        *loopback = is_loopback(host);
    curl_free(host);
    curl_free(scheme);
    curl_url_cleanup(url);
    return ok ? 0 : -1;
}

static struct curl_slist *make_headers(const char *tenant, const char *content_type)
{
    char line[TENANT_MAX + 32];
    struct curl_slist *list = curl_slist_append(NULL, "Accept: application/json, */*");
    if (tenant) {
        snprintf(line, sizeof line, "X-Tenant-Id: %s", tenant);
        list = curl_slist_append(list, line);
    }
    if (content_type) {
        snprintf(line, sizeof line, "Content-Type: %s", content_type);
        list = curl_slist_append(list, line);
    }
    return list;
}

static int check_tenant(const char *tenant, struct error *err)
{
    size_t len = strlen(tenant);
    if (!len || len > TENANT_MAX || strpbrk(tenant, "\r\n"))
        return error_set(err, ERR_USAGE, "That is not a tenant's name");
    return 0;
}

int client_new(const char *server, const char *tenant, struct client **out, struct error *err)
{
    bool loopback = false;
    if (check_server(server, &loopback) < 0)
        return error_set(err, ERR_USAGE, "\"%.200s\" is not a server's address such as http://127.0.0.1:8080", server);
    if (tenant && check_tenant(tenant, err) < 0)
        return -1;
    struct client *c = calloc(1, sizeof *c);
    if (!c || !(c->curl = curl_easy_init()) || !(c->server = strdup(server))) {
        client_free(c);
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    }
    for (size_t len = strlen(c->server); len && c->server[len - 1] == '/'; len--)
        c->server[len - 1] = 0;
    c->body = BUF_INIT(ANSWER_MAX);
    c->headers = make_headers(tenant, NULL);
    c->json_headers = make_headers(tenant, "application/json");
    c->bytes_headers = make_headers(tenant, "application/octet-stream");
    curl_easy_setopt(c->curl, CURLOPT_ERRORBUFFER, c->reason);
    curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c->curl, CURLOPT_USERAGENT, "deeplens/" DEEPLENS_VERSION);
    curl_easy_setopt(c->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    curl_easy_setopt(c->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c->curl, CURLOPT_LOW_SPEED_TIME, (long)CLIENT_STALLED_S);
    curl_easy_setopt(c->curl, CURLOPT_TCP_NODELAY, 1L);
    if (loopback)
        curl_easy_setopt(c->curl, CURLOPT_NOPROXY, "*");
    *out = c;
    return 0;
}

void client_free(struct client *c)
{
    if (!c)
        return;
    if (c->curl)
        curl_easy_cleanup(c->curl);
    curl_slist_free_all(c->headers);
    curl_slist_free_all(c->json_headers);
    curl_slist_free_all(c->bytes_headers);
    buf_free(&c->body);
    free(c->server);
    free(c);
}

const char *client_server(const struct client *c)
{
    return c->server;
}

int client_status(const struct client *c)
{
    return c->status;
}

bool client_connected(const struct client *c)
{
    return c->result != CURLE_COULDNT_CONNECT && c->result != CURLE_COULDNT_RESOLVE_HOST;
}

int64_t client_retry_after_ms(const struct client *c)
{
    return c->retry_after_ms;
}

static size_t on_body(char *data, size_t one, size_t count, void *out)
{
    return buf_append(out, data, one * count) < 0 ? 0 : one * count;
}

static size_t on_read(char *data, size_t one, size_t count, void *arg)
{
    struct outgoing *o = arg;
    uint64_t want = one * count;
    if (want > o->size - o->at)
        want = o->size - o->at;
    if (!want)
        return 0;
    ssize_t got;
    do
        got = pread(o->fd, data, want, (off_t)o->at);
    while (got < 0 && errno == EINTR);
    if (got <= 0) {
        o->short_file = true;
        return CURL_READFUNC_ABORT;
    }
    o->at += (uint64_t)got;
    return (size_t)got;
}

static int on_seek(void *arg, curl_off_t offset, int whence)
{
    struct outgoing *o = arg;
    if (whence != SEEK_SET || offset < 0 || (uint64_t)offset > o->size)
        return CURL_SEEKFUNC_FAIL;
    o->at = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

static int transport_error(const struct client *c, struct error *err)
{
    const char *why = c->reason[0] ? c->reason : curl_easy_strerror(c->result);
    switch (c->result) {
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
        return error_set(err, ERR_UNAVAILABLE, "No server answers at %s; start one with `deeplens serve`", c->server);
    case CURLE_OPERATION_TIMEDOUT:
        return error_set(err, ERR_TIMEOUT, "The server at %s took too long: %s", c->server, why);
    case CURLE_WRITE_ERROR:
        return error_set(err, ERR_BODY_TOO_LARGE, "The answer of %s is larger than expected", c->server);
    case CURLE_ABORTED_BY_CALLBACK:
        return error_set(err, ERR_IO, "The file could not be read to its end; did it change?");
    case CURLE_READ_ERROR:
        return error_set(err, ERR_IO, "The file could not be read: %s", why);
    default:
        return error_set(err, ERR_UNAVAILABLE, "The connection to %s was lost: %s", c->server, why);
    }
}

static enum error_code code_of_status(int status)
{
    switch (status) {
    case 400:
        return ERR_INVALID;
    case 401:
        return ERR_UNAUTHORIZED;
    case 403:
        return ERR_FORBIDDEN;
    case 404:
        return ERR_NOT_FOUND;
    case 405:
        return ERR_METHOD_NOT_ALLOWED;
    case 409:
        return ERR_CONFLICT;
    case 413:
        return ERR_BODY_TOO_LARGE;
    case 415:
        return ERR_UNSUPPORTED_MEDIA;
    case 429:
    case 503:
        return ERR_OVERLOADED;
    case 507:
        return ERR_DISK_FULL;
    default:
        return ERR_INTERNAL;
    }
}

int client_refusal(struct client *c, struct error *err)
{
    _cleanup_json_ json_t *problem = c->body.len ? js_parse(c->body.data, c->body.len, NULL) : NULL;
    const char *name = js_str(problem, "code", NULL);
    const char *text = js_str(problem, "detail", js_str(problem, "title", NULL));
    enum error_code code = error_code_parse(name);
    if (!text)
        return error_set(err, code_of_status(c->status), "The server answered with HTTP status %d", c->status);
    if (name && code == ERR_NONE)
        return error_set(err, code_of_status(c->status), "%s (%.60s)", text, name);
    return error_set(err, code ? code : code_of_status(c->status), "%s", text);
}

void client_prepare(struct client *c, const char *path, struct curl_slist *headers, struct buf *body)
{
    struct buf url = BUF_INIT(CLIENT_PATH_MAX + 4096);
    buf_puts(&url, c->server);
    buf_puts(&url, path);
    curl_easy_setopt(c->curl, CURLOPT_URL, url.failed ? "" : url.data);
    buf_free(&url);
    buf_clear(body);
    curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, NULL);
    curl_easy_setopt(c->curl, CURLOPT_HTTPGET, 1L);
    curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, body);
}

int client_perform(struct client *c, struct error *err)
{
    long status = 0;
    curl_off_t wait = 0;
    c->reason[0] = 0;
    c->status = 0;
    c->retry_after_ms = 0;
    c->result = curl_easy_perform(c->curl);
    if (c->result != CURLE_OK)
        return transport_error(c, err);
    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(c->curl, CURLINFO_RETRY_AFTER, &wait);
    c->status = (int)status;
    c->retry_after_ms = wait > 0 && wait < 86400 ? wait * 1000 : 0;
    return 0;
}

static int read_body(struct client *c, json_t **out, struct error *err)
{
    json_t *value = NULL;
    if (out && c->body.len && !(value = js_parse(c->body.data, c->body.len, err)))
        return error_prefix(err, "The answer of %s", c->server);
    if (out)
        *out = value;
    return 0;
}

static int answer(struct client *c, json_t **out, struct error *err)
{
    if (client_perform(c, err) < 0)
        return -1;
    return c->status >= 200 && c->status < 300 ? read_body(c, out, err) : client_refusal(c, err);
}

int client_get(struct client *c, const char *path, json_t **out, struct error *err)
{
    return client_call(c, "GET", path, NULL, out, err);
}

int client_call(struct client *c, const char *method, const char *path, const json_t *body, json_t **out,
                struct error *err)
{
    client_prepare(c, path, body ? c->json_headers : c->headers, &c->body);
    _cleanup_free_ char *text = body ? js_dumps(body) : NULL;
    if (text)
        curl_easy_setopt(c->curl, CURLOPT_COPYPOSTFIELDS, text);
    else if (strcmp(method, "POST") == 0)
        curl_easy_setopt(c->curl, CURLOPT_COPYPOSTFIELDS, "");
    if (strcmp(method, "GET") != 0)
        curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, method);
    return answer(c, out, err);
}

int client_probe(struct client *c, const char *path, json_t **out, int *status, struct error *err)
{
    client_prepare(c, path, c->headers, &c->body);
    if (client_perform(c, err) < 0 || read_body(c, out, err) < 0)
        return -1;
    *status = c->status;
    return 0;
}

int client_fetch(struct client *c, const char *path, struct buf *out, char type[CLIENT_TYPE], struct error *err)
{
    char *said = NULL;
    client_prepare(c, path, c->headers, out);
    if (client_perform(c, err) < 0)
        return -1;
    if (c->status != 200) {
        buf_clear(&c->body);
        buf_append(&c->body, out->data ? out->data : "", out->len);
        return client_refusal(c, err);
    }
    curl_easy_getinfo(c->curl, CURLINFO_CONTENT_TYPE, &said);
    snprintf(type, CLIENT_TYPE, "%s", said ? said : "application/octet-stream");
    return 0;
}

int client_post_file(struct client *c, const char *path, int fd, uint64_t size, json_t **out, struct error *err)
{
    struct outgoing o = {.fd = fd, .size = size};
    client_prepare(c, path, c->bytes_headers, &c->body);
    curl_easy_setopt(c->curl, CURLOPT_POST, 1L);
    curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, NULL);
    curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
    curl_easy_setopt(c->curl, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(c->curl, CURLOPT_READDATA, &o);
    curl_easy_setopt(c->curl, CURLOPT_SEEKFUNCTION, on_seek);
    curl_easy_setopt(c->curl, CURLOPT_SEEKDATA, &o);
    int rc = answer(c, out, err);
    curl_easy_setopt(c->curl, CURLOPT_READFUNCTION, NULL);
    curl_easy_setopt(c->curl, CURLOPT_READDATA, NULL);
    curl_easy_setopt(c->curl, CURLOPT_SEEKFUNCTION, NULL);
    curl_easy_setopt(c->curl, CURLOPT_SEEKDATA, NULL);
    return rc;
}

int client_post_form(struct client *c, const char *path, const json_t *fields, const char *file, json_t **out,
                     struct error *err)
{
    client_prepare(c, path, c->headers, &c->body);
    curl_mime *form = curl_mime_init(c->curl);
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)fields, name, value)
    {
        curl_mimepart *part = curl_mime_addpart(form);
        curl_mime_name(part, name);
        curl_mime_data(part, json_string_value(value), CURL_ZERO_TERMINATED);
    }
    curl_mimepart *part = curl_mime_addpart(form);
    curl_mime_name(part, "file");
    if (curl_mime_filedata(part, file) != CURLE_OK) {
        curl_mime_free(form);
        return error_errno(err, ERR_IO, errno, "%.200s cannot be read", file);
    }
    curl_easy_setopt(c->curl, CURLOPT_MIMEPOST, form);
    int rc = answer(c, out, err);
    curl_easy_setopt(c->curl, CURLOPT_MIMEPOST, NULL);
    curl_mime_free(form);
    return rc;
}

void client_segment(struct buf *path, const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
                     strchr("-._~", *p) != NULL;
        char coded[3] = {'%', digits[*p >> 4], digits[*p & 15]};
        buf_append(path, plain ? (const char *)p : coded, plain ? 1 : 3);
    }
}

void client_query(struct buf *path, const char *name, const char *value)
{
    if (!value)
        return;
    bool first = !path->data || !strchr(path->data, '?');
    buf_puts(path, first ? "?" : "&");
    client_segment(path, name);
    buf_puts(path, "=");
    client_segment(path, value);
}
