// SPDX-License-Identifier: Apache-2.0
// Fuzzes the events' reader and writer: the first byte chooses the topic, the rest is the message. What can be read
// must come back the same in every form, and can be reissued.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/js.h"
#include "events/event.h"
#include "same.h"

static const char fallback[] = "evt_00000000-0000-8000-8000-000000000001";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void stop(const char *what, const struct buf *text)
{
    fprintf(stderr, "%s: %s\n", what, text->data ? text->data : "");
    abort();
}

static void there_and_back(const struct event *ev, struct event_format form)
{
    _cleanup_buf_ struct buf out = BUF_INIT(16 << 20);
    _cleanup_arena_ struct arena arena = {0};
    _cleanup_json_ json_t *root = NULL;
    struct event back;
    struct error err;
    if (event_encode(ev, form, &out, &err) < 0)
        stop(err.message, &out);
    if (event_decode(ev->topic, out.data, out.len, fallback, &arena, &back, &root, &err) < 0)
        stop(err.message, &out);
    const char *member = event_differs(ev, &back);
    if (member && ev->timestamp_ms) // without a time it is written as of now
        stop(member, &out);
}

static void reissue(enum event_topic topic, const uint8_t *data, size_t size)
{
    _cleanup_buf_ struct buf out = BUF_INIT(16 << 20);
    _cleanup_arena_ struct arena arena = {0};
    _cleanup_json_ json_t *root = NULL;
    struct event back;
    struct error err;
    if (event_reissue(data, size, fallback, 7, 9, &out, &err) < 0)
        stop(err.message, &out);
    if (event_decode(topic, out.data, out.len, NULL, &arena, &back, &root, &err) < 0)
        stop(err.message, &out);
    if (back.attempt != 7 || back.max_attempts != 9)
        stop("retryPolicy", &out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    enum event_topic topic = (enum event_topic)(data[0] % TOPIC_COUNT);
    _cleanup_arena_ struct arena arena = {0};
    _cleanup_json_ json_t *root = NULL;
    struct event ev;
    struct error err;
    if (event_decode(topic, data + 1, size - 1, fallback, &arena, &ev, &root, &err) < 0)
        return 0;
    for (int form = 0; form < 4; form++)
        there_and_back(&ev, (struct event_format){.flat = form & 1, .bare_ids = form & 2});
    reissue(topic, data + 1, size - 1);
    return 0;
}
