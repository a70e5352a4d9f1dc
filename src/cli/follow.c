// SPDX-License-Identifier: Apache-2.0
// Server-Sent Events, read as a browser's EventSource does: `id:` is the number to come back with, with or without
// data.
#include "cli/follow.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "cli/uploader.h"

enum { NAP_MS = 50 };

struct following {
    struct follow *f;
    struct buf data; // of the event that is being read
    bool has_id;     //
    int64_t id;      //
    bool stands;     // the first number came
    unsigned lost;   // times in a row
    enum follow_next next;
    struct error *err;
};

static bool go_on(struct following *x, enum follow_next next)
{
    x->next = next;
    return next == FOLLOW_ON;
}

// A number without data: up to there everything was sent.
static bool number_alone(struct following *x)
{
    struct follow *f = x->f;
    if (!x->stands) {
        x->stands = true;
        return !f->standing || go_on(x, f->standing(f->arg, x->err));
    }
    return !f->caught_up || go_on(x, f->caught_up(f->arg, x->err));
}

static bool end_event(struct following *x)
{
    struct follow *f = x->f;
    if (x->has_id)
        f->since = x->id;
    bool alone = x->has_id && !x->data.len;
    x->has_id = false;
    if (alone)
        return number_alone(x);
    if (!x->data.len)
        return true;
    _cleanup_json_ json_t *event = js_parse(x->data.data, x->data.len, x->err);
    buf_clear(&x->data);
    return go_on(x, event ? f->event(f->arg, event, x->err) : FOLLOW_FAIL);
}

static bool on_line(void *arg, char *line)
{
    struct following *x = arg;
    size_t len = strlen(line);
    if (len && line[len - 1] == '\r')
        line[len - 1] = 0;
    if (!*line && end_event(x))
        x->lost = 0;
    if (!*line)
        return x->next == FOLLOW_ON;
    if (strncmp(line, "id:", 3) == 0) {
        x->has_id = true;
        x->id = strtoll(line + 3, NULL, 10);
    } else if (strncmp(line, "data:", 5) == 0) {
        buf_puts(&x->data, line + 5 + (line[5] == ' '));
    }
    return true;
}

static bool on_tick(void *arg)
{
    struct following *x = arg;
    return go_on(x, x->f->tick(x->f->arg, x->err));
}

static void make_path(const struct follow *f, struct buf *path)
{
    char since[24];
    snprintf(since, sizeof since, "%" PRId64, f->since);
    buf_puts(path, "/api/v1/events");
    client_query(path, "imageId", f->images);
    client_query(path, "status", f->statuses);
    client_query(path, "since", f->since < 0 ? NULL : since);
}

static int listen_once(struct client *stream, struct following *x)
{
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    make_path(x->f, &path);
    if (path.failed)
        return error_set(x->err, ERR_USAGE, "What to follow is too long");
    x->stands = x->has_id = false;
    x->next = FOLLOW_ON;
    buf_clear(&x->data);
    return client_lines(stream, path.data, on_line, on_tick, x, x->err);
}

static bool nap(struct following *x, int64_t ms)
{
    for (; ms > 0; ms -= NAP_MS) {
        if (!on_tick(x))
            return false;
        clock_sleep_ms(ms < NAP_MS ? ms : NAP_MS);
    }
    return true;
}

int follow_run(struct client *stream, struct follow *f, struct error *err)
{
    struct error why = {0};
    struct following x = {.f = f, .data = BUF_INIT(8 << 20), .err = &why};
    unsigned seed = (unsigned)clock_mono_us();
    int rc = 0;
    for (;;) {
        rc = listen_once(stream, &x);
        if (rc == 0 && x.next == FOLLOW_END)
            break;
        bool again = rc < 0 ? upload_worth_retrying(stream, &why) : x.next == FOLLOW_AGAIN;
        rc = -1;
        if (!again || x.lost >= f->retries)
            break;
        if (f->lost)
            f->lost(f->arg, &why);
        if (!nap(&x, upload_back_off_ms(x.lost++, client_retry_after_ms(stream), &seed))) {
            rc = x.next == FOLLOW_END ? 0 : -1;
            break;
        }
    }
    buf_free(&x.data);
    return rc < 0 ? error_copy(err, &why) : 0;
}

// ---- The newest

static enum follow_next first_number(void *arg, struct error *err)
{
    return FOLLOW_END;
}

static enum follow_next never(void *arg, const json_t *event, struct error *err)
{
    return FOLLOW_ON;
}

static enum follow_next nothing(void *arg, struct error *err)
{
    return FOLLOW_ON;
}

int follow_now(struct client *stream, int64_t *out, struct error *err)
{
    struct follow f = {.since = -1, .event = never, .standing = first_number, .tick = nothing};
    if (follow_run(stream, &f, err) < 0)
        return -1;
    *out = f.since;
    return 0;
}
