// SPDX-License-Identifier: Apache-2.0
// deeplens dlq list | show | replay | purge
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/js.h"
#include "cli/cli.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/when.h"

struct dlq_options {
    const char *code, *stage, *topic, *tenant, *since, *until, *before;
    int64_t limit;
    double rate;
    bool all, dry_run, yes, json;
};

#define FILTER_OPTIONS                                                                                                 \
    TEXT_OPTION(struct dlq_options, code, "code", "CODE", "Only with this code, such as IMAGE_CORRUPT"),               \
        TEXT_OPTION(struct dlq_options, stage, "stage", "STAGE", "Only from this step"),                               \
        TEXT_OPTION(struct dlq_options, topic, "topic", "TOPIC", "Only from this topic"),                              \
        TEXT_OPTION(struct dlq_options, tenant, "tenant", "NAME", "Only this tenant's"),                               \
        TEXT_OPTION(struct dlq_options, since, "since", "TIME",                                                        \
                    "Only failed from then on: 2026-11-22T10:30:00Z, or 2h ago as 2h"),                                \
        TEXT_OPTION(struct dlq_options, until, "until", "TIME", "Only failed before then")

static const struct option_def list_options[] = {
    FILTER_OPTIONS,
    INT_OPTION(struct dlq_options, limit, "limit", "N", 1, 1000, "At most so many (50)"),
    FLAG_OPTION(struct dlq_options, json, "json", "Print one JSON document"),
    END_OPTION,
};

static const struct option_def show_options[] = {
    FLAG_OPTION(struct dlq_options, json, "json", "Print one JSON document"),
    END_OPTION,
};

static const struct option_def replay_options[] = {
    FILTER_OPTIONS,
    FLAG_OPTION(struct dlq_options, all, "all", "All of them"),
    INT_OPTION(struct dlq_options, limit, "limit", "N", 1, INT64_MAX, "At most so many (all that fit the filters)"),
    REAL_OPTION(struct dlq_options, rate, "rate", "N", 0, 100000, "At most so many a second"),
    FLAG_OPTION(struct dlq_options, dry_run, "dry-run", "Replay nothing, say what would be"),
    FLAG_OPTION(struct dlq_options, json, "json", "Print one JSON document: an array, one member an id"),
    END_OPTION,
};

static const struct option_def purge_options[] = {
    TEXT_OPTION(struct dlq_options, before, "before", "TIME",
                "Those that failed before then: a time, or 30d ago as 30d"),
    FLAG_OPTION(struct dlq_options, all, "all", "All of them"),
    FLAG_OPTION(struct dlq_options, dry_run, "dry-run", "Forget nothing, say how many it would be"),
    FLAG_OPTION(struct dlq_options, yes, "yes", "Do not ask"),
    FLAG_OPTION(struct dlq_options, json, "json", "Print one JSON document"),
    END_OPTION,
};

static const struct command dlq_list, dlq_show, dlq_replay, dlq_purge;

// `until_ms`: the latest time in any case; 0: none.
static int list_path(const struct dlq_options *o, int64_t limit, int64_t until_ms, const char *cursor, struct buf *path,
                     struct error *err)
{
    char number[24], from[CLOCK_TEXT], to[CLOCK_TEXT];
    int64_t now = clock_now_ms(), since_ms = 0, asked_ms = 0;
    if ((o->since && when_time("since", o->since, now, &since_ms, err) < 0) ||
        (o->until && when_time("until", o->until, now, &asked_ms, err) < 0))
        return -1;
    if (asked_ms && (!until_ms || asked_ms < until_ms))
        until_ms = asked_ms;
    snprintf(number, sizeof number, "%" PRId64, limit);
    buf_clear(path);
    buf_puts(path, "/api/v1/admin/deadletters");
    client_query(path, "code", o->code);
    client_query(path, "stage", o->stage);
    client_query(path, "topic", o->topic);
    client_query(path, "tenantId", o->tenant);
    client_query(path, "from", since_ms ? clock_rfc3339(since_ms, from) : NULL);
    client_query(path, "to", until_ms ? clock_rfc3339(until_ms, to) : NULL);
    client_query(path, "cursor", cursor);
    client_query(path, "limit", number);
    return path->failed ? error_set(err, ERR_USAGE, "The filters are too long") : 0;
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
    if (list_path(&o, o.limit, 0, NULL, &path, &err) < 0)
        return cli_misused(cli, &dlq_list, &err);
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

// --- Replaying

struct replay {
    const struct dlq_options *o;
    struct client *client;
    json_t *answers;
    int64_t count, failed;
    int64_t next_us; // when the rate allows another one
};

static void replay_one(struct replay *r, const char *id)
{
    if (r->o->dry_run) {
        if (!r->o->json)
            printf("%s would go back\n", id);
        json_array_append_new(r->answers, json_pack("{s:s,s:b}", "id", id, "dryRun", 1));
    } else {
        int64_t now = clock_mono_us();
        if (r->o->rate > 0 && now < r->next_us)
            clock_sleep_ms((r->next_us - now + 999) / 1000);
        if (r->o->rate > 0)
            r->next_us = (now > r->next_us ? now : r->next_us) + (int64_t)(1e6 / r->o->rate);
        r->failed += replay(r->client, id, r->answers, r->o->json) < 0;
    }
    r->count++;
}

// Those that were there when it began: what fails again meanwhile is a new letter.
static int replay_filtered(struct replay *r, struct error *err)
{
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    char cursor[64] = "";
    int64_t began_ms = clock_now_ms();
    do {
        _cleanup_json_ json_t *page = NULL;
        size_t i;
        json_t *item;
        int64_t left = r->o->limit ? r->o->limit - r->count : 1000;
        if (list_path(r->o, left < 1000 ? left : 1000, began_ms, *cursor ? cursor : NULL, &path, err) < 0 ||
            client_get(r->client, path.data, &page, err) < 0)
            return -1;
        json_array_foreach(js_arr(page, "items"), i, item) replay_one(r, js_str(item, "id", ""));
        snprintf(cursor, sizeof cursor, "%s", js_str(page, "nextCursor", ""));
    } while (*cursor && (!r->o->limit || r->count < r->o->limit));
    return 0;
}

static bool has_filter(const struct dlq_options *o)
{
    return o->code || o->stage || o->topic || o->tenant || o->since || o->until;
}

static int run_replay(struct cli *cli, int argc, char **argv)
{
    struct dlq_options o = {0};
    int code;
    if (cli_parse(cli, &dlq_replay, &o, &argc, argv, 0, -1, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_json_ json_t *answers = json_array();
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    struct error err;
    bool filtered = has_filter(&o) || o.all;
    if (filtered == (argc > 1)) {
        error_set(&err, ERR_USAGE, "Say which: ids, or filters, or --all");
        return cli_misused(cli, &dlq_replay, &err);
    }
    if (list_path(&o, 1, 0, NULL, &path, &err) < 0)
        return cli_misused(cli, &dlq_replay, &err);
    if (cli_connect(cli, true, NULL, &client, &err) < 0)
        return cli_fail(cli, &err);
    struct replay r = {.o = &o, .client = client, .answers = answers};
    for (int i = 1; i < argc; i++)
        replay_one(&r, argv[i]);
    if (filtered && replay_filtered(&r, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        cli_print_json(answers);
    else
        fprintf(stderr, "%" PRId64 " of %" PRId64 " dead letters %s.\n", r.count - r.failed, r.count,
                o.dry_run ? "would go back" : "went back");
    return r.failed ? EXIT_FAILED : EXIT_DONE;
}

// --- Purging

static int call_purge(struct client *client, const char *before, bool dry_run, json_t **out, struct error *err)
{
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    buf_puts(&path, "/api/v1/admin/deadletters");
    client_query(&path, "before", before);
    client_query(&path, "dryRun", dry_run ? "true" : "false");
    return client_call(client, "DELETE", path.data, NULL, out, err);
}

static int run_purge(struct cli *cli, int argc, char **argv)
{
    struct dlq_options o = {0};
    int code;
    if (cli_parse(cli, &dlq_purge, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_json_ json_t *plan = NULL, *done = NULL;
    struct error err;
    char question[160], time[CLOCK_TEXT];
    int64_t before_ms = 0;
    if (o.all == (o.before != NULL))
        error_set(&err, ERR_USAGE, "Say which: --before TIME, or --all");
    if (o.all == (o.before != NULL) ||
        (o.before && when_time("before", o.before, clock_now_ms(), &before_ms, &err) < 0))
        return cli_misused(cli, &dlq_purge, &err);
    const char *before = o.before ? clock_rfc3339(before_ms, time) : NULL;
    if (cli_connect(cli, true, NULL, &client, &err) < 0 || call_purge(client, before, true, &plan, &err) < 0)
        return cli_fail(cli, &err);
    snprintf(question, sizeof question, "Forget %" PRId64 " dead letters, for good?", js_int(plan, "removed", 0));
    if (!o.dry_run && (cli_confirm(o.yes, question, &err) < 0 || call_purge(client, before, false, &done, &err) < 0))
        return cli_fail(cli, &err);
    const json_t *answer = o.dry_run ? plan : done;
    if (o.json)
        return cli_print_json(answer);
    printf("%" PRId64 " dead letters %s, %" PRId64 " left.\n", js_int(answer, "removed", 0),
           o.dry_run ? "would be forgotten" : "forgotten", js_int(answer, "left", 0));
    return EXIT_DONE;
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
    .usage = "ID... | --all | FILTERS [OPTIONS]",
    .summary = "Put dead letters back on the topic that they came from",
    .details = "The event keeps its id, so that repeating a replay is harmless. With filters, what fails anew while it "
               "runs is "
               "left for the next time.",
    .examples = "deeplens dlq replay 0-17 2-4\n"
                "deeplens dlq replay --code UNAVAILABLE --since 2h --dry-run\n"
                "deeplens dlq replay --tenant acme --limit 1000 --rate 50",
    .options = replay_options,
    .run = run_replay,
};

static const struct command dlq_purge = {
    .name = "dlq purge",
    .usage = "--before TIME | --all [OPTIONS]",
    .summary = "Forget dead letters",
    .details = "Asks first; without a terminal it takes --yes. A log forgets from its oldest end only, so there is no "
               "choice by "
               "code or tenant.",
    .examples = "deeplens dlq purge --before 30d --dry-run\ndeeplens dlq purge --all --yes",
    .options = purge_options,
    .run = run_purge,
};

static int run(struct cli *cli, int argc, char **argv)
{
    cli->log_alone = true;
    return cli_run_sub(cli, &command_dlq, argc, argv);
}

const struct command command_dlq = {
    .name = "dlq",
    .usage = "list | show ID | replay ID... | purge",
    .summary = "Dead letters: what failed for good",
    .details = "Asks the server or, when none runs, opens the data directory.",
    .subs = (const struct command *const[]){&dlq_list, &dlq_show, &dlq_replay, &dlq_purge, NULL},
    .run = run,
};
