// SPDX-License-Identifier: Apache-2.0
// deeplens delete ID... | --filter JSON
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "cli/cli.h"
#include "cli/table.h"

enum { TRIES = 8, WAIT_MS = 500 };

struct delete_options {
    const char *tenant, *filter;
    bool videos, dry_run, yes, json;
};

static const struct option_def options[] = {
    TEXT_OPTION(struct delete_options, filter, "filter", "JSON", "All that pass this filter, as of searches"),
    FLAG_OPTION(struct delete_options, videos, "videos", "With --filter: videos instead of images"),
    FLAG_OPTION(struct delete_options, dry_run, "dry-run", "With --filter: delete nothing, say how many it would be"),
    FLAG_OPTION(struct delete_options, yes, "yes", "Do not ask"),
    TEXT_OPTION(struct delete_options, tenant, "tenant", "NAME", "Whose images they are"),
    FLAG_OPTION(struct delete_options, json, "json", "Print one JSON document: an array, one member an id"),
    END_OPTION,
};

static int delete_one(struct client *client, const char *id, json_t *answers, bool json)
{
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    json_t *answer = NULL;
    struct error err;
    buf_puts(&path, "/api/v1/images/");
    client_segment(&path, id);
    int rc = client_call(client, "DELETE", path.data, NULL, &answer, &err);
    if (rc < 0)
        fprintf(stderr, "deeplens: %.80s: %s (%s)\n", id, err.message, error_code_name(err.code));
    else if (!json)
        printf("%s %s\n", js_str(answer, "imageId", js_str(answer, "videoId", id)),
               js_str(answer, "status", "deleting"));
    if (rc < 0)
        answer = json_pack("{s:s*, s:{s:s, s:s}}", "imageId", id, "error", "code", error_code_name(err.code), "message",
                           err.message);
    json_array_append_new(answers, answer);
    return rc;
}

static int delete_ids(struct cli *cli, struct client *client, const struct delete_options *o, int count, char **ids)
{
    _cleanup_json_ json_t *answers = json_array();
    struct error err;
    int failed = 0;
    char question[80];
    snprintf(question, sizeof question, "Delete %d image%s, for good?", count, count == 1 ? "" : "s");
    if (cli_confirm(o->yes, question, &err) < 0)
        return cli_fail(cli, &err);
    for (int i = 0; i < count; i++)
        failed += delete_one(client, ids[i], answers, o->json) < 0;
    if (o->json)
        cli_print_json(answers);
    return failed ? EXIT_FAILED : EXIT_DONE;
}

// --- By a filter

struct sweep { // all pages of one walk
    int64_t matched;
    json_t *sample; // of the first page that has some
    char before[CLOCK_TEXT];
};

// Too much may wait for a log that is away: it is asked for again, and goes on where it was.
static int ask(struct client *client, const char *path, const json_t *body, json_t **out, struct error *err)
{
    for (int i = 1;; i++) {
        if (client_call(client, "POST", path, body, out, err) == 0)
            return 0;
        if (err->code != ERR_OVERLOADED || i == TRIES)
            return -1;
        clock_sleep_ms(WAIT_MS * i);
    }
}

// What came since the first walk began is nobody's business: only what was counted is deleted.
static int walk(struct client *client, const struct delete_options *o, const json_t *filter, bool dry_run,
                struct sweep *s, struct error *err)
{
    const char *path = o->videos ? "/api/v1/videos/delete" : "/api/v1/images/delete";
    _cleanup_json_ json_t *answer = NULL;
    s->matched = 0;
    do {
        _cleanup_json_ json_t *body = json_pack("{s:O,s:b}", "filter", filter, "dryRun", dry_run);
        js_set_str(body, "uploadedBefore", *s->before ? s->before : NULL);
        js_set_str(body, "cursor", js_str(answer, "nextCursor", NULL));
        json_decref(answer);
        answer = NULL;
        if (ask(client, path, body, &answer, err) < 0)
            return -1;
        s->matched += js_int(answer, "matched", 0);
        if (!json_array_size(s->sample))
            json_array_extend(s->sample, js_arr(answer, "sample"));
        snprintf(s->before, sizeof s->before, "%s", js_str(answer, "uploadedBefore", ""));
    } while (js_str(answer, "nextCursor", NULL));
    return 0;
}

static void print_sample(const struct sweep *s)
{
    static const struct table_column columns[] = {{"ID"}, {"FILE", .shrink = true}, {"UPLOADED"}, {NULL}};
    _cleanup_table_ struct table t = {0};
    size_t i;
    json_t *one;
    table_init(&t, columns);
    json_array_foreach(s->sample, i, one) table_add(&t, js_str(one, "imageId", js_str(one, "videoId", NULL)),
                                                    js_str(one, "fileName", NULL), js_str(one, "uploadedAt", NULL));
    if (t.rows)
        table_print(&t);
    if ((int64_t)t.rows < s->matched)
        printf("and %" PRId64 " more\n", s->matched - (int64_t)t.rows);
}

static int report(const struct delete_options *o, const struct sweep *s, bool dry_run)
{
    const char *kind = o->videos ? "video" : "image";
    if (o->json) {
        _cleanup_json_ json_t *json =
            json_pack("{s:b,s:I,s:O,s:s}", "dryRun", dry_run, "matched", (json_int_t)s->matched, "sample", s->sample,
                      "uploadedBefore", s->before);
        return cli_print_json(json);
    }
    if (dry_run)
        print_sample(s);
    printf("%" PRId64 " %s%s %s.\n", s->matched, kind, s->matched == 1 ? "" : "s",
           dry_run           ? "would be deleted"
           : s->matched == 1 ? "is being deleted"
                             : "are being deleted");
    return EXIT_DONE;
}

static int delete_matches(struct cli *cli, struct client *client, const struct delete_options *o)
{
    struct error err;
    _cleanup_json_ json_t *sample = json_array();
    _cleanup_json_ json_t *filter = js_parse(o->filter, strlen(o->filter), &err);
    struct sweep s = {.sample = sample};
    if (!filter) {
        error_prefix(&err, "--filter");
        return cli_misused(cli, &command_delete, &err);
    }
    if (walk(client, o, filter, true, &s, &err) < 0)
        return cli_fail(cli, &err);
    if (o->dry_run || !s.matched)
        return report(o, &s, o->dry_run);
    char question[96];
    snprintf(question, sizeof question, "Delete %" PRId64 " %s%s, for good?", s.matched, o->videos ? "video" : "image",
             s.matched == 1 ? "" : "s");
    if (cli_confirm(o->yes, question, &err) < 0 || walk(client, o, filter, false, &s, &err) < 0)
        return cli_fail(cli, &err);
    return report(o, &s, false);
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct delete_options o = {0};
    int code;
    if (cli_parse(cli, &command_delete, &o, &argc, argv, 0, -1, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    struct error err;
    if ((argc > 1) == (o.filter != NULL) || (!o.filter && (o.videos || o.dry_run))) {
        error_set(&err, ERR_USAGE, "What is to be deleted? Ids, or --filter, which --videos and --dry-run go with");
        return cli_misused(cli, &command_delete, &err);
    }
    if (cli_connect(cli, false, o.tenant, &client, &err) < 0)
        return cli_fail(cli, &err);
    return o.filter ? delete_matches(cli, client, &o) : delete_ids(cli, client, &o, argc - 1, argv + 1);
}

const struct command command_delete = {
    .name = "delete",
    .usage = "ID... | --filter JSON [OPTIONS]",
    .summary = "Delete images or videos, with everything that was made from them",
    .details =
        "Asks first; without a terminal it takes --yes. With --filter it counts first, and deletes what it counted; "
        "cut off, it may be called again.",
    .examples =
        "deeplens delete img_0190b2c4-7c1e-7a3b-9f00-5d2f8a61c0de\ndeeplens delete --yes --tenant shop img_1 img_2\n"
        "deeplens delete --filter '{\"season\": \"2024\"}' --dry-run",
    .options = options,
    .run = run,
};
