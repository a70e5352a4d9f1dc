// SPDX-License-Identifier: Apache-2.0
#include "answers.h"

#include <stdlib.h>
#include <string.h>

#include "base/js.h"
#include "cli/files.h"
#include "jobs.h"

enum { DOCUMENT_MAX = 64 << 20 };

void answers_free(struct answers *a)
{
    for (size_t i = 0; a && i < a->count; i++) {
        g_clear_object(&a->list[i].thumb);
        for (size_t h = 0; h < a->list[i].hit_count; h++)
            g_clear_object(&a->list[i].hits[h].thumb);
    }
    free(a);
}

static json_t *read_json(const char *folder, const char *name, struct error *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(DOCUMENT_MAX);
    char path[PATH_LENGTH];
    g_snprintf(path, sizeof path, "%s/%s", folder, name);
    if (files_read(path, &text, err) < 0)
        return NULL;
    json_t *value = js_parse(text.data, text.len, err);
    if (!value)
        error_prefix(err, "%.200s", path);
    return value;
}

// "sunset_by_Someone--tile3.jpg" is "sunset by Someone", in the form "part: left".
static void name_hit(struct hit *hit, const char *file)
{
    const char *mark = strstr(file, "--"), *dot = strrchr(file, '.');
    size_t len = (size_t)((mark ? mark : dot ? dot : file + strlen(file)) - file);
    g_snprintf(hit->title, sizeof hit->title, "%.*s", (int)len, file);
    g_strdelimit(hit->title, "_", ' ');
    g_strlcpy(hit->form, "the photo itself", sizeof hit->form);
    for (const struct alteration *copy = alter_copies; mark && copy->kind; copy++) {
        size_t kind = strlen(copy->kind);
        if (strncmp(mark + 2, copy->kind, kind) == 0 && mark[2 + kind] == '.')
            g_strlcpy(hit->form, copy->label, sizeof hit->form);
    }
}

static int read_hits(const char *folder, const json_t *results, struct answer *answer, struct error *err)
{
    size_t i;
    json_t *result;
    json_array_foreach(results, i, result)
    {
        if (answer->hit_count == HITS)
            break;
        struct hit *hit = &answer->hits[answer->hit_count];
        char path[PATH_LENGTH];
        const char *file = js_str(result, "fileName", "?");
        name_hit(hit, file);
        hit->score = js_num(result, "score", 0);
        hit->right = strcmp(hit->title, answer->title) == 0;
        g_snprintf(path, sizeof path, "%s/items/%s", folder, file);
        if (picture_load(path, THUMB_EDGE, &hit->thumb, err) < 0)
            return -1;
        answer->hit_count++;
    }
    return 0;
}

struct reading {
    const char *folder;
    const json_t *queries;
    struct answers *answers;
};

static int read_answer(void *context, size_t index, struct error *err)
{
    struct reading *r = context;
    struct answer *answer = &r->answers->list[index];
    const json_t *query = json_array_get(r->queries, index);
    char name[64], path[PATH_LENGTH];
    g_snprintf(name, sizeof name, "results/%02zu.json", index + 1);
    _cleanup_json_ json_t *document = read_json(r->folder, name, err);
    if (!document)
        return -1;
    g_strlcpy(answer->title, js_str(query, "photo", "?"), sizeof answer->title);
    g_strdelimit(answer->title, "_", ' ');
    g_strlcpy(answer->kind, js_str(query, "kind", "?"), sizeof answer->kind);
    g_strlcpy(answer->label, js_str(query, "label", "?"), sizeof answer->label);
    answer->ms = js_num(document, "tookMs", 0);
    g_snprintf(path, sizeof path, "%s/queries/%02zu.jpg", r->folder, index + 1);
    return picture_load(path, THUMB_EDGE, &answer->thumb, err) < 0
               ? -1
               : read_hits(r->folder, js_arr(document, "results"), answer, err);
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void sum_up(struct answers *a, const json_t *upload, double seconds)
{
    double ms[ANSWERS_MAX], upload_seconds = js_num(upload, "seconds", 0);
    for (size_t i = 0; i < a->count; i++) {
        a->found += answer_found(&a->list[i]);
        ms[i] = a->list[i].ms;
    }
    qsort(ms, a->count, sizeof *ms, by_value);
    a->ms = a->count ? ms[a->count / 2] : 0;
    a->items = (size_t)js_int(upload, "searchable", 0);
    a->megabytes = js_num(upload, "bytes", 0) / 1e6;
    a->acks = upload_seconds > 0 ? js_num(upload, "uploaded", 0) / upload_seconds : 0;
    a->rate = seconds > 0 ? (double)a->items / seconds : 0;
}

int answers_read(const char *folder, double seconds, struct answers **out, struct error *err)
{
    _cleanup_answers_ struct answers *a = calloc(1, sizeof *a);
    _cleanup_json_ json_t *manifest = read_json(folder, "queries.json", err);
    _cleanup_json_ json_t *upload = manifest ? read_json(folder, "upload.json", err) : NULL;
    if (!a)
        return error_set(err, ERR_NO_MEMORY, "Out of memory for the answers");
    if (!upload)
        return -1;
    struct reading reading = {.folder = folder, .queries = js_arr(manifest, "queries"), .answers = a};
    a->count = MIN(json_array_size(reading.queries), ANSWERS_MAX);
    a->photos = (size_t)js_int(manifest, "photos", 0);
    if (jobs_run(a->count, read_answer, &reading, err) < 0)
        return -1;
    sum_up(a, upload, seconds);
    *out = take_ptr(a);
    return 0;
}
