// SPDX-License-Identifier: Apache-2.0
// deeplens receipt list | show | verify | key
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/js.h"
#include "cli/cli.h"
#include "cli/files.h"
#include "cli/table.h"
#include "cli/text.h"
#include "flow/receipt.h"

enum { FILE_MAX = 64 << 20, KEY_FILE_MAX = 4096 };
#define KEY_PATH "/api/v1/admin/receipts/key"

struct receipt_options {
    const char *tenant, *item, *cursor, *key;
    int64_t limit;
    bool json;
};

#define SHARED_OPTIONS                                                                                                 \
    TEXT_OPTION(struct receipt_options, tenant, "tenant", "NAME", "Whose item it was"),                                \
        FLAG_OPTION(struct receipt_options, json, "json", "Print one JSON document")

static const struct option_def show_options[] = {SHARED_OPTIONS, END_OPTION};
static const struct option_def list_options[] = {
    TEXT_OPTION(struct receipt_options, item, "item", "ID", "Of this image or video alone"),
    INT_OPTION(struct receipt_options, limit, "limit", "N", 1, 1000, "At most so many, the latest first (50)"),
    TEXT_OPTION(struct receipt_options, cursor, "cursor", "CURSOR", "Go on behind an earlier answer"),
    SHARED_OPTIONS,
    END_OPTION,
};
static const struct option_def verify_options[] = {
    TEXT_OPTION(struct receipt_options, key, "key", "KEY",
                "The public key, or a file with it (else the server is asked, which has to be trusted then)"),
    FLAG_OPTION(struct receipt_options, json, "json", "Print one JSON document: an array, one member a receipt"),
    END_OPTION,
};
static const struct option_def key_options[] = {
    FLAG_OPTION(struct receipt_options, json, "json", "Print one JSON document"),
    END_OPTION,
};

static const struct command receipt_list_, receipt_show, receipt_verify_, receipt_key_;

static int64_t all_vectors(const json_t *removed)
{
    int64_t sum = 0;
    const char *name;
    json_t *count;
    json_object_foreach(js_obj(removed, "vectors"), name, count) sum += json_integer_value(count);
    return sum;
}

static void add_row(struct table *t, const json_t *one)
{
    const json_t *receipt = js_obj(one, "receipt"), *removed = js_obj(receipt, "removed");
    int64_t files = js_int(removed, "originals", 0) + js_int(removed, "thumbnails", 0) + js_int(removed, "frames", 0) +
                    js_int(removed, "derived", 0);
    char counts[3][TEXT_SHORT];
    table_add(t, js_str(receipt, "completedAt", NULL), js_str(receipt, "receiptId", NULL),
              js_str(receipt, "itemId", NULL), text_count((uint64_t)files, counts[0]),
              text_count((uint64_t)all_vectors(removed), counts[1]),
              text_count((uint64_t)js_int(removed, "rows", 0), counts[2]));
}

static int run_list(struct cli *cli, int argc, char **argv)
{
    static const struct table_column columns[] = {{"REMOVED"},
                                                  {"RECEIPT"},
                                                  {"ITEM"},
                                                  {"FILES", .right = true},
                                                  {"VECTORS", .right = true},
                                                  {"ROWS", .right = true},
                                                  {NULL}};
    struct receipt_options o = {.limit = 50};
    int code;
    if (cli_parse(cli, &receipt_list_, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    _cleanup_table_ struct table t = {0};
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    char number[24];
    struct error err;
    size_t i;
    json_t *one;
    snprintf(number, sizeof number, "%" PRId64, o.limit);
    buf_puts(&path, "/api/v1/receipts");
    client_query(&path, "limit", number);
    client_query(&path, "itemId", o.item);
    client_query(&path, "cursor", o.cursor);
    if (cli_get(cli, o.tenant, path.data, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    table_init(&t, columns);
    json_array_foreach(js_arr(answer, "receipts"), i, one) add_row(&t, one);
    if (t.rows)
        table_print(&t);
    else
        puts("There are no receipts.");
    if (js_str(answer, "nextCursor", NULL))
        printf("\nThere are more: --cursor %s\n", js_str(answer, "nextCursor", ""));
    return EXIT_DONE;
}

// --- One

static void print_receipt(const json_t *one)
{
    const json_t *receipt = js_obj(one, "receipt"), *removed = js_obj(receipt, "removed");
    static const struct {
        const char *member, *text;
    } lines[] = {{"originals", "originals"},
                 {"thumbnails", "thumbnails"},
                 {"frames", "pictures of frames"},
                 {"derived", "poster, preview, sheet"},
                 {"rows", "records"}};
    printf("%s %s of tenant %s\n", js_str(receipt, "kind", "item"), js_str(receipt, "itemId", "-"),
           js_str(receipt, "tenantId", "-"));
    printf("asked for %s, removed and verified %s\n", js_str(receipt, "requestedAt", "-"),
           js_str(receipt, "completedAt", "-"));
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        if (json_object_get(removed, lines[i].member))
            printf("  %" PRId64 " %s\n", js_int(removed, lines[i].member, 0), lines[i].text);
    const char *name;
    json_t *count;
    json_object_foreach(js_obj(removed, "vectors"), name, count)
        printf("  %" JSON_INTEGER_FORMAT " vectors in %s\n", json_integer_value(count), name);
    printf("receipt %s, signed by the key %s\n", js_str(receipt, "receiptId", "-"), js_str(one, "keyId", "-"));
}

static int run_show(struct cli *cli, int argc, char **argv)
{
    struct receipt_options o = {0};
    int code;
    if (cli_parse(cli, &receipt_show, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    struct error err;
    buf_puts(&path, "/api/v1/receipts/");
    client_segment(&path, argv[1]);
    if (cli_get(cli, o.tenant, path.data, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    print_receipt(answer);
    return EXIT_DONE;
}

// --- The key

static int run_key(struct cli *cli, int argc, char **argv)
{
    struct receipt_options o = {0};
    int code;
    if (cli_parse(cli, &receipt_key_, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    _cleanup_json_ json_t *answer = NULL;
    struct error err;
    if (cli_get(cli, NULL, KEY_PATH, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    fputs(js_str(answer, "pem", ""), stdout);
    return EXIT_DONE;
}

static int read_key(struct cli *cli, const char *key, struct receipt_public *out, struct error *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(KEY_FILE_MAX);
    _cleanup_json_ json_t *answer = NULL;
    if (key && access(key, F_OK) != 0 && strcmp(key, "-") != 0)
        return receipt_public_read(key, out, err);
    if (key)
        return files_read(key, &text, err) < 0 ? -1 : receipt_public_read(text.data ? text.data : "", out, err);
    if (cli_get(cli, NULL, KEY_PATH, &answer, err) < 0)
        return -1;
    return receipt_public_read(js_str(answer, "publicKey", ""), out, err);
}

// --- Verifying

struct verifying {
    struct receipt_public key;
    json_t *answers;
    size_t genuine, others;
    bool json;
};

static void verify_one(struct verifying *v, const char *file, const json_t *one)
{
    struct error err = {0};
    const char *id = js_str(js_obj(one, "receipt"), "receiptId", NULL);
    int rc = receipt_verify(&v->key, one, &err);
    v->genuine += rc == 0;
    v->others += rc < 0;
    json_t *answer = json_pack("{s:s,s:s*,s:b}", "file", file, "receiptId", id, "genuine", rc == 0);
    if (rc < 0)
        json_object_set_new(answer, "error",
                            json_pack("{s:s,s:s}", "code", error_code_name(err.code), "message", err.message));
    json_array_append_new(v->answers, answer);
    if (rc < 0)
        fprintf(stderr, "deeplens: %s: %s: %s (%s)\n", file, id ? id : "-", err.message, error_code_name(err.code));
    else if (!v->json)
        printf("%s is genuine: %s was removed %s\n", id ? id : "-", js_str(js_obj(one, "receipt"), "itemId", "-"),
               js_str(js_obj(one, "receipt"), "completedAt", "-"));
}

// A receipt, or an answer that lists some.
static int verify_file(struct verifying *v, const char *file, struct error *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(FILE_MAX);
    if (files_read(file, &text, err) < 0)
        return -1;
    _cleanup_json_ json_t *json = js_parse(text.data ? text.data : "", text.len, err);
    if (!json)
        return error_prefix(err, "%.200s", file);
    const json_t *list = json_is_array(json) ? json : js_arr(json, "receipts");
    size_t i;
    json_t *one;
    if (!list)
        verify_one(v, file, json);
    json_array_foreach((json_t *)list, i, one) verify_one(v, file, one);
    return 0;
}

static int run_verify(struct cli *cli, int argc, char **argv)
{
    struct receipt_options o = {0};
    int code;
    if (cli_parse(cli, &receipt_verify_, &o, &argc, argv, 1, -1, &code) < 0)
        return code;
    struct verifying v = {.json = o.json};
    struct error err;
    if (read_key(cli, o.key, &v.key, &err) < 0)
        return cli_fail(cli, &err);
    _cleanup_json_ json_t *answers = json_array();
    v.answers = answers;
    for (int i = 1; i < argc; i++)
        if (verify_file(&v, argv[i], &err) < 0)
            return cli_fail(cli, &err);
    if (o.json)
        cli_print_json(answers);
    if (!v.genuine && !v.others)
        fputs("deeplens: There is no receipt in there\n", stderr);
    return v.others || !v.genuine ? EXIT_FAILED : EXIT_DONE;
}

static const struct command receipt_list_ = {
    .name = "receipt list",
    .usage = "[OPTIONS]",
    .summary = "List what was deleted, the latest first",
    .examples =
        "deeplens receipt list --tenant shop\ndeeplens receipt list --item img_0190b2c4-7c1e-7a3b-9f00-5d2f8a61c0de",
    .options = list_options,
    .run = run_list,
};

static const struct command receipt_show = {
    .name = "receipt show",
    .usage = "ID [OPTIONS]",
    .summary = "Show one receipt",
    .examples = "deeplens receipt show rcp_0190b2c4-7c1e-7a3b-9f00-5d2f8a61c0de --json > receipt.json",
    .options = show_options,
    .run = run_show,
};

static const struct command receipt_verify_ = {
    .name = "receipt verify",
    .usage = "FILE... [OPTIONS]",
    .summary = "Say whether receipts are genuine",
    .details = "Files as `show --json` and `list --json` print them; - is stdin. With --key no server is needed. Fails "
               "(exit code 1) when one of them was changed, or another key signed it.",
    .examples = "deeplens receipt verify receipt.json --key receipts.pem",
    .options = verify_options,
    .run = run_verify,
};

static const struct command receipt_key_ = {
    .name = "receipt key",
    .usage = "[OPTIONS]",
    .summary = "Print the public key that verifies this installation's receipts",
    .examples = "deeplens receipt key > receipts.pem",
    .options = key_options,
    .run = run_key,
};

static int run(struct cli *cli, int argc, char **argv)
{
    return cli_run_sub(cli, &command_receipt, argc, argv);
}

const struct command command_receipt = {
    .name = "receipt",
    .usage = "list | show ID | verify FILE... | key",
    .summary = "Proofs of what was deleted",
    .details = "See docs/MAINTENANCE.md.",
    .subs = (const struct command *const[]){&receipt_list_, &receipt_show, &receipt_verify_, &receipt_key_, NULL},
    .run = run,
};
