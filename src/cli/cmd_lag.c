// SPDX-License-Identifier: Apache-2.0
// deeplens lag: who is behind, and whether they get on. Exit code 1 when somebody should look.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/js.h"
#include "cli/cli.h"
#include "cli/table.h"
#include "cli/text.h"

struct lag_options {
    int64_t limit, times;
    double interval;
    bool watch, partitions, json;
};

static const struct option_def options[] = {
    FLAG_OPTION(struct lag_options, watch, "watch", "Go on looking, until interrupted"),
    REAL_OPTION(struct lag_options, interval, "interval", "SECONDS", 0, 3600, "Between two looks (2)"),
    INT_OPTION(struct lag_options, times, "times", "N", 1, 1000000, "With --watch: so many looks"),
    INT_OPTION(struct lag_options, limit, "limit", "N", 0, INT64_MAX, "More is too much (lag.alert: 1000)"),
    FLAG_OPTION(struct lag_options, partitions, "partitions", "Show every partition"),
    FLAG_OPTION(struct lag_options, json, "json", "Print one JSON document a look, one a line"),
    END_OPTION,
};

static bool is_stuck(const json_t *of)
{
    const char *state = js_str(of, "state", "");
    return strcmp(state, "stalled") == 0 || strcmp(state, "stopped") == 0;
}

static void add_row(struct table *t, const char *group, const char *topic, const char *partition, const json_t *of,
                    bool above)
{
    char lag[TEXT_SHORT], behind[TEXT_SHORT], state[48];
    snprintf(state, sizeof state, "%.20s%s", js_str(of, "state", "-"), above ? ", above the limit" : "");
    table_add(t, group, topic, partition, text_count((uint64_t)js_int(of, "lag", 0), lag),
              text_duration((double)js_int(of, "lagMs", 0) / 1000, behind), state, js_str(of, "member", NULL));
}

static void print(const struct lag_options *o, const json_t *answer, int64_t limit)
{
    static const struct table_column columns[] = {{"GROUP", .shrink = true},    {"TOPIC", .shrink = true},
                                                  {"PARTITION", .right = true}, {"LAG", .right = true},
                                                  {"BEHIND", .right = true},    {"STATE"},
                                                  {"MEMBER", .shrink = true},   {NULL}};
    _cleanup_table_ struct table t = {0};
    size_t i, n;
    json_t *group, *p;
    table_init(&t, columns);
    json_array_foreach(js_arr(answer, "groups"), i, group)
    {
        const char *name = js_str(group, "name", "-");
        add_row(&t, name, NULL, NULL, group, limit && js_int(group, "lag", 0) > limit);
        json_array_foreach(js_arr(group, "partitions"), n, p)
        {
            char number[24];
            snprintf(number, sizeof number, "%" PRId64, js_int(p, "partition", 0));
            if (o->partitions || is_stuck(p))
                add_row(&t, name, js_str(p, "topic", NULL), number, p, false);
        }
    }
    table_print(&t);
}

// With a limit of one's own, every group is held to it.
static bool alarming(const struct lag_options *o, const json_t *answer)
{
    size_t i;
    json_t *group;
    if (o->limit < 0)
        return js_bool(answer, "alarming", false);
    json_array_foreach(js_arr(answer, "groups"), i, group)
    {
        if (is_stuck(group) || (o->limit && js_int(group, "lag", 0) > o->limit))
            return true;
    }
    return false;
}

static int look(struct client *client, const struct lag_options *o, bool *alarm, struct error *err)
{
    _cleanup_json_ json_t *answer = NULL;
    if (client_get(client, "/api/v1/admin/lag", &answer, err) < 0)
        return -1;
    int64_t limit = o->limit >= 0 ? o->limit : js_int(answer, "limit", 0);
    *alarm = alarming(o, answer);
    if (o->json) {
        cli_print_json(answer);
    } else {
        if (o->watch && isatty(STDOUT_FILENO))
            fputs("\033[H\033[J", stdout);
        print(o, answer, limit);
    }
    fflush(stdout);
    return 0;
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct lag_options o = {.limit = -1, .interval = 2};
    int code;
    cli->log_alone = true;
    if (cli_parse(cli, &command_lag, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    struct error err;
    bool alarm = false;
    if (cli_connect(cli, true, NULL, &client, &err) < 0)
        return cli_fail(cli, &err);
    for (int64_t i = 0;;) {
        if (look(client, &o, &alarm, &err) < 0)
            return cli_fail(cli, &err);
        if (!o.watch || ferror(stdout) || ++i == o.times)
            return alarm ? EXIT_FAILED : EXIT_DONE;
        clock_sleep_ms((int64_t)(o.interval * 1000));
        if (!o.json && !isatty(STDOUT_FILENO))
            putchar('\n');
    }
}

const struct command command_lag = {
    .name = "lag",
    .usage = "[OPTIONS]",
    .summary = "Show which groups are behind, and whether they get on",
    .details =
        "Fails (exit code 1) when a group is more than the limit behind, or a partition has stalled (its offset has "
        "not moved for ten looks, though there is something to read) or stopped (the same for twenty, and more "
        "waits than before). The server looks every lag.interval; without one, --watch has to look often enough.\n"
        "Asks the server or, when none runs, opens the data directory.",
    .examples = "deeplens lag\ndeeplens lag --watch --partitions\ndeeplens lag --limit 5000 || notify",
    .options = options,
    .run = run,
};
