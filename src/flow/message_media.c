// SPDX-License-Identifier: Apache-2.0
// The picture or video of a message: found, fetched, and made an item of the message's tenant, which tells of the
// message in its metadata.
//
// Where it is says the message's metadata: `mediaId`, by which the WhatsApp Cloud API gives an address that is good for
// minutes (asked for with our token, and fetched with it), or `mediaUrl`, an address that anybody can fetch.
//
// The item's id is derived from the message: however often and by whatever way the message comes, it has one item, and
// when that was deleted it is not made anew. The same picture in two messages is two items, as each has its own words,
// and goes with its own message.
//
// Whose fault it is. What the Cloud API does not let us ask at all (it is away, our token is no good, we ask too much)
// is an outage: messages wait, and no attempt is spent (G6). Everything else is the one message's: tried again, or not
// (G5).
#include <string.h>

#include "base/js.h"
#include "flow/adopt.h"
#include "flow/message_int.h"
#include "flow/workflow.h"
#include "net/fetch.h"
#include "net/post.h"

enum { SAID_MAX = 65536, CAPTION_MAX = 4096, NAME_MAX_BYTES = 255, MEDIA_ID_MAX = 128 };

struct media_fetch {
    struct flow *flow;
    struct arena *arena;
    struct net_ranges allowed;
    const char *token; // NULL: the address is not the Cloud API's
    bool video;
    const json_t *tags; // of the item, as a workflow says; NULL: none
    struct upload *upload;
};

// --- Asking

static int outage(struct error *err)
{
    err->outage = err->retryable = true;
    return -1;
}

// What the Cloud API means by its error: {"error": {"code": …, "message": …}}.
static int judge_api(const char *what, int status, const struct buf *said, struct error *err)
{
    _cleanup_json_ json_t *json = said->len ? js_parse(said->data, said->len, NULL) : NULL;
    const json_t *error = js_obj(json, "error");
    int64_t code = js_int(error, "code", 0);
    const char *text = js_str(error, "message", "no more was said");
    if (status == 429 || code == 4 || code == 80007 || code == 130429)
        error_set(err, ERR_OVERLOADED, "The Cloud API lets us ask no more for now (%.160s)", text);
    else if (status == 401 || code == 190)
        error_set(err, ERR_UNAVAILABLE, "The Cloud API refuses whatsapp.access_token (status %d, code %lld)", status,
                  (long long)code); // its words may repeat the token
    else if (status >= 500) {
        error_set(err, ERR_UNAVAILABLE, "%s: the Cloud API answered with status %d (%.160s)", what, status, text);
        return error_no_outage(err);
    } else
        return error_set(err, ERR_NOT_FOUND, "%s: the Cloud API answered with status %d (%.160s)", what, status, text);
    return outage(err);
}

static int take_text(void *arg, const void *data, size_t len, struct error *err)
{
    if (buf_append(arg, data, len) == 0)
        return 0;
    error_set(err, ERR_UNAVAILABLE, "It says too much");
    return error_no_outage(err);
}

static int take_bytes(void *arg, const void *data, size_t len, struct error *err)
{
    struct media_fetch *m = arg;
    return upload_write(m->upload, data, len, err);
}

static bool media_id_valid(const char *id)
{
    size_t len = strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
    return len && len <= MEDIA_ID_MAX && !id[len];
}

// The address at which the Cloud API gives the media for a few minutes, in the arena.
static int ask_address(struct media_fetch *m, const char *id, const char **out, struct error *err)
{
    int status;
    const struct whatsapp_settings *settings = &m->flow->settings.whatsapp;
    _cleanup_buf_ struct buf text = BUF_INIT(SAID_MAX), said = BUF_INIT(SAID_MAX);
    const struct fetch fetch = {.url = arena_printf(m->arena, "%s/%s", settings->api_url, id),
                                .bearer = m->token,
                                .allowed = &m->allowed,
                                .timeout_ms = settings->media_timeout_ms,
                                .stop = &m->flow->stopping,
                                .take = take_text,
                                .arg = &text};
    if (net_fetch(&fetch, &status, &said, err) < 0) {
        if (status >= 300)
            return judge_api("Its media", status, &said, err);
        error_prefix(err, "The Cloud API");
        return status && err->code != ERR_CANCELLED ? -1 : outage(err);
    }
    _cleanup_json_ json_t *json = js_parse(text.data ? text.data : "", text.len, NULL);
    const char *url = js_str(json, "url", NULL);
    if (!url) {
        error_set(err, ERR_UNAVAILABLE, "The Cloud API names no address of media %.80s", id);
        return error_no_outage(err);
    }
    *out = arena_strdup(m->arena, url);
    return 0;
}

// Somebody else's server: whatever is wrong with it is one message's.
static int judge_other(int status, struct error *err)
{
    if (err->code == ERR_CANCELLED)
        return outage(err);
    bool later = !status || status == 429 || status >= 500 || (status >= 200 && status <= 299);
    if (err->code == ERR_UNAVAILABLE && !later)
        return error_set(err, ERR_NOT_FOUND, "Its media: the server answered with status %d", status);
    return error_prefix(err, "Its media");
}

// --- Fetching

// `*gone`: the address is not good, or not any more.
static int fetch_bytes(struct media_fetch *m, const char *url, bool *gone, struct error *err)
{
    int status;
    _cleanup_buf_ struct buf said = BUF_INIT(SAID_MAX);
    const struct fetch fetch = {.url = url,
                                .bearer = m->token,
                                .allowed = &m->allowed,
                                .timeout_ms = m->flow->settings.whatsapp.media_timeout_ms,
                                .stop = &m->flow->stopping,
                                .take = take_bytes,
                                .arg = m};
    *gone = false;
    if (upload_begin_adopted(m->flow, m->video, 0, &m->upload, err) < 0)
        return -1;
    if (net_fetch(&fetch, &status, &said, err) == 0)
        return 0;
    upload_abort(m->upload);
    m->upload = NULL;
    *gone = status == 403 || status == 404 || status == 410;
    if (m->token && (status == 401 || status == 429))
        return judge_api("Its media", status, &said, err);
    return judge_other(status, err);
}

// An address that has expired is asked for once more; then the media is taken to be gone for the moment.
static int fetch_by_id(struct media_fetch *m, const char *id, struct error *err)
{
    const char *url = NULL;
    bool gone = true;
    m->token = m->flow->settings.whatsapp.access_token;
    if (!media_id_valid(id))
        return error_set(err, ERR_EVENT_INVALID, "metadata.mediaId is no id of the Cloud API");
    for (int i = 0; gone && i < 2; i++) {
        *err = (struct error){0};
        if (ask_address(m, id, &url, err) < 0)
            return -1;
        if (fetch_bytes(m, url, &gone, err) == 0)
            return 0;
    }
    err->retryable |= gone;
    return -1;
}

// --- The item

static const char *cut(struct arena *arena, const char *text, size_t most)
{
    if (!text || strlen(text) <= most)
        return text;
    size_t len = most;
    while (len && !js_utf8_valid(text, len)) // in the middle of a character
        len--;
    return arena_printf(arena, "%.*s", (int)len, text);
}

static json_t *metadata_of(struct arena *arena, const struct event *event, const struct meta_message *row)
{
    const json_t *given = event->message.metadata;
    const char *caption = row->content ? row->content : js_str(given, "caption", NULL);
    json_t *json = json_pack("{s:s,s:s,s:s,s:b,s:b}", "source", "whatsapp", "messageId", row->id, "chatJid", row->chat,
                             "fromMe", row->from_me, "isGroup", js_bool(given, "isGroup", false));
    js_set_str(json, "caption", cut(arena, caption, CAPTION_MAX));
    js_set_str(json, "sender", cut(arena, message_sender(event), NAME_MAX_BYTES));
    js_set_str(json, "senderName", cut(arena, js_str(given, "senderName", NULL), NAME_MAX_BYTES));
    js_set_time(json, "sentAt", row->sent_ms);
    return json;
}

static int make_item(struct media_fetch *m, const struct event *event, const struct meta_message *row, const char *id,
                     struct error *err)
{
    char event_id[ID_MAX];
    bool gone;
    struct media media;
    _cleanup_json_ json_t *metadata = metadata_of(m->arena, event, row);
    if (m->tags)
        json_object_set(metadata, "tags", (json_t *)m->tags);
    id_derive("evt", arena_printf(m->arena, "%s/%s/uploaded", event->tenant, id), NULL, event_id);
    const struct event up = {
        .topic = m->video ? TOPIC_VIDEOS_UPLOADED : TOPIC_IMAGES_UPLOADED,
        .id = event_id,
        .tenant = event->tenant,
        .media_id = id,
        .image_uploaded = {.file_name = js_str(event->message.metadata, "fileName", NULL),
                           .uploaded_by = cut(m->arena, message_sender(event), NAME_MAX_BYTES),
                           .uploaded_ms = row->received_ms,
                           .metadata = metadata},
    };
    return upload_keep(take_ptr(m->upload), &up, m->arena, &media, &gone, err);
}

// --- What is there already

struct there {
    struct flow *flow;
    struct arena *arena;
    const struct event *event;
    const char *id;
    struct meta_message row;
    bool gone;  // there is no such message any more: its tenant was removed
    bool there; // the item is made, or was and is deleted
};

static int look_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct there *l = arg;
    struct media media;
    struct error why = {0};
    const char *tenant = l->event->tenant;
    const struct meta_ops *meta = l->flow->meta.ops;
    if (meta->message_get(tx, l->arena, tenant, l->event->message.id, &l->row, &why) < 0) {
        l->gone = why.code == ERR_NOT_FOUND;
        return l->gone ? 0 : error_copy(err, &why);
    }
    l->there = meta->media_get(tx, l->arena, tenant, l->id, &media, &why) == 0;
    if (l->there || why.code != ERR_NOT_FOUND)
        return l->there ? 0 : error_copy(err, &why);
    return item_buried(l->flow, tx, tenant, l->id, &l->there, err);
}

static bool may_have_item(const char *type)
{
    return strcmp(type, "video") == 0 || strcmp(type, "image") == 0;
}

const char *message_item_id(struct arena *arena, const char *tenant, const char *type, const char *message_id)
{
    char id[ID_MAX];
    if (!may_have_item(type))
        return NULL;
    id_derive(strcmp(type, "video") == 0 ? "vid" : "img", arena_printf(arena, "%s/message/%s", tenant, message_id),
              NULL, id);
    return arena_strdup(arena, id);
}

// Whether there is something to fetch, and from where. What our token opens is for the tenant whose token it is.
static bool find_media(const struct flow *f, const struct event *event, const char **media_id, const char **url)
{
    const struct event_message *message = &event->message;
    const struct whatsapp_settings *settings = &f->settings.whatsapp;
    const char *token = settings->access_token;
    bool ours = token && *token && strcmp(event->tenant, settings->tenant) == 0;
    if (!may_have_item(message->type))
        return false;
    *media_id = ours ? js_str(message->metadata, "mediaId", NULL) : NULL;
    *url = js_str(message->metadata, "mediaUrl", NULL);
    return *media_id || *url;
}

int message_ingest(struct flow *f, struct job *job, const char **out, struct error *err)
{
    bool gone, wanted;
    const char *media_id, *url;
    const struct event_message *message = &job->event.message;
    struct media_fetch m = {.flow = f, .arena = &job->arena, .video = strcmp(message->type, "video") == 0};
    *out = NULL;
    if (!find_media(f, &job->event, &media_id, &url))
        return 0;
    if (workflow_ingest(f, job, &wanted, &m.tags, err) < 0)
        return -1;
    if (!wanted)
        return 0;
    const char *id = message_item_id(m.arena, job->event.tenant, message->type, message->id);
    struct there look = {.flow = f, .arena = m.arena, .event = &job->event, .id = id};
    if (f->meta.ops->write(f->meta.state, META_RELAXED, look_tx, &look, err) < 0) // item_buried may write
        return -1;
    if (look.gone || look.row.state == MESSAGE_PROCESSED || look.row.deleted_ms)
        return 0;
    *out = id;
    if (look.there)
        return 0;
    if (net_ranges_parse(f->settings.hook_allow, &m.allowed, err) < 0 ||
        (media_id ? fetch_by_id(&m, media_id, err) : fetch_bytes(&m, url, &gone, err)) < 0)
        return -1;
    return make_item(&m, &job->event, &look.row, id, err);
}
