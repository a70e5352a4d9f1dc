// SPDX-License-Identifier: Apache-2.0
// On libcurl's multi interface. Its resolver has threads of its own, so that a slow name server holds nobody up.
#include "net/post.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

enum { ANSWER_MAX = 64 * 1024, RETRY_AFTER_MAX_S = 86400 };

struct poster {
    CURLM *multi;
    struct net_ranges allowed;
    int64_t timeout_ms;
    struct sending *first; // a list
    _Atomic bool woken;
};

struct sending {
    struct sending *prev, *next;
    struct poster *poster;
    CURL *curl;
    struct curl_slist *headers;
    char why[CURL_ERROR_SIZE];
    bool refused; // an address that may not be called
    size_t heard; // bytes of the answer
    post_done_fn *done;
    void *arg;
};

// ---- What may be called

static int check_host(CURLU *url, const struct net_ranges *allowed, struct error *err)
{
    char *host = NULL;
    struct net_ranges self;
    if (curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK || !host || !*host) {
        curl_free(host);
        return error_set(err, ERR_INVALID, "The address names no host");
    }
    char bare[256];
    size_t len = strlen(host);
    bool six = len > 2 && host[0] == '[' && host[len - 1] == ']';
    snprintf(bare, sizeof bare, "%.*s", six ? (int)len - 2 : (int)len, host + six);
    curl_free(host);
    if (net_ranges_parse(bare, &self, NULL) < 0 || self.count != 1)
        return 0; // a name: looked at when it is called
    struct sockaddr_in6 address = {.sin6_family = AF_INET6};
    memcpy(&address.sin6_addr, self.list[0].bits, 16);
    if (net_may_call((struct sockaddr *)&address, allowed))
        return 0;
    return error_set(err, ERR_INVALID, "%s is a private or special address, which is not called (webhook.allow)", bare);
}

static bool has_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    bool has = curl_url_get(url, part, &text, 0) == CURLUE_OK;
    curl_free(text);
    return has;
}

int post_check_url(const char *text, const struct net_ranges *allowed, struct error *err)
{
    CURLU *url = curl_url();
    int rc;
    if (strlen(text) >= POST_URL_MAX)
        rc = error_set(err, ERR_INVALID, "The address is longer than %d bytes", POST_URL_MAX - 1);
    else if ((strncasecmp(text, "http://", 7) != 0 && strncasecmp(text, "https://", 8) != 0) ||
             curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK)
        rc = error_set(err, ERR_INVALID, "\"%.100s\" is no http:// or https:// address", text);
    else if (has_part(url, CURLUPART_USER) || has_part(url, CURLUPART_PASSWORD) || has_part(url, CURLUPART_FRAGMENT))
        rc = error_set(err, ERR_INVALID, "The address may hold neither a user, nor a password, nor a fragment");
    else
        rc = check_host(url, allowed, err);
    curl_url_cleanup(url);
    return rc;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct sending *s = arg;
    if (!net_may_call(&address->addr, &s->poster->allowed)) {
        s->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

// ---- Requests

static void sending_free(struct sending *s)
{
    if (s->curl)
        curl_easy_cleanup(s->curl);
    curl_slist_free_all(s->headers);
    free(s);
}

static size_t on_answer(char *data, size_t one, size_t count, void *arg)
{
    struct sending *s = arg;
    s->heard += one * count;
    return s->heard > ANSWER_MAX ? 0 : one * count;
}

static int add_headers(struct sending *s, const struct post *post)
{
    for (int i = 0; i < POST_HEADERS_MAX && post->headers[i]; i++) {
        struct curl_slist *more = curl_slist_append(s->headers, post->headers[i]);
        if (!more)
            return -1;
        s->headers = more;
    }
    struct curl_slist *more = curl_slist_append(s->headers, "Expect:"); // no waiting for a 100
    if (!more)
        return -1;
    s->headers = more;
    return 0;
}

static void set_up(struct sending *s, const struct post *post)
{
    CURL *c = s->curl;
    curl_easy_setopt(c, CURLOPT_URL, post->url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_PROXY, ""); // one would call for us whatever it likes
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)post->len);
    curl_easy_setopt(c, CURLOPT_COPYPOSTFIELDS, post->body);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, s->headers);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "DeepLens/" DEEPLENS_VERSION);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)s->poster->timeout_ms);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)s->poster->timeout_ms);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, s);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_answer);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, s);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, s->why);
    curl_easy_setopt(c, CURLOPT_PRIVATE, s);
}

int poster_send(struct poster *p, const struct post *post, post_done_fn *done, void *arg, struct error *err)
{
    struct sending *s = calloc(1, sizeof *s);
    if (!s || !(s->curl = curl_easy_init()))
        goto failed;
    s->poster = p;
    s->done = done;
    s->arg = arg;
    if (add_headers(s, post) < 0)
        goto failed;
    set_up(s, post);
    if (curl_multi_add_handle(p->multi, s->curl) != CURLM_OK)
        goto failed;
    s->next = p->first;
    if (s->next)
        s->next->prev = s;
    p->first = s;
    return 0;
failed:
    if (s)
        sending_free(s);
    return error_set(err, ERR_NO_MEMORY, "No memory for a request");
}

static void describe(struct sending *s, CURLcode code, struct post_result *out)
{
    long status = 0;
    curl_off_t took = 0, wait = 0;
    curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(s->curl, CURLINFO_TOTAL_TIME_T, &took);
    curl_easy_getinfo(s->curl, CURLINFO_RETRY_AFTER, &wait);
    out->took_ms = took / 1000;
    bool answered = status && (code == CURLE_OK || (code == CURLE_WRITE_ERROR && s->heard > ANSWER_MAX));
    if (answered) {
        out->status = (int)status;
        out->retry_after_ms = wait > 0 && wait <= RETRY_AFTER_MAX_S ? wait * 1000 : 0;
        if (status < 200 || status > 299)
            error_set(&out->error, ERR_UNAVAILABLE, "It answered with status %ld%s", status,
                      status / 100 == 3 ? ", and redirects are not followed" : "");
    } else if (s->refused) {
        error_set(&out->error, ERR_FORBIDDEN, "Its address is a private or special one, which is not called");
    } else if (code == CURLE_OPERATION_TIMEDOUT) {
        error_set(&out->error, ERR_TIMEOUT, "It did not answer within %lld ms", (long long)s->poster->timeout_ms);
    } else {
        error_set(&out->error, ERR_UNAVAILABLE, "%.200s", *s->why ? s->why : curl_easy_strerror(code));
    }
}

static void finish(struct sending *s, CURLcode code)
{
    struct poster *p = s->poster;
    struct post_result result = {0};
    describe(s, code, &result);
    curl_multi_remove_handle(p->multi, s->curl);
    *(s->prev ? &s->prev->next : &p->first) = s->next;
    if (s->next)
        s->next->prev = s->prev;
    s->done(s->arg, &result);
    sending_free(s);
}

static bool finish_ended(struct poster *p)
{
    CURLMsg *message;
    int left;
    bool any = false;
    while ((message = curl_multi_info_read(p->multi, &left))) {
        struct sending *s = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&s);
        finish(s, code);
        any = true;
    }
    return any;
}

void poster_run(struct poster *p, int64_t wait_ms)
{
    int64_t until = clock_mono_us() + wait_ms * 1000;
    int running;
    for (;;) {
        curl_multi_perform(p->multi, &running);
        int64_t left = (until - clock_mono_us() + 999) / 1000;
        if (finish_ended(p) || left <= 0 || atomic_exchange(&p->woken, false))
            return;
        curl_multi_poll(p->multi, NULL, 0, (int)(left < 1000 ? left : 1000), NULL);
    }
}

void poster_wake(struct poster *p)
{
    atomic_store(&p->woken, true);
    curl_multi_wakeup(p->multi);
}

int poster_new(const struct net_ranges *allowed, int64_t timeout_ms, struct poster **out, struct error *err)
{
    struct poster *p = calloc(1, sizeof *p);
    if (!p || !(p->multi = curl_multi_init())) {
        free(p);
        return error_set(err, ERR_NO_MEMORY, "No memory to call others");
    }
    p->allowed = *allowed;
    p->timeout_ms = timeout_ms;
    *out = p;
    return 0;
}

void poster_free(struct poster *p)
{
    if (!p)
        return;
    for (struct sending *s = p->first, *next; s; s = next) {
        next = s->next;
        curl_multi_remove_handle(p->multi, s->curl);
        sending_free(s);
    }
    curl_multi_cleanup(p->multi);
    free(p);
}
