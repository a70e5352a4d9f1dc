// SPDX-License-Identifier: Apache-2.0
// deeplens search FILE | --text WORDS | --id ID | --vector FILE: one of them, or several as one query.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/js.h"
#include "cli/cli.h"
#include "cli/files.h"
#include "cli/search_page.h"
#include "cli/table.h"
#include "cli/text.h"
#include "media/video/kind.h"

enum { VECTOR_FILE_MAX = 16 << 20, FILTER_MAX_BYTES = 1 << 20 };

struct search_options {
    const char *text, *without, *id, *vector, *model, *filter, *tenant, *html;
    int64_t top;
    double least;
    bool json;
};

static const struct option_def options[] = {
    TEXT_OPTION(struct search_options, text, "text", "WORDS", "Search with words, such as \"a dog on a beach\""),
    TEXT_OPTION(struct search_options, without, "without", "WORDS",
                "Away from what these words say; with another query"),
    TEXT_OPTION(struct search_options, id, "id", "ID", "Search with a stored image"),
    TEXT_OPTION(struct search_options, vector, "vector", "FILE",
                "Search with a vector: a JSON array of numbers, or an object with the member \"vector\""),
    INT_OPTION(struct search_options, top, "top", "K", 1, 10000, "Hits at most (what the server's search.k says: 10)"),
    REAL_OPTION(struct search_options, least, "min-score", "S", -1, 1, "Leave out hits below this score"),
    TEXT_OPTION(struct search_options, model, "model", "NAME", "Compare by this model"),
    TEXT_OPTION(struct search_options, filter, "filter", "JSON",
                "Only images whose metadata match, e.g. {\"category\": \"shoes\", \"price\": {\"lt\": 50}}"),
    TEXT_OPTION(struct search_options, tenant, "tenant", "NAME", "Whose images"),
    FLAG_OPTION(struct search_options, json, "json", "Print one JSON document, as the server answered"),
    TEXT_OPTION(struct search_options, html, "html", "FILE", "Write a page with the pictures, in one file"),
    END_OPTION,
};

#define NO_LEAST (-2.0)

static int read_vector(const char *path, json_t **out, struct error *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(VECTOR_FILE_MAX);
    if (files_read(path, &text, err) < 0)
        return -1;
    _cleanup_json_ json_t *document = js_parse(text.data, text.len, err);
    if (!document)
        return error_prefix(err, "%.200s", path);
    json_t *vector = json_is_array(document) ? document : js_arr(document, "vector");
    if (!vector)
        return error_set(err, ERR_INVALID_VECTOR, "%.200s holds no array of numbers", path);
    *out = json_incref(vector);
    return 0;
}

static int read_filter(const char *text, json_t **out, struct error *err)
{
    json_t *filter = js_parse(text, strnlen(text, FILTER_MAX_BYTES), err);
    if (!filter) {
        err->code = ERR_USAGE;
        return error_prefix(err, "--filter");
    }
    if (!json_is_object(filter)) {
        json_decref(filter);
        return error_set(err, ERR_USAGE, "--filter takes a JSON object, such as {\"category\": \"shoes\"}");
    }
    *out = filter;
    return 0;
}

#define WITHOUT_WEIGHT (-0.5)

// `terms` for what the query is to stay away from.
static void add_without(json_t *request, const char *words, bool form)
{
    if (!words)
        return;
    json_t *terms = json_pack("[{s:s,s:f}]", "text", words, "weight", WITHOUT_WEIGHT);
    _cleanup_free_ char *text = form ? js_dumps(terms) : NULL;
    if (form) {
        js_set_str(request, "terms", text);
        json_decref(terms);
    } else {
        json_object_set_new(request, "terms", terms);
    }
}

// The request as JSON; for a form every member is text.
static int make_request(const struct search_options *o, bool form, json_t **out, struct error *err)
{
    _cleanup_json_ json_t *request = json_object();
    json_t *filter = NULL;
    if (o->filter && read_filter(o->filter, &filter, err) < 0)
        return -1;
    char number[40];
    if (form && filter)
        js_set_str(request, "filter", o->filter);
    else if (filter)
        json_object_set(request, "filter", filter);
    json_decref(filter);
    js_set_str(request, "model", o->model);
    js_set_str(request, "imageId", o->id);
    js_set_str(request, "text", o->text);
    add_without(request, o->without, form);
    snprintf(number, sizeof number, "%" PRId64, o->top);
    if (o->top)
        json_object_set_new(request, "topK", form ? json_string(number) : json_integer(o->top));
    snprintf(number, sizeof number, "%.17g", o->least);
    if (o->least > NO_LEAST)
        json_object_set_new(request, "minScore", form ? json_string(number) : json_real(o->least));
    *out = take_ptr(request);
    return 0;
}

// Whether the file is a video, by its first bytes.
static bool is_video(const char *path)
{
    uint8_t head[VIDEO_KIND_BYTES];
    const struct video_kind *kind;
    FILE *file = fopen(path, "rbe");
    size_t len = file ? fread(head, 1, sizeof head, file) : 0;
    if (file)
        fclose(file);
    return len && video_kind_find(head, len, &kind, NULL) == 0;
}

static int ask(struct client *client, const struct search_options *o, const char *file, json_t **out, struct error *err)
{
    _cleanup_json_ json_t *request = NULL;
    if (make_request(o, file != NULL, &request, err) < 0)
        return -1;
    if (file)
        return client_post_form(client, is_video(file) ? "/api/v1/search/video" : "/api/v1/search", request, file, out,
                                err);
    json_t *vector = NULL;
    if (o->vector && read_vector(o->vector, &vector, err) < 0)
        return -1;
    if (vector)
        json_object_set_new(request, "vector", vector);
    return client_call(client, "POST", "/api/v1/search", request, out, err);
}

static void print(const json_t *answer)
{
    static const struct table_column columns[] = {
        {"RANK", .right = true},   {"SCORE", .right = true},  {"ID"},       {"FILE", .shrink = true},
        {"SHOWS", .shrink = true}, {"PIXELS", .right = true}, {"UPLOADED"}, {NULL}};
    _cleanup_table_ struct table t = {0};
    size_t i;
    json_t *hit;
    table_init(&t, columns);
    json_array_foreach(js_arr(answer, "results"), i, hit)
    {
        char rank[24], score[24], pixels[48];
        int64_t width = js_int(hit, "width", 0);
        snprintf(rank, sizeof rank, "%zu", i + 1);
        snprintf(score, sizeof score, "%.4f", js_num(hit, "score", 0));
        snprintf(pixels, sizeof pixels, "%" PRId64 "x%" PRId64, width, js_int(hit, "height", 0));
        const json_t *surest = json_array_get(js_arr(hit, "autoTags"), 0);
        const char *video = js_str(hit, "videoId", NULL), *name = js_str(hit, "fileName", NULL);
        char moment[512];
        if (video) {
            snprintf(moment, sizeof moment, "%s at %.1f s", name ? name : "", js_num(hit, "time", 0));
            name = moment;
        }
        table_add(&t, rank, score, video ? video : js_str(hit, "imageId", NULL), name, js_str(surest, "name", NULL),
                  width ? pixels : NULL, js_str(hit, "uploadedAt", NULL));
    }
    if (t.rows)
        table_print(&t);
    fprintf(stderr, "%zu hit%s by %s, in %.1f ms\n", t.rows, t.rows == 1 ? "" : "s", js_str(answer, "model", "?"),
            js_num(answer, "tookMs", 0));
}

// Of a search with a video: which stretch of the one is which of the other.
static void print_stretches(const json_t *answer)
{
    static const struct table_column columns[] = {{"RANK", .right = true},
                                                  {"SCORE", .right = true},
                                                  {"ID"},
                                                  {"FILE", .shrink = true},
                                                  {"SECONDS", .right = true},
                                                  {"OF THE QUERY", .right = true},
                                                  {"SPEED", .right = true},
                                                  {NULL}};
    _cleanup_table_ struct table t = {0};
    size_t i;
    json_t *hit;
    table_init(&t, columns);
    json_array_foreach(js_arr(answer, "results"), i, hit)
    {
        char rank[24], score[24], there[64], here[64], speed[24];
        snprintf(rank, sizeof rank, "%zu", i + 1);
        snprintf(score, sizeof score, "%.4f", js_num(hit, "score", 0));
        snprintf(there, sizeof there, "%.1f-%.1f", js_num(hit, "from", 0), js_num(hit, "to", 0));
        snprintf(here, sizeof here, "%.1f-%.1f", js_num(hit, "queryFrom", 0), js_num(hit, "queryTo", 0));
        snprintf(speed, sizeof speed, "%.2f", js_num(hit, "speed", 1));
        table_add(&t, rank, score, js_str(hit, "videoId", NULL), js_str(hit, "fileName", NULL), there, here, speed);
    }
    if (t.rows)
        table_print(&t);
    fprintf(stderr, "%zu video%s by %s, in %.1f ms\n", t.rows, t.rows == 1 ? "" : "s", js_str(answer, "model", "?"),
            js_num(answer, "tookMs", 0));
}

// A video is compared with videos, frame by frame: nothing else can be in such a search, nor does it have a page.
static int check_video(const struct search_options *o, const char *file, struct error *err)
{
    if (is_video(file) && (o->id || o->text || o->without || o->html))
        return error_set(err, ERR_USAGE,
                         "A video is searched with by itself: not with --id, --text, --without or --html");
    return 0;
}

static int check(const struct search_options *o, int argc, char **argv, struct error *err)
{
    if (argc < 2 && !o->id && !o->vector && !o->text)
        return error_set(err, ERR_USAGE, "Search with FILE, --text WORDS, --id ID or --vector FILE");
    if (argc > 1 && o->vector)
        return error_set(err, ERR_USAGE, "FILE and --vector cannot be in one search");
    json_t *filter = NULL;
    if (o->filter && read_filter(o->filter, &filter, err) < 0)
        return -1;
    json_decref(filter);
    struct stat st;
    if (argc > 1 && stat(argv[1], &st) < 0)
        return error_errno(err, ERR_IO, errno, "%.200s cannot be read", argv[1]);
    if (argc > 1 && !S_ISREG(st.st_mode))
        return error_set(err, ERR_IO, "%.200s is no file", argv[1]);
    return argc > 1 ? check_video(o, argv[1], err) : 0;
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct search_options o = {.least = NO_LEAST};
    int code;
    if (cli_parse(cli, &command_search, &o, &argc, argv, 0, 1, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_json_ json_t *answer = NULL;
    struct error err;
    const char *file = argc > 1 ? argv[1] : NULL;
    if (check(&o, argc, argv, &err) < 0)
        return err.code == ERR_USAGE ? cli_misused(cli, &command_search, &err) : cli_fail(cli, &err);
    if (cli_connect(cli, false, o.tenant, &client, &err) < 0 || ask(client, &o, file, &answer, &err) < 0)
        return cli_fail(cli, &err);
    struct search_query query = {
        .file = file, .id = o.id, .text = o.text, .max_pixels = (uint64_t)cli->conf->image_max_pixels};
    if (o.html && search_page_write(client, &query, answer, o.html, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    if (file && is_video(file))
        print_stretches(answer);
    else
        print(answer);
    if (o.html)
        fprintf(stderr, "The page is %s\n", o.html);
    return EXIT_DONE;
}

const struct command command_search = {
    .name = "search",
    .usage = "FILE | --text WORDS | --id ID | --vector FILE [OPTIONS]",
    .summary = "Find images that look alike, or show what words say",
    .details = "A score is a cosine similarity: 1 is the same, 0 has nothing in common. Words and pictures may be in "
               "one search. With a video as FILE, videos are found that it is a copy of, or of a part of, and which "
               "seconds of the one are which of the other.",
    .examples = "deeplens search photo.jpg --top 20 --html found.html\n"
                "deeplens search clip.mp4\n"
                "deeplens search --text 'a dog on a beach' --without snow\n"
                "deeplens search --id img_0190b2c4-7c1e-7a3b-9f00-5d2f8a61c0de --min-score 0.9\n"
                "deeplens search photo.jpg --filter '{\"tags\": \"summer\", \"width\": {\"gte\": 1024}}' --json",
    .options = options,
    .run = run,
};
