// SPDX-License-Identifier: Apache-2.0
// deeplens topics list | describe | peek
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/js.h"
#include "cli/cli.h"
#include "cli/table.h"
#include "cli/text.h"

struct topics_options {
    const char *offset;
    int64_t partition, limit;
    bool json;
};

static const struct option_def options[] = {
    FLAG_OPTION(struct topics_options, json, "json", "Print one JSON document"),
    END_OPTION,
};

static const struct option_def peek_options[] = {
    INT_OPTION(struct topics_options, partition, "partition", "N", 0, 10000, "Only this partition (all, by time)"),
    TEXT_OPTION(struct topics_options, offset, "offset", "OFFSET",
                "Where to begin: a number, earliest, or latest for the last ones (latest)"),
    INT_OPTION(struct topics_options, limit, "limit", "N", 1, 1000, "At most so many (10)"),
    FLAG_OPTION(struct topics_options, json, "json", "Print one JSON document a record, one a line"),
    END_OPTION,
};

static const struct command topics_list, topics_describe, topics_peek;

// A retention as people say it; NULL when there is none.
static const char *retention(int64_t ms, char out[TEXT_SHORT])
{
    if (ms <= 0)
        return NULL;
    if (ms % 86400000 == 0)
        snprintf(out, TEXT_SHORT, "%" PRId64 " d", ms / 86400000);
    else
        text_duration((double)ms / 1000, out);
    return out;
}

static int run_list(struct cli *cli, int argc, char **argv)
{
    struct topics_options o = {0};
    int code;
    if (cli_parse(cli, &topics_list, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    static const struct table_column columns[] = {{"TOPIC"},
                                                  {"TYPE", .shrink = true},
                                                  {"PARTITIONS", .right = true},
                                                  {"RETENTION", .right = true},
                                                  {"RECORDS", .right = true},
                                                  {"SIZE", .right = true},
                                                  {NULL}};
    _cleanup_table_ struct table t = {0};
    _cleanup_json_ json_t *answer = NULL;
    struct error err;
    size_t i;
    json_t *topic;
    if (cli_get(cli, NULL, "/api/v1/admin/topics", &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    table_init(&t, columns);
    json_array_foreach(js_arr(answer, "topics"), i, topic)
    {
        char partitions[TEXT_SHORT], kept[TEXT_SHORT], records[TEXT_SHORT], bytes[TEXT_SHORT];
        table_add(&t, js_str(topic, "name", NULL), js_str(topic, "type", NULL),
                  text_count((uint64_t)js_int(topic, "partitions", 0), partitions),
                  retention(js_int(topic, "retentionMs", 0), kept),
                  text_count((uint64_t)js_int(topic, "records", 0), records),
                  text_bytes((uint64_t)js_int(topic, "bytes", 0), bytes));
    }
    table_print(&t);
    return EXIT_DONE;
}

static void describe(const json_t *topic)
{
    static const struct table_column columns[] = {{"PARTITION", .right = true},
                                                  {"BEGIN", .right = true},
                                                  {"END", .right = true},
                                                  {"RECORDS", .right = true},
                                                  {"SIZE", .right = true},
                                                  {"OLDEST"},
                                                  {NULL}};
    _cleanup_table_ struct table t = {0};
    char kept[TEXT_SHORT], bytes[TEXT_SHORT];
    const char *time = retention(js_int(topic, "retentionMs", 0), kept);
    size_t i;
    json_t *p;
    printf("%s\n  type %s, kept for %s and %s a partition\n", js_str(topic, "name", "-"), js_str(topic, "type", "-"),
           time ? time : "ever", text_bytes((uint64_t)js_int(topic, "retentionBytes", 0), bytes));
    table_init(&t, columns);
    json_array_foreach(js_arr(topic, "partitions"), i, p)
    {
        char number[TEXT_SHORT], begin[TEXT_SHORT], end[TEXT_SHORT], records[TEXT_SHORT];
        int64_t first = js_int(p, "begin", 0), last = js_int(p, "end", 0);
        snprintf(number, sizeof number, "%" PRId64, js_int(p, "partition", 0));
        snprintf(begin, sizeof begin, "%" PRId64, first);
        snprintf(end, sizeof end, "%" PRId64, last);
        table_add(&t, number, begin, end, text_count((uint64_t)(last - first), records),
                  text_bytes((uint64_t)js_int(p, "bytes", 0), bytes), js_str(p, "oldestAt", NULL));
    }
    table_print(&t);
}

static int run_describe(struct cli *cli, int argc, char **argv)
{
    struct topics_options o = {0};
    int code;
    if (cli_parse(cli, &topics_describe, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_json_ json_t *topic = NULL;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    struct error err;
    buf_puts(&path, "/api/v1/admin/topics/");
    client_segment(&path, argv[1]);
    if (cli_get(cli, NULL, path.data, &topic, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(topic);
    describe(topic);
    return EXIT_DONE;
}

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

static int check_offset(const char *offset, struct error *err)
{
    if (strcmp(offset, "earliest") == 0 || strcmp(offset, "latest") == 0)
        return 0;
    if (*offset && strspn(offset, "0123456789") == strlen(offset))
        return 0;
    return error_set(err, ERR_USAGE, "--offset takes a number, earliest or latest, not \"%.80s\"", offset);
}

static void peek_path(const struct topics_options *o, const char *topic, struct buf *path)
{
    char number[24];
    buf_puts(path, "/api/v1/admin/topics/");
    client_segment(path, topic);
    buf_puts(path, "/records");
    snprintf(number, sizeof number, "%" PRId64, o->partition);
    client_query(path, "partition", o->partition >= 0 ? number : NULL);
    client_query(path, "offset", o->offset);
    snprintf(number, sizeof number, "%" PRId64, o->limit);
    client_query(path, "limit", number);
}

static int run_peek(struct cli *cli, int argc, char **argv)
{
    struct topics_options o = {.offset = "latest", .partition = -1, .limit = 10};
    int code;
    if (cli_parse(cli, &topics_peek, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    struct error err;
    size_t i;
    json_t *record;
    if (check_offset(o.offset, &err) < 0)
        return cli_misused(cli, &topics_peek, &err);
    peek_path(&o, argv[1], &path);
    if (cli_get(cli, NULL, path.data, &answer, &err) < 0)
        return cli_fail(cli, &err);
    json_array_foreach(js_arr(answer, "records"), i, record)
    {
        if (o.json)
            cli_print_json(record);
        else
            print_record(record);
    }
    if (!json_array_size(js_arr(answer, "records")) && !o.json)
        fputs("There are no records.\n", stderr);
    return EXIT_DONE;
}

static const struct command topics_list = {
    .name = "topics list",
    .usage = "[OPTIONS]",
    .summary = "List the topics of the event log",
    .examples = "deeplens topics list",
    .options = options,
    .run = run_list,
};

static const struct command topics_describe = {
    .name = "topics describe",
    .usage = "TOPIC [OPTIONS]",
    .summary = "Show a topic's partitions",
    .examples = "deeplens topics describe deeplens.images.uploaded",
    .options = options,
    .run = run_describe,
};

static const struct command topics_peek = {
    .name = "topics peek",
    .usage = "TOPIC [OPTIONS]",
    .summary = "Show a topic's records, without consuming them",
    .examples = "deeplens topics peek deeplens.images.uploaded --limit 1\n"
                "deeplens topics peek deeplens.processing.deadletter --partition 0 --offset earliest --json",
    .options = peek_options,
    .run = run_peek,
};

static int run(struct cli *cli, int argc, char **argv)
{
    return cli_run_sub(cli, &command_topics, argc, argv);
}

const struct command command_topics = {
    .name = "topics",
    .usage = "list | describe TOPIC | peek TOPIC",
    .summary = "Look into the event log",
    .details = "Asks the server or, when none runs, opens the data directory.",
    .subs = (const struct command *const[]){&topics_list, &topics_describe, &topics_peek, NULL},
    .run = run,
};
