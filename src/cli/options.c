// SPDX-License-Identifier: Apache-2.0
// The parser of a command's options.
#include "cli/options.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cli/nearest.h"

enum { OPTIONS_MAX = 64 };

static int unknown(const struct option_def *defs, const char *name, struct error *err)
{
    const char *names[OPTIONS_MAX + 1] = {NULL};
    for (size_t i = 0; defs && defs[i].kind && i < OPTIONS_MAX; i++)
        names[i] = defs[i].name;
    const char *near = nearest_name(name, names);
    if (near)
        return error_set(err, ERR_USAGE, "There is no option --%.80s; did you mean --%s?", name, near);
    return error_set(err, ERR_USAGE, "There is no option --%.80s", name);
}

// The definition that `name` (of `len` bytes) stands for; `*negated` when it was given as --no-….
static const struct option_def *find(const struct option_def *defs, const char *name, size_t len, bool *negated)
{
    *negated = false;
    for (; defs && defs->kind; defs++) {
        if (strlen(defs->name) == len && memcmp(defs->name, name, len) == 0)
            return defs;
        bool no = defs->kind == OPTION_SWITCH && len > 3 && memcmp(name, "no-", 3) == 0;
        if (no && strlen(defs->name) == len - 3 && memcmp(defs->name, name + 3, len - 3) == 0) {
            *negated = true;
            return defs;
        }
    }
    return NULL;
}

static bool is_choice(const char *choices, const char *value)
{
    size_t len = strlen(value);
    for (const char *p = choices; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
        if (len && strcspn(p, "|") == len && memcmp(p, value, len) == 0)
            return true;
    return false;
}

static int set_int(const struct option_def *def, void *field, const char *value, struct error *err)
{
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (errno || end == value || *end || number < def->least || number > def->most)
        return error_set(err, ERR_USAGE, "--%s takes a whole number from %lld to %lld, not \"%.80s\"", def->name,
                         (long long)def->least, (long long)def->most, value);
    *(int64_t *)field = number;
    return 0;
}

static int set_real(const struct option_def *def, void *field, const char *value, struct error *err)
{
    char *end;
    double number = strtod(value, &end);
    if (end == value || *end || !isfinite(number) || number < (double)def->least || number > (double)def->most)
        return error_set(err, ERR_USAGE, "--%s takes a number from %lld to %lld, not \"%.80s\"", def->name,
                         (long long)def->least, (long long)def->most, value);
    *(double *)field = number;
    return 0;
}

static int set_value(const struct option_def *def, void *field, const char *value, struct error *err)
{
    switch (def->kind) {
    case OPTION_INT:
        return set_int(def, field, value, err);
    case OPTION_REAL:
        return set_real(def, field, value, err);
    case OPTION_CHOICE:
        if (!is_choice(def->arg, value))
            return error_set(err, ERR_USAGE, "--%s takes one of %s, not \"%.80s\"", def->name, def->arg, value);
        *(const char **)field = value;
        return 0;
    default:
        *(const char **)field = value;
        return 0;
    }
}

// Handles argv[i], which starts with "--"; returns how many words it took, or -1.
static int take(const struct option_def *defs, void *into, int left, char **words, struct error *err)
{
    const char *name = words[0] + 2;
    size_t len = strcspn(name, "=");
    bool negated;
    const struct option_def *def = find(defs, name, len, &negated);
    if (!def)
        return unknown(defs, name, err);
    const char *value = name[len] ? name + len + 1 : NULL;
    void *field = (char *)into + def->offset;
    if (def->kind == OPTION_FLAG || def->kind == OPTION_SWITCH) {
        if (value)
            return error_set(err, ERR_USAGE, "--%s takes no value", def->name);
        *(bool *)field = !negated;
        return 1;
    }
    if (value)
        return set_value(def, field, value, err) < 0 ? -1 : 1;
    if (left < 2)
        return error_set(err, ERR_USAGE, "--%s needs a value: %s", def->name, def->arg);
    return set_value(def, field, words[1], err) < 0 ? -1 : 2;
}

int options_parse(const struct option_def *defs, void *into, int *argc, char **argv, struct error *err)
{
    int kept = 1;
    for (int i = 1; i < *argc;) {
        const char *word = argv[i];
        if (strcmp(word, "--") == 0) {
            while (++i < *argc)
                argv[kept++] = argv[i];
        } else if (word[0] == '-' && word[1] == '-') {
            int taken = take(defs, into, *argc - i, argv + i, err);
            if (taken < 0)
                return -1;
            i += taken;
        } else if (word[0] == '-' && word[1]) {
            return error_set(err, ERR_USAGE, "There is no option %.80s", word);
        } else {
            argv[kept++] = argv[i++];
        }
    }
    argv[kept] = NULL;
    *argc = kept;
    return 0;
}
