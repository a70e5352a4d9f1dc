// SPDX-License-Identifier: Apache-2.0
// A scanner that knows strings, brackets and commas, and nothing else. 0 stands for "no such place".
#include "events/scan.h"

#include <string.h>

size_t scan_space(const char *text, size_t len, size_t at)
{
    while (at < len && (text[at] == ' ' || text[at] == '\n' || text[at] == '\r' || text[at] == '\t'))
        at++;
    return at;
}

// Behind the string that opens at `at`.
static size_t string_end(const char *text, size_t len, size_t at)
{
    for (at++; at < len; at++) {
        if (text[at] == '\\')
            at++;
        else if (text[at] == '"')
            return at + 1;
    }
    return 0;
}

// Behind the array or object that opens at `at`.
static size_t nest_end(const char *text, size_t len, size_t at)
{
    for (size_t depth = 0; at < len;) {
        char c = text[at];
        if (c == '"') {
            at = string_end(text, len, at);
            if (!at)
                return 0;
            continue;
        }
        at++;
        if (c == '[' || c == '{')
            depth++;
        else if ((c == ']' || c == '}') && --depth == 0)
            return at;
    }
    return 0;
}

static size_t value_end(const char *text, size_t len, size_t at)
{
    if (at >= len)
        return 0;
    if (text[at] == '"')
        return string_end(text, len, at);
    if (text[at] == '[' || text[at] == '{')
        return nest_end(text, len, at);
    size_t start = at;
    while (at < len && !strchr(",]} \n\r\t", text[at]))
        at++;
    return at > start ? at : 0;
}

bool scan_member(const char *text, size_t len, size_t object, const char *key, struct scan_span *out)
{
    if (object >= len || text[object] != '{')
        return false;
    size_t key_len = strlen(key), at = object;
    do {
        size_t name = scan_space(text, len, at + 1);
        if (name >= len || text[name] != '"')
            return false;
        size_t name_end = string_end(text, len, name);
        at = name_end ? scan_space(text, len, name_end) : len;
        if (at >= len || text[at] != ':')
            return false;
        size_t start = scan_space(text, len, at + 1), end = value_end(text, len, start);
        if (!end)
            return false;
        if (name_end - name == key_len + 2 && memcmp(text + name + 1, key, key_len) == 0) {
            *out = (struct scan_span){start, end};
            return true;
        }
        at = scan_space(text, len, end);
    } while (at < len && text[at] == ',');
    return false;
}

size_t scan_values(const char *text, size_t len)
{
    size_t count = 1;
    for (size_t at = 0; at < len; at++) {
        char c = text[at];
        if (c == '"') {
            size_t end = string_end(text, len, at);
            if (!end)
                return count;
            at = end - 1;
        } else if (c == ',' || c == '[' || c == '{') {
            count++;
        }
    }
    return count;
}
