// SPDX-License-Identifier: Apache-2.0
// What the hub's messages mean: the JSON protocol of ASP.NET Core SignalR
// (github.com/dotnet/aspnetcore: src/SignalR/docs/specs/HubProtocol.md).
//
//   client → server   SubscribeToImageStatus(imageId), SubscribeToImagesStatus([imageId, …]),
//   SubscribeToTenantStatus(),
//                     and Unsubscribe… of each
//   server → client   StatusChanged(change), ProcessingCompleted(event), ProcessingFailed(event)
//
// Who subscribes to an image is told at once where it stands, so that what happened before is not missed.
#include <stdlib.h>
#include <string.h>

#include "api/hub_int.h"

static void invoke(struct buf *out, const char *target, const char *argument)
{
    buf_printf(out, "{\"type\":1,\"target\":\"%s\",\"arguments\":[%s]}" MARK, target, argument);
}

static void change_messages(const struct live_change *change, struct buf *out)
{
    invoke(out, "StatusChanged", change->json);
    if (change->event)
        invoke(out, change->status == MEDIA_FAILED ? "ProcessingFailed" : "ProcessingCompleted", change->event);
}

// ---- What is followed

static int by_id(const void *a, const void *b)
{
    return strcmp(a, b);
}

static bool is_followed(const struct hub_conn *c, const char *id)
{
    char key[ID_MAX];
    snprintf(key, sizeof key, "%s", id);
    return c->all || (c->id_count && bsearch(key, c->ids, c->id_count, sizeof *c->ids, by_id));
}

static bool take(void *arg, const struct live_change *change)
{
    struct hub_conn *c = arg;
    _cleanup_buf_ struct buf text = BUF_INIT(MESSAGE_ROOM);
    pthread_mutex_lock(&c->lock);
    bool taken = true;
    if (c->greeted && is_followed(c, change->id)) {
        change_messages(change, &text);
        taken = text.failed || hub_send(c, text.data, text.len) == 0;
    }
    pthread_mutex_unlock(&c->lock);
    return taken;
}

static void beat(void *arg, int64_t seq)
{
    struct hub_conn *c = arg;
    pthread_mutex_lock(&c->lock);
    hub_beat(c);
    pthread_mutex_unlock(&c->lock);
}

// c->lock held.
static int add_id(struct hub_conn *c, const char *id, struct error *err)
{
    char key[ID_MAX] = "";
    if (item_id(id, "img", key, err) < 0)
        return -1;
    if (c->id_count && bsearch(key, c->ids, c->id_count, sizeof *c->ids, by_id))
        return 0;
    if (c->id_count == IDS_MAX)
        return error_set(err, ERR_INVALID, "A connection follows at most %d images", IDS_MAX);
    char(*ids)[ID_MAX] = realloc(c->ids, (c->id_count + 1) * sizeof *ids);
    if (!ids)
        return error_set(err, ERR_NO_MEMORY, "No memory to follow another image");
    c->ids = ids;
    memcpy(c->ids[c->id_count++], key, sizeof key);
    qsort(c->ids, c->id_count, sizeof *c->ids, by_id);
    return 0;
}

static void remove_id(struct hub_conn *c, const char *id)
{
    char key[ID_MAX] = "";
    char(*at)[ID_MAX] = item_id(id, "img", key, NULL) == 0 && c->id_count
                            ? bsearch(key, c->ids, c->id_count, sizeof *c->ids, by_id)
                            : NULL;
    if (!at)
        return;
    memmove(at, at + 1, (size_t)(c->ids + c->id_count - at - 1) * sizeof *at);
    c->id_count--;
}

static void send_now(struct hub_conn *c, const char *id)
{
    _cleanup_arena_ struct arena arena = {0};
    _cleanup_buf_ struct buf text = BUF_INIT(MESSAGE_ROOM);
    struct live_change now;
    if (live_now(c->hub->live, &arena, c->tenant, id, &now, NULL) < 0)
        return; // not there (yet)
    change_messages(&now, &text);
    pthread_mutex_lock(&c->lock);
    if (!text.failed)
        hub_send(c, text.data, text.len);
    pthread_mutex_unlock(&c->lock);
}

// ---- Messages of the client; without locks

static int subscribe(struct hub_conn *c, const json_t *id, struct error *err)
{
    if (!json_is_string(id))
        return error_set(err, ERR_INVALID, "The id of an image is expected");
    pthread_mutex_lock(&c->lock);
    int rc = add_id(c, json_string_value(id), err);
    pthread_mutex_unlock(&c->lock);
    if (rc == 0)
        send_now(c, json_string_value(id));
    return rc;
}

static int unsubscribe(struct hub_conn *c, const json_t *id, struct error *err)
{
    if (!json_is_string(id))
        return error_set(err, ERR_INVALID, "The id of an image is expected");
    pthread_mutex_lock(&c->lock);
    remove_id(c, json_string_value(id));
    pthread_mutex_unlock(&c->lock);
    return 0;
}

static int each(struct hub_conn *c, const json_t *ids, int (*fn)(struct hub_conn *, const json_t *, struct error *),
                struct error *err)
{
    size_t i;
    json_t *id;
    if (!json_is_array(ids))
        return error_set(err, ERR_INVALID, "A list of ids is expected");
    json_array_foreach((json_t *)ids, i, id)
    {
        if (fn(c, id, err) < 0)
            return -1;
    }
    return 0;
}

static int call(struct hub_conn *c, const char *target, const json_t *arguments, struct error *err)
{
    const json_t *first = json_array_get(arguments, 0);
    if (strcasecmp(target, "SubscribeToImageStatus") == 0)
        return subscribe(c, first, err);
    if (strcasecmp(target, "UnsubscribeFromImageStatus") == 0)
        return unsubscribe(c, first, err);
    if (strcasecmp(target, "SubscribeToImagesStatus") == 0)
        return each(c, first, subscribe, err);
    if (strcasecmp(target, "UnsubscribeFromImagesStatus") == 0)
        return each(c, first, unsubscribe, err);
    bool on = strcasecmp(target, "SubscribeToTenantStatus") == 0;
    if (!on && strcasecmp(target, "UnsubscribeFromTenantStatus") != 0)
        return error_set(err, ERR_NOT_FOUND, "Unknown hub method '%.60s'", target);
    pthread_mutex_lock(&c->lock);
    c->all = on;
    pthread_mutex_unlock(&c->lock);
    return 0;
}

static void complete(struct hub_conn *c, const char *invocation, int rc, const struct error *err)
{
    if (!invocation)
        return;
    _cleanup_json_ json_t *json =
        rc < 0 ? json_pack("{s:i, s:s, s:s}", "type", 3, "invocationId", invocation, "error", err->message)
               : json_pack("{s:i, s:s, s:n}", "type", 3, "invocationId", invocation, "result");
    _cleanup_buf_ struct buf text = BUF_INIT(65536);
    if (!json || js_write(json, &text) < 0 || buf_puts(&text, MARK) < 0)
        return;
    pthread_mutex_lock(&c->lock);
    hub_send(c, text.data, text.len);
    pthread_mutex_unlock(&c->lock);
}

static void shut(struct hub_conn *c, const char *why)
{
    _cleanup_json_ json_t *json = json_pack("{s:i, s:s}", "type", 7, "error", why);
    _cleanup_buf_ struct buf text = BUF_INIT(4096);
    if (js_write(json, &text) == 0)
        buf_puts(&text, MARK);
    pthread_mutex_lock(&c->lock);
    if (!text.failed)
        hub_send(c, text.data, text.len);
    pthread_mutex_unlock(&c->lock);
    hub_conn_end(c);
}

static void greet(struct hub_conn *c, const json_t *hello)
{
    static const struct live_ops ops = {.take = take, .beat = beat};
    struct error err = {0};
    struct live_follower *follower = NULL;
    int64_t seq;
    bool gap;
    int rc = 0;
    if (strcmp(js_str(hello, "protocol", ""), "json") != 0 || js_int(hello, "version", 0) != 1)
        rc = error_set(&err, ERR_INVALID, "The protocol is json, in version 1");
    if (rc == 0)
        rc = live_follow(c->hub->live, c->tenant, -1, &ops, c, &follower, &seq, &gap, &err);
    _cleanup_json_ json_t *answer = rc < 0 ? json_pack("{s:s}", "error", err.message) : json_object();
    _cleanup_buf_ struct buf text = BUF_INIT(4096);
    if (js_write(answer, &text) == 0)
        buf_puts(&text, MARK);
    pthread_mutex_lock(&c->lock);
    bool late = c->over;
    if (!late)
        c->follower = follower;
    c->greeted = rc == 0;
    hub_send(c, text.data, text.len);
    pthread_mutex_unlock(&c->lock);
    live_more(c->hub->live);
    if (late)
        live_leave(follower);
    if (rc < 0)
        shut(c, err.message);
}

static void handle(struct hub_conn *c, const char *text, size_t len)
{
    struct error err = {0};
    _cleanup_json_ json_t *json = js_parse(text, len, &err);
    pthread_mutex_lock(&c->lock);
    bool greeted = c->greeted;
    pthread_mutex_unlock(&c->lock);
    if (!json_is_object(json)) {
        shut(c, "A message is not a JSON object");
        return;
    }
    if (!greeted) {
        greet(c, json);
        return;
    }
    int64_t type = js_int(json, "type", 0);
    if (type == 1) {
        int rc = call(c, js_str(json, "target", ""), js_arr(json, "arguments"), &err);
        complete(c, js_str(json, "invocationId", NULL), rc, &err);
    } else if (type == 7) {
        shut(c, "Goodbye");
    } else if (type != 6) {
        shut(c, "Messages of this type are not expected");
    }
}

// Whole messages are handled; what is left waits for the rest.
static void take_data(struct hub_conn *c, const char *data, size_t len)
{
    while (len) {
        const char *mark = memchr(data, MARK[0], len);
        size_t n = mark ? (size_t)(mark - data) : len;
        if (buf_append(&c->in, data, n) < 0) {
            shut(c, "A message is too long");
            return;
        }
        data += n + (mark != NULL);
        len -= n + (mark != NULL);
        if (!mark)
            return;
        handle(c, c->in.data ? c->in.data : "", c->in.len);
        c->in.len = 0;
    }
}

void hub_received(struct hub_conn *c, const char *data, size_t len)
{
    pthread_mutex_lock(&c->receiving);
    take_data(c, data, len);
    pthread_mutex_unlock(&c->receiving);
}
