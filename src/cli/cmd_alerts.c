// SPDX-License-Identifier: Apache-2.0
// deeplens alerts list | rules | test | silence | unsilence
#include <stdio.h>
#include <string.h>

#include "base/js.h"
#include "cli/cli.h"
#include "cli/table.h"
#include "cli/when.h"

#define PATH "/api/v1/admin/alerts"

struct alerts_options {
    const char *subject, *duration, *comment;
    bool all, json;
};

#define JSON_OPTION FLAG_OPTION(struct alerts_options, json, "json", "Print JSON")

static const struct option_def json_options[] = {JSON_OPTION, END_OPTION};
static const struct option_def silence_options[] = {
    TEXT_OPTION(struct alerts_options, duration, "for", "TIME", "How long, such as 30m, 8h or 7d (1h)"),
    TEXT_OPTION(struct alerts_options, subject, "subject", "TEXT", "Only of this subject (all)"),
    TEXT_OPTION(struct alerts_options, comment, "comment", "TEXT", "Why, for others to read"),
    FLAG_OPTION(struct alerts_options, all, "all", "Every alert, instead of one by its name"),
    JSON_OPTION,
    END_OPTION,
};

static int run_list(struct cli *cli, int argc, char **argv);
static int run_rules(struct cli *cli, int argc, char **argv);
static int run_test(struct cli *cli, int argc, char **argv);
static int run_silence(struct cli *cli, int argc, char **argv);
static int run_unsilence(struct cli *cli, int argc, char **argv);

static const struct command alerts_list = {
    .name = "alerts list",
    .usage = "[OPTIONS]",
    .summary = "Show what somebody was told of or is to be, and the silences",
    .details = "The exit code is 1 when a condition holds and is not silenced.",
    .examples = "deeplens alerts list",
    .options = json_options,
    .run = run_list,
};

static const struct command alerts_rules = {
    .name = "alerts rules",
    .usage = "[OPTIONS]",
    .summary = "Show what alerts there are, and who is told",
    .examples = "deeplens alerts rules",
    .options = json_options,
    .run = run_rules,
};

static const struct command alerts_test = {
    .name = "alerts test",
    .usage = "[OPTIONS]",
    .summary = "Tell everybody who is told that nothing is wrong, and say who took it",
    .examples = "deeplens alerts test",
    .options = json_options,
    .run = run_test,
};

static const struct command alerts_silence = {
    .name = "alerts silence",
    .usage = "ALERT | --all [OPTIONS]",
    .summary = "Tell nobody of an alert for a while",
    .details = "What happens meanwhile is not told; a condition that outlasts the silence is told of at its end.",
    .examples = "deeplens alerts silence consumer.lag --for 8h --comment \"the big import\"\n"
                "deeplens alerts silence --all --for 30m",
    .options = silence_options,
    .run = run_silence,
};

static const struct command alerts_unsilence = {
    .name = "alerts unsilence",
    .usage = "ID [OPTIONS]",
    .summary = "End a silence",
    .examples = "deeplens alerts unsilence sil_019ab3c4-7c1e-7a3b-9f00-5d2f8a61c0de",
    .options = json_options,
    .run = run_unsilence,
};

// ---- Showing

// Whether a condition holds of which somebody should know.
static bool any_firing(const json_t *list)
{
    size_t i;
    json_t *one;
    json_array_foreach((json_t *)list, i, one)
    {
        if (strcmp(js_str(one, "status", ""), "firing") == 0 && !js_bool(one, "silenced", false))
            return true;
    }
    return false;
}

static void print_alerts(const json_t *list)
{
    static const struct table_column columns[] = {
        {"ALERT"}, {"STATUS"}, {"SUBJECT", .shrink = true}, {"SINCE"}, {"TOLD"}, {"MESSAGE", .shrink = true}, {NULL}};
    _cleanup_table_ struct table t = {0};
    size_t i;
    json_t *one;
    table_init(&t, columns);
    json_array_foreach((json_t *)list, i, one)
    {
        table_add(&t, js_str(one, "alert", NULL),
                  js_bool(one, "silenced", false) ? "silenced" : js_str(one, "status", NULL),
                  js_str(one, "subject", NULL), js_str(one, "since", NULL), js_str(one, "toldAt", NULL),
                  js_str(one, "message", NULL));
    }
    table_print(&t);
}

static void print_silences(const json_t *list)
{
    static const struct table_column columns[] = {
        {"SILENCE"}, {"ALERT"}, {"SUBJECT", .shrink = true}, {"UNTIL"}, {"COMMENT", .shrink = true}, {NULL}};
    _cleanup_table_ struct table t = {0};
    size_t i;
    json_t *one;
    if (json_array_size(list) == 0)
        return;
    table_init(&t, columns);
    json_array_foreach((json_t *)list, i, one)
    {
        table_add(&t, js_str(one, "id", NULL), js_str(one, "alert", "all"), js_str(one, "subject", "all"),
                  js_str(one, "until", NULL), js_str(one, "comment", NULL));
    }
    puts("");
    table_print(&t);
}

static int run_list(struct cli *cli, int argc, char **argv)
{
    struct alerts_options o = {0};
    int code;
    if (cli_parse(cli, &alerts_list, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    _cleanup_json_ json_t *answer = NULL;
    struct error err;
    if (cli_get(cli, NULL, PATH, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json) {
        cli_print_json(answer);
    } else {
        print_alerts(js_arr(answer, "alerts"));
        print_silences(js_arr(answer, "silences"));
    }
    return any_firing(js_arr(answer, "alerts")) ? EXIT_FAILED : EXIT_DONE;
}

static void print_rules(const json_t *answer)
{
    static const struct table_column columns[] = {{"ALERT"}, {"ON"}, {"WHEN", .shrink = true}, {NULL}};
    _cleanup_table_ struct table t = {0};
    size_t i;
    json_t *one;
    table_init(&t, columns);
    json_array_foreach(js_arr(answer, "rules"), i, one)
    {
        table_add(&t, js_str(one, "alert", NULL), js_bool(one, "enabled", false) ? "yes" : "no",
                  js_str(one, "text", NULL));
    }
    table_print(&t);
    printf("\nTold by: ");
    if (json_array_size(js_arr(answer, "channels")) == 0)
        printf("nobody; set alert.webhook, alert.smtp and alert.email_to, or alert.command");
    json_array_foreach(js_arr(answer, "channels"), i, one) printf("%s%s", i ? ", " : "", json_string_value(one));
    puts("");
}

static int run_rules(struct cli *cli, int argc, char **argv)
{
    struct alerts_options o = {0};
    int code;
    if (cli_parse(cli, &alerts_rules, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    _cleanup_json_ json_t *answer = NULL;
    struct error err;
    if (cli_get(cli, NULL, PATH, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    print_rules(answer);
    return EXIT_DONE;
}

// ---- Doing

static bool all_taken(const json_t *list)
{
    bool well = true;
    size_t i;
    json_t *one;
    json_array_foreach((json_t *)list, i, one) well &= !js_str(one, "error", NULL);
    return well;
}

static void print_results(const json_t *list)
{
    size_t i;
    json_t *one;
    json_array_foreach((json_t *)list, i, one)
    {
        printf("%s: %s\n", js_str(one, "channel", ""), js_str(one, "error", "taken"));
    }
}

static int run_test(struct cli *cli, int argc, char **argv)
{
    struct alerts_options o = {0};
    int code;
    if (cli_parse(cli, &alerts_test, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_json_ json_t *answer = NULL;
    struct error err;
    if (cli_connect(cli, true, NULL, &client, &err) < 0 ||
        client_call(client, "POST", PATH "/test", NULL, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        cli_print_json(answer);
    else
        print_results(js_arr(answer, "results"));
    return all_taken(js_arr(answer, "results")) ? EXIT_DONE : EXIT_FAILED;
}

static int run_silence(struct cli *cli, int argc, char **argv)
{
    struct alerts_options o = {.duration = "1h"};
    int code;
    if (cli_parse(cli, &alerts_silence, &o, &argc, argv, 0, 1, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_json_ json_t *answer = NULL, *body = json_object();
    struct error err = {0};
    int64_t duration_ms = 0;
    if (o.all == (argc > 1))
        error_set(&err, ERR_USAGE, "Name an alert (`deeplens alerts rules` lists them), or say --all");
    else if (when_duration(o.duration, &duration_ms) < 0)
        error_set(&err, ERR_USAGE, "--for takes a time such as 30m, 8h or 7d");
    if (err.code != ERR_NONE)
        return cli_misused(cli, &alerts_silence, &err);
    js_set_str(body, "alert", o.all ? NULL : argv[1]);
    js_set_str(body, "subject", o.subject);
    js_set_str(body, "comment", o.comment);
    json_object_set_new(body, "durationMs", json_integer(duration_ms));
    if (cli_connect(cli, true, NULL, &client, &err) < 0 ||
        client_call(client, "POST", PATH "/silences", body, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    printf("%s until %s\n", js_str(answer, "id", ""), js_str(answer, "until", ""));
    return EXIT_DONE;
}

static int run_unsilence(struct cli *cli, int argc, char **argv)
{
    struct alerts_options o = {0};
    int code;
    if (cli_parse(cli, &alerts_unsilence, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    struct error err;
    buf_puts(&path, PATH "/silences/");
    client_segment(&path, argv[1]);
    if (path.failed) {
        error_set(&err, ERR_USAGE, "The id is too long");
        return cli_fail(cli, &err);
    }
    if (cli_connect(cli, true, NULL, &client, &err) < 0 ||
        client_call(client, "DELETE", path.data, NULL, NULL, &err) < 0)
        return cli_fail(cli, &err);
    return EXIT_DONE;
}

static int run(struct cli *cli, int argc, char **argv)
{
    return cli_run_sub(cli, &command_alerts, argc, argv);
}

const struct command command_alerts = {
    .name = "alerts",
    .usage = "list | rules | test | silence ALERT | unsilence ID",
    .summary = "Who is told when something needs somebody",
    .details = "See docs/OPERATIONS.md.",
    .subs = (const struct command *const[]){&alerts_list, &alerts_rules, &alerts_test, &alerts_silence,
                                            &alerts_unsilence, NULL},
    .run = run,
};
