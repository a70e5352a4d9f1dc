// SPDX-License-Identifier: Apache-2.0
// deeplens messages list | show | replies | export | erase
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/js.h"
#include "cli/cli.h"
#include "cli/table.h"

#define MESSAGES "/api/v1/messages"
#define REPLIES "/api/v1/replies"
enum { PAGE = 200 };

struct messages_options {
    const char *tenant, *chat, *type, *state, *from, *to, *message, *sender;
    int64_t limit;
    bool json, yes, dry_run;
};

#define SHARED_OPTIONS                                                                                                 \
    TEXT_OPTION(struct messages_options, tenant, "tenant", "NAME", "Whose they are"),                                  \
        FLAG_OPTION(struct messages_options, json, "json", "Print JSON")
#define LIMIT_OPTION                                                                                                   \
    INT_OPTION(struct messages_options, limit, "limit", "N", 1, PAGE, "At most so many, the latest first (50)")

static const struct option_def shared_options[] = {SHARED_OPTIONS, END_OPTION};
static const struct option_def list_options[] = {
    TEXT_OPTION(struct messages_options, chat, "chat", "JID", "Of this chat"),
    TEXT_OPTION(struct messages_options, type, "type", "TYPE", "Of this type: text, image, …"),
    CHOICE_OPTION(struct messages_options, state, "state", "pending|ready|queued|processing|processed|failed",
                  "In this state"),
    TEXT_OPTION(struct messages_options, from, "from", "TIME", "Sent at or after, such as 2026-11-22"),
    TEXT_OPTION(struct messages_options, to, "to", "TIME", "Sent before"),
    LIMIT_OPTION,
    SHARED_OPTIONS,
    END_OPTION,
};
static const struct option_def replies_options[] = {
    TEXT_OPTION(struct messages_options, chat, "chat", "JID", "To this chat"),
    TEXT_OPTION(struct messages_options, message, "message", "ID", "About this message"),
    CHOICE_OPTION(struct messages_options, state, "state", "waiting|sending|sent|uncertain|unsent", "In this state"),
    LIMIT_OPTION,
    SHARED_OPTIONS,
    END_OPTION,
};

#define SENDER_OPTION                                                                                                  \
    TEXT_OPTION(struct messages_options, sender, "sender", "JID", "Whose, such as 16505551234@s.whatsapp.net")
static const struct option_def export_options[] = {
    SENDER_OPTION,
    TEXT_OPTION(struct messages_options, tenant, "tenant", "NAME", "Of this tenant"),
    END_OPTION,
};
static const struct option_def erase_options[] = {
    SENDER_OPTION,
    FLAG_OPTION(struct messages_options, dry_run, "dry-run", "Only say how much it would be"),
    FLAG_OPTION(struct messages_options, yes, "yes", "Do not ask"),
    SHARED_OPTIONS,
    END_OPTION,
};

static int run_export(struct cli *cli, int argc, char **argv);
static int run_erase(struct cli *cli, int argc, char **argv);
static int run_list(struct cli *cli, int argc, char **argv);
static int run_show(struct cli *cli, int argc, char **argv);
static int run_replies(struct cli *cli, int argc, char **argv);

static const struct command messages_list = {
    .name = "messages list",
    .usage = "[OPTIONS]",
    .summary = "List messages of chats",
    .examples = "deeplens messages list --type image --from 2026-11-22\n"
                "deeplens messages list --state failed",
    .options = list_options,
    .run = run_list,
};

static const struct command messages_show = {
    .name = "messages show",
    .usage = "ID [OPTIONS]",
    .summary = "Show a message, and what was said to it",
    .examples = "deeplens messages show wamid.HBgLMTY1MDU1NTEyMzQ",
    .options = shared_options,
    .run = run_show,
};

static const struct command messages_replies = {
    .name = "messages replies",
    .usage = "[OPTIONS]",
    .summary = "List what workflows had to say to people, and what became of it",
    .examples = "deeplens messages replies --state uncertain",
    .options = replies_options,
    .run = run_replies,
};

static const struct command messages_export = {
    .name = "messages export",
    .usage = "--sender JID [OPTIONS]",
    .summary = "Print all that is kept of a sender: messages, replies, whether they want none; JSON",
    .details = "The pictures and videos themselves are at the `mediaUrl` of their messages.",
    .examples = "deeplens messages export --sender 16505551234@s.whatsapp.net > their.json",
    .options = export_options,
    .run = run_export,
};

static const struct command messages_erase = {
    .name = "messages erase",
    .usage = "--sender JID [OPTIONS]",
    .summary = "Erase all messages of a sender and of the chat with them, with their items and replies",
    .examples = "deeplens messages erase --sender 16505551234@s.whatsapp.net --dry-run",
    .options = erase_options,
    .run = run_erase,
};

// One page of a list.
static int get(struct cli *cli, const struct messages_options *o, const char *path, json_t **out, struct error *err)
{
    char limit[24];
    _cleanup_client_ struct client *client = NULL;
    _cleanup_buf_ struct buf full = CLIENT_PATH;
    snprintf(limit, sizeof limit, "%" PRId64, o->limit ? o->limit : 50);
    buf_puts(&full, path);
    client_query(&full, "chatJid", o->chat);
    client_query(&full, "messageType", o->type);
    client_query(&full, "messageId", o->message);
    client_query(&full, "state", o->state);
    client_query(&full, "from", o->from);
    client_query(&full, "to", o->to);
    client_query(&full, "limit", limit);
    if (full.failed)
        return error_set(err, ERR_USAGE, "The options are too long");
    if (cli_connect(cli, true, o->tenant, &client, err) < 0)
        return -1;
    return client_get(client, full.data, out, err);
}

// ---- Messages

static void print_messages(const json_t *items)
{
    static const struct table_column columns[] = {
        {"MESSAGE"}, {"CHAT"}, {"TYPE"}, {"STATE"}, {"SENT"}, {"CONTENT", .shrink = true}, {NULL}};
    _cleanup_table_ struct table t = {0};
    size_t i;
    json_t *m;
    table_init(&t, columns);
    json_array_foreach((json_t *)items, i, m)
        table_add(&t, js_str(m, "messageId", NULL), js_str(m, "chatJid", NULL), js_str(m, "messageType", NULL),
                  js_str(m, "state", NULL), js_str(m, "sentAt", NULL), js_str(m, "content", NULL));
    table_print(&t);
}

static int run_list(struct cli *cli, int argc, char **argv)
{
    struct messages_options o = {0};
    int code;
    if (cli_parse(cli, &messages_list, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    _cleanup_json_ json_t *answer = NULL;
    struct error err;
    if (get(cli, &o, MESSAGES, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    print_messages(js_arr(answer, "items"));
    return EXIT_DONE;
}

static void print_replies(const json_t *items)
{
    static const struct table_column columns[] = {{"REPLY"},
                                                  {"CHANNEL"},
                                                  {"STATE"},
                                                  {"DELIVERY"},
                                                  {"CREATED"},
                                                  {"TEXT", .shrink = true},
                                                  {"ERROR", .shrink = true},
                                                  {NULL}};
    _cleanup_table_ struct table t = {0};
    size_t i;
    json_t *r;
    table_init(&t, columns);
    json_array_foreach((json_t *)items, i, r) table_add(
        &t, js_str(r, "id", NULL), js_str(r, "channel", NULL), js_str(r, "state", NULL), js_str(r, "delivery", NULL),
        js_str(r, "createdAt", NULL), js_str(r, "text", NULL), js_str(js_obj(r, "error"), "message", NULL));
    table_print(&t);
}

static void print_message(const json_t *message)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)message, key, value)
    {
        _cleanup_free_ char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        printf("%-16s %s\n", key, text ? text : json_string_value(value));
    }
}

static int run_show(struct cli *cli, int argc, char **argv)
{
    struct messages_options o = {0};
    int code;
    if (cli_parse(cli, &messages_show, &o, &argc, argv, 1, 1, &code) < 0)
        return code;
    _cleanup_json_ json_t *found = NULL, *said = NULL;
    struct error err;
    o.message = argv[1];
    o.limit = PAGE;
    if (get(cli, &o, MESSAGES, &found, &err) < 0 || get(cli, &o, REPLIES, &said, &err) < 0)
        return cli_fail(cli, &err);
    json_t *message = json_array_get(js_arr(found, "items"), 0), *replies = js_arr(said, "items");
    if (!message) {
        error_set(&err, ERR_NOT_FOUND, "There is no message %.80s", argv[1]);
        return cli_fail(cli, &err);
    }
    if (o.json) {
        json_object_set(message, "replies", replies);
        return cli_print_json(message);
    }
    print_message(message);
    if (json_array_size(replies)) {
        puts("");
        print_replies(replies);
    }
    return EXIT_DONE;
}

static int run_replies(struct cli *cli, int argc, char **argv)
{
    struct messages_options o = {0};
    int code;
    if (cli_parse(cli, &messages_replies, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    _cleanup_json_ json_t *answer = NULL;
    struct error err;
    if (get(cli, &o, REPLIES, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    print_replies(js_arr(answer, "items"));
    return EXIT_DONE;
}

// ---- Everything of one sender

static int check_sender(const struct messages_options *o, struct error *err)
{
    return o->sender ? 0 : error_set(err, ERR_USAGE, "Say whose: --sender JID");
}

// All pages in one document, printed as they come.
static int export_all(struct client *client, const char *sender, json_t **out, struct error *err)
{
    _cleanup_json_ json_t *all = NULL, *body = json_pack("{s:s}", "sender", sender);
    const char *cursor = NULL;
    do {
        _cleanup_json_ json_t *page = NULL;
        if (client_call(client, "POST", MESSAGES "/export", body, &page, err) < 0)
            return -1;
        cursor = js_str(page, "nextCursor", NULL);
        js_set_str(body, "cursor", cursor);
        if (all)
            json_array_extend(js_arr(all, "messages"), js_arr(page, "messages"));
        else
            all = json_incref(page);
    } while (cursor);
    json_object_del(all, "nextCursor");
    *out = json_incref(all);
    return 0;
}

static int run_export(struct cli *cli, int argc, char **argv)
{
    struct messages_options o = {0};
    int code;
    if (cli_parse(cli, &messages_export, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_json_ json_t *answer = NULL;
    struct error err;
    if (check_sender(&o, &err) < 0)
        return cli_misused(cli, &messages_export, &err);
    if (cli_connect(cli, true, o.tenant, &client, &err) < 0 || export_all(client, o.sender, &answer, &err) < 0)
        return cli_fail(cli, &err);
    return cli_print_json(answer);
}

static int run_erase(struct cli *cli, int argc, char **argv)
{
    struct messages_options o = {0};
    char question[512];
    int code;
    if (cli_parse(cli, &messages_erase, &o, &argc, argv, 0, 0, &code) < 0)
        return code;
    _cleanup_client_ struct client *client = NULL;
    _cleanup_json_ json_t *answer = NULL, *body = json_object();
    struct error err;
    if (check_sender(&o, &err) < 0)
        return cli_misused(cli, &messages_erase, &err);
    js_set_str(body, "sender", o.sender);
    json_object_set_new(body, "dryRun", json_boolean(o.dry_run));
    snprintf(question, sizeof question, "Erase all messages of %.256s, with their items?", o.sender);
    if ((!o.dry_run && cli_confirm(o.yes, question, &err) < 0) || cli_connect(cli, true, o.tenant, &client, &err) < 0 ||
        client_call(client, "POST", MESSAGES "/erase", body, &answer, &err) < 0)
        return cli_fail(cli, &err);
    if (o.json)
        return cli_print_json(answer);
    printf("%" PRId64 " messages and %" PRId64 " items %s.\n", js_int(answer, "messages", 0),
           js_int(answer, "items", 0), o.dry_run ? "would be erased" : "are erased");
    return EXIT_DONE;
}

static int run(struct cli *cli, int argc, char **argv)
{
    return cli_run_sub(cli, &command_messages, argc, argv);
}

const struct command command_messages = {
    .name = "messages",
    .usage = "list | show ID | replies | export --sender JID | erase --sender JID",
    .summary = "Messages of chats, and what was said to them",
    .details = "See docs/WHATSAPP.md.",
    .subs = (const struct command *const[]){&messages_list, &messages_show, &messages_replies, &messages_export,
                                            &messages_erase, NULL},
    .run = run,
};
