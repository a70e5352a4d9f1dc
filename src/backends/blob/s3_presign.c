// SPDX-License-Identifier: Apache-2.0
// Addresses that anybody may read an object by for a while: Signature Version 4 in the query string, as Amazon's
// "Authenticating Requests: Using Query Parameters" describes it. Made without asking anybody.
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "backends/blob/s3_int.h"

enum { KEY_LEN = crypto_auth_hmacsha256_BYTES };

static void hmac(const void *key, size_t key_len, const char *text, unsigned char out[KEY_LEN])
{
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, key, key_len);
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)text, strlen(text));
    crypto_auth_hmacsha256_final(&state, out);
    sodium_memzero(&state, sizeof state);
}

// HMAC(HMAC(HMAC(HMAC("AWS4" + secret, day), region), "s3"), "aws4_request")
static void signing_key(const struct s3_config *config, const char *day, unsigned char key[KEY_LEN])
{
    _cleanup_buf_ struct buf secret = BUF_INIT(4096);
    buf_puts(&secret, "AWS4");
    buf_puts(&secret, config->secret_key);
    hmac(secret.data, secret.len, day, key);
    hmac(key, KEY_LEN, config->region, key);
    hmac(key, KEY_LEN, "s3", key);
    hmac(key, KEY_LEN, "aws4_request", key);
    sodium_memzero(secret.data, secret.len);
}

static void put_path(struct buf *out, const char *path, const char *key)
{
    buf_puts(out, path);
    for (const char *at = key; *at;) {
        size_t len = strcspn(at, "/");
        char name[S3_NAME_MAX];
        snprintf(name, sizeof name, "%.*s", (int)len, at);
        s3_query_encode(out, name);
        at += len;
        if (*at == '/')
            buf_append(out, at++, 1);
    }
}

static void put_parameter(struct buf *out, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    buf_printf(out, "%s%s=", out->len ? "&" : "", name);
    s3_query_encode(out, value);
}

static void put_query(struct buf *out, const struct s3 *s3, const struct blob_presign *what, const char *time,
                      const char *scope)
{
    char credential[512], expires[16];
    snprintf(credential, sizeof credential, "%s/%s", s3->config.access_key, scope);
    snprintf(expires, sizeof expires, "%d", what->expires_s);
    put_parameter(out, "X-Amz-Algorithm", "AWS4-HMAC-SHA256"); // in the order of their bytes, as they are signed
    put_parameter(out, "X-Amz-Credential", credential);
    put_parameter(out, "X-Amz-Date", time);
    put_parameter(out, "X-Amz-Expires", expires);
    put_parameter(out, "X-Amz-Security-Token", s3->config.session_token);
    put_parameter(out, "X-Amz-SignedHeaders", "host");
    put_parameter(out, "response-content-disposition", what->disposition);
    put_parameter(out, "response-content-type", what->content_type);
}

static void sign(const struct s3 *s3, const char *request, const char *time, const char *scope, char hex[S3_SHA256_HEX])
{
    unsigned char hash[crypto_hash_sha256_BYTES], key[KEY_LEN];
    char day[9], text[1024];
    crypto_hash_sha256(hash, (const unsigned char *)request, strlen(request));
    s3_sha256_hex(hash, hex);
    snprintf(text, sizeof text, "AWS4-HMAC-SHA256\n%s\n%s\n%s", time, scope, hex);
    snprintf(day, sizeof day, "%.8s", time);
    signing_key(&s3->config, day, key);
    hmac(key, sizeof key, text, hash);
    sodium_memzero(key, sizeof key);
    s3_sha256_hex(hash, hex);
}

char *s3_presign(void *state, const char *key, const struct blob_presign *what)
{
    const struct s3 *s3 = state;
    const char *host = strstr(s3->url, "://") + 3, *base = strchr(host, '/');
    char now[20], scope[256], signature[S3_SHA256_HEX];
    time_t seconds = (time_t)(what->now_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(now, sizeof now, "%Y%m%dT%H%M%SZ", &tm);
    snprintf(scope, sizeof scope, "%.8s/%s/s3/aws4_request", now, s3->config.region);

    _cleanup_free_ char *name = NULL;
    _cleanup_buf_ struct buf path = BUF_INIT(65536), query = BUF_INIT(65536), request = BUF_INIT(262144);
    if (asprintf(&name, "%s%s", s3->config.prefix, key) < 0) {
        name = NULL;
        return NULL;
    }
    put_path(&path, base, name);
    put_query(&query, s3, what, now, scope);
    if (path.failed || query.failed)
        return NULL;
    buf_printf(&request, "GET\n%s\n%s\nhost:%.*s\n\nhost\nUNSIGNED-PAYLOAD", path.data, query.data, (int)(base - host),
               host);
    if (request.failed)
        return NULL;
    sign(s3, request.data, now, scope, signature);
    char *url = NULL;
    return asprintf(&url, "%.*s%s?%s&X-Amz-Signature=%s", (int)(base - s3->url), s3->url, path.data, query.data,
                    signature) < 0
               ? NULL
               : url;
}
