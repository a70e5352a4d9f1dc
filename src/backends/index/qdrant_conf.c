// SPDX-License-Identifier: Apache-2.0
// From a location to what requests are made of. What would end up in a URL or a header is checked here, once.
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backends/index/qdrant_int.h"

enum { URL_MAX = 1024, OWNER_MAX = 64 };

static char **text_field(struct qdrant_config *c, const char *name)
{
    const struct {
        const char *name;
        char **field;
    } fields[] = {{"url", &c->url}, {"api_key", &c->api_key}, {"ca_file", &c->ca_file}, {"owner", &c->owner}};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (strcmp(fields[i].name, name) == 0)
            return fields[i].field;
    return NULL;
}

static int read_timeout(struct qdrant_config *c, const char *value, struct error *err)
{
    char *end;
    errno = 0;
    c->timeout_ms = strtoll(value, &end, 10);
    if (errno || *end || c->timeout_ms < 1 || c->timeout_ms > INT32_MAX)
        return error_set(err, ERR_CONFIG, "qdrant.timeout must be a number of milliseconds above 0");
    return 0;
}

// Values are never told: one of them is secret.
static int read_line(struct qdrant_config *c, const char *line, size_t len, struct error *err)
{
    char name[32];
    const char *equals = memchr(line, '=', len);
    size_t name_len = equals ? (size_t)(equals - line) : 0; // without it, it may be a piece of a value
    snprintf(name, sizeof name, "%.*s", (int)(name_len < sizeof name ? name_len : 0), line);
    char **text = text_field(c, name);
    bool timeout = strcmp(name, "timeout_ms") == 0;
    if (!equals || (!text && !timeout))
        return error_set(err, ERR_CONFIG, "The location of the index on Qdrant names \"%s\", which is nothing", name);
    _cleanup_free_ char *value = strndup(equals + 1, len - name_len - 1);
    if (!value)
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    if (timeout)
        return read_timeout(c, value, err);
    free(*text);
    *text = take_ptr(value);
    return 0;
}

static bool is_plain(const char *text) // fit for a URL or a header
{
    for (; *text; text++)
        if ((unsigned char)*text <= ' ' || (unsigned char)*text > '~')
            return false;
    return true;
}

static int check_url(struct qdrant_config *c, struct error *err)
{
    size_t scheme = strncmp(c->url, "https://", 8) == 0 ? 8 : strncmp(c->url, "http://", 7) == 0 ? 7 : 0;
    size_t len = strlen(c->url);
    while (len > scheme && c->url[len - 1] == '/')
        c->url[--len] = 0;
    const char *host = c->url + scheme;
    bool good = scheme && len < URL_MAX && (isalnum((unsigned char)*host) || *host == '[');
    if (!good || !is_plain(c->url) || strpbrk(c->url, "?#@"))
        return error_set(err, ERR_CONFIG,
                         "qdrant.url must be a scheme, a host and a port, such as http://qdrant.example:6333%s",
                         strchr(c->url, '@') ? "; a key belongs into qdrant.api_key" : "");
    return 0;
}

static bool owner_ok(const char *owner)
{
    size_t len = strlen(owner);
    for (const char *p = owner; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
            return false;
    return len > 0 && len <= OWNER_MAX;
}

int qdrant_config_read(const char *location, struct qdrant_config *out, struct error *err)
{
    static const char *const names[] = {"url", "api_key", "ca_file", "owner"};
    *out = (struct qdrant_config){.timeout_ms = 10000};
    for (const char *line = location; *line;) {
        size_t len = strcspn(line, "\n");
        if (len && read_line(out, line, len, err) < 0)
            return -1;
        line += len + (line[len] == '\n');
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char **field = text_field(out, names[i]);
        if (!*field && !(*field = strdup("")))
            return error_set(err, ERR_NO_MEMORY, "Out of memory");
    }
    if (check_url(out, err) < 0)
        return -1;
    if (!is_plain(out->api_key))
        return error_set(err, ERR_CONFIG,
                         "The API key of Qdrant holds characters that no key has (a space, a line end?)");
    if (!owner_ok(out->owner))
        return error_set(err, ERR_CONFIG, "qdrant.owner must be 1 to %d letters, digits, '.', '_' and '-'", OWNER_MAX);
    return 0;
}

void qdrant_config_free(struct qdrant_config *c)
{
    if (c->api_key)
        explicit_bzero(c->api_key, strlen(c->api_key));
    char *const all[] = {c->url, c->api_key, c->ca_file, c->owner};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        free(all[i]);
    *c = (struct qdrant_config){0};
}
