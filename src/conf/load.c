// SPDX-License-Identifier: Apache-2.0
// Where the configuration comes from: the file, then DEEPLENS_* variables, then flags; the last one wins.
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "conf/conf_int.h"

static const char default_file[] = "/etc/deeplens.conf";
static const char env_prefix[] = "DEEPLENS_";

enum { LINE_MAX_BYTES = 4096, LINES_MAX = 10000 };

DEFINE_CLEANUP(FILE *, file, fclose)
#define _cleanup_file_ _cleanup_(cleanup_file)

void conf_flag_name(const char *name, char out[OPTION_NAME_MAX + 16])
{
    snprintf(out, OPTION_NAME_MAX + 16, "--%s", name);
    for (char *p = out; *p; p++)
        if (*p == '.' || *p == '_')
            *p = '-';
}

void conf_env_name(const char *name, char out[OPTION_NAME_MAX + 16])
{
    snprintf(out, OPTION_NAME_MAX + 16, "%s%s", env_prefix, name);
    for (char *p = out; *p; p++)
        *p = *p == '.' || *p == '-' ? '_' : (char)toupper((unsigned char)*p);
}

// Folds all spellings of a name into one, so that what was written can be compared with what there is.
void conf_fold_name(const char *written, char out[OPTION_NAME_MAX])
{
    if (strncmp(written, env_prefix, sizeof env_prefix - 1) == 0)
        written += sizeof env_prefix - 1;
    written += strspn(written, "-");
    size_t n = 0;
    for (; *written && n < OPTION_NAME_MAX - 1; written++)
        out[n++] = *written == '_' || *written == '-' ? '.' : (char)tolower((unsigned char)*written);
    out[n] = 0;
}

// Levenshtein's distance: insertions, deletions and replacements of one byte.
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[OPTION_NAME_MAX + 1];
    size_t width = strlen(b);
    for (size_t j = 0; j <= width; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= width; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[width];
}

const struct option *conf_option_nearest(const char *written)
{
    char wanted[OPTION_NAME_MAX], have[OPTION_NAME_MAX];
    conf_fold_name(written, wanted);
    const struct option *best = NULL;
    size_t limit = strlen(wanted) / 3 + 2; // as near as this, or no suggestion at all
    for (size_t i = 0; i < conf_option_count; i++) {
        if (conf_options[i].kind <= OPT_PREFIX)
            continue;
        conf_fold_name(conf_options[i].name, have);
        size_t distance = edit_distance(wanted, have);
        if (distance < limit) {
            best = &conf_options[i];
            limit = distance;
        }
    }
    return best;
}

// Cuts white space off both ends, in place.
static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t len = strlen(text);
    while (len && isspace((unsigned char)text[len - 1]))
        text[--len] = 0;
    return text;
}

// One line "name = value"; blank lines and lines that start with '#' say nothing. A value may stand in double
// quotes, to keep the spaces at its ends.
static int load_line(struct conf *c, char *line, struct error *err)
{
    line = trim(line);
    if (!*line || *line == '#')
        return 0;
    char *equals = strchr(line, '=');
    if (!equals)
        return error_set(err, ERR_CONFIG, "\"%.64s\" is not of the form \"name = value\"", line);
    *equals = 0;
    char *value = trim(equals + 1);
    size_t len = strlen(value);
    if (len >= 2 && value[0] == '"' && value[len - 1] == '"') {
        value[len - 1] = 0;
        value++;
    }
    return conf_set(c, trim(line), value, err);
}

static int load_file(struct conf *c, const char *path, bool required, struct error *err)
{
    _cleanup_file_ FILE *in = fopen(path, "re");
    if (!in)
        return required || errno != ENOENT
                   ? error_errno(err, ERR_CONFIG, errno, "The configuration file %s cannot be opened", path)
                   : 0;
    char line[LINE_MAX_BYTES];
    for (int number = 1; fgets(line, sizeof line, in); number++) {
        if (number > LINES_MAX || (!strchr(line, '\n') && !feof(in)))
            return error_set(err, ERR_CONFIG, "%s, line %d: the line or the file is too long", path, number);
        if (load_line(c, line, err) < 0)
            return error_prefix(err, "%s, line %d", path, number);
    }
    return ferror(in) ? error_errno(err, ERR_CONFIG, errno, "The configuration file %s cannot be read", path) : 0;
}

static const struct option *find_env(const char *name)
{
    char have[OPTION_NAME_MAX + 16];
    for (size_t i = 0; i < conf_option_count; i++) {
        if (conf_options[i].kind <= OPT_PREFIX)
            continue;
        conf_env_name(conf_options[i].name, have);
        if (strcmp(have, name) == 0)
            return &conf_options[i];
    }
    return NULL;
}

static int load_variable(struct conf *c, const char *name, const char *value, struct error *err)
{
    const struct option *o = find_env(name);
    char dotted[OPTION_NAME_MAX];
    conf_fold_name(name, dotted);
    const struct option *prefix = o ? NULL : conf_prefix_find(dotted);
    if (prefix)
        return *value ? conf_prefix_set(c, prefix, dotted, value, err) : 0;
    if (!o) {
        const struct option *near = conf_option_nearest(name);
        char suggestion[OPTION_NAME_MAX + 16] = "";
        if (near)
            conf_env_name(near->name, suggestion);
        return error_set(err, ERR_CONFIG, "The variable %.64s is not an option%s%s%s", name,
                         near ? "; did you mean " : "", suggestion, near ? "?" : "");
    }
    if (!*value) // as good as not set
        return 0;
    return conf_option_set(c, o, value, err) < 0 ? error_prefix(err, "%s", name) : 0;
}

// Variables that other programs of the system go by as well.
static int load_shared_variables(struct conf *c, struct error *err)
{
    static const char *const shared[][2] = {{"KAFKA_BROKERS", "kafka.brokers"},
                                            {"KAFKA_CLIENT_ID", "kafka.client_id"},
                                            {"KAFKA_GROUP_ID", "kafka.message_group"},
                                            {"KAFKA_TOPIC", "kafka.message_topic"}};
    for (size_t i = 0; i < ARRAY_LEN(shared); i++) {
        const char *value = getenv(shared[i][0]);
        if (value && *value && conf_set(c, shared[i][1], value, err) < 0)
            return error_prefix(err, "%s", shared[i][0]);
    }
    return 0;
}

static int load_environment(struct conf *c, struct error *err)
{
    if (load_shared_variables(c, err) < 0)
        return -1;
    for (char **entry = environ; entry && *entry; entry++) {
        const char *equals = strchr(*entry, '=');
        size_t len = equals ? (size_t)(equals - *entry) : 0;
        if (len < sizeof env_prefix - 1 || strncmp(*entry, env_prefix, sizeof env_prefix - 1) != 0)
            continue;
        _cleanup_free_ char *name = strndup(*entry, len);
        if (!name)
            return error_set(err, ERR_NO_MEMORY, "Out of memory");
        if (strcmp(name, "DEEPLENS_CONFIG") == 0 || strncmp(name, "DEEPLENS_TEST_", 14) == 0)
            continue;
        if (load_variable(c, name, equals + 1, err) < 0)
            return -1;
    }
    return 0;
}

// One flag as it stands in argv.
struct flag {
    bool config;                 // --config
    const struct option *of;     // NULL when it is not one of ours (nor --config)
    bool negated;                // --no-…
    const struct option *prefix; // when the name is none of ours, but begins as one of these
    const char *inlined;         // behind '='; NULL when there is none
};

static bool same_flag(const char *flag, size_t len, const char *have)
{
    return strlen(have) == len && strncmp(flag, have, len) == 0;
}

// "--kafka-sasl-username=x" → "kafka.sasl.username"
static void flag_property(const char *arg, char out[OPTION_NAME_MAX])
{
    _cleanup_free_ char *name = strndup(arg, strcspn(arg, "="));
    conf_fold_name(name ? name : "", out);
}

static struct flag recognise(const char *arg)
{
    struct flag f = {0};
    size_t len = strcspn(arg, "=");
    char have[OPTION_NAME_MAX + 16];
    f.inlined = arg[len] ? arg + len + 1 : NULL;
    f.config = same_flag(arg, len, "--config");
    bool no = len > 5 && strncmp(arg, "--no-", 5) == 0;
    for (size_t i = 0; i < conf_option_count && !f.of; i++) {
        const struct option *o = &conf_options[i];
        if (o->kind <= OPT_PREFIX)
            continue;
        conf_flag_name(o->name, have);
        f.negated = no && o->kind == OPT_BOOL && same_flag(arg + 5, len - 5, have + 2);
        if (f.negated || same_flag(arg, len, have))
            f.of = o;
    }
    if (!f.of && !f.config && len > 2 && len < OPTION_NAME_MAX && strncmp(arg, "--", 2) == 0) {
        char dotted[OPTION_NAME_MAX];
        flag_property(arg, dotted);
        f.prefix = conf_prefix_find(dotted);
    }
    return f;
}

static bool needs_value(const struct flag *f)
{
    return !f->inlined && (f->config || f->prefix || (f->of && f->of->kind != OPT_BOOL));
}

bool conf_is_option(const char *flag, bool *takes_value)
{
    struct flag f = recognise(flag);
    if (!f.config && !f.of && !f.prefix)
        return false;
    *takes_value = needs_value(&f);
    return true;
}

// Gives the value of the flag at argv[*i], moving *i to the last word of it.
static int flag_value(const struct flag *f, int argc, char **argv, int *i, const char **value, struct error *err)
{
    if (f->negated && f->inlined)
        return error_set(err, ERR_USAGE, "%.64s takes no value", argv[*i]);
    if (!needs_value(f)) {
        *value = f->inlined ? f->inlined : f->negated ? "false" : "true";
        return 0;
    }
    if (*i + 1 >= argc || strncmp(argv[*i + 1], "--", 2) == 0)
        return error_set(err, ERR_USAGE, "%.64s needs a value", argv[*i]);
    *value = argv[++*i];
    return 0;
}

// The value of the last --config; NULL when there is none.
static int find_config(int argc, char **argv, const char **path, struct error *err)
{
    *path = NULL;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        struct flag f = recognise(argv[i]);
        const char *value;
        if (!f.config && !f.of && !f.prefix)
            continue;
        if (flag_value(&f, argc, argv, &i, &value, err) < 0)
            return -1;
        if (f.config)
            *path = value;
    }
    return 0;
}

static int take_flags(struct conf *c, int *argc, char **argv, struct error *err)
{
    int kept = 1, i = 1;
    for (; i < *argc && strcmp(argv[i], "--") != 0; i++) {
        struct flag f = recognise(argv[i]);
        const char *value, *name = argv[i];
        if (!f.config && !f.of && !f.prefix) {
            argv[kept++] = argv[i];
            continue;
        }
        if (flag_value(&f, *argc, argv, &i, &value, err) < 0)
            return -1;
        if (f.of && conf_option_set(c, f.of, value, err) < 0)
            return error_prefix(err, "%.*s", (int)strcspn(name, "="), name);
        if (f.prefix) {
            char dotted[OPTION_NAME_MAX];
            flag_property(name, dotted);
            if (conf_prefix_set(c, f.prefix, dotted, value, err) < 0)
                return -1;
        }
    }
    while (i < *argc)
        argv[kept++] = argv[i++];
    if (*argc > 0) {
        *argc = kept;
        argv[kept] = NULL;
    }
    return 0;
}

int conf_load(struct conf *c, int *argc, char **argv, struct error *err)
{
    const char *path;
    if (find_config(*argc, argv, &path, err) < 0)
        return -1;
    if (!path)
        path = getenv("DEEPLENS_CONFIG");
    bool named = path && *path;
    if (load_file(c, named ? path : default_file, named, err) < 0 || load_environment(c, err) < 0)
        return -1;
    return take_flags(c, argc, argv, err);
}
