// SPDX-License-Identifier: Apache-2.0
// One request to the server: sent over a connection that is kept, and sent again where that helps.
//
// All requests of this back end may be repeated. Sent again are connections that fail or are torn, 408, 429 and 5xx;
// after 50 ms, doubling, each wait drawn from its upper half. A server that is silent for as long as qdrant.timeout is
// not waited for a second time. When the last attempt finds nobody, requests of the next second fail at once with the
// same error, so that an outage does not hold every thread for as long as the attempts take.
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "backends/index/qdrant_int.h"
#include "base/clock.h"

enum { ATTEMPTS = 4, CONNECT_MS = 5000, WAIT_MS = 50, WAIT_MAX_MS = 2000, DOWN_US = 1000000, SAID_MAX = 200 };

struct transfer { // one attempt
    struct qdrant_answer *answer;
    bool overflow;
};

void qdrant_answer_free(struct qdrant_answer *answer)
{
    buf_free(&answer->text);
    json_decref(answer->json);
    answer->json = answer->result = NULL;
}

// ---- Connections

static CURL *take_handle(struct qdrant *q)
{
    CURL *curl = NULL;
    pthread_mutex_lock(&q->lock);
    if (q->idle_count)
        curl = q->idle[--q->idle_count];
    pthread_mutex_unlock(&q->lock);
    return curl ? curl : curl_easy_init();
}

static void give_handle(struct qdrant *q, CURL *curl)
{
    curl_easy_reset(curl); // keeps the connection
    pthread_mutex_lock(&q->lock);
    bool kept = q->idle_count < QDRANT_IDLE_MAX;
    if (kept)
        q->idle[q->idle_count++] = curl;
    pthread_mutex_unlock(&q->lock);
    if (!kept)
        curl_easy_cleanup(curl);
}

void qdrant_idle_free(struct qdrant *q)
{
    while (q->idle_count)
        curl_easy_cleanup(q->idle[--q->idle_count]);
}

// ---- One attempt

static size_t on_receive(char *data, size_t size, size_t count, void *arg)
{
    struct transfer *t = arg;
    t->overflow = buf_append(&t->answer->text, data, size * count) < 0;
    return t->overflow ? 0 : size * count;
}

static int64_t seconds_of(const char *text) // of a header: at most an hour
{
    long long seconds = strtoll(text, NULL, 10);
    return seconds < 0 ? 0 : seconds > 3600 ? 3600 : seconds;
}

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    static const char name[] = "Retry-After:";
    struct transfer *t = arg;
    size_t len = size * count;
    char text[64];
    snprintf(text, sizeof text, "%.*s", (int)(len < sizeof text ? len : sizeof text - 1), line);
    if (strncasecmp(text, name, sizeof name - 1) == 0)
        t->answer->retry_after = seconds_of(text + sizeof name - 1) * 1000;
    return len;
}

static struct curl_slist *request_headers(const struct qdrant *q, const struct qdrant_request *r)
{
    _cleanup_free_ char *key = NULL;
    struct curl_slist *list = curl_slist_append(NULL, "Accept: application/json");
    if (list && r->body)
        list = curl_slist_append(list, "Content-Type: application/json");
    if (list && *q->config.api_key && asprintf(&key, "api-key: %s", q->config.api_key) >= 0) {
        list = curl_slist_append(list, key);
        explicit_bzero(key, strlen(key));
    }
    return list;
}

static void set_options(const struct qdrant *q, CURL *curl, const struct qdrant_request *r, struct transfer *t,
                        char why[CURL_ERROR_SIZE])
{
    long silence = (long)q->config.timeout_ms;
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "DeepLens/" DEEPLENS_VERSION);
    curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, silence < CONNECT_MS ? silence : (long)CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (silence + 999) / 1000);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_receive);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, r->method);
    curl_easy_setopt(curl, CURLOPT_EXPECT_100_TIMEOUT_MS, 0L); // a body is sent again if it must be: nobody waits
    if (r->body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_len);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, r->body);
    }
    if (*q->config.ca_file)
        curl_easy_setopt(curl, CURLOPT_CAINFO, q->config.ca_file);
}

static void answer_reset(struct qdrant_answer *a)
{
    struct buf text = a->text;
    buf_clear(&text);
    json_decref(a->json);
    *a = (struct qdrant_answer){.text = text};
}

// The outcome of an attempt: CURLE_OK with an answer, or why there is none, in words too.
static CURLcode attempt(struct qdrant *q, const struct qdrant_request *r, struct qdrant_answer *a,
                        char why[CURL_ERROR_SIZE])
{
    struct transfer t = {.answer = a};
    _cleanup_free_ char *url = NULL;
    CURL *curl = take_handle(q);
    struct curl_slist *headers = request_headers(q, r);
    CURLcode rc = CURLE_OUT_OF_MEMORY;
    answer_reset(a);
    why[0] = 0;
    if (curl && headers && asprintf(&url, "%s%s", q->config.url, r->path) >= 0) {
        set_options(q, curl, r, &t, why);
        curl_easy_setopt(curl, CURLOPT_URL, url);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        rc = curl_easy_perform(curl);
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &a->status);
    }
    if (t.overflow)
        snprintf(why, CURL_ERROR_SIZE, "the answer is larger than %d MiB", QDRANT_TEXT_MAX >> 20);
    else if (rc != CURLE_OK && !*why)
        snprintf(why, CURL_ERROR_SIZE, "%s", curl_easy_strerror(rc));
    if (curl)
        give_handle(q, curl);
    curl_slist_free_all(headers);
    return t.overflow ? CURLE_FILESIZE_EXCEEDED : rc;
}

// ---- What an answer means

static void read_json(struct qdrant_answer *a)
{
    a->json = a->text.len ? js_parse(a->text.data, a->text.len, NULL) : NULL;
    if (!json_is_object(a->json)) {
        json_decref(a->json);
        a->json = NULL;
    }
    a->result = json_object_get(a->json, "result");
}

// What Qdrant says of what it did not do: {"status": {"error": "…"}}, or plain text; cut to a line.
static const char *said(const struct qdrant_answer *a, char out[SAID_MAX])
{
    const char *text = js_str(js_obj(a->json, "status"), "error", NULL);
    if (!text)
        text = !a->json && a->text.len ? a->text.data : "";
    snprintf(out, SAID_MAX, "%s", text);
    out[strcspn(out, "\r\n")] = 0;
    return out;
}

static bool helps_to_repeat(long status)
{
    return status == 408 || status == 429 || (status >= 500 && status != 501 && status != 507);
}

// What the caller looks at itself. A 404 that is not Qdrant's own comes from something else at that address.
static bool is_answer(const struct qdrant_answer *a)
{
    if (!a->json)
        return false;
    return a->status == 200 || ((a->status == 404 || a->status == 409) && js_obj(a->json, "status"));
}

static int say_failure(const struct qdrant *q, const struct qdrant_request *r, const struct qdrant_answer *a,
                       struct error *err)
{
    char text[SAID_MAX];
    bool wrong = a->status == 400 || a->status == 413 || a->status == 422; // this request; what else, all requests meet
    enum error_code code = a->status == 507             ? ERR_DISK_FULL
                           : wrong                      ? ERR_IO
                           : helps_to_repeat(a->status) ? ERR_UNAVAILABLE
                                                        : ERR_CONFIG;
    said(a, text);
    if (a->status == 401 || a->status == 403)
        error_set(err, code, "Qdrant at %.200s does not take the API key (qdrant.api_key): %s", q->config.url, text);
    else if (a->status < 300 || a->status == 404 || a->status == 409)
        error_set(err, code, "What answers at %.200s is no Qdrant: %s %.200s gave %ld", q->config.url, r->method,
                  r->path, a->status);
    else
        error_set(err, code, "Qdrant at %.100s answered %s %.100s with %ld%s%s", q->config.url, r->method, r->path,
                  a->status, *text ? ": " : "", text);
    if (code != ERR_IO && err) { // a key that ended, a full disk: somebody can make it good
        err->outage = true;
        err->retryable = true;
    }
    return -1;
}

int qdrant_odd(const struct qdrant *q, const struct qdrant_request *r, struct error *err)
{
    return error_set(err, ERR_IO, "Qdrant at %.100s answered %s %.100s with something that cannot be read",
                     q->config.url, r->method, r->path);
}

// ---- Again and again

int qdrant_is_down(struct qdrant *q, struct error *err)
{
    pthread_mutex_lock(&q->lock);
    bool down = q->is_down && clock_mono_us() < q->down_until_us;
    int rc = down ? error_copy(err, &q->down) : 0;
    pthread_mutex_unlock(&q->lock);
    return rc;
}

static void note_outcome(struct qdrant *q, const struct error *why)
{
    pthread_mutex_lock(&q->lock);
    q->is_down = why != NULL;
    if (why) {
        q->down = *why;
        q->down_until_us = clock_mono_us() + DOWN_US;
    }
    pthread_mutex_unlock(&q->lock);
}

static void rest(int tried, int64_t retry_after)
{
    int64_t wait = WAIT_MS;
    for (int i = 1; i < tried && wait < WAIT_MAX_MS; i++)
        wait *= 2;
    wait = retry_after > wait ? retry_after : wait;
    wait = wait < WAIT_MAX_MS ? wait : WAIT_MAX_MS;
    clock_sleep_ms(wait / 2 + randombytes_uniform((uint32_t)(wait / 2)));
}

// No second attempt makes these better, or is worth the wait.
static bool is_final(CURLcode rc)
{
    return rc == CURLE_OUT_OF_MEMORY || rc == CURLE_FILESIZE_EXCEEDED || rc == CURLE_PEER_FAILED_VERIFICATION ||
           rc == CURLE_SSL_CACERT_BADFILE || rc == CURLE_URL_MALFORMAT || rc == CURLE_OPERATION_TIMEDOUT;
}

static int say_broken(const struct qdrant *q, CURLcode rc, const char *why, struct error *err)
{
    enum error_code code = rc == CURLE_OUT_OF_MEMORY       ? ERR_NO_MEMORY
                           : rc == CURLE_FILESIZE_EXCEEDED ? ERR_IO
                                                           : ERR_UNAVAILABLE;
    return error_set(err, code, "Qdrant at %.100s: %.200s", q->config.url, why);
}

// 1: to be tried again, with the reason in `err`.
static int try_once(struct qdrant *q, const struct qdrant_request *r, struct qdrant_answer *out, struct error *err)
{
    char why[CURL_ERROR_SIZE];
    CURLcode rc = attempt(q, r, out, why);
    if (rc != CURLE_OK) {
        say_broken(q, rc, why, err);
        return is_final(rc) ? -1 : 1;
    }
    read_json(out);
    if (is_answer(out))
        return 0;
    say_failure(q, r, out, err);
    return helps_to_repeat(out->status) ? 1 : -1;
}

int qdrant_send(struct qdrant *q, const struct qdrant_request *r, struct qdrant_answer *out, struct error *err)
{
    struct error why = {0};
    *out = (struct qdrant_answer){.text = BUF_INIT(QDRANT_TEXT_MAX)};
    if (!r->once && qdrant_is_down(q, err) < 0)
        return -1;
    int rc = 1;
    for (int tried = 1; rc == 1; tried++) {
        rc = try_once(q, r, out, &why);
        if (rc == 1 && (r->once || tried >= ATTEMPTS))
            rc = -1;
        if (rc == 1)
            rest(tried, out->retry_after);
    }
    if (rc == 0 || why.outage)
        note_outcome(q, rc < 0 ? &why : NULL);
    return rc < 0 ? error_copy(err, &why) : 0;
}
