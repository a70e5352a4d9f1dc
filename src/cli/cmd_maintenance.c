// SPDX-License-Identifier: Apache-2.0
// deeplens maintenance list | set | run | runs | show | pause | resume | cancel
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "cli/cli.h"
#include "cli/table.h"
#include "cli/text.h"

enum { PAGE = 20, WAIT_MS = 200 };
#define MAINTENANCE "/api/v1/admin/maintenance"

struct maintenance_options {
    const char *schedule, *tenant, *task;
    int64_t rate, limit;
    bool configured, dry_run, apply, whole, wait, json;
};

#define JSON_ALONE FLAG_OPTION(struct maintenance_options, json, "json", "Print one JSON document")
#define RATE_OPTION(text) INT_OPTION(struct maintenance_options, rate, "rate", "N", 0, 100000, text)
#define DRY_OPTIONS(dry, wet)                                                                                          \
    FLAG_OPTION(struct maintenance_options, dry_run, "dry-run", dry),                                                  \
        FLAG_OPTION(struct maintenance_options, apply, "apply", wet)

static const struct option_def plain_options[] = {JSON_ALONE, END_OPTION};
static const struct option_def set_options[] = {
    TEXT_OPTION(struct maintenance_options, schedule, "schedule", "CRON",
                "Minute hour day month weekday, in UTC; \"off\": only on request"),
    RATE_OPTION("So many items a second; 0: no limit"),
    DRY_OPTIONS("Scheduled runs only say what they would do", "Scheduled runs do it"),
    FLAG_OPTION(struct maintenance_options, configured, "configured", "All of it as the configuration says"),
    JSON_ALONE,
    END_OPTION,
};
static const struct option_def run_options[] = {
    DRY_OPTIONS("Only say what it would do", "Do it"),
    TEXT_OPTION(struct maintenance_options, tenant, "tenant", "NAME", "Only this tenant's"),
    RATE_OPTION("So many items a second; 0: no limit"),
    FLAG_OPTION(struct maintenance_options, whole, "whole", "All of it, where a run does a share"),
    FLAG_OPTION(struct maintenance_options, wait, "wait", "Wait for its end"),
    JSON_ALONE,
    END_OPTION,
};
static const struct option_def runs_options[] = {
    TEXT_OPTION(struct maintenance_options, task, "task", "TASK", "Only of this task"),
    INT_OPTION(struct maintenance_options, limit, "limit", "N", 1, 1000, "At most so many (20)"),
    JSON_ALONE,
    END_OPTION,
};

static const struct command maintenance_list, maintenance_set, maintenance_run, maintenance_runs, maintenance_show,
    maintenance_pause, maintenance_resume, maintenance_cancel;

static int make_path(const char *kind, const char *name, const char *verb, struct buf *path, struct error *err)
{
    buf_puts(path, MAINTENANCE "/");
    buf_puts(path, kind);
    client_segment(path, name);
    buf_puts(path, verb);
    return path->failed ? error_set(err, ERR_USAGE, "The name is too long") : 0;
}

// --- Tasks

static void add_task(struct table *t, const json_t *task)
{
    char rate[32] = "no limit";
    const json_t *last = js_obj(task, "lastRun");
    if (js_int(task, "rate", 0))
        snprintf(rate, sizeof rate, "%" PRId64 "/s", js_int(task, "rate", 0));
    table_add(t, js_str(task, "task", NULL), js_str(task, "schedule", NULL), js_str(task, "nextAt", NULL), rate,
              js_bool(task, "dryRun", true) ? "yes" : "no", js_str(last, "state", NULL),
              js_str(last, "createdAt", NULL));
}

static int run_list(struct cli *cli, int argc, char **argv)
{
    static const struct table_column columns[] = {
        {"TASK"}, {"SCHEDULE", .shrink = true}, {"NEXT"}, {"RATE", .right = true}, {"DRY RUN"}, {"LAST RUN"}, {"BEGAN"},
        {NULL}};
    struct maintenance_options o = {0};
    int code;
    if (cli_parse(cli, &maintenance_list, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    _cleanup_table_ struct table t = {0};
    _cleanup_json_ json_t *answer = NULL;
    struct error err;
    size_t i;
    json_t *task;
    if (cli_get(cli, NULL, MAINTENANCE "/tasks", &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    table_init(&t, columns);
    json_array_foreach(js_arr(answer, "tasks"), i, task) add_task(&t, task);
    table_print(&t);
    return EXIT_DONE;
}

static json_t *change_of(const struct maintenance_options *o)
{
    json_t *body = json_object();
    if (o->configured)
        json_object_update_new(body, json_pack("{s:n,s:n,s:n}", "schedule", "rate", "dryRun"));
    js_set_str(body, "schedule", o->schedule);
    if (o->rate >= 0)
        json_object_set_new(body, "rate", json_integer(o->rate));
    if (o->dry_run || o->apply)
        json_object_set_new(body, "dryRun", json_boolean(o->dry_run));
    return body;
}

static int run_set(struct cli *cli, int argc, char **argv)
{
    struct maintenance_options o = {.rate = -1};
    int code;
    if (cli_parse(cli, &maintenance_set, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_json_ json_t *body = change_of(&o);
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    struct error err;
    if ((o.dry_run && o.apply) || !json_object_size(body)) {
        error_set(&err, ERR_USAGE,
                  "What is to be set? There are --schedule, --rate, --dry-run or --apply, --configured");
        return cli_misused(cli, &maintenance_set, &err);
    }
    if (make_path("tasks/", argv[1], "", &path, &err) < 0 || cli_connect(cli, false, NULL, &client, &err) < 0 ||
        client_call(client, "PATCH", path.data, body, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    printf("%s: %s, next %s\n", argv[1], js_str(answer, "schedule", "off"), js_str(answer, "nextAt", "never"));
    return EXIT_DONE;
}

// --- Runs

static void print_run(const json_t *run)
{
    const char *name;
    json_t *value;
    size_t i;
    json_t *finding;
    printf("%s  %s%s  %s  %s", js_str(run, "runId", "-"), js_str(run, "task", "-"),
           js_bool(run, "dryRun", false) ? " (dry run)" : "", js_str(run, "state", "-"), js_str(run, "createdAt", "-"));
    if (js_str(run, "endedAt", NULL))
        printf(" to %s", js_str(run, "endedAt", "-"));
    putchar('\n');
    json_object_foreach(js_obj(run, "counts"), name, value)
        printf("  %s: %" PRId64 "\n", name, (int64_t)json_integer_value(value));
    if (js_obj(run, "error"))
        printf("  failed: %s\n", js_str(js_obj(run, "error"), "message", "-"));
    json_array_foreach(js_arr(run, "findings"), i, finding)
    {
        _cleanup_free_ char *text = js_dumps(finding);
        printf("  %s\n", text ? text : "-");
    }
    int64_t more = js_int(run, "findingCount", 0) - (int64_t)json_array_size(js_arr(run, "findings"));
    if (js_arr(run, "findings") && more > 0)
        printf("  and %" PRId64 " more\n", more);
}

static int finish(const json_t *run, bool json)
{
    if (json)
        cli_print_json(run);
    else
        print_run(run);
    return strcmp(js_str(run, "state", ""), "failed") == 0 ? EXIT_FAILED : EXIT_DONE;
}

static bool has_ended(const json_t *run)
{
    return js_str(run, "endedAt", NULL) != NULL;
}

static int wait_for(struct client *client, json_t **run, struct error *err)
{
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    if (make_path("runs/", js_str(*run, "runId", ""), "", &path, err) < 0)
        return -1;
    while (!has_ended(*run)) {
        json_t *now = NULL;
        clock_sleep_ms(WAIT_MS);
        if (client_get(client, path.data, &now, err) < 0)
            return -1;
        json_decref(*run);
        *run = now;
    }
    return 0;
}

static json_t *wish_of(const struct maintenance_options *o)
{
    json_t *body = json_pack("{s:b}", "whole", o->whole);
    js_set_str(body, "tenantId", o->tenant);
    if (o->rate >= 0)
        json_object_set_new(body, "rate", json_integer(o->rate));
    if (o->dry_run || o->apply)
        json_object_set_new(body, "dryRun", json_boolean(o->dry_run));
    return body;
}

static int run_run(struct cli *cli, int argc, char **argv)
{
    struct maintenance_options o = {.rate = -1};
    int code;
    if (cli_parse(cli, &maintenance_run, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_json_ json_t *body = wish_of(&o);
    _cleanup_json_ json_t *run = NULL;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    struct error err;
    if (o.dry_run && o.apply) {
        error_set(&err, ERR_USAGE, "--dry-run or --apply, not both");
        return cli_misused(cli, &maintenance_run, &err);
    }
    if (make_path("tasks/", argv[1], "/run", &path, &err) < 0 || cli_connect(cli, false, NULL, &client, &err) < 0 ||
        client_call(client, "POST", path.data, body, &run, &err) < 0 || (o.wait && wait_for(client, &run, &err) < 0))
        return cli_fail(cli, &err);
    return finish(run, o.json);
}

static int run_runs(struct cli *cli, int argc, char **argv)
{
    static const struct table_column columns[] = {{"RUN"},
                                                  {"TASK"},
                                                  {"STATE"},
                                                  {"BEGAN"},
                                                  {"ENDED"},
                                                  {"DRY RUN"},
                                                  {"FOUND", .right = true},
                                                  {"COUNTS", .shrink = true},
                                                  {NULL}};
    struct maintenance_options o = {.limit = PAGE};
    int code;
    if (cli_parse(cli, &maintenance_runs, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    _cleanup_table_ struct table t = {0};
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    struct error err;
    char number[24], found[TEXT_SHORT];
    size_t i;
    json_t *run;
    snprintf(number, sizeof number, "%" PRId64, o.limit);
    buf_puts(&path, MAINTENANCE "/runs");
    client_query(&path, "limit", number);
    client_query(&path, "task", o.task);
    if (cli_get(cli, NULL, path.data, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    table_init(&t, columns);
    json_array_foreach(js_arr(answer, "runs"), i, run)
    {
        _cleanup_free_ char *counts = js_dumps(js_obj(run, "counts"));
        table_add(&t, js_str(run, "runId", NULL), js_str(run, "task", NULL), js_str(run, "state", NULL),
                  js_str(run, "createdAt", NULL), js_str(run, "endedAt", NULL),
                  js_bool(run, "dryRun", false) ? "yes" : "no",
                  text_count((uint64_t)js_int(run, "findingCount", 0), found), counts);
    }
    if (t.rows)
        table_print(&t);
    else
        puts("There was no run yet.");
    return EXIT_DONE;
}

static int run_show(struct cli *cli, int argc, char **argv)
{
    struct maintenance_options o = {0};
    int code;
    if (cli_parse(cli, &maintenance_show, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_json_ json_t *run = NULL;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    struct error err;
    if (make_path("runs/", argv[1], "", &path, &err) < 0 || cli_get(cli, NULL, path.data, &run, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(run);
    print_run(run);
    return EXIT_DONE;
}

static int steer(struct cli *cli, const struct command *command, int argc, char **argv, const char *verb)
{
    struct maintenance_options o = {0};
    int code;
    if (cli_parse(cli, command, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_json_ json_t *run = NULL;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    struct error err;
    if (make_path("runs/", argv[1], verb, &path, &err) < 0 || cli_connect(cli, false, NULL, &client, &err) < 0 ||
        client_call(client, "POST", path.data, NULL, &run, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(run);
    printf("%s is %s.\n", argv[1], js_str(run, "state", "-"));
    return EXIT_DONE;
}

static int run_pause(struct cli *cli, int argc, char **argv)
{
    return steer(cli, &maintenance_pause, argc, argv, "/pause");
}

static int run_resume(struct cli *cli, int argc, char **argv)
{
    return steer(cli, &maintenance_resume, argc, argv, "/resume");
}

static int run_cancel(struct cli *cli, int argc, char **argv)
{
    return steer(cli, &maintenance_cancel, argc, argv, "/cancel");
}

// --- The commands

static const struct command maintenance_list = {
    .name = "maintenance list",
    .usage = "[OPTIONS]",
    .summary = "Show the tasks, their schedules, and how their last runs ended",
    .examples = "deeplens maintenance list",
    .options = plain_options,
    .run = run_list,
};

static const struct command maintenance_set = {
    .name = "maintenance set",
    .usage = "TASK [OPTIONS]",
    .summary = "Change the schedule of a task",
    .details = "Kept in the records, instead of what the configuration says.",
    .examples =
        "deeplens maintenance set scrub --schedule \"0 4 * * SUN\"\ndeeplens maintenance set scrub --configured",
    .options = set_options,
    .run = run_set,
};

static const struct command maintenance_run = {
    .name = "maintenance run",
    .usage = "TASK [OPTIONS]",
    .summary = "Begin a run of a task now",
    .details = "One run of a task at a time. Without --dry-run or --apply it is as its scheduled runs are.",
    .examples = "deeplens maintenance run scrub --whole --wait",
    .options = run_options,
    .run = run_run,
};

static const struct command maintenance_runs = {
    .name = "maintenance runs",
    .usage = "[OPTIONS]",
    .summary = "List runs, the latest first",
    .examples = "deeplens maintenance runs --task scrub",
    .options = runs_options,
    .run = run_runs,
};

static const struct command maintenance_show = {
    .name = "maintenance show",
    .usage = "RUN [OPTIONS]",
    .summary = "Show a run: when, what it did or would do, what it found",
    .examples = "deeplens maintenance show run_0193f1c2-7a3e-7c10-b4a1-5a0c1d2e3f40",
    .options = plain_options,
    .run = run_show,
};

static const struct command maintenance_pause = {
    .name = "maintenance pause",
    .usage = "RUN [OPTIONS]",
    .summary = "Let a run wait where it is",
    .examples = "deeplens maintenance pause run_0193f1c2-7a3e-7c10-b4a1-5a0c1d2e3f40",
    .options = plain_options,
    .run = run_pause,
};

static const struct command maintenance_resume = {
    .name = "maintenance resume",
    .usage = "RUN [OPTIONS]",
    .summary = "Let a run go on that was paused",
    .examples = "deeplens maintenance resume run_0193f1c2-7a3e-7c10-b4a1-5a0c1d2e3f40",
    .options = plain_options,
    .run = run_resume,
};

static const struct command maintenance_cancel = {
    .name = "maintenance cancel",
    .usage = "RUN [OPTIONS]",
    .summary = "End a run; what it did stays done",
    .examples = "deeplens maintenance cancel run_0193f1c2-7a3e-7c10-b4a1-5a0c1d2e3f40",
    .options = plain_options,
    .run = run_cancel,
};

static int run(struct cli *cli, int argc, char **argv)
{
    return cli_run_sub(cli, &command_maintenance, argc, argv);
}

const struct command command_maintenance = {
    .name = "maintenance",
    .usage = "list | set TASK | run TASK | runs | show RUN | pause RUN | resume RUN | cancel RUN",
    .summary = "What is done by schedules so that the house stays clean",
    .details = "See docs/MAINTENANCE.md.",
    .subs = (const struct command *const[]){&maintenance_list, &maintenance_set, &maintenance_run, &maintenance_runs,
                                            &maintenance_show, &maintenance_pause, &maintenance_resume,
                                            &maintenance_cancel, NULL},
    .run = run,
};
