// SPDX-License-Identifier: Apache-2.0
// Writes what check.py holds against the schemas, one JSON line each: {"topic", "form": "envelope" | "flat", "strict",
// "event"}: one event of each kind, full and bare, in every form (strict: the schema must name each member), and the
// examples of the documents.
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "events/event.h"
#include "examples.h"
#include "fixtures.h"

static void put(enum event_topic topic, bool flat, bool strict, const char *json)
{
    printf("{\"topic\":\"%s\",\"form\":\"%s\",\"strict\":%s,\"event\":", event_topic_name(topic),
           flat ? "flat" : "envelope", strict ? "true" : "false");
    for (; *json; json++)
        putchar(*json == '\n' ? ' ' : *json);
    puts("}");
}

static int put_event(const struct event *ev, struct event_format form)
{
    _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
    struct error err;
    if (event_encode(ev, form, &out, &err) < 0) {
        fprintf(stderr, "%s: %s\n", event_topic_name(ev->topic), err.message);
        return -1;
    }
    put(ev->topic, form.flat || ev->topic == TOPIC_MESSAGES, true, out.data);
    return 0;
}

static int put_forms(struct event *ev)
{
    int rc = 0;
    for (int form = 0; form < 4; form++)
        rc |= put_event(ev, (struct event_format){.flat = form & 1, .bare_ids = form & 2});
    fixture_free(ev);
    return rc;
}

int main(void)
{
    int rc = 0;
    struct event ev;
    for (size_t i = 0; i < ARRAY_LEN(examples); i++)
        put(examples[i].topic, examples[i].flat, false, examples[i].json);
    for (int topic = 0; topic < TOPIC_DEADLETTER; topic++) {
        fixture_full((enum event_topic)topic, &ev);
        rc |= put_forms(&ev);
        fixture_bare((enum event_topic)topic, &ev);
        rc |= put_forms(&ev);
    }
    fixture_full(TOPIC_PROCESSING_COMPLETED, &ev);
    ev.media_id = "frm_98765432-4321-4321-4321-210987654321";
    rc |= put_forms(&ev);
    ev.media_id = "vid_98765432-4321-4321-4321-210987654321";
    rc |= put_forms(&ev);
    return rc ? 1 : 0;
}
