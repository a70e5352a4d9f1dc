// SPDX-License-Identifier: Apache-2.0
// deeplens groups list | describe
#include <inttypes.h>
#include <stdio.h>

#include "base/js.h"
#include "cli/cli.h"
#include "cli/table.h"
#include "cli/text.h"

struct groups_options {
    bool json;
};

static const struct option_def options[] = {
    FLAG_OPTION(struct groups_options, json, "json", "Print one JSON document"),
    END_OPTION,
};

static const struct command groups_list, groups_describe;

static int run_list(struct cli *cli, int argc, char **argv)
{
    struct groups_options o = {0};
    int code;
    if (cli_parse(cli, &groups_list, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    static const struct table_column columns[] = {
        {"GROUP", .shrink = true}, {"MEMBERS", .right = true}, {"LAG", .right = true}, {NULL}};
    _cleanup_table_ struct table t = {0};
    _cleanup_json_ json_t *answer = NULL;
    struct error err;
    size_t i;
    json_t *group;
    if (cli_get(cli, NULL, "/api/v1/admin/groups", &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    table_init(&t, columns);
    json_array_foreach(js_arr(answer, "groups"), i, group)
    {
        char members[TEXT_SHORT], lag[TEXT_SHORT];
        table_add(&t, js_str(group, "name", NULL), text_count((uint64_t)js_int(group, "members", 0), members),
                  text_count((uint64_t)js_int(group, "lag", 0), lag));
    }
    table_print(&t);
    return EXIT_DONE;
}

static void describe(const json_t *group)
{
    static const struct table_column columns[] = {{"TOPIC"},
                                                  {"PARTITION", .right = true},
                                                  {"COMMITTED", .right = true},
                                                  {"END", .right = true},
                                                  {"LAG", .right = true},
                                                  {"BEHIND", .right = true},
                                                  {"MEMBER", .shrink = true},
                                                  {NULL}};
    _cleanup_table_ struct table t = {0};
    size_t i;
    json_t *p;
    printf("%s: members %" PRId64 ", lag %" PRId64 "\n", js_str(group, "name", "-"), js_int(group, "members", 0),
           js_int(group, "lag", 0));
    table_init(&t, columns);
    json_array_foreach(js_arr(group, "partitions"), i, p)
    {
        char number[24], committed[24], end[24], lag[TEXT_SHORT], behind[TEXT_SHORT];
        bool has_committed = js_int(p, "committed", -1) >= 0;
        snprintf(number, sizeof number, "%" PRId64, js_int(p, "partition", 0));
        snprintf(committed, sizeof committed, "%" PRId64, js_int(p, "committed", 0));
        snprintf(end, sizeof end, "%" PRId64, js_int(p, "end", 0));
        table_add(&t, js_str(p, "topic", NULL), number, has_committed ? committed : NULL, end,
                  text_count((uint64_t)js_int(p, "lag", 0), lag),
                  text_duration((double)js_int(p, "lagMs", 0) / 1000, behind), js_str(p, "member", NULL));
    }
    table_print(&t);
}

static int run_describe(struct cli *cli, int argc, char **argv)
{
    struct groups_options o = {0};
    int code;
    if (cli_parse(cli, &groups_describe, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_json_ json_t *group = NULL;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    struct error err;
    buf_puts(&path, "/api/v1/admin/groups/");
    client_segment(&path, argv[1]);
    if (cli_get(cli, NULL, path.data, &group, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(group);
    describe(group);
    return EXIT_DONE;
}

static const struct command groups_list = {
    .name = "groups list",
    .usage = "[OPTIONS]",
    .summary = "List the consumer groups and how far they lag behind",
    .examples = "deeplens groups list",
    .options = options,
    .run = run_list,
};

static const struct command groups_describe = {
    .name = "groups describe",
    .usage = "GROUP [OPTIONS]",
    .summary = "Show a group's offsets and lag, by topic and partition",
    .examples = "deeplens groups list --json | jq -r '.groups[].name'\ndeeplens groups describe GROUP",
    .options = options,
    .run = run_describe,
};

static int run(struct cli *cli, int argc, char **argv)
{
    return cli_run_sub(cli, &command_groups, argc, argv);
}

const struct command command_groups = {
    .name = "groups",
    .usage = "list | describe GROUP",
    .summary = "Who consumes the events, and how far they have come",
    .details = "Asks the server or, when none runs, opens the data directory.",
    .subs = (const struct command *const[]){&groups_list, &groups_describe, NULL},
    .run = run,
};
