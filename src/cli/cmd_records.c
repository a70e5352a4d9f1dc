// SPDX-License-Identifier: Apache-2.0
// deeplens topics peek | produce
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "cli/text.h"
#include "cli/topics.h"
#include "cli/when.h"

enum { FOLLOW_MS = 500, RECORD_MAX = 1 << 20, INPUT_MAX = 64 << 20 };

struct records_options {
    const char *offset, *from, *tenant, *key, *value, *headers;
    int64_t partition, limit;
    bool follow, lines, json;
};

// --- Peek

static const struct option_def peek_options[] = {
    INT_OPTION(struct records_options, partition, "partition", "N", 0, 1023, "Only this partition (all, by time)"),
    TEXT_OPTION(struct records_options, offset, "offset", "OFFSET",
                "Where to begin: a number, earliest, or latest for the last ones (latest)"),
    TEXT_OPTION(struct records_options, from, "from", "TIME",
                "Begin at this time: 2026-11-22T10:30:00Z, or 2h ago as 2h"),
    INT_OPTION(struct records_options, limit, "limit", "N", 1, 1000, "At most so many (10)"),
    TEXT_OPTION(struct records_options, tenant, "tenant", "NAME", "Only this tenant's"),
    TEXT_OPTION(struct records_options, key, "key", "KEY", "Only with this key, such as an item's id"),
    FLAG_OPTION(struct records_options, follow, "follow", "Go on with what comes, until interrupted"),
    FLAG_OPTION(struct records_options, json, "json", "Print one JSON document a record, one a line"),
    END_OPTION,
};

static void print_record(const json_t *record)
{
    json_t *value = json_object_get(record, "value");
    _cleanup_free_ char *text =
        value ? json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15)) : NULL;
    const char *key = js_str(record, "key", "-");
    const char *name;
    json_t *header;
    _cleanup_buf_ struct buf clean = BUF_INIT(1 << 20);
    text_fit(&clean, key, 0);
    printf("%s  partition %" PRId64 "  offset %" PRId64 "  key %s\n", js_str(record, "timestamp", "-"),
           js_int(record, "partition", 0), js_int(record, "offset", 0), clean.data ? clean.data : "");
    json_object_foreach(js_obj(record, "headers"), name, header)
    {
        buf_clear(&clean);
        text_fit(&clean, name, 0);
        buf_puts(&clean, ": ");
        text_fit(&clean, json_is_string(header) ? json_string_value(header) : "-", 0);
        printf("  %s\n", clean.data);
    }
    printf("%s\n\n", text ? text : js_str(record, "valueBase64", ""));
}

static int check_offset(const struct records_options *o, struct error *err)
{
    const char *offset = o->offset;
    if (offset && o->from)
        return error_set(err, ERR_USAGE, "--offset and --from exclude each other");
    if (!offset || strcmp(offset, "earliest") == 0 || strcmp(offset, "latest") == 0)
        return 0;
    if (*offset && strspn(offset, "0123456789") == strlen(offset))
        return 0;
    return error_set(err, ERR_USAGE, "--offset takes a number, earliest or latest, not \"%.80s\"", offset);
}

// `cursor` NULL: the first look, from where the options say.
static int peek_path(const struct records_options *o, const char *topic, const char *cursor, struct buf *path,
                     struct error *err)
{
    char number[24], time[CLOCK_TEXT];
    int64_t from_ms = 0;
    buf_clear(path);
    buf_puts(path, "/api/v1/admin/topics/");
    client_segment(path, topic);
    buf_puts(path, "/records");
    snprintf(number, sizeof number, "%" PRId64, o->partition);
    client_query(path, "partition", o->partition >= 0 ? number : NULL);
    if (o->from && when_time("from", o->from, clock_now_ms(), &from_ms, err) < 0)
        return -1;
    client_query(path, "from", !cursor && o->from ? clock_rfc3339(from_ms, time) : NULL);
    client_query(path, "offset", cursor ? NULL : o->offset);
    client_query(path, "cursor", cursor);
    client_query(path, "tenantId", o->tenant);
    client_query(path, "key", o->key);
    snprintf(number, sizeof number, "%" PRId64, cursor ? 1000 : o->limit);
    client_query(path, "limit", number);
    return path->failed ? error_set(err, ERR_USAGE, "The filters are too long") : 0;
}

static size_t print_records(const struct records_options *o, const json_t *answer)
{
    size_t i;
    json_t *record;
    json_array_foreach(js_arr(answer, "records"), i, record)
    {
        if (o->json)
            cli_print_json(record);
        else
            print_record(record);
    }
    fflush(stdout);
    return json_array_size(js_arr(answer, "records"));
}

static int follow(struct client *client, const struct records_options *o, const char *topic, json_t **answer,
                  struct error *err)
{
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    while (!ferror(stdout)) {
        json_t *next = NULL;
        if (peek_path(o, topic, js_str(*answer, "cursor", ""), &path, err) < 0 ||
            client_get(client, path.data, &next, err) < 0)
            return -1;
        bool moved = strcmp(js_str(next, "cursor", ""), js_str(*answer, "cursor", "")) != 0;
        json_decref(*answer);
        *answer = next;
        print_records(o, next);
        if (!moved)
            clock_sleep_ms(FOLLOW_MS);
    }
    return 0;
}

static int run_peek(struct cli *cli, int argc, char **argv)
{
    struct records_options o = {.partition = -1, .limit = 10};
    int code;
    if (cli_parse(cli, &topics_peek, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    struct error err;
    if (check_offset(&o, &err) < 0 || peek_path(&o, argv[1], NULL, &path, &err) < 0)
        return cli_misused(cli, &topics_peek, &err);
    if (cli_connect(cli, true, NULL, &client, &err) < 0 || client_get(client, path.data, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (!print_records(&o, answer) && !o.json && !o.follow)
        fputs("There are no records.\n", stderr);
    if (o.follow && follow(client, &o, argv[1], &answer, &err) < 0)
        return cli_fail(cli, &err);
    return EXIT_DONE;
}

const struct command topics_peek = {
    .name = "topics peek",
    .usage = "TOPIC [OPTIONS]",
    .summary = "Show a topic's records, without consuming them",
    .details = "With --tenant or --key at most the 20,000 nearest records of each partition are looked at.",
    .examples = "deeplens topics peek deeplens.images.uploaded --limit 1\n"
                "deeplens topics peek deeplens.processing.failed --from 2h --tenant acme --follow\n"
                "deeplens topics peek deeplens.processing.deadletter --partition 0 --offset earliest --json",
    .options = peek_options,
    .run = run_peek,
};

// --- Produce

static const struct option_def produce_options[] = {
    TEXT_OPTION(struct records_options, key, "key", "KEY", "The key, which chooses the partition"),
    TEXT_OPTION(struct records_options, headers, "headers", "JSON", "An object of strings"),
    TEXT_OPTION(struct records_options, value, "value", "TEXT", "The record itself, instead of a file"),
    FLAG_OPTION(struct records_options, lines, "lines", "A record for each line"),
    FLAG_OPTION(struct records_options, json, "json", "Print one JSON document"),
    END_OPTION,
};

static int read_input(const char *name, struct buf *out, struct error *err)
{
    bool from_stdin = strcmp(name, "-") == 0;
    _cleanup_close_ int file = from_stdin ? -1 : open(name, O_RDONLY | O_CLOEXEC);
    if (!from_stdin && file < 0)
        return error_errno(err, ERR_NOT_FOUND, errno, "%.200s cannot be opened", name);
    for (;;) {
        char part[65536];
        ssize_t got = read(from_stdin ? STDIN_FILENO : file, part, sizeof part);
        if (got < 0)
            return error_errno(err, ERR_IO, errno, "%.200s cannot be read", name);
        if (got == 0)
            return 0;
        if (buf_append(out, part, (size_t)got) < 0)
            return error_set(err, ERR_BODY_TOO_LARGE, "%.200s is larger than %d bytes", name, INPUT_MAX);
    }
}

static int produce(struct client *client, const struct records_options *o, const json_t *headers, const char *topic,
                   const char *value, size_t len, struct error *err)
{
    if (len > RECORD_MAX)
        return error_set(err, ERR_BODY_TOO_LARGE, "A record has at most %d bytes, not %zu", RECORD_MAX, len);
    size_t room = sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_ORIGINAL);
    _cleanup_free_ char *text = malloc(room);
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    if (!text)
        return error_set(err, ERR_NO_MEMORY, "No memory for the record");
    sodium_bin2base64(text, room, (const unsigned char *)value, len, sodium_base64_VARIANT_ORIGINAL);
    _cleanup_json_ json_t *body = json_pack("{s:s,s:s*,s:O*}", "valueBase64", text, "key", o->key, "headers", headers);
    buf_puts(&path, "/api/v1/admin/topics/");
    client_segment(&path, topic);
    buf_puts(&path, "/records");
    return client_call(client, "POST", path.data, body, NULL, err);
}

// All of it, or each line that is not empty.
static int produce_all(struct client *client, const struct records_options *o, const json_t *headers, const char *topic,
                       const char *text, size_t len, size_t *count, struct error *err)
{
    if (!o->lines) {
        *count = 1;
        return produce(client, o, headers, topic, text, len, err);
    }
    for (size_t at = 0; at < len;) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t line = end ? (size_t)(end - text) - at : len - at;
        if (line && produce(client, o, headers, topic, text + at, line, err) < 0)
            return error_prefix(err, "After %zu records", *count);
        *count += line > 0;
        at += line + 1;
    }
    return 0;
}

static int run_produce(struct cli *cli, int argc, char **argv)
{
    struct records_options o = {0};
    int code;
    if (cli_parse(cli, &topics_produce, &o, &argc, argv, 1, 2, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_buf_ struct buf input = BUF_INIT(INPUT_MAX);
    struct error err;
    size_t count = 0;
    _cleanup_json_ json_t *headers = o.headers ? js_parse(o.headers, strlen(o.headers), &err) : json_object();
    if (headers && !json_is_object(headers))
        error_set(&err, ERR_USAGE, "--headers takes a JSON object, such as {\"ce_source\": \"me\"}");
    if (o.value && argc > 2)
        error_set(&err, ERR_USAGE, "--value and a file exclude each other");
    if (!json_is_object(headers) || (o.value && argc > 2))
        return cli_misused(cli, &topics_produce, &err);
    if (!o.value && read_input(argc > 2 ? argv[2] : "-", &input, &err) < 0)
        return cli_fail(cli, &err);
    const char *text = o.value ? o.value : input.data ? input.data : "";
    if (cli_connect(cli, true, NULL, &client, &err) < 0 ||
        produce_all(client, &o, headers, argv[1], text, o.value ? strlen(o.value) : input.len, &count, &err) < 0)
        return cli_fail(cli, &err);
    if (!o.json) {
        printf("%zu record%s published to %s.\n", count, count == 1 ? "" : "s", argv[1]);
        return EXIT_DONE;
    }
    _cleanup_json_ json_t *answer = json_pack("{s:s,s:I}", "topic", argv[1], "published", (json_int_t)count);
    return cli_print_json(answer);
}

const struct command topics_produce = {
    .name = "topics produce",
    .usage = "TOPIC [FILE | -] [OPTIONS]",
    .summary = "Publish records by hand",
    .details =
        "From a file, from stdin, or from --value; the bytes stay as they are, at most 1 MiB a record. What a step "
        "cannot read becomes a dead letter.",
    .examples = "deeplens topics produce whatsapp-ready-messages --key 123@s.whatsapp.net message.json\n"
                "deeplens topics produce my-topic --lines < events.jsonl",
    .options = produce_options,
    .run = run_produce,
};
