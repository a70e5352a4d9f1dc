// SPDX-License-Identifier: Apache-2.0
// Filters: the parser, the maker of terms, and the matcher.
//
// A parsed filter is one flat array of nodes in preorder. A node knows where its descendants end, so that
// walking the children of "and" is stepping from end to end; there are no pointers to follow. Every node
// below the connectives asks one question of one path, and terms are sorted by path: a question is a binary
// search and a look at the few terms of that path.
#include "base/filter.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"

enum {
    TEXT_MAX = 1024,     // bytes of a string that becomes a term
    PATH_MAX_LEN = 1024, // bytes of a dotted path that terms are made for
    KEY_SHOWN = 64,      // bytes of a member's name in a message
    WHERE_MAX = 192,     // bytes of the place in a message
};

enum op { OP_AND, OP_OR, OP_NOT, OP_ANY, OP_ALL, OP_NONE, OP_RANGE, OP_EXISTS };

struct value {
    uint64_t bits;
    uint8_t kind;
};

struct node {
    uint64_t path;
    double lo, hi;  // OP_RANGE: both ends belong to it
    uint16_t end;   // the node behind this one's last descendant
    uint16_t first; // OP_ANY, OP_ALL, OP_NONE: values[first …]
    uint16_t count; // of values
    uint8_t op;
    uint8_t kind; // OP_RANGE: TERM_NUMBER or TERM_TIME
    bool wanted;  // OP_EXISTS
};

struct filter {
    json_t *json;
    size_t node_count;
    size_t value_count;
    struct node nodes[FILTER_MAX_NODES];
    struct value values[FILTER_MAX_NODES];
};

struct parser {
    struct filter *filter;
    struct error *err;
    size_t where_len;
    char where[WHERE_MAX]; // "filter.and[1].price.gte"
};

static uint64_t number_bits(double number)
{
    uint64_t bits;
    number += 0.0; // −0 equals 0
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

static double bits_number(uint64_t bits)
{
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

// Cheaper than clock_parse on the strings that are no times, which are nearly all.
bool filter_time(const json_t *json, double *ms)
{
    int64_t parsed;
    size_t len = json_string_length(json);
    const char *text = json_string_value(json);
    if (len < 10 || len > 64 || text[0] < '0' || text[0] > '9' || text[4] != '-' || text[7] != '-')
        return false;
    if (clock_parse(text, &parsed) < 0)
        return false;
    *ms = (double)parsed;
    return true;
}

// Fills a value from a string, number or boolean.
static bool value_make(const json_t *json, struct value *out)
{
    if (json_is_string(json))
        *out = (struct value){hash64(json_string_value(json), json_string_length(json)), TERM_STRING};
    else if (json_is_number(json))
        *out = (struct value){number_bits(json_number_value(json)), TERM_NUMBER};
    else if (json_is_boolean(json))
        *out = (struct value){json_is_true(json) ? 1 : 0, TERM_BOOL};
    else
        return false;
    return true;
}

// ---- Parsing ----

__attribute__((format(printf, 2, 3))) static int fail(const struct parser *p, const char *fmt, ...)
{
    char text[160];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return error_set(p->err, ERR_INVALID_FILTER, "%s %s", p->where, text);
}

// Adds ".key" to the place, the key cut between characters when it is long; returns what where_pop takes.
static size_t where_push(struct parser *p, const char *key)
{
    size_t mark = p->where_len, len = strlen(key);
    if (len > KEY_SHOWN)
        for (len = KEY_SHOWN; len && ((unsigned char)key[len] & 0xC0) == 0x80;)
            len--;
    if (mark + 1 + len < WHERE_MAX)
        p->where_len += (size_t)snprintf(p->where + mark, WHERE_MAX - mark, ".%.*s", (int)len, key);
    return mark;
}

static size_t where_push_index(struct parser *p, size_t index)
{
    size_t mark = p->where_len;
    if (mark + 24 < WHERE_MAX)
        p->where_len += (size_t)snprintf(p->where + mark, WHERE_MAX - mark, "[%zu]", index);
    return mark;
}

static void where_pop(struct parser *p, size_t mark)
{
    p->where_len = mark;
    p->where[mark] = 0;
}

// A new node that ends behind itself; NULL (and the error set) when there are too many.
static struct node *node_new(struct parser *p, enum op op)
{
    struct filter *f = p->filter;
    if (f->node_count == FILTER_MAX_NODES) {
        fail(p, "goes beyond the %d conditions that a filter may have", FILTER_MAX_NODES);
        return NULL;
    }
    struct node *node = &f->nodes[f->node_count++];
    *node = (struct node){.op = (uint8_t)op, .end = (uint16_t)f->node_count};
    return node;
}

static int value_add(struct parser *p, struct node *node, const json_t *json)
{
    struct filter *f = p->filter;
    if (f->value_count == FILTER_MAX_NODES)
        return fail(p, "goes beyond the %d values that a filter may have", FILTER_MAX_NODES);
    if (!value_make(json, &f->values[f->value_count]))
        return fail(p, "must be a string, a number or a boolean%s",
                    json_is_null(json) ? " (null is asked for with {\"exists\": false})" : "");
    f->value_count++;
    node->count++;
    return 0;
}

// One value, or a list of at least one.
static int parse_values(struct parser *p, enum op op, uint64_t path, const json_t *json)
{
    struct node *node = node_new(p, op);
    if (!node)
        return -1;
    node->path = path;
    node->first = (uint16_t)p->filter->value_count;
    if (!json_is_array(json))
        return value_add(p, node, json);
    if (json_array_size(json) == 0)
        return fail(p, "must list at least one value");
    for (size_t i = 0; i < json_array_size(json); i++) {
        size_t mark = where_push_index(p, i);
        if (value_add(p, node, json_array_get(json, i)) < 0)
            return -1;
        where_pop(p, mark);
    }
    return 0;
}

static int bound_value(struct parser *p, struct node *range, const json_t *json, double *out)
{
    uint8_t kind = TERM_NUMBER;
    if (json_is_number(json))
        *out = json_number_value(json);
    else if (filter_time(json, out))
        kind = TERM_TIME;
    else
        return fail(p, "must be a number or a time");
    if (range->count++ && range->kind != kind)
        return fail(p, "must be a %s, as the other end is", range->kind == TERM_TIME ? "time" : "number");
    range->kind = kind;
    return 0;
}

static int parse_bound(struct parser *p, struct node *range, const char *name, const json_t *json)
{
    double value = 0;
    size_t mark = where_push(p, name);
    if (bound_value(p, range, json, &value) < 0)
        return -1;
    where_pop(p, mark);
    bool open = name[2] == 0; // "gt", "lt": the next number inwards is the end that belongs to it
    if (name[0] == 'g')
        range->lo = fmax(range->lo, open ? nextafter(value, INFINITY) : value);
    else
        range->hi = fmin(range->hi, open ? nextafter(value, -INFINITY) : value);
    return 0;
}

static bool is_bound(const char *name)
{
    return (name[0] == 'g' || name[0] == 'l') && name[1] == 't' && (name[2] == 0 || strcmp(name + 2, "e") == 0);
}

// The bounds of one field make one node, since it is one element that must lie within all of them.
static int parse_range(struct parser *p, uint64_t path, const json_t *conditions)
{
    static const char *const bounds[] = {"gt", "gte", "lt", "lte"};
    struct node *range = NULL;
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        const json_t *json = json_object_get(conditions, bounds[i]);
        if (!json)
            continue;
        if (!range) {
            range = node_new(p, OP_RANGE);
            if (!range)
                return -1;
            range->path = path;
            range->lo = -INFINITY;
            range->hi = INFINITY;
        }
        if (parse_bound(p, range, bounds[i], json) < 0)
            return -1;
    }
    return 0;
}

static int parse_exists(struct parser *p, uint64_t path, const json_t *json)
{
    if (!json_is_boolean(json))
        return fail(p, "must be true or false");
    struct node *node = node_new(p, OP_EXISTS);
    if (!node)
        return -1;
    node->path = path;
    node->wanted = json_is_true(json);
    return 0;
}

static int parse_condition(struct parser *p, uint64_t path, const char *name, const json_t *json)
{
    if (strcmp(name, "all") == 0)
        return parse_values(p, OP_ALL, path, json);
    if (strcmp(name, "not") == 0)
        return parse_values(p, OP_NONE, path, json);
    if (strcmp(name, "exists") == 0)
        return parse_exists(p, path, json);
    if (is_bound(name))
        return 0; // parse_range took it
    return fail(p, "is not a condition: there are gt, gte, lt, lte, all, not and exists, "
                   "and a nested member is named by a dotted path (\"size.width\")");
}

static int parse_field(struct parser *p, const char *name, const json_t *json)
{
    uint64_t path = hash64(name, strlen(name));
    if (!json_is_object(json))
        return parse_values(p, OP_ANY, path, json);
    if (json_object_size(json) == 0)
        return fail(p, "must have at least one condition");
    if (parse_range(p, path, json) < 0)
        return -1;
    const char *condition;
    json_t *member;
    json_object_foreach((json_t *)json, condition, member)
    {
        size_t mark = where_push(p, condition);
        if (parse_condition(p, path, condition, member) < 0)
            return -1;
        where_pop(p, mark);
    }
    return 0;
}

static int parse_object(struct parser *p, const json_t *json, int depth);

static int parse_list(struct parser *p, enum op op, const json_t *json, int depth)
{
    if (!json_is_array(json) || json_array_size(json) == 0)
        return fail(p, "must be a list of at least one filter");
    struct node *node = node_new(p, op);
    if (!node)
        return -1;
    for (size_t i = 0; i < json_array_size(json); i++) {
        size_t mark = where_push_index(p, i);
        if (parse_object(p, json_array_get(json, i), depth + 1) < 0)
            return -1;
        where_pop(p, mark);
    }
    node->end = (uint16_t)p->filter->node_count;
    return 0;
}

static int parse_not(struct parser *p, const json_t *json, int depth)
{
    struct node *node = node_new(p, OP_NOT);
    if (!node || parse_object(p, json, depth + 1) < 0)
        return -1;
    node->end = (uint16_t)p->filter->node_count;
    return 0;
}

static int parse_member(struct parser *p, const char *name, const json_t *json, int depth)
{
    if (strcmp(name, "and") == 0)
        return parse_list(p, OP_AND, json, depth);
    if (strcmp(name, "or") == 0)
        return parse_list(p, OP_OR, json, depth);
    if (strcmp(name, "not") == 0)
        return parse_not(p, json, depth);
    return parse_field(p, name, json);
}

static int parse_object(struct parser *p, const json_t *json, int depth)
{
    if (depth > FILTER_MAX_DEPTH)
        return fail(p, "goes beyond the %d levels that a filter may have", FILTER_MAX_DEPTH);
    if (!json_is_object(json))
        return fail(p, "must be an object");
    struct node *node = node_new(p, OP_AND);
    if (!node)
        return -1;
    const char *name;
    json_t *member;
    json_object_foreach((json_t *)json, name, member)
    {
        size_t mark = where_push(p, name);
        if (parse_member(p, name, member, depth) < 0)
            return -1;
        where_pop(p, mark);
    }
    node->end = (uint16_t)p->filter->node_count;
    return 0;
}

int filter_parse(const json_t *json, struct filter **out, struct error *err)
{
    struct filter *f = malloc(sizeof *f);
    if (!f)
        return error_set(err, ERR_NO_MEMORY, "There is no memory for the filter");
    f->json = NULL;
    f->node_count = f->value_count = 0;
    struct parser p = {.filter = f, .err = err, .where = "filter", .where_len = strlen("filter")};
    if (json && parse_object(&p, json, 1) < 0) {
        filter_free(f);
        return -1;
    }
    f->json = json ? json_deep_copy(json) : json_object();
    if (!f->json) {
        filter_free(f);
        return error_set(err, ERR_NO_MEMORY, "There is no memory for the filter");
    }
    *out = f;
    return 0;
}

void filter_free(struct filter *f)
{
    if (!f)
        return;
    json_decref(f->json);
    free(f);
}

const json_t *filter_json(const struct filter *f)
{
    return f->json;
}

bool filter_is_empty(const struct filter *f)
{
    return f->node_count <= 1;
}

// ---- Terms ----

struct walker {
    terms_fn *each;
    void *arg;
    size_t max; // terms
    size_t count;
    size_t path_len;
    char path[PATH_MAX_LEN + 1];
};

static void add_scalar(struct walker *w, const json_t *json)
{
    struct value value;
    double ms;
    if (json_is_string(json) && json_string_length(json) > TEXT_MAX)
        return;
    if (!value_make(json, &value))
        return;
    w->count++;
    bool timed = w->count < w->max && filter_time(json, &ms);
    w->count += timed;
    w->path[w->path_len] = 0;
    w->each(w->arg, w->path, json, timed ? &ms : NULL);
}

static void add_members(struct walker *w, const json_t *object, int depth);

static void add_value(struct walker *w, const json_t *json, int depth)
{
    if (w->count == w->max || depth > FILTER_MAX_DEPTH)
        return;
    if (json_is_object(json)) {
        add_members(w, json, depth + 1);
    } else if (json_is_array(json)) {
        for (size_t i = 0; i < json_array_size(json) && w->count < w->max; i++)
            add_value(w, json_array_get(json, i), depth + 1);
    } else {
        add_scalar(w, json);
    }
}

static void add_members(struct walker *w, const json_t *object, int depth)
{
    const char *name;
    json_t *member;
    size_t mark = w->path_len;
    json_object_foreach((json_t *)object, name, member)
    {
        size_t len = strlen(name), dot = mark ? 1 : 0;
        if (mark + dot + len > PATH_MAX_LEN)
            continue;
        if (dot)
            w->path[mark] = '.';
        memcpy(w->path + mark + dot, name, len);
        w->path_len = mark + dot + len;
        add_value(w, member, depth);
    }
    w->path_len = mark;
}

static int term_compare(const void *a, const void *b)
{
    const struct term *x = a, *y = b;
    if (x->path != y->path)
        return x->path < y->path ? -1 : 1;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    return x->value < y->value ? -1 : x->value > y->value;
}

void terms_walk(const json_t *payload, size_t max, terms_fn *each, void *arg)
{
    struct walker w = {.each = each, .arg = arg, .max = max};
    if (json_is_object(payload) && max > 0)
        add_members(&w, payload, 1);
}

struct maker {
    struct term *out;
    size_t count;
};

static void make_terms(void *arg, const char *path, const json_t *json, const double *time_ms)
{
    struct maker *m = arg;
    struct value value = {0};
    uint64_t hash = hash64(path, strlen(path));
    value_make(json, &value); // it can be: it was tried before this was called
    m->out[m->count++] = (struct term){.path = hash, .value = value.bits, .kind = value.kind};
    if (time_ms)
        m->out[m->count++] = (struct term){.path = hash, .value = number_bits(*time_ms), .kind = TERM_TIME};
}

size_t terms_make(const json_t *payload, struct term *out, size_t max)
{
    struct maker m = {.out = out};
    terms_walk(payload, max, make_terms, &m);
    if (m.count)
        qsort(out, m.count, sizeof *out, term_compare);
    return m.count;
}

// ---- Matching ----

// The terms of one path.
struct span {
    const struct term *begin;
    const struct term *end;
};

static struct span terms_of(uint64_t path, const struct term *terms, size_t count)
{
    const struct term *low = terms, *end = terms + count;
    for (size_t left = count; left > 0;) {
        size_t half = left / 2;
        if (low[half].path < path) {
            low += half + 1;
            left -= half + 1;
        } else {
            left = half;
        }
    }
    const struct term *behind = low;
    while (behind < end && behind->path == path)
        behind++;
    return (struct span){low, behind};
}

static bool span_has(struct span span, struct value value)
{
    for (const struct term *t = span.begin; t < span.end; t++)
        if (t->value == value.bits && t->kind == value.kind)
            return true;
    return false;
}

static bool span_has_any(struct span span, const struct value *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (span_has(span, values[i]))
            return true;
    return false;
}

static bool span_has_all(struct span span, const struct value *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!span_has(span, values[i]))
            return false;
    return true;
}

static bool span_in_range(struct span span, const struct node *node)
{
    for (const struct term *t = span.begin; t < span.end; t++) {
        double value = bits_number(t->value);
        if (t->kind == node->kind && value >= node->lo && value <= node->hi)
            return true;
    }
    return false;
}

static bool match_field(const struct filter *f, const struct node *node, const struct term *terms, size_t count)
{
    struct span span = terms_of(node->path, terms, count);
    const struct value *values = f->values + node->first;
    switch (node->op) {
    case OP_ANY:
        return span_has_any(span, values, node->count);
    case OP_ALL:
        return span_has_all(span, values, node->count);
    case OP_NONE:
        return !span_has_any(span, values, node->count);
    case OP_RANGE:
        return span_in_range(span, node);
    default:
        return (span.begin < span.end) == node->wanted;
    }
}

// The recursion is as deep as the filter is nested, which parsing has bounded.
static bool match_node(const struct filter *f, size_t at, const struct term *terms, size_t count)
{
    const struct node *node = &f->nodes[at];
    if (node->op > OP_NOT)
        return match_field(f, node, terms, count);
    if (node->op == OP_NOT)
        return !match_node(f, at + 1, terms, count);
    bool decisive = node->op == OP_OR; // the answer of one child that ends the search
    for (size_t child = at + 1; child < node->end; child = f->nodes[child].end)
        if (match_node(f, child, terms, count) == decisive)
            return decisive;
    return !decisive;
}

bool filter_match(const struct filter *f, const struct term *terms, size_t count)
{
    return filter_is_empty(f) || match_node(f, 0, terms, count);
}
