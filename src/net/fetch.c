// SPDX-License-Identifier: Apache-2.0
// On libcurl's easy interface.
#include "net/fetch.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "net/post.h"

enum { SLOW_BYTES = 128, TOTAL_FACTOR = 20 }; // a second, below which nothing moves

struct fetching {
    const struct fetch *what;
    CURL *curl;
    struct curl_slist *headers;
    struct buf *said;
    bool refused;
    struct error why; // of take
};

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)purpose;
    struct fetching *f = arg;
    if (!net_may_call(&address->addr, f->what->allowed)) {
        f->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t on_data(char *data, size_t one, size_t count, void *arg)
{
    struct fetching *f = arg;
    long status = 0;
    size_t len = one * count;
    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200 && status <= 299)
        return f->what->take(f->what->arg, data, len, &f->why) < 0 ? 0 : len;
    size_t room = f->said->max - f->said->len;
    buf_append(f->said, data, len < room ? len : room);
    return len;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    const struct fetching *f = arg;
    return f->what->stop && *f->what->stop;
}

static void set_up(struct fetching *f, char why[CURL_ERROR_SIZE])
{
    CURL *c = f->curl;
    long timeout_ms = (long)f->what->timeout_ms;
    curl_easy_setopt(c, CURLOPT_URL, f->what->url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_PROXY, ""); // one would call for us whatever it likes
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "DeepLens/" DEEPLENS_VERSION);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, timeout_ms);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, timeout_ms * TOTAL_FACTOR);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, (long)SLOW_BYTES);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, timeout_ms / 1000 ? timeout_ms / 1000 : 1L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, f);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, f);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, f);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
    if (f->what->json) {
        f->headers = curl_slist_append(NULL, "Content-Type: application/json");
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, f->what->json);
        curl_easy_setopt(c, CURLOPT_HTTPHEADER, f->headers);
        curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, timeout_ms);
    }
    if (f->what->bearer) {
        curl_easy_setopt(c, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
        curl_easy_setopt(c, CURLOPT_XOAUTH2_BEARER, f->what->bearer);
    }
}

static int describe(const struct fetching *f, CURLcode code, int status, const char *why, struct error *err)
{
    if (f->why.code)
        return error_copy(err, &f->why);
    if (f->refused)
        return error_set(err, ERR_FORBIDDEN, "Its address is a private or special one, which is not called");
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return error_set(err, ERR_CANCELLED, "It was broken off");
    if (code == CURLE_OPERATION_TIMEDOUT)
        return error_set(err, ERR_TIMEOUT, "Nothing came for %lld ms", (long long)f->what->timeout_ms);
    if (code != CURLE_OK)
        error_set(err, ERR_UNAVAILABLE, "%.200s", *why ? why : curl_easy_strerror(code));
    else
        error_set(err, ERR_UNAVAILABLE, "It answered with status %d%s", status,
                  status / 100 == 3 ? ", and redirects are not followed" : "");
    return error_no_outage(err); // of whom is fetched we know nothing
}

int net_fetch(const struct fetch *what, int *status, struct buf *said, struct error *err)
{
    char why[CURL_ERROR_SIZE] = "";
    long answered = 0, sent = 0;
    struct fetching f = {.what = what, .said = said};
    *status = 0;
    if (post_check_url(what->url, what->allowed, err) < 0)
        return -1;
    f.curl = curl_easy_init();
    if (!f.curl)
        return error_set(err, ERR_NO_MEMORY, "No memory for a request");
    set_up(&f, why);
    CURLcode code = curl_easy_perform(f.curl);
    curl_easy_getinfo(f.curl, CURLINFO_RESPONSE_CODE, &answered);
    curl_easy_getinfo(f.curl, CURLINFO_REQUEST_SIZE, &sent);
    curl_easy_cleanup(f.curl);
    curl_slist_free_all(f.headers);
    if (what->reached)
        *what->reached = sent > 0;
    *status = (int)answered;
    if (code == CURLE_OK && answered >= 200 && answered <= 299)
        return 0;
    return describe(&f, code, *status, why, err);
}
