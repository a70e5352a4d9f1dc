// SPDX-License-Identifier: Apache-2.0
// deeplens workflows list | add | remove | test
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "cli/cli.h"
#include "cli/table.h"

#define PATH "/api/v1/workflows"
enum { RULE_MAX = 1 << 20, LOOKED_AT_MAX = 1000 };

struct workflows_options {
    const char *tenant, *message, *from, *to;
    int64_t limit;
    bool json;
};

#define SHARED_OPTIONS                                                                                                 \
    TEXT_OPTION(struct workflows_options, tenant, "tenant", "NAME", "Whose it is"),                                    \
        FLAG_OPTION(struct workflows_options, json, "json", "Print JSON")

static const struct option_def shared_options[] = {SHARED_OPTIONS, END_OPTION};
static const struct option_def test_options[] = {
    TEXT_OPTION(struct workflows_options, message, "message", "ID", "On this message alone"),
    TEXT_OPTION(struct workflows_options, from, "from", "TIME", "On messages sent at or after, such as 2026-11-22"),
    TEXT_OPTION(struct workflows_options, to, "to", "TIME", "On messages sent before"),
    INT_OPTION(struct workflows_options, limit, "limit", "N", 1, LOOKED_AT_MAX,
               "On at most so many, the latest first (100)"),
    SHARED_OPTIONS,
    END_OPTION,
};

static int run_list(struct cli *cli, int argc, char **argv);
static int run_add(struct cli *cli, int argc, char **argv);
static int run_remove(struct cli *cli, int argc, char **argv);
static int run_test(struct cli *cli, int argc, char **argv);

static const struct command workflows_list = {
    .name = "workflows list",
    .usage = "[OPTIONS]",
    .summary = "List the rules for messages, in the order in which they are looked at",
    .examples = "deeplens workflows list --tenant acme",
    .options = shared_options,
    .run = run_list,
};

static const struct command workflows_add = {
    .name = "workflows add",
    .usage = "FILE [OPTIONS]",
    .summary = "Add a rule, a JSON file (-: standard input)",
    .details = "It says `when` a message matches and what to `do` then: docs/WHATSAPP.md.",
    .examples = "deeplens workflows add shop.json\n"
                "echo '{\"when\":{\"group\":true},\"do\":[{\"ingest\":false}]}' | deeplens workflows add -",
    .options = shared_options,
    .run = run_add,
};

static const struct command workflows_remove = {
    .name = "workflows remove",
    .usage = "ID [OPTIONS]",
    .summary = "Remove a rule",
    .examples = "deeplens workflows remove wfl_019ab3c4-7c1e-7a3b-9f00-5d2f8a61c0de",
    .options = shared_options,
    .run = run_remove,
};

static const struct command workflows_test = {
    .name = "workflows test",
    .usage = "[FILE] [OPTIONS]",
    .summary = "Say what the rules, or that of a file, would do with past messages; does nothing",
    .examples = "deeplens workflows test\n"
                "deeplens workflows test shop.json --from 2026-11-22",
    .options = test_options,
    .run = run_test,
};

// ---- Listed

// A member's value as it stands in the rule.
static const char *said(const json_t *rule, const char *name, char **out)
{
    *out = js_dumps(json_object_get(rule, name));
    return *out;
}

static void print_rules(const json_t *list)
{
    static const struct table_column columns[] = {
        {"ID"}, {"NAME", .shrink = true}, {"WHEN", .shrink = true}, {"DO", .shrink = true}, {NULL}};
    _cleanup_table_ struct table t = {0};
    size_t i;
    json_t *rule;
    table_init(&t, columns);
    json_array_foreach((json_t *)list, i, rule)
    {
        _cleanup_free_ char *when = NULL, *act = NULL;
        table_add(&t, js_str(rule, "id", NULL), js_str(rule, "name", NULL), said(rule, "when", &when),
                  said(rule, "do", &act));
    }
    table_print(&t);
}

static int run_list(struct cli *cli, int argc, char **argv)
{
    struct workflows_options o = {0};
    int code;
    if (cli_parse(cli, &workflows_list, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    _cleanup_json_ json_t *answer = NULL;
    struct error err;
    if (cli_get(cli, o.tenant, PATH, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    print_rules(js_arr(answer, "workflows"));
    return EXIT_DONE;
}

// ---- Added and removed

static int read_rule(const char *name, json_t **out, struct error *err)
{
    char piece[4096];
    size_t len;
    _cleanup_buf_ struct buf text = BUF_INIT(RULE_MAX);
    FILE *file = strcmp(name, "-") == 0 ? stdin : fopen(name, "rbe");
    if (!file)
        return error_set(err, ERR_USAGE, "%.200s cannot be opened", name);
    while ((len = fread(piece, 1, sizeof piece, file)) > 0)
        buf_append(&text, piece, len);
    bool broken = ferror(file);
    if (file != stdin)
        fclose(file);
    if (broken || text.failed)
        return error_set(err, ERR_USAGE, "%.200s cannot be read, or is larger than a workflow may be", name);
    *out = js_parse(text.data ? text.data : "", text.len, err);
    return *out ? 0 : error_prefix(err, "%.200s", name);
}

static int run_add(struct cli *cli, int argc, char **argv)
{
    struct workflows_options o = {0};
    int code;
    if (cli_parse(cli, &workflows_add, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_json_ json_t *answer = NULL, *rule = NULL;
    struct error err;
    if (read_rule(argv[1], &rule, &err) < 0 || cli_connect(cli, true, o.tenant, &client, &err) < 0 ||
        client_call(client, "POST", PATH, rule, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    puts(js_str(answer, "id", ""));
    return EXIT_DONE;
}

static int run_remove(struct cli *cli, int argc, char **argv)
{
    struct workflows_options o = {0};
    int code;
    if (cli_parse(cli, &workflows_remove, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    struct error err;
    buf_puts(&path, PATH "/");
    client_segment(&path, argv[1]);
    if (path.failed) {
        error_set(&err, ERR_USAGE, "The id is too long");
        return cli_fail(cli, &err);
    }
    if (cli_connect(cli, true, o.tenant, &client, &err) < 0 ||
        client_call(client, "DELETE", path.data, NULL, NULL, &err) < 0)
        return cli_fail(cli, &err);
    return EXIT_DONE;
}

// ---- Tried

static void print_matched(const json_t *answer)
{
    static const struct table_column columns[] = {
        {"MESSAGE"}, {"WORKFLOW"}, {"NAME", .shrink = true}, {"DO", .shrink = true}, {NULL}};
    _cleanup_table_ struct table t = {0};
    size_t i;
    json_t *one;
    table_init(&t, columns);
    json_array_foreach(js_arr(answer, "matched"), i, one)
    {
        _cleanup_free_ char *act = NULL;
        table_add(&t, js_str(one, "messageId", NULL), js_str(one, "workflowId", NULL), js_str(one, "name", NULL),
                  said(one, "do", &act));
    }
    table_print(&t);
    printf("%" PRId64 " messages were looked at.\n", js_int(answer, "checked", 0));
}

static int run_test(struct cli *cli, int argc, char **argv)
{
    struct workflows_options o = {0};
    int code;
    if (cli_parse(cli, &workflows_test, &o, &argc, argv, 0, 1, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_json_ json_t *answer = NULL, *body = json_object();
    json_t *rule = NULL;
    struct error err;
    if (argc > 1 && read_rule(argv[1], &rule, &err) < 0)
        return cli_fail(cli, &err);
    if (rule)
        json_object_set_new(body, "workflow", rule);
    js_set_str(body, "messageId", o.message);
    js_set_str(body, "from", o.from);
    js_set_str(body, "to", o.to);
    if (o.limit)
        json_object_set_new(body, "limit", json_integer(o.limit));
    if (cli_connect(cli, true, o.tenant, &client, &err) < 0 ||
        client_call(client, "POST", PATH "/test", body, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    print_matched(answer);
    return EXIT_DONE;
}

static int run(struct cli *cli, int argc, char **argv)
{
    return cli_run_sub(cli, &command_workflows, argc, argv);
}

const struct command command_workflows = {
    .name = "workflows",
    .usage = "list | add FILE | remove ID | test [FILE]",
    .summary = "Rules for messages of chats: when one matches, do something",
    .details = "See docs/WHATSAPP.md.",
    .subs = (const struct command *const[]){&workflows_list, &workflows_add, &workflows_remove, &workflows_test, NULL},
    .run = run,
};
