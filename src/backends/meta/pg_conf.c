// SPDX-License-Identifier: Apache-2.0
// The location of a PostgreSQL store: lines "name=value".
#include <errno.h>
#include <string.h>

#include "backends/meta/pg_int.h"

static int set_schema(struct pg_config *c, const char *value, struct error *err)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz_", more[] = "abcdefghijklmnopqrstuvwxyz_0123456789";
    size_t len = strlen(value);
    if (len < 1 || len > PG_SCHEMA_MAX || !strchr(letters, value[0]) || strspn(value, more) != len)
        return error_set(err, ERR_CONFIG,
                         "The schema of PostgreSQL must be a name of at most %d small letters, digits and '_'",
                         PG_SCHEMA_MAX);
    memcpy(c->schema, value, len + 1);
    return 0;
}

static int set_number(const char *name, const char *value, int64_t min, int64_t max, int64_t *out, struct error *err)
{
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (!*value || *end || errno || number < min || number > max)
        return error_set(err, ERR_CONFIG, "PostgreSQL's %s must be from %lld to %lld", name, (long long)min,
                         (long long)max);
    *out = number;
    return 0;
}

static int set(struct pg_config *c, const char *name, const char *value, struct error *err)
{
    int64_t number = 0;
    if (strcmp(name, "schema") == 0)
        return set_schema(c, value, err);
    if (strcmp(name, "pool") == 0)
        return set_number(name, value, 2, PG_POOL_MAX, &c->pool, err);
    if (strcmp(name, "timeout_ms") == 0)
        return set_number(name, value, 1000, 3600000, &c->timeout_ms, err);
    if (strcmp(name, "exclusive") == 0 && set_number(name, value, 0, 1, &number, err) == 0) {
        c->exclusive = number;
        return 0;
    }
    if (strcmp(name, "conninfo") != 0)
        return error_set(err, ERR_CONFIG, "PostgreSQL's location has no \"%.32s\"", name);
    free(c->conninfo);
    c->conninfo = strdup(value);
    return c->conninfo ? 0 : error_set(err, ERR_NO_MEMORY, "Out of memory");
}

// What libpq says of it may quote it, and it may hold a password.
static int check_conninfo(const struct pg_config *c, struct error *err)
{
    char *message = NULL;
    PQconninfoOption *options = c->conninfo ? PQconninfoParse(c->conninfo, &message) : NULL;
    PQfreemem(message);
    if (!options)
        return error_set(err, ERR_CONFIG,
                         "PostgreSQL needs to be told where it is, such as \"host=/run/postgresql dbname=deeplens\" or "
                         "postgresql://user@host/deeplens");
    PQconninfoFree(options);
    return 0;
}

int pg_config_read(const char *location, struct pg_config *out, struct error *err)
{
    *out = (struct pg_config){.schema = "deeplens", .pool = 8, .timeout_ms = 10000};
    _cleanup_free_ char *text = strdup(location);
    if (!text)
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n"));) {
        char *value = strchr(line, '=');
        if (!*line)
            continue;
        if (!value)
            return error_set(err, ERR_CONFIG, "A line of PostgreSQL's location has no '='");
        *value = 0;
        if (set(out, line, value + 1, err) < 0)
            return -1;
    }
    int rc = check_conninfo(out, err);
    explicit_bzero(text, strlen(location));
    return rc;
}

void pg_config_free(struct pg_config *c)
{
    if (c->conninfo)
        explicit_bzero(c->conninfo, strlen(c->conninfo));
    free(c->conninfo);
    *c = (struct pg_config){0};
}
