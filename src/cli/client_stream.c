// SPDX-License-Identifier: Apache-2.0
// An answer that goes on: lines as they come.
#include <string.h>

#include "base/clock.h"
#include "cli/client_int.h"

enum { LINE_ROOM = 8 << 20, SILENCE_US = 60 * 1000 * 1000 };

struct stream {
    struct client *client;
    client_line_fn *line;
    client_tick_fn *tick;
    void *arg;
    struct buf rest; // a line without its end
    int64_t heard_us;
    bool ended; // by one of the two
    bool silent;
};

static bool take_lines(struct stream *s)
{
    size_t at = 0;
    for (char *end; !s->ended && at < s->rest.len && (end = memchr(s->rest.data + at, '\n', s->rest.len - at));
         at = (size_t)(end - s->rest.data) + 1) {
        *end = 0;
        s->ended = !s->line(s->arg, s->rest.data + at);
    }
    if (at) {
        s->rest.len -= at;
        memmove(s->rest.data, s->rest.data + at, s->rest.len + 1);
    }
    return !s->ended;
}

static size_t on_piece(char *data, size_t one, size_t count, void *arg)
{
    struct stream *s = arg;
    long status = 0;
    size_t len = one * count;
    s->heard_us = clock_mono_us();
    curl_easy_getinfo(s->client->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        return buf_append(&s->client->body, data, len) < 0 ? 0 : len;
    return buf_append(&s->rest, data, len) < 0 || !take_lines(s) ? 0 : len;
}

static int on_tick(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    struct stream *s = arg;
    s->silent = clock_mono_us() - s->heard_us > SILENCE_US;
    s->ended = s->ended || !s->tick(s->arg);
    return s->ended || s->silent;
}

int client_lines(struct client *c, const char *path, client_line_fn *line, client_tick_fn *tick, void *arg,
                 struct error *err)
{
    struct stream s = {
        .client = c, .line = line, .tick = tick, .arg = arg, .rest = BUF_INIT(LINE_ROOM), .heard_us = clock_mono_us()};
    client_prepare(c, path, c->headers, &c->body);
    curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, on_piece);
    curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, &s);
    curl_easy_setopt(c->curl, CURLOPT_XFERINFOFUNCTION, on_tick);
    curl_easy_setopt(c->curl, CURLOPT_XFERINFODATA, &s);
    curl_easy_setopt(c->curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c->curl, CURLOPT_LOW_SPEED_TIME, 0L); // a word now and then is enough
    struct error why = {0};
    int rc = client_perform(c, &why);
    curl_easy_setopt(c->curl, CURLOPT_NOPROGRESS, 1L);
    curl_easy_setopt(c->curl, CURLOPT_LOW_SPEED_TIME, (long)CLIENT_STALLED_S);
    buf_free(&s.rest);
    if (s.ended) // whoever ended it may have said why, in `err`
        return 0;
    if (s.silent)
        return error_set(err, ERR_UNAVAILABLE, "The connection to %s went silent", c->server);
    if (rc == 0 && c->status != 200)
        return client_refusal(c, err);
    c->status = 0; // it is as if there had been no answer
    return rc < 0 ? error_copy(err, &why)
                  : error_set(err, ERR_UNAVAILABLE, "The connection to %s was closed", c->server);
}
