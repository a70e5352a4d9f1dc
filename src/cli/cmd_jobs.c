// SPDX-License-Identifier: Apache-2.0
// deeplens jobs list | set | pause | resume | failed | retry
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/js.h"
#include "cli/cli.h"
#include "cli/table.h"
#include "cli/text.h"

enum { PAGE = 100 };
#define JOBS "/api/v1/admin/jobs"

struct jobs_options {
    int64_t concurrency, limit;
    bool all, unlimited, json;
};

#define JSON_ALONE FLAG_OPTION(struct jobs_options, json, "json", "Print one JSON document")

static const struct option_def plain_options[] = {JSON_ALONE, END_OPTION};
static const struct option_def set_options[] = {
    INT_OPTION(struct jobs_options, concurrency, "concurrency", "N", 1, 4096, "So many events at once"),
    FLAG_OPTION(struct jobs_options, unlimited, "unlimited", "As many as the workers can, as it is at the start"),
    JSON_ALONE,
    END_OPTION,
};
static const struct option_def failed_options[] = {
    INT_OPTION(struct jobs_options, limit, "limit", "N", 1, 1000, "At most so many (100)"),
    JSON_ALONE,
    END_OPTION,
};
static const struct option_def retry_options[] = {
    FLAG_OPTION(struct jobs_options, all, "all", "All that failed there"),
    JSON_ALONE,
    END_OPTION,
};

static const struct command jobs_list, jobs_set, jobs_pause, jobs_resume, jobs_failed, jobs_retry;

static int make_path(const char *step, const char *verb, struct buf *path, struct error *err)
{
    buf_puts(path, JOBS "/");
    client_segment(path, step);
    buf_puts(path, verb);
    return path->failed ? error_set(err, ERR_USAGE, "The name of the step is too long") : 0;
}

// --- List

static void add_row(struct table *t, const json_t *job)
{
    char waiting[TEXT_SHORT], oldest[TEXT_SHORT], failed[TEXT_SHORT], rate[32] = "-", at_work[48];
    const json_t *per_second = json_object_get(job, "perSecond");
    if (json_is_number(per_second))
        snprintf(rate, sizeof rate, "%.1f/s", json_number_value(per_second));
    if (json_is_null(json_object_get(job, "concurrency")))
        snprintf(at_work, sizeof at_work, "%" PRId64, js_int(job, "atWork", 0));
    else
        snprintf(at_work, sizeof at_work, "%" PRId64 " of %" PRId64, js_int(job, "atWork", 0),
                 js_int(job, "concurrency", 0));
    const char *state = !js_bool(job, "here", false)    ? "elsewhere"
                        : js_bool(job, "paused", false) ? "paused"
                                                        : "running";
    table_add(t, js_str(job, "step", NULL), state, text_count((uint64_t)js_int(job, "waiting", 0), waiting),
              text_duration((double)js_int(job, "oldestMs", 0) / 1000, oldest), rate, at_work,
              text_count((uint64_t)js_int(job, "failed", 0), failed), js_str(job, "reason", NULL));
}

static int run_list(struct cli *cli, int argc, char **argv)
{
    static const struct table_column columns[] = {{"STEP"},
                                                  {"STATE"},
                                                  {"WAITING", .right = true},
                                                  {"OLDEST", .right = true},
                                                  {"RATE", .right = true},
                                                  {"AT WORK", .right = true},
                                                  {"FAILED", .right = true},
                                                  {"REASON", .shrink = true},
                                                  {NULL}};
    struct jobs_options o = {0};
    int code;
    if (cli_parse(cli, &jobs_list, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    _cleanup_table_ struct table t = {0};
    _cleanup_json_ json_t *answer = NULL;
    struct error err;
    size_t i;
    json_t *job;
    if (cli_get(cli, NULL, JOBS, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    table_init(&t, columns);
    json_array_foreach(js_arr(answer, "jobs"), i, job) add_row(&t, job);
    table_print(&t);
    printf("\nRetries that wait for their time: %" PRId64 ".%s\n", js_int(answer, "retriesWaiting", 0),
           js_bool(answer, "failedComplete", true) ? "" : " More have failed than were counted.");
    return EXIT_DONE;
}

// --- Changing

static int alter(struct cli *cli, const char *step, json_t *change, bool json) // takes the change
{
    _cleanup_json_ json_t *body = change;
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    struct error err;
    if (make_path(step, "", &path, &err) < 0 || cli_connect(cli, false, NULL, &client, &err) < 0 ||
        client_call(client, "PATCH", path.data, body, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (json)
        return cli_print_json(answer);
    if (js_bool(answer, "paused", false))
        printf("%s begins nothing until it is resumed.\n", step);
    else if (json_is_null(json_object_get(answer, "concurrency")))
        printf("%s works on as many events as the workers can.\n", step);
    else
        printf("%s works on at most %" PRId64 " events at once.\n", step, js_int(answer, "concurrency", 0));
    return EXIT_DONE;
}

static int run_set(struct cli *cli, int argc, char **argv)
{
    struct jobs_options o = {0};
    int code;
    if (cli_parse(cli, &jobs_set, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    struct error err;
    if (o.unlimited == (o.concurrency > 0)) {
        error_set(&err, ERR_USAGE, "What is to be set? There are --concurrency and --unlimited");
        return cli_misused(cli, &jobs_set, &err);
    }
    json_t *concurrency = o.unlimited ? json_null() : json_integer(o.concurrency);
    return alter(cli, argv[1], json_pack("{s:o}", "concurrency", concurrency), o.json);
}

static int run_pause(struct cli *cli, int argc, char **argv)
{
    struct jobs_options o = {0};
    int code;
    if (cli_parse(cli, &jobs_pause, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    return alter(cli, argv[1], json_pack("{s:b}", "paused", 1), o.json);
}

static int run_resume(struct cli *cli, int argc, char **argv)
{
    struct jobs_options o = {0};
    int code;
    if (cli_parse(cli, &jobs_resume, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    return alter(cli, argv[1], json_pack("{s:b}", "paused", 0), o.json);
}

// --- What failed

static int run_failed(struct cli *cli, int argc, char **argv)
{
    static const struct table_column columns[] = {{"ID"},
                                                  {"FAILED"},
                                                  {"TENANT", .shrink = true},
                                                  {"MEDIA", .shrink = true},
                                                  {"CODE"},
                                                  {"MESSAGE", .shrink = true},
                                                  {NULL}};
    struct jobs_options o = {.limit = PAGE};
    int code;
    if (cli_parse(cli, &jobs_failed, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_table_ struct table t = {0};
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    struct error err;
    char number[24];
    size_t i;
    json_t *item;
    snprintf(number, sizeof number, "%" PRId64, o.limit);
    if (make_path(argv[1], "/failed", &path, &err) < 0)
        return cli_fail(cli, &err);
    client_query(&path, "limit", number);
    if (cli_get(cli, NULL, path.data, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    table_init(&t, columns);
    json_array_foreach(js_arr(answer, "items"), i, item)
        table_add(&t, js_str(item, "id", NULL), js_str(item, "failedAt", NULL), js_str(item, "tenantId", NULL),
                  js_str(item, "mediaId", NULL), js_str(item, "code", NULL), js_str(item, "message", NULL));
    if (t.rows)
        table_print(&t);
    else
        puts("Nothing failed there.");
    return EXIT_DONE;
}

static json_t *ids_of(int count, char **ids)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, json_string(ids[i]));
    return list;
}

// The pages of one walk, or the ids: one answer.
static int retry_all(struct client *client, const char *path, json_t *body, json_t *sum, struct error *err)
{
    for (;;) {
        _cleanup_json_ json_t *answer = NULL;
        if (client_call(client, "POST", path, body, &answer, err) < 0)
            return -1;
        json_array_extend(js_arr(sum, "retried"), js_arr(answer, "retried"));
        json_array_extend(js_arr(sum, "refused"), js_arr(answer, "refused"));
        if (!js_str(answer, "nextCursor", NULL))
            return 0;
        json_object_set(body, "cursor", json_object_get(answer, "nextCursor"));
        json_object_set(body, "failedBefore", json_object_get(answer, "failedBefore"));
    }
}

static int run_retry(struct cli *cli, int argc, char **argv)
{
    struct jobs_options o = {0};
    int code;
    if (cli_parse(cli, &jobs_retry, &o, &argc, argv, 1, -1, &code) < 0)
        return code;
    _cleanup_json_ json_t *sum = json_pack("{s:[],s:[]}", "retried", "refused");
    _cleanup_json_ json_t *body =
        o.all ? json_pack("{s:b}", "all", 1) : json_pack("{s:o}", "ids", ids_of(argc - 2, argv + 2));
    _cleanup_client_ struct client *client = NULL;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    struct error err;
    size_t i;
    json_t *one;
    if (o.all == (argc > 2)) {
        error_set(&err, ERR_USAGE, "Which ones? Ids, as `deeplens jobs failed` shows them, or --all");
        return cli_misused(cli, &jobs_retry, &err);
    }
    if (make_path(argv[1], "/retry", &path, &err) < 0 || cli_connect(cli, false, NULL, &client, &err) < 0 ||
        retry_all(client, path.data, body, sum, &err) < 0)
        return cli_fail(cli, &err);
    size_t refused = json_array_size(js_arr(sum, "refused"));
    json_array_foreach(js_arr(sum, "refused"), i, one)
        fprintf(stderr, "deeplens: %s: %s (%s)\n", js_str(one, "id", "-"), js_str(one, "message", "-"),
                js_str(one, "code", "-"));
    if (o.json)
        cli_print_json(sum);
    else
        printf("%zu go back to the step %s.\n", json_array_size(js_arr(sum, "retried")), argv[1]);
    return refused ? EXIT_FAILED : EXIT_DONE;
}

static const struct command jobs_list = {
    .name = "jobs list",
    .usage = "[OPTIONS]",
    .summary = "Show each step: what waits, how old and how quick it is, what is at work, what failed",
    .details = "The rate is that of the last looks (lag.interval), of all processes; states are those of the server "
               "that answers.",
    .examples = "deeplens jobs list",
    .options = plain_options,
    .run = run_list,
};

static const struct command jobs_set = {
    .name = "jobs set",
    .usage = "STEP [OPTIONS]",
    .summary = "Change how many events a step works on at once",
    .details = "Holds for the server that is asked, until it ends.",
    .examples = "deeplens jobs set extract --concurrency 1\ndeeplens jobs set extract --unlimited",
    .options = set_options,
    .run = run_set,
};

static const struct command jobs_pause = {
    .name = "jobs pause",
    .usage = "STEP [OPTIONS]",
    .summary = "Let a step begin nothing more",
    .details = "What is at work is ended; the rest waits. Holds for the server that is asked, until it ends.",
    .examples = "deeplens jobs pause video",
    .options = plain_options,
    .run = run_pause,
};

static const struct command jobs_resume = {
    .name = "jobs resume",
    .usage = "STEP [OPTIONS]",
    .summary = "Let a step go on that was paused",
    .examples = "deeplens jobs resume video",
    .options = plain_options,
    .run = run_resume,
};

static const struct command jobs_failed = {
    .name = "jobs failed",
    .usage = "STEP [OPTIONS]",
    .summary = "List what failed for good in a step, and why",
    .examples = "deeplens jobs failed extract",
    .options = failed_options,
    .run = run_failed,
};

static const struct command jobs_retry = {
    .name = "jobs retry",
    .usage = "STEP ID... | STEP --all [OPTIONS]",
    .summary = "Put what failed back to its step",
    .details = "Twice is harmless: what has succeeded since is not done again.",
    .examples = "deeplens jobs retry extract 0-12 2-7\ndeeplens jobs retry extract --all",
    .options = retry_options,
    .run = run_retry,
};

static int run(struct cli *cli, int argc, char **argv)
{
    return cli_run_sub(cli, &command_jobs, argc, argv);
}

const struct command command_jobs = {
    .name = "jobs",
    .usage = "list | set STEP | pause STEP | resume STEP | failed STEP | retry STEP",
    .summary = "The pipeline's steps as queues",
    .details = "See docs/MAINTENANCE.md.",
    .subs = (const struct command *const[]){&jobs_list, &jobs_set, &jobs_pause, &jobs_resume, &jobs_failed, &jobs_retry,
                                            NULL},
    .run = run,
};
