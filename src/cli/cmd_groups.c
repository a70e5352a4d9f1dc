// SPDX-License-Identifier: Apache-2.0
// deeplens groups list | describe | reset | delete
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/js.h"
#include "cli/cli.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/when.h"

struct groups_options {
    const char *topic, *time, *offset, *shift;
    int64_t partition;
    bool earliest, latest, yes, json;
};

#define JSON_OPTION FLAG_OPTION(struct groups_options, json, "json", "Print one JSON document")

static const struct option_def options[] = {JSON_OPTION, END_OPTION};

static const struct option_def reset_options[] = {
    FLAG_OPTION(struct groups_options, earliest, "to-earliest", "To the oldest record"),
    FLAG_OPTION(struct groups_options, latest, "to-latest", "Behind the last record: everything there is passed over"),
    TEXT_OPTION(struct groups_options, time, "to-datetime", "TIME",
                "To the first record at or after this time: 2026-11-22T10:30:00Z, or 2h ago as 2h"),
    TEXT_OPTION(struct groups_options, offset, "to-offset", "N", "To this offset"),
    TEXT_OPTION(struct groups_options, shift, "shift-by", "N", "By so many records; back when it is negative"),
    TEXT_OPTION(struct groups_options, topic, "topic", "TOPIC", "Only on this topic (all that the group has read)"),
    INT_OPTION(struct groups_options, partition, "partition", "N", 0, 1023, "Only this partition"),
    FLAG_OPTION(struct groups_options, yes, "yes", "Do it; without this it is only shown"),
    JSON_OPTION,
    END_OPTION,
};

static const struct option_def delete_options[] = {
    FLAG_OPTION(struct groups_options, yes, "yes", "Do not ask"),
    JSON_OPTION,
    END_OPTION,
};

static const struct command groups_list, groups_describe, groups_reset, groups_delete;

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

// --- Reset

static int whole_number(const char *option, const char *text, int64_t *out, struct error *err)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end)
        return error_set(err, ERR_USAGE, "--%s takes a whole number, not \"%.80s\"", option, text);
    *out = value;
    return 0;
}

static int reset_body(const struct groups_options *o, json_t **out, struct error *err)
{
    char time[CLOCK_TEXT];
    int64_t number = 0;
    if (o->earliest + o->latest + (o->time != NULL) + (o->offset != NULL) + (o->shift != NULL) != 1)
        return error_set(err, ERR_USAGE,
                         "Say where to: one of --to-earliest, --to-latest, --to-datetime, --to-offset, --shift-by");
    if ((o->time && when_time("to-datetime", o->time, clock_now_ms(), &number, err) < 0) ||
        (o->offset && whole_number("to-offset", o->offset, &number, err) < 0) ||
        (o->shift && whole_number("shift-by", o->shift, &number, err) < 0))
        return -1;
    const char *to = o->earliest ? "earliest"
                     : o->latest ? "latest"
                     : o->time   ? "time"
                     : o->offset ? "offset"
                                 : "shift";
    json_t *body = json_pack("{s:s,s:s*,s:b}", "to", to, "topic", o->topic, "dryRun", !o->yes);
    if (o->time)
        json_object_set_new(body, "value", json_string(clock_rfc3339(number, time)));
    else if (o->offset || o->shift)
        json_object_set_new(body, "value", json_integer(number));
    if (o->partition >= 0)
        json_object_set_new(body, "partition", json_integer(o->partition));
    *out = body;
    return 0;
}

static void print_reset(const json_t *answer)
{
    static const struct table_column columns[] = {{"TOPIC"},
                                                  {"PARTITION", .right = true},
                                                  {"FROM", .right = true},
                                                  {"TO", .right = true},
                                                  {"END", .right = true},
                                                  {"TO READ", .right = true},
                                                  {NULL}};
    _cleanup_table_ struct table t = {0};
    size_t i;
    json_t *p;
    table_init(&t, columns);
    json_array_foreach(js_arr(answer, "partitions"), i, p)
    {
        char number[24], from[24], to[24], end[24], lag[TEXT_SHORT];
        snprintf(number, sizeof number, "%" PRId64, js_int(p, "partition", 0));
        snprintf(from, sizeof from, "%" PRId64, js_int(p, "from", 0));
        snprintf(to, sizeof to, "%" PRId64, js_int(p, "to", 0));
        snprintf(end, sizeof end, "%" PRId64, js_int(p, "end", 0));
        table_add(&t, js_str(p, "topic", NULL), number, js_int(p, "from", -1) < 0 ? NULL : from, to, end,
                  text_count((uint64_t)js_int(p, "lag", 0), lag));
    }
    table_print(&t);
}

static void group_path(const char *group, const char *verb, struct buf *path)
{
    buf_puts(path, "/api/v1/admin/groups/");
    client_segment(path, group);
    buf_puts(path, verb);
}

static int run_reset(struct cli *cli, int argc, char **argv)
{
    struct groups_options o = {.partition = -1};
    int code;
    if (cli_parse(cli, &groups_reset, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_json_ json_t *body = NULL, *answer = NULL;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    struct error err;
    if (reset_body(&o, &body, &err) < 0)
        return cli_misused(cli, &groups_reset, &err);
    group_path(argv[1], "/reset", &path);
    if (cli_connect(cli, true, NULL, &client, &err) < 0 ||
        client_call(client, "POST", path.data, body, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    print_reset(answer);
    if (!o.yes)
        fprintf(stderr, "Nothing was changed: this is what --yes does%s.\n",
                js_int(answer, "members", 0) ? ", once the group has no members" : "");
    return EXIT_DONE;
}

static int run_delete(struct cli *cli, int argc, char **argv)
{
    struct groups_options o = {0};
    int code;
    if (cli_parse(cli, &groups_delete, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    struct error err;
    char question[320];
    snprintf(question, sizeof question, "Forget the group %.200s and its offsets, for good?", argv[1]);
    group_path(argv[1], "", &path);
    if (cli_connect(cli, true, NULL, &client, &err) < 0 || cli_confirm(o.yes, question, &err) < 0 ||
        client_call(client, "DELETE", path.data, NULL, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    printf("%s is forgotten.\n", argv[1]);
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

static const struct command groups_reset = {
    .name = "groups reset",
    .usage = "GROUP --to-… [OPTIONS]",
    .summary = "Put a group's offsets elsewhere",
    .details =
        "Shows what it would do; --yes does it. Refused while the group has members: on the embedded log the server "
        "must be stopped for a group of the pipeline. What is read again is not done again, as the inbox knows it; "
        "what is passed over is not done at all.",
    .examples = "deeplens groups reset my-readers --to-datetime 2h\n"
                "deeplens groups reset my-readers --topic deeplens.processing.completed --shift-by -100 --yes",
    .options = reset_options,
    .run = run_reset,
};

static const struct command groups_delete = {
    .name = "groups delete",
    .usage = "GROUP [OPTIONS]",
    .summary = "Forget a group and its offsets",
    .details = "Asks first; without a terminal it takes --yes. Refused while the group has members.",
    .examples = "deeplens groups delete my-readers",
    .options = delete_options,
    .run = run_delete,
};

static int run(struct cli *cli, int argc, char **argv)
{
    cli->log_alone = true;
    return cli_run_sub(cli, &command_groups, argc, argv);
}

const struct command command_groups = {
    .name = "groups",
    .usage = "list | describe GROUP | reset GROUP | delete GROUP",
    .summary = "Who consumes the events, and how far they have come",
    .details = "Asks the server or, when none runs, opens the data directory.",
    .subs = (const struct command *const[]){&groups_list, &groups_describe, &groups_reset, &groups_delete, NULL},
    .run = run,
};
