// SPDX-License-Identifier: Apache-2.0
// Items of another system: an image.uploaded that no upload of ours made.
//
// Its file is found by the event's path, or by its storageProvider: below one of the mounts, else in our own store. It
// is read through the checks of an upload, copied into our store, and a row is made under the event's id; from there on
// the item is one like any other, and the file that it came from is never touched. Only one item is made of an id:
// what was deleted stays so, however often its event comes back (item_bury). Bytes that were there already make an
// item all the same, since the other system has given its id away.
//
// Killed in between, a copy without a row stays (upkeep_sweep.c), or a row whose event comes again.
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "flow/adopt.h"

enum { PIECE = 256 * 1024 };

struct source { // where the bytes are
    const struct blob *blob;
    const char *key;
};

// ---- Where the file is

// The part of `path` behind the mount's prefix; NULL when it does not lead there.
static const char *below(const struct blob_mount *mount, const char *path)
{
    size_t len = strlen(mount->prefix);
    if (strncmp(path, mount->prefix, len) != 0)
        return NULL;
    if (mount->prefix[len - 1] == '/')
        return path + len;
    return path[len] == '/' ? path + len + 1 : NULL;
}

static bool find_mounted(const struct flow *f, struct arena *arena, const char *path, struct source *out)
{
    (void)arena;
    size_t longest = 0;
    for (size_t i = 0; i < f->mount_count; i++) {
        const char *key = below(&f->mounts[i], path);
        size_t len = strlen(f->mounts[i].prefix);
        if (!key || len <= longest)
            continue;
        longest = len;
        *out = (struct source){&f->mounts[i].blob, key};
    }
    return longest > 0;
}

static bool find_own(const struct flow *f, struct arena *arena, const char *path, struct source *out)
{
    const char *key = flow_path_key(f, arena, path);
    if (key)
        *out = (struct source){&f->blob, key};
    return key != NULL;
}

// "tenant-NAME/…" below "/storage/" is NAME's, wherever that is, and in our own store everything is somebody's (G7).
static int check_owner(const struct flow *f, struct arena *arena, const struct event *event, const char *path,
                       const struct source *from, struct error *err)
{
    static const char first[] = "tenant-";
    const char *key = flow_path_key(f, arena, path);
    if (from->blob == &f->blob)
        key = from->key;
    else if (!key || strncmp(key, first, sizeof first - 1) != 0)
        return 0;
    size_t len = strlen(event->tenant);
    const char *name = key + sizeof first - 1;
    if (strncmp(key, first, sizeof first - 1) == 0 && strncmp(name, event->tenant, len) == 0 && name[len] == '/')
        return 0;
    return error_set(err, ERR_NOT_FOUND, "\"%.128s\" is no file of tenant %.64s", path, event->tenant);
}

static int find_source(const struct flow *f, struct arena *arena, const struct event *event, struct source *out,
                       struct error *err)
{
    const struct event_image_uploaded *up = &event->image_uploaded;
    const char *const paths[] = {up->path, up->provided};
    static bool (*const ways[])(const struct flow *, struct arena *, const char *, struct source *) = {find_mounted,
                                                                                                       find_own};
    for (size_t w = 0; w < ARRAY_LEN(ways); w++)
        for (size_t i = 0; i < ARRAY_LEN(paths); i++)
            if (paths[i] && ways[w](f, arena, paths[i], out))
                return check_owner(f, arena, event, paths[i], out, err);
    return error_set(err, ERR_NOT_FOUND, "\"%.160s\" leads into no folder that storage.mounts names", up->path);
}

// ---- Its bytes

static int feed(struct upload *u, const struct source *from, struct blob_reader *reader, struct error *err)
{
    uint64_t size = from->blob->ops->reader_size(reader);
    _cleanup_free_ char *piece = malloc(PIECE);
    if (!piece)
        return error_set(err, ERR_NO_MEMORY, "No memory to read a file");
    for (uint64_t at = 0; at < size; at += PIECE) {
        size_t len = size - at < PIECE ? (size_t)(size - at) : PIECE;
        if (from->blob->ops->read(reader, at, piece, len, err) < 0 || upload_write(u, piece, len, err) < 0)
            return -1;
    }
    return 0;
}

// What is not there may be so in a moment: other machines see a new file late.
static int open_source(const struct flow *f, const struct source *from, struct blob_reader **out, struct error *err)
{
    struct error why = {0};
    if (from->blob->ops->open_read(from->blob->state, from->key, out, &why) == 0)
        return 0;
    if (why.code == ERR_NOT_FOUND && from->blob != &f->blob)
        why.retryable = true;
    return error_copy(err, &why);
}

static int copy(struct flow *f, struct arena *arena, const struct event *event, struct upload **out, struct error *err)
{
    struct source from;
    struct blob_reader *reader;
    struct upload *u = NULL;
    if (find_source(f, arena, event, &from, err) < 0 || open_source(f, &from, &reader, err) < 0)
        return -1;
    bool video = event->topic == TOPIC_VIDEOS_UPLOADED;
    int rc = upload_begin_adopted(f, video, from.blob->ops->reader_size(reader), &u, err);
    if (rc == 0)
        rc = feed(u, &from, reader, err);
    from.blob->ops->reader_close(reader);
    if (rc < 0) {
        upload_abort(u);
        return -1;
    }
    *out = u;
    return 0;
}

// ---- The item

struct buried_call {
    struct flow *flow;
    const struct event *event;
    bool buried;
};

static int buried_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct buried_call *call = arg;
    return item_buried(call->flow, tx, call->event->tenant, call->event->media_id, &call->buried, err);
}

int item_adopt(struct flow *f, struct job *job, struct media *out, bool *gone, struct error *err)
{
    struct upload *u;
    struct buried_call call = {.flow = f, .event = &job->event};
    if (f->meta.ops->write(f->meta.state, META_RELAXED, buried_tx, &call, err) < 0)
        return -1;
    if (call.buried) {
        *gone = true;
        return 0;
    }
    if (copy(f, &job->arena, &job->event, &u, err) < 0 || upload_adopt(u, &job->event, &job->arena, out, gone, err) < 0)
        return -1;
    job->media_known = !*gone;
    if (!*gone)
        job->media = *out;
    return 0;
}
