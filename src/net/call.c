// SPDX-License-Identifier: Apache-2.0
// Requests on curl's multi interface: see call.h. A multi handle keeps its connections; one that is free is taken up by
// the next who calls.
#include "net/call.h"

#include <ctype.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { IDLE_MAX = 64, CONNECT_MS = 5000, POLL_MS = 1000 };

struct caller {
    char url[CALL_URL_MAX];
    char *bearer, *ca_file; // "Authorization: Bearer …", or NULL; NULL
    pthread_mutex_t lock;
    CURLM *idle[IDLE_MAX]; // [lock]
    size_t idle_count;     // [lock]
};

struct transfer {
    struct call *call;
    CURL *curl;
    struct curl_slist *headers;
    bool overflow, ended;
    char why[CURL_ERROR_SIZE];
};

int call_check_url(const char *url, struct error *err)
{
    size_t scheme = strncmp(url, "https://", 8) == 0 ? 8 : strncmp(url, "http://", 7) == 0 ? 7 : 0;
    bool good = scheme && strlen(url) < CALL_URL_MAX && (isalnum((unsigned char)url[scheme]) || url[scheme] == '[');
    for (const char *p = url; *p; p++)
        good = good && *p > ' ' && *p <= '~' && !strchr("?#@\"", *p);
    return good
               ? 0
               : error_set(err, ERR_CONFIG,
                           "must be a scheme, a host and a port, such as http://gpu.example:8000, without credentials");
}

int caller_new(const char *url, const char *token, const char *ca_file, struct caller **out, struct error *err)
{
    for (const char *p = token; *p; p++)
        if (*p <= ' ' || *p > '~')
            return error_set(err, ERR_CONFIG, "The token for %.100s holds characters that no token has (a space?)",
                             url);
    struct caller *c = calloc(1, sizeof *c);
    if (!c)
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    pthread_mutex_init(&c->lock, NULL);
    snprintf(c->url, sizeof c->url, "%s", url);
    for (size_t len = strlen(c->url); len && c->url[len - 1] == '/';)
        c->url[--len] = 0;
    bool whole = (!*token || asprintf(&c->bearer, "Authorization: Bearer %s", token) >= 0) &&
                 (!*ca_file || (c->ca_file = strdup(ca_file)));
    if (!whole) {
        caller_free(c);
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    }
    *out = c;
    return 0;
}

void caller_free(struct caller *c)
{
    if (!c)
        return;
    while (c->idle_count)
        curl_multi_cleanup(c->idle[--c->idle_count]);
    if (c->bearer)
        explicit_bzero(c->bearer, strlen(c->bearer));
    free(c->bearer);
    free(c->ca_file);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static CURLM *take_multi(struct caller *c)
{
    CURLM *multi = NULL;
    pthread_mutex_lock(&c->lock);
    if (c->idle_count)
        multi = c->idle[--c->idle_count];
    pthread_mutex_unlock(&c->lock);
    return multi ? multi : curl_multi_init();
}

static void give_multi(struct caller *c, CURLM *multi)
{
    pthread_mutex_lock(&c->lock);
    bool kept = c->idle_count < IDLE_MAX;
    if (kept)
        c->idle[c->idle_count++] = multi;
    pthread_mutex_unlock(&c->lock);
    if (!kept)
        curl_multi_cleanup(multi);
}

static size_t on_receive(char *data, size_t size, size_t count, void *arg)
{
    struct transfer *t = arg;
    t->overflow = buf_append(&t->call->answer, data, size * count) < 0;
    return t->overflow ? 0 : size * count;
}

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    static const char name[] = "Retry-After:";
    struct transfer *t = arg;
    char text[64];
    snprintf(text, sizeof text, "%.*s", (int)(size * count < sizeof text ? size * count : sizeof text - 1), line);
    if (strncasecmp(text, name, sizeof name - 1) == 0) {
        long long seconds = strtoll(text + sizeof name - 1, NULL, 10);
        t->call->retry_after_ms = seconds < 0 ? 0 : seconds > 3600 ? 3600000 : seconds * 1000;
    }
    return size * count;
}

static bool add_header(struct transfer *t, const char *line)
{
    struct curl_slist *longer = curl_slist_append(t->headers, line);
    if (longer)
        t->headers = longer;
    return longer != NULL;
}

static bool make_headers(const struct caller *c, struct transfer *t)
{
    char type[160];
    snprintf(type, sizeof type, "Content-Type: %s", t->call->content_type ? t->call->content_type : "");
    return add_header(t, "Accept: application/json") && (!c->bearer || add_header(t, c->bearer)) &&
           (!t->call->body || add_header(t, type));
}

static void set_options(const struct caller *c, struct transfer *t)
{
    const struct call *call = t->call;
    long timeout = (long)call->timeout_ms;
    curl_easy_setopt(t->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(t->curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(t->curl, CURLOPT_USERAGENT, "DeepLens/" DEEPLENS_VERSION);
    curl_easy_setopt(t->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(t->curl, CURLOPT_ERRORBUFFER, t->why);
    curl_easy_setopt(t->curl, CURLOPT_CONNECTTIMEOUT_MS, timeout < CONNECT_MS ? timeout : (long)CONNECT_MS);
    curl_easy_setopt(t->curl, CURLOPT_TIMEOUT_MS, timeout);
    curl_easy_setopt(t->curl, CURLOPT_WRITEFUNCTION, on_receive);
    curl_easy_setopt(t->curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(t->curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(t->curl, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(t->curl, CURLOPT_PRIVATE, t);
    curl_easy_setopt(t->curl, CURLOPT_EXPECT_100_TIMEOUT_MS, 0L);
    if (call->body) {
        curl_easy_setopt(t->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->len);
        curl_easy_setopt(t->curl, CURLOPT_POSTFIELDS, call->body);
    }
    if (c->ca_file)
        curl_easy_setopt(t->curl, CURLOPT_CAINFO, c->ca_file);
}

static bool begin(const struct caller *c, CURLM *multi, struct call *call, struct transfer *t)
{
    char url[CALL_URL_MAX + 512];
    *t = (struct transfer){.call = call, .curl = curl_easy_init()};
    buf_clear(&call->answer);
    call->answer.max = call->answer_max;
    call->status = 0;
    call->retry_after_ms = 0;
    call->end = CALL_NO_MEMORY;
    snprintf(call->why, sizeof call->why, "out of memory");
    if (!t->curl || !make_headers(c, t))
        return false;
    set_options(c, t);
    snprintf(url, sizeof url, "%s%s", c->url, call->path);
    return curl_easy_setopt(t->curl, CURLOPT_URL, url) == CURLE_OK && curl_multi_add_handle(multi, t->curl) == CURLM_OK;
}

static bool was_connected(CURL *curl)
{
    curl_off_t sent_after = 0;
    return curl_easy_getinfo(curl, CURLINFO_PRETRANSFER_TIME_T, &sent_after) == CURLE_OK && sent_after > 0;
}

static enum call_end end_of(const struct transfer *t, CURLcode rc)
{
    if (t->overflow)
        return CALL_TOO_LARGE;
    if (rc == CURLE_OK)
        return CALL_ANSWERED;
    if (rc == CURLE_OUT_OF_MEMORY)
        return CALL_NO_MEMORY;
    if (!was_connected(t->curl))
        return CALL_UNREACHED;
    return rc == CURLE_OPERATION_TIMEDOUT ? CALL_SILENT : CALL_TORN;
}

static void finish(struct transfer *t, CURLcode rc)
{
    struct call *call = t->call;
    t->ended = true;
    call->end = end_of(t, rc);
    call->why[0] = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &call->status);
    if (t->overflow)
        snprintf(call->why, sizeof call->why, "its answer is larger than %zu bytes", call->answer_max);
    else if (rc != CURLE_OK)
        snprintf(call->why, sizeof call->why, "%s", *t->why ? t->why : curl_easy_strerror(rc));
}

// Until all have ended, or curl itself fails: then the others are what begin() made them.
static void drive(CURLM *multi)
{
    int running = 1, left;
    while (running) {
        if (curl_multi_perform(multi, &running) != CURLM_OK)
            return;
        for (CURLMsg *m; (m = curl_multi_info_read(multi, &left));) {
            struct transfer *t = NULL;
            CURLcode rc = m->data.result;
            if (m->msg == CURLMSG_DONE && curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t) == CURLE_OK)
                finish(t, rc);
        }
        if (running && curl_multi_poll(multi, NULL, 0, POLL_MS, NULL) != CURLM_OK)
            return;
    }
}

void caller_run(struct caller *c, struct call *const *calls, size_t count)
{
    CURLM *multi = take_multi(c);
    struct transfer *transfers = calloc(count ? count : 1, sizeof *transfers);
    for (size_t i = 0; i < count; i++) {
        calls[i]->end = CALL_NO_MEMORY;
        if (multi && transfers)
            begin(c, multi, calls[i], &transfers[i]);
    }
    if (multi && transfers)
        drive(multi);
    for (size_t i = 0; transfers && i < count; i++) {
        if (multi && transfers[i].curl)
            curl_multi_remove_handle(multi, transfers[i].curl);
        curl_easy_cleanup(transfers[i].curl);
        curl_slist_free_all(transfers[i].headers);
    }
    free(transfers);
    if (multi)
        give_multi(c, multi);
}
