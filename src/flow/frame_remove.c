// SPDX-License-Identifier: Apache-2.0
// The end of a video's frames (G9): see frame.h. Page by page their files, then their vectors under every model, then
// their rows: cut off anywhere, what is left has its rows still, and is found again. Looks afterwards.
#include <string.h>

#include "flow/frame.h"
#include "flow/receipt.h"

enum { PAGE = 64 };

struct page {
    struct flow *flow;
    struct arena arena;
    const struct media *video;
    int64_t after_ms;
    struct media *rows;
    size_t count;
};

static int page_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct page *p = arg;
    return p->flow->meta.ops->frame_list(tx, &p->arena, p->video->tenant, p->video->id, p->after_ms, PAGE, &p->rows,
                                         &p->count, err);
}

// Calls `each` with page after page, as long as it returns 0.
static int for_pages(struct flow *f, const struct media *video,
                     int (*each)(struct page *p, void *arg, struct error *err), void *arg, struct error *err)
{
    int64_t after_ms = -1;
    int rc = 0;
    bool more = true;
    while (rc == 0 && more) {
        struct page p = {.flow = f, .video = video, .after_ms = after_ms};
        rc = f->meta.ops->read(f->meta.state, page_tx, &p, err);
        if (rc == 0 && p.count) {
            after_ms = p.rows[p.count - 1].time_ms;
            rc = each(&p, arg, err);
        }
        more = p.count == PAGE;
        arena_free(&p.arena);
    }
    return rc;
}

// --- Out of sight

static int hide_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct page *p = arg;
    const struct media_patch patch = {.set_status = true, .status = MEDIA_DELETING};
    for (size_t i = 0; i < p->count; i++) {
        struct error why = {0};
        if (p->flow->meta.ops->media_update(tx, p->video->tenant, p->rows[i].id, &patch, &why) < 0 &&
            why.code != ERR_NOT_FOUND)
            return error_copy(err, &why);
    }
    return 0;
}

static int hide_page(struct page *p, void *arg, struct error *err)
{
    (void)arg;
    return p->flow->meta.ops->write(p->flow->meta.state, META_RELAXED, hide_tx, p, err);
}

int frames_hide(struct flow *f, const struct media *video, struct error *err)
{
    return for_pages(f, video, hide_page, NULL, err);
}

// --- What there is

struct files { // in the folder of a video's frames: the first few, and how many there are
    struct arena arena;
    const char *first[PAGE];
    size_t count;
};

static int note_file(void *arg, const char *key, const struct blob_info *info)
{
    struct files *files = arg;
    (void)info;
    if (files->count < PAGE)
        files->first[files->count] = arena_strdup(&files->arena, key);
    files->count++;
    return 0;
}

// `files` is the caller's to free, also after a failure.
static int list_files(struct flow *f, const struct media *video, struct files *files, struct error *err)
{
    *files = (struct files){0};
    return f->blob.ops->list(f->blob.state, frame_folder(&files->arena, video), note_file, files, err);
}

static int count_page(struct page *p, void *arg, struct error *err)
{
    json_t *found = arg;
    const char **collections;
    size_t count;
    receipt_count(found, "rows", p->count);
    if (flow_collections(p->flow, &p->arena, p->video->tenant, &collections, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (receipt_count_vectors(p->flow, collections[i], p->rows, p->count, found, err) < 0)
            return -1;
    return 0;
}

int frames_count(struct flow *f, const struct media *video, json_t *found, struct error *err)
{
    struct files files;
    int rc = list_files(f, video, &files, err);
    if (rc == 0)
        receipt_count(found, "frames", files.count);
    arena_free(&files.arena);
    return rc < 0 ? -1 : for_pages(f, video, count_page, found, err);
}

// --- Files, vectors, rows

static int remove_files(struct page *p, struct error *err)
{
    const struct blob *blob = &p->flow->blob;
    for (size_t i = 0; i < p->count; i++) {
        struct blob_info info;
        struct error why = {0};
        if (blob->ops->remove(blob->state, p->rows[i].blob_key, err) < 0)
            return -1;
        if (blob->ops->head(blob->state, p->rows[i].blob_key, &info, &why) == 0)
            return error_set(err, ERR_IO, "The file of a frame is still there after it was removed");
        if (why.code != ERR_NOT_FOUND)
            return error_copy(err, &why);
    }
    return 0;
}

static int remove_from(struct page *p, const char *collection, struct error *err)
{
    const struct index *index = &p->flow->index;
    const char *ids[PAGE];
    for (size_t i = 0; i < p->count; i++)
        ids[i] = p->rows[i].id;
    if (index->ops->remove(index->state, collection, ids, p->count, NULL, err) < 0 ||
        index->ops->flush(index->state, collection, err) < 0)
        return -1;
    for (size_t i = 0; i < p->count; i++) {
        float *vector;
        size_t dimension;
        struct error why = {0};
        if (index->ops->get(index->state, collection, ids[i], &p->arena, &vector, &dimension, &why) == 0)
            return error_set(err, ERR_INDEXING_FAILED, "The vector of a frame is still there after it was removed");
        if (why.code != ERR_NOT_FOUND)
            return error_copy(err, &why);
    }
    return 0;
}

static int remove_vectors(struct page *p, struct error *err)
{
    const char **collections;
    size_t count;
    if (flow_collections(p->flow, &p->arena, p->video->tenant, &collections, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (remove_from(p, collections[i], err) < 0)
            return -1;
    return 0;
}

static int rows_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct page *p = arg;
    for (size_t i = 0; i < p->count; i++)
        if (p->flow->meta.ops->media_delete(tx, p->video->tenant, p->rows[i].id, err) < 0)
            return -1;
    return 0;
}

struct what {
    bool files, vectors, rows;
};

static int remove_page(struct page *p, void *arg, struct error *err)
{
    const struct what *what = arg;
    if (what->files && remove_files(p, err) < 0)
        return -1;
    if (what->vectors && remove_vectors(p, err) < 0)
        return -1;
    return what->rows ? p->flow->meta.ops->write(p->flow->meta.state, META_RELAXED, rows_tx, p, err) : 0;
}

// Also such as a process left that died before their rows were there.
static int remove_rest(struct flow *f, const struct media *video, struct error *err)
{
    for (bool more = true; more;) {
        struct files files;
        int rc = list_files(f, video, &files, err);
        for (size_t i = 0; rc == 0 && i < files.count && i < PAGE; i++)
            rc = f->blob.ops->remove(f->blob.state, files.first[i], err);
        more = files.count > 0;
        arena_free(&files.arena);
        if (rc < 0)
            return -1;
    }
    return 0;
}

int frames_remove(struct flow *f, const struct media *video, bool files, bool vectors, bool rows, struct error *err)
{
    struct what what = {files, vectors, rows};
    if (for_pages(f, video, remove_page, &what, err) < 0)
        return -1;
    return files ? remove_rest(f, video, err) : 0;
}
