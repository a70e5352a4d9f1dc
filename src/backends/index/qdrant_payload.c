// SPDX-License-Identifier: Apache-2.0
// What a point is called, and what it carries.
//
// A point's id is a UUID: that of our id where it is an image's ("img_019…"), so that others who know the image find
// its point; else one that is made of our id's hash. Those are of version 8, which no UUID that is taken as it is may
// be: two ids never meet.
//
//   {"id": "img_019…", "metadata": {"category": "shoes", "size.width": 7, "tags": ["red", "blue"]},
//    "times": {"taken": 1767225600000}}
//
// "metadata" is what filters see, laid flat as base/filter.h has it: a member's dotted path, and its value, or the list
// of its values. Times are there as they were given, and once more in milliseconds, for ranges. A path that Qdrant
// could not quote has its '"', '\' and '%' written as %22, %5C and %25.
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "backends/index/qdrant_int.h"
#include "base/filter.h"

enum { UUID_BYTES = 16, UUID_VERSION_AT = 14 };

// 8-4-4-4-12 small hexadecimal digits.
static bool is_uuid(const char *text)
{
    static const char form[] = "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh";
    if (strlen(text) != sizeof form - 1)
        return false;
    for (size_t i = 0; form[i]; i++)
        if (form[i] == 'h' ? !strchr("0123456789abcdef", text[i]) : text[i] != form[i])
            return false;
    return true;
}

void qdrant_point_id(const char *id, char out[QDRANT_UUID])
{
    static const char image[] = "img_";
    const char *bare = id + sizeof image - 1;
    if (strncmp(id, image, sizeof image - 1) == 0 && is_uuid(bare) && bare[UUID_VERSION_AT] != '8') {
        memcpy(out, bare, QDRANT_UUID);
        return;
    }
    unsigned char hash[UUID_BYTES];
    crypto_generichash(hash, sizeof hash, (const unsigned char *)id, strlen(id), NULL, 0);
    hash[6] = (unsigned char)((hash[6] & 0x0F) | 0x80); // version 8
    hash[8] = (unsigned char)((hash[8] & 0x3F) | 0x80); // the variant of RFC 9562
    char hex[2 * UUID_BYTES + 1];
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    snprintf(out, QDRANT_UUID, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}

// A path as the name of one member. malloc'ed.
static char *member_name(const char *path)
{
    _cleanup_buf_ struct buf out = BUF_INIT(3 * strlen(path) + 1);
    for (; *path; path++) {
        if (strchr("\"\\%", *path))
            buf_printf(&out, "%%%02X", (unsigned char)*path);
        else
            buf_append(&out, path, 1);
    }
    return buf_steal(&out);
}

char *qdrant_key(bool time, const char *path)
{
    char *out = NULL;
    _cleanup_free_ char *name = member_name(path);
    return name && asprintf(&out, "%s.\"%s\"", time ? "times" : "metadata", name) >= 0 ? out : NULL;
}

struct layer { // what is being laid flat
    json_t *metadata, *times;
    bool failed;
};

// Adds a value to the member; the second makes a list of it. Takes `value`.
static bool add(json_t *object, const char *name, json_t *value)
{
    json_t *there = json_object_get(object, name);
    if (!there)
        return json_object_set_new(object, name, value) == 0;
    if (json_is_array(there))
        return json_array_append_new(there, value) == 0;
    json_t *list = json_array();
    json_array_append(list, there);
    json_array_append_new(list, value);
    return json_object_set_new(object, name, list) == 0;
}

static void lay(void *arg, const char *path, const json_t *value, const double *time_ms)
{
    struct layer *layer = arg;
    _cleanup_free_ char *name = member_name(path);
    if (!name || !add(layer->metadata, name, json_incref((json_t *)value)) ||
        (time_ms && !add(layer->times, name, json_integer((json_int_t)*time_ms))))
        layer->failed = true;
}

json_t *qdrant_payload(const char *id, const json_t *payload)
{
    struct layer layer = {json_object(), json_object(), false};
    terms_walk(payload, TERMS_MAX, lay, &layer);
    json_t *out = layer.failed ? NULL : json_pack("{s:s, s:O}", "id", id, "metadata", layer.metadata);
    if (out && json_object_size(layer.times))
        json_object_set(out, "times", layer.times);
    json_decref(layer.metadata);
    json_decref(layer.times);
    return out;
}
