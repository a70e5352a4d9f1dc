// SPDX-License-Identifier: Apache-2.0
// Notifications of the Cloud API → messages. See whatsapp.h.
#include "flow/whatsapp.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/js.h"
#include "flow/message.h"

#define PERSON "@s.whatsapp.net"
#define GROUP "@g.us"

// --- The signature

bool whatsapp_signed(const char *secret, const char *header, const void *body, size_t len)
{
    static const char prefix[] = "sha256=";
    unsigned char given[crypto_auth_hmacsha256_BYTES], mac[crypto_auth_hmacsha256_BYTES];
    size_t got = 0;
    crypto_auth_hmacsha256_state state;
    if (!header || strncmp(header, prefix, sizeof prefix - 1) != 0 ||
        strlen(header) != sizeof prefix - 1 + 2 * sizeof given ||
        sodium_hex2bin(given, sizeof given, header + sizeof prefix - 1, 2 * sizeof given, NULL, &got, NULL) != 0 ||
        got != sizeof given)
        return false;
    crypto_auth_hmacsha256_init(&state, (const unsigned char *)secret, strlen(secret));
    crypto_auth_hmacsha256_update(&state, body, len);
    crypto_auth_hmacsha256_final(&state, mac);
    sodium_memzero(&state, sizeof state);
    return sodium_memcmp(given, mac, sizeof mac) == 0;
}

// --- One message

struct reader {
    struct arena *arena;
    json_t *held;
    const json_t *value; // the notification's part that is read
    struct whatsapp_read *out;
    size_t room;
};

static void add(struct reader *r, const struct event *event)
{
    if (r->out->count == r->room) {
        size_t room = r->room ? 2 * r->room : 16;
        struct event *more = arena_alloc(r->arena, room * sizeof *more);
        if (r->out->count)
            memcpy(more, r->out->events, r->out->count * sizeof *more);
        r->out->events = more;
        r->room = room;
    }
    r->out->events[r->out->count++] = *event;
}

// As the Cloud API writes times: seconds, in a string.
static int64_t time_of(const json_t *message)
{
    const char *text = js_str(message, "timestamp", NULL);
    int64_t seconds = text ? strtoll(text, NULL, 10) : js_int(message, "timestamp", 0);
    return seconds > 0 && seconds < INT64_C(100000000000) ? seconds * 1000 : 0;
}

static const char *jid(struct reader *r, const char *number, const char *place)
{
    return strchr(number, '@') ? number : arena_printf(r->arena, "%s%s", number, place);
}

static const char *name_of(const struct reader *r, const char *number)
{
    size_t i;
    const json_t *contact;
    json_array_foreach(js_arr(r->value, "contacts"), i, contact)
    {
        if (strcmp(js_str(contact, "wa_id", ""), number) == 0)
            return js_str(js_obj(contact, "profile"), "name", NULL);
    }
    return NULL;
}

// Members of the Cloud API that have a name of ours.
static void copy(json_t *to, const json_t *from, const char *const (*names)[2])
{
    for (; (*names)[0]; names++) {
        json_t *value = json_object_get(from, (*names)[0]);
        if (value)
            json_object_set(to, (*names)[1], value);
    }
}

static const char *read_media(const json_t *media, json_t *metadata)
{
    static const char *const names[][2] = {
        {"id", "mediaId"},  {"mime_type", "mimeType"}, {"sha256", "sha256"}, {"filename", "fileName"},
        {"voice", "voice"}, {"animated", "animated"},  {NULL, NULL}};
    copy(metadata, media, names);
    return js_str(media, "caption", NULL);
}

static const char *read_place(const json_t *place, json_t *metadata)
{
    static const char *const names[][2] = {{"latitude", "latitude"}, {"longitude", "longitude"},
                                           {"name", "name"},         {"address", "address"},
                                           {"url", "url"},           {NULL, NULL}};
    copy(metadata, place, names);
    return NULL;
}

static const char *read_reaction(const json_t *reaction, json_t *metadata)
{
    static const char *const names[][2] = {{"message_id", "targetMessageId"}, {NULL, NULL}};
    copy(metadata, reaction, names);
    return js_str(reaction, "emoji", NULL);
}

static const char *read_edit(const json_t *edit, json_t *metadata)
{
    static const char *const names[][2] = {{"original_message_id", "targetMessageId"}, {NULL, NULL}};
    const json_t *message = js_obj(edit, "message");
    copy(metadata, edit, names);
    const char *text = js_str(js_obj(message, "text"), "body", NULL);
    return text ? text : js_str(js_obj(message, js_str(message, "type", "")), "caption", NULL);
}

static const char *read_text(const json_t *text, json_t *metadata)
{
    (void)metadata;
    return js_str(text, "body", NULL);
}

static const struct kind {
    const char *theirs, *ours;
    const char *(*read)(const json_t *part, json_t *metadata); // gives the content
} kinds[] = {
    {"text", "text", read_text},          {"image", "image", read_media},          {"video", "video", read_media},
    {"audio", "audio", read_media},       {"document", "document", read_media},    {"sticker", "sticker", read_media},
    {"location", "location", read_place}, {"reaction", "reaction", read_reaction}, {"edit", "edit", read_edit},
    {"revoke", "deletion", read_edit},
};

// What is said by its type. A type that is not known is kept as it came.
static void read_kind(const json_t *message, struct event_message *m)
{
    const char *type = js_str(message, "type", "unknown");
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(kinds[i].theirs, type) == 0 && js_obj(message, type)) {
            m->type = kinds[i].ours;
            m->content = kinds[i].read(js_obj(message, type), m->metadata);
            return;
        }
    m->type = strcmp(type, "contacts") == 0 ? "contact" : type;
    json_t *contacts = js_arr(message, "contacts");
    if (contacts)
        json_object_set(m->metadata, "contacts", contacts);
    else
        json_object_set(m->metadata, "raw", (json_t *)message);
}

// What cannot be kept whole is kept without what makes it too large; what nothing can be made of is passed over.
static void keep(struct reader *r, struct event *event)
{
    struct error why = {0};
    if (message_check(event, &why) == 0) {
        add(r, event);
        return;
    }
    json_t *rest = json_pack("{s:s,s:s}", "dropped", why.message, "originalType", event->message.type);
    json_array_append_new(r->held, rest);
    event->message.metadata = rest;
    event->message.content = NULL;
    event->message.type = "unreadable";
    if (message_check(event, NULL) == 0)
        add(r, event);
    else
        r->out->passed++;
}

static void read_one(struct reader *r, const json_t *message, bool echo)
{
    const char *from = js_str(message, "from", ""), *to = js_str(message, "to", ""),
               *group = js_str(message, "group_id", NULL);
    const char *other = echo ? to : from, *reply = js_str(js_obj(message, "context"), "id", NULL);
    json_t *metadata = json_pack("{s:b}", "isGroup", group != NULL);
    json_array_append_new(r->held, metadata);
    struct event event = {.topic = TOPIC_MESSAGES,
                          .media_id = group    ? jid(r, group, GROUP)
                                      : *other ? jid(r, other, PERSON)
                                               : "",
                          .timestamp_ms = time_of(message),
                          .message = {.id = js_str(message, "id", ""), .from_me = echo, .metadata = metadata}};
    if (!echo && *from)
        js_set_str(metadata, "sender", jid(r, from, PERSON));
    js_set_str(metadata, "senderName", name_of(r, from));
    js_set_str(metadata, "phoneNumberId", js_str(js_obj(r->value, "metadata"), "phone_number_id", NULL));
    js_set_str(metadata, "replyTo", reply);
    read_kind(message, &event.message);
    keep(r, &event);
}

// News of a message from us. Each of them is a message of its own, known by what it says.
static void read_status(struct reader *r, const json_t *status)
{
    const char *id = js_str(status, "id", ""), *says = js_str(status, "status", ""),
               *to = js_str(status, "recipient_id", ""), *group = NULL;
    if (strcmp(js_str(status, "recipient_type", ""), "group") == 0)
        group = to;
    json_t *metadata = json_pack("{s:s}", "targetMessageId", id);
    json_array_append_new(r->held, metadata);
    js_set_str(metadata, "replyId", js_str(status, "biz_opaque_callback_data", NULL));
    json_t *errors = js_arr(status, "errors");
    if (errors)
        json_object_set(metadata, "errors", errors);
    struct event event = {.topic = TOPIC_MESSAGES,
                          .media_id = *to ? jid(r, to, group ? GROUP : PERSON) : "",
                          .timestamp_ms = time_of(status),
                          .message = {.id = *id ? arena_printf(r->arena, "%s.%s", id, says) : "",
                                      .from_me = true,
                                      .type = "delivery",
                                      .content = says,
                                      .metadata = metadata}};
    keep(r, &event);
}

// --- The notification

static void read_list(struct reader *r, const char *name, void (*read)(struct reader *, const json_t *))
{
    size_t i;
    const json_t *one;
    json_array_foreach(js_arr(r->value, name), i, one)
    {
        if (json_is_object(one))
            read(r, one);
        else
            r->out->passed++;
    }
}

static void read_received(struct reader *r, const json_t *message)
{
    read_one(r, message, false);
}

static void read_echo(struct reader *r, const json_t *message)
{
    read_one(r, message, true);
}

static void pass(struct reader *r, const json_t *message)
{
    (void)message;
    r->out->passed++;
}

static void read_change(struct reader *r, const json_t *change, const char *number)
{
    r->value = js_obj(change, "value");
    const char *of = js_str(js_obj(r->value, "metadata"), "phone_number_id", "");
    bool wanted = !number || strcmp(of, number) == 0;
    read_list(r, "messages", wanted ? read_received : pass);
    read_list(r, "message_echoes", wanted ? read_echo : pass);
    read_list(r, "statuses", wanted ? read_status : pass);
}

void whatsapp_read(const json_t *body, const char *number, struct arena *arena, json_t *held, struct whatsapp_read *out)
{
    size_t i, j;
    const json_t *entry, *change;
    *out = (struct whatsapp_read){0};
    struct reader r = {.arena = arena, .held = held, .out = out};
    json_array_foreach(js_arr(body, "entry"), i, entry)
    {
        json_array_foreach(js_arr(entry, "changes"), j, change)
        {
            read_change(&r, change, number);
        }
    }
}
