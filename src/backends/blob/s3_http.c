// SPDX-License-Identifier: Apache-2.0
// One request to the service: signed by libcurl, sent over a connection that is kept, and sent again where that helps.
//
// Every body is in memory, so every request can be repeated, and its SHA-256 is signed: the service refuses bytes that
// changed on the way, also without TLS. Sent again are: connections that fail or are torn, 408, 429 and 5xx, and bodies
// that arrived damaged; after 50 ms, doubling to 2 s, each wait drawn from its upper half. All requests of this back
// end may be repeated. When the last attempt finds nobody, requests of the next second fail at once with the same
// error, so that an outage does not hold every thread for as long as the attempts take.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "backends/blob/s3_int.h"
#include "base/clock.h"

enum {
    CONNECT_MS = 5000,
    WAIT_MS = 50,
    WAIT_MAX_MS = 2000,
    DOWN_US = 1000000,
    SLOW_FACTOR = 20, // how much longer the service may be silent when it copies
    BUFFER = 512 * 1024,
    ERROR_TEXT_MAX = 65536,
};

struct transfer { // one attempt
    struct s3 *s3;
    const struct s3_request *request;
    struct s3_answer *answer;
    CURL *curl;
    size_t sent;
    bool overflow;
};

void s3_sha256_hex(const unsigned char hash[crypto_hash_sha256_BYTES], char out[S3_SHA256_HEX])
{
    sodium_bin2hex(out, S3_SHA256_HEX, hash, crypto_hash_sha256_BYTES);
}

void s3_answer_free(struct s3_answer *answer)
{
    buf_free(&answer->text);
}

// ---- Connections

static CURL *take_handle(struct s3 *s3)
{
    CURL *curl = NULL;
    pthread_mutex_lock(&s3->lock);
    if (s3->idle_count)
        curl = s3->idle[--s3->idle_count];
    pthread_mutex_unlock(&s3->lock);
    return curl ? curl : curl_easy_init();
}

static void give_handle(struct s3 *s3, CURL *curl)
{
    curl_easy_reset(curl); // keeps the connection
    pthread_mutex_lock(&s3->lock);
    bool kept = s3->idle_count < S3_IDLE_MAX;
    if (kept)
        s3->idle[s3->idle_count++] = curl;
    pthread_mutex_unlock(&s3->lock);
    if (!kept)
        curl_easy_cleanup(curl);
}

void s3_idle_free(struct s3 *s3)
{
    while (s3->idle_count)
        curl_easy_cleanup(s3->idle[--s3->idle_count]);
}

// ---- Bodies and headers

static size_t on_send(char *to, size_t size, size_t count, void *arg)
{
    struct transfer *t = arg;
    size_t room = size * count, left = t->request->body_len - t->sent, len = left < room ? left : room;
    if (len)
        memcpy(to, (const char *)t->request->body + t->sent, len);
    t->sent += len;
    return len;
}

static int on_rewind(void *arg, curl_off_t offset, int origin)
{
    struct transfer *t = arg;
    if (origin != SEEK_SET || offset < 0 || (size_t)offset > t->request->body_len)
        return CURL_SEEKFUNC_FAIL;
    t->sent = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

static size_t on_receive(char *data, size_t size, size_t count, void *arg)
{
    struct transfer *t = arg;
    struct s3_answer *a = t->answer;
    size_t len = size * count;
    long status = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    bool wanted = status >= 200 && status < 300;
    if (wanted && t->request->into) {
        t->overflow = len > t->request->into_len - a->got;
        if (t->overflow)
            return 0;
        memcpy((char *)t->request->into + a->got, data, len);
        a->got += len;
        return len;
    }
    if (!wanted && a->text.len + len > ERROR_TEXT_MAX)
        return len; // enough was said
    t->overflow = buf_append(&a->text, data, len) < 0;
    return t->overflow ? 0 : len;
}

static int64_t http_time(const char *text)
{
    time_t seconds = curl_getdate(text, NULL);
    return seconds > 0 ? (int64_t)seconds * 1000 : 0;
}

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    struct s3_answer *a = ((struct transfer *)arg)->answer;
    size_t len = size * count;
    char text[512];
    snprintf(text, sizeof text, "%.*s", (int)(len < sizeof text ? len : sizeof text - 1), line);
    text[strcspn(text, "\r\n")] = 0;
    char *value = strchr(text, ':');
    if (!value)
        return len;
    *value++ = 0;
    value += strspn(value, " \t");
    const char *slash = strrchr(value, '/');
    if (strcasecmp(text, "Content-Length") == 0 && !a->has_range) {
        a->size = strtoull(value, NULL, 10);
    } else if (strcasecmp(text, "Content-Range") == 0 && slash) {
        a->size = strtoull(slash + 1, NULL, 10);
        a->has_range = true;
    } else if (strcasecmp(text, "ETag") == 0) {
        snprintf(a->tag, sizeof a->tag, "%s", value);
    } else if (strcasecmp(text, "x-amz-meta-sha256") == 0 && strlen(value) == S3_SHA256_HEX - 1) {
        snprintf(a->sha256, sizeof a->sha256, "%s", value);
    } else if (strcasecmp(text, "Last-Modified") == 0) {
        a->last_modified = http_time(value);
    } else if (strcasecmp(text, "Date") == 0) {
        a->date = http_time(value);
    } else if (strcasecmp(text, "Retry-After") == 0) {
        a->retry_after = strtoll(value, NULL, 10) * 1000;
    } else if (strcasecmp(text, "x-amz-request-id") == 0) {
        snprintf(a->request_id, sizeof a->request_id, "%s", value);
    }
    return len;
}

// ---- One attempt

static struct curl_slist *request_headers(const struct s3 *s3, const struct s3_request *r, const char *sha256)
{
    char text[S3_NAME_MAX + 2048];
    struct curl_slist *list = NULL;
    snprintf(text, sizeof text, "x-amz-content-sha256:%s", sha256);
    list = curl_slist_append(list, text);
    for (size_t i = 0; list && i < S3_HEADERS_MAX && r->headers[i]; i++)
        list = curl_slist_append(list, r->headers[i]);
    if (*s3->config.session_token) {
        _cleanup_free_ char *token = NULL;
        if (asprintf(&token, "x-amz-security-token:%s", s3->config.session_token) >= 0)
            list = curl_slist_append(list, token);
    }
    return list;
}

static char *request_url(const struct s3 *s3, const struct s3_request *r)
{
    char *url = NULL;
    int rc = asprintf(&url, "%s%s%s%s%s", s3->url, r->name ? s3->config.prefix : "", r->name ? r->name : "",
                      r->query ? "?" : "", r->query ? r->query : "");
    return rc < 0 ? NULL : url;
}

static void set_method(struct transfer *t)
{
    const struct s3_request *r = t->request;
    if (strcmp(r->method, "HEAD") == 0) {
        curl_easy_setopt(t->curl, CURLOPT_NOBODY, 1L);
    } else if (strcmp(r->method, "PUT") == 0) {
        curl_easy_setopt(t->curl, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(t->curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->body_len);
        curl_easy_setopt(t->curl, CURLOPT_READFUNCTION, on_send);
        curl_easy_setopt(t->curl, CURLOPT_READDATA, t);
        curl_easy_setopt(t->curl, CURLOPT_SEEKFUNCTION, on_rewind);
        curl_easy_setopt(t->curl, CURLOPT_SEEKDATA, t);
    } else if (strcmp(r->method, "POST") == 0) {
        curl_easy_setopt(t->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_len);
        curl_easy_setopt(t->curl, CURLOPT_POSTFIELDS, r->body_len ? r->body : "");
    } else if (strcmp(r->method, "DELETE") == 0) {
        curl_easy_setopt(t->curl, CURLOPT_CUSTOMREQUEST, "DELETE");
    }
}

static void set_options(struct transfer *t, const char *url, struct curl_slist *headers, char why[CURL_ERROR_SIZE])
{
    const struct s3_config *c = &t->s3->config;
    CURL *curl = t->curl;
    int64_t silence = c->timeout_ms * (t->request->slow ? SLOW_FACTOR : 1);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_AWS_SIGV4, t->s3->scheme);
    curl_easy_setopt(curl, CURLOPT_USERNAME, c->access_key);
    curl_easy_setopt(curl, CURLOPT_PASSWORD, c->secret_key);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "DeepLens/" DEEPLENS_VERSION);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)(silence < CONNECT_MS ? silence : CONNECT_MS));
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)((silence + 999) / 1000));
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, (long)BUFFER);
    curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, (long)BUFFER);
    curl_easy_setopt(curl, CURLOPT_EXPECT_100_TIMEOUT_MS, 0L); // a body is sent again if it must be: nobody waits
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_receive);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
    if (*c->ca_file)
        curl_easy_setopt(curl, CURLOPT_CAINFO, c->ca_file);
    set_method(t);
}

static void answer_reset(struct s3_answer *a)
{
    struct buf text = a->text;
    buf_clear(&text);
    *a = (struct s3_answer){.text = text};
}

// The outcome of an attempt: CURLE_OK with an answer, or why there is none, in words too.
static CURLcode attempt(struct s3 *s3, const struct s3_request *r, const char *sha256, struct s3_answer *a,
                        char why[CURL_ERROR_SIZE])
{
    struct transfer t = {.s3 = s3, .request = r, .answer = a, .curl = take_handle(s3)};
    _cleanup_free_ char *url = request_url(s3, r);
    struct curl_slist *headers = request_headers(s3, r, sha256);
    CURLcode rc = CURLE_OUT_OF_MEMORY;
    answer_reset(a);
    why[0] = 0;
    if (t.curl && url && headers) {
        set_options(&t, url, headers, why);
        rc = curl_easy_perform(t.curl);
        curl_easy_getinfo(t.curl, CURLINFO_RESPONSE_CODE, &a->status);
    }
    if (t.overflow)
        snprintf(why, CURL_ERROR_SIZE, "the answer is larger than was asked for");
    else if (rc != CURLE_OK && !*why)
        snprintf(why, CURL_ERROR_SIZE, "%s", curl_easy_strerror(rc));
    if (t.curl)
        give_handle(s3, t.curl);
    curl_slist_free_all(headers);
    return t.overflow ? CURLE_FILESIZE_EXCEEDED : rc;
}

// ---- What an answer means

struct said { // by the service, of what it did not do
    char code[64];
    char message[160];
};

// Some requests are answered with 200 before they are done, and fail in the body.
static bool is_failure(const struct s3_answer *a)
{
    return a->status >= 300 || (a->text.len && memmem(a->text.data, a->text.len, "<Error>", 7));
}

static void read_said(const struct s3_answer *a, struct said *out)
{
    s3_xml_text(s3_answer_text(a), "Code", out->code, sizeof out->code);
    s3_xml_text(s3_answer_text(a), "Message", out->message, sizeof out->message);
}

static bool is_one_of(const char *code, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(code, *list) == 0)
            return true;
    return false;
}

static bool helps_to_repeat(const struct s3_answer *a, const struct said *said)
{
    static const char *const passing[] = {"RequestTimeout",     "BadDigest",        "XAmzContentSHA256Mismatch",
                                          "IncompleteBody",     "SlowDown",         "InternalError",
                                          "ServiceUnavailable", "OperationAborted", NULL};
    return a->status == 408 || a->status == 429 || (a->status >= 500 && a->status != 501 && a->status != 507) ||
           is_one_of(said->code, passing);
}

// What the caller looks at itself. A HEAD has no body to say whether it is the bucket that is not there.
static bool is_answer(const struct s3_answer *a, const struct said *said)
{
    if (!is_failure(a) || a->status == 412 || a->status == 416)
        return true;
    return a->status == 404 && strcmp(said->code, "NoSuchBucket") != 0;
}

static int say_skew(const struct s3 *s3, const struct s3_answer *a, struct error *err)
{
    int64_t apart = clock_now_ms() - a->date, minutes = ((apart < 0 ? -apart : apart) + 30000) / 60000;
    return error_set(err, ERR_UNAVAILABLE,
                     "The clock of this machine is %" PRId64 " minutes %s that of S3 at %s, which takes no request "
                     "signed that far off: set the clock right",
                     minutes, apart < 0 ? "behind" : "ahead of", s3->config.endpoint);
}

static int say_failure(const struct s3 *s3, const struct s3_request *r, const struct s3_answer *a,
                       const struct said *said, struct error *err)
{
    static const char *const full[] = {"XMinioStorageFull", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded", NULL};
    static const char *const ours[] = {"InvalidRange",   "InvalidRequest",   "InvalidArgument", "EntityTooLarge",
                                       "NotImplemented", "MethodNotAllowed", "KeyTooLongError", NULL};
    if (strcmp(said->code, "RequestTimeTooSkewed") == 0 && a->date)
        return say_skew(s3, a, err);
    bool odd = r->name && is_one_of(said->code, ours); // of this request; what else is wrong, all requests meet
    enum error_code code = a->status == 507 || is_one_of(said->code, full) ? ERR_DISK_FULL
                           : odd || a->status == 501                       ? ERR_IO
                           : helps_to_repeat(a, said)                      ? ERR_UNAVAILABLE
                                                                           : ERR_CONFIG;
    error_set(err, code, "S3 at %s answered %s %s/%s%s with %ld%s%s%s%s%s%s%s", s3->config.endpoint, r->method,
              s3->config.bucket, r->name ? s3->config.prefix : "", r->name ? r->name : "", a->status,
              *said->code ? " " : "", said->code, *said->message ? ": " : "", said->message,
              *a->request_id ? " (request " : "", a->request_id, *a->request_id ? ")" : "");
    if (code == ERR_CONFIG && err) { // keys that ended, a bucket that went: somebody can make it good
        err->outage = true;
        err->retryable = true;
    }
    return -1;
}

// ---- Again and again

static int still_down(struct s3 *s3, struct error *err)
{
    pthread_mutex_lock(&s3->lock);
    bool down = s3->is_down && clock_mono_us() < s3->down_until_us;
    int rc = down ? error_copy(err, &s3->down) : 0;
    pthread_mutex_unlock(&s3->lock);
    return rc;
}

static void note_outcome(struct s3 *s3, const struct error *why)
{
    pthread_mutex_lock(&s3->lock);
    s3->is_down = why != NULL;
    if (why) {
        s3->down = *why;
        s3->down_until_us = clock_mono_us() + DOWN_US;
    }
    pthread_mutex_unlock(&s3->lock);
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

// No second attempt makes these better.
static bool is_final(CURLcode rc)
{
    return rc == CURLE_OUT_OF_MEMORY || rc == CURLE_FILESIZE_EXCEEDED || rc == CURLE_PEER_FAILED_VERIFICATION ||
           rc == CURLE_SSL_CACERT_BADFILE || rc == CURLE_URL_MALFORMAT;
}

static int say_broken(const struct s3 *s3, CURLcode rc, const char *why, struct error *err)
{
    enum error_code code = rc == CURLE_OUT_OF_MEMORY       ? ERR_NO_MEMORY
                           : rc == CURLE_FILESIZE_EXCEEDED ? ERR_IO
                                                           : ERR_UNAVAILABLE;
    return error_set(err, code, "S3 at %s: %.200s", s3->config.endpoint, why);
}

// 1: to be tried again, with the reason in `err`.
static int try_once(struct s3 *s3, const struct s3_request *r, const char *sha256, struct s3_answer *out,
                    struct error *err)
{
    char why[CURL_ERROR_SIZE];
    struct said said = {0};
    CURLcode rc = attempt(s3, r, sha256, out, why);
    if (rc != CURLE_OK) {
        say_broken(s3, rc, why, err);
        return is_final(rc) ? -1 : 1;
    }
    if (is_failure(out))
        read_said(out, &said);
    if (is_answer(out, &said))
        return 0;
    say_failure(s3, r, out, &said, err);
    return helps_to_repeat(out, &said) ? 1 : -1;
}

int s3_send(struct s3 *s3, const struct s3_request *r, struct s3_answer *out, struct error *err)
{
    char sha256[S3_SHA256_HEX];
    struct error why = {0};
    *out = (struct s3_answer){.text = BUF_INIT(S3_TEXT_MAX)};
    if (!r->once && still_down(s3, err) < 0)
        return -1;
    if (!r->sha256) {
        unsigned char hash[crypto_hash_sha256_BYTES];
        crypto_hash_sha256(hash, r->body_len ? r->body : (const void *)"", r->body_len);
        s3_sha256_hex(hash, sha256);
    }
    int rc = 1;
    for (int tried = 1; rc == 1; tried++) {
        rc = try_once(s3, r, r->sha256 ? r->sha256 : sha256, out, &why);
        if (rc == 1 && (r->once || tried >= s3->config.attempts))
            rc = -1;
        if (rc == 1)
            rest(tried, out->retry_after);
    }
    if (rc == 0 || why.outage)
        note_outcome(s3, rc < 0 ? &why : NULL);
    if (rc < 0)
        return error_copy(err, &why);
    int64_t ahead = out->date ? clock_now_ms() - out->date : 0;
    out->modified = out->last_modified + ahead;
    return 0;
}

int s3_health(struct s3 *s3, struct error *err)
{
    pthread_mutex_lock(&s3->lock);
    int64_t now = clock_mono_us();
    bool ask = s3->is_down && now >= s3->down_until_us;
    int rc = s3->is_down && !ask ? error_copy(err, &s3->down) : 0;
    if (ask) // nobody else asks meanwhile
        s3->down_until_us = now + DOWN_US;
    pthread_mutex_unlock(&s3->lock);
    if (!ask)
        return rc;
    _cleanup_answer_ struct s3_answer answer;
    const struct s3_request request = {.method = "HEAD", .once = true};
    return s3_send(s3, &request, &answer, err);
}
