// SPDX-License-Identifier: Apache-2.0
// A change as clients read it: the number, the item as it is now, and for its end the event of the specification.
#include "flow/change.h"

#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "flow/step.h"

static const char *keep_text(struct arena *arena, const struct buf *text)
{
    return arena_memdup(arena, text->data, text->len + 1);
}

const char *change_status(int status)
{
    return status == META_GONE ? "deleted" : media_status_name((enum media_status)status);
}

static const char *change_json(struct arena *arena, const struct meta_change *c, const struct media *media)
{
    char time[CLOCK_TEXT];
    clock_rfc3339(c->at_ms, time);
    bool failed = media && c->status == MEDIA_FAILED;
    _cleanup_json_ json_t *json =
        json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:s*, s:s*, s:s*}", "seq", (json_int_t)c->seq, "type", "image.status",
                  "tenantId", c->tenant, "imageId", c->id, "status", change_status(c->status), "timestamp", time,
                  "fileName", media ? media->file_name : NULL, "errorCode", failed ? media->error_code : NULL,
                  "errorMessage", failed ? media->error_message : NULL);
    _cleanup_buf_ struct buf text = BUF_INIT(65536);
    return json && js_write(json, &text) == 0 ? keep_text(arena, &text) : NULL;
}

static struct event ending(struct arena *arena, const struct meta_change *c, const struct media *media)
{
    enum event_topic topic = c->status == MEDIA_FAILED ? TOPIC_PROCESSING_FAILED : TOPIC_PROCESSING_COMPLETED;
    return (struct event){.topic = topic,
                          .id = event_next_id(arena, media->tenant, media->event_id, topic, "live"),
                          .tenant = media->tenant,
                          .correlation = media->event_id,
                          .media_id = media->id,
                          .timestamp_ms = c->at_ms};
}

static int completed(struct meta_tx *tx, struct flow *f, struct arena *arena, const struct media *media,
                     struct event *event, struct error *err)
{
    struct media_step *rows;
    size_t count;
    if (f->meta.ops->step_list(tx, arena, media->tenant, media->id, &rows, &count, err) < 0)
        return -1;
    struct event_completed_step *shown = arena_alloc(arena, (count + 1) * sizeof *shown);
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].step, "thumbnail") != 0) // comes after the event
            shown[n++] = (struct event_completed_step){.step = rows[i].step,
                                                       .status = rows[i].status,
                                                       .duration_ms = rows[i].duration_ms,
                                                       .model = *rows[i].model ? rows[i].model : NULL,
                                                       .collection = rows[i].collection};
    event->completed = (struct event_completed){.status = "success",
                                                .steps = shown,
                                                .step_count = n,
                                                .total_ms = media->completed_ms - media->uploaded_ms,
                                                .searchable_ms = media->completed_ms};
    return 0;
}

static int ending_json(struct meta_tx *tx, struct flow *f, struct arena *arena, const struct meta_change *c,
                       const struct media *media, const char **out, struct error *err)
{
    struct event event = ending(arena, c, media);
    if (c->status == MEDIA_FAILED)
        event.failed = (struct event_failed){.code = media->error_code ? media->error_code : "INTERNAL",
                                             .message = media->error_message ? media->error_message : "",
                                             .final = true,
                                             .attempt = 1,
                                             .failed_ms = c->at_ms};
    else if (completed(tx, f, arena, media, &event, err) < 0)
        return -1;
    _cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
    if (event_encode(&event, f->settings.format, &text, err) < 0 || buf_append(&text, "", 1) < 0)
        return -1;
    *out = arena_memdup(arena, text.data, text.len);
    return 0;
}

int change_show(struct flow *f, struct meta_tx *tx, struct arena *arena, const struct meta_change *c,
                struct live_change *out, struct error *err)
{
    struct media media = {0};
    struct error why = {0};
    bool there = f->meta.ops->media_get(tx, arena, c->tenant, c->id, &media, &why) == 0;
    if (!there && why.code != ERR_NOT_FOUND)
        return error_copy(err, &why);
    struct live_change change = {.seq = c->seq, .tenant = c->tenant, .id = c->id, .status = c->status};
    change.json = change_json(arena, c, there ? &media : NULL);
    if (!change.json)
        return error_set(err, ERR_NO_MEMORY, "A change cannot be written as JSON");
    bool ended = c->status == MEDIA_FAILED || c->status == MEDIA_COMPLETED;
    if (there && ended && ending_json(tx, f, arena, c, &media, &change.event, err) < 0)
        return -1;
    *out = change;
    return 0;
}

void change_write(const struct live_change *change, struct buf *out)
{
    if (change->event)
        buf_printf(out, "%.*s,\"event\":%s}", (int)strlen(change->json) - 1, change->json, change->event);
    else
        buf_puts(out, change->json);
}
