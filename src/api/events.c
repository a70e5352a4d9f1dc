// SPDX-License-Identifier: Apache-2.0
// GET /api/v1/events: changes of items as they happen, as Server-Sent Events or, when the client asks to upgrade, as
// messages of a WebSocket. Each carries its number: who comes back with the last one it saw (`since`, Last-Event-ID)
// misses nothing and gets nothing twice.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"

enum { WAITING_MAX = 256 * 1024, IDS_MAX = 100 };

struct watcher {
    struct live *live;
    struct live_follower *follower;
    struct http_stream *stream; // one of the two, once it is ready
    struct http_socket *socket;
    _Atomic bool ready;
    unsigned statuses; // bits; 0: all
    size_t id_count;   // 0: all
    char ids[IDS_MAX][ID_MAX];
};

static unsigned status_bit(int status)
{
    return 1u << (status == META_GONE ? MEDIA_DELETING + 1 : status);
}

static bool wants(const struct watcher *w, const struct live_change *change)
{
    if (w->statuses && !(w->statuses & status_bit(change->status)))
        return false;
    for (size_t i = 0; i < w->id_count; i++)
        if (strcmp(w->ids[i], change->id) == 0)
            return true;
    return w->id_count == 0;
}

static int send_text(struct watcher *w, int64_t seq, const struct buf *json)
{
    if (w->socket)
        return http_socket_write(w->socket, json->data, json->len);
    _cleanup_buf_ struct buf text = BUF_INIT(4 << 20);
    buf_printf(&text, "id: %lld\ndata: %s\n\n", (long long)seq, json->data);
    return text.failed ? 0 : http_stream_write(w->stream, text.data, text.len);
}

static bool take(void *arg, const struct live_change *change)
{
    struct watcher *w = arg;
    if (!w->ready)
        return false;
    if (!wants(w, change))
        return true;
    _cleanup_buf_ struct buf json = BUF_INIT(2 << 20);
    change_write(change, &json);
    return json.failed || send_text(w, change->seq, &json) == 0;
}

// A number without data: no event, but what a browser says when it comes back, whatever it does not want to hear of.
static void send_number(struct watcher *w, int64_t seq, const char *more)
{
    char text[64];
    int len = snprintf(text, sizeof text, "id: %lld\n%s\n", (long long)seq, more);
    http_stream_write(w->stream, text, (size_t)len);
}

static void beat(void *arg, int64_t seq)
{
    struct watcher *w = arg;
    if (w->ready && w->socket)
        http_socket_beat(w->socket);
    else if (w->ready)
        send_number(w, seq, "");
}

static void room(void *arg)
{
    live_more(((struct watcher *)arg)->live);
}

static void closed(void *arg)
{
    struct watcher *w = arg;
    live_leave(w->follower);
    free(w);
}

static void message(void *arg, const char *text, size_t len)
{
    struct watcher *w = arg;
    http_socket_end(w->socket, 1008, "Nothing is expected here");
}

int api_live(const struct api *api, struct error *err)
{
    return api->live ? 0 : error_set(err, ERR_UNSUPPORTED, "Changes can be followed where the pipeline runs");
}

// ---- The request

static int read_ids(const struct http_request *req, struct watcher *w, struct error *err)
{
    const char *text = api_given(req, "imageId");
    if (!text)
        return 0;
    char *copy = arena_strdup(http_arena((struct http_request *)req), text);
    for (char *word; (word = strsep(&copy, ","));) {
        if (w->id_count == IDS_MAX)
            return error_set(err, ERR_INVALID, "`imageId` names at most %d images", IDS_MAX);
        if (item_id(word, "img", w->ids[w->id_count++], err) < 0)
            return -1;
    }
    return 0;
}

static int read_statuses(const struct http_request *req, struct watcher *w, struct error *err)
{
    const char *text = api_given(req, "status");
    if (!text)
        return 0;
    char *copy = arena_strdup(http_arena((struct http_request *)req), text);
    for (char *word; (word = strsep(&copy, ","));) {
        enum media_status status;
        if (strcmp(word, "deleted") == 0)
            w->statuses |= status_bit(META_GONE);
        else if (media_status_parse(word, &status) == 0)
            w->statuses |= status_bit(status);
        else
            return error_set(err, ERR_INVALID,
                             "`status` is uploaded, processing, completed, failed, deleting or "
                             "deleted, or several with commas between them");
    }
    return 0;
}

static int read_since(const struct http_request *req, int64_t *out, struct error *err)
{
    const char *last = http_header(req, "Last-Event-ID");
    if (api_int(req, "since", 0, INT64_MAX, -1, out, err) < 0)
        return -1;
    if (*out >= 0 || !last || !*last)
        return 0;
    char *end;
    long long value = strtoll(last, &end, 10);
    if (*end || value < 0)
        return error_set(err, ERR_INVALID, "Last-Event-ID must be a number that an event carried");
    *out = value;
    return 0;
}

static void begin(struct watcher *w, int64_t seq, bool gap)
{
    _cleanup_buf_ struct buf json = BUF_INIT(256);
    buf_printf(&json, "{\"seq\":%lld,\"type\":\"gap\"}", (long long)seq);
    if (w->stream)
        send_number(w, seq, "retry: 2000\n");
    if (gap)
        send_text(w, seq, &json);
    w->ready = true;
    live_more(w->live);
}

static int answer(struct http_request *req, struct watcher *w, struct error *err)
{
    static const struct http_stream_ops stream_ops = {.room = room, .closed = closed};
    static const struct http_socket_ops socket_ops = {.message = message, .room = room, .closed = closed};
    if (http_wants_socket(req)) {
        struct http_socket *socket;
        if (http_reply_socket(req, WAITING_MAX, &socket_ops, w, &socket, err) < 0)
            return -1;
        w->socket = socket;
        return 0;
    }
    http_set_header(req, "Cache-Control", "no-store");
    http_set_header(req, "X-Accel-Buffering", "no");
    w->stream = http_reply_stream(req, "text/event-stream", WAITING_MAX, &stream_ops, w);
    return 0;
}

void api_events(struct http_request *req, void *ctx, void *sink)
{
    static const struct live_ops ops = {.take = take, .beat = beat};
    struct api *api = ctx;
    struct error err = {0};
    const char *tenant;
    int64_t since, seq = 0;
    bool gap = false;
    struct watcher *w = calloc(1, sizeof *w);
    if (!w)
        abort();
    int rc = -1;
    w->live = api->live;
    if (api_live(api, &err) == 0 && api_tenant(req, NULL, &tenant, &err) == 0 && read_ids(req, w, &err) == 0 &&
        read_statuses(req, w, &err) == 0 && read_since(req, &since, &err) == 0)
        rc = live_follow(api->live, tenant, since, &ops, w, &w->follower, &seq, &gap, &err);
    if (rc == 0 && answer(req, w, &err) < 0) {
        live_leave(w->follower);
        rc = -1;
    }
    if (rc < 0) {
        free(w);
        http_reply_error(req, &err);
        return;
    }
    begin(w, seq, gap);
}
