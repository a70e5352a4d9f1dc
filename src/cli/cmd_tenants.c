// SPDX-License-Identifier: Apache-2.0
// deeplens tenants list | add | set | remove.
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "cli/cli.h"
#include "cli/table.h"

struct tenants_options {
    const char *duplicates;
    bool dry_run, yes, json;
};

enum { LOOK_MS = 200 };

static const struct option_def options[] = {
    FLAG_OPTION(struct tenants_options, json, "json", "Print one JSON document"),
    END_OPTION,
};

static const struct option_def set_options[] = {
    CHOICE_OPTION(struct tenants_options, duplicates, "duplicates", "keep|link|reject|default",
                  "What becomes of pictures that look like another, unless their upload says it; default: what the "
                  "configuration says"),
    FLAG_OPTION(struct tenants_options, json, "json", "Print one JSON document"),
    END_OPTION,
};

static const struct option_def remove_options[] = {
    FLAG_OPTION(struct tenants_options, dry_run, "dry-run", "Remove nothing, say what it would be"),
    FLAG_OPTION(struct tenants_options, yes, "yes", "Do not ask"),
    FLAG_OPTION(struct tenants_options, json, "json", "Print one JSON document"),
    END_OPTION,
};

static const struct command tenants_list, tenants_add, tenants_set, tenants_remove;

static int run_list(struct cli *cli, int argc, char **argv)
{
    struct tenants_options o = {0};
    int code;
    if (cli_parse(cli, &tenants_list, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    static const struct table_column columns[] = {{"TENANT", .shrink = true}, {"CREATED"}, {"DUPLICATES"}, {NULL}};
    _cleanup_table_ struct table t = {0};
    _cleanup_json_ json_t *answer = NULL;
    struct error err;
    size_t i;
    json_t *tenant;
    if (cli_get(cli, NULL, "/api/v1/admin/tenants", &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    table_init(&t, columns);
    json_array_foreach(js_arr(answer, "tenants"), i, tenant) table_add(
        &t, js_str(tenant, "name", NULL), js_str(tenant, "createdAt", NULL), js_str(tenant, "duplicatePolicy", NULL));
    table_print(&t);
    return EXIT_DONE;
}

static int run_add(struct cli *cli, int argc, char **argv)
{
    struct tenants_options o = {0};
    int code;
    if (cli_parse(cli, &tenants_add, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_json_ json_t *body = json_pack("{s:s}", "name", argv[1]);
    _cleanup_json_ json_t *answer = NULL;
    struct error err;
    if (!body) {
        error_set(&err, ERR_USAGE, "A tenant's name is text in UTF-8");
        return cli_misused(cli, &tenants_add, &err);
    }
    if (cli_connect(cli, true, NULL, &client, &err) < 0 ||
        client_call(client, "POST", "/api/v1/admin/tenants", body, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    printf("Added tenant %s.\n", argv[1]);
    return EXIT_DONE;
}

static int set(struct cli *cli, const struct tenants_options *o, const char *name, json_t **answer, struct error *err)
{
    _cleanup_client_ struct client *client = NULL;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    bool back = strcmp(o->duplicates, "default") == 0;
    _cleanup_json_ json_t *body = json_pack("{s:s?}", "duplicatePolicy", back ? NULL : o->duplicates);
    buf_puts(&path, "/api/v1/admin/tenants/");
    client_segment(&path, name);
    if (path.failed)
        return error_set(err, ERR_USAGE, "The name is too long");
    if (cli_connect(cli, true, NULL, &client, err) < 0)
        return -1;
    return client_call(client, "PATCH", path.data, body, answer, err);
}

static int run_set(struct cli *cli, int argc, char **argv)
{
    struct tenants_options o = {0};
    int code;
    if (cli_parse(cli, &tenants_set, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_json_ json_t *answer = NULL;
    struct error err;
    if (!o.duplicates) {
        error_set(&err, ERR_USAGE, "What is to be set? There is --duplicates");
        return cli_misused(cli, &tenants_set, &err);
    }
    if (set(cli, &o, argv[1], &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    printf("Near-duplicates of tenant %s: %s.\n", argv[1], o.duplicates);
    return EXIT_DONE;
}

// --- Remove

static int ask_removal(struct client *client, const char *name, bool dry_run, json_t **answer, struct error *err)
{
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    buf_puts(&path, "/api/v1/admin/tenants/");
    client_segment(&path, name);
    client_query(&path, "dryRun", dry_run ? "true" : NULL);
    if (path.failed)
        return error_set(err, ERR_USAGE, "The name is too long");
    return client_call(client, "DELETE", path.data, NULL, answer, err);
}

// Each call goes a part of the way; the server goes on alone when nobody calls any more.
static int remove_all(struct client *client, const char *name, json_t **answer, struct error *err)
{
    for (bool begun = false;; begun = true) {
        int rc = ask_removal(client, name, false, answer, err);
        if (rc < 0 && begun && err->code == ERR_TENANT_UNKNOWN) { // the server itself was quicker
            *answer = json_pack("{s:s,s:s,s:i}", "name", name, "status", "removed", "left", 0);
            return 0;
        }
        if (rc < 0)
            return -1;
        if (strcmp(js_str(*answer, "status", ""), "removed") == 0)
            return 0;
        json_decref(*answer);
        *answer = NULL;
        clock_sleep_ms(LOOK_MS);
    }
}

static int run_remove(struct cli *cli, int argc, char **argv)
{
    struct tenants_options o = {0};
    int code;
    if (cli_parse(cli, &tenants_remove, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_json_ json_t *found = NULL;
    _cleanup_json_ json_t *answer = NULL;
    struct error err;
    char question[160];
    if (cli_connect(cli, false, NULL, &client, &err) < 0 || ask_removal(client, argv[1], true, &found, &err) < 0)
        return cli_fail(cli, &err);
    long long items = (long long)js_int(found, "left", 0);
    if (o.dry_run && o.json)
        return cli_print_json(found);
    if (o.dry_run) {
        printf(
            "Tenant %s with %lld images and videos, %zu collections of vectors and %lld webhooks would be removed.\n",
            argv[1], items, json_array_size(js_arr(found, "collections")), (long long)js_int(found, "webhooks", 0));
        return EXIT_DONE;
    }
    snprintf(question, sizeof question, "Remove tenant %.63s with its %lld images and videos, for good?", argv[1],
             items);
    if (cli_confirm(o.yes, question, &err) < 0 || remove_all(client, argv[1], &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    printf("Removed tenant %s.\n", argv[1]);
    return EXIT_DONE;
}

static const struct command tenants_list = {
    .name = "tenants list",
    .usage = "[OPTIONS]",
    .summary = "List the tenants",
    .examples = "deeplens tenants list",
    .options = options,
    .run = run_list,
};

static const struct command tenants_add = {
    .name = "tenants add",
    .usage = "NAME [OPTIONS]",
    .summary = "Add a tenant",
    .examples = "deeplens tenants add shop",
    .options = options,
    .run = run_add,
};

static const struct command tenants_set = {
    .name = "tenants set",
    .usage = "NAME [OPTIONS]",
    .summary = "Change what holds for a tenant",
    .examples = "deeplens tenants set shop --duplicates reject",
    .options = set_options,
    .run = run_set,
};

static const struct command tenants_remove = {
    .name = "tenants remove",
    .usage = "NAME [OPTIONS]",
    .summary = "Remove a tenant with everything that it has",
    .details =
        "Its uploads are refused from the first moment. Waits until all is gone; interrupted, the server goes on by "
        "itself. The receipts stay.",
    .examples = "deeplens tenants remove shop --dry-run",
    .options = remove_options,
    .run = run_remove,
};

static int run(struct cli *cli, int argc, char **argv)
{
    return cli_run_sub(cli, &command_tenants, argc, argv);
}

const struct command command_tenants = {
    .name = "tenants",
    .usage = "list | add NAME | set NAME | remove NAME",
    .summary = "Whose pictures are kept apart",
    .subs = (const struct command *const[]){&tenants_list, &tenants_add, &tenants_set, &tenants_remove, NULL},
    .run = run,
};
