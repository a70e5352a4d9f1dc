// SPDX-License-Identifier: Apache-2.0
// The server and the client of the tests.
#include "support.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/js.h"

// ---- routes

static void on_text(struct http_request *req, void *ctx, void *sink)
{
    http_reply_text(req, 200, "text/plain", "fine\n");
}

static void on_part(struct http_request *req, void *ctx, void *sink)
{
    http_set_header(req, "X-Path", http_path(req));
    json_t *out = json_object();
    js_set_str(out, "method", http_method(req));
    js_set_str(out, "id", http_param(req, "id"));
    js_set_str(out, "part", http_param(req, "part"));
    js_set_str(out, "q", http_query(req, "q"));
    js_set_str(out, "flag", http_query(req, "flag"));
    js_set_str(out, "test", http_header(req, "x-test"));
    http_reply_json(req, 200, out);
}

static void on_literal(struct http_request *req, void *ctx, void *sink)
{
    http_reply_text(req, 200, "text/plain", "literal");
}

static void on_delete(struct http_request *req, void *ctx, void *sink)
{
    http_reply_empty(req, 204);
}

static void on_echo(struct http_request *req, void *ctx, void *sink)
{
    size_t len;
    const char *body = http_body(req, &len);
    assert_int_equal(body[len], 0);
    char *copy = malloc(len + 1);
    memcpy(copy, body, len);
    http_reply_bytes(req, 200, "application/octet-stream", copy, len);
}

static void on_silent(struct http_request *req, void *ctx, void *sink)
{
}

static void on_twice(struct http_request *req, void *ctx, void *sink)
{
    http_reply_text(req, 201, "text/plain", "first");
    http_reply_text(req, 202, "text/plain", "second");
}

static void on_error(struct http_request *req, void *ctx, void *sink)
{
    struct error err;
    error_set(&err, error_code_parse(http_param(req, "code")), "As \"you\" asked: \xff");
    http_reply_error(req, &err);
}

static void on_block(struct http_request *req, void *ctx, void *sink)
{
    struct world *w = ctx;
    pthread_mutex_lock(&w->lock);
    w->blocked++;
    pthread_cond_broadcast(&w->changed);
    while (!w->open)
        pthread_cond_wait(&w->changed, &w->lock);
    w->blocked--;
    pthread_mutex_unlock(&w->lock);
    http_reply_text(req, 200, "text/plain", "let through");
}

// ---- contents

char content_byte(uint64_t offset)
{
    return (char)(offset * 7 + offset / 251);
}

struct opened {
    struct world *w;
    int fd;
    bool broken;
};

static int content_read(void *arg, uint64_t offset, void *buf, size_t len)
{
    const struct opened *o = arg;
    for (size_t i = 0; i < len; i++)
        ((char *)buf)[i] = content_byte(offset + i);
    return o->broken && offset > CONTENT_SIZE / 2 ? -1 : 0;
}

static void content_close(void *arg)
{
    struct opened *o = arg;
    o->w->content_closed++;
    if (o->fd >= 0)
        close(o->fd);
    free(o);
}

static int content_file(void)
{
    int fd = memfd_create("content", MFD_CLOEXEC);
    char *data = malloc(CONTENT_SIZE);
    for (size_t i = 0; i < CONTENT_SIZE; i++)
        data[i] = content_byte(i);
    assert_int_equal(pwrite(fd, data, CONTENT_SIZE, 0), CONTENT_SIZE);
    free(data);
    return fd;
}

static void on_content(struct http_request *req, void *ctx, void *sink)
{
    const char *kind = http_param(req, "kind");
    struct opened *o = calloc(1, sizeof *o);
    *o = (struct opened){.w = ctx, .fd = strcmp(kind, "fd") == 0 ? content_file() : -1};
    o->broken = strcmp(kind, "broken") == 0;
    o->w->content_opened++;
    struct http_content content = {
        .size = strcmp(kind, "empty") == 0 ? 0 : CONTENT_SIZE,
        .fd = o->fd,
        .read = content_read,
        .close = content_close,
        .arg = o,
        .content_type = "image/test",
        .etag = "tag-1",
        .disposition = "attachment; filename=\"a.png\"",
        .cache_control = "private, max-age=60",
    };
    http_reply_content(req, &content);
}

// ---- the sink: remembers what came as one line per part, "field|file name|type|length|checksum"

struct heard {
    struct world *w;
    struct buf text;
    uint64_t len;
    unsigned sum;
    bool any;
};

static void part_over(struct heard *h)
{
    if (h->any)
        buf_printf(&h->text, "%llu|%u\n", (unsigned long long)h->len, h->sum);
    h->any = false;
}

static int heard_begin(struct http_request *req, void *ctx, void **sink, struct error *err)
{
    struct world *w = ctx;
    if (http_header(req, "X-Refuse"))
        return error_set(err, ERR_UNAUTHORIZED, "Not you");
    struct heard *h = calloc(1, sizeof *h);
    h->w = w;
    h->text = BUF_INIT(1 << 20);
    w->begun++;
    *sink = h;
    return 0;
}

static int heard_data(void *sink, const char *field, const char *file_name, const char *content_type, const char *data,
                      uint64_t offset, size_t len, struct error *err)
{
    struct heard *h = sink;
    if (offset == 0) {
        part_over(h);
        h->any = true;
        h->len = 0;
        h->sum = 0;
        buf_printf(&h->text, "%s|%s|%s|", field ? field : "-", file_name ? file_name : "-",
                   content_type ? content_type : "-");
    }
    if (offset != h->len)
        return error_set(err, ERR_INTERNAL, "A piece at %llu, not %llu", (unsigned long long)offset,
                         (unsigned long long)h->len);
    h->len += len;
    for (size_t i = 0; i < len; i++)
        h->sum = h->sum * 31 + (unsigned char)data[i];
    if (field && strcmp(field, "refuse") == 0)
        return error_set(err, ERR_UNSUPPORTED_MEDIA, "This field is never taken");
    return 0;
}

static void heard_free(struct heard *h)
{
    buf_free(&h->text);
    free(h);
}

static void heard_abort(void *sink)
{
    struct heard *h = sink;
    h->w->aborted++;
    heard_free(h);
}

static void on_form(struct http_request *req, void *ctx, void *sink)
{
    struct heard *h = sink;
    h->w->handled++;
    part_over(h);
    http_reply_text(req, 202, "text/plain", h->text.data ? h->text.data : "");
    heard_free(h);
}

static const struct http_sink_ops heard_ops = {.begin = heard_begin, .data = heard_data, .abort = heard_abort};

static const struct http_route routes[] = {
    {.method = "GET", .pattern = "/", .handle = on_text},
    {.method = "GET", .pattern = "/quick", .handle = on_text, .quick = true},
    {.method = "GET", .pattern = "/always", .handle = on_text, .quick = true, .always = true},
    {.method = "GET", .pattern = "/worker", .handle = on_text},
    {.method = "GET", .pattern = "/items/new", .handle = on_literal},
    {.method = "GET", .pattern = "/items/{id}", .handle = on_part},
    {.method = "DELETE", .pattern = "/items/{id}", .handle = on_delete},
    {.method = "GET", .pattern = "/items/{id}/parts/{part}", .handle = on_part},
    {.method = "POST", .pattern = "/echo", .handle = on_echo, .body = HTTP_BODY_BUFFER, .max_body = ECHO_MAX},
    {.method = "POST",
     .pattern = "/form",
     .handle = on_form,
     .body = HTTP_BODY_SINK,
     .max_body = FORM_MAX,
     .sink = &heard_ops},
    {.method = "GET", .pattern = "/content/{kind}", .handle = on_content},
    {.method = "GET", .pattern = "/silent", .handle = on_silent},
    {.method = "GET", .pattern = "/twice", .handle = on_twice},
    {.method = "GET", .pattern = "/errors/{code}", .handle = on_error},
    {.method = "GET", .pattern = "/block", .handle = on_block},
    {.method = "GET", .pattern = "/block-waiter", .handle = on_block, .waits = true},
    {.method = "GET", .pattern = "/waiter", .handle = on_text, .waits = true},
    {0},
};

// ---- the world

static void on_done(void *ctx, const char *method, const char *pattern, int status, int64_t duration_us)
{
    struct world *w = ctx;
    assert_non_null(method);
    assert_non_null(pattern);
    assert_true(duration_us >= 0);
    w->last_status = (unsigned)status;
    w->done++;
}

static unsigned descriptors(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

int world_prepare(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    w->config = (struct http_config){.listen = "127.0.0.1:0",
                                     .poll_threads = 2,
                                     .workers = 3,
                                     .waiters = 2,
                                     .max_queue = 300,
                                     .max_connections = 300,
                                     .idle_timeout_s = 30,
                                     .drain_timeout_s = 30,
                                     .routes = routes,
                                     .ctx = w,
                                     .on_done = on_done};
    w->descriptors = descriptors();
    *state = w;
    return 0;
}

void world_start(struct world *w)
{
    struct error err;
    if (http_start(&w->config, &w->server, &err) != 0)
        fail_msg("%s", err.message);
    w->port = (unsigned short)atoi(strrchr(http_address(w->server), ':') + 1);
}

int world_setup(void **state)
{
    world_prepare(state);
    world_start(*state);
    return 0;
}

void world_open_gate(struct world *w)
{
    pthread_mutex_lock(&w->lock);
    w->open = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

void world_wait_blocked(struct world *w, unsigned count)
{
    pthread_mutex_lock(&w->lock);
    while (w->blocked < count)
        pthread_cond_wait(&w->changed, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

unsigned world_stop(struct world *w)
{
    struct http_server *server = w->server;
    w->server = NULL;
    return server ? http_stop(server) : 0;
}

int world_teardown(void **state)
{
    struct world *w = *state;
    world_open_gate(w);
    world_stop(w);
    assert_int_equal(w->begun, w->handled + w->aborted);
    assert_int_equal(w->content_opened, w->content_closed);
    assert_int_equal(descriptors(), w->descriptors);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->changed);
    free(w);
    return 0;
}

void wait_until(atomic_uint *counter, unsigned value)
{
    for (int i = 0; i < 3000 && *counter != value; i++)
        clock_sleep_ms(10);
    assert_int_equal(*counter, value);
}

// ---- the client

int client_connect(const struct world *w)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(w->port)};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

void client_send(int fd, const void *data, size_t len)
{
    for (const char *p = data; len > 0;) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n <= 0)
            return; // the answer tells why the server does not listen
        p += n;
        len -= (size_t)n;
    }
}

void client_puts(int fd, const char *text)
{
    client_send(fd, text, strlen(text));
}

static int read_head(int fd, struct reply *reply)
{
    size_t len = 0;
    while (len < 4 || memcmp(reply->head + len - 4, "\r\n\r\n", 4) != 0) {
        if (len + 1 == sizeof reply->head || recv(fd, reply->head + len, 1, 0) != 1)
            return -1;
        reply->head[++len] = 0;
    }
    reply->status = atoi(reply->head + strlen("HTTP/1.1 "));
    return 0;
}

int client_read(int fd, bool head, struct reply *reply)
{
    memset(reply, 0, sizeof *reply);
    if (read_head(fd, reply) != 0)
        return -1;
    char text[256];
    bool bodiless = head || reply->status == 204 || reply->status == 304 || reply->status < 200;
    if (!bodiless && reply_header(reply, "Content-Length", text))
        reply->len = strtoul(text, NULL, 10);
    reply->body = calloc(1, reply->len + 1);
    for (size_t got = 0; got < reply->len;) {
        ssize_t n = recv(fd, reply->body + got, reply->len - got, 0);
        if (n <= 0) {
            reply->len = got;
            return -1;
        }
        got += (size_t)n;
    }
    return 0;
}

bool client_closed(int fd)
{
    char scratch[4096];
    ssize_t n;
    do
        n = recv(fd, scratch, sizeof scratch, 0);
    while (n > 0);
    return n == 0 || errno == ECONNRESET;
}

void reply_free(struct reply *reply)
{
    free(reply->body);
    reply->body = NULL;
}

const char *reply_header(const struct reply *reply, const char *name, char out[256])
{
    size_t len = strlen(name);
    for (const char *line = strstr(reply->head, "\r\n"); line && line[2] != '\r'; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, len) == 0 && line[2 + len] == ':') {
            const char *value = line + 3 + len + strspn(line + 3 + len, " ");
            snprintf(out, 256, "%.*s", (int)strcspn(value, "\r"), value);
            return out;
        }
    }
    return NULL;
}

int ask(const struct world *w, const char *method, const char *path, const char *extra, const char *body,
        struct reply *reply)
{
    int fd = client_connect(w);
    struct buf out = BUF_INIT(1 << 20);
    buf_printf(&out, "%s %s HTTP/1.1\r\nHost: test\r\nConnection: close\r\n%s", method, path, extra ? extra : "");
    if (body)
        buf_printf(&out, "Content-Length: %zu\r\n", strlen(body));
    buf_printf(&out, "\r\n%s", body ? body : "");
    client_send(fd, out.data, out.len);
    buf_free(&out);
    assert_int_equal(client_read(fd, strcmp(method, "HEAD") == 0, reply), 0);
    assert_true(client_closed(fd));
    close(fd);
    char text[256];
    assert_string_equal(reply_header(reply, "X-Content-Type-Options", text), "nosniff");
    assert_string_equal(reply_header(reply, "Server", text), "deeplens/" DEEPLENS_VERSION);
    return reply->status;
}

int ask_status(const struct world *w, const char *method, const char *path, const char *extra, const char *body)
{
    struct reply reply;
    int status = ask(w, method, path, extra, body, &reply);
    reply_free(&reply);
    return status;
}

void assert_problem(const struct reply *reply, int status, const char *code)
{
    char text[256], type[64];
    assert_int_equal(reply->status, status);
    assert_string_equal(reply_header(reply, "Content-Type", text), "application/problem+json");
    json_t *doc = json_loadb(reply->body, reply->len, 0, NULL);
    assert_non_null(doc);
    snprintf(type, sizeof type, "/problems/%s", code);
    assert_string_equal(js_str(doc, "type", ""), type);
    assert_string_equal(js_str(doc, "code", ""), code);
    assert_int_equal(js_int(doc, "status", 0), status);
    assert_string_not_equal(js_str(doc, "title", ""), "");
    assert_string_not_equal(js_str(doc, "detail", ""), "");
    assert_int_equal(js_str(doc, "instance", "")[0], '/');
    assert_true(json_is_boolean(json_object_get(doc, "retryable")));
    json_decref(doc);
}
