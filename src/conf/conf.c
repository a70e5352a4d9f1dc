// SPDX-License-Identifier: Apache-2.0
// The table of options, and the typed reading of one value. Where values come from is in load.c, how the table
// is shown in print.c.
#include "conf/conf.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"
#include "conf/conf_int.h"

const struct option conf_options[] = {
#define SECTION(title) {.kind = OPT_SECTION, .name = title},
#define PREFIX(field, name_, text_) {OPT_PREFIX, name_, offsetof(struct conf, field), .def = "", .text = text_},
#define STRING(field, name_, def_, text_) {OPT_STRING, name_, offsetof(struct conf, field), .def = def_, .text = text_},
#define CHOICE(field, name_, def_, choices_, text_)                                                                    \
    {OPT_CHOICE, name_, offsetof(struct conf, field), .def = def_, .choices = choices_, .text = text_},
#define BOOL(field, name_, def_, text_) {OPT_BOOL, name_, offsetof(struct conf, field), .number = def_, .text = text_},
#define INT(field, name_, def_, least_, most_, text_)                                                                  \
    {OPT_INT, name_, offsetof(struct conf, field), NULL, def_, least_, most_, .text = text_},
#define SIZE(field, name_, def_, least_, most_, text_)                                                                 \
    {OPT_SIZE, name_, offsetof(struct conf, field), NULL, def_, least_, most_, .text = text_},
#define TIME(field, name_, def_, least_, most_, text_)                                                                 \
    {OPT_TIME, name_, offsetof(struct conf, field), NULL, def_, least_, most_, .text = text_},
#include "conf/options.def"
#undef SECTION
#undef PREFIX
#undef STRING
#undef CHOICE
#undef BOOL
#undef INT
#undef SIZE
#undef TIME
};
const size_t conf_option_count = ARRAY_LEN(conf_options);

struct unit {
    const char *name;
    int64_t factor;
};

// Ascending, so that the last one that divides a value is the one to show it in; aliases come first.
static const struct unit size_units[] = {
    {"B", 1},
    {"", 1},
    {"kB", 1000},
    {"KB", 1000},
    {"K", 1 << 10},
    {"KiB", 1 << 10},
    {"MB", 1000000},
    {"M", 1 << 20},
    {"MiB", 1 << 20},
    {"GB", 1000000000},
    {"G", 1LL << 30},
    {"GiB", 1LL << 30},
    {"TB", 1000000000000},
    {"T", 1LL << 40},
    {"TiB", 1LL << 40},
};
static const struct unit time_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000},
};

static const struct unit *units_of(const struct option *o, size_t *count)
{
    *count = o->kind == OPT_SIZE ? ARRAY_LEN(size_units) : ARRAY_LEN(time_units);
    return o->kind == OPT_SIZE ? size_units : time_units;
}

const struct option *conf_option_find(const char *name)
{
    for (size_t i = 0; i < conf_option_count; i++)
        if (conf_options[i].kind > OPT_PREFIX && strcmp(conf_options[i].name, name) == 0)
            return &conf_options[i];
    return NULL;
}

const struct option *conf_prefix_find(const char *name)
{
    for (size_t i = 0; i < conf_option_count; i++) {
        size_t len = strlen(conf_options[i].name);
        if (conf_options[i].kind == OPT_PREFIX && strncmp(conf_options[i].name, name, len) == 0 && name[len])
            return &conf_options[i];
    }
    return NULL;
}

int conf_prefix_set(struct conf *c, const struct option *o, const char *name, const char *value, struct error *err)
{
    char **field = (char **)((char *)c + o->offset), *all = NULL;
    if (strchr(value, '\n'))
        return error_set(err, ERR_CONFIG, "%.64s takes one line", name);
    if (asprintf(&all, "%s%s=%s\n", *field, name + strlen(o->name), value) < 0)
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    free(*field);
    *field = all;
    return 0;
}

const char *conf_number_text(const struct option *o, int64_t value, char out[OPTION_NUMBER_TEXT])
{
    if (o->kind == OPT_BOOL) {
        snprintf(out, OPTION_NUMBER_TEXT, "%s", value ? "true" : "false");
        return out;
    }
    const char *suffix = o->kind == OPT_TIME ? "ms" : "";
    int64_t factor = 1;
    if (o->kind != OPT_INT && value != 0) {
        size_t count;
        const struct unit *units = units_of(o, &count);
        for (size_t i = 0; i < count; i++) {
            bool binary = o->kind == OPT_TIME || (units[i].factor & (units[i].factor - 1)) == 0;
            if (binary && units[i].factor > 1 && value % units[i].factor == 0) {
                suffix = units[i].name;
                factor = units[i].factor;
            }
        }
    }
    snprintf(out, OPTION_NUMBER_TEXT, "%lld%s", (long long)(value / factor), suffix);
    return out;
}

void conf_allowed(const struct option *o, struct buf *out)
{
    char least[OPTION_NUMBER_TEXT], most[OPTION_NUMBER_TEXT];
    switch (o->kind) {
    case OPT_CHOICE:
        buf_puts(out, "one of ");
        for (const char *p = o->choices; *p; p++)
            buf_puts(out, *p == '|' ? ", " : (char[]){*p, 0});
        break;
    case OPT_BOOL:
        buf_puts(out, "true or false");
        break;
    case OPT_INT:
    case OPT_SIZE:
    case OPT_TIME:
        buf_printf(out, "%s from %s to %s%s",
                   o->kind == OPT_INT    ? "a whole number"
                   : o->kind == OPT_SIZE ? "a size"
                                         : "a time with its unit",
                   conf_number_text(o, o->least, least), conf_number_text(o, o->most, most),
                   o->kind == OPT_INT    ? ""
                   : o->kind == OPT_SIZE ? ", such as 64M or 2GiB"
                                         : ", such as 500ms, 2s, 5m or 7d");
        break;
    default:
        buf_puts(out, "text");
    }
}

static int refuse(const struct option *o, const char *value, struct error *err)
{
    _cleanup_buf_ struct buf allowed = BUF_INIT(1024);
    conf_allowed(o, &allowed);
    return error_set(err, ERR_CONFIG, "%s = \"%.64s\" does not work: it takes %s", o->name, value, allowed.data);
}

static int parse_bool(const char *value, int64_t *out)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcasecmp(value, words[i]) == 0) {
            *out = i % 2;
            return 0;
        }
    }
    return -1;
}

// Finds the factor of what stands behind the digits. A time needs its unit, except 0.
static int parse_unit(const struct option *o, const char *suffix, int64_t number, int64_t *factor)
{
    if (!*suffix && (o->kind != OPT_TIME || number == 0)) {
        *factor = 1;
        return 0;
    }
    size_t count;
    const struct unit *units = units_of(o, &count);
    for (size_t i = 0; o->kind != OPT_INT && i < count; i++) {
        if (strcmp(suffix, units[i].name) == 0) {
            *factor = units[i].factor;
            return 0;
        }
    }
    return -1;
}

static int parse_number(const struct option *o, const char *value, int64_t *out)
{
    if (o->kind == OPT_BOOL)
        return parse_bool(value, out);
    if (!isdigit((unsigned char)*value) && *value != '-')
        return -1;
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (errno || end == value)
        return -1;
    while (o->kind != OPT_INT && *end == ' ')
        end++;
    int64_t factor, result;
    if (parse_unit(o, end, number, &factor) < 0 || __builtin_mul_overflow((int64_t)number, factor, &result))
        return -1;
    if (result < o->least || result > o->most)
        return -1;
    *out = result;
    return 0;
}

static bool is_choice(const struct option *o, const char *value)
{
    size_t len = strlen(value);
    for (const char *p = o->choices; p; p = strchr(p, '|')) {
        p += *p == '|';
        if (len && strcspn(p, "|") == len && strncmp(p, value, len) == 0)
            return true;
    }
    return false;
}

// Where the user's data is, by the XDG base directories: "folder", or a part of it.
static char *data_home(const char *part)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    char *out = NULL;
    int rc = data && *data == '/'   ? asprintf(&out, "%s/deeplens%s", data, part)
             : home && *home == '/' ? asprintf(&out, "%s/.local/share/deeplens%s", home, part)
                                    : asprintf(&out, "/var/lib/deeplens%s", part);
    return rc < 0 ? NULL : out;
}

// An empty text means the default; those of folders depend on the environment.
static char *string_value(const struct option *o, const char *value)
{
    if (*value)
        return strdup(value);
    if (o->offset == offsetof(struct conf, data_dir))
        return data_home("");
    if (o->offset == offsetof(struct conf, models_dir))
        return data_home("/models");
    if (o->offset == offsetof(struct conf, openvino_dir))
        return data_home("/openvino");
    return strdup(o->def);
}

int conf_option_set(struct conf *c, const struct option *o, const char *value, struct error *err)
{
    void *field = (char *)c + o->offset;
    if (o->kind == OPT_STRING || o->kind == OPT_CHOICE) {
        if (o->kind == OPT_CHOICE && !is_choice(o, value))
            return refuse(o, value, err);
        char *copy = string_value(o, value);
        if (!copy)
            return error_set(err, ERR_NO_MEMORY, "Out of memory");
        free(*(char **)field);
        *(char **)field = copy;
        return 0;
    }
    int64_t number;
    if (parse_number(o, value, &number) < 0)
        return refuse(o, value, err);
    if (o->kind == OPT_BOOL)
        *(bool *)field = number;
    else
        *(int64_t *)field = number;
    return 0;
}

int conf_set(struct conf *c, const char *name, const char *value, struct error *err)
{
    const struct option *o = conf_option_find(name);
    if (o)
        return conf_option_set(c, o, value, err);
    if ((o = conf_prefix_find(name)))
        return conf_prefix_set(c, o, name, value, err);
    const struct option *near = conf_option_nearest(name);
    return error_set(err, ERR_CONFIG, "There is no option \"%.64s\"%s%s%s", name, near ? "; did you mean \"" : "",
                     near ? near->name : "", near ? "\"?" : "");
}

void conf_init(struct conf *c)
{
    *c = (struct conf){0};
    for (size_t i = 0; i < conf_option_count; i++) {
        const struct option *o = &conf_options[i];
        void *field = (char *)c + o->offset;
        if (o->kind == OPT_STRING || o->kind == OPT_CHOICE || o->kind == OPT_PREFIX)
            *(char **)field = string_value(o, o->def);
        else if (o->kind == OPT_BOOL)
            *(bool *)field = o->number;
        else if (o->kind != OPT_SECTION)
            *(int64_t *)field = o->number;
    }
}

void conf_free(struct conf *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < conf_option_count; i++)
        if (conf_options[i].kind == OPT_STRING || conf_options[i].kind == OPT_CHOICE ||
            conf_options[i].kind == OPT_PREFIX)
            free(*(char **)((char *)c + conf_options[i].offset));
    *c = (struct conf){0};
}
