// SPDX-License-Identifier: Apache-2.0
// Ranking by class: see labelled.h. Vectors alone, by exact cosine similarity, from pictures decoded as the server
// does.
#include "labelled.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "media/image.h"

enum { EDGE = 512, PIXELS_MAX = 100 << 20, FILE_MAX = 256 << 20, MAX_THREADS = 64, TEN = 10 };

struct picture {
    char *path;
    size_t class;
    bool read;
};

struct collection {
    const struct extractor *extractor;
    const struct extractor_model *model;
    struct picture *pictures;
    size_t count, room, classes;
    float *vectors; // one a picture
    atomic_size_t next;
    atomic_bool failed;
    pthread_mutex_t lock;
    size_t asked; // [lock], like the sums over all that were asked
    double first, ten, average;
};

static void add(struct collection *c, char *path, size_t class)
{
    if (c->count == c->room) {
        c->room = c->room ? c->room * 2 : 1024;
        c->pictures = realloc(c->pictures, c->room * sizeof *c->pictures);
        if (!c->pictures)
            abort();
    }
    c->pictures[c->count++] = (struct picture){.path = path, .class = class};
}

static bool is_kind(const char *path, mode_t kind)
{
    struct stat st;
    return stat(path, &st) == 0 && (st.st_mode & S_IFMT) == kind;
}

// Each of a folder's entries of that kind, in order of name; the path is `each`'s.
static void walk(struct collection *c, const char *folder, mode_t kind, void (*each)(struct collection *, char *))
{
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char *path = NULL;
        if (*entries[i]->d_name != '.' && asprintf(&path, "%s/%s", folder, entries[i]->d_name) >= 0) {
            if (is_kind(path, kind))
                each(c, path);
            else
                free(path);
        }
        free(entries[i]);
    }
    free(entries);
}

static void add_file(struct collection *c, char *path)
{
    add(c, path, c->classes);
}

static void add_class(struct collection *c, char *path)
{
    walk(c, path, S_IFREG, add_file);
    c->classes++;
    free(path);
}

static int decode(const char *path, struct image_decoded *out)
{
    FILE *file = fopen(path, "rb");
    struct stat st;
    if (!file)
        return -1;
    bool fits = fstat(fileno(file), &st) == 0 && st.st_size > 0 && st.st_size < FILE_MAX;
    _cleanup_free_ char *data = fits ? malloc((size_t)st.st_size) : NULL;
    size_t got = data ? fread(data, 1, (size_t)st.st_size, file) : 0;
    fclose(file);
    return got ? image_decode(data, got, EDGE, PIXELS_MAX, out, NULL) : -1;
}

static void *extract_all(void *arg)
{
    struct collection *c = arg;
    for (size_t i; (i = atomic_fetch_add(&c->next, 1)) < c->count && !c->failed;) {
        struct image_decoded image;
        struct error err = {0};
        if (decode(c->pictures[i].path, &image) < 0)
            continue;
        c->pictures[i].read = true;
        if (c->extractor->ops->extract(c->extractor->state, c->model, &image.pixels, 1,
                                       c->vectors + i * c->model->dimension, NULL, &err) < 0) {
            fprintf(stderr, "quality: %s: %s\n", c->pictures[i].path, err.message);
            c->failed = true;
        }
        pixels_free(&image.pixels);
    }
    image_thread_end();
    return NULL;
}

struct ranked {
    float score;
    bool right;
};

static int by_score(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->right - y->right; // of equals, the wrong one first: nothing is flattered
}

static void judge(struct collection *c, const struct ranked *ranked, size_t count)
{
    size_t right = 0, in_ten = 0, all = 0;
    double precisions = 0;
    for (size_t i = 0; i < count; i++)
        all += ranked[i].right;
    if (!all)
        return;
    for (size_t i = 0; i < count; i++) {
        if (!ranked[i].right)
            continue;
        in_ten += i < TEN;
        precisions += (double)++right / (double)(i + 1);
    }
    pthread_mutex_lock(&c->lock);
    c->asked++;
    c->first += ranked[0].right;
    c->ten += (double)in_ten / (double)(all < TEN ? all : TEN);
    c->average += precisions / (double)all;
    pthread_mutex_unlock(&c->lock);
}

static void *ask_all(void *arg)
{
    struct collection *c = arg;
    _cleanup_free_ struct ranked *ranked = calloc(c->count, sizeof *ranked);
    size_t dimension = c->model->dimension;
    for (size_t i; ranked && (i = atomic_fetch_add(&c->next, 1)) < c->count;) {
        size_t found = 0;
        for (size_t j = 0; j < c->count && c->pictures[i].read; j++) {
            float sum = 0;
            if (j == i || !c->pictures[j].read)
                continue;
            for (size_t k = 0; k < dimension; k++)
                sum += c->vectors[i * dimension + k] * c->vectors[j * dimension + k];
            ranked[found++] = (struct ranked){sum, c->pictures[i].class == c->pictures[j].class};
        }
        if (!found)
            continue;
        qsort(ranked, found, sizeof *ranked, by_score);
        judge(c, ranked, found);
    }
    return NULL;
}

static void run_threads(struct collection *c, void *(*work)(void *))
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    count = count < 1 ? 1 : count > MAX_THREADS ? MAX_THREADS : count;
    pthread_t threads[MAX_THREADS];
    atomic_store(&c->next, 0);
    for (long i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, work, c) != 0)
            abort();
    for (long i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

static void print_figure(const struct collection *c, const char *figure, double sum)
{
    printf("{\"bench\":\"quality\",\"figure\":\"%s labelled %s\",\"value\":%.4f}\n", c->model->name, figure,
           sum / (double)c->asked);
}

static int print_all(const struct collection *c)
{
    size_t unread = 0;
    for (size_t i = 0; i < c->count; i++)
        unread += !c->pictures[i].read;
    fprintf(stderr, "%zu pictures in %zu classes, %zu files that are none; %zu were searched for.\n", c->count - unread,
            c->classes, unread, c->asked);
    if (!c->asked) {
        fprintf(stderr, "quality: there must be folders with two pictures or more in each\n");
        return -1;
    }
    print_figure(c, "P@1", c->first);
    print_figure(c, "P@10", c->ten);
    print_figure(c, "mAP", c->average);
    return 0;
}

int labelled(const struct extractor *extractor, const struct extractor_model *model, const char *dir)
{
    struct collection c = {.extractor = extractor, .model = model, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct error err = {0};
    if (image_init(&err) < 0) {
        fprintf(stderr, "quality: %s\n", err.message);
        return -1;
    }
    walk(&c, dir, S_IFDIR, add_class);
    c.vectors = calloc(c.count + 1, model->dimension * sizeof *c.vectors);
    if (!c.vectors)
        abort();
    run_threads(&c, extract_all);
    if (!c.failed)
        run_threads(&c, ask_all);
    int rc = c.failed ? -1 : print_all(&c);
    for (size_t i = 0; i < c.count; i++)
        free(c.pictures[i].path);
    free(c.pictures);
    free(c.vectors);
    return rc;
}
