// SPDX-License-Identifier: Apache-2.0
// deeplens models {list, show, use, compare, drop, add, remove, test, bench}. The first five ask the server; the others
// work on the folder of models and need none.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/registry.h"
#include "base/js.h"
#include "cli/cli.h"
#include "cli/folders.h"
#include "cli/rebuilds.h"
#include "cli/table.h"

struct models_options {
    char *tenant;
    bool json;
};

static const struct option_def options[] = {
    FLAG_OPTION(struct models_options, json, "json", "Print one JSON document"),
    END_OPTION,
};

static const struct option_def tenant_options[] = {
    TEXT_OPTION(struct models_options, tenant, "tenant", "NAME", "Whose default; everybody's unless given"),
    FLAG_OPTION(struct models_options, json, "json", "Print one JSON document"),
    END_OPTION,
};

struct use_options {
    char *tenant;
    bool now, hold, skip_failed, wait, status, cancel, json;
};

static const struct option_def use_options[] = {
    TEXT_OPTION(struct use_options, tenant, "tenant", "NAME", "Whose default; everybody's unless given"),
    FLAG_OPTION(struct use_options, wait, "wait", "Wait until it is taken"),
    FLAG_OPTION(struct use_options, hold, "hold",
                "Make the vectors, and take it when this is said again without --hold"),
    FLAG_OPTION(struct use_options, skip_failed, "skip-failed", "Take it though pictures failed under it"),
    FLAG_OPTION(struct use_options, now, "now", "Take it at once: what is there is not found by default any more"),
    FLAG_OPTION(struct use_options, status, "status", "Show how far it is, and change nothing"),
    FLAG_OPTION(struct use_options, cancel, "cancel", "Stay with the model that is taken now"),
    FLAG_OPTION(struct use_options, json, "json", "Print one JSON document"),
    END_OPTION,
};

struct compare_options {
    char *tenant;
    int64_t samples;
    bool json;
};

static const struct option_def compare_options[] = {
    TEXT_OPTION(struct compare_options, tenant, "tenant", "NAME", "Whose pictures; default unless given"),
    INT_OPTION(struct compare_options, samples, "samples", "N", 1, 500,
               "Searches, with the newest pictures; 50 unless given"),
    FLAG_OPTION(struct compare_options, json, "json", "Print one JSON document"),
    END_OPTION,
};

struct drop_options {
    char *tenant;
    bool yes, json;
};

static const struct option_def drop_options[] = {
    TEXT_OPTION(struct drop_options, tenant, "tenant", "NAME", "Of one tenant; of all unless given"),
    FLAG_OPTION(struct drop_options, yes, "yes", "Do not ask"),
    FLAG_OPTION(struct drop_options, json, "json", "Print one JSON document"),
    END_OPTION,
};

static const struct command models_list, models_show, models_use, models_compare, models_drop, models_add,
    models_remove, models_test, models_bench;

// --- What the server knows

static int get_models(struct cli *cli, const char *tenant, json_t **out, struct error *err)
{
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    buf_puts(&path, "/api/v1/admin/models");
    client_query(&path, "tenantId", tenant);
    return cli_get(cli, NULL, path.data, out, err);
}

static int run_list(struct cli *cli, int argc, char **argv)
{
    struct models_options o = {0};
    int code;
    if (cli_parse(cli, &models_list, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    static const struct table_column columns[] = {{"MODEL", .shrink = true},    {"VERSION"}, {"PRECISION"},
                                                  {"DIMENSION", .right = true}, {"DEFAULT"}, {NULL}};
    _cleanup_table_ struct table t = {0};
    _cleanup_json_ json_t *answer = NULL;
    struct error err;
    size_t i;
    json_t *model;
    if (get_models(cli, o.tenant, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    table_init(&t, columns);
    json_array_foreach(js_arr(answer, "models"), i, model)
    {
        char dimension[24];
        snprintf(dimension, sizeof dimension, "%" PRId64, js_int(model, "dimension", 0));
        table_add(&t, js_str(model, "name", NULL), js_str(model, "version", NULL), js_str(model, "precision", ""),
                  dimension, js_bool(model, "default", false) ? "yes" : "");
    }
    table_print(&t);
    return EXIT_DONE;
}

static void print_model(const json_t *model)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)model, name, value)
    {
        _cleanup_free_ char *text = json_is_string(value) ? strdup(json_string_value(value)) : js_dumps(value);
        printf("%-10s %s\n", name, text ? text : "");
    }
}

static int run_show(struct cli *cli, int argc, char **argv)
{
    struct models_options o = {0};
    int code;
    if (cli_parse(cli, &models_show, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_json_ json_t *answer = NULL;
    struct error err;
    size_t i;
    json_t *model;
    if (get_models(cli, o.tenant, &answer, &err) < 0)
        return cli_fail(cli, &err);
    json_array_foreach(js_arr(answer, "models"), i, model)
    {
        if (strcmp(js_str(model, "name", ""), argv[1]) != 0)
            continue;
        if (o.json)
            return cli_print_json(model);
        print_model(model);
        return EXIT_DONE;
    }
    error_set(&err, ERR_MODEL_UNKNOWN, "There is no model \"%.60s\"; `deeplens models list` shows them", argv[1]);
    return cli_fail(cli, &err);
}

static int ask_use(struct client *client, const char *model, const struct use_options *o, json_t **out,
                   struct error *err)
{
    _cleanup_json_ json_t *body =
        json_pack("{s:s,s:b,s:b,s:b}", "model", model, "now", o->now, "hold", o->hold, "skipFailed", o->skip_failed);
    if (!body)
        return error_set(err, ERR_USAGE, "A model's name is text in UTF-8");
    js_set_str(body, "tenantId", o->tenant);
    return client_call(client, "PUT", "/api/v1/admin/models/default", body, out, err);
}

static bool is_default(const json_t *answer, const char *name)
{
    size_t i;
    json_t *model;
    json_array_foreach(js_arr(answer, "models"), i, model)
    {
        if (strcmp(js_str(model, "name", ""), name) == 0)
            return js_bool(model, "default", false);
    }
    return false;
}

static int run_use(struct cli *cli, int argc, char **argv)
{
    struct use_options o = {0};
    int code;
    if (cli_parse(cli, &models_use, &o, &argc, argv, 0, 1, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_json_ json_t *answer = NULL;
    struct error err;
    if ((argc == 2) == (o.status || o.cancel) || (o.status && o.cancel)) {
        error_set(&err, ERR_USAGE, "Give the name of a model, or --status, or --cancel");
        return cli_misused(cli, &models_use, &err);
    }
    if (o.status || o.cancel)
        return o.status ? rebuilds_status(cli, o.tenant) : rebuilds_cancel(cli, o.tenant);
    if (cli_connect(cli, !o.wait, NULL, &client, &err) < 0 || ask_use(client, argv[1], &o, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.wait)
        return rebuilds_wait(cli, client, o.tenant);
    if (o.json)
        return cli_print_json(answer);
    const char *who = o.tenant ? o.tenant : "Everybody without a choice of their own";
    if (is_default(answer, argv[1]))
        printf("%s%s takes %s from now on.\n", o.tenant ? "Tenant " : "", who, argv[1]);
    else
        printf("%s%s takes %s as soon as it knows everything that is there, which is made in the background%s. Until "
               "then nothing changes; `deeplens models use --status` shows how far it is.\n",
               o.tenant ? "Tenant " : "", who, argv[1], cli->app ? " once a server runs" : "");
    return EXIT_DONE;
}

// --- Two models side by side

static void print_side(const json_t *before, const json_t *after, size_t i)
{
    const json_t *a = json_array_get(before, i), *b = json_array_get(after, i);
    char rank[16], left[16] = "", right[16] = "";
    snprintf(rank, sizeof rank, "%zu", i + 1);
    if (a)
        snprintf(left, sizeof left, "%.3f", js_num(a, "score", 0));
    if (b)
        snprintf(right, sizeof right, "%.3f", js_num(b, "score", 0));
    printf("  %2s  %6s %-32.32s  %6s %-32.32s\n", rank, left, js_str(a, "fileName", ""), right,
           js_str(b, "fileName", ""));
}

static void print_comparison(const json_t *answer)
{
    enum { SHOWN = 5 };
    size_t i;
    json_t *one;
    const char *from = js_str(answer, "from", ""), *to = js_str(answer, "to", "");
    printf("%.0f %% of the first ten answers are the same under %s and %s (%" PRId64 " searches).\n",
           100 * js_num(answer, "overlapAt10", 0), from, to, js_int(answer, "samples", 0));
    json_array_foreach(js_arr(answer, "examples"), i, one)
    {
        printf("\n%s (%.0f %% the same)\n      %-39.39s  %s\n", js_str(one, "fileName", ""),
               100 * js_num(one, "overlap", 0), from, to);
        for (size_t rank = 0; rank < SHOWN; rank++)
            print_side(js_arr(one, "before"), js_arr(one, "after"), rank);
    }
}

static int run_compare(struct cli *cli, int argc, char **argv)
{
    struct compare_options o = {0};
    int code;
    if (cli_parse(cli, &models_compare, &o, &argc, argv, 2, 2, &code) < 0)
        return code;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    _cleanup_json_ json_t *answer = NULL;
    struct error err;
    char samples[24];
    snprintf(samples, sizeof samples, "%" PRId64, o.samples);
    buf_puts(&path, "/api/v1/admin/models/compare");
    client_query(&path, "from", argv[1]);
    client_query(&path, "to", argv[2]);
    client_query(&path, "samples", o.samples ? samples : NULL);
    if (cli_get(cli, o.tenant, path.data, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    print_comparison(answer);
    return EXIT_DONE;
}

// --- Vectors that are not needed any more

static int run_drop(struct cli *cli, int argc, char **argv)
{
    struct drop_options o = {0};
    int code;
    if (cli_parse(cli, &models_drop, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    _cleanup_json_ json_t *answer = NULL;
    struct error err;
    char question[160];
    snprintf(question, sizeof question, "Remove all vectors under %.60s%s%.60s?", argv[1],
             o.tenant ? " of tenant " : "", o.tenant ? o.tenant : "");
    buf_puts(&path, "/api/v1/admin/models/");
    client_segment(&path, argv[1]);
    buf_puts(&path, "/vectors");
    client_query(&path, "tenantId", o.tenant);
    if (cli_confirm(o.yes, question, &err) < 0 || cli_connect(cli, true, NULL, &client, &err) < 0 ||
        client_call(client, "DELETE", path.data, NULL, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    printf("%" PRId64 " vectors under %s were removed. Pictures and other models' vectors stay.\n",
           js_int(answer, "vectorsDropped", 0), argv[1]);
    return EXIT_DONE;
}

// --- The folder of models

// The folder that is meant: a path to one, or the name of a model that is there.
static int find_folder(const struct cli *cli, const char *given, char **out, struct error *err)
{
    struct stat st;
    if (strchr(given, '/') || strcmp(given, ".") == 0)
        *out = strdup(given);
    else if (asprintf(out, "%s/%s", cli->conf->models_dir, given) < 0)
        *out = NULL;
    if (!*out)
        return error_set(err, ERR_NO_MEMORY, "No memory");
    if (stat(*out, &st) == 0 && S_ISDIR(st.st_mode))
        return 0;
    error_set(err, ERR_NOT_FOUND, "There is no folder %.200s", *out);
    free(take_ptr(*out));
    return -1;
}

static json_t *trial_json(const struct extractor_trial *t)
{
    json_t *j = json_pack("{s:s,s:s,s:s,s:I,s:s,s:f}", "name", t->name, "version", t->version, "precision",
                          t->precision, "dimension", (json_int_t)t->dimension, "input", t->fit, "loadMs", t->load_ms);
    js_set_str(j, "licence", *t->licence ? t->licence : NULL);
    js_set_str(j, "source", *t->source ? t->source : NULL);
    if (t->batch_per_s > 0) {
        json_object_set_new(j, "singleMs", json_real(t->single_ms));
        json_object_set_new(j, "picturesPerSecond", json_real(t->batch_per_s));
    }
    return j;
}

static int try_out(struct cli *cli, const struct command *command, bool bench, int argc, char **argv)
{
    struct models_options o = {0};
    int code;
    if (cli_parse(cli, command, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_free_ char *folder = NULL;
    struct extractor_trial t;
    struct error err;
    if (find_folder(cli, argv[1], &folder, &err) < 0 || registry_try_model(cli->conf, folder, bench, &t, &err) < 0)
        return cli_fail(cli, &err);
    _cleanup_json_ json_t *json = trial_json(&t);
    if (o.json)
        return cli_print_json(json);
    printf("Model %s %s works: %zu numbers, %s, pictures are %s; loaded in %.0f ms.\n", t.name, t.version, t.dimension,
           t.precision, t.fit, t.load_ms);
    if (bench)
        printf("One takes %.1f ms; in batches, %.0f a second.\n", t.single_ms, t.batch_per_s);
    return EXIT_DONE;
}

static int run_test(struct cli *cli, int argc, char **argv)
{
    return try_out(cli, &models_test, false, argc, argv);
}

static int run_bench(struct cli *cli, int argc, char **argv)
{
    return try_out(cli, &models_bench, true, argc, argv);
}

static int add_folder(const struct cli *cli, const char *folder, struct extractor_trial *t, struct error *err)
{
    _cleanup_free_ char *to = NULL, *making = NULL;
    struct stat st;
    if (registry_try_model(cli->conf, folder, false, t, err) < 0)
        return -1;
    if (asprintf(&to, "%s/%s", cli->conf->models_dir, t->name) < 0 ||
        asprintf(&making, "%s/.%s.new", cli->conf->models_dir, t->name) < 0)
        return error_set(err, ERR_NO_MEMORY, "No memory");
    if (stat(to, &st) == 0)
        return error_set(err, ERR_EXISTS, "There is a model %s already; `deeplens models remove %s` takes it away",
                         t->name, t->name);
    if (folders_make(cli->conf->models_dir, err) < 0 || folders_remove(making, err) < 0 ||
        folders_copy(folder, making, err) < 0)
        return -1;
    return rename(making, to) < 0 ? error_errno(err, ERR_IO, errno, "%.200s cannot be made", to) : 0;
}

static int run_add(struct cli *cli, int argc, char **argv)
{
    struct models_options o = {0};
    int code;
    if (cli_parse(cli, &models_add, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    struct extractor_trial t;
    struct error err;
    if (add_folder(cli, argv[1], &t, &err) < 0)
        return cli_fail(cli, &err);
    _cleanup_json_ json_t *json = trial_json(&t);
    if (o.json)
        return cli_print_json(json);
    printf("Added %s %s (%zu numbers). Servers know it from their next start on.\n", t.name, t.version, t.dimension);
    return EXIT_DONE;
}

static int run_remove(struct cli *cli, int argc, char **argv)
{
    struct models_options o = {0};
    int code;
    if (cli_parse(cli, &models_remove, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_free_ char *folder = NULL, *description = NULL;
    struct error err;
    struct stat st;
    if (strchr(argv[1], '/') || *argv[1] == '.') {
        error_set(&err, ERR_USAGE, "Give the name of a model in %.200s", cli->conf->models_dir);
        return cli_misused(cli, &models_remove, &err);
    }
    if (find_folder(cli, argv[1], &folder, &err) < 0)
        return cli_fail(cli, &err);
    bool own = asprintf(&description, "%s/model.json", folder) >= 0 && stat(description, &st) == 0;
    free(take_ptr(description));
    bool published =
        asprintf(&description, "%s/visual/preprocess_cfg.json", folder) >= 0 && stat(description, &st) == 0;
    if (!own && !published) {
        error_set(&err, ERR_NOT_FOUND, "%.200s holds no model; nothing was removed", folder);
        return cli_fail(cli, &err);
    }
    if (folders_remove(folder, &err) < 0)
        return cli_fail(cli, &err);
    _cleanup_json_ json_t *json = json_pack("{s:s}", "removed", argv[1]);
    if (o.json)
        return cli_print_json(json);
    printf("Removed %s. Servers go on with it until they are stopped; its vectors stay.\n", argv[1]);
    return EXIT_DONE;
}

static const struct command models_list = {
    .name = "models list",
    .usage = "[OPTIONS]",
    .summary = "List the models that turn pictures into vectors",
    .examples = "deeplens models list",
    .options = tenant_options,
    .run = run_list,
};

static const struct command models_show = {
    .name = "models show",
    .usage = "NAME [OPTIONS]",
    .summary = "Show one model",
    .examples = "deeplens models show efficientnet-lite0",
    .options = tenant_options,
    .run = run_show,
};

static const struct command models_use = {
    .name = "models use",
    .usage = "NAME | --status | --cancel [OPTIONS]",
    .summary = "Change the model of what is uploaded and searched, without a pause",
    .details =
        "Vectors under the new model are made beside the old ones, in the background, from the stored originals; "
        "a kill or a restart does not matter. Searches take the old model until all are there, new uploads too, and "
        "then "
        "the new one. The old vectors stay until `models drop`.",
    .examples = "deeplens models use efficientnet-lite0 --wait\n"
                "deeplens models use clip --tenant shop --hold\n"
                "deeplens models use --status",
    .options = use_options,
    .run = run_use,
};

static const struct command models_compare = {
    .name = "models compare",
    .usage = "FROM TO [OPTIONS]",
    .summary = "Show how answers differ between two models",
    .details = "Searches with stored pictures that have vectors under both, and shows those side by side whose answers "
               "differ most.",
    .examples = "deeplens models compare builtin efficientnet-lite0",
    .options = compare_options,
    .run = run_compare,
};

static const struct command models_drop = {
    .name = "models drop",
    .usage = "NAME [OPTIONS]",
    .summary = "Remove the vectors under a model that nobody searches with",
    .details = "Asks first; without a terminal it takes --yes.",
    .examples = "deeplens models drop builtin --yes",
    .options = drop_options,
    .run = run_drop,
};

static const struct command models_add = {
    .name = "models add",
    .usage = "FOLDER [OPTIONS]",
    .summary = "Try a model and copy it to the folder of models",
    .details = "A folder with a model.json (docs/MODELS.md), or one in the layout of Immich's published models. It is "
               "loaded and "
               "run first, and refused with a reason when that fails.",
    .examples = "deeplens models add ./my-model\n"
                "deeplens models add ./ViT-B-32__openai",
    .options = options,
    .run = run_add,
};

static const struct command models_remove = {
    .name = "models remove",
    .usage = "NAME [OPTIONS]",
    .summary = "Remove a model from the folder of models",
    .examples = "deeplens models remove my-model",
    .options = options,
    .run = run_remove,
};

static const struct command models_test = {
    .name = "models test",
    .usage = "NAME|FOLDER [OPTIONS]",
    .summary = "Load a model, run it, and say what it is or what is wrong with it",
    .examples = "deeplens models test efficientnet-lite0\n"
                "deeplens models test ./my-model",
    .options = options,
    .run = run_test,
};

static const struct command models_bench = {
    .name = "models bench",
    .usage = "NAME|FOLDER [OPTIONS]",
    .summary = "Measure how fast a model is on this machine",
    .examples = "deeplens models bench efficientnet-lite0 --models-precision f32",
    .options = options,
    .run = run_bench,
};

static int run(struct cli *cli, int argc, char **argv)
{
    return cli_run_sub(cli, &command_models, argc, argv);
}

const struct command command_models = {
    .name = "models",
    .usage = "list | show | use | compare | drop | add | remove | test | bench",
    .summary = "The models that turn pictures into vectors",
    .subs = (const struct command *const[]){&models_list, &models_show, &models_use, &models_compare, &models_drop,
                                            &models_add, &models_remove, &models_test, &models_bench, NULL},
    .run = run,
};
