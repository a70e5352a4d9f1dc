// SPDX-License-Identifier: Apache-2.0
// deeplens ledger: the count that must always hold.
#include <inttypes.h>
#include <stdio.h>

#include "base/js.h"
#include "cli/cli.h"
#include "cli/table.h"
#include "cli/text.h"

struct ledger_options {
    const char *tenant;
    bool json;
};

static const struct option_def options[] = {
    TEXT_OPTION(struct ledger_options, tenant, "tenant", "NAME", "This tenant's alone; otherwise everyone's"),
    FLAG_OPTION(struct ledger_options, json, "json", "Print one JSON document"),
    END_OPTION,
};

static void print(const json_t *ledger)
{
    static const struct {
        const char *member, *sign, *text;
    } lines[] = {
        {"accepted", "", "uploads accepted"},
        {"searchable", "=", "searchable"},
        {"failed", "+", "failed, with a dead letter"},
        {"deleted", "+", "deleted on request"},
        {"inFlight", "+", "in flight"},
    };
    static const struct table_column columns[] = {{" "}, {"COUNT", .right = true}, {"WHAT"}, {NULL}};
    _cleanup_table_ struct table t = {0};
    char count[TEXT_SHORT];
    table_init(&t, columns);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        table_add(&t, *lines[i].sign ? lines[i].sign : " ",
                  text_count((uint64_t)js_int(ledger, lines[i].member, 0), count), lines[i].text);
    table_print(&t);
    printf("\n%s. Uploads that were there already: %" PRId64 ".\n",
           js_bool(ledger, "closes", false) ? "The ledger closes" : "THE LEDGER DOES NOT CLOSE",
           js_int(ledger, "duplicates", 0));
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct ledger_options o = {0};
    int code;
    if (cli_parse(cli, &command_ledger, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    _cleanup_json_ json_t *ledger = NULL;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    struct error err;
    buf_puts(&path, "/api/v1/admin/ledger");
    client_query(&path, "tenantId", o.tenant);
    if (cli_get(cli, o.tenant, path.data, &ledger, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        cli_print_json(ledger);
    else
        print(ledger);
    return js_bool(ledger, "closes", false) ? EXIT_DONE : EXIT_FAILED;
}

const struct command command_ledger = {
    .name = "ledger",
    .usage = "[OPTIONS]",
    .summary = "Count what was accepted, and what became of it",
    .details = "Every upload that was accepted is searchable, failed, deleted, or on its way. Fails when the numbers "
               "do not add up.",
    .examples = "deeplens ledger\ndeeplens ledger --tenant shop --json",
    .options = options,
    .run = run,
};
