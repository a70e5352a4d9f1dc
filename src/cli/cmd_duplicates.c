// SPDX-License-Identifier: Apache-2.0
// deeplens duplicates: groups of near-duplicates, as a table, as JSON, or as a page with the pictures.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/js.h"
#include "cli/cli.h"
#include "cli/page.h"
#include "cli/table.h"

enum { PAGE_GROUPS = 100 };

struct duplicates_options {
    const char *tenant, *id, *model, *html;
    int64_t limit, members;
    bool all, json;
};

static const struct option_def options[] = {
    TEXT_OPTION(struct duplicates_options, id, "id", "ID", "Only what looks like this item"),
    INT_OPTION(struct duplicates_options, limit, "limit", "N", 1, 1000000, "At most so many groups (50)"),
    FLAG_OPTION(struct duplicates_options, all, "all", "All of them"),
    INT_OPTION(struct duplicates_options, members, "members", "N", 1, 1000, "Items that are shown of a group (20)"),
    TEXT_OPTION(struct duplicates_options, model, "model", "NAME", "As this model sees it"),
    TEXT_OPTION(struct duplicates_options, tenant, "tenant", "NAME", "Whose items"),
    FLAG_OPTION(struct duplicates_options, json, "json", "Print one JSON document a group, one a line"),
    TEXT_OPTION(struct duplicates_options, html, "html", "FILE", "Write a page with the pictures, in one file"),
    END_OPTION,
};

struct listing {
    struct client *client;
    const struct duplicates_options *o;
    struct table table;
    struct buf page; // with --html
    int64_t groups, items;
    char *cursor; // malloc'ed; NULL: at the beginning, or the end
};

static void make_path(const struct listing *l, int64_t limit, struct buf *path)
{
    char number[24];
    buf_puts(path, "/api/v1/duplicates");
    snprintf(number, sizeof number, "%" PRId64, limit);
    client_query(path, "limit", number);
    snprintf(number, sizeof number, "%" PRId64, l->o->members);
    client_query(path, "members", number);
    client_query(path, "model", l->o->model);
    client_query(path, "imageId", l->o->id);
    client_query(path, "cursor", l->cursor);
}

static const char *id_of(const json_t *item)
{
    return js_str(item, "imageId", js_str(item, "videoId", ""));
}

static void add_rows(struct table *t, const json_t *group)
{
    size_t i;
    json_t *item;
    json_array_foreach(js_arr(group, "items"), i, item)
    {
        char number[24], score[24], pixels[48];
        int64_t width = js_int(item, "width", 0);
        snprintf(number, sizeof number, "%" PRId64, js_int(group, "group", 0));
        snprintf(score, sizeof score, "%.4f", js_num(item, "score", 0));
        snprintf(pixels, sizeof pixels, "%" PRId64 "x%" PRId64, width, js_int(item, "height", 0));
        table_add(t, i ? "" : number, js_str(item, "nearest", NULL) ? score : NULL, id_of(item),
                  js_str(item, "fileName", NULL), width ? pixels : NULL, js_str(item, "uploadedAt", NULL));
    }
}

static void put_group(struct listing *l, const json_t *group)
{
    struct buf *page = &l->page;
    size_t i;
    json_t *item;
    buf_printf(page, "<h2>%" PRId64 " that look alike</h2>\n<ol class=\"grid\">\n", js_int(group, "count", 0));
    json_array_foreach(js_arr(group, "items"), i, item)
    {
        const char *name = js_str(item, "fileName", id_of(item));
        bool video = js_str(item, "videoId", NULL) != NULL;
        buf_puts(page, "<li>\n<div class=\"picture\">");
        page_thumbnail(page, l->client, video ? "videos" : "images", id_of(item), name);
        buf_puts(page, "</div>\n<div class=\"text\">\n<p class=\"name\">");
        page_text(page, name);
        buf_printf(page,
                   "</p>\n<p class=\"score\"><b>%.4f</b></p>\n<p class=\"soft\">%" PRId64 " &times; %" PRId64
                   " &middot; ",
                   js_num(item, "score", 0), js_int(item, "width", 0), js_int(item, "height", 0));
        page_text(page, js_str(item, "uploadedAt", ""));
        buf_puts(page, "</p>\n<p class=\"soft\">");
        page_text(page, id_of(item));
        buf_puts(page, "</p>\n</div>\n</li>\n");
    }
    buf_puts(page, "</ol>\n");
}

// Gets one page of groups; `cursor` becomes the next page's, or NULL after the last one.
static int get_page(struct listing *l, int64_t limit, struct error *err)
{
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    _cleanup_json_ json_t *answer = NULL;
    size_t i;
    json_t *group;
    make_path(l, limit, &path);
    if (path.failed)
        return error_set(err, ERR_USAGE, "What is asked for is too long");
    if (client_get(l->client, path.data, &answer, err) < 0)
        return -1;
    json_array_foreach(js_arr(answer, "groups"), i, group)
    {
        l->groups++;
        l->items += js_int(group, "count", 0);
        if (l->o->html)
            put_group(l, group);
        if (l->o->json)
            cli_print_json(group);
        else
            add_rows(&l->table, group);
    }
    free(l->cursor);
    const char *next = js_str(answer, "nextCursor", NULL);
    l->cursor = next ? strdup(next) : NULL;
    return 0;
}

static int list(struct listing *l, struct error *err)
{
    static const struct table_column columns[] = {{"GROUP", .right = true},
                                                  {"SCORE", .right = true},
                                                  {"ID"},
                                                  {"FILE", .shrink = true},
                                                  {"PIXELS", .right = true},
                                                  {"UPLOADED"},
                                                  {NULL}};
    const struct duplicates_options *o = l->o;
    int64_t most = o->all ? INT64_MAX : o->limit;
    page_begin(&l->page);
    buf_puts(&l->page, "<header><h1>What looks alike</h1></header>\n");
    do {
        table_init(&l->table, columns);
        l->table.headless = l->groups > 0;
        if (get_page(l, most - l->groups < PAGE_GROUPS ? most - l->groups : PAGE_GROUPS, err) < 0)
            return -1;
        if (l->table.rows)
            table_print(&l->table);
        table_free(&l->table);
    } while (l->cursor && l->groups < most);
    return o->html ? page_write(&l->page, o->html, err) : 0;
}

static void tell(const struct listing *l)
{
    if (l->o->json)
        return;
    fprintf(stderr, "%" PRId64 " items in %" PRId64 " group%s\n", l->items, l->groups, l->groups == 1 ? "" : "s");
    if (l->cursor)
        fprintf(stderr, "There are more: --limit N or --all shows them.\n");
    if (l->o->html)
        fprintf(stderr, "The page is %s\n", l->o->html);
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct duplicates_options o = {.limit = 50, .members = 20};
    int code;
    if (cli_parse(cli, &command_duplicates, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    struct error err;
    if (cli_connect(cli, true, o.tenant, &client, &err) < 0)
        return cli_fail(cli, &err);
    struct listing l = {.client = client, .o = &o, .page = PAGE_INIT};
    int rc = list(&l, &err);
    if (rc == 0)
        tell(&l);
    free(l.cursor);
    table_free(&l.table);
    buf_free(&l.page);
    return rc == 0 ? EXIT_DONE : cli_fail(cli, &err);
}

const struct command command_duplicates = {
    .name = "duplicates",
    .usage = "[OPTIONS]",
    .summary = "Show what looks alike: near-duplicates in groups, the newest first",
    .details =
        "A score says how like the nearest other of its group an item is: 1 is the same. docs/DUPLICATES.md tells "
        "from which score on pictures count as near-duplicates.",
    .examples = "deeplens duplicates --html duplicates.html\n"
                "deeplens duplicates --id img_0190b2c4-7c1e-7a3b-9f00-5d2f8a61c0de\n"
                "deeplens duplicates --all --json",
    .options = options,
    .run = run,
};
