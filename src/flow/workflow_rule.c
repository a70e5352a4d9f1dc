// SPDX-License-Identifier: Apache-2.0
// What a rule may say, and which messages it matches. Nothing here reads or writes anything.
#include <string.h>

#include "base/js.h"
#include "flow/message_int.h"
#include "flow/reply.h"
#include "flow/workflow_int.h"

enum { NAME_BYTES_MAX = 128, TAG_BYTES_MAX = 255, COMMAND_MAX = 33, ADDRESS_BYTES_MAX = 254, HITS_MAX = 20 };

// ---- What a rule may say

static int check_members(const json_t *object, const char *what, const char *const *known, struct error *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object))
        return error_set(err, ERR_INVALID, "`%s` must be an object", what);
    json_object_foreach((json_t *)object, key, value)
    {
        size_t i = 0;
        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        if (!known[i])
            return error_set(err, ERR_INVALID, "`%s` has no member \"%.60s\"", what, key);
    }
    return 0;
}

static bool is_text(const json_t *value, size_t most)
{
    return json_is_string(value) && json_string_length(value) > 0 && json_string_length(value) <= most;
}

// A text, or a list of them.
static int check_words(const json_t *value, const char *name, size_t most, struct error *err)
{
    size_t i;
    json_t *word;
    if (!value || is_text(value, most))
        return 0;
    bool good = json_is_array(value) && json_array_size(value) > 0 && json_array_size(value) <= WORKFLOW_WORDS_MAX;
    json_array_foreach((json_t *)value, i, word) good &= is_text(word, most);
    return good ? 0
                : error_set(err, ERR_INVALID, "`%s` is a text of 1 to %zu bytes, or a list of 1 to %d of them", name,
                            most, WORKFLOW_WORDS_MAX);
}

static bool is_command(const char *text)
{
    size_t len = *text == '/' ? strspn(text + 1, "abcdefghijklmnopqrstuvwxyz0123456789_-") : 0;
    return len && len < COMMAND_MAX && !text[len + 1];
}

static int check_when(const json_t *when, struct error *err)
{
    static const char *const known[] = {"type", "chat", "sender", "text", "command", "group", "fromMe", NULL};
    if (check_members(when, "when", known, err) < 0)
        return -1;
    const json_t *text = json_object_get(when, "text"), *command = json_object_get(when, "command"),
                 *group = json_object_get(when, "group"), *from_me = json_object_get(when, "fromMe");
    if (check_words(json_object_get(when, "type"), "when.type", MESSAGE_TYPE_MAX, err) < 0 ||
        check_words(json_object_get(when, "chat"), "when.chat", MESSAGE_ID_MAX, err) < 0 ||
        check_words(json_object_get(when, "sender"), "when.sender", MESSAGE_ID_MAX, err) < 0)
        return -1;
    if (text && !is_text(text, WORKFLOW_PATTERN_MAX))
        return error_set(err, ERR_INVALID, "`when.text` is a pattern of 1 to %d bytes, such as *red shoes*",
                         WORKFLOW_PATTERN_MAX);
    if (command && (!json_is_string(command) || !is_command(json_string_value(command))))
        return error_set(err, ERR_INVALID, "`when.command` is a slash and a word of [a-z0-9_-], such as /find");
    if ((group && !json_is_boolean(group)) || (from_me && !json_is_boolean(from_me)))
        return error_set(err, ERR_INVALID, "`when.group` and `when.fromMe` are true or false");
    return 0;
}

static int check_ingest(const json_t *value, struct error *err)
{
    static const char *const known[] = {"tags", NULL};
    if (json_is_boolean(value))
        return 0;
    if (!json_is_object(value))
        return error_set(err, ERR_INVALID, "`ingest` is true, false or {\"tags\": […]}");
    return check_members(value, "ingest", known, err) < 0
               ? -1
               : check_words(json_object_get(value, "tags"), "ingest.tags", TAG_BYTES_MAX, err);
}

static int check_notify(const json_t *value, struct error *err)
{
    if (json_is_object(value) && json_object_size(value) == 1 &&
        (is_text(json_object_get(value, "webhook"), ID_MAX - 1) ||
         is_text(json_object_get(value, "email"), ADDRESS_BYTES_MAX) ||
         is_text(json_object_get(value, "topic"), ELOG_TOPIC_MAX)))
        return 0;
    return error_set(err, ERR_INVALID,
                     "`notify` is {\"webhook\": \"whk_…\"}, {\"email\": \"ADDRESS\"} or {\"topic\": \"NAME\"}");
}

static int check_search(const json_t *how, const char *name, struct error *err)
{
    static const char *const known[] = {"limit", "minScore", NULL};
    const json_t *limit = json_object_get(how, "limit"), *score = json_object_get(how, "minScore");
    if (check_members(how, name, known, err) < 0)
        return -1;
    if (limit && (!json_is_integer(limit) || json_integer_value(limit) < 1 || json_integer_value(limit) > HITS_MAX))
        return error_set(err, ERR_INVALID, "`%s.limit` is 1 to %d", name, HITS_MAX);
    if (score && (!json_is_number(score) || json_number_value(score) < -1 || json_number_value(score) > 1))
        return error_set(err, ERR_INVALID, "`%s.minScore` is -1 to 1", name);
    return 0;
}

static int check_answer(const json_t *value, struct error *err)
{
    static const char *const words[] = {"alike", "find", "status"};
    bool one = json_is_object(value) && json_object_size(value) == 1;
    for (size_t i = 0; json_is_string(value) && i < ARRAY_LEN(words); i++)
        if (strcmp(json_string_value(value), words[i]) == 0)
            return 0;
    if (one && is_text(json_object_get(value, "text"), REPLY_TEXT_MAX))
        return 0;
    for (size_t i = 0; one && i < 2; i++)
        if (json_object_get(value, words[i]))
            return check_search(json_object_get(value, words[i]), words[i], err);
    return error_set(
        err, ERR_INVALID,
        "`answer` is \"alike\", \"find\", \"status\", {\"alike\": {…}}, {\"find\": {…}} or {\"text\": \"…\"}");
}

static const struct kind {
    const char *name;
    int (*check)(const json_t *value, struct error *err);
} kinds[] = {{"ingest", check_ingest}, {"answer", check_answer}, {"notify", check_notify}};

static int check_action(const json_t *action, struct error *err)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        const json_t *value = json_object_get(action, kinds[i].name);
        if (value && json_object_size(action) == 1)
            return kinds[i].check(value, err);
    }
    return error_set(err, ERR_INVALID, "Each of `do` is an object with one member: ingest, answer or notify");
}

int workflow_check(const json_t *rule, struct error *err)
{
    static const char *const known[] = {"name", "when", "do", NULL};
    size_t i;
    json_t *action;
    const json_t *name = json_object_get(rule, "name"), *actions = json_object_get(rule, "do");
    if (check_members(rule, "workflow", known, err) < 0)
        return -1;
    if (name && !is_text(name, NAME_BYTES_MAX))
        return error_set(err, ERR_INVALID, "`name` is a text of 1 to %d bytes", NAME_BYTES_MAX);
    if (check_when(json_object_get(rule, "when"), err) < 0)
        return -1;
    if (!json_is_array(actions) || !json_array_size(actions) || json_array_size(actions) > WORKFLOW_ACTIONS_MAX)
        return error_set(err, ERR_INVALID, "`do` is an array of 1 to %d actions", WORKFLOW_ACTIONS_MAX);
    json_array_foreach((json_t *)actions, i, action)
    {
        if (check_action(action, err) < 0)
            return error_prefix(err, "do[%zu]", i);
    }
    return 0;
}

// ---- Which messages it matches

static char folded(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

// Only the last * is ever gone back to, so this would take the product of both lengths at most. That is too long for
// one message of one tenant, whose rules are looked at while others wait: what takes more steps does not match.
bool workflow_like(const char *pattern, const char *text)
{
    const char *star = NULL, *resume = NULL, *end = text + strnlen(text, WORKFLOW_SEEN_MAX);
    for (int tried = 0; text < end; tried++) {
        if (tried == WORKFLOW_STEPS_MAX)
            return false;
        if (*pattern == '*') {
            star = pattern++;
            resume = text;
        } else if (*pattern && (*pattern == '?' || folded(*pattern) == folded(*text))) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star + 1;
            text = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}

bool workflow_command(const char *text, const char *command, const char **rest)
{
    size_t len = strlen(command);
    for (size_t i = 0; i < len; i++)
        if (folded(text[i]) != command[i]) // ends at the end of the text, too
            return false;
    if (text[len] && !strchr(" \t\r\n", text[len]))
        return false;
    *rest = text + len + strspn(text + len, " \t\r\n");
    return true;
}

// NULL: whatever it is.
static bool is_one_of(const json_t *words, const char *value)
{
    size_t i;
    json_t *word;
    if (!words)
        return true;
    if (json_is_string(words))
        return strcmp(json_string_value(words), value) == 0;
    json_array_foreach((json_t *)words, i, word)
    {
        if (strcmp(json_string_value(word), value) == 0)
            return true;
    }
    return false;
}

bool workflow_matches(const json_t *rule, const struct workflow_subject *s)
{
    const char *rest;
    const json_t *when = json_object_get(rule, "when"), *type = json_object_get(when, "type"),
                 *group = json_object_get(when, "group");
    const char *text = js_str(when, "text", NULL), *command = js_str(when, "command", NULL);
    if (js_bool(when, "fromMe", false) != s->from_me || (group && json_is_true(group) != s->group))
        return false;
    if (type ? !is_one_of(type, s->type) : message_changes_another(s->type))
        return false;
    if (!is_one_of(json_object_get(when, "chat"), s->chat) || !is_one_of(json_object_get(when, "sender"), s->sender))
        return false;
    if (text && (!s->text || !workflow_like(text, s->text)))
        return false;
    return !command || (s->text && workflow_command(s->text, command, &rest));
}

struct workflow_subject workflow_subject_of(const struct meta_message *row, json_t *metadata)
{
    const struct event event = {.media_id = row->chat, .message = {.from_me = row->from_me, .metadata = metadata}};
    return (struct workflow_subject){.type = row->type,
                                     .chat = row->chat,
                                     .sender = message_sender(&event),
                                     .text = row->content,
                                     .group = js_bool(metadata, "isGroup", false),
                                     .from_me = row->from_me};
}
