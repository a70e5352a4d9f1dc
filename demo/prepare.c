// SPDX-License-Identifier: Apache-2.0
// Nothing here is drawn by lot from the clock: the photos stand in the order of their names, and the same photos give
// the same items and queries every time.
#include "prepare.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "alter.h"
#include "base/js.h"
#include "cli/files.h"
#include "jobs.h"
#include "photos.h"

enum { PHOTOS_LEAST = 12, MANIFEST_MAX = 1 << 20 };

struct query {
    const struct alteration *how;
    size_t photo;
};

struct preparation {
    const char *folder;
    struct photos photos;
    struct query queries[QUERY_KINDS * QUERIES_A_KIND];
    size_t query_count;
};

static int make(const struct preparation *p, const struct photo *photo, const struct alteration *how, const char *name,
                struct error *err)
{
    _cleanup_picture_ VipsImage *base = NULL;
    _cleanup_picture_ VipsImage *altered = NULL;
    char path[PATH_LENGTH];
    g_snprintf(path, sizeof path, "%s/%s.jpg", p->folder, name);
    return picture_open(photo->base, &base, err) < 0 || alter_make(how, base, &altered, err) < 0
               ? -1
               : picture_save_jpeg(altered, path, how->quality, err);
}

// Every photo has its parts uploaded; every third one has altered copies too, so that some queries meet company and
// most have to find the one photo.
static bool is_uploaded(const struct alteration *copy, size_t photo)
{
    return photo % 3 == 0 || strncmp(copy->kind, "tile", 4) == 0;
}

static int make_items(void *context, size_t index, struct error *err)
{
    const struct preparation *p = context;
    const struct photo *photo = &p->photos.list[index];
    const char *extension = strrchr(photo->path, '.');
    char name[PATH_LENGTH];
    g_snprintf(name, sizeof name, "%s/items/%s%s", p->folder, photo->name, extension ? extension : "");
    if (symlink(photo->path, name) < 0)
        return error_errno(err, ERR_INTERNAL, errno, "%.200s cannot be made", name);
    for (const struct alteration *copy = alter_copies; copy->kind; copy++) {
        g_snprintf(name, sizeof name, "items/%s--%s", photo->name, copy->kind);
        if (is_uploaded(copy, index) && make(p, photo, copy, name, err) < 0)
            return -1;
    }
    return 0;
}

static int make_query(void *context, size_t index, struct error *err)
{
    const struct preparation *p = context;
    const struct query *query = &p->queries[index];
    char name[32];
    g_snprintf(name, sizeof name, "queries/%02zu", index + 1);
    return make(p, &p->photos.list[query->photo], query->how, name, err);
}

static size_t common_divisor(size_t a, size_t b)
{
    return b ? common_divisor(b, a % b) : a;
}

// Deals the photos out to the queries: a stride that is prime to the number of photos meets each once before any twice.
static void plan_queries(struct preparation *p)
{
    size_t n = p->photos.count, stride = n / 3 + 1;
    while (common_divisor(n, stride) != 1)
        stride++;
    for (size_t i = 0; i < QUERY_KINDS * QUERIES_A_KIND; i++)
        p->queries[p->query_count++] =
            (struct query){&alter_queries[i / QUERIES_A_KIND][i % QUERIES_A_KIND], i * stride % n};
}

static int write_manifest(const struct preparation *p, struct error *err)
{
    _cleanup_json_ json_t *list = json_array();
    for (size_t i = 0; i < p->query_count; i++) {
        const struct query *query = &p->queries[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "photo", p->photos.list[query->photo].name, "kind",
                                              query->how->kind, "label", query->how->label));
    }
    _cleanup_json_ json_t *manifest = json_pack("{s:I, s:O}", "photos", (json_int_t)p->photos.count, "queries", list);
    _cleanup_buf_ struct buf text = BUF_INIT(MANIFEST_MAX);
    char path[PATH_LENGTH];
    g_snprintf(path, sizeof path, "%s/queries.json", p->folder);
    if (!manifest || js_write(manifest, &text) < 0)
        return error_set(err, ERR_NO_MEMORY, "Out of memory for the list of queries");
    return files_write(path, &text, err);
}

static int make_all(struct preparation *p, struct error *err)
{
    if (p->photos.count < PHOTOS_LEAST)
        return error_set(err, ERR_NOT_FOUND, "Only %zu photos were found, and %d are needed: `make deps` installs them",
                         p->photos.count, PHOTOS_LEAST);
    plan_queries(p);
    if (jobs_run(p->photos.count, make_items, p, err) < 0 || jobs_run(p->query_count, make_query, p, err) < 0)
        return -1;
    return write_manifest(p, err);
}

int prepare_pictures(FILE *paths, const char *folder, struct error *err)
{
    struct preparation p = {.folder = folder};
    char work[PATH_LENGTH];
    g_snprintf(work, sizeof work, "%s/work", folder);
    if (photos_choose(paths, work, &p.photos, err) < 0)
        return -1;
    int rc = make_all(&p, err);
    photos_free(&p.photos);
    return rc;
}
