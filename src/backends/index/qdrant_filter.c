// SPDX-License-Identifier: Apache-2.0
// A filter in Qdrant's words. It has been parsed (base/filter.c), so its form is known to be right; each of its
// conditions becomes one of Qdrant's that is true for the same points:
//
//   equality, any of   match any for strings, match value for booleans, and for numbers a range of that one number (10
//                      and 10.0 are the same, which a match would not say)
//   ranges             range; of times, on the milliseconds beside
//   all                one condition a value, all of which must hold
//   not                must_not
//   exists             is_empty
//   and, or, not       filters within filters
#include <string.h>

#include "backends/index/qdrant_int.h"

// ---- Pieces; each takes what it is given, and gives NULL when that is NULL or memory is short

static json_t *one_key(const char *name, json_t *list)
{
    return list ? json_pack("{s:o}", name, list) : NULL;
}

static json_t *list_of_one(json_t *condition)
{
    return condition ? json_pack("[o]", condition) : NULL;
}

static json_t *negated(json_t *condition)
{
    return one_key("must_not", list_of_one(condition));
}

static json_t *on_key(const char *key, const char *what, json_t *value)
{
    return value ? json_pack("{s:s, s:o}", "key", key, what, value) : NULL;
}

// Adds what may be NULL; then the list becomes NULL, too.
static void append(json_t **list, json_t *condition)
{
    if (*list && condition && json_array_append_new(*list, condition) == 0)
        return;
    json_decref(*list);
    *list = NULL;
}

// ---- The conditions of a field

static json_t *is_number(const char *key, double number)
{
    return on_key(key, "range", json_pack("{s:f, s:f}", "gte", number, "lte", number));
}

static json_t *is_value(const char *key, const json_t *value)
{
    if (json_is_number(value))
        return is_number(key, json_number_value(value));
    return on_key(key, "match", json_pack("{s:O}", "value", value));
}

// One of the values, of which there is at least one: strings are asked for together.
static json_t *is_any(const char *key, const json_t *values)
{
    size_t i;
    json_t *value, *strings = json_array(), *either = json_array();
    if (!json_is_array(values)) {
        json_decref(strings);
        json_decref(either);
        return is_value(key, values);
    }
    json_array_foreach((json_t *)values, i, value)
    {
        if (json_is_string(value))
            json_array_append(strings, value);
        else
            append(&either, is_value(key, value));
    }
    if (json_array_size(strings))
        append(&either, on_key(key, "match", json_pack("{s:O}", "any", strings)));
    json_decref(strings);
    return one_key("should", either);
}

static json_t *is_all(const char *key, const json_t *values)
{
    size_t i;
    json_t *value, *every = json_array();
    if (!json_is_array(values))
        append(&every, is_value(key, values));
    json_array_foreach((json_t *)values, i, value) append(&every, is_value(key, value));
    return one_key("must", every);
}

static json_t *exists(const char *key, bool wanted)
{
    json_t *empty = json_pack("{s:{s:s}}", "is_empty", "key", key);
    return wanted ? negated(empty) : empty;
}

// The bounds of one field are one condition, since it is one element that must lie within all of them.
static json_t *within(const char *path, const char *key, const json_t *conditions)
{
    static const char *const bounds[] = {"gt", "gte", "lt", "lte"};
    json_t *range = json_object();
    bool times = false;
    for (size_t i = 0; range && i < ARRAY_LEN(bounds); i++) {
        double ms;
        const json_t *bound = json_object_get(conditions, bounds[i]);
        if (!bound)
            continue;
        times = filter_time(bound, &ms);
        json_object_set_new(range, bounds[i], json_real(times ? ms : json_number_value(bound)));
    }
    _cleanup_free_ char *of_times = times ? qdrant_key(true, path) : NULL;
    if (!times || of_times)
        return on_key(times ? of_times : key, "range", range);
    json_decref(range);
    return NULL;
}

// The conditions of one field that is asked more than for equality, all of which must hold.
static json_t *on_conditions(const char *path, const char *key, const json_t *conditions)
{
    const char *name;
    json_t *value, *every = json_array();
    bool ranged = false;
    json_object_foreach((json_t *)conditions, name, value)
    {
        if (strcmp(name, "all") == 0)
            append(&every, is_all(key, value));
        else if (strcmp(name, "not") == 0)
            append(&every, negated(is_any(key, value)));
        else if (strcmp(name, "exists") == 0)
            append(&every, exists(key, json_is_true(value)));
        else
            ranged = true;
    }
    if (ranged)
        append(&every, within(path, key, conditions));
    return one_key("must", every);
}

static json_t *on_field(const char *path, const json_t *json)
{
    _cleanup_free_ char *key = qdrant_key(false, path);
    if (!key)
        return NULL;
    return json_is_object(json) ? on_conditions(path, key, json) : is_any(key, json);
}

// ---- Filters. The recursion is as deep as the filter is nested, which parsing has bounded.

static json_t *translate(const json_t *json);

static json_t *translate_list(const char *name, const json_t *list)
{
    size_t i;
    json_t *each, *out = json_array();
    json_array_foreach((json_t *)list, i, each) append(&out, translate(each));
    return one_key(name, out);
}

static json_t *translate(const json_t *json)
{
    const char *name;
    json_t *value, *every = json_array();
    json_object_foreach((json_t *)json, name, value)
    {
        if (strcmp(name, "and") == 0)
            append(&every, translate_list("must", value));
        else if (strcmp(name, "or") == 0)
            append(&every, translate_list("should", value));
        else if (strcmp(name, "not") == 0)
            append(&every, negated(translate(value)));
        else
            append(&every, on_field(name, value));
    }
    return one_key("must", every);
}

json_t *qdrant_filter(const struct filter *filter)
{
    return translate(filter_json(filter));
}
