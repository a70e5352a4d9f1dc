// SPDX-License-Identifier: Apache-2.0
// deeplens list
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/js.h"
#include "cli/cli.h"
#include "cli/table.h"
#include "cli/text.h"

enum { PAGE = 500 };

struct list_options {
    const char *tenant, *status, *tag, *name, *from, *to;
    int64_t limit;
    bool videos, all, json;
};

static const struct option_def options[] = {
    FLAG_OPTION(struct list_options, videos, "videos", "Videos instead of images"),
    CHOICE_OPTION(struct list_options, status, "status", "uploaded|processing|completed|failed",
                  "Only with this status"),
    TEXT_OPTION(struct list_options, tag, "tag", "TAG", "Only with this tag"),
    TEXT_OPTION(struct list_options, name, "name", "TEXT", "Only with this file name"),
    TEXT_OPTION(struct list_options, from, "from", "TIME", "Only uploaded at or after this time (RFC 3339, or a date)"),
    TEXT_OPTION(struct list_options, to, "to", "TIME", "Only uploaded before this time"),
    INT_OPTION(struct list_options, limit, "limit", "N", 1, 1000000, "At most so many (50)"),
    FLAG_OPTION(struct list_options, all, "all", "All of them"),
    TEXT_OPTION(struct list_options, tenant, "tenant", "NAME", "Whose they are"),
    FLAG_OPTION(struct list_options, json, "json", "Print one JSON document an item, one a line"),
    END_OPTION,
};

static void make_path(const struct list_options *o, int64_t limit, const char *cursor, struct buf *path)
{
    char number[24];
    snprintf(number, sizeof number, "%" PRId64, limit);
    buf_puts(path, o->videos ? "/api/v1/videos" : "/api/v1/images");
    client_query(path, "status", o->status);
    client_query(path, "tag", o->tag);
    client_query(path, "fileName", o->name);
    client_query(path, "from", o->from);
    client_query(path, "to", o->to);
    client_query(path, "limit", number);
    client_query(path, "cursor", cursor);
}

static void add_item(struct table *t, const json_t *item)
{
    char pixels[48], bytes[TEXT_SHORT];
    int64_t width = js_int(item, "width", 0);
    snprintf(pixels, sizeof pixels, "%" PRId64 "x%" PRId64, width, js_int(item, "height", 0));
    table_add(t, js_str(item, "imageId", js_str(item, "videoId", NULL)), js_str(item, "status", NULL),
              js_str(item, "fileName", NULL), width ? pixels : NULL,
              text_bytes((uint64_t)js_int(item, "sizeBytes", 0), bytes), js_str(item, "uploadedAt", NULL));
}

// Gets one page; `*cursor` (malloc'ed) becomes the next page's, or NULL after the last one.
static int page(struct client *client, const struct list_options *o, int64_t limit, char **cursor, struct table *t,
                int64_t *seen, struct error *err)
{
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    _cleanup_json_ json_t *answer = NULL;
    size_t i;
    json_t *item;
    make_path(o, limit, *cursor, &path);
    if (path.failed)
        return error_set(err, ERR_USAGE, "The filters are too long");
    if (client_get(client, path.data, &answer, err) < 0)
        return -1;
    json_array_foreach(js_arr(answer, "items"), i, item)
    {
        if (o->json)
            cli_print_json(item);
        else
            add_item(t, item);
        ++*seen;
    }
    free(*cursor);
    const char *next = js_str(answer, "nextCursor", NULL);
    *cursor = next ? strdup(next) : NULL;
    return 0;
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct list_options o = {.limit = 50};
    int code;
    if (cli_parse(cli, &command_list, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    static const struct table_column columns[] = {
        {"ID"},       {"STATUS"}, {"FILE", .shrink = true}, {"PIXELS", .right = true}, {"SIZE", .right = true},
        {"UPLOADED"}, {NULL}};
    _cleanup_client_ struct client *client = NULL;
    _cleanup_table_ struct table t = {0};
    _cleanup_free_ char *cursor = NULL;
    struct error err;
    int64_t most = o.all ? INT64_MAX : o.limit;
    int64_t seen = 0;
    table_init(&t, columns);
    if (cli_connect(cli, true, o.tenant, &client, &err) < 0)
        return cli_fail(cli, &err);
    do {
        int64_t want = most - seen < PAGE ? most - seen : PAGE;
        if (page(client, &o, want, &cursor, &t, &seen, &err) < 0)
            return cli_fail(cli, &err);
        if (!o.json && seen)
            table_print(&t);
        table_free(&t);
        table_init(&t, columns);
        t.headless = true;
    } while (cursor && seen < most);
    if (!seen && !o.json)
        printf("There are no such %s.\n", o.videos ? "videos" : "images");
    if (cursor && !o.json)
        fprintf(stderr, "There are more: --limit N or --all shows them.\n");
    return EXIT_DONE;
}

const struct command command_list = {
    .name = "list",
    .usage = "[OPTIONS]",
    .summary = "List images, or videos, the newest first",
    .examples = "deeplens list --status failed\ndeeplens list --tag summer --from 2026-06-01 --all --json",
    .options = options,
    .run = run,
};
