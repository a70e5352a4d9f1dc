// SPDX-License-Identifier: Apache-2.0
// Walking folders.
#include "cli/walk.h"

#include <errno.h>
#include <fts.h>
#include <limits.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

bool walk_is_media_name(const char *name)
{
    static const char *const known[] = {"jpg",  "jpeg", "jpe", "jfif", "png", "gif", "webp", "avif",
                                        "heic", "heif", "mp4", "m4v",  "mov", "3gp", "webm", "mkv",
                                        "avi",  "ts",   "mts", "m2ts", "mpg", "mpeg"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < ARRAY_LEN(known); i++)
        if (strcasecmp(dot + 1, known[i]) == 0)
            return true;
    return false;
}

static int add(struct walk *w, const struct walk_file *file, struct error *err)
{
    if (w->count == WALK_MAX)
        return error_set(err, ERR_USAGE, "These are more than %d files; upload the folders one by one", WALK_MAX);
    if (w->count == w->cap) {
        size_t cap = w->cap ? w->cap * 2 : 256;
        struct walk_file *grown = reallocarray(w->files, cap, sizeof *grown);
        if (!grown)
            return error_set(err, ERR_NO_MEMORY, "Out of memory for the list of files");
        w->files = grown;
        w->cap = cap;
    }
    w->files[w->count++] = *file;
    w->bytes += file->size;
    return 0;
}

static int add_problem(struct walk *w, const char *path, int reason, struct error *err)
{
    struct walk_file file = {
        .path = arena_strdup(&w->arena, path),
        .root = "/",
        .inside = "",
        .problem = arena_printf(&w->arena, "It cannot be read: %s", strerrordesc_np(reason)),
    };
    return add(w, &file, err);
}

static int add_single(struct walk *w, const char *path, const struct stat *st, struct error *err)
{
    char real[PATH_MAX];
    if (!realpath(path, real))
        return add_problem(w, path, errno, err);
    char *slash = strrchr(real, '/');
    *slash = 0;
    struct walk_file file = {
        .path = arena_strdup(&w->arena, path),
        .root = arena_strdup(&w->arena, *real ? real : "/"),
        .inside = arena_strdup(&w->arena, slash + 1),
        .size = (uint64_t)st->st_size,
    };
    return add(w, &file, err);
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

struct folder {
    struct walk *walk;
    FTS *fts;
    const char *root;
    size_t skip; // bytes of the folder's own path
};

static int visit_file(struct folder *f, FTSENT *entry, struct error *err)
{
    struct stat st = *entry->fts_statp;
    if (entry->fts_info == FTS_SL && stat(entry->fts_accpath, &st) < 0)
        return add_problem(f->walk, entry->fts_path, errno, err);
    if (S_ISDIR(st.st_mode))
        return 0; // a link to a folder
    if (!S_ISREG(st.st_mode) || !walk_is_media_name(entry->fts_name)) {
        f->walk->no_image++;
        return 0;
    }
    const char *path = arena_strdup(&f->walk->arena, entry->fts_path);
    const char *inside = path + f->skip;
    struct walk_file file = {
        .path = path,
        .root = f->root,
        .inside = inside + strspn(inside, "/"),
        .size = (uint64_t)st.st_size,
    };
    return add(f->walk, &file, err);
}

static int visit(struct folder *f, FTSENT *entry, struct error *err)
{
    if (entry->fts_info == FTS_DP)
        return 0;
    if (entry->fts_level > FTS_ROOTLEVEL && entry->fts_name[0] == '.') {
        f->walk->hidden++;
        fts_set(f->fts, entry, FTS_SKIP);
        return 0;
    }
    switch (entry->fts_info) {
    case FTS_F:
    case FTS_SL:
    case FTS_DEFAULT:
        return visit_file(f, entry, err);
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        return add_problem(f->walk, entry->fts_path, entry->fts_errno, err);
    default:
        return 0;
    }
}

static int add_folder(struct walk *w, const char *path, struct error *err)
{
    char real[PATH_MAX];
    char *paths[] = {arena_strdup(&w->arena, path), NULL};
    if (!realpath(path, real))
        return add_problem(w, path, errno, err);
    struct folder f = {.walk = w, .root = arena_strdup(&w->arena, real), .skip = strlen(path)};
    f.fts = fts_open(paths, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, by_name);
    if (!f.fts)
        return add_problem(w, path, errno, err);
    FTSENT *entry;
    int rc = 0;
    while (rc == 0 && (entry = fts_read(f.fts)))
        rc = visit(&f, entry, err);
    fts_close(f.fts);
    return rc;
}

int walk_add(struct walk *w, const char *path, struct error *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return add_problem(w, path, errno, err);
    return S_ISDIR(st.st_mode) ? add_folder(w, path, err) : add_single(w, path, &st, err);
}

void walk_free(struct walk *w)
{
    free(w->files);
    arena_free(&w->arena);
    *w = (struct walk){0};
}
