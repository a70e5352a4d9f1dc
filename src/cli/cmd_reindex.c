// SPDX-License-Identifier: Apache-2.0
// deeplens reindex: every vector made again from its original. And what it shares with `models use`.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "cli/progress.h"
#include "cli/rebuilds.h"
#include "cli/table.h"

enum { POLL_MS = 200 };
#define PATH "/api/v1/admin/rebuilds"

// --- Shown

static void add_row(struct table *t, const json_t *one)
{
    static const char *const numbers[] = {"seen", "total", "built", "present", "failed"};
    char text[ARRAY_LEN(numbers)][24];
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        snprintf(text[i], sizeof text[i], "%" PRId64, js_int(one, numbers[i], 0));
    table_add(t, js_str(one, "tenantId", "(everybody)"), js_str(one, "kind", ""), js_str(one, "from", ""),
              js_str(one, "to", ""), js_str(one, "state", ""), text[0], text[1], text[2], text[3], text[4]);
}

int rebuilds_print(const struct cli *cli, const json_t *rebuilds)
{
    static const struct table_column columns[] = {{"TENANT", .shrink = true},
                                                  {"KIND"},
                                                  {"FROM", .shrink = true},
                                                  {"TO", .shrink = true},
                                                  {"STATE"},
                                                  {"SEEN", .right = true},
                                                  {"OF", .right = true},
                                                  {"BUILT", .right = true},
                                                  {"PRESENT", .right = true},
                                                  {"FAILED", .right = true},
                                                  {NULL}};
    _cleanup_table_ struct table t = {0};
    size_t i;
    json_t *one;
    if (cli->json) {
        _cleanup_json_ json_t *answer = json_pack("{s:O}", "rebuilds", (json_t *)rebuilds);
        return cli_print_json(answer);
    }
    if (!json_array_size(rebuilds)) {
        printf("No model was changed and nothing was reindexed yet.\n");
        return EXIT_DONE;
    }
    table_init(&t, columns);
    json_array_foreach(rebuilds, i, one) add_row(&t, one);
    table_print(&t);
    return EXIT_DONE;
}

static int ask(struct client *client, const char *method, const char *tenant, json_t **out, struct error *err)
{
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    buf_puts(&path, PATH);
    client_query(&path, "tenantId", tenant);
    return client_call(client, method, path.data, NULL, out, err);
}

static int ask_and_print(struct cli *cli, const char *method, const char *tenant)
{
    _cleanup_client_ struct client *client = NULL;
    _cleanup_json_ json_t *answer = NULL;
    struct error err;
    if (cli_connect(cli, true, NULL, &client, &err) < 0 || ask(client, method, tenant, &answer, &err) < 0)
        return cli_fail(cli, &err);
    return rebuilds_print(cli, js_arr(answer, "rebuilds"));
}

int rebuilds_status(struct cli *cli, const char *tenant)
{
    return ask_and_print(cli, "GET", tenant);
}

int rebuilds_cancel(struct cli *cli, const char *tenant)
{
    return ask_and_print(cli, "DELETE", tenant);
}

// --- Waited for

static const json_t *of_scope(const json_t *rebuilds, const char *tenant)
{
    size_t i;
    json_t *one;
    json_array_foreach(rebuilds, i, one)
    {
        const char *scope = js_str(one, "tenantId", NULL);
        if (tenant ? scope && strcmp(scope, tenant) == 0 : !scope)
            return one;
    }
    return NULL;
}

static int tell_end(struct cli *cli, const json_t *one)
{
    const char *state = js_str(one, "state", "done"), *to = js_str(one, "to", "");
    if (cli->json)
        cli_print_json(one);
    else if (strcmp(state, "blocked") == 0)
        fprintf(stderr,
                "deeplens: %" PRId64 " pictures failed under %s, so %s stays. `deeplens dlq list` says why; `deeplens "
                "models use %s` tries them again, with --skip-failed it goes on without them\n",
                js_int(one, "failed", 0), to, js_str(one, "from", ""), to);
    else
        printf("%s: %" PRId64 " vectors made, %" PRId64 " were there, %" PRId64 " failed. The state is: %s.\n", to,
               js_int(one, "built", 0), js_int(one, "present", 0), js_int(one, "failed", 0), state);
    return strcmp(state, "done") == 0 || strcmp(state, "ready") == 0 ? EXIT_DONE : EXIT_FAILED;
}

int rebuilds_wait(struct cli *cli, struct client *client, const char *tenant)
{
    struct progress progress;
    bool drawn = false;
    for (;;) {
        _cleanup_json_ json_t *answer = NULL;
        struct error err;
        if (ask(client, "GET", tenant, &answer, &err) < 0)
            return cli_fail(cli, &err);
        const json_t *one = of_scope(js_arr(answer, "rebuilds"), tenant);
        const char *state = js_str(one, "state", "done");
        if (!drawn)
            progress_start(&progress, "Building", (uint64_t)js_int(one, "total", 0), 0, cli->json);
        drawn = true;
        if (strcmp(state, "building") != 0 && strcmp(state, "closing") != 0) {
            progress_end(&progress);
            return one ? tell_end(cli, one) : EXIT_DONE;
        }
        progress_show(&progress, (uint64_t)js_int(one, "seen", 0), 0);
        clock_sleep_ms(POLL_MS);
    }
}

// --- reindex

struct reindex_options {
    char *tenant, *model;
    bool wait, status, cancel, json;
};

static const struct option_def options[] = {
    TEXT_OPTION(struct reindex_options, model, "model", "NAME", "Under which model; the default unless given"),
    TEXT_OPTION(struct reindex_options, tenant, "tenant", "NAME", "Of one tenant; of all unless given"),
    FLAG_OPTION(struct reindex_options, wait, "wait", "Wait until it is over"),
    FLAG_OPTION(struct reindex_options, status, "status", "Show how far it is, and begin nothing"),
    FLAG_OPTION(struct reindex_options, cancel, "cancel", "End what is under way, also a change of model"),
    FLAG_OPTION(struct reindex_options, json, "json", "Print one JSON document"),
    END_OPTION,
};

static int run(struct cli *cli, int argc, char **argv)
{
    struct reindex_options o = {0};
    int code;
    if (cli_parse(cli, &command_reindex, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    if (o.status)
        return rebuilds_status(cli, o.tenant);
    if (o.cancel)
        return rebuilds_cancel(cli, o.tenant);
    _cleanup_client_ struct client *client = NULL;
    _cleanup_json_ json_t *body = json_object(), *answer = NULL;
    struct error err;
    js_set_str(body, "model", o.model);
    js_set_str(body, "tenantId", o.tenant);
    if (cli_connect(cli, !o.wait, NULL, &client, &err) < 0 ||
        client_call(client, "POST", PATH, body, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.wait)
        return rebuilds_wait(cli, client, o.tenant);
    if (cli->json)
        return rebuilds_print(cli, js_arr(answer, "rebuilds"));
    printf("Every vector is made again in the background%s; `deeplens reindex --status` shows how far it is.\n",
           cli->app ? " once a server runs" : "");
    return EXIT_DONE;
}

const struct command command_reindex = {
    .name = "reindex",
    .usage = "[OPTIONS]",
    .summary = "Make every vector again from its original",
    .details =
        "In the background, behind uploads and searches, each vector in the place of the one before: searches go "
        "on. After the loss of an index, a new version of a model, or when labels are to be added.",
    .examples = "deeplens reindex --wait\n"
                "deeplens reindex --model efficientnet-lite0 --tenant shop\n"
                "deeplens reindex --status",
    .options = options,
    .run = run,
};
