// SPDX-License-Identifier: Apache-2.0
// deeplens topics list | describe | create | alter | delete | recreate | ensure; peek and produce are in cmd_records.c
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/js.h"
#include "cli/cli.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/topics.h"
#include "cli/when.h"
#include "conf/conf.h"
#include "events/event.h"

struct topics_options {
    const char *retention;
    int64_t partitions, replication, retention_bytes;
    bool json, yes, dry_run;
};

#define JSON_OPTION FLAG_OPTION(struct topics_options, json, "json", "Print one JSON document")

static const struct option_def options[] = {JSON_OPTION, END_OPTION};

static const struct option_def change_options[] = {
    INT_OPTION(struct topics_options, partitions, "partitions", "N", 1, 1024, "So many partitions"),
    TEXT_OPTION(struct topics_options, retention, "retention", "TIME", "Keep records for so long: 7d, 36h, forever"),
    INT_OPTION(struct topics_options, retention_bytes, "retention-bytes", "N", -1, INT64_MAX,
               "Keep so many bytes of a partition; -1: any number"),
    INT_OPTION(struct topics_options, replication, "replication", "N", 1, 32,
               "So many copies (create only; the embedded log keeps one)"),
    FLAG_OPTION(struct topics_options, yes, "yes", "Do not ask"),
    JSON_OPTION,
    END_OPTION,
};

static const struct option_def destroy_options[] = {
    FLAG_OPTION(struct topics_options, yes, "yes", "Do not ask"),
    JSON_OPTION,
    END_OPTION,
};

static const struct option_def ensure_options[] = {
    FLAG_OPTION(struct topics_options, dry_run, "dry-run", "Make nothing, say what is missing"),
    JSON_OPTION,
    END_OPTION,
};

static const struct command topics_list, topics_describe, topics_create, topics_alter, topics_delete, topics_recreate,
    topics_ensure;

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

// "retentionMs 3600000, not 604800000; …"; nothing when the topic is as the catalogue says.
static void differences(const json_t *topic, struct buf *out)
{
    size_t i;
    json_t *d;
    json_array_foreach(js_arr(topic, "differences"), i, d)
    {
        _cleanup_free_ char *is = json_dumps(json_object_get(d, "actual"), JSON_ENCODE_ANY),
                            *want = json_dumps(json_object_get(d, "catalogue"), JSON_ENCODE_ANY);
        buf_printf(out, "%s%s %s, not %s", i ? "; " : "", js_str(d, "setting", ""), is, want);
    }
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
    int64_t most = js_int(topic, "retentionBytes", 0);
    _cleanup_buf_ struct buf differs = BUF_INIT(4096);
    printf("%s\n  type %s, kept for %s and %s a partition\n", js_str(topic, "name", "-"), js_str(topic, "type", "-"),
           time ? time : "ever", most < 0 ? "any size" : text_bytes((uint64_t)most, bytes));
    differences(topic, &differs);
    if (differs.len)
        printf("  not as the catalogue says: %s\n", differs.data);
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

// --- Making and changing

// "7d", or "forever"; ERR_USAGE.
static int set_retention(json_t *body, const char *text, struct error *err)
{
    int64_t ms = -1;
    if (!text)
        return 0;
    if (strcmp(text, "forever") != 0 && when_duration(text, &ms) < 0)
        return error_set(err, ERR_USAGE, "--retention takes a time such as 7d or 36h, or forever, not \"%.80s\"", text);
    json_object_set_new(body, "retentionMs", json_integer(ms));
    return 0;
}

static json_t *change_body(const struct topics_options *o, struct error *err)
{
    _cleanup_json_ json_t *body = json_object();
    if (o->partitions)
        json_object_set_new(body, "partitions", json_integer(o->partitions));
    if (o->replication)
        json_object_set_new(body, "replication", json_integer(o->replication));
    if (o->retention_bytes)
        json_object_set_new(body, "retentionBytes", json_integer(o->retention_bytes));
    return set_retention(body, o->retention, err) < 0 ? NULL : json_incref(body);
}

static void topic_path(const char *topic, const char *verb, struct buf *path)
{
    buf_puts(path, "/api/v1/admin/topics/");
    client_segment(path, topic);
    buf_puts(path, verb);
}

static int show(const struct topics_options *o, const json_t *topic, const char *done)
{
    if (o->json)
        return cli_print_json(topic);
    fprintf(stderr, "%s\n", done);
    describe(topic);
    return EXIT_DONE;
}

static int run_create(struct cli *cli, int argc, char **argv)
{
    struct topics_options o = {0};
    int code;
    if (cli_parse(cli, &topics_create, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    struct error err;
    _cleanup_json_ json_t *body = change_body(&o, &err), *topic = NULL;
    _cleanup_client_ struct client *client = NULL;
    if (!body)
        return cli_misused(cli, &topics_create, &err);
    json_object_set_new(body, "name", json_string(argv[1]));
    if (cli_connect(cli, true, NULL, &client, &err) < 0 ||
        client_call(client, "POST", "/api/v1/admin/topics", body, &topic, &err) < 0)
        return cli_fail(cli, &err);
    return show(&o, topic, "Made.");
}

static int run_alter(struct cli *cli, int argc, char **argv)
{
    struct topics_options o = {0};
    int code;
    if (cli_parse(cli, &topics_alter, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    struct error err;
    _cleanup_json_ json_t *body = change_body(&o, &err), *topic = NULL;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    char question[400];
    if (body && !json_object_size(body))
        error_set(&err, ERR_USAGE, "Say what is to change: --partitions, --retention or --retention-bytes");
    if (!json_object_size(body))
        return cli_misused(cli, &topics_alter, &err);
    snprintf(question, sizeof question, "Change %.249s? %s", argv[1],
             o.partitions ? "Its partitions never become fewer again, and keys move among them."
                          : "What is older than its retention is removed.");
    topic_path(argv[1], "", &path);
    if (cli_connect(cli, true, NULL, &client, &err) < 0 || cli_confirm(o.yes, question, &err) < 0 ||
        client_call(client, "PATCH", path.data, body, &topic, &err) < 0)
        return cli_fail(cli, &err);
    return show(&o, topic, "Changed.");
}

static int run_delete(struct cli *cli, int argc, char **argv)
{
    struct topics_options o = {0};
    int code;
    if (cli_parse(cli, &topics_delete, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    struct error err;
    _cleanup_json_ json_t *topic = NULL, *gone = NULL;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    char question[400];
    topic_path(argv[1], "", &path);
    if (cli_connect(cli, true, NULL, &client, &err) < 0 || client_get(client, path.data, &topic, &err) < 0)
        return cli_fail(cli, &err);
    snprintf(question, sizeof question, "Delete %.249s with its %" PRId64 " records and all offsets, for good?",
             argv[1], js_int(topic, "records", 0));
    if (cli_confirm(o.yes, question, &err) < 0 || client_call(client, "DELETE", path.data, NULL, &gone, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(gone);
    printf("%s is gone.\n", argv[1]);
    return EXIT_DONE;
}

static int call_recreate(struct client *client, const char *path, bool dry_run, json_t **out, struct error *err)
{
    _cleanup_json_ json_t *body = json_pack("{s:b}", "dryRun", dry_run);
    return client_call(client, "POST", path, body, out, err);
}

// What is to be put back on a topic of the pipeline stands in the records; of others there is none.
static bool carries_nothing(const struct cli *cli, const char *topic)
{
    enum event_topic known;
    return event_topic_parse(topic, &known) < 0 && strcmp(topic, cli->conf->kafka_message_topic) != 0;
}

static int run_recreate(struct cli *cli, int argc, char **argv)
{
    struct topics_options o = {0};
    int code;
    if (cli_parse(cli, &topics_recreate, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    struct error err;
    _cleanup_json_ json_t *plan = NULL, *done = NULL;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    char question[480];
    cli->log_alone = carries_nothing(cli, argv[1]);
    topic_path(argv[1], "/recreate", &path);
    if (cli_connect(cli, true, NULL, &client, &err) < 0 || call_recreate(client, path.data, true, &plan, &err) < 0)
        return cli_fail(cli, &err);
    snprintf(question, sizeof question,
             "Remove the %" PRId64 " records and all offsets of %.249s, and put the %" PRId64
             " items on their way back?",
             js_int(plan, "recordsRemoved", 0), argv[1], js_int(plan, "itemsPutBack", 0));
    if (cli_confirm(o.yes, question, &err) < 0 || call_recreate(client, path.data, false, &done, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(done);
    printf("%s is made anew: %" PRId64 " records removed, %" PRId64 " items put back.\n", argv[1],
           js_int(done, "recordsRemoved", 0), js_int(done, "itemsPutBack", 0));
    return EXIT_DONE;
}

static int run_ensure(struct cli *cli, int argc, char **argv)
{
    struct topics_options o = {0};
    int code;
    if (cli_parse(cli, &topics_ensure, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    static const struct table_column columns[] = {{"TOPIC"}, {"STATE"}, {"DIFFERENCES"}, {NULL}};
    _cleanup_table_ struct table t = {0};
    _cleanup_json_ json_t *body = json_pack("{s:b}", "dryRun", o.dry_run), *answer = NULL;
    _cleanup_client_ struct client *client = NULL;
    struct error err;
    bool wanting = false;
    size_t i;
    json_t *topic;
    if (cli_connect(cli, true, NULL, &client, &err) < 0 ||
        client_call(client, "POST", "/api/v1/admin/topics/ensure", body, &answer, &err) < 0)
        return cli_fail(cli, &err);
    table_init(&t, columns);
    json_array_foreach(js_arr(answer, "topics"), i, topic)
    {
        _cleanup_buf_ struct buf text = BUF_INIT(4096);
        const char *state = js_str(topic, "state", "");
        differences(topic, &text);
        wanting |= strcmp(state, "missing") == 0 || strcmp(state, "differs") == 0;
        table_add(&t, js_str(topic, "name", NULL), state, text.data);
    }
    if (o.json)
        cli_print_json(answer);
    else
        table_print(&t);
    return o.dry_run && wanting ? EXIT_FAILED : EXIT_DONE;
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

static const struct command topics_create = {
    .name = "topics create",
    .usage = "TOPIC [OPTIONS]",
    .summary = "Make a topic",
    .details = "What is not said is as the catalogue has it; for other topics 3 partitions, kept for 7 days.",
    .examples = "deeplens topics create my-topic --partitions 3 --retention 7d",
    .options = change_options,
    .run = run_create,
};

static const struct command topics_alter = {
    .name = "topics alter",
    .usage = "TOPIC [OPTIONS]",
    .summary = "Change a topic's partitions or retention",
    .details = "Asks first; without a terminal it takes --yes. Partitions only become more, and from then on a key may "
               "go to another one: its order holds before and after, not across.",
    .examples = "deeplens topics alter deeplens.features.extraction --partitions 12\n"
                "deeplens topics alter deeplens.processing.failed --retention 90d --yes",
    .options = change_options,
    .run = run_alter,
};

static const struct command topics_delete = {
    .name = "topics delete",
    .usage = "TOPIC [OPTIONS]",
    .summary = "Delete a topic with its records and offsets",
    .details =
        "Asks first; without a terminal it takes --yes. Refused while a group has members that read it. For a topic "
        "of the pipeline take recreate: it puts back what was on its way.",
    .examples = "deeplens topics delete my-topic",
    .options = destroy_options,
    .run = run_delete,
};

static const struct command topics_recreate = {
    .name = "topics recreate",
    .usage = "TOPIC [OPTIONS]",
    .summary = "Make a topic anew, and put back what was on its way",
    .details =
        "Asks first; without a terminal it takes --yes. Removes all records and offsets, and starts every item that "
        "is neither completed nor failed once more; what was done already is not done again. Refused while a group "
        "has members that read the topic, so on the embedded log the server must be stopped.",
    .examples = "deeplens topics recreate deeplens.features.extraction",
    .options = destroy_options,
    .run = run_recreate,
};

static const struct command topics_ensure = {
    .name = "topics ensure",
    .usage = "[OPTIONS]",
    .summary = "Make the topics of the pipeline that are missing, and say which differ",
    .details =
        "What differs from the catalogue is never changed; see alter. With --dry-run nothing is made, and the exit "
        "code is 1 when a topic is missing or differs.",
    .examples = "deeplens topics ensure\ndeeplens topics ensure --dry-run",
    .options = ensure_options,
    .run = run_ensure,
};

static int run(struct cli *cli, int argc, char **argv)
{
    cli->log_alone = true;
    return cli_run_sub(cli, &command_topics, argc, argv);
}

const struct command command_topics = {
    .name = "topics",
    .usage = "list | describe | create | alter | delete | recreate | ensure | peek | produce",
    .summary = "Look into the event log, and change it",
    .details = "Asks the server or, when none runs, opens the data directory.",
    .subs =
        (const struct command *const[]){&topics_list, &topics_describe, &topics_create, &topics_alter, &topics_delete,
                                        &topics_recreate, &topics_ensure, &topics_peek, &topics_produce, NULL},
    .run = run,
};
