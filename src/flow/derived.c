// SPDX-License-Identifier: Apache-2.0
// What is made of a video: where it is, how it goes, and reading it. See derived.h; derive.c makes it.
#include "flow/derived.h"

#include <string.h>

#include "base/js.h"

static const struct {
    const char *name, *folder;
} kinds[DERIVED_COUNT] = {{"poster", "posters"}, {"preview", "previews"}, {"sprite", "sprites"}};

const char *derived_key(struct arena *arena, const char *tenant, const char *id, enum derived what)
{
    return arena_printf(arena, "tenant-%s/%s/%02x/%s.webp", tenant, kinds[what].folder,
                        (unsigned)(hash64(id, strlen(id)) & 0xff), id);
}

int derived_remove(struct flow *f, struct arena *arena, const char *tenant, const char *id, struct error *err)
{
    for (enum derived what = 0; what < DERIVED_COUNT; what++)
        if (f->blob.ops->remove(f->blob.state, derived_key(arena, tenant, id, what), err) < 0)
            return -1;
    return 0;
}

int derived_count(struct flow *f, struct arena *arena, const char *tenant, const char *id, size_t *out,
                  struct error *err)
{
    size_t count = 0;
    for (enum derived what = 0; what < DERIVED_COUNT; what++) {
        struct blob_info info;
        struct error why = {0};
        if (f->blob.ops->head(f->blob.state, derived_key(arena, tenant, id, what), &info, &why) == 0)
            count++;
        else if (why.code != ERR_NOT_FOUND)
            return error_copy(err, &why);
    }
    *out = count;
    return 0;
}

// --- Reading

// What the record says of it: the caller's. The video is `video`.
static json_t *find(struct flow *f, struct arena *arena, const char *tenant, const char *id, enum derived what,
                    struct media *video, struct error *err)
{
    char key[ID_MAX];
    struct item item;
    if (item_id(id, "vid", key, err) < 0 || item_get(f, arena, tenant, key, &item, err) < 0)
        return NULL;
    const char *text = item.media.video;
    _cleanup_json_ json_t *known = text ? js_parse(text, strlen(text), NULL) : NULL;
    json_t *derived = json_object_get(js_obj(known, "derived"), kinds[what].name);
    if (!json_is_object(derived)) {
        error_set(err, ERR_NOT_READY, "There is no %s of this video (yet)", kinds[what].name);
        return NULL;
    }
    *video = item.media;
    return json_incref(derived);
}

int derived_open(struct flow *f, struct arena *arena, const char *tenant, const char *id, enum derived what,
                 struct media *video, struct blob_reader **out, struct error *err)
{
    struct media found;
    _cleanup_json_ json_t *derived = find(f, arena, tenant, id, what, &found, err);
    if (!derived ||
        f->blob.ops->open_read(f->blob.state, derived_key(arena, found.tenant, found.id, what), out, err) < 0)
        return -1;
    *video = found;
    return 0;
}

static void put_time(struct buf *out, int64_t ms)
{
    buf_printf(out, "%02lld:%02lld:%02lld.%03lld", (long long)(ms / 3600000), (long long)(ms / 60000 % 60),
               (long long)(ms / 1000 % 60), (long long)(ms % 1000));
}

static void put_cues(const json_t *sprite, const char *url, struct buf *out)
{
    int64_t count = js_int(sprite, "count", 0), columns = js_int(sprite, "columns", 1);
    int64_t width = js_int(sprite, "tileWidth", 0), height = js_int(sprite, "tileHeight", 0);
    int64_t apart = js_int(sprite, "intervalMs", 0), end = js_int(sprite, "endMs", 0);
    buf_puts(out, "WEBVTT\n");
    for (int64_t i = 0; i < count; i++) {
        buf_puts(out, "\n");
        put_time(out, i * apart);
        buf_puts(out, " --> ");
        put_time(out, i + 1 < count ? (i + 1) * apart : end);
        int64_t x = i % columns * width, y = i / columns * height;
        buf_printf(out, "\n%s#xywh=%lld,%lld,%lld,%lld\n", url, (long long)x, (long long)y, (long long)width,
                   (long long)height);
    }
}

int derived_map(struct flow *f, struct arena *arena, const char *tenant, const char *id, const char *url,
                struct buf *out, struct error *err)
{
    struct media found;
    _cleanup_json_ json_t *sprite = find(f, arena, tenant, id, DERIVED_SPRITE, &found, err);
    if (!sprite)
        return -1;
    put_cues(sprite, url, out);
    if (out->failed)
        return error_set(err, ERR_NO_MEMORY, "No memory for the map of a video's pictures");
    return 0;
}
