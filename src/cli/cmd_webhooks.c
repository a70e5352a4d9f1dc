// SPDX-License-Identifier: Apache-2.0
// deeplens webhooks list | add | remove | rotate | test | deliveries | replay
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "cli/cli.h"
#include "cli/table.h"
#include "cli/when.h"

enum { LOOK_MS = 50, PAGE = 1000 };

struct hooks_options {
    const char *tenant, *types, *secret, *state, *overlap;
    int64_t limit;
    bool dead, json;
};

#define SHARED_OPTIONS                                                                                                 \
    TEXT_OPTION(struct hooks_options, tenant, "tenant", "NAME", "Whose it is"),                                        \
        FLAG_OPTION(struct hooks_options, json, "json", "Print JSON")

static const struct option_def shared_options[] = {SHARED_OPTIONS, END_OPTION};
static const struct option_def add_options[] = {
    TEXT_OPTION(struct hooks_options, types, "types", "A,B",
                "What to be told of: media.uploaded, media.processing, processing.completed, processing.failed, "
                "media.deleting, media.deleted (the two of processing that end it)"),
    TEXT_OPTION(struct hooks_options, secret, "secret", "whsec_...", "The secret to sign with (a new one)"),
    SHARED_OPTIONS,
    END_OPTION,
};
static const struct option_def rotate_options[] = {
    TEXT_OPTION(struct hooks_options, overlap, "overlap", "TIME",
                "How long the old secret signs, too, such as 1h (24h)"),
    SHARED_OPTIONS,
    END_OPTION,
};
static const struct option_def deliveries_options[] = {
    CHOICE_OPTION(struct hooks_options, state, "state", "waiting|delivered|dead", "Only these"),
    INT_OPTION(struct hooks_options, limit, "limit", "N", 1, PAGE, "At most so many, the newest first (20)"),
    SHARED_OPTIONS,
    END_OPTION,
};
static const struct option_def replay_options[] = {
    FLAG_OPTION(struct hooks_options, dead, "dead", "All that are dead"),
    SHARED_OPTIONS,
    END_OPTION,
};

// The path of a webhook and what is below it; NULLs are left out.
static void make_path(struct buf *path, const char *id, const char *below, const char *delivery, const char *last)
{
    buf_puts(path, "/api/v1/admin/webhooks");
    const char *const parts[] = {id, below, delivery, last};
    for (size_t i = 0; i < 4; i++)
        if (parts[i]) {
            buf_puts(path, "/");
            client_segment(path, parts[i]);
        }
}

static int call(struct client *client, const char *method, const char *const parts[4], const json_t *body, json_t **out,
                struct error *err)
{
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    make_path(&path, parts[0], parts[1], parts[2], parts[3]);
    if (path.failed)
        return error_set(err, ERR_USAGE, "The id is too long");
    return client_call(client, method, path.data, body, out, err);
}
#define PARTS(...) ((const char *const[4]){__VA_ARGS__})

// ---- Registered webhooks

static void add_types(struct buf *text, const json_t *types)
{
    size_t i;
    json_t *type;
    json_array_foreach((json_t *)types, i, type) buf_printf(text, "%s%s", i ? "," : "", json_string_value(type));
}

static void print_hooks(const json_t *list)
{
    static const struct table_column columns[] = {{"ID"}, {"URL", .shrink = true}, {"TYPES", .shrink = true}, {NULL}};
    _cleanup_table_ struct table t = {0};
    size_t i;
    json_t *hook;
    table_init(&t, columns);
    json_array_foreach((json_t *)list, i, hook)
    {
        _cleanup_buf_ struct buf types = BUF_INIT(512);
        add_types(&types, js_arr(hook, "types"));
        table_add(&t, js_str(hook, "id", NULL), js_str(hook, "url", NULL), types.data);
    }
    table_print(&t);
}

static int run_list(struct cli *cli, int argc, char **argv);
static int run_add(struct cli *cli, int argc, char **argv);
static int run_remove(struct cli *cli, int argc, char **argv);
static int run_rotate(struct cli *cli, int argc, char **argv);
static int run_test(struct cli *cli, int argc, char **argv);
static int run_deliveries(struct cli *cli, int argc, char **argv);
static int run_replay(struct cli *cli, int argc, char **argv);

static const struct command hooks_list = {
    .name = "webhooks list",
    .usage = "[OPTIONS]",
    .summary = "List the addresses that are told of changes",
    .examples = "deeplens webhooks list --tenant acme",
    .options = shared_options,
    .run = run_list,
};

static const struct command hooks_add = {
    .name = "webhooks add",
    .usage = "URL [OPTIONS]",
    .summary = "Tell an address of changes, from now on",
    .details = "Prints the secret, which is not shown again: the receiver needs it to check the signatures.",
    .examples = "deeplens webhooks add https://example.com/hook\n"
                "deeplens webhooks add https://example.com/hook --tenant acme --types processing.failed",
    .options = add_options,
    .run = run_add,
};

static const struct command hooks_remove = {
    .name = "webhooks remove",
    .usage = "ID [OPTIONS]",
    .summary = "Tell an address nothing any more, and forget its deliveries",
    .examples = "deeplens webhooks remove whk_019ab3c4-7c1e-7a3b-9f00-5d2f8a61c0de",
    .options = shared_options,
    .run = run_remove,
};

static const struct command hooks_rotate = {
    .name = "webhooks rotate",
    .usage = "ID [OPTIONS]",
    .summary = "Make a new secret; the old one signs beside it for a while",
    .examples = "deeplens webhooks rotate whk_019ab3c4-7c1e-7a3b-9f00-5d2f8a61c0de --overlap 1h",
    .options = rotate_options,
    .run = run_rotate,
};

static const struct command hooks_test = {
    .name = "webhooks test",
    .usage = "ID [OPTIONS]",
    .summary = "Call an address once, and say what it answered",
    .examples = "deeplens webhooks test whk_019ab3c4-7c1e-7a3b-9f00-5d2f8a61c0de",
    .options = shared_options,
    .run = run_test,
};

static const struct command hooks_deliveries = {
    .name = "webhooks deliveries",
    .usage = "ID [OPTIONS]",
    .summary = "Show what an address was told, and what became of it",
    .examples = "deeplens webhooks deliveries whk_019ab3c4-7c1e-7a3b-9f00-5d2f8a61c0de --state dead",
    .options = deliveries_options,
    .run = run_deliveries,
};

static const struct command hooks_replay = {
    .name = "webhooks replay",
    .usage = "ID DELIVERY... | ID --dead [OPTIONS]",
    .summary = "Make deliveries once more, under their ids",
    .examples = "deeplens webhooks replay whk_019ab3c4-7c1e-7a3b-9f00-5d2f8a61c0de --dead",
    .options = replay_options,
    .run = run_replay,
};

static int run_list(struct cli *cli, int argc, char **argv)
{
    struct hooks_options o = {0};
    int code;
    if (cli_parse(cli, &hooks_list, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    _cleanup_json_ json_t *answer = NULL;
    struct error err;
    if (cli_get(cli, o.tenant, "/api/v1/admin/webhooks", &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    print_hooks(js_arr(answer, "webhooks"));
    return EXIT_DONE;
}

static json_t *split(const char *words)
{
    json_t *list = json_array();
    for (const char *p = words; *p; p += strspn(p, ",")) {
        size_t len = strcspn(p, ",");
        json_array_append_new(list, json_stringn(p, len));
        p += len;
    }
    return list;
}

static int show_secret(const json_t *answer, bool json)
{
    if (json)
        return cli_print_json(answer);
    printf("%s\n%s\n", js_str(answer, "id", ""), js_str(answer, "secret", ""));
    return EXIT_DONE;
}

static int run_add(struct cli *cli, int argc, char **argv)
{
    struct hooks_options o = {0};
    int code;
    if (cli_parse(cli, &hooks_add, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_json_ json_t *answer = NULL, *body = json_pack("{s:s}", "url", argv[1]);
    struct error err;
    js_set_str(body, "secret", o.secret);
    if (o.types)
        json_object_set_new(body, "types", split(o.types));
    if (cli_connect(cli, true, o.tenant, &client, &err) < 0 ||
        call(client, "POST", PARTS(NULL), body, &answer, &err) < 0)
        return cli_fail(cli, &err);
    return show_secret(answer, o.json);
}

static int run_remove(struct cli *cli, int argc, char **argv)
{
    struct hooks_options o = {0};
    int code;
    if (cli_parse(cli, &hooks_remove, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    struct error err;
    if (cli_connect(cli, true, o.tenant, &client, &err) < 0 ||
        call(client, "DELETE", PARTS(argv[1]), NULL, NULL, &err) < 0)
        return cli_fail(cli, &err);
    return EXIT_DONE;
}

static int run_rotate(struct cli *cli, int argc, char **argv)
{
    struct hooks_options o = {0};
    int64_t overlap_ms;
    int code;
    if (cli_parse(cli, &hooks_rotate, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_json_ json_t *answer = NULL, *body = json_object();
    struct error err;
    if (o.overlap && when_duration(o.overlap, &overlap_ms) < 0) {
        error_set(&err, ERR_USAGE, "--overlap takes a time such as 30m, 1h or 7d");
        return cli_misused(cli, &hooks_rotate, &err);
    }
    if (o.overlap)
        json_object_set_new(body, "overlapMs", json_integer(overlap_ms));
    if (cli_connect(cli, true, o.tenant, &client, &err) < 0 ||
        call(client, "POST", PARTS(argv[1], "rotate"), body, &answer, &err) < 0)
        return cli_fail(cli, &err);
    return show_secret(answer, o.json);
}

// ---- Deliveries

static int run_test(struct cli *cli, int argc, char **argv)
{
    struct hooks_options o = {0};
    int code;
    if (cli_parse(cli, &hooks_test, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_json_ json_t *begun = NULL;
    json_t *answer = NULL;
    struct error err;
    if (cli_connect(cli, false, o.tenant, &client, &err) < 0 ||
        call(client, "POST", PARTS(argv[1], "test"), NULL, &begun, &err) < 0)
        return cli_fail(cli, &err);
    do { // it ends within webhook.timeout
        json_decref(answer);
        answer = NULL;
        clock_sleep_ms(LOOK_MS);
        if (call(client, "GET", PARTS(argv[1], "deliveries", js_str(begun, "id", "")), NULL, &answer, &err) < 0)
            return cli_fail(cli, &err);
    } while (strcmp(js_str(answer, "state", ""), "waiting") == 0);
    bool well = strcmp(js_str(answer, "state", ""), "delivered") == 0;
    if (o.json)
        cli_print_json(answer);
    else if (well)
        printf("It answered with status %" PRId64 " after %" PRId64 " ms.\n", js_int(answer, "status", 0),
               js_int(answer, "tookMs", 0));
    else
        fprintf(stderr, "deeplens: %s\n", js_str(answer, "error", "It failed"));
    json_decref(answer);
    return well ? EXIT_DONE : EXIT_FAILED;
}

static int get_deliveries(struct client *client, const char *id, const char *state, const char *cursor, int64_t limit,
                          json_t **out, struct error *err)
{
    char number[24];
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    snprintf(number, sizeof number, "%" PRId64, limit);
    make_path(&path, id, "deliveries", NULL, NULL);
    client_query(&path, "state", state);
    client_query(&path, "limit", number);
    client_query(&path, "cursor", cursor);
    if (path.failed)
        return error_set(err, ERR_USAGE, "The id is too long");
    return client_get(client, path.data, out, err);
}

static void print_deliveries(const json_t *items)
{
    static const struct table_column columns[] = {{"DELIVERY"},
                                                  {"TYPE"},
                                                  {"STATE"},
                                                  {"ATTEMPTS", .right = true},
                                                  {"STATUS", .right = true},
                                                  {"CREATED"},
                                                  {"ERROR", .shrink = true},
                                                  {NULL}};
    _cleanup_table_ struct table t = {0};
    size_t i;
    json_t *item;
    table_init(&t, columns);
    json_array_foreach((json_t *)items, i, item)
    {
        char attempts[24], status[24];
        snprintf(attempts, sizeof attempts, "%" PRId64, js_int(item, "attempts", 0));
        snprintf(status, sizeof status, "%" PRId64, js_int(item, "status", 0));
        table_add(&t, js_str(item, "id", NULL), js_str(item, "type", NULL), js_str(item, "state", NULL), attempts,
                  js_int(item, "status", 0) ? status : NULL, js_str(item, "createdAt", NULL),
                  js_str(item, "error", NULL));
    }
    table_print(&t);
}

static int run_deliveries(struct cli *cli, int argc, char **argv)
{
    struct hooks_options o = {.limit = 20};
    int code;
    if (cli_parse(cli, &hooks_deliveries, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_json_ json_t *answer = NULL;
    struct error err;
    if (cli_connect(cli, true, o.tenant, &client, &err) < 0 ||
        get_deliveries(client, argv[1], o.state, NULL, o.limit, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    print_deliveries(js_arr(answer, "items"));
    return EXIT_DONE;
}

static int replay_one(struct client *client, const char *id, const char *delivery, int64_t *done, struct error *err)
{
    if (call(client, "POST", PARTS(id, "deliveries", delivery, "replay"), NULL, NULL, err) < 0)
        return -1;
    ++*done;
    return 0;
}

// Page by page, each behind the last: what dies anew meanwhile stays where it is.
static int replay_dead(struct client *client, const char *id, int64_t *done, struct error *err)
{
    char cursor[32] = "";
    do {
        _cleanup_json_ json_t *page = NULL;
        size_t i;
        json_t *item;
        if (get_deliveries(client, id, "dead", *cursor ? cursor : NULL, PAGE, &page, err) < 0)
            return -1;
        json_array_foreach(js_arr(page, "items"), i, item)
        {
            if (strcmp(js_str(item, "type", ""), "webhook.test") != 0 &&
                replay_one(client, id, js_str(item, "id", ""), done, err) < 0)
                return -1;
        }
        snprintf(cursor, sizeof cursor, "%s", js_str(page, "nextCursor", ""));
    } while (*cursor);
    return 0;
}

static int run_replay(struct cli *cli, int argc, char **argv)
{
    struct hooks_options o = {0};
    int64_t done = 0;
    int code;
    if (cli_parse(cli, &hooks_replay, &o, &argc, argv, 1, -1, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    struct error err;
    if (o.dead == (argc > 2)) {
        error_set(&err, ERR_USAGE, "Name deliveries, or say --dead");
        return cli_misused(cli, &hooks_replay, &err);
    }
    int rc = cli_connect(cli, true, o.tenant, &client, &err);
    if (rc == 0 && o.dead)
        rc = replay_dead(client, argv[1], &done, &err);
    for (int i = 2; i < argc && rc == 0; i++)
        rc = replay_one(client, argv[1], argv[i], &done, &err);
    if (rc < 0)
        return cli_fail(cli, &err);
    if (o.json)
        printf("{\"replayed\":%" PRId64 "}\n", done);
    else
        printf("%" PRId64 " deliveries begin anew.\n", done);
    return EXIT_DONE;
}

static int run(struct cli *cli, int argc, char **argv)
{
    return cli_run_sub(cli, &command_webhooks, argc, argv);
}

const struct command command_webhooks = {
    .name = "webhooks",
    .usage = "list | add URL | remove ID | rotate ID | test ID | deliveries ID | replay ID DELIVERY...",
    .summary = "Addresses that are told of changes, signed",
    .details = "See docs/WEBHOOKS.md.",
    .subs = (const struct command *const[]){&hooks_list, &hooks_add, &hooks_remove, &hooks_rotate, &hooks_test,
                                            &hooks_deliveries, &hooks_replay, NULL},
    .run = run,
};
