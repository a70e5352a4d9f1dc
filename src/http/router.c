// SPDX-License-Identifier: Apache-2.0
// The router: a tree of path segments. A node has literal children and at most one child for a parameter; a literal
// is tried first, the parameter when the literal's branch leads nowhere. Routes that share a path but not the method
// end in the same node; the names of parameters belong to the route, as two routes may call the same place otherwise.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/js.h"
#include "http/http_int.h"

struct node {
    const char *literal; // NULL: a parameter
    struct node *children;
    struct node *next; // sibling
    struct ending *endings;
    char *allow;
};

struct ending { // one route
    const struct http_route *route;
    const char **names;
    size_t count;
    struct ending *next;
};

struct http_router {
    struct arena arena;
    struct node root;
};

struct segment {
    const char *raw;
    size_t len;
    const char *text; // decoded; NULL when it cannot be
};

struct walk {
    struct segment segments[HTTP_MAX_SEGMENTS];
    size_t count;
    const struct segment *values[HTTP_MAX_SEGMENTS];
    size_t values_count;
};

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

const char *http_percent_decode(struct arena *arena, const char *text, size_t len, bool segment)
{
    char *out = arena_alloc(arena, len + 1);
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == '%') {
            int high = i + 1 < len ? hex(text[i + 1]) : -1, low = i + 2 < len ? hex(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return NULL;
            c = (char)(high << 4 | low);
            if (c == 0 || (segment && c == '/'))
                return NULL;
            i += 2;
        }
        out[n++] = c;
    }
    out[n] = 0;
    return js_utf8_valid(out, n) ? out : NULL;
}

// ---- building

static struct node *child(struct http_router *router, struct node *parent, const char *text, size_t len)
{
    bool parameter = text[0] == '{';
    for (struct node *n = parent->children; n; n = n->next)
        if (parameter ? !n->literal : n->literal && strlen(n->literal) == len && memcmp(n->literal, text, len) == 0)
            return n;
    struct node *node = arena_alloc(&router->arena, sizeof *node);
    node->literal = parameter ? NULL : arena_memdup(&router->arena, text, len);
    node->next = parent->children;
    parent->children = node;
    return node;
}

static int add(struct http_router *router, const struct http_route *route, struct error *err)
{
    struct ending *ending = arena_alloc(&router->arena, sizeof *ending);
    ending->route = route;
    ending->names = arena_alloc(&router->arena, HTTP_MAX_SEGMENTS * sizeof *ending->names);
    struct node *node = &router->root;
    size_t depth = 0;
    for (const char *p = route->pattern; *p == '/' && p[1];) {
        size_t len = strcspn(++p, "/");
        if (len == 0 || ++depth > HTTP_MAX_SEGMENTS)
            return error_set(err, ERR_INTERNAL, "The route %s has an empty segment or too many", route->pattern);
        if ((p[0] == '{') != (p[len - 1] == '}') || (p[0] == '{' && len < 3))
            return error_set(err, ERR_INTERNAL, "The route %s has a malformed parameter", route->pattern);
        if (p[0] == '{')
            ending->names[ending->count++] = arena_memdup(&router->arena, p + 1, len - 2);
        node = child(router, node, p, len);
        p += len;
    }
    for (const struct ending *e = node->endings; e; e = e->next)
        if (strcmp(e->route->method, route->method) == 0)
            return error_set(err, ERR_INTERNAL, "The route %s %s is there twice", route->method, route->pattern);
    ending->next = node->endings;
    node->endings = ending;
    bool get = strcmp(route->method, "GET") == 0;
    node->allow = arena_printf(&router->arena, "%s%s, %s", route->method, get ? ", HEAD" : "",
                               node->allow ? node->allow : "OPTIONS");
    return 0;
}

int router_new(const struct http_route *routes, struct http_router **out, struct error *err)
{
    struct http_router *router = calloc(1, sizeof *router);
    if (!router)
        return error_set(err, ERR_NO_MEMORY, "No memory for the router");
    for (const struct http_route *route = routes; route->method; route++) {
        if (add(router, route, err) != 0) {
            router_free(router);
            return -1;
        }
    }
    *out = router;
    return 0;
}

void router_free(struct http_router *router)
{
    if (!router)
        return;
    arena_free(&router->arena);
    free(router);
}

// ---- matching

static int split(struct walk *walk, const char *path, struct arena *arena)
{
    if (*path != '/')
        return -1;
    if (!path[1])
        return 0;
    for (const char *p = path; *p;) {
        size_t len = strcspn(++p, "/"); // p stood on a slash
        if (len == 0 || walk->count == HTTP_MAX_SEGMENTS)
            return -1;
        walk->segments[walk->count++] = (struct segment){p, len, http_percent_decode(arena, p, len, true)};
        p += len;
    }
    return 0;
}

// Depth is bounded by HTTP_MAX_SEGMENTS.
static const struct node *find(const struct node *node, struct walk *walk, size_t at)
{
    if (at == walk->count)
        return node->endings ? node : NULL;
    const struct segment *segment = &walk->segments[at];
    const struct node *parameter = NULL, *found;
    for (const struct node *n = node->children; n; n = n->next) {
        if (!n->literal)
            parameter = n;
        else if (segment->text && strcmp(n->literal, segment->text) == 0 && (found = find(n, walk, at + 1)))
            return found;
    }
    if (!parameter)
        return NULL;
    size_t before = walk->values_count;
    walk->values[walk->values_count++] = segment;
    if ((found = find(parameter, walk, at + 1)))
        return found;
    walk->values_count = before;
    return NULL;
}

static const struct ending *choose(const struct node *node, const char *method)
{
    for (const struct ending *e = node->endings; e; e = e->next)
        if (strcmp(e->route->method, method) == 0)
            return e;
    return strcmp(method, "HEAD") == 0 ? choose(node, "GET") : NULL;
}

int router_match(const struct http_router *router, const char *method, const char *path, struct arena *arena,
                 struct http_match *out, struct error *err)
{
    struct walk walk = {.count = 0};
    struct http_match match = {NULL};
    const struct node *node = split(&walk, path, arena) == 0 ? find(&router->root, &walk, 0) : NULL;
    if (node) {
        match.allow = node->allow;
        const struct ending *ending = choose(node, method);
        if (ending) {
            match.route = ending->route;
            match.names = ending->names;
            match.count = ending->count;
            match.values = arena_alloc(arena, (match.count + 1) * sizeof *match.values);
        }
    }
    for (size_t i = 0; i < match.count; i++) {
        match.values[i] = walk.values[i] ? walk.values[i]->text : NULL;
        if (!match.values[i])
            return error_set(err, ERR_INVALID,
                             "The path's {%s} is not valid: it must be UTF-8 without NUL and without a slash",
                             match.names[i]);
    }
    *out = match;
    return 0;
}
