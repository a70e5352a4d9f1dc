// SPDX-License-Identifier: Apache-2.0
// How well copies are found: every edited copy of some of the pictures is searched among all of them, by exact
// cosine similarity, and again with a closer look at the details of the nearest (as the server does: flow/closer.h).
// One JSON line a figure on stdout, a table on stderr.
//
//   quality BUILD [--short] [--model NAME] [--precision P] [--against P] [--items N] [--queries N]
//           [--closer N] [--half held-out|tuning|all] [--seed S] [--scores] [FOLDER…]
//   quality BUILD --labelled DIR [--model NAME] [--precision P]
//
// Models are those of the usual folder (`make models`); builtin unless said. With --against, instead: how many of the
// ten nearest items are the same under both precisions. With --scores, instead, what a score from which pictures count
// as near-duplicates would join: shares of the copies of whole photos with their originals, and of different pictures
// with each other. (Tiles of sky look alike, and rightly.) With --labelled, instead, look-alikes: DIR holds a folder
// for each class, and right is what is of one class (labelled.h).
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <vips/vips.h>

#include "backends/extractor/extractor_builtin.h"
#include "backends/extractor/extractor_openvino.h"
#include "base/cleanup.h"
#include "conf/conf.h"
#include "corpus.h"
#include "edits.h"
#include "flow/closer.h"
#include "labelled.h"

enum { MAX_THREADS = 64 };

struct options {
    size_t items, queries;
    size_t closer; // so many of the nearest are looked at closer
    bool scores;
    const char *half, *model, *precision, *against, *labelled;
    uint64_t seed;
    char **folders;
    size_t folder_count;
};

struct tally {
    size_t asked, first, ten;
};

enum { ALONE, CLOSER, WAYS }; // by the vector alone; with a closer look

struct bench {
    struct options options;
    struct corpus corpus;
    struct extractor extractor;
    const struct extractor_model *model;
    float *vectors;          // of all items
    struct details *details; // of all items
    size_t *chosen;          // items that copies are made of
    size_t chosen_count;
    atomic_size_t next;
    atomic_long extract_us, extracted, find_us, compare_us, compared;
    pthread_mutex_t lock;
    struct tally tallies[WAYS][2][EDIT_COUNT]; // whole photos, tiles
    float *alike[EDIT_COUNT];                  // with --scores: each chosen item and its copy
    float *unlike[EDIT_COUNT];                 // the copy and the nearest photo of another work
    atomic_ulong pairs[100];                   // of different items, by hundredths of their score
};

// Where Debian's packages of photos put them.
static char *usual_folders[] = {"/usr/share/backgrounds", "/usr/share/wallpapers"};

static int usage(void)
{
    fprintf(stderr, "usage: quality BUILD [--short] [--model NAME] [--precision auto|f32|bf16|int8] [--against "
                    "f32|bf16|int8] [--items N] [--queries N] [--closer N] "
                    "[--half held-out|tuning|all] [--seed S] [--scores] [FOLDER...]\n"
                    "       quality BUILD --labelled DIR [--model NAME] [--precision P]\n");
    return 2;
}

static int options_parse(struct options *o, int argc, char **argv)
{
    *o = (struct options){
        .items = 4100, .queries = 300, .closer = 200, .half = "held-out", .seed = 1, .model = "builtin"};
    int i = 2; // argv[1] is the build folder, which every benchmark is given
    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--short") == 0) {
            o->items = 200;
            o->queries = 10;
            continue;
        }
        if (strcmp(argv[i], "--scores") == 0) {
            o->scores = true;
            continue;
        }
        if (strcmp(argv[i], "--items") == 0)
            o->items = strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "--queries") == 0)
            o->queries = strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "--closer") == 0)
            o->closer = strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "--half") == 0)
            o->half = value;
        else if (strcmp(argv[i], "--model") == 0)
            o->model = value;
        else if (strcmp(argv[i], "--precision") == 0)
            o->precision = value;
        else if (strcmp(argv[i], "--against") == 0)
            o->against = value;
        else if (strcmp(argv[i], "--labelled") == 0)
            o->labelled = value;
        else if (strcmp(argv[i], "--seed") == 0)
            o->seed = strtoull(value, NULL, 10);
        else
            return -1;
        i++;
    }
    o->folders = i < argc ? argv + i : usual_folders;
    o->folder_count = i < argc ? (size_t)(argc - i) : ARRAY_LEN(usual_folders);
    bool known = !strcmp(o->half, "held-out") || !strcmp(o->half, "tuning") || !strcmp(o->half, "all");
    return argc > 1 && known && o->items > 1 && o->queries > 0 ? 0 : -1;
}

static long cpu_us(void) // of this thread: what others do beside it does not count
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000L + t.tv_nsec / 1000;
}

static void extract_one(struct bench *b, const struct pixels *p, float *out)
{
    struct error err = {0};
    long begin = cpu_us();
    if (b->extractor.ops->extract(b->extractor.state, b->model, p, 1, out, NULL, &err)) {
        fprintf(stderr, "quality: %s\n", err.message);
        exit(1);
    }
    atomic_fetch_add(&b->extract_us, cpu_us() - begin);
    atomic_fetch_add(&b->extracted, 1);
}

static void find_details(struct bench *b, const struct pixels *p, size_t most, struct details *out)
{
    struct error err = {0};
    long begin = cpu_us();
    if (details_find(p, most, out, &err) < 0) {
        fprintf(stderr, "quality: %s\n", err.message);
        exit(1);
    }
    if (most == DETAILS_KEPT)
        atomic_fetch_add(&b->find_us, cpu_us() - begin);
}

static void *index_items(void *arg)
{
    struct bench *b = arg;
    for (size_t i; (i = atomic_fetch_add(&b->next, 1)) < b->corpus.count;) {
        struct pixels small;
        shrink_to(&b->corpus.items[i].source, EDGE_EXTRACT, &small);
        extract_one(b, &small, b->vectors + i * b->model->dimension);
        if (b->details)
            find_details(b, &small, DETAILS_KEPT, &b->details[i]);
        pixels_free(&small);
    }
    vips_thread_shutdown();
    return NULL;
}

static float dot(const float *a, const float *b, size_t n)
{
    float parts[8] = {0}, sum = 0;
    for (size_t i = 0; i < n; i += 8)
        for (size_t k = 0; k < 8; k++)
            parts[k] += a[i + k] * b[i + k];
    for (size_t k = 0; k < 8; k++)
        sum += parts[k];
    return sum;
}

struct ranked {
    size_t item;
    float score;
};

static int by_rank(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return (y->score > x->score) - (y->score < x->score);
}

// How many items are ranked before the right one. Its neighbour in a collage is as right, and does not count.
static size_t rank_of(const struct ranked *ranked, size_t count, size_t right, size_t neighbour)
{
    size_t at = 0, rank = 0;
    while (ranked[at].item != right)
        at++;
    for (size_t i = 0; i < count; i++)
        rank += i != at && ranked[i].item != neighbour && ranked[i].score >= ranked[at].score;
    return rank;
}

static void rank_all(const struct bench *b, const float *query, struct ranked *out)
{
    size_t dimension = b->model->dimension;
    for (size_t i = 0; i < b->corpus.count; i++)
        out[i] = (struct ranked){i, dot(query, b->vectors + i * dimension, dimension)};
    qsort(out, b->corpus.count, sizeof *out, by_rank);
}

static void look_closer(struct bench *b, const struct pixels *copy, struct ranked *ranked)
{
    struct closer *asked = malloc(sizeof *asked);
    find_details(b, copy, DETAILS_ASKED, &asked->plain);
    details_mirror(&asked->plain, &asked->mirrored);
    long begin = cpu_us();
    size_t i = 0;
    for (; i < b->options.closer && i < b->corpus.count; i++)
        ranked[i].score = closer_score(asked, ranked[i].score, &b->details[ranked[i].item]);
    atomic_fetch_add(&b->compare_us, cpu_us() - begin);
    atomic_fetch_add(&b->compared, (long)i);
    free(asked);
}

// The ten items nearest to an item, itself left out.
static void nearest(const struct bench *b, size_t item, size_t out[10])
{
    size_t dimension = b->model->dimension;
    float scores[11];
    int found = 0;
    for (size_t i = 0; i < b->corpus.count; i++) {
        float score = dot(b->vectors + item * dimension, b->vectors + i * dimension, dimension);
        if (i == item || (found == 10 && score <= scores[9]))
            continue;
        int at = found < 10 ? found++ : 9;
        for (; at > 0 && scores[at - 1] < score; at--) {
            scores[at] = scores[at - 1];
            out[at] = out[at - 1];
        }
        scores[at] = score;
        out[at] = i;
    }
}

static size_t count_common(const size_t *a, const size_t *b)
{
    size_t common = 0;
    for (int i = 0; i < 10; i++)
        for (int k = 0; k < 10; k++)
            common += a[i] == b[k];
    return common;
}

// How alike the query and the nearest photo of another work are.
static float nearest_other(const struct bench *b, const float *query, size_t item)
{
    float best = -1;
    for (size_t i = 0; i < b->corpus.photos; i++) {
        const struct sample *other = &b->corpus.items[i];
        if (other->work == b->corpus.items[item].work || other->flat)
            continue;
        float score = dot(query, b->vectors + i * b->model->dimension, b->model->dimension);
        best = score > best ? score : best;
    }
    return best;
}

static void compare(struct bench *b, size_t place, enum edit edit, const float *query)
{
    size_t item = b->chosen[place];
    b->alike[edit][place] = dot(query, b->vectors + item * b->model->dimension, b->model->dimension);
    b->unlike[edit][place] = nearest_other(b, query, item);
}

// Of all pairs of items from different works: how many there are, and how many have each score.
static void *compare_items(void *arg)
{
    struct bench *b = arg;
    const struct corpus *c = &b->corpus;
    for (size_t i; (i = atomic_fetch_add(&b->next, 1)) < c->count;)
        for (size_t j = 0; j < i; j++) {
            if (c->items[i].work == c->items[j].work || c->items[i].flat || c->items[j].flat)
                continue;
            float score =
                dot(b->vectors + i * b->model->dimension, b->vectors + j * b->model->dimension, b->model->dimension);
            atomic_fetch_add(&b->pairs[score > 0 ? (size_t)(score * 100) < 100 ? (size_t)(score * 100) : 99 : 0], 1);
        }
    return NULL;
}

static void count(struct bench *b, int way, size_t item, enum edit edit, size_t rank)
{
    pthread_mutex_lock(&b->lock);
    struct tally *t = &b->tallies[way][b->corpus.items[item].tile][edit];
    t->asked++;
    t->first += rank < 1;
    t->ten += rank < 10;
    pthread_mutex_unlock(&b->lock);
}

static void ask(struct bench *b, size_t place, enum edit edit, float *query)
{
    size_t item = b->chosen[place], all = b->corpus.count;
    uint64_t seed = b->options.seed * 1000003 + item * 64 + edit;
    size_t other = b->chosen[random_next(&seed) % b->chosen_count];
    struct pixels copy;
    if (edit_apply(edit, &b->corpus.items[item].source, &b->corpus.items[other].source, seed, &copy)) {
        fprintf(stderr, "quality: %s: %s\n", edit_infos[edit].name, vips_error_buffer());
        exit(1);
    }
    extract_one(b, &copy, query);
    if (b->options.scores) {
        compare(b, place, edit, query);
    } else {
        _cleanup_free_ struct ranked *ranked = calloc(all, sizeof *ranked);
        size_t neighbour = edit == EDIT_COLLAGE || edit == EDIT_HEAVY ? other : all;
        rank_all(b, query, ranked);
        count(b, ALONE, item, edit, rank_of(ranked, all, item, neighbour));
        look_closer(b, &copy, ranked);
        count(b, CLOSER, item, edit, rank_of(ranked, all, item, neighbour));
    }
    pixels_free(&copy);
}

static void *ask_all(void *arg)
{
    struct bench *b = arg;
    _cleanup_free_ float *query = malloc(b->model->dimension * sizeof(float));
    for (size_t i; (i = atomic_fetch_add(&b->next, 1)) < b->chosen_count * EDIT_COUNT;)
        ask(b, i / EDIT_COUNT, (enum edit)(i % EDIT_COUNT), query);
    vips_thread_shutdown();
    return NULL;
}

static void run_threads(struct bench *b, void *(*work)(void *))
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    count = count < 1 ? 1 : count > MAX_THREADS ? MAX_THREADS : count;
    pthread_t threads[MAX_THREADS];
    atomic_store(&b->next, 0);
    for (long i = 0; i < count; i++)
        pthread_create(&threads[i], NULL, work, b);
    for (long i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

// All photos of the half asked for, then tiles of it, evenly spread, until there are enough.
static void choose(struct bench *b)
{
    const struct corpus *c = &b->corpus;
    const char *half = b->options.half;
    size_t *fitting = calloc(c->count, sizeof(size_t)), fit = 0, photos = 0;
    for (size_t i = 0; i < c->count; i++)
        if (!(b->options.scores && c->items[i].flat) &&
            (strcmp(half, "all") == 0 || c->items[i].held_out == (strcmp(half, "held-out") == 0))) {
            fitting[fit++] = i;
            photos += !c->items[i].tile;
        }
    b->chosen = calloc(fit + 1, sizeof(size_t));
    for (size_t i = 0; i < photos && b->chosen_count < b->options.queries; i++)
        b->chosen[b->chosen_count++] = fitting[i];
    size_t tiles = b->options.scores ? 0 : fit - photos, more = b->options.queries - b->chosen_count;
    more = more < tiles ? more : tiles;
    for (size_t k = 0; k < more; k++)
        b->chosen[b->chosen_count++] = fitting[photos + k * tiles / more];
    free(fitting);
}

static double share(size_t part, size_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}

static void print_shares(const struct tally *p, const struct tally *t)
{
    fprintf(stderr, "%s %6.3f %6.3f", "  |", share(p->first + t->first, p->asked + t->asked),
            share(p->ten + t->ten, p->asked + t->asked));
}

static void print_row(const struct bench *b, int edit)
{
    static const struct tally none;
    const struct tally *alone[] = {&b->tallies[ALONE][0][edit], &b->tallies[ALONE][1][edit]};
    const struct tally *closer[] = {&b->tallies[CLOSER][0][edit], &b->tallies[CLOSER][1][edit]};
    const char *name = edit_infos[edit].name;
    int pad = 24;
    for (const char *s = name; *s; s++)
        pad -= (*s & 0xC0) != 0x80;
    fprintf(stderr, "%s%*s", name, pad, "");
    print_shares(alone[0], alone[1]);
    print_shares(closer[0], closer[1]);
    print_shares(closer[0], &none);
    print_shares(closer[1], &none);
    fprintf(stderr, "\n");
}

static void print_json(const char *figure, double value, const char *goal, bool met)
{
    printf("{\"bench\":\"quality\",\"figure\":\"%s\",\"value\":%.4f,\"goal\":%s,\"met\":%s}\n", figure, value, goal,
           met ? "true" : "false");
}

static void print_recall(const struct bench *b, int way, int edit)
{
    char figure[96], goal[32];
    const struct tally *p = &b->tallies[way][0][edit], *t = &b->tallies[way][1][edit];
    const char *with = way == CLOSER ? " with a closer look" : "";
    double one = share(p->first + t->first, p->asked + t->asked), ten = share(p->ten + t->ten, p->asked + t->asked);
    snprintf(goal, sizeof(goal), "%.2f", edit_infos[edit].goal);
    snprintf(figure, sizeof(figure), "%s%s recall@1 %s", b->model->name, with, edit_infos[edit].name);
    print_json(figure, one, goal, one >= edit_infos[edit].goal);
    snprintf(figure, sizeof(figure), "%s%s recall@10 %s", b->model->name, with, edit_infos[edit].name);
    print_json(figure, ten, goal, ten >= edit_infos[edit].goal);
}

static void print_figures(const struct bench *b)
{
    for (int way = 0; way < WAYS; way++)
        for (int e = 0; e < EDIT_COUNT; e++)
            print_recall(b, way, e);
    double find_us = (double)b->find_us / (double)b->corpus.count;
    double compare_us = (double)b->compare_us / (double)b->compared;
    print_json("details of a picture, CPU us", find_us, "1500", find_us < 1500);
    print_json("comparison of details, CPU us", compare_us, "50", compare_us < 50);
    if (b->extractor.ops != &extractor_builtin) // whose work is done in this thread
        return;
    double us = (double)b->extract_us / (double)b->extracted;
    print_json("extraction, CPU us a picture", us, "3000", us < 3000);
}

static void print_all(const struct bench *b)
{
    const struct corpus *c = &b->corpus;
    fprintf(stderr,
            "%zu items: %zu photos and %zu tiles cut from them (stand-ins for further photos; no two overlap). Of %zu "
            "files,\n%zu were the same photo in another size or shade and %zu could not be read; %zu tiles were left "
            "out as flat.\nCopies of %zu items (%s half) are searched among all.\n\n",
            c->count, c->photos, c->tiles, c->files, c->repeated, c->unreadable, c->flat_tiles, b->chosen_count,
            b->options.half);
    fprintf(stderr, "%-24s  | %-13s  | %-13s  | %-13s  | %-13s\n%-24s", "", "vector alone", "closer look", "its photos",
            "its tiles", "recall");
    for (int i = 0; i < 4; i++)
        fprintf(stderr, "  | %6s %6s", "@1", "@10");
    fprintf(stderr, "\n");
    for (int e = 0; e < EDIT_COUNT; e++)
        print_row(b, e);
    fprintf(stderr, "\n");
    print_figures(b);
}

static int by_score(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

// How many of the scores, in their order, are at least so high.
static size_t count_from(const float *sorted, size_t count, double least)
{
    size_t below = 0;
    while (below < count && sorted[below] < least)
        below++;
    return count - below;
}

enum { SCORE_FIRST = 60, SCORE_STEP = 5 }; // hundredths

static void print_joined(const char *what, const float *sorted, size_t count)
{
    int pad = 24;
    for (const char *p = what; *p; p++)
        pad -= (*p & 0xC0) != 0x80;
    fprintf(stderr, "%s%*s", what, pad, "");
    for (int t = SCORE_FIRST; t < 100; t += SCORE_STEP)
        fprintf(stderr, " %5.3f", share(count_from(sorted, count, t / 100.0), count));
    fprintf(stderr, "\n");
}

static void print_pairs(const struct bench *b)
{
    unsigned long all = 0, above = 0;
    for (int t = 0; t < 100; t++)
        all += b->pairs[t];
    fprintf(stderr, "%-24s", "of a million pairs");
    for (int t = SCORE_FIRST; t < 100; t += SCORE_STEP) {
        above = 0;
        for (int s = t; s < 100; s++)
            above += b->pairs[s];
        fprintf(stderr, " %5.1f", share(above, all) * 1e6);
    }
    fprintf(stderr, "\n");
}

// What each score would join: the copies of an edit with their originals; copies with a photo of another work; and
// items of different works with each other.
static void print_scores(struct bench *b)
{
    size_t n = 0;
    float *all = calloc(b->chosen_count * EDIT_COUNT, sizeof *all),
          *others = calloc(b->chosen_count * EDIT_COUNT, sizeof *all);
    fprintf(stderr, "Copies of %zu photos; %zu items\n\n%-24s", b->chosen_count, b->corpus.count,
            "joined from a score of");
    for (int t = SCORE_FIRST; t < 100; t += SCORE_STEP)
        fprintf(stderr, "  0.%d", t);
    fprintf(stderr, "\n");
    for (int e = 0; e < EDIT_COUNT; e++) {
        qsort(b->alike[e], b->chosen_count, sizeof(float), by_score);
        print_joined(edit_infos[e].name, b->alike[e], b->chosen_count);
        for (size_t i = 0; i < b->chosen_count && e != EDIT_COLLAGE && e != EDIT_HEAVY; i++) {
            all[n] = b->alike[e][i];
            others[n++] = b->unlike[e][i];
        }
    }
    qsort(all, n, sizeof *all, by_score);
    qsort(others, n, sizeof *others, by_score);
    print_joined("all but the last two", all, n);
    print_joined("with another photo", others, n);
    print_pairs(b);
    free(all);
    free(others);
}

// The model asked for, by the extractor that has it.
static int open_model(struct bench *b, const char *build, struct error *err)
{
    struct conf conf;
    char program[4096];
    size_t count;
    bool builtin = strcmp(b->options.model, "builtin") == 0;
    conf_init(&conf);
    snprintf(program, sizeof program, "%s/deeplens", build);
    const struct openvino_config config = {
        .models = conf.models_dir, .library = conf.openvino_dir, .precision = b->options.precision, .program = program};
    b->extractor.ops = builtin ? &extractor_builtin : &extractor_openvino;
    int rc = builtin ? extractor_builtin.open("", &b->extractor.state, err)
                     : extractor_openvino_open(&config, &b->extractor.state, err);
    conf_free(&conf);
    if (rc < 0)
        return -1;
    const struct extractor_model *models = b->extractor.ops->models(b->extractor.state, &count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(models[i].name, b->options.model) == 0)
            b->model = &models[i];
    return b->model ? 0 : error_set(err, ERR_MODEL_UNKNOWN, "there is no model %s", b->options.model);
}

static void close_model(struct bench *b)
{
    b->extractor.ops->close(b->extractor.state);
    b->extractor.state = NULL;
}

// overlap@10 of the two precisions, over the chosen items.
static int compare_precisions(struct bench *b, const char *build, struct error *err)
{
    size_t(*first)[10] = calloc(b->chosen_count, sizeof *first), common = 0;
    for (size_t i = 0; i < b->chosen_count; i++)
        nearest(b, b->chosen[i], first[i]);
    close_model(b);
    b->options.precision = b->options.against;
    b->model = NULL;
    int rc = open_model(b, build, err);
    if (rc == 0) {
        run_threads(b, index_items);
        for (size_t i = 0; i < b->chosen_count; i++) {
            size_t second[10];
            nearest(b, b->chosen[i], second);
            common += count_common(first[i], second);
        }
        char figure[96];
        snprintf(figure, sizeof figure, "%s overlap@10 with %s", b->model->name, b->options.against);
        double overlap = share(common, 10 * b->chosen_count);
        print_json(figure, overlap, "0.9", overlap >= 0.9);
    }
    free(first);
    return rc;
}

int main(int argc, char **argv)
{
    static struct bench b = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct error err = {0};
    if (options_parse(&b.options, argc, argv))
        return usage();
    if (VIPS_INIT(argv[0]) || open_model(&b, argv[1], &err)) {
        fprintf(stderr, "quality: cannot start: %s\n", err.message);
        return 1;
    }
    vips_concurrency_set(1);
    vips_cache_set_max(0);
    if (b.options.labelled) {
        int rc = labelled(&b.extractor, b.model, b.options.labelled);
        close_model(&b);
        vips_shutdown();
        return rc < 0;
    }
    if (corpus_load(&b.corpus, b.options.folders, b.options.folder_count, b.options.items)) {
        fprintf(stderr, "quality: no photos there; Debian has some in mate-backgrounds, gnome-backgrounds, "
                        "ukui-wallpapers and plasma-workspace-wallpapers\n");
        return 1;
    }
    b.vectors = calloc(b.corpus.count, b.model->dimension * sizeof(float));
    if (!b.options.scores && !b.options.against)
        b.details = calloc(b.corpus.count, sizeof *b.details);
    run_threads(&b, index_items);
    choose(&b);
    if (b.options.against) {
        if (compare_precisions(&b, argv[1], &err)) {
            fprintf(stderr, "quality: %s\n", err.message);
            return 1;
        }
    } else {
        for (int e = 0; e < EDIT_COUNT; e++) {
            b.alike[e] = calloc(b.chosen_count, sizeof(float));
            b.unlike[e] = calloc(b.chosen_count, sizeof(float));
        }
        run_threads(&b, ask_all);
        if (b.options.scores) {
            run_threads(&b, compare_items);
            print_scores(&b);
        } else
            print_all(&b);
        for (int e = 0; e < EDIT_COUNT; e++) {
            free(b.alike[e]);
            free(b.unlike[e]);
        }
    }
    free(b.details);
    free(b.vectors);
    free(b.chosen);
    corpus_free(&b.corpus);
    close_model(&b);
    vips_shutdown();
    return 0;
}
