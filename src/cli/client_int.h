// SPDX-License-Identifier: Apache-2.0
// What the files of the client share.
//
// client.c          requests and answers
// client_stream.c   answers that go on
#ifndef DEEPLENS_CLI_CLIENT_INT_H
#define DEEPLENS_CLI_CLIENT_INT_H

#include <curl/curl.h>

#include "cli/client.h"

enum { CLIENT_STALLED_S = 120 };

struct client {
    CURL *curl;
    char *server; // without a '/' at its end
    struct curl_slist *headers;
    struct curl_slist *json_headers;  // the same and Content-Type: application/json
    struct curl_slist *bytes_headers; // the same and Content-Type: application/octet-stream
    struct buf body;
    char reason[CURL_ERROR_SIZE];
    CURLcode result;
    int status;
    int64_t retry_after_ms;
};

void client_prepare(struct client *c, const char *path, struct curl_slist *headers, struct buf *body);
int client_perform(struct client *c, struct error *err);
// The problem document's code and detail in the body, or the best that the status says. -1.
int client_refusal(struct client *c, struct error *err);

#endif
