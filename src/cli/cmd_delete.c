// SPDX-License-Identifier: Apache-2.0
// deeplens delete ID...
#include <stdio.h>
#include <string.h>

#include "base/js.h"
#include "cli/cli.h"

struct delete_options {
    const char *tenant;
    bool yes;
    bool json;
};

static const struct option_def options[] = {
    FLAG_OPTION(struct delete_options, yes, "yes", "Do not ask"),
    TEXT_OPTION(struct delete_options, tenant, "tenant", "NAME", "Whose images they are"),
    FLAG_OPTION(struct delete_options, json, "json", "Print one JSON document: an array, one member an id"),
    END_OPTION,
};

static int delete_one(struct client *client, const char *id, json_t *answers, bool json)
{
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    json_t *answer = NULL;
    struct error err;
    buf_puts(&path, "/api/v1/images/");
    client_segment(&path, id);
    int rc = client_call(client, "DELETE", path.data, NULL, &answer, &err);
    if (rc < 0)
        fprintf(stderr, "deeplens: %.80s: %s (%s)\n", id, err.message, error_code_name(err.code));
    else if (!json)
        printf("%s %s\n", js_str(answer, "imageId", js_str(answer, "videoId", id)),
               js_str(answer, "status", "deleting"));
    if (rc < 0)
        answer = json_pack("{s:s*, s:{s:s, s:s}}", "imageId", id, "error", "code", error_code_name(err.code), "message",
                           err.message);
    json_array_append_new(answers, answer);
    return rc;
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct delete_options o = {0};
    int code;
    if (cli_parse(cli, &command_delete, &o, &argc, argv, 1, -1, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_json_ json_t *answers = json_array();
    struct error err;
    int failed = 0;
    if (cli_connect(cli, false, o.tenant, &client, &err) < 0)
        return cli_fail(cli, &err);
    char question[80];
    snprintf(question, sizeof question, "Delete %d image%s, for good?", argc - 1, argc == 2 ? "" : "s");
    if (cli_confirm(o.yes, question, &err) < 0)
        return cli_fail(cli, &err);
    for (int i = 1; i < argc; i++)
        failed += delete_one(client, argv[i], answers, o.json) < 0;
    if (o.json)
        cli_print_json(answers);
    return failed ? EXIT_FAILED : EXIT_DONE;
}

const struct command command_delete = {
    .name = "delete",
    .usage = "ID... [OPTIONS]",
    .summary = "Delete images, with everything that was made from them",
    .details = "Asks first; without a terminal it takes --yes.",
    .examples =
        "deeplens delete img_0190b2c4-7c1e-7a3b-9f00-5d2f8a61c0de\ndeeplens delete --yes --tenant shop img_1 img_2",
    .options = options,
    .run = run,
};
