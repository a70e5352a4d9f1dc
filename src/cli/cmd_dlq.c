// SPDX-License-Identifier: Apache-2.0
// deeplens dlq list | show | replay
#include <inttypes.h>
#include <stdio.h>

#include "base/js.h"
#include "cli/cli.h"
#include "cli/table.h"
#include "cli/text.h"

struct dlq_options {
    const char *code, *stage, *topic, *tenant;
    int64_t limit;
    bool json;
};

static const struct option_def list_options[] = {
    TEXT_OPTION(struct dlq_options, code, "code", "CODE", "Only with this code, such as IMAGE_CORRUPT"),
    TEXT_OPTION(struct dlq_options, stage, "stage", "STAGE", "Only from this step"),
    TEXT_OPTION(struct dlq_options, topic, "topic", "TOPIC", "Only from this topic"),
    TEXT_OPTION(struct dlq_options, tenant, "tenant", "NAME", "Only this tenant's"),
    INT_OPTION(struct dlq_options, limit, "limit", "N", 1, 1000, "At most so many (50)"),
    FLAG_OPTION(struct dlq_options, json, "json", "Print one JSON document"),
    END_OPTION,
};

static const struct option_def show_options[] = {
    FLAG_OPTION(struct dlq_options, json, "json", "Print one JSON document"),
    END_OPTION,
};

static const struct option_def replay_options[] = {
    FLAG_OPTION(struct dlq_options, json, "json", "Print one JSON document: an array, one member an id"),
    END_OPTION,
};

static const struct command dlq_list, dlq_show, dlq_replay;

static void list_path(const struct dlq_options *o, struct buf *path)
{
    char number[24];
    snprintf(number, sizeof number, "%" PRId64, o->limit);
    buf_puts(path, "/api/v1/admin/deadletters");
    client_query(path, "code", o->code);
    client_query(path, "stage", o->stage);
    client_query(path, "topic", o->topic);
    client_query(path, "tenantId", o->tenant);
    client_query(path, "limit", number);
}

static int run_list(struct cli *cli, int argc, char **argv)
{
    struct dlq_options o = {.limit = 50};
    int code;
    if (cli_parse(cli, &dlq_list, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    static const struct table_column columns[] = {
        {"ID"},    {"FAILED"}, {"TENANT", .shrink = true},  {"MEDIA", .shrink = true},
        {"STAGE"}, {"CODE"},   {"MESSAGE", .shrink = true}, {NULL}};
    _cleanup_table_ struct table t = {0};
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    struct error err;
    size_t i;
    json_t *item;
    list_path(&o, &path);
    if (path.failed) {
        error_set(&err, ERR_USAGE, "The filters are too long");
        return cli_misused(cli, &dlq_list, &err);
    }
    if (cli_get(cli, NULL, path.data, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    table_init(&t, columns);
    json_array_foreach(js_arr(answer, "items"), i, item)
        table_add(&t, js_str(item, "id", NULL), js_str(item, "failedAt", NULL), js_str(item, "tenantId", NULL),
                  js_str(item, "mediaId", NULL), js_str(item, "stage", NULL), js_str(item, "code", NULL),
                  js_str(item, "message", NULL));
    if (t.rows)
        table_print(&t);
    else
        puts("There are no dead letters.");
    return EXIT_DONE;
}

static int make_path(const char *id, const char *verb, struct buf *path, struct error *err)
{
    buf_puts(path, "/api/v1/admin/deadletters/");
    client_segment(path, id);
    buf_puts(path, verb);
    return path->failed ? error_set(err, ERR_USAGE, "The id is too long") : 0;
}

static int run_show(struct cli *cli, int argc, char **argv)
{
    struct dlq_options o = {0};
    int code;
    if (cli_parse(cli, &dlq_show, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_json_ json_t *letter = NULL;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    struct error err;
    if (make_path(argv[1], "", &path, &err) < 0 || cli_get(cli, NULL, path.data, &letter, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(letter);
    json_dumpf(letter, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    putchar('\n');
    return EXIT_DONE;
}

static int replay(struct client *client, const char *id, json_t *answers, bool json)
{
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    json_t *answer = NULL;
    struct error err;
    int rc = make_path(id, "/replay", &path, &err);
    if (rc == 0)
        rc = client_call(client, "POST", path.data, NULL, &answer, &err);
    if (rc < 0) {
        fprintf(stderr, "deeplens: %.80s: %s (%s)\n", id, err.message, error_code_name(err.code));
        answer = json_pack("{s:s*, s:{s:s, s:s*}}", "id", id, "error", "code", error_code_name(err.code), "message",
                           err.message);
    } else if (!json) {
        printf("%s goes to %s again, as %s\n", js_str(answer, "id", id), js_str(answer, "topic", "-"),
               js_str(answer, "eventId", "-"));
    }
    json_array_append_new(answers, answer);
    return rc;
}

static int run_replay(struct cli *cli, int argc, char **argv)
{
    struct dlq_options o = {0};
    int code;
    if (cli_parse(cli, &dlq_replay, &o, &argc, argv, 1, -1, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_json_ json_t *answers = json_array();
    struct error err;
    int failed = 0;
    if (cli_connect(cli, true, NULL, &client, &err) < 0)
        return cli_fail(cli, &err);
    for (int i = 1; i < argc; i++)
        failed += replay(client, argv[i], answers, o.json) < 0;
    if (o.json)
        cli_print_json(answers);
    return failed ? EXIT_FAILED : EXIT_DONE;
}

static const struct command dlq_list = {
    .name = "dlq list",
    .usage = "[OPTIONS]",
    .summary = "List the dead letters: what failed for good, and why",
    .examples = "deeplens dlq list --code IMAGE_CORRUPT --limit 10",
    .options = list_options,
    .run = run_list,
};

static const struct command dlq_show = {
    .name = "dlq show",
    .usage = "ID [OPTIONS]",
    .summary = "Show a dead letter: the event as it came, and its headers",
    .examples = "deeplens dlq show 0-17",
    .options = show_options,
    .run = run_show,
};

static const struct command dlq_replay = {
    .name = "dlq replay",
    .usage = "ID... [OPTIONS]",
    .summary = "Put dead letters back on the topic that they came from",
    .examples =
        "deeplens dlq replay 0-17 2-4\ndeeplens dlq list --json | jq -r '.items[].id' | xargs deeplens dlq replay",
    .options = replay_options,
    .run = run_replay,
};

static int run(struct cli *cli, int argc, char **argv)
{
    return cli_run_sub(cli, &command_dlq, argc, argv);
}

const struct command command_dlq = {
    .name = "dlq",
    .usage = "list | show ID | replay ID...",
    .summary = "Dead letters: what failed for good",
    .details = "Asks the server or, when none runs, opens the data directory.",
    .subs = (const struct command *const[]){&dlq_list, &dlq_show, &dlq_replay, NULL},
    .run = run,
};
