// SPDX-License-Identifier: Apache-2.0
// The client of the HTTP API: one kept-alive connection, JSON in and out. One thread at a time; as many clients as
// wanted. A problem document becomes a struct error with its code and detail; no connection is ERR_UNAVAILABLE.
#ifndef DEEPLENS_CLI_CLIENT_H
#define DEEPLENS_CLI_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"

struct client;

enum { CLIENT_TYPE = 64, CLIENT_PATH_MAX = 16384 };

// `server`: "http://host:port" or "https://…"; `tenant`: sent as X-Tenant-Id, NULL: none. Both are copied.
// ERR_USAGE when `server` is no such address.
int client_new(const char *server, const char *tenant, struct client **out, struct error *err);
void client_free(struct client *c); // takes NULL
DEFINE_CLEANUP(struct client *, client, client_free)
#define _cleanup_client_ _cleanup_(cleanup_client)

const char *client_server(const struct client *c);

// Paths start with '/'. `*out` is the answer's body (NULL when it is empty); `out` may be NULL.
int client_get(struct client *c, const char *path, json_t **out, struct error *err);
int client_call(struct client *c, const char *method, const char *path, const json_t *body, json_t **out,
                struct error *err);

// As client_get, but the body of a refusal (readyz's 503) is an answer, too. `*status` is the HTTP status.
int client_probe(struct client *c, const char *path, json_t **out, int *status, struct error *err);

// Any body, to `out` (whose maximum bounds it), and its media type.
int client_fetch(struct client *c, const char *path, struct buf *out, char type[CLIENT_TYPE], struct error *err);

// POSTs `size` bytes of a file from its beginning as the raw body, streaming.
int client_post_file(struct client *c, const char *path, int fd, uint64_t size, json_t **out, struct error *err);

// POSTs multipart/form-data: the fields (text members of a JSON object) and a file from disk.
int client_post_form(struct client *c, const char *path, const json_t *fields, const char *file, json_t **out,
                     struct error *err);

// GETs what is sent little by little. `line` is given each line, without its end, as it comes; `tick` is called a few
// times a second while something comes, and about once a second otherwise; either ends it by returning false, and that
// is success. ERR_UNAVAILABLE when the connection ends, or has been silent for a minute.
typedef bool client_line_fn(void *arg, char *line);
typedef bool client_tick_fn(void *arg);
int client_lines(struct client *c, const char *path, client_line_fn *line, client_tick_fn *tick, void *arg,
                 struct error *err);

// About the last request. The status is 0 when there was no answer at all.
int client_status(const struct client *c);
bool client_connected(const struct client *c);         // false: not even a connection
int64_t client_retry_after_ms(const struct client *c); // 0: not said

// Building paths: appends "?name=value" or "&name=value", percent-encoded; nothing when `value` is NULL.
void client_query(struct buf *path, const char *name, const char *value);
void client_segment(struct buf *path, const char *text); // percent-encoded
#define CLIENT_PATH BUF_INIT(CLIENT_PATH_MAX)

#endif
