// SPDX-License-Identifier: Apache-2.0
// From a location to what requests are made of. What would end up in a URL or a header is checked here, once.
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/blob/s3_int.h"

enum { MIB = 1 << 20, PART_MIN = 5 * MIB, PART_MAX = 1 << 30 };

static int text_field(struct s3_config *c, const char *name, char ***out)
{
    const struct {
        const char *name;
        char **field;
    } fields[] = {
        {"endpoint", &c->endpoint},     {"bucket", &c->bucket},
        {"region", &c->region},         {"prefix", &c->prefix},
        {"style", &c->style},           {"access_key", &c->access_key},
        {"secret_key", &c->secret_key}, {"session_token", &c->session_token},
        {"ca_file", &c->ca_file},       {"owner", &c->owner},
    };
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (strcmp(fields[i].name, name) == 0) {
            *out = fields[i].field;
            return 0;
        }
    }
    return -1;
}

static int number_field(struct s3_config *c, const char *name, int64_t **out)
{
    const struct {
        const char *name;
        int64_t *field;
    } fields[] = {
        {"attempts", &c->attempts}, {"timeout_ms", &c->timeout_ms}, {"memory", &c->memory}, {"part", &c->part}};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (strcmp(fields[i].name, name) == 0) {
            *out = fields[i].field;
            return 0;
        }
    }
    return -1;
}

// Values are never told: one of them is secret.
static int read_line(struct s3_config *c, const char *line, size_t len, struct error *err)
{
    char name[32];
    const char *equals = memchr(line, '=', len);
    size_t name_len = equals ? (size_t)(equals - line) : 0; // without it, it may be a piece of a value
    char **text = NULL;
    int64_t *number = NULL;
    snprintf(name, sizeof name, "%.*s", (int)(name_len < sizeof name ? name_len : 0), line);
    if (equals && text_field(c, name, &text) < 0)
        number_field(c, name, &number);
    if (!text && !number)
        return error_set(err, ERR_CONFIG, "The location of the S3 blobs names \"%s\", which is nothing", name);
    _cleanup_free_ char *value = strndup(equals + 1, len - name_len - 1);
    if (!value)
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    if (text) {
        free(*text);
        *text = take_ptr(value);
        return 0;
    }
    char *end;
    errno = 0;
    *number = strtoll(value, &end, 10);
    if (errno || *end || *number < 1)
        return error_set(err, ERR_CONFIG, "s3.%s must be a number above 0", name);
    return 0;
}

static bool is_host_char(char c)
{
    return isalnum((unsigned char)c) || c == '.' || c == '-';
}

static size_t scheme_len(const char *endpoint)
{
    return strncmp(endpoint, "https://", 8) == 0 ? 8 : strncmp(endpoint, "http://", 7) == 0 ? 7 : 0;
}

static int check_endpoint(struct s3_config *c, struct error *err)
{
    size_t scheme = scheme_len(c->endpoint), len = strlen(c->endpoint);
    if (scheme && len > scheme && c->endpoint[len - 1] == '/')
        c->endpoint[--len] = 0;
    const char *host = c->endpoint + scheme, *p = host;
    if (*p == '[') // an IPv6 address
        p += strspn(p, "[]0123456789abcdefABCDEF:.");
    else
        while (is_host_char(*p))
            p++;
    if (*p == ':')
        p += 1 + strspn(p + 1, "0123456789");
    if (!scheme || p == host || *p)
        return error_set(err, ERR_CONFIG,
                         "s3.endpoint must be a scheme, a host and perhaps a port, such as https://minio.example:9000");
    return 0;
}

static int check_bucket(const struct s3_config *c, struct error *err)
{
    size_t len = strlen(c->bucket);
    bool good = len >= 3 && len <= 63 && isalnum((unsigned char)c->bucket[0]);
    for (size_t i = 0; good && i < len; i++)
        good =
            islower((unsigned char)c->bucket[i]) || isdigit((unsigned char)c->bucket[i]) || strchr(".-", c->bucket[i]);
    return good
               ? 0
               : error_set(err, ERR_CONFIG,
                           "s3.bucket must be 3 to 63 small letters, digits, '.' and '-'; \"%.64s\" is not", c->bucket);
}

static int check_prefix(const struct s3_config *c, struct error *err)
{
    size_t len = strlen(c->prefix);
    _cleanup_free_ char *key = strdup(c->prefix);
    if (!key)
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    if (len && key[len - 1] == '/')
        key[len - 1] = 0;
    if (!len || (len <= 128 && key[len - 1] == 0 && blob_key_valid(key)))
        return 0;
    return error_set(err, ERR_CONFIG,
                     "s3.prefix must be empty, or folders of letters, digits, '.', '_' and '-' with a '/' behind each");
}

static bool is_plain(const char *text) // fit for a header, a user name or a scope
{
    for (; *text; text++)
        if ((unsigned char)*text <= ' ' || (unsigned char)*text > '~')
            return false;
    return true;
}

static int check_region(const struct s3_config *c, struct error *err)
{
    if (*c->region && strlen(c->region) <= 63 && is_plain(c->region) && !strpbrk(c->region, ":/@?#"))
        return 0;
    return error_set(err, ERR_CONFIG, "s3.region must be a name such as us-east-1");
}

static int check_rest(const struct s3_config *c, struct error *err)
{
    if (strcmp(c->style, "auto") != 0 && strcmp(c->style, "path") != 0 && strcmp(c->style, "virtual") != 0)
        return error_set(err, ERR_CONFIG, "s3.style must be auto, path or virtual");
    if (!*c->access_key || !*c->secret_key)
        return error_set(err, ERR_CONFIG,
                         "S3 needs keys: s3.access_key and s3.secret_key, or AWS_ACCESS_KEY_ID and "
                         "AWS_SECRET_ACCESS_KEY");
    if (!is_plain(c->access_key) || !is_plain(c->secret_key) || !is_plain(c->session_token) ||
        strchr(c->access_key, ':'))
        return error_set(err, ERR_CONFIG, "The keys of S3 hold characters that no key has (a space, a line end?)");
    if (!*c->owner || strlen(c->owner) > 64 || !blob_key_valid(c->owner) || strchr(c->owner, '/'))
        return error_set(err, ERR_CONFIG, "s3.owner must be 1 to 64 letters, digits, '.', '_' and '-'");
    if (c->part < PART_MIN || c->part > PART_MAX || c->memory < c->part || c->attempts > 100)
        return error_set(err, ERR_CONFIG, "S3's parts must be of 5 MiB to 1 GiB, and s3.memory hold one at least");
    return 0;
}

static int fill_defaults(struct s3_config *c)
{
    static const struct {
        const char *name, *value;
    } defaults[] = {{"bucket", ""},     {"region", "us-east-1"}, {"prefix", ""},  {"style", "auto"}, {"access_key", ""},
                    {"secret_key", ""}, {"session_token", ""},   {"ca_file", ""}, {"owner", ""},     {"endpoint", ""}};
    for (size_t i = 0; i < ARRAY_LEN(defaults); i++) {
        char **field;
        if (text_field(c, defaults[i].name, &field) == 0 && !*field && !(*field = strdup(defaults[i].value)))
            return -1;
    }
    if (*c->endpoint)
        return 0;
    free(take_ptr(c->endpoint));
    return asprintf(&c->endpoint, "https://s3.%s.amazonaws.com", c->region);
}

int s3_config_read(const char *location, struct s3_config *out, struct error *err)
{
    *out = (struct s3_config){.attempts = 5, .timeout_ms = 30000, .memory = 256 * MIB, .part = 16 * MIB};
    for (const char *line = location; *line;) {
        size_t len = strcspn(line, "\n");
        if (len && read_line(out, line, len, err) < 0)
            return -1;
        line += len + (line[len] == '\n');
    }
    if (fill_defaults(out) < 0)
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    if (check_region(out, err) < 0 || check_endpoint(out, err) < 0 || check_bucket(out, err) < 0 ||
        check_prefix(out, err) < 0 || check_rest(out, err) < 0)
        return -1;
    return 0;
}

void s3_config_free(struct s3_config *c)
{
    char *const secrets[] = {c->secret_key, c->session_token};
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++)
        if (secrets[i])
            sodium_memzero(secrets[i], strlen(secrets[i]));
    char *const all[] = {c->endpoint,   c->bucket,     c->region,        c->prefix,  c->style,
                         c->access_key, c->secret_key, c->session_token, c->ca_file, c->owner};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        free(all[i]);
    *c = (struct s3_config){0};
}

// Amazon wants the bucket in front of the host; most others are easier without names for each bucket. A bucket with a
// dot would break the host's certificate.
static bool wants_virtual(const struct s3_config *c)
{
    if (strcmp(c->style, "auto") != 0)
        return strcmp(c->style, "virtual") == 0;
    return strstr(c->endpoint, ".amazonaws.com") && !strchr(c->bucket, '.');
}

char *s3_config_url(const struct s3_config *c)
{
    char *url = NULL;
    size_t scheme = scheme_len(c->endpoint);
    int rc = wants_virtual(c) ? asprintf(&url, "%.*s%s.%s/", (int)scheme, c->endpoint, c->bucket, c->endpoint + scheme)
                              : asprintf(&url, "%s/%s/", c->endpoint, c->bucket);
    return rc < 0 ? NULL : url;
}
