// SPDX-License-Identifier: Apache-2.0
// deeplens models list.
#include <inttypes.h>
#include <stdio.h>

#include "base/js.h"
#include "cli/cli.h"
#include "cli/table.h"

struct models_options {
    bool json;
};

static const struct option_def list_options[] = {
    FLAG_OPTION(struct models_options, json, "json", "Print one JSON document"),
    END_OPTION,
};

static const struct command models_list;

static int run_list(struct cli *cli, int argc, char **argv)
{
    struct models_options o = {0};
    int code;
    if (cli_parse(cli, &models_list, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    static const struct table_column columns[] = {
        {"MODEL", .shrink = true}, {"VERSION"}, {"DIMENSION", .right = true}, {"DEFAULT"}, {NULL}};
    _cleanup_table_ struct table t = {0};
    _cleanup_json_ json_t *answer = NULL;
    struct error err;
    size_t i;
    json_t *model;
    if (cli_get(cli, NULL, "/api/v1/admin/models", &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    table_init(&t, columns);
    json_array_foreach(js_arr(answer, "models"), i, model)
    {
        char dimension[24];
        snprintf(dimension, sizeof dimension, "%" PRId64, js_int(model, "dimension", 0));
        table_add(&t, js_str(model, "name", NULL), js_str(model, "version", NULL), dimension,
                  js_bool(model, "default", false) ? "yes" : "");
    }
    table_print(&t);
    return EXIT_DONE;
}

static const struct command models_list = {
    .name = "models list",
    .usage = "[OPTIONS]",
    .summary = "List the models that turn pictures into vectors",
    .examples = "deeplens models list",
    .options = list_options,
    .run = run_list,
};

static int run(struct cli *cli, int argc, char **argv)
{
    return cli_run_sub(cli, &command_models, argc, argv);
}

const struct command command_models = {
    .name = "models",
    .usage = "list",
    .summary = "The models that turn pictures into vectors",
    .subs = (const struct command *const[]){&models_list, NULL},
    .run = run,
};
